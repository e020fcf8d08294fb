//! One connection: hyper answers its requests; a request for events takes the socket out of hyper.
//!
//! hyper hands a socket over only after 101 or CONNECT. So the handler of a stream leaves a note and
//! stays pending, and the task around hyper, which looks for the note after each poll, takes the
//! connection apart. Nothing has been written by then, and what hyper has read beyond the request
//! (pipelined bytes) shows in `read_buf`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::format;
use protocol::format::Format;
use protocol::pusher::api::answer;
use protocol::pusher::code;
use protocol::socket_id::SocketId;
use protocol::ws::decoder::Decoder;
use shared::segment::now_s;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{oneshot, watch};

use super::query::Name;
use super::refusal::{Refusal, bad};
use super::request::{Policy, Route, SubscribeRequest, route};
use super::respond::{self, Answer};
use super::socket::{Progress, Stopped, Watched};
use super::{api, change};
use crate::app::application::App;
use crate::auth::authorizer::{Access, Claim, Refused};
use crate::auth::http_call::forwarded;
use crate::engine::lingering::{AwaitedClose, Ending, Lingering};
use crate::engine::{Engine, Opening, WebSocketSession};
use crate::hub::command::{Command, Denied};
use crate::process::admission::Admission;
use crate::process::admission::Place;
use crate::process::admission::Verdict;
use crate::process::client_key::ClientKey;
use crate::process::faults;
use crate::process::jitter::Jitter;
use crate::process::metrics::Metrics;
use crate::process::requests::{Held, Requests};

/// hyper's own least bound of its buffer, and its bound of a head's lines.
const LEAST_BUFFER: usize = 8 << 10;
const MOST_HEADERS: usize = 256;
/// Bytes of a message from a WebSocket that was refused.
const MESSAGE: usize = 16 << 10;

/// What every connection of a worker needs.
pub struct World {
    /// Each application and this worker's engine for it.
    pub apps: Vec<(Arc<App>, Rc<RefCell<Engine>>)>,
    /// This worker's connections that have been told the end.
    pub lingering: Rc<RefCell<Lingering<Place>>>,
    pub requests: Arc<Requests>,
    pub policy: Policy,
    pub header_timeout: Duration,
    pub write_timeout: Duration,
    /// Milliseconds.
    pub retry: u32,
    pub jitter: Jitter,
}

impl World {
    /// What all applications share.
    fn metrics(&self) -> &Metrics {
        &self.apps[0].0.hub.metrics
    }
}

/// A socket that can be had back.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Waits until something has come, or the end.
    fn ready(&self) -> impl Future<Output = io::Result<()>>;

    /// Out of Tokio's hands, still non-blocking.
    fn into_fd(self) -> io::Result<OwnedFd>;
}

impl Socket for TcpStream {
    fn ready(&self) -> impl Future<Output = io::Result<()>> {
        self.readable()
    }

    fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }
}

impl Socket for UnixStream {
    fn ready(&self) -> impl Future<Output = io::Result<()>> {
        self.readable()
    }

    fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }
}

/// What the handler leaves for the task around hyper.
struct Takeover {
    ask: SubscribeRequest,
    accesses: Vec<Access>,
    socket: SocketId,
    head: Vec<u8>,
    websocket: Option<Box<WebSocketSession>>,
}

/// One connection's state, shared by its handler and the task around it.
struct Client {
    world: Rc<World>,
    admission: Admission,
    /// Whether X-Real-IP is to be believed.
    proxy: bool,
    progress: Rc<Progress>,
    takeover: Option<Takeover>,
    /// In place of a takeover: what is written before the end.
    final_response: Option<Vec<u8>>,
}

