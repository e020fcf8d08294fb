//! One connection that hyper has: it answers the requests; a request for a stream takes the socket out of hyper.
//!
//! Nearly all streams begin without hyper (`arrivals.rs`). Here are the other requests, those that are refused, and streams
//! whose request is not here as a whole, has to wait for somebody's word, or follows others on a kept connection.
//!
//! hyper hands a socket over only after 101 or CONNECT. So the handler of a stream leaves what the stream needs
//! in the [`Client`] and stays pending; the task around hyper, which looks there after each poll, takes the
//! connection apart. Nothing was written by then, and what hyper read beyond the request (pipelined bytes) is in
//! `read_buf`.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::ws::decoder::Decoder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

use super::client::{Client, Takeover, World};
use super::first::MAX_HEADERS;
use super::handler::handle;
use super::notes;
use super::refusal::{Refusal, bad};
use super::respond;
use super::socket::{Progress, Stopped, Watched};
use crate::engine::Opening;
use crate::engine::lingering::{AwaitedClose, Ending};
use crate::process::admission::Admission;
use crate::process::client_key::ClientKey;
use crate::process::refusals;
use crate::process::requests::Held;

/// The smallest buffer that hyper accepts.
const MIN_BUFFER: usize = 8 << 10;
/// Bytes of a message from a WebSocket that was refused.
const MESSAGE: usize = 16 << 10;

/// A socket that can be taken out of Tokio.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Without Tokio, still non-blocking.
    fn into_fd(self) -> io::Result<OwnedFd>;
}

impl Socket for TcpStream {
    fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }
}

impl Socket for UnixStream {
    fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }
}

/// Serves `socket` until it ends or becomes a stream. `first`: what was read of it already. `leaving` turns true when the
/// daemon stops. `address`: of the viewer; None if the peer is a proxy, which names it.
pub async fn serve<S: Socket + 'static>(
    socket: S,
    first: Bytes,
    address: Option<IpAddr>,
    admission: Admission,
    world: Rc<World>,
    leaving: watch::Receiver<bool>,
) {
    // A worker that drains waits for who holds one; what waits for the stop gives its own up when it comes.
    let _until_the_end = leaving.clone();
    let held = Held::new(world.requests.clone(), admission.client());
    let progress = Rc::new(Progress::new(held, admission.client()));
    let policy = world.policy();
    let (head, patience) = (policy.header_bytes, policy.write_timeout);
    let socket = Watched::new(socket, first, progress.clone(), head, patience);
    let client = Rc::new(RefCell::new(Client {
        world: world.clone(),
        admission,
        address,
        progress: progress.clone(),
        takeover: None,
        final_response: None,
    }));
    let finished = answer_requests(socket, &client, pin!(stopping(leaving))).await;
    if let Some(client) = Rc::into_inner(client) {
        finish(finished, client.into_inner());
    }
}

/// Ready when the daemon stops.
pub(super) async fn stopping(mut leaving: watch::Receiver<bool>) {
    if leaving.wait_for(|leaving| *leaving).await.is_err() {
        pending::<()>().await;
    }
}

/// How hyper's part of a connection ended.
enum Outcome {
    /// It is over.
    Ended,
    /// A head was not complete in time.
    HeadTimeout,
    /// The handler left what becomes of the socket in the [`Client`].
    Handled,
    /// There are too many requests in progress, and it was this one's turn to give way.
    GaveWay,
}

/// A connection that hyper has nothing more to do with.
struct Finished<S> {
    outcome: Outcome,
    socket: Watched<S>,
    /// What hyper read and did not use.
    early: Bytes,
}

/// Has hyper answer requests until the connection ends, becomes a stream, or has to give way.
async fn answer_requests<S: Socket + 'static>(
    socket: Watched<S>,
    client: &Rc<RefCell<Client>>,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Finished<S> {
    let (world, progress) = {
        let client = client.borrow();
        (client.world.clone(), client.progress.clone())
    };
    let (handler, begins) = (client.clone(), progress.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        begins.head_ended(!request.body().is_end_stream());
        handle(handler.clone(), request)
    });
    let policy = world.policy();
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(policy.header_timeout)
        // One byte more than a head may have: the socket refuses a longer one with a reason, as hyper would not.
        .max_buf_size((policy.header_bytes + 1).max(MIN_BUFFER))
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(socket), service);
    let mut stopping = false;
    let outcome = poll_fn(|cx| {
        if progress.gives_way(cx) {
            return Poll::Ready(Outcome::GaveWay);
        }
        loop {
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(Err(why)) if why.is_timeout() => {
                    return Poll::Ready(Outcome::HeadTimeout);
                }
                Poll::Ready(_) => return Poll::Ready(Outcome::Ended),
                Poll::Pending if client.borrow().is_done() => return Poll::Ready(Outcome::Handled),
                Poll::Pending => {}
            }
            // Only now: of a connection that has not read its request yet, hyper would think that it is idle.
            if stopping || stop.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
    })
    .await;
    // The service, which holds the client too, is dropped here.
    let parts = connection.into_parts();
    Finished {
        outcome,
        socket: parts.io.into_inner(),
        early: parts.read_buf,
    }
}

