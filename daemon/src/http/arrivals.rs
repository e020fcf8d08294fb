//! Connections that were just accepted, until their first bytes are here. One that has sent nothing costs an entry, neither a
//! task nor a buffer.
//!
//! ```text
//! accepted ─► read ─► a request for a stream, whole, that can be opened at once ─► engine
//!              │  └─► anything else ─► hyper (`connection.rs`), with the bytes that were read
//!              └─ nothing yet ─► epoll ─► read …, or closed after the header timeout
//! ```
//!
//! Over TCP the request is nearly always here when its connection is. Over a Unix socket half of them come later: silent
//! connections wait in the epoll of the first application's streams, which is that of most that will be opened, and stay there
//! when they are. What hyper reads counts among the requests in progress (`requests.rs`) from there on; here nothing waits but
//! connections.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv};
use slab::Slab;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::client::World;
use super::connection::{self, stopping};
use super::first;
use super::handler::at_once;
use crate::engine::lingering::Ending;
use crate::engine::poller::{Poller, Token};
use crate::process::admission::Admission;
use crate::process::faults;

/// Bytes read at first, as many as hyper would: it takes them over with its own first read.
const INPUT: usize = 8 << 10;
/// Connections that are served in a row before the worker's streams have their turn.
pub const AT_ONCE: usize = 32;
/// How long the request of a connection that was just accepted is awaited when the daemon stops: closed at once, its
/// client would get no answer.
const LATE: Duration = Duration::from_millis(100);
/// How often it is looked for connections that have sent nothing in time.
const CHECK: Duration = Duration::from_millis(50);

/// An accepted connection. The socket is non-blocking.
pub struct Arrival {
    pub socket: Peer,
    /// The viewer's. None: the peer is a proxy, which names it.
    pub address: Option<IpAddr>,
    pub admission: Admission,
}

pub enum Peer {
    Tcp(OwnedFd),
    Unix(OwnedFd),
}

impl Peer {
    fn fd(&self) -> &OwnedFd {
        match self {
            Self::Tcp(fd) | Self::Unix(fd) => fd,
        }
    }

    fn into_fd(self) -> OwnedFd {
        match self {
            Self::Tcp(fd) | Self::Unix(fd) => fd,
        }
    }
}

/// The arrivals of one worker.
pub struct Arrivals {
    world: Rc<World>,
    /// Sends true when the daemon stops. Whoever is served holds a receiver, and is waited for.
    stop: watch::Sender<bool>,
    /// That of the first application's engine.
    poller: Rc<Poller>,
    silent: Slab<Silent>,
    /// Those that reported something, in their order.
    due: VecDeque<usize>,
    /// Somebody is awaited.
    awaits: Rc<Notify>,
    input: Box<[u8]>,
    /// Room for a request and its headers, used again as soon as nothing of it is.
    bytes: BytesMut,
    headers: HeaderMap,
}

/// A connection that has sent nothing yet.
struct Silent {
    arrival: Arrival,
    /// What the poller has it by.
    token: Token,
    until: Instant,
    /// What it reported since it was read: the poller says once what has come.
    reported: EpollFlags,
}

/// What was there to read of a connection.
enum Received {
    Nothing,
    Input(Bytes),
    /// The client is gone.
    End,
}

impl Arrivals {
    pub fn new(world: Rc<World>, stop: watch::Sender<bool>) -> Self {
        let poller = world.apps[0].1.borrow().poller();
        Self {
            stop,
            awaits: Rc::default(),
            poller,
            silent: Slab::new(),
            due: VecDeque::new(),
            input: vec![0; INPUT].into(),
            bytes: BytesMut::with_capacity(INPUT),
            headers: HeaderMap::new(),
            world,
        }
    }

    /// Whether nobody is awaited.
    pub fn is_empty(&self) -> bool {
        self.silent.is_empty()
    }

    /// Takes a connection over from the acceptor.
    pub fn arrive(&mut self, arrival: Arrival) {
        faults::at("connection", b"");
        match self.receive(&arrival) {
            Received::Nothing => self.watch(arrival),
            Received::Input(input) => self.begin(arrival, input, None),
            Received::End => {}
        }
    }

    /// Reads what is there.
    fn receive(&mut self, arrival: &Arrival) -> Received {
        let fd = arrival.socket.fd().as_raw_fd();
        let count = loop {
            match recv(fd, &mut self.input, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Received::Nothing,
                Err(_) | Ok(0) => return Received::End,
                Ok(count) => break count,
            }
        };
        self.bytes.extend_from_slice(&self.input[..count]);
        Received::Input(self.bytes.split().freeze())
    }

    /// Opens the stream that `input` asks for, if it can be opened at once; hyper serves everything else. `watched`: by the
    /// poller, which reports what comes next.
    fn begin(&mut self, mut arrival: Arrival, input: Bytes, watched: Option<Token>) {
        let world = &self.world;
        let most = world.policy.borrow().header_bytes;
        // Tests can have hyper read all of them.
        let by_us = faults::part("first").is_ok();
        let headers = std::mem::take(&mut self.headers);
        let request = by_us
            .then(|| first::request(&input, most, headers))
            .flatten();
        let takeover = request.and_then(|request| {
            let takeover = at_once(world, &mut arrival.admission, arrival.address, &request);
            self.headers = request.into_parts().0.headers;
            self.headers.clear();
            takeover
        });
        // By the engine that the stream is for.
        let stays = takeover.as_ref().is_some_and(|it| it.request.app == 0);
        let watched = watched.filter(|token| {
            if !stays {
                let _ = self.poller.delete(arrival.socket.fd(), *token);
            }
            stays
        });
        match takeover {
            Some(takeover) => {
                let fd = arrival.socket.into_fd();
                connection::open(world, takeover, fd, watched, arrival.admission.keep());
            }
            None => self.serve(arrival, input),
        }
    }

