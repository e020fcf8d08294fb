//! Answers one request. A request for a stream gets no answer here: what the stream needs is left in the
//! [`Client`], for the task around hyper to take the socket.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{HeaderMap, Request, StatusCode};
use protocol::format;
use protocol::format::Format;
use protocol::history::{Form, Window};
use protocol::pusher::api::answer;
use protocol::pusher::code;
use protocol::socket_id::SocketId;
use protocol::ws::handshake::Accept;
use shared::grant::MAX_TOKEN;
use shared::segment::now_s;

use super::client::{Client, Takeover, World};
use super::cors::Origin;
use super::mercure::serve::serve;
use super::mercure::target::target;
use super::query::Name;
use super::refusal::Refusal;
use super::request::{Route, SubscribeRequest, route};
use super::respond::{self, Answer};
use super::socket::Progress;
use super::viewer::viewer;
use super::{api, bearer, beside, body};
use crate::app::application::App;
use crate::app::history;
use crate::auth::authorizer::{Access, Claim, Refused};
use crate::auth::http_call::forwarded;
use crate::engine::WebSocketSession;
use crate::process::admission::{Admission, Verdict};
use crate::process::budget::Held;
use crate::process::refusals;

/// None: the socket is to be taken from hyper.
type Reply = Result<Option<Answer>, Refusal>;

pub async fn handle(
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
            // The future is never ready, and must not hold the client meanwhile.
            drop(client);
            pending().await
        }
    }
}

async fn answer(client: &RefCell<Client>, request: Request<Incoming>) -> Option<Answer> {
    let (world, progress) = {
        let client = client.borrow();
        (client.world.clone(), client.progress.clone())
    };
    let policy = world.policy();
    let (origin, route) = route(&request, &policy);
    let reply = match route {
        Err(refusal) => Err(refusal),
        Ok(Route::Preflight) => {
            let allowed = &policy.allowed_headers;
            Ok(Some(respond::preflight(&origin, allowed)))
        }
        Ok(Route::Up) => Ok(Some(up(&world))),
        Ok(Route::Api { app }) => {
            progress.body_begins(client.borrow().of_request(&request));
            let app = &world.apps[app].0;
            let answer = api::serve(app, request, policy.header_timeout, &progress).await;
            answer.map(Some)
        }
        Ok(Route::Refused {
            accept,
            code,
            reason,
            note,
        }) => {
            // It learns why from a message of its protocol.
            world.count_refused(StatusCode::SWITCHING_PROTOCOLS);
            if let Some(note) = note {
                refusals::report(note);
            }
            let refusal = format::refusal(Format::Pusher, code, &reason);
            client.borrow_mut().final_response = Some([accept.response(), refusal].concat());
            Ok(None)
        }
        Ok(Route::Mercure { app }) => {
            let path = request.uri().path().to_owned();
            match target(&path, &policy.apps) {
                Some((_, part)) => {
                    serve(client, &world, request, (app, part), &origin, &progress).await
                }
                None => Ok(None),
            }
        }
        Ok(Route::Stream(subscribe)) => stream(client, &world, &request, subscribe, &origin).await,
        Ok(Route::History { subscribe, window }) => {
            let page = page(client, &world, &request, subscribe, window, &origin).await;
            page.map(|page| Some(respond::page(page, &origin)))
        }
        Ok(Route::Change {
            app,
            subscribe,
            mut claim,
        }) => {
            let app = &world.apps[app].0;
            match admit_beside(client, &request, &progress) {
                Ok(()) => {
                    client.borrow().identify(&request, &mut claim);
                    claim.headers = bearer::that_count(request.headers(), &origin);
                    let body = request.into_body();
                    let channels = change(&world, app, subscribe, claim, body, &progress).await;
                    channels.map(|channels| Some(respond::changed(&channels, &origin)))
                }
                Err(refusal) => Err(refusal),
            }
        }
        Ok(Route::ClientEvent { app, max }) => {
            let app = &world.apps[app].0;
            match admit_beside(client, &request, &progress) {
                Ok(()) => {
                    let sent = client_event(&world, app, request.into_body(), max, &progress).await;
                    sent.map(|()| Some(respond::nothing(&origin)))
                }
                Err(refusal) => Err(refusal),
            }
        }
    };
    reply.unwrap_or_else(|mut refusal| {
        world.count_refused(refusal.status);
        if let Some(note) = refusal.note.take() {
            refusals::report(*note);
        }
        if refusal.status == StatusCode::UNAUTHORIZED {
            world.metrics().refused_tokens.add(1);
        }
        Some(respond::refusal(&refusal, &origin))
    })
}

