//! How a connection ends, through whatever door it came.
//!
//! A socket that is closed with unread input makes the kernel send a reset, which destroys what its client
//! has not read yet: the refusal, the close code, the time to come back. So the last words are written, our
//! side is shut, and what still comes is read and dropped until the client has closed too, or until a limit.
//!
//! ```text
//! words left ─► write ─► a WebSocket's close frame awaited ─► shutdown(SHUT_WR) ─► read and drop ─► close
//! ```
//!
//! A client that has closed already costs no more than the calls that find it out. For the others there is
//! one epoll a thread, and their place among the connections is held until they are gone.

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

/// How long nothing may come, and nothing be taken. A round trip of the slowest networks, and some.
const SILENCE: Duration = Duration::from_secs(2);
/// The same while the daemon stops: its successor waits.
const SILENCE_AT_STOP: Duration = Duration::from_millis(500);
/// How long it may take at all, and how many bytes are read: a client that reads no answer before it has
/// sent all of its request gets it up to here.
const LONGEST: Duration = Duration::from_secs(10);
const MOST: usize = 16 << 20;
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Read at once, and how often before others have their turn.
const INPUT: usize = 16 << 10;
const READS: usize = 4;

/// A connection that is over. The socket is non-blocking, and in no other epoll.
pub struct Ending<P> {
    pub fd: OwnedFd,
    /// What its client has not taken yet, and what it is told behind that.
    pub rest: Option<Box<Outbox>>,
    pub words: Bytes,
    pub hearing: Option<Hearing>,
    /// Dropped when the socket is closed.
    pub place: P,
}

impl<P> Ending<P> {
    /// With nothing left to say.
    pub fn new(fd: OwnedFd, place: P) -> Self {
        Self {
            fd,
            rest: None,
            words: Bytes::new(),
            hearing: None,
            place,
        }
    }
}

/// A WebSocket that has been sent a close frame: its client's is awaited (RFC 6455, section 7.1.1).
#[derive(Debug)]
pub struct Hearing {
    decoder: Decoder,
    /// Bytes of a message, as before the close.
    most: usize,
}

impl Hearing {
    /// None: the closing handshake is over already, or nothing more can be understood.
    pub fn new(decoder: Decoder, most: usize) -> Option<Self> {
        (!decoder.is_done()).then_some(Self { decoder, most })
    }

    /// Whether the close is still to come behind these bytes.
    pub fn hear(&mut self, mut bytes: &mut [u8]) -> bool {
        while let Ok(Some(_)) = self.decoder.next(&mut bytes, self.most) {}
        !self.decoder.is_done()
    }
}

/// Those of one thread.
pub struct Lingering<P> {
    metrics: Arc<Metrics>,
    epoll: Epoll,
    all: Slab<Linger<P>>,
    silence: Duration,
    ready: Vec<EpollEvent>,
    input: Vec<u8>,
}

/// One of them.
struct Linger<P> {
    ending: Ending<P>,
    begun: Instant,
    /// When anything last came or was taken.
    last: Instant,
    /// Bytes that came.
    came: usize,
    /// The client has closed its side, and we ours.
    heard_all: bool,
    said_all: bool,
}

/// How it goes on.
enum Step {
    /// There is something to wait for.
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

