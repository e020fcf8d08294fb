//! Any bytes as a connection's first: what is read of them without hyper is what hyper reads, to the last header, and asks for
//! the same; and what is left to hyper is only what is meant to be. The first byte chooses the settings.
#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use askrd::config::{App, Server};
use askrd::http::{Policy, first, request};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, Version};
use libfuzzer_sys::fuzz_target;
use protocol::rewind::Limits;

const MOST: usize = 8 << 10;

/// A socket with these bytes, of which nothing more comes.
struct Input(Bytes);

impl Read for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let count = self.0.len().min(buffer.remaining());
        buffer.put_slice(&self.0.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl Write for Input {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What hyper makes of it.
struct Seen {
    request: Request<()>,
    has_body: bool,
    /// Bytes behind the head.
    rest: usize,
}

fn by_hyper(input: &Bytes) -> Option<Seen> {
    let seen = RefCell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        let has_body = !request.body().is_end_stream();
        *seen.borrow_mut() = Some((request.map(drop), has_body));
        pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(MOST + 1)
        .max_headers(first::MAX_HEADERS)
        .serve_connection(Input(input.clone()), service);
    let mut cx = Context::from_waker(Waker::noop());
    let _ = pin!(&mut connection).poll(&mut cx);
    let parts = connection.into_parts();
    let rest = parts.read_buf.len() + parts.io.0.len();
    let (request, has_body) = seen.take()?;
    Some(Seen {
        request,
        has_body,
        rest,
    })
}

static POLICIES: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let listed = Server {
        allowed_hosts: vec!["a.example".into()],
        allowed_origins: vec!["https://b.example".parse().expect("an origin")],
        ..Server::default()
    };
    let app = |id: &str, key: &str| App {
        id: id.into(),
        key: key.into(),
        ..App::default()
    };
    let (one, two) = (app("1", "k1"), app("2", "k2"));
    vec![
        Policy::new(&Server::default(), Limits::default(), [&one].into_iter()),
        Policy::new(&listed, Limits::default(), [&one, &two].into_iter()),
    ]
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, input)) = data.split_first() else {
        return;
    };
    if input.is_empty() {
        return;
    }
    let policy = &POLICIES[usize::from(*choice) % POLICIES.len()];
    let input = Bytes::copy_from_slice(input);
    let ours = first::request(&input, MOST, HeaderMap::new());
    let theirs = by_hyper(&input);
    let Some(ours) = ours else {
        let Some(Seen {
            request,
            has_body,
            rest,
        }) = theirs
        else {
            return;
        };
        let left = [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT];
        assert!(
            has_body
                || rest > 0
                || request.method() != Method::GET
                || request.version() != Version::HTTP_11
                || left.iter().any(|name| request.headers().contains_key(name))
                || request.uri().authority().is_some()
                || !request.uri().path().starts_with('/')
                || !input.starts_with(b"GET /"),
            "left to hyper: {request:?}"
        );
        return;
    };
    let theirs = theirs.expect("hyper reads it, too");
    assert!(!theirs.has_body && theirs.rest == 0);
    assert_eq!(ours.method(), theirs.request.method());
    assert_eq!(ours.version(), theirs.request.version());
    assert_eq!(ours.uri(), theirs.request.uri());
    assert_eq!(ours.headers(), theirs.request.headers());
    let [ours, theirs] = [&ours, &theirs.request].map(|one| request::route(one, policy));
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
});