/// Makes the socket a stream, or ends it with a final response.
fn finish<S: Socket>(finished: Finished<S>, client: Client) {
    let Finished {
        outcome,
        socket,
        early,
    } = finished;
    let world = client.world;
    if client.progress.is_in_head() && notes::is_tls(&early) {
        refusals::report(notes::tls());
    }
    let mut awaited_close = None;
    let words = match (outcome, client.final_response, client.takeover) {
        (Outcome::Handled, Some(response), _) => {
            let mut all = AwaitedClose::new(Decoder::default(), MESSAGE);
            awaited_close = all.take_if(|close| close.receive(&mut early.to_vec()));
            response
        }
        (Outcome::Handled, None, Some(takeover)) if early.is_empty() => {
            if let Ok(fd) = socket.into_inner().into_fd() {
                open(&world, takeover, fd, client.admission.keep());
            }
            return;
        }
        (Outcome::Handled, None, takeover) => {
            world.metrics().closed_input.add(1);
            let websocket = takeover.is_some_and(|takeover| takeover.websocket.is_some());
            respond::final_refusal(&too_early(websocket))
        }
        (outcome, ..) => final_response(&outcome, &world, &client.progress, &socket, &early),
    };
    let stalled = socket.stopped() == Some(Stopped::Stalled);
    world.metrics().answers_stalled.add(stalled.into());
    if stalled || words.is_empty() && socket.is_at_end() {
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

/// Something was sent behind a request for a stream.
fn too_early(websocket: bool) -> Refusal {
    bad(match websocket {
        true => "something was sent before the handshake was answered",
        false => "nothing may follow a request for events",
    })
}

/// The final bytes of a connection that does not become a stream. Empty: behind part of an answer, or between
/// two requests, a response would be misread.
fn final_response<S>(
    outcome: &Outcome,
    world: &World,
    progress: &Progress,
    socket: &Watched<S>,
    early: &[u8],
) -> Vec<u8> {
    if socket.is_blocked() || progress.is_in_head() && early.is_empty() {
        return Vec::new();
    }
    match (outcome, socket.stopped()) {
        (Outcome::HeadTimeout, _) => {
            let reason = "the head did not arrive in time";
            respond::final_refusal(&Refusal::new(StatusCode::REQUEST_TIMEOUT, reason))
        }
        (Outcome::Ended, Some(Stopped::HeadTooLong)) => {
            let refusal = Refusal::head(world.policy().header_bytes);
            world.count_refused(refusal.status);
            respond::final_refusal(&refusal)
        }
        (Outcome::Ended, stopped) if stopped != Some(Stopped::Full) => Vec::new(),
        // Any answer but a stream would end an EventSource for good.
        _ if progress.is_in_head() && is_for_stream(world, early) => {
            respond::final_retry(world.spread_retry())
        }
        _ => respond::final_refusal(&Refusal::crowded()),
    }
}

/// Whether a request begins as one for Server-Sent Events.
fn is_for_stream(world: &World, early: &[u8]) -> bool {
    let Some(path) = early.strip_prefix(b"GET ") else {
        return false;
    };
    let policy = world.policy();
    let hubs = policy.apps.iter().filter_map(|app| app.mercure.as_deref());
    path.starts_with(b"/askr/events") || hubs.map(str::as_bytes).any(|hub| path.starts_with(hub))
}

/// The socket becomes a stream.
pub(super) fn open(world: &World, takeover: Takeover, fd: OwnedFd, client: ClientKey) {
    let Takeover {
        request,
        accesses,
        socket,
        head,
        websocket,
        topics,
    } = takeover;
    world.apps[request.app].1.borrow_mut().open(Opening {
        fd,
        client,
        head,
        channels: request.channels,
        accesses,
        format: request.format,
        resume: request.resume,
        socket,
        topics,
        websocket,
    });
}