    /// Bytes that `connections` of them hold at the most, where a WebSocket's message has up to
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
            came: 0,
            heard_all: false,
            said_all: false,
        };
        match linger.step(&mut self.input) {
            Step::Gone => return,
            Step::TooMuch => return self.metrics.endings_cut_bytes.add(1),
            Step::Wait => {}
        }
        let entry = self.all.vacant_entry();
        let event = EpollEvent::new(linger.waits_for(), entry.key() as u64);
        // Without memory or a watch to be had it is closed at once, as it would be without all this.
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

    /// From now on clients are given less time: the process is to end.
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

    /// Closes what has had its time.
    fn cut_late(&mut self) {
        let late = |linger: &Linger<P>| {
            linger.last.elapsed() >= self.silence || linger.begun.elapsed() >= LONGEST
        };
        let all = self.all.iter().filter(|(_, linger)| late(linger));
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
    /// Says and hears as much as is possible now.
    fn step(&mut self, input: &mut [u8]) -> Step {
        if self.send_frame().is_err() {
            return Step::Gone;
        }
        for _ in 0..READS {
            if self.heard_all {
                break;
            }
            match read(&self.ending.fd, input) {
                Ok(0) => {
                    self.heard_all = true;
                    self.ending.hearing = None;
                }
                Ok(count) => {
                    self.last = Instant::now();
                    self.came += count;
                    if self.came > MOST {
                        return Step::TooMuch;
                    }
                    let mut hearing = self.ending.hearing.take();
                    self.ending.hearing =
                        hearing.take_if(|hearing| hearing.hear(&mut input[..count]));
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return Step::Gone,
            }
        }
        if self.send_frame().is_err() || self.heard_all && self.said_all {
            return Step::Gone;
        }
        Step::Wait
    }

    /// What waits, the last words behind it, and that there are no more.
    fn send_frame(&mut self) -> Result<(), Errno> {
        if self.said_all {
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
        if !ending.words.is_empty() {
            let job = Job {
                fd: ending.fd.as_fd(),
                bytes: &ending.words,
            };
            let written = write_some(&job)?;
            if written > 0 {
                self.last = Instant::now();
            }
            ending.words.advance(written);
            if !ending.words.is_empty() {
                return Ok(());
            }
        }
        if ending.hearing.is_none() {
            self.said_all = true;
            shutdown(std::os::fd::AsRawFd::as_raw_fd(&ending.fd), Shutdown::Write)?;
        }
        Ok(())
    }

    fn waits_for(&self) -> EpollFlags {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, !self.heard_all);
        let says = self.ending.rest.is_some() || !self.ending.words.is_empty();
        flags.set(EpollFlags::EPOLLOUT, says);
        flags
    }
}

/// Gives them what happens, for as long as the thread runs.
///
/// # Errors
/// If their epoll cannot be waited for.
pub async fn drive<P>(lingering: Rc<RefCell<Lingering<P>>>) -> io::Result<()> {
    let queue = async_fd::readable(lingering.borrow().queue()?)?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ready = queue.readable() => {
                let mut ready = ready?;
                // What is ready stays ready, and tells nobody again: looked at until there is nothing.
                if lingering.borrow_mut().on_ready() {
                    ready.clear_ready();
                }
            }
            _ = looks.tick() => lingering.borrow_mut().cut_late(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;

    use protocol::ws::frame;

    use super::*;
    use crate::engine::outbox::{At, Bounds, FrameKind};
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
    fn it_reads_the_words_and_an_end_whatever_it_sent_and_its_place_is_held() {
        let (mut lingering, mut ending, mut theirs, place) = pair();
        theirs.write_all(&[b'x'; 100_000]).unwrap();
        ending.words = Bytes::from_static(b"the end");
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
    fn what_waited_comes_whole_before_the_words() {
        let (mut lingering, mut ending, mut theirs, place) = pair();
        let budget = Arc::new(Budget::new(1 << 30));
        let mut outbox = Box::new(Outbox::new(&budget));
        for n in 0..3u8 {
            let frame = budget.hold(vec![n; 1 << 20]);
            let of = FrameKind::Event(At::start(n.into()));
            outbox.push(of, frame, BOUNDS).unwrap();
        }
        ending.rest = Some(outbox);
        ending.words = Bytes::from_static(b"the end");
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
    fn a_half_closed_client_gets_what_waited_too() {
        let (mut lingering, mut ending, mut theirs, place) = pair();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        ending.words = vec![b'w'; 1 << 20].into();
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
    fn a_websocket_is_shut_once_its_client_has_answered_the_close() {
        let (mut lingering, mut ending, mut theirs, place) = pair();
        ending.hearing = Hearing::new(Decoder::default(), 1000);
        ending.words = frame::close(4200, "").into();
        lingering.end(ending);
        // What was on its way is passed over, even in the middle of a frame.
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

    #[test]
    fn whoever_sends_too_much_or_is_silent_for_too_long_is_closed() {
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
        lingering.cut_late();
        assert!(held(&place), "its time is not over");
        lingering.silence = Duration::ZERO;
        lingering.cut_late();
        assert!(!held(&place) && lingering.is_empty());
        assert_eq!(lingering.metrics.endings_cut_time.get(), 1);
    }
}
