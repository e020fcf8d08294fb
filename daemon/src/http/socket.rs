//! A connection's socket as hyper sees it, and what is known of the request in hand: it counts what hyper
//! holds of it (`requests.rs`), ends a head that is too long, notices when the client has said all, and
//! gives a client that takes nothing of its answers only so long.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::process::client_key::ClientKey;
use crate::process::requests::{Full, Held, Stage};

/// What a connection costs while hyper has it, besides its buffers: its task, its state, a parsed head, and
/// the pages that a buffer only begins.
const TASK: usize = 12 << 10;

/// The request in hand. Shared by the socket, the handler, and the task around hyper.
pub struct Progress {
    held: RefCell<Held>,
    /// Of the task around hyper.
    waker: RefCell<Waker>,
    /// Whose connection it is.
    client: ClientKey,
    /// Whether it is the head that is being read, and how much of it has come.
    in_head: Cell<bool>,
    head: Cell<usize>,
    /// Bytes of hyper's buffer, of the one before, in which the head is, and of a body that is kept.
    buffer: Cell<usize>,
    behind: Cell<usize>,
    body: Cell<usize>,
    /// Whether some of the body is still to come: then nothing can follow the answer.
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

    /// To be called with each poll of the task around hyper: whether it has to give way.
    pub fn gives_way(&self, cx: &Context<'_>) -> bool {
        self.waker.borrow_mut().clone_from(cx.waker());
        self.held.borrow().gives_way()
    }

    /// The head is complete, and what it asks for is done.
    pub fn head_ended(&self, has_body: bool) {
        self.in_head.set(false);
        self.unread.set(has_body);
        if has_body {
            // The head's values are slices of it.
            self.behind.set(self.buffer.take());
        }
        self.held.borrow_mut().set_stage(Stage::Us);
    }

    /// The client's body is awaited. `client`: who a proxy says it is.
    pub fn body_begins(&self, client: Option<ClientKey>) {
        let mut held = self.held.borrow_mut();
        held.set_client(client.unwrap_or(self.client));
        held.set_stage(Stage::Client);
    }

    /// So many bytes of the body are kept.
    ///
    /// # Errors
    /// If there is no room for them.
    pub fn keep(&self, bytes: usize) -> Result<(), Full> {
        self.body.set(bytes);
        self.hold()
    }

    pub fn body_ended(&self) {
        self.unread.set(false);
        self.held.borrow_mut().set_stage(Stage::Us);
    }

    /// It is answered: another request may follow.
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
        // It is less than before.
        let _ = self.hold();
    }

    pub fn is_unread(&self) -> bool {
        self.unread.get()
    }

    pub fn is_in_head(&self) -> bool {
        self.in_head.get()
    }

    fn hold(&self) -> Result<(), Full> {
        let bytes = TASK + self.buffer.get() + self.behind.get() + self.body.get();
        self.held.borrow_mut().hold(bytes, &self.waker.borrow())
    }
}

/// Why the socket reads or writes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The head is too long.
    Long,
    /// There are too many requests in progress.
    Full,
    /// The client takes nothing.
    Stalled,
}

pub struct Watched<S> {
    inner: S,
    progress: Rc<Progress>,
    header_bytes: usize,
    write_timeout: Duration,
    /// Only while the client takes nothing.
    blocked: Option<Pin<Box<Sleep>>>,
    heard_all: bool,
    stopped: Option<Stopped>,
}

impl<S> Watched<S> {
    pub fn new(
        inner: S,
        progress: Rc<Progress>,
        header_bytes: usize,
        write_timeout: Duration,
    ) -> Self {
        Self {
            inner,
            progress,
            header_bytes,
            write_timeout,
            blocked: None,
            heard_all: false,
            stopped: None,
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

    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    fn stop<T>(&mut self, why: Stopped) -> Poll<io::Result<T>> {
        self.stopped = Some(why);
        Poll::Ready(Err(io::ErrorKind::Other.into()))
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
        let most = match in_head {
            true => this.header_bytes.saturating_sub(head),
            false => usize::MAX,
        };
        if most == 0 {
            return this.stop(Stopped::Long);
        }
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        // hyper offers all that its buffer has left; what it keeps of a head is in front of that.
        let size = if in_head { head + room } else { room };
        progress.buffer.set(progress.buffer.get().max(size));
        let outcome = if room <= most {
            Pin::new(&mut this.inner).poll_read(cx, buffer)
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
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
        this.heard_all |= room > 0 && count == 0;
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
