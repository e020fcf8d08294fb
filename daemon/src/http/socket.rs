//! A connection's socket as hyper sees it, and the progress of the current request: it counts the memory that
//! hyper needs for it (`requests.rs`), refuses a head that is too long, notes when the client has closed its
//! side, and gives up a client that reads nothing of a response for too long.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::process::client_key::ClientKey;
use crate::process::requests::{Full, Held, Stage};

/// Bytes of a connection while hyper has it, besides its buffers: its task, its state, a parsed head, and the
/// partly used pages of a buffer.
const TASK: usize = 12 << 10;

/// The current request. Shared by the socket, the handler, and the task around hyper.
pub struct Progress {
    held: RefCell<Held>,
    /// Wakes the task around hyper.
    waker: RefCell<Waker>,
    /// The client of the connection.
    client: ClientKey,
    /// Whether a head is being read, and how many of its bytes were received.
    in_head: Cell<bool>,
    head: Cell<usize>,
    /// Bytes of hyper's buffer, of the one before it, which has the head, and of a body that is kept.
    buffer: Cell<usize>,
    behind: Cell<usize>,
    body: Cell<usize>,
    /// Whether part of the body was not received yet: no request can follow the response then.
    unread: Cell<bool>,
}

impl Progress {
    pub fn new(held: Held, client: ClientKey) -> Self {
        Self {
            held: RefCell::new(held),
            waker: RefCell::new(Waker::noop().clone()),
            client,
            in_head: Cell::new(true),
            head: Cell::new(0),
            buffer: Cell::new(0),
            behind: Cell::new(0),
            body: Cell::new(0),
            unread: Cell::new(false),
        }
    }

    /// Whether the connection has to give way. To be called with each poll of the task around hyper.
    pub fn gives_way(&self, cx: &Context<'_>) -> bool {
        self.waker.borrow_mut().clone_from(cx.waker());
        self.held.borrow().gives_way()
    }

    /// The head is complete, and the request is being handled.
    pub fn head_ended(&self, has_body: bool) {
        self.in_head.set(false);
        self.unread.set(has_body);
        if has_body {
            // The head's values are slices of this buffer, so hyper takes a new one.
            self.behind.set(self.buffer.take());
        }
        self.held.borrow_mut().set_stage(Stage::Us);
    }

    /// The body is being received. `client`: the client, if its address is known.
    pub fn body_begins(&self, client: Option<ClientKey>) {
        let mut held = self.held.borrow_mut();
        held.set_client(client.unwrap_or(self.client));
        held.set_stage(Stage::Client);
    }

    /// Sets the bytes of the body that are kept.
    ///
    /// # Errors
    /// If the bound of all requests is reached.
    pub fn keep(&self, bytes: usize) -> Result<(), Full> {
        self.body.set(bytes);
        self.hold()
    }

    /// The body was received as a whole.
    pub fn body_ended(&self) {
        self.unread.set(false);
        self.held.borrow_mut().set_stage(Stage::Us);
    }

    /// The request is answered; another may follow.
    pub fn answered(&self) {
        self.in_head.set(true);
        self.head.set(0);
        let mut held = self.held.borrow_mut();
        held.set_client(self.client);
        held.set_stage(Stage::Idle);
        drop(held);
        self.body.set(0);
        let behind = self.behind.take();
        self.buffer.set(self.buffer.get().max(behind));
        // Never fails: it is less than before.
        let _ = self.hold();
    }

    /// Whether part of the body was not received.
    pub fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// Whether a head is being received, or awaited.
    pub fn is_in_head(&self) -> bool {
        self.in_head.get()
    }

    fn hold(&self) -> Result<(), Full> {
        let bytes = TASK + self.buffer.get() + self.behind.get() + self.body.get();
        self.held.borrow_mut().hold(bytes, &self.waker.borrow())
    }
}

/// Why the socket was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    HeadTooLong,
    /// There are too many requests in progress.
    Full,
    /// The client reads nothing.
    Stalled,
}

/// The socket that hyper reads and writes.
pub struct Watched<S> {
    inner: S,
    /// What was read of it before hyper had it, and comes first.
    first: Bytes,
    progress: Rc<Progress>,
    header_bytes: usize,
    write_timeout: Duration,
    /// The write timeout, while a write is blocked.
    blocked: Option<Pin<Box<Sleep>>>,
    at_end: bool,
    stopped: Option<Stopped>,
}

impl<S> Watched<S> {
    pub fn new(
        inner: S,
        first: Bytes,
        progress: Rc<Progress>,
        header_bytes: usize,
        write_timeout: Duration,
    ) -> Self {
        Self {
            inner,
            first,
            progress,
            header_bytes,
            write_timeout,
            blocked: None,
            at_end: false,
            stopped: None,
        }
    }

    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Whether a write is blocked, because the client does not read.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Whether the client has closed its side.
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    fn stop<T>(&mut self, why: Stopped) -> Poll<io::Result<T>> {
        self.stopped = Some(why);
        Poll::Ready(Err(io::ErrorKind::Other.into()))
    }

    /// Starts or checks the write timeout after a write with this outcome.
    fn after_write(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.blocked = None;
            return outcome;
        }
        if self.progress.hold().is_err() {
            return self.stop(Stopped::Full);
        }
        let limit = self.write_timeout;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(blocked.as_mut().poll(cx));
        self.stop(Stopped::Stalled)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let progress = &this.progress;
        let (in_head, head) = (progress.in_head.get(), progress.head.get());
        let max = match in_head {
            true => this.header_bytes.saturating_sub(head),
            false => usize::MAX,
        };
        if max == 0 {
            return this.stop(Stopped::HeadTooLong);
        }
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        // hyper offers the rest of its buffer; the head received so far is in front of it.
        let size = if in_head { head + room } else { room };
        progress.buffer.set(progress.buffer.get().max(size));
        let outcome = if !this.first.is_empty() {
            let count = this.first.len().min(room).min(max);
            buffer.put_slice(&this.first.split_to(count));
            if this.first.is_empty() {
                // Without its memory.
                this.first = Bytes::new();
            }
            Poll::Ready(Ok(()))
        } else if room <= max {
            Pin::new(&mut this.inner).poll_read(cx, buffer)
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(max));
            let outcome = Pin::new(&mut this.inner).poll_read(cx, &mut part);
            let count = part.filled().len();
            buffer.advance(count);
            outcome
        };
        if outcome.is_pending() {
            let waits = progress.held.borrow().stage() != Stage::Us;
            if waits && progress.hold().is_err() {
                return this.stop(Stopped::Full);
            }
            return Poll::Pending;
        }
        ready!(outcome)?;
        let count = buffer.filled().len() - before;
        this.at_end |= room > 0 && count == 0;
        if in_head && count > 0 {
            progress.head.set(head + count);
            progress.held.borrow_mut().set_stage(Stage::Client);
        }
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
        this.after_write(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.after_write(cx, outcome)
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
