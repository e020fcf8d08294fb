//! A connection's socket as hyper sees it: it notices when the client has said all, and gives a client that
//! takes nothing of its answers only so long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

pub struct Watched<S> {
    inner: S,
    write_timeout: Duration,
    /// Only while the client takes nothing.
    blocked: Option<Pin<Box<Sleep>>>,
    heard_all: bool,
    stalled: bool,
}

impl<S> Watched<S> {
    pub fn new(inner: S, write_timeout: Duration) -> Self {
        Self {
            inner,
            write_timeout,
            blocked: None,
            heard_all: false,
            stalled: false,
        }
    }

    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Whether something waits that the client has not taken.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Whether the client has closed its side.
    pub fn has_heard_all(&self) -> bool {
        self.heard_all
    }

    /// Whether the client has taken nothing for too long.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// What became of a write.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.blocked = None;
            return outcome;
        }
        let limit = self.write_timeout;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(blocked.as_mut().poll(cx));
        self.stalled = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        this.heard_all |= room > 0 && buffer.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
