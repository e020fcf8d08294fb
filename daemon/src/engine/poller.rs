//! This worker's own epoll, with the sockets of its streams.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

pub struct Poller {
    epoll: Epoll,
    ready: Vec<EpollEvent>,
}

/// What is watched for of every socket.
const INPUT: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ready: vec![EpollEvent::empty(); 256],
        })
    }

    /// Watches for input and the end. Room to write is not watched for: nearly every socket has some, and would report it
    /// once it is added, and a Unix socket whenever its client has read.
    pub fn add(&self, fd: &OwnedFd, slot: u32) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(INPUT, slot.into()))
    }

    /// Its socket is full: watches for room to write, too. It is reported also if there is some again by now.
    pub fn await_writable(&self, fd: &OwnedFd, slot: u32) -> nix::Result<()> {
        let flags = INPUT | EpollFlags::EPOLLOUT;
        self.epoll
            .modify(fd, &mut EpollEvent::new(flags, slot.into()))
    }

    pub fn delete(&self, fd: &OwnedFd) -> nix::Result<()> {
        self.epoll.delete(fd)
    }

    /// Readable when a socket is ready.
    pub fn queue(&self) -> io::Result<OwnedFd> {
        self.epoll.0.try_clone()
    }

    /// Takes what is ready now, to be given back with `put_back`: the events, and how many there are.
    pub fn take_ready(&mut self) -> (Vec<EpollEvent>, usize) {
        let mut ready = std::mem::take(&mut self.ready);
        let count = self.epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
        (ready, count)
    }

    pub fn put_back(&mut self, ready: Vec<EpollEvent>) {
        self.ready = ready;
    }
}
