//! How a connection ends, whatever its protocol.
//!
//! If a socket is closed with unread input, the kernel sends a reset, which destroys what the client has not read
//! yet: the refusal, the close code, the time to reconnect. Therefore the final message is written, our side is shut
//! down, and further input is read and dropped until the client has closed too, or a limit is reached.
//!
//! ```text
//! outbox, message ─► write ─► await a WebSocket's close frame ─► shutdown(SHUT_WR) ─► read and drop ─► close
//! ```
//!
//! A client that has closed already costs only the calls that find this out. For the others each thread has one
//! epoll, and they keep their place among the connections until they are closed.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::read;
use protocol::ws::decoder::Decoder;
use slab::Slab;
use tokio::time::{MissedTickBehavior, interval};

use crate::engine::outbox::Outbox;
use crate::engine::transmit::write_some;
use crate::engine::uring::Job;
use crate::process::async_fd;
use crate::process::metrics::Metrics;

/// How long a client may send and take nothing: more than a round trip of the slowest networks.
const SILENCE: Duration = Duration::from_secs(2);
/// The same while the daemon drains: its successor waits.
const SILENCE_AT_STOP: Duration = Duration::from_millis(500);
/// The same where memory for events is tight, for what waits in an outbox; where it is full, no longer.
const STUCK: Duration = Duration::from_secs(1);
/// How long an ending may take in all, and how many bytes are read. Within these, a client that reads no response
/// before it has sent its whole request gets it.
const LONGEST: Duration = Duration::from_secs(10);
const MOST: usize = 16 << 20;
/// How often the limits of time are checked.
const CHECK: Duration = Duration::from_millis(250);
/// Bytes read at once, and how often one socket is read before others have their turn.
const INPUT: usize = 16 << 10;
const READS: usize = 4;

/// A connection that is over. The socket is non-blocking, and in no other epoll.
pub struct Ending<P> {
    pub fd: OwnedFd,
    /// What its client has not taken yet.
    pub rest: Option<Box<Outbox>>,
    /// The final message or response, sent after that.
    pub message: Bytes,
    pub awaited_close: Option<AwaitedClose>,
    /// Dropped when the socket is closed.
    pub place: P,
}

impl<P> Ending<P> {
    /// With nothing left to send.
    pub fn new(fd: OwnedFd, place: P) -> Self {
        Self {
            fd,
            rest: None,
            message: Bytes::new(),
            awaited_close: None,
            place,
        }
    }
}

/// The close frame that is awaited from a WebSocket's client, which was sent ours (RFC 6455, section 7.1.1).
#[derive(Debug)]
pub struct AwaitedClose {
    decoder: Decoder,
    /// Bytes of a message, as before the close.
    most: usize,
}

impl AwaitedClose {
    /// None: the closing handshake is over already, or nothing more can be decoded.
    pub fn new(decoder: Decoder, most: usize) -> Option<Self> {
        (!decoder.is_done()).then_some(Self { decoder, most })
    }

    /// Decodes what was received; whether the close frame is still awaited.
    pub fn receive(&mut self, mut bytes: &mut [u8]) -> bool {
        while let Ok(Some(_)) = self.decoder.next(&mut bytes, self.most) {}
        !self.decoder.is_done()
    }
}

/// The ending connections of one thread.
pub struct Lingering<P> {
    metrics: Arc<Metrics>,
    epoll: Epoll,
    all: Slab<Linger<P>>,
    silence: Duration,
    ready: Vec<EpollEvent>,
    input: Vec<u8>,
}

struct Linger<P> {
    ending: Ending<P>,
    begun: Instant,
    /// When the client last sent or took anything.
    last: Instant,
    /// Bytes that were received.
    received: usize,
    /// The client has closed its side, and we have closed ours.
    read_closed: bool,
    write_closed: bool,
}

/// How an ending goes on.
enum Step {
    /// The client has not closed yet.
    Wait,
    /// The client is gone, or has closed too.
    Gone,
    /// It sent more than is read.
    TooMuch,
}

impl<P> Lingering<P> {
    /// # Errors
    /// If there is no epoll to be had.
    pub fn new(metrics: Arc<Metrics>) -> io::Result<Self> {
        Ok(Self {
            metrics,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            all: Slab::new(),
            silence: SILENCE,
            ready: vec![EpollEvent::empty(); 256],
            input: vec![0; INPUT],
        })
    }

    /// The most bytes that `connections` of them hold, where a WebSocket's message has up to
    /// `message_bytes`. What waits in their outboxes is counted by `server.outbox_total`.
    pub fn ceiling(connections: usize, message_bytes: usize) -> u64 {
        (connections * (size_of::<Linger<P>>() + message_bytes)) as u64
    }