/// Serves `socket` until it ends or becomes a stream. `leaving` turns true when the daemon stops.
pub async fn serve<S: Socket + 'static>(
    socket: S,
    proxy: bool,
    admission: Admission,
    world: Rc<World>,
    mut leaving: watch::Receiver<bool>,
) {
    faults::at("connection", b"");
    let header_bytes = world.policy.header_bytes;
    let header_timeout = world.header_timeout;
    let mut stop = pin!(async move {
        if leaving.wait_for(|leaving| *leaving).await.is_err() {
            pending::<()>().await;
        }
    });
    // Who has said nothing costs neither hyper nor a buffer.
    tokio::select! {
        ready = socket.ready() => if ready.is_err() { return },
        () = tokio::time::sleep(header_timeout) => return,
        // It may be about to speak.
        () = stop.as_mut() => {
            if let Ok(fd) = socket.into_fd() {
                let ending = Ending::new(fd, admission.into_place());
                world.lingering.borrow_mut().end(ending);
            }
            return;
        }
    }
    let held = Held::new(world.requests.clone(), admission.client());
    let progress = Rc::new(Progress::new(held, admission.client()));
    let socket = Watched::new(socket, progress.clone(), header_bytes, world.write_timeout);
    let client = Client {
        world: world.clone(),
        admission,
        proxy,
        progress: progress.clone(),
        takeover: None,
        final_response: None,
    };
    let client = Rc::new(RefCell::new(client));
    let (handler, begins) = (client.clone(), progress.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        begins.head_ended(!request.body().is_end_stream());
        handle(handler.clone(), request)
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        // The socket ends a head that is too long, and says why. hyper would not.
        .max_buf_size((header_bytes + 1).max(LEAST_BUFFER))
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(socket), service);

    let mut stopping = false;
    let outcome = poll_fn(|cx| {
        if progress.gives_way(cx) {
            return Poll::Ready(Outcome::GaveWay);
        }
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Err(why)) if why.is_timeout() => Poll::Ready(Outcome::CatchUp),
            Poll::Ready(_) => Poll::Ready(Outcome::Ended),
            Poll::Pending if client.borrow().is_done() => Poll::Ready(Outcome::Noted),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    let parts = connection.into_parts();
    // The service holds the client too.
    drop(parts.service);
    let Some(client) = Rc::into_inner(client).map(RefCell::into_inner) else {
        return;
    };
    let (socket, early) = (parts.io.into_inner(), parts.read_buf);
    let mut awaited_close = None;
    let words = match (outcome, client.final_response, client.takeover) {
        (Outcome::Noted, Some(words), _) => {
            let mut all = AwaitedClose::new(Decoder::default(), MESSAGE);
            awaited_close = all.take_if(|close| close.receive(&mut early.to_vec()));
            words
        }
        (Outcome::Noted, None, Some(takeover)) if early.is_empty() => {
            if let Ok(fd) = socket.into_inner().into_fd() {
                open(&world, takeover, fd, client.admission.keep());
            }
            return;
        }
        // Nothing may follow a request for events, or come before a WebSocket's answer.
        (Outcome::Noted, None, takeover) => {
            world.metrics().closed_input.add(1);
            let websocket = takeover.is_some_and(|takeover| takeover.websocket.is_some());
            respond::last(&bad(match websocket {
                true => "something was sent before the handshake was answered",
                false => "nothing may follow a request for events",
            }))
        }
        // Behind half an answer, or between two requests, there is nothing to be said.
        _ if socket.is_blocked() || progress.is_in_head() && early.is_empty() => Vec::new(),
        (Outcome::CatchUp, ..) => {
            let reason = "the head did not come in time";
            respond::last(&Refusal::new(StatusCode::REQUEST_TIMEOUT, reason))
        }
        (Outcome::Ended, ..) if socket.stopped() == Some(Stopped::Long) => {
            world.metrics().refused_requests.add(1);
            respond::last(&Refusal::head(header_bytes))
        }
        (Outcome::Ended, ..) if socket.stopped() != Some(Stopped::Full) => Vec::new(),
        // Any answer but a stream would end an EventSource for good.
        _ if progress.is_in_head() && early.starts_with(b"GET /askr/events") => {
            respond::last_later(world.jitter.around(world.retry))
        }
        _ => respond::last(&Refusal::crowded()),
    };
    let stalled = socket.stopped() == Some(Stopped::Stalled);
    world.metrics().answers_stalled.add(stalled.into());
    if stalled || words.is_empty() && socket.has_heard_all() {
        return;
    }
    if let Ok(fd) = socket.into_inner().into_fd() {
        world.lingering.borrow_mut().end(Ending {
            message: words.into(),
            awaited_close,
            ..Ending::new(fd, client.admission.into_place())
        });
    }
}

/// What becomes of a connection that hyper had.
enum Outcome {
    /// It is over.
    Ended,
    /// It is over because a head was not complete in time.
    CatchUp,
    /// The handler left a note, and hyper has nothing more to do.
    Noted,
    /// There are too many requests in progress, and its turn to give way has come.
    GaveWay,
}

/// The socket becomes a stream.
fn open(world: &World, takeover: Takeover, fd: OwnedFd, client: ClientKey) {
    let Takeover {
        ask,
        accesses,
        socket,
        head,
        websocket,
    } = takeover;
    world.apps[ask.app].1.borrow_mut().open(Opening {
        fd,
        client,
        head,
        channels: ask.channels,
        accesses,
        format: ask.format,
        resume: ask.resume,
        socket,
        websocket,
    });
}

async fn handle(
    client: Rc<RefCell<Client>>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    match answer(&client, request).await {
        Some(mut answer) => {
            let progress = &client.borrow().progress;
            if progress.is_unread() {
                respond::close(&mut answer);
            }
            progress.answered();
            Ok(answer)
        }
        None => {
            // The future must not hold the client once it is pending for ever.
            drop(client);
            pending().await
        }
    }
}

/// None: the request is for a stream, and the note has been left.
async fn answer(client: &RefCell<Client>, request: Request<Incoming>) -> Option<Answer> {
    let (world, progress) = {
        let client = client.borrow();
        (client.world.clone(), client.progress.clone())
    };
    let (origin, route) = route(&request, &world.policy);
    let refused = |refusal: &Refusal| {
        world.metrics().refused_requests.add(1);
        if refusal.status == StatusCode::UNAUTHORIZED {
            world.metrics().refused_tokens.add(1);
        }
        Some(respond::refusal(refusal, &origin))
    };
    let later = || Some(respond::later(world.jitter.around(world.retry), &origin));
    match route {
        Err(refusal) => refused(&refusal),
        Ok(Route::Preflight) => Some(respond::preflight(&origin)),
        Ok(Route::Up) => Some(api::json(answer::up())),
        Ok(Route::Api { app }) => {
            let app = &world.apps[app].0;
            progress.body_begins(client.borrow().behind_proxy(&request));
            match api::serve(app, request, world.header_timeout, &progress).await {
                Ok(answer) => Some(answer),
                Err(refusal) => refused(&refusal),
            }
        }
        Ok(Route::Refused {
            accept,
            code,
            reason,
        }) => {
            world.metrics().refused_requests.add(1);
            let mut bytes = accept.response();
            bytes.extend(format::refusal(Format::Pusher, code, &reason));
            client.borrow_mut().final_response = Some(bytes);
            None
        }
        Ok(Route::Stream(mut ask)) => {
            // An answer that is no stream, or no WebSocket, tells neither when to come back.
            let later = || match &ask.accept {
                None => later(),
                Some(accept) => {
                    let mut bytes = accept.response();
                    let retry = world.jitter.around(world.retry);
                    bytes.extend(format::turned_away(ask.format, code::OVER_CAPACITY, retry));
                    client.borrow_mut().final_response = Some(bytes);
                    None
                }
            };
            // Before a signature is looked at: whoever has too many connections costs no more.
            if !client.borrow_mut().check_limits(&request) {
                return later();
            }
            let app = &world.apps[ask.app].0;
            let mut claim = ask.claim.take();
            if let Some(claim) = &mut claim {
                client.borrow().strip_untrusted_headers(claim);
            }
            let accesses = match authorize(app, claim.as_ref(), &ask.channels).await {
                Ok(accesses) => accesses,
                Err(Refused::Away(_)) => return later(),
                Err(why) => return refused(&refusal(why)),
            };
            let Some(socket) = socket(app, &ask.name) else {
                return later();
            };
            let head = match &ask.accept {
                None => respond::stream_head(&origin),
                Some(accept) => accept.response(),
            };
            // Kept only where somebody may be asked with it later.
            let claim = claim.filter(|_| ask.format.is_websocket());
            let claim = claim
                .filter(|_| app.authority.http().is_some())
                .map(|claim| Claim {
                    headers: forwarded(&claim.headers),
                    ..claim
                });
            let websocket = WebSocketSession::new(ask.format, claim);
            client.borrow_mut().takeover = Some(Takeover {
                ask,
                accesses,
                socket,
                head,
                websocket,
            });
            None
        }
        Ok(Route::Change {
            app,
            subscribe,
            mut claim,
        }) => {
            if !client.borrow_mut().check_limits(&request) {
                let reason =
                    "there are as many connections as are allowed, here or of this address";
                return refused(&Refusal::new(StatusCode::TOO_MANY_REQUESTS, reason));
            }
            client.borrow().strip_untrusted_headers(&mut claim);
            progress.body_begins(client.borrow().behind_proxy(&request));
            let body = request.into_body();
            match change(&world, app, subscribe, claim, body, &progress).await {
                Ok(channels) => Some(respond::changed(&channels, &origin)),
                Err(refusal) => refused(&refusal),
            }
        }
    }
}

async fn authorize(
    app: &App,
    claim: Option<&Claim>,
    channels: &[String],
) -> Result<Vec<Access>, Refused> {
    match claim {
        Some(claim) => app.authority.authorize(claim, channels).await,
        None => Ok(vec![Access::default(); channels.len()]),
    }
}

/// None: the system has no random numbers.
fn socket(app: &App, name: &Name) -> Option<SocketId> {
    match name {
        Name::Session(session) => Some(app.prover.of_session(session)),
        Name::Earlier(socket, secret) if app.prover.resumes(*socket, secret, now_s()) => {
            Some(*socket)
        }
        // Too old, or not its own: it gets a new one, as it is told.
        Name::Earlier(..) | Name::New => SocketId::random().ok(),
    }
}

/// Has the channels of a stream changed by the worker that holds it.
async fn change(
    world: &World,
    app: usize,
    subscribe: bool,
    mut claim: Claim,
    body: Incoming,
    progress: &Progress,
) -> Result<Vec<String>, Refusal> {
    let app = &world.apps[app].0;
    let most = world.policy.body_bytes as usize;
    let body = api::read(body, most, api::Keep::All, world.header_timeout, progress).await?;
    let change = change::read(&body, &app.prover, world.policy.channels)?;
    let gone = || Refusal::new(StatusCode::NOT_FOUND, Denied::Gone.to_string());
    let inbox = app.hub.inboxes.get(change.place.worker).ok_or_else(gone)?;
    let (slot, socket) = (change.place.slot, change.socket);
    let (answer, answered) = oneshot::channel();
    inbox.command(if subscribe {
        claim.socket = Some(socket.to_string());
        claim.token = change.token.or(claim.token);
        claim.signatures = change.signatures;
        let revocations = app.authority.revocations();
        let granted = app.authority.authorize(&claim, &change.channels).await;
        Command::Subscribe {
            revocations,
            slot,
            socket,
            channels: std::iter::zip(change.channels, granted.map_err(refusal)?).collect(),
            since: change.since,
            answer: Some(answer),
        }
    } else {
        Command::Unsubscribe {
            slot,
            socket,
            channels: change.channels,
            answer,
        }
    });
    match answered.await {
        Ok(Ok(channels)) => Ok(channels),
        Ok(Err(Denied::Gone)) | Err(_) => Err(gone()),
        Ok(Err(denied)) => Err(Refusal::new(StatusCode::CONFLICT, denied.to_string())),
    }
}

fn refusal(why: Refused) -> Refusal {
    let status = match why {
        Refused::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        Refused::Forbidden(_) => StatusCode::FORBIDDEN,
        Refused::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refusal::new(status, why.reason())
}

impl Client {
    /// Whether hyper has nothing more to do here.
    fn is_done(&self) -> bool {
        self.takeover.is_some() || self.final_response.is_some()
    }

    /// Whether there is room for a stream of this client.
    fn check_limits(&mut self, request: &Request<Incoming>) -> bool {
        self.admission.verdict != Verdict::Over && self.identify(request)
    }

    /// Adds what the connection knows. A header that only a proxy may set is taken from nobody else.
    fn strip_untrusted_headers(&self, claim: &mut Claim) {
        claim.client = self.admission.client();
        if !self.proxy {
            claim.headers.remove("x-forwarded-for");
        }
    }

    /// Who a proxy says its client is.
    fn said(&self, request: &Request<Incoming>) -> Option<IpAddr> {
        let said = || {
            let header = request.headers().get("x-real-ip")?;
            header.to_str().ok()?.parse().ok()
        };
        self.proxy.then(said).flatten()
    }

    fn behind_proxy(&self, request: &Request<Incoming>) -> Option<ClientKey> {
        self.said(request)
            .map(|address| self.admission.key(address))
    }

    /// Behind a proxy, the limit per client is for who the proxy says it is. False: over that limit.
    fn identify(&mut self, request: &Request<Incoming>) -> bool {
        match self.said(request) {
            Some(address) => self.admission.identify(address),
            None => true,
        }
    }
}
