//! HTTP for operators on a listener of its own: few connections, one request each. What is not finished in time is closed, and
//! sooner if a newcomer needs its place.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::observe::places::{Place, Places};

/// Connections at one time. Of more, the eldest that has not shown that it may keep its place is closed; if there is none, they
/// wait in the kernel's queue.
pub const MOST: usize = 64;
/// Bytes of a request's line and headers.
const HEAD: usize = 16 << 10;
/// Bytes of a connection beside what it reads and writes.
const CONNECTION: u64 = 16 << 10;
/// For a request's head to arrive; and for the whole of it to be answered and taken, unless it is a stream.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is looked whether a connection is overdue.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes that the connections of a listener come to at the most; `answer`: of the longest answer, which each may have.
pub const fn ceiling(answer: u64) -> u64 {
    // What is read and what is written, and hyper's own of it.
    MOST as u64 * (2 * HEAD as u64 + CONNECTION + answer)
}

/// Those of a listener, whatever it has of sockets.
pub fn places() -> Rc<Places> {
    Places::new(MOST)
}

/// In one piece, or as it comes.
pub enum Body {
    Whole(Full<Bytes>),
    Stream(Stream),
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
                let next = stream.poll(context);
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

/// An answer that goes on, piece by piece.
pub struct Stream {
    pieces: Pin<Box<dyn futures_util::Stream<Item = Bytes>>>,
    going: Rc<Going>,
}

/// Whether an answer may go on.
struct Going {
    /// Is told how long a piece has been waiting for the client.
    may: Box<dyn Fn(Duration) -> bool>,
    /// Since when. None: no piece waits.
    waits: Cell<Option<Instant>>,
}

impl Going {
    /// Whether it ends before the client takes the piece that waits. Where none waits, the next one decides.
    fn is_over(&self) -> bool {
        let waits = self.waits.get();
        waits.is_some_and(|since| !(self.may)(since.elapsed()))
    }
}

impl Stream {
    /// Asked for the next piece once there is room for it, as soon as the client has taken what was before.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.going.waits.set(None);
        let next = self.pieces.as_mut().poll_next(context);
        if let Poll::Ready(Some(_)) = &next {
            if !(self.going.may)(Duration::ZERO) {
                return Poll::Ready(None);
            }
            self.going.waits.set(Some(Instant::now()));
        }
        next
    }
}

pub type Answer = Response<Body>;

/// A listening socket, non-blocking.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Who is at the other one. None: it came by a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether it was accepted at an address that only this machine has.
    pub is_loopback: bool,
}

/// Who is at the other end, and how long it may stay.
pub struct Peer {
    pub ends: Ends,
    place: Place,
    going: RefCell<Option<Rc<Going>>>,
}

impl Peer {
    /// It has shown who it is: its place is its own until it has its answer.
    pub fn keeps_its_place(&self) {
        self.place.keep();
    }

    /// An answer that goes on for as long as it may, which is asked now and then: `may` is told how long a piece has been
    /// waiting for the client.
    pub fn goes_on(
        &self,
        pieces: impl futures_util::Stream<Item = Bytes> + 'static,
        may: impl Fn(Duration) -> bool + 'static,
    ) -> Body {
        let going = Rc::new(Going {
            may: Box::new(may),
            waits: Cell::new(None),
        });
        *self.going.borrow_mut() = Some(going.clone());
        let pieces = Box::pin(pieces);
        Body::Stream(Stream { pieces, going })
    }

    /// Resolves when the connection has lasted too long.
    async fn is_overdue(&self) {
        let began = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let going = self.going.borrow().clone();
            if going.map_or(began.elapsed() >= TIMEOUT, |going| going.is_over()) {
                return;
            }
        }
    }
}

/// Answers requests.
pub trait Handler: 'static {
    fn answer(
        self: Rc<Self>,
        peer: Rc<Peer>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer>;

    /// A connection is closed because a newcomer needs its place.
    fn gives_way(&self);
}

/// Serves until it is dropped. Runs on a LocalSet.
///
/// # Errors
/// If the socket cannot be used.
pub async fn run<H: Handler>(socket: Socket, places: Rc<Places>, handler: Rc<H>) -> io::Result<()> {
    let pause = || tokio::time::sleep(Duration::from_millis(100));
    match socket {
        Socket::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, from)) => {
                        let own = stream.local_addr();
                        let ends = Ends {
                            address: Some(from.ip().to_canonical()),
                            is_loopback: own.is_ok_and(|own| own.ip().to_canonical().is_loopback()),
                        };
                        let place = places.take().await;
                        tokio::task::spawn_local(one(stream, ends, handler.clone(), place));
                    }
                    Err(_) => pause().await,
                }
            }
        }
        Socket::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let ends = Ends {
                            address: None,
                            is_loopback: false,
                        };
                        let place = places.take().await;
                        tokio::task::spawn_local(one(stream, ends, handler.clone(), place));
                    }
                    Err(_) => pause().await,
                }
            }
        }
    }
}

async fn one<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    ends: Ends,
    handler: Rc<H>,
    place: Place,
) {
    let peer = Rc::new(Peer {
        ends,
        place,
        going: RefCell::default(),
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
    tokio::select! {
        // A request that has come is answered also where the place is needed.
        biased;
        _ = connection => {}
        () = peer.is_overdue() => {}
        () = peer.place.is_needed() => handler.gives_way(),
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