    /// Ends a connection.
    pub fn end(&mut self, ending: Ending<P>) {
        let now = Instant::now();
        let mut linger = Linger {
            ending,
            begun: now,
            last: now,
            received: 0,
            read_closed: false,
            write_closed: false,
        };
        match linger.step(&mut self.input) {
            Step::Gone => return,
            Step::TooMuch => return self.metrics.endings_cut_bytes.add(1),
            Step::Wait => {}
        }
        let entry = self.all.vacant_entry();
        let event = EpollEvent::new(linger.waits_for(), entry.key() as u64);
        // If the kernel has no memory to watch it, it is closed at once.
        if self.epoll.add(&linger.ending.fd, event).is_ok() {
            entry.insert(linger);
            self.metrics.ending.add(1);
        }
    }

    /// Readable when `on_ready` has something to do.
    fn queue(&self) -> io::Result<OwnedFd> {
        self.epoll.0.try_clone()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// From now on clients have less time: the daemon drains.
    pub fn hurry(&mut self) {
        self.silence = SILENCE_AT_STOP;
    }

    /// Deals with what the sockets report. True: there was nothing.
    fn on_ready(&mut self) -> bool {
        let mut ready = std::mem::take(&mut self.ready);
        let count = self.epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
        for event in &ready[..count] {
            self.go_on(event.data() as usize);
        }
        self.ready = ready;
        count == 0
    }

    fn go_on(&mut self, key: usize) {
        let Some(linger) = self.all.get_mut(key) else {
            return;
        };
        let before = linger.waits_for();
        match linger.step(&mut self.input) {
            Step::Gone => self.close(key),
            Step::TooMuch => {
                self.metrics.endings_cut_bytes.add(1);
                self.close(key);
            }
            Step::Wait if linger.waits_for() == before => {}
            Step::Wait => {
                let mut event = EpollEvent::new(linger.waits_for(), key as u64);
                if self.epoll.modify(&linger.ending.fd, &mut event).is_err() {
                    self.close(key);
                }
            }
        }
    }

    /// Closes the connections whose time is over, and those that hold memory that others need.
    fn close_overdue(&mut self) {
        let in_the_way = self.all.iter().filter(|(_, linger)| linger.is_in_the_way());
        for key in in_the_way.map(|(key, _)| key).collect::<Vec<_>>() {
            self.metrics.endings_cut_memory.add(1);
            self.close(key);
        }
        let overdue = |linger: &Linger<P>| {
            linger.last.elapsed() >= self.silence || linger.begun.elapsed() >= LONGEST
        };
        let all = self.all.iter().filter(|(_, linger)| overdue(linger));
        for key in all.map(|(key, _)| key).collect::<Vec<_>>() {
            self.metrics.endings_cut_time.add(1);
            self.close(key);
        }
    }

    fn close(&mut self, key: usize) {
        self.all.remove(key);
        self.metrics.ending.sub(1);
    }
}

impl<P> Linger<P> {
    /// Whether it holds memory for events that others need.
    fn is_in_the_way(&self) -> bool {
        self.ending.rest.as_ref().is_some_and(|rest| {
            let memory = rest.budget();
            memory.is_full() || memory.is_tight() && self.last.elapsed() >= STUCK
        })
    }

