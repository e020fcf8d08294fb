//! An engine's own epoll, with the sockets of its streams, and of connections that are silent yet and may become its streams:
//! those are watched once, not once before their request and once behind it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::sync::Notify;

pub struct Poller {
    epoll: Epoll,
    /// By descriptor. What is said of one that is not watched is out of date.
    watched: RefCell<Vec<Watched>>,
    /// Silent connections that reported something, and what.
    reported: RefCell<VecDeque<(u32, EpollFlags)>>,
    /// There are some.
    reports: Notify,
}

/// What a descriptor is: in four bytes, as there is one for each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched(u32);

/// Far more than there are descriptors.
const SILENT: u32 = 1 << 31;

impl Watched {
    pub fn stream(slot: u32) -> Self {
        Self(slot & !SILENT)
    }

    /// A silent connection, with its own number for it.
    pub fn silent(key: u32) -> Self {
        Self(key | SILENT)
    }
}

/// What is watched for of every socket.
const INPUT: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            watched: RefCell::default(),
            reported: RefCell::default(),
            reports: Notify::new(),
        })
    }

    /// Watches for input and the end. Room to write is not watched for: nearly every socket has some, and would report it
    /// once it is added, and a Unix socket whenever its client has read.
    ///
    /// # Errors
    /// If the kernel has no memory for it.
    pub fn add(&self, fd: &OwnedFd, what: Watched) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(INPUT, data(fd)))?;
        self.assign(fd, what);
        Ok(())
    }

    /// Says what a descriptor is that is watched already.
    pub fn assign(&self, fd: &OwnedFd, what: Watched) {
        let at = fd.as_raw_fd() as usize;
        let mut watched = self.watched.borrow_mut();
        if watched.len() <= at {
            watched.resize(at + 1, Watched(0));
        }
        watched[at] = what;
    }

    /// Its socket is full: watches for room to write, too. It is reported also if there is some again by now.
    ///
    /// # Errors
    /// If it is not watched.
    pub fn await_writable(&self, fd: &OwnedFd) -> nix::Result<()> {
        let flags = INPUT | EpollFlags::EPOLLOUT;
        let mut event = EpollEvent::new(flags, data(fd));
        self.epoll.modify(fd, &mut event)
    }

    /// # Errors
    /// If it is not watched.
    pub fn delete(&self, fd: &OwnedFd) -> nix::Result<()> {
        self.epoll.delete(fd)
    }

    /// Readable when a socket is ready.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn queue(&self) -> io::Result<OwnedFd> {
        self.epoll.0.try_clone()
    }

    /// What is ready now, into `ready`: how many there are.
    pub fn wait(&self, ready: &mut [EpollEvent]) -> usize {
        self.epoll.wait(ready, EpollTimeout::ZERO).unwrap_or(0)
    }

    /// The stream that reports `event`. None: it is a silent connection, which is told.
    pub fn stream(&self, event: &EpollEvent) -> Option<u32> {
        let Watched(what) = *self.watched.borrow().get(event.data() as usize)?;
        if what & SILENT == 0 {
            return Some(what);
        }
        let mut reported = self.reported.borrow_mut();
        reported.push_back((what & !SILENT, event.events()));
        self.reports.notify_one();
        None
    }

    /// The next silent connection that reported something.
    pub fn next_reported(&self) -> Option<(u32, EpollFlags)> {
        self.reported.borrow_mut().pop_front()
    }

    /// Until one does.
    pub async fn reports(&self) {
        self.reports.notified().await;
    }
}

fn data(fd: &OwnedFd) -> u64 {
    fd.as_raw_fd() as u64
}
