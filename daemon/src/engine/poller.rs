//! This worker's own epoll, with the sockets of its streams.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

pub struct Poller {
    epoll: Epoll,
    ready: Vec<EpollEvent>,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ready: vec![EpollEvent::empty(); 256],
        })
    }

    pub fn add(&self, fd: &OwnedFd, slot: u32) -> nix::Result<()> {
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLET;
        self.epoll.add(fd, EpollEvent::new(flags, slot.into()))
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
