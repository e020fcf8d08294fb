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

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

use super::request::{Ask, Policy, Wish, judge};
use super::respond::{self, Answer};
use crate::bus::Bus;
use crate::engine::{Engine, Opening};
use crate::jitter::Jitter;
use crate::limits::{Admission, Verdict};

/// hyper's own bound on a head, past which it answers without a reason. Well above the setting, so
/// that clients as a rule get one.
const HARD_HEADER_BYTES: usize = 256 << 10;
const HARD_HEADERS: usize = 256;

/// What every connection of a worker needs.
pub struct World {
    pub bus: Arc<Bus>,
    pub policy: Policy,
    pub header_timeout: Duration,
    /// Milliseconds.
    pub retry: u32,
    pub engine: Rc<RefCell<Engine>>,
    pub jitter: Jitter,
}

/// A socket that can be had back.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Out of Tokio's hands, still non-blocking.
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

/// What the handler leaves for the task around hyper.
struct Takeover {
    ask: Ask,
    head: Vec<u8>,
}

/// One connection's state, shared by its handler and the task around it.
struct Client {
    world: Rc<World>,
    admission: Admission,
    /// Whether X-Real-IP is to be believed.
    proxy: bool,
    takeover: Option<Takeover>,
}

/// Serves `socket` until it ends or becomes a stream. `leaving` turns true when the daemon stops.
pub async fn serve<S: Socket + 'static>(
    socket: S,
    proxy: bool,
    admission: Admission,
    world: Rc<World>,
    mut leaving: watch::Receiver<bool>,
) {
    let header_bytes = world.policy.header_bytes;
    let header_timeout = world.header_timeout;
    let client = Client {
        world: world.clone(),
        admission,
        proxy,
        takeover: None,
    };
    let client = Rc::new(RefCell::new(client));
    let handler = client.clone();
    let service = service_fn(move |request| handle(handler.clone(), request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HARD_HEADER_BYTES.max(2 * header_bytes))
        .max_headers(HARD_HEADERS)
        .serve_connection(TokioIo::new(socket), service);

    let mut stop = pin!(async move {
        if leaving.wait_for(|leaving| *leaving).await.is_err() {
            pending::<()>().await;
        }
    });
    let mut stopping = false;
    let ended = poll_fn(|cx| {
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if client.borrow().takeover.is_some() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if ended {
        return;
    }
    let parts = connection.into_parts();
    // The service holds the client too.
    drop(parts.service);
    let Some(client) = Rc::into_inner(client).map(RefCell::into_inner) else {
        return;
    };
    let Some(Takeover { ask, head }) = client.takeover else {
        return;
    };
    // Nothing may follow a request for events: the connection ends with its stream.
    if !parts.read_buf.is_empty() {
        world.bus.metrics.closed_input.add(1);
        return;
    }
    let Ok(fd) = parts.io.into_inner().into_fd() else {
        return;
    };
    world.engine.borrow_mut().open(Opening {
        fd,
        client: client.admission.keep(),
        head,
        channels: ask.channels,
        format: ask.format,
        resume: ask.resume,
        expires: ask.expires,
    });
}

async fn handle(
    client: Rc<RefCell<Client>>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let answer = client.borrow_mut().answer(&request);
    // The future must not hold the client once it is pending for ever.
    drop((client, request));
    match answer {
        Some(answer) => Ok(answer),
        None => pending().await,
    }
}

impl Client {
    /// None: the request is for a stream, and the note has been left.
    fn answer(&mut self, request: &Request<Incoming>) -> Option<Answer> {
        let world = self.world.clone();
        let (origin, wish) = judge(request, &world.policy);
        let over = self.admission.verdict == Verdict::Over;
        match wish {
            Err(refusal) => {
                world.bus.metrics.refused_requests.add(1);
                if refusal.status == StatusCode::UNAUTHORIZED {
                    world.bus.metrics.refused_tokens.add(1);
                }
                Some(respond::refusal(&refusal, &origin))
            }
            Ok(Wish::Preflight) => Some(respond::preflight(&origin)),
            Ok(Wish::Stream(_)) if over || !self.identify(request) => {
                Some(respond::later(world.jitter.around(world.retry), &origin))
            }
            Ok(Wish::Stream(ask)) => {
                self.takeover = Some(Takeover {
                    ask,
                    head: respond::stream_head(&origin),
                });
                None
            }
        }
    }

    /// Behind a proxy, the limit per client is for who the proxy says it is. False: over that limit.
    fn identify(&mut self, request: &Request<Incoming>) -> bool {
        let said = || {
            request
                .headers()
                .get("x-real-ip")?
                .to_str()
                .ok()?
                .parse::<IpAddr>()
                .ok()
        };
        match self.proxy.then(said).flatten() {
            Some(address) => self.admission.identify(address),
            None => true,
        }
    }
}