    fn serve(&self, arrival: Arrival, input: Bytes) {
        let Arrival {
            socket,
            address,
            admission,
        } = arrival;
        let (world, leaving) = (self.world.clone(), self.stop.subscribe());
        // A socket that cannot be registered is out of descriptors or memory: it is dropped.
        match socket {
            Peer::Tcp(fd) => {
                if let Ok(socket) = tokio::net::TcpStream::from_std(fd.into()) {
                    let served =
                        connection::serve(socket, input, address, admission, world, leaving);
                    tokio::task::spawn_local(served);
                }
            }
            Peer::Unix(fd) => {
                if let Ok(socket) = tokio::net::UnixStream::from_std(fd.into()) {
                    let served =
                        connection::serve(socket, input, address, admission, world, leaving);
                    tokio::task::spawn_local(served);
                }
            }
        }
    }

    fn watch(&mut self, arrival: Arrival) {
        let until = Instant::now() + self.world.policy.borrow().header_timeout;
        let entry = self.silent.vacant_entry();
        let key = entry.key() as u32;
        // If the kernel has no memory to watch it, it is closed at once.
        if let Ok(token) = self.poller.add_silent(arrival.socket.fd(), key) {
            let reported = EpollFlags::empty();
            entry.insert(Silent {
                arrival,
                token,
                until,
                reported,
            });
            self.awaits.notify_one();
        }
    }

    /// Deals with some of what the sockets report. True: that was all.
    fn on_reports(&mut self) -> bool {
        while let Some((key, flags)) = self.poller.next_reported() {
            let Some(silent) = self.silent.get_mut(key as usize) else {
                continue;
            };
            if silent.reported.is_empty() {
                self.due.push_back(key as usize);
            }
            silent.reported |= flags;
        }
        for _ in 0..AT_ONCE {
            let Some(key) = self.due.pop_front() else {
                return true;
            };
            // Its time may have been over meanwhile, and its number be another's.
            let reported = self.silent.get(key).map(|silent| silent.reported);
            if reported.is_some_and(|reported| !reported.is_empty()) {
                let silent = self.silent.remove(key);
                self.go_on(silent);
            }
        }
        self.due.is_empty()
    }

    /// A silent connection has reported something.
    fn go_on(&mut self, mut silent: Silent) {
        let token = silent.token;
        match self.receive(&silent.arrival) {
            Received::Nothing => {
                silent.reported = EpollFlags::empty();
                let key = self.silent.insert(silent) as u32;
                self.poller.stays_silent(token, key);
            }
            Received::End => self.poller.forget(token),
            Received::Input(input) => {
                // Whatever more there is was reported already, and would not be again.
                let is_all = silent.reported == EpollFlags::EPOLLIN && input.len() < INPUT;
                let fd = silent.arrival.socket.fd();
                let watched = match is_all {
                    true => Some(token),
                    false => {
                        let _ = self.poller.delete(fd, token);
                        None
                    }
                };
                self.begin(silent.arrival, input, watched);
            }
        }
    }

    /// Closes those that have sent nothing in time. What came while the worker had no time of its own is served.
    fn close_overdue(&mut self) {
        let now = Instant::now();
        let overdue = self.silent.iter().filter(|(_, one)| one.until <= now);
        for key in overdue.map(|(key, _)| key).collect::<Vec<_>>() {
            let Silent { arrival, token, .. } = self.silent.remove(key);
            let _ = self.poller.delete(arrival.socket.fd(), token);
            if let Received::Input(input) = self.receive(&arrival) {
                self.begin(arrival, input, None);
            }
        }
    }

    /// Ends them all: the daemon stops.
    fn end_all(&mut self) {
        let mut lingering = self.world.lingering.borrow_mut();
        for Silent { arrival, token, .. } in self.silent.drain() {
            let _ = self.poller.delete(arrival.socket.fd(), token);
            let place = arrival.admission.into_place();
            lingering.end(Ending::new(arrival.socket.into_fd(), place));
        }
    }
}

/// Drives the arrivals of a worker for as long as the thread runs.
pub async fn drive(arrivals: Rc<RefCell<Arrivals>>) -> io::Result<()> {
    let poller = arrivals.borrow().poller.clone();
    let awaits = arrivals.borrow().awaits.clone();
    let leaving = arrivals.borrow().stop.subscribe();
    let mut late = pin!(async {
        stopping(leaving).await;
        sleep(LATE).await;
    });
    let mut is_late = false;
    let mut more = false;
    let mut checks = interval(CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let waits = !arrivals.borrow().is_empty();
        let reports = async {
            if !more {
                poller.reports().await;
            }
        };
        tokio::select! {
            () = reports => {
                more = !arrivals.borrow_mut().on_reports();
                // However many come, the worker's streams have their turn.
                tokio::task::yield_now().await;
            }
            () = awaits.notified(), if !waits => {}
            _ = checks.tick(), if waits => arrivals.borrow_mut().close_overdue(),
            () = &mut late, if !is_late => {
                is_late = true;
                arrivals.borrow_mut().end_all();
            }
        }
    }
}