/// For monitors and load balancers: why it is not ready is for operators, on the control socket.
fn up(world: &World) -> Answer {
    match world.process().unready() {
        None => respond::json(answer::up()),
        Some(_) => respond::down(answer::down()),
    }
}

/// Authorizes a stream, and leaves what it needs for the task around hyper.
async fn stream(
    client: &RefCell<Client>,
    world: &World,
    request: &Request<Incoming>,
    mut subscribe: SubscribeRequest,
    origin: &Origin,
) -> Reply {
    // Before any signature is verified: a client with too many connections causes no more work than this.
    if !client.borrow_mut().check_limits(request) {
        return Ok(turn_away(client, world, &subscribe, origin));
    }
    let app = &world.apps[subscribe.app].0;
    let mut claim = subscribe.claim.take();
    if let Some(claim) = &mut claim {
        client.borrow().identify(request, claim);
        show(app, claim, request.headers(), origin);
    }
    let accesses = match authorize(app, claim.as_ref(), &subscribe.channels).await {
        Ok(accesses) => accesses,
        Err(Refused::Away(_)) => return Ok(turn_away(client, world, &subscribe, origin)),
        Err(why) => {
            let channels = subscribe.channels.iter().map(String::as_str);
            app.hub.traces.refused(channels, why.reason());
            return Err(why.into());
        }
    };
    let Some(socket) = socket_id(app, &subscribe.name) else {
        return Ok(turn_away(client, world, &subscribe, origin));
    };
    client.borrow_mut().takeover = Some(granted(app, subscribe, claim, accesses, socket, origin));
    Ok(None)
}

/// The stream that a connection's first request asks for, if it can be opened at once: there is nothing to refuse and nobody
/// to be asked. None: it goes to [`handle`], which says why, and which nothing that was done here keeps from anything.
pub fn at_once(
    world: &World,
    admission: &mut Admission,
    address: Option<IpAddr>,
    request: &Request<()>,
) -> Option<Takeover> {
    let (origin, routed) = route(request, &world.policy.borrow());
    let Ok(Route::Stream(mut subscribe)) = routed else {
        return None;
    };
    let viewer = viewer(address, request.headers());
    let room = admission.verdict != Verdict::Over
        && viewer.is_none_or(|viewer| admission.try_identify(viewer));
    if !room {
        return None;
    }
    let app = &world.apps[subscribe.app].0;
    let mut claim = subscribe.claim.take();
    let accesses = match &mut claim {
        None => vec![Access::default(); subscribe.channels.len()],
        Some(claim) => {
            (claim.client, claim.address) = (admission.client(), viewer);
            show(app, claim, request.headers(), &origin);
            app.authority.at_once(claim, &subscribe.channels)?
        }
    };
    let socket = socket_id(app, &subscribe.name)?;
    Some(granted(app, subscribe, claim, accesses, socket, &origin))
}

/// Adds what the application may be shown, where it is asked.
fn show(app: &App, claim: &mut Claim, headers: &HeaderMap, origin: &Origin) {
    if app.authority.calls_the_application() {
        claim.headers = bearer::that_count(headers, origin);
    }
}

/// What a stream needs that is granted.
fn granted(
    app: &App,
    subscribe: SubscribeRequest,
    claim: Option<Claim>,
    accesses: Vec<Access>,
    socket: SocketId,
    origin: &Origin,
) -> Takeover {
    let head = match &subscribe.accept {
        None => respond::stream_head(origin, ""),
        Some(accept) => accept.response(),
    };
    let claim = claim.and_then(|claim| claim_to_keep(app, subscribe.format, claim));
    Takeover {
        accesses,
        socket,
        head,
        websocket: WebSocketSession::new(subscribe.format, claim),
        topics: None,
        request: subscribe,
    }
}

