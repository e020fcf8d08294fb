//! Connections that were just accepted, until their first bytes are here. All of a worker in one epoll: one that has sent
//! nothing costs an entry, neither a task nor a buffer.
//!
//! ```text
//! accepted ─► read ─► a request for a stream, whole, that can be opened at once ─► engine
//!              │  └─► anything else ─► hyper (`connection.rs`), with the bytes that were read
//!              └─ nothing yet ─► epoll ─► read …, or closed after the header timeout
//! ```
//!
//! Nearly always the request is here when its connection is, so that hardly any is watched twice. What hyper reads
//! counts among the requests in progress (`requests.rs`) from there on; here nothing waits but connections.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv};
use slab::Slab;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::client::World;
use super::connection::{self, stopping};
use super::first;
use super::handler::at_once;
use crate::engine::lingering::Ending;
use crate::process::admission::Admission;
use crate::process::async_fd;
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
    epoll: Epoll,
    silent: Slab<Silent>,
    /// Somebody is awaited.
    awaits: Rc<Notify>,
    ready: Vec<EpollEvent>,
    input: Box<[u8]>,
    /// Room for a request and its headers, used again as soon as nothing of it is.
    bytes: BytesMut,
    headers: HeaderMap,
}

/// A connection that has sent nothing yet.
struct Silent {
    arrival: Arrival,
    until: Instant,
}

impl Arrivals {
    /// # Errors
    /// If there is no epoll to be had.
    pub fn new(world: Rc<World>, stop: watch::Sender<bool>) -> io::Result<Self> {
        Ok(Self {
            world,
            stop,
            awaits: Rc::default(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            silent: Slab::new(),
            ready: vec![EpollEvent::empty(); AT_ONCE],
            input: vec![0; INPUT].into(),
            bytes: BytesMut::with_capacity(INPUT),
            headers: HeaderMap::new(),
        })
    }

    /// Whether nobody is awaited.
    pub fn is_empty(&self) -> bool {
        self.silent.is_empty()
    }

    /// Takes a connection over from the acceptor.
    pub fn arrive(&mut self, arrival: Arrival) {
        faults::at("connection", b"");
        if let Some(arrival) = self.read(arrival) {
            self.watch(arrival);
        }
    }

    /// Reads what is there, and serves it. Some: nothing is.
    fn read(&mut self, arrival: Arrival) -> Option<Arrival> {
        let fd = arrival.socket.fd().as_raw_fd();
        let count = loop {
            match recv(fd, &mut self.input, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Some(arrival),
                // The client is gone, and has asked for nothing.
                Err(_) | Ok(0) => return None,
                Ok(count) => break count,
            }
        };
        self.bytes.extend_from_slice(&self.input[..count]);
        let input = self.bytes.split().freeze();
        self.begin(arrival, input);
        None
    }

    /// Opens the stream that `input` asks for, if it can be opened at once; hyper serves everything else.
    fn begin(&mut self, mut arrival: Arrival, input: Bytes) {
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
        match takeover {
            Some(takeover) => {
                let fd = arrival.socket.into_fd();
                connection::open(world, takeover, fd, arrival.admission.keep());
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
        let event = EpollEvent::new(EpollFlags::EPOLLIN, entry.key() as u64);
        // If the kernel has no memory to watch it, it is closed at once.
        if self.epoll.add(arrival.socket.fd(), event).is_ok() {
            entry.insert(Silent { arrival, until });
            self.awaits.notify_one();
        }
    }

    /// Stops watching one of them.
    fn take(&mut self, key: usize) -> Option<Arrival> {
        let Silent { arrival, .. } = self.silent.try_remove(key)?;
        self.epoll.delete(arrival.socket.fd()).ok()?;
        Some(arrival)
    }

    /// Deals with what the sockets report. True: there was nothing.
    fn on_ready(&mut self) -> bool {
        let mut ready = std::mem::take(&mut self.ready);
        let count = self.epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
        for event in &ready[..count] {
            let arrival = self.take(event.data() as usize);
            if let Some(arrival) = arrival.and_then(|arrival| self.read(arrival)) {
                self.watch(arrival);
            }
        }
        self.ready = ready;
        count == 0
    }

    /// Closes those that have sent nothing in time. What came while the worker had no time of its own is served.
    fn close_overdue(&mut self) {
        let now = Instant::now();
        let overdue = self.silent.iter().filter(|(_, one)| one.until <= now);
        for key in overdue.map(|(key, _)| key).collect::<Vec<_>>() {
            if let Some(arrival) = self.take(key) {
                drop(self.read(arrival));
            }
        }
    }

    /// Ends them all: the daemon stops.
    fn end_all(&mut self) {
        let mut lingering = self.world.lingering.borrow_mut();
        for Silent { arrival, .. } in self.silent.drain() {
            let _ = self.epoll.delete(arrival.socket.fd());
            let place = arrival.admission.into_place();
            lingering.end(Ending::new(arrival.socket.into_fd(), place));
        }
    }
}

/// Drives the arrivals of a worker for as long as the thread runs.
///
/// # Errors
/// If their epoll cannot be waited for.
pub async fn drive(arrivals: Rc<RefCell<Arrivals>>) -> io::Result<()> {
    let queue = async_fd::readable(arrivals.borrow().epoll.0.try_clone()?)?;
    let awaits = arrivals.borrow().awaits.clone();
    let leaving = arrivals.borrow().stop.subscribe();
    let mut late = pin!(async {
        stopping(leaving).await;
        sleep(LATE).await;
    });
    let mut is_late = false;
    let mut checks = interval(CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let waits = !arrivals.borrow().is_empty();
        tokio::select! {
            ready = queue.readable() => {
                let mut ready = ready?;
                // The queue is edge-triggered here: it is emptied before it counts as no longer ready.
                if arrivals.borrow_mut().on_ready() {
                    ready.clear_ready();
                }
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
