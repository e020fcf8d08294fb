//! HTTP for operators on a listener of its own: few connections, one request each, and what is not finished in time is
//! closed.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::Full;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

/// Connections at one time; more wait in the kernel's queue.
pub const MOST: usize = 64;
/// Bytes of a request's line and headers.
const HEAD: usize = 16 << 10;
/// Bytes of a connection beside what it reads and writes.
const CONNECTION: u64 = 16 << 10;
/// For a request's head to arrive; and for the whole of it to be answered and taken, unless it is a stream.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes that the connections of a listener come to at the most; `answer`: of the longest answer, which each may have.
pub const fn ceiling(answer: u64) -> u64 {
    // What is read and what is written, and hyper's own of it.
    MOST as u64 * (2 * HEAD as u64 + CONNECTION + answer)
}

/// In one piece, or as it comes.
pub enum Body {
    Whole(Full<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Bytes>>>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Stream(stream) => {
                let next = stream.as_mut().poll_next(context);
                next.map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

pub type Answer = Response<Body>;

/// A listening socket, non-blocking.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Who is at the other end, and how long it may stay.
#[derive(Debug)]
pub struct Peer {
    /// None: it came by a Unix socket.
    pub address: Option<IpAddr>,
    streams: Cell<bool>,
}

impl Peer {
    /// Its answer goes on for as long as it likes.
    pub fn stays(&self) {
        self.streams.set(true);
    }
}

/// Answers requests.
pub trait Handler: 'static {
    fn answer(
        self: Rc<Self>,
        peer: Rc<Peer>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer>;
}

/// Serves until it is dropped. Runs on a LocalSet.
///
/// # Errors
/// If the socket cannot be used.
pub async fn run<H: Handler>(socket: Socket, handler: Rc<H>) -> io::Result<()> {
    let places = Arc::new(tokio::sync::Semaphore::new(MOST));
    let pause = || tokio::time::sleep(Duration::from_millis(100));
    match socket {
        Socket::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let place = places.clone().acquire_owned().await.ok();
                match listener.accept().await {
                    Ok((stream, from)) => {
                        let peer = Some(from.ip().to_canonical());
                        tokio::task::spawn_local(one(stream, peer, handler.clone(), place));
                    }
                    Err(_) => pause().await,
                }
            }
        }
        Socket::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            loop {
                let place = places.clone().acquire_owned().await.ok();
                match listener.accept().await {
                    Ok((stream, _)) => {
                        tokio::task::spawn_local(one(stream, None, handler.clone(), place));
                    }
                    Err(_) => pause().await,
                }
            }
        }
    }
}

async fn one<H: Handler, P>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    address: Option<IpAddr>,
    handler: Rc<H>,
    _place: P,
) {
    let peer = Rc::new(Peer {
        address,
        streams: Cell::new(false),
    });
    let service = service_fn(|request| {
        let (handler, peer) = (handler.clone(), peer.clone());
        async move { Ok::<_, Infallible>(handler.answer(peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    if tokio::time::timeout(TIMEOUT, &mut connection)
        .await
        .is_err()
        && peer.streams.get()
    {
        let _ = connection.await;
    }
}

/// An answer of one piece.
pub fn answer(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::Whole(Full::new(text.into())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// One line.
pub fn line(status: StatusCode, text: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", format!("{text}\n"))
}