/// A page of a channel's history, for whoever may subscribe to the channel.
async fn page(
    client: &RefCell<Client>,
    world: &World,
    request: &Request<Incoming>,
    subscribe: SubscribeRequest,
    window: Window,
    origin: &Origin,
) -> Result<Held, Refusal> {
    if !client.borrow_mut().check_limits(request) {
        return Err(too_many_connections());
    }
    let app = &world.apps[subscribe.app].0;
    let key = client.borrow().admission.client();
    // Before any signature is verified.
    if !app.history_calls.take(key) {
        world.metrics().history_rate.add(1);
        let most = app.history_calls.bound().per_second;
        return Err(Refusal::too_often(format!(
            "more than {most} pages of history a second from one address (server.history_rate)"
        )));
    }
    let mut claim = subscribe.claim;
    if let Some(claim) = &mut claim {
        client.borrow().identify(request, claim);
        show(app, claim, request.headers(), origin);
    }
    authorize(app, claim.as_ref(), &subscribe.channels).await?;
    let ask = history::Ask {
        channel: &subscribe.channels[0],
        window,
        client: key,
        bytes: app.reloadable.get().history_bytes,
        form: Form::Json,
    };
    let page = history::page(&app.hub, &ask).await;
    page.map_err(|why| Refusal::busy(&why.to_string()))
}

fn too_many_connections() -> Refusal {
    let reason = "there are as many connections as are allowed, here or of this address";
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, reason)
}

/// The client is to come back later. It learns that only from a stream or a WebSocket of its format.
fn turn_away(
    client: &RefCell<Client>,
    world: &World,
    subscribe: &SubscribeRequest,
    origin: &Origin,
) -> Option<Answer> {
    let retry = world.spread_retry();
    let turned_away = |accept: &Accept| {
        let message =
            format::turned_away(subscribe.format, code::OVER_CAPACITY, format::FULL, retry);
        [accept.response(), message].concat()
    };
    match &subscribe.accept {
        None => Some(respond::retry_later(retry, origin)),
        Some(accept) => {
            client.borrow_mut().final_response = Some(turned_away(accept));
            None
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
fn socket_id(app: &App, name: &Name) -> Option<SocketId> {
    match name {
        Name::Session(session) => Some(app.prover.of_session(session)),
        Name::Earlier(socket, secret) if app.prover.resumes(*socket, secret, now_s()) => {
            Some(*socket)
        }
        // An id that is too old, or not this client's, is replaced: `askr:connected` has the new one.
        Name::Earlier(..) | Name::New => SocketId::random().ok(),
    }
}

/// The part of a claim by which channels may be opened that are added later, over a WebSocket: a token, and, in the plain
/// protocol, what the application may be asked with.
fn claim_to_keep(app: &App, format: Format, claim: Claim) -> Option<Claim> {
    let is_kept = |token: &String| app.authority.takes_tokens() && token.len() <= MAX_TOKEN;
    let token = claim.token.filter(is_kept);
    let headers = match format == Format::Plain && app.authority.calls_the_application() {
        true => forwarded(&claim.headers),
        false if token.is_none() => return None,
        false => HeaderMap::new(),
    };
    format.is_websocket().then_some(Claim {
        token,
        headers,
        ..claim
    })
}

/// Checks the limits of a client whose request is about a stream that it has, before the body is read.
fn admit_beside(
    client: &RefCell<Client>,
    request: &Request<Incoming>,
    progress: &Progress,
) -> Result<(), Refusal> {
    if !client.borrow_mut().check_limits(request) {
        return Err(too_many_connections());
    }
    progress.body_begins(client.borrow().of_request(request));
    Ok(())
}

/// The body of a request that changes a stream, carried out where the stream is.
async fn change(
    world: &World,
    app: &App,
    subscribe: bool,
    claim: Claim,
    body: Incoming,
    progress: &Progress,
) -> Result<Vec<String>, Refusal> {
    let policy = world.policy();
    let max = policy.body_bytes as usize;
    let body = body::read(body, max, body::Keep::All, policy.header_timeout, progress).await?;
    beside::change(app, subscribe, claim, &body).await
}

/// The same for a client event.
async fn client_event(
    world: &World,
    app: &App,
    body: Incoming,
    max: u64,
    progress: &Progress,
) -> Result<(), Refusal> {
    let max = max as usize;
    let body = body::read(
        body,
        max,
        body::Keep::All,
        world.policy().header_timeout,
        progress,
    )
    .await?;
    beside::client_event(app, &body).await
}