    /// Writes and reads as much as is possible now.
    fn step(&mut self, input: &mut [u8]) -> Step {
        if self.write().is_err() {
            return Step::Gone;
        }
        for _ in 0..READS {
            if self.read_closed {
                break;
            }
            match read(&self.ending.fd, input) {
                Ok(0) => {
                    self.read_closed = true;
                    self.ending.awaited_close = None;
                }
                Ok(count) => {
                    self.last = Instant::now();
                    self.received += count;
                    if self.received > MOST {
                        return Step::TooMuch;
                    }
                    let awaited = &mut self.ending.awaited_close;
                    if awaited
                        .as_mut()
                        .is_some_and(|close| !close.receive(&mut input[..count]))
                    {
                        *awaited = None;
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return Step::Gone,
            }
        }
        if self.write().is_err() || self.read_closed && self.write_closed {
            return Step::Gone;
        }
        Step::Wait
    }

    /// Writes what waits and the final message after it, then shuts down our side.
    fn write(&mut self) -> Result<(), Errno> {
        if self.write_closed {
            return Ok(());
        }
        let ending = &mut self.ending;
        if let Some(rest) = &mut ending.rest {
            if rest.write_to(ending.fd.as_fd())? > 0 {
                self.last = Instant::now();
            }
            if !rest.is_empty() {
                return Ok(());
            }
            ending.rest = None;
        }
        if !ending.message.is_empty() {
            let job = Job {
                fd: ending.fd.as_fd(),
                bytes: &ending.message,
            };
            let written = write_some(&job)?;
            if written > 0 {
                self.last = Instant::now();
            }
            ending.message.advance(written);
            if !ending.message.is_empty() {
                return Ok(());
            }
        }
        if ending.awaited_close.is_none() {
            self.write_closed = true;
            shutdown(std::os::fd::AsRawFd::as_raw_fd(&ending.fd), Shutdown::Write)?;
        }
        Ok(())
    }

    fn waits_for(&self) -> EpollFlags {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, !self.read_closed);
        let writes = self.ending.rest.is_some() || !self.ending.message.is_empty();
        flags.set(EpollFlags::EPOLLOUT, writes);
        flags
    }
}

/// Drives the ending connections for as long as the thread runs.
///
/// # Errors
/// If their epoll cannot be waited for.
pub async fn drive<P>(lingering: Rc<RefCell<Lingering<P>>>) -> io::Result<()> {
    let queue = async_fd::readable(lingering.borrow().queue()?)?;
    let mut checks = interval(CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ready = queue.readable() => {
                let mut ready = ready?;
                // The queue is edge-triggered here: it is emptied before it counts as no longer ready.
                if lingering.borrow_mut().on_ready() {
                    ready.clear_ready();
                }
                // However fast they send, the worker's other tasks have their turn.
                tokio::task::yield_now().await;
            }
            _ = checks.tick() => lingering.borrow_mut().close_overdue(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;

    use protocol::ws::frame;

    use super::*;
    use crate::engine::outbox::{Bounds, FrameKind, ReplayPosition};
    use crate::process::budget::Budget;

    const BOUNDS: Bounds = Bounds {
        frames: 9,
        bytes: 1 << 30,
    };

    /// Held until the connection is closed.
    type Place = Rc<()>;

    fn pair() -> (Lingering<Place>, Ending<Place>, UnixStream, Place) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let place = Rc::new(());
        let ending = Ending::new(ours.into(), place.clone());
        (
            Lingering::new(Arc::default()).unwrap(),
            ending,
            theirs,
            place,
        )
    }

    fn held(place: &Place) -> bool {
        Rc::strong_count(place) > 1
    }

    fn read_all(socket: &mut UnixStream) -> (Vec<u8>, Option<ErrorKind>) {
        let mut bytes = Vec::new();
        let end = socket.read_to_end(&mut bytes).err().map(|why| why.kind());
        (bytes, end)
    }

    #[test]
    fn a_client_that_has_closed_is_closed_at_once() {
        let (mut lingering, ending, theirs, place) = pair();
        drop(theirs);
        lingering.end(ending);
        assert!(lingering.is_empty() && !held(&place));
    }

    #[test]
    fn a_client_with_unread_input_reads_the_message_and_the_end_and_keeps_its_place() {
        let (mut lingering, mut ending, mut theirs, place) = pair();
        theirs.write_all(&[b'x'; 100_000]).unwrap();
        ending.message = Bytes::from_static(b"the end");
        lingering.end(ending);
        assert_eq!(read_all(&mut theirs), (b"the end".to_vec(), None));
        while !lingering.on_ready() {}
        theirs.write_all(b"more").unwrap();
        while !lingering.on_ready() {}
        assert!(held(&place) && lingering.metrics.ending.get() == 1);
        drop(theirs);
        while !lingering.on_ready() {}
        assert!(!held(&place) && lingering.metrics.ending.get() == 0);
    }

    #[test]
    fn what_waited_is_sent_whole_before_the_message() {
        let (mut lingering, mut ending, mut theirs, place) = pair();
        let budget = Arc::new(Budget::new(1 << 30));
        let mut outbox = Box::new(Outbox::new(&budget));
        for n in 0..3u8 {
            let frame = budget.hold(vec![n; 1 << 20]);
            let of = FrameKind::Event(ReplayPosition::start(n.into()));
            outbox.push(of, frame, BOUNDS).unwrap();
        }
        ending.rest = Some(outbox);
        ending.message = Bytes::from_static(b"the end");
        lingering.end(ending);
        let mut got = Vec::new();
        loop {
            let (bytes, end) = read_all(&mut theirs);
            got.extend(bytes);
            if end.is_none() {
                break;
            }
            while !lingering.on_ready() {}
        }
        assert_eq!(got.len(), (3 << 20) + 7);
        assert!(got.ends_with(b"\x02the end"));
        drop(theirs);
        while !lingering.on_ready() {}
        assert!(!held(&place));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_half_closed_client_gets_the_message_too() {
        let (mut lingering, mut ending, mut theirs, place) = pair();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        ending.message = vec![b'w'; 1 << 20].into();
        lingering.end(ending);
        let mut got = 0;
        loop {
            let (bytes, end) = read_all(&mut theirs);
            got += bytes.len();
            if end.is_none() {
                break;
            }
            while !lingering.on_ready() {}
        }
        assert_eq!(got, 1 << 20);
        assert!(!held(&place));
    }

    #[test]
    fn a_websocket_is_shut_down_once_its_client_has_answered_the_close() {
        let (mut lingering, mut ending, mut theirs, place) = pair();
        ending.awaited_close = AwaitedClose::new(Decoder::default(), 1000);
        ending.message = frame::close(4200, "").into();
        lingering.end(ending);
        // What was under way is skipped, even in the middle of a frame.
        theirs.write_all(b"\x81\x85\0\0\0\0hel").unwrap();
        while !lingering.on_ready() {}
        let (bytes, end) = read_all(&mut theirs);
        assert_eq!(bytes, frame::close(4200, ""));
        assert_eq!(end, Some(ErrorKind::WouldBlock), "it is not shut yet");
        theirs.write_all(b"lo\x88\x82\0\0\0\0\x10\x68").unwrap();
        while !lingering.on_ready() {}
        assert_eq!(read_all(&mut theirs), (Vec::new(), None));
        assert!(held(&place));
        drop(theirs);
        while !lingering.on_ready() {}
        assert!(!held(&place));
    }

    #[tokio::test]
    async fn others_have_their_turn_however_much_comes() {
        let (mut lingering, ending, mut theirs, _place) = pair();
        let chunk = [b'x'; 16 << 10];
        let mut sent = 0;
        lingering.end(ending);
        while let Ok(count) = theirs.write(&chunk) {
            sent += count;
        }
        assert!(sent > 2 * READS * INPUT, "{sent}");
        let lingering = Rc::new(RefCell::new(lingering));
        let came = || {
            lingering
                .borrow()
                .all
                .iter()
                .map(|(_, one)| one.received)
                .sum()
        };
        let others = async {
            loop {
                tokio::task::yield_now().await;
                let came: usize = came();
                if came > 0 {
                    return came;
                }
            }
        };
        let came = tokio::select! {
            came = others => came,
            ended = drive(lingering.clone()) => panic!("{ended:?}"),
        };
        assert!(came < sent, "all that came was read first: {came}");
    }

    #[test]
    fn what_waits_goes_where_memory_is_short() {
        let stays = |bytes: usize, silence: Duration| {
            let (mut lingering, mut ending, _theirs, place) = pair();
            let budget = Arc::new(Budget::new(16 << 20));
            let mut outbox = Box::new(Outbox::new(&budget));
            let frame = budget.hold(vec![0; 1 << 20]);
            outbox.push(FrameKind::Control, frame, BOUNDS).unwrap();
            ending.rest = Some(outbox);
            lingering.end(ending);
            let _others = budget.charge(bytes);
            for (_, one) in &mut lingering.all {
                one.last = Instant::now().checked_sub(silence).unwrap();
            }
            lingering.close_overdue();
            let cut = lingering.metrics.endings_cut_memory.get();
            assert_eq!(held(&place), cut == 0);
            cut == 0
        };
        let (short, long) = (Duration::ZERO, STUCK);
        assert!(stays(0, long), "there is room");
        assert!(stays(13 << 20, short), "it is tight, but it may take it");
        assert!(!stays(13 << 20, long), "it is tight");
        assert!(!stays(16 << 20, short), "it is full");
    }

    #[test]
    fn a_client_that_sends_too_much_or_is_silent_for_too_long_is_closed() {
        let (mut lingering, ending, mut theirs, place) = pair();
        lingering.end(ending);
        let mut sent = 0;
        let chunk = [0; 64 << 10];
        loop {
            match theirs.write(&chunk) {
                Ok(count) => sent += count,
                Err(why) if why.kind() == ErrorKind::WouldBlock => while !lingering.on_ready() {},
                Err(_) => break,
            }
        }
        assert!(sent > MOST && !held(&place));
        assert_eq!(lingering.metrics.endings_cut_bytes.get(), 1);

        let (mut lingering, ending, _theirs, place) = pair();
        lingering.end(ending);
        lingering.close_overdue();
        assert!(held(&place), "its time is not over");
        lingering.silence = Duration::ZERO;
        lingering.close_overdue();
        assert!(!held(&place) && lingering.is_empty());
        assert_eq!(lingering.metrics.endings_cut_time.get(), 1);
    }
}
