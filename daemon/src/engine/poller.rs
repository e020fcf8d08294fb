//! An engine's own epoll, with the sockets of its streams, and of connections that are silent yet and may become its streams:
//! those are watched once, not once before their request and once behind it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;
use tokio::sync::Notify;

pub struct Poller {
    epoll: Epoll,
    /// What was watched before its request came: silent connections, and the streams that they became.
    early: RefCell<Slab<Early>>,
    /// Silent connections that reported something, and what.
    reported: RefCell<VecDeque<(u32, EpollFlags)>>,
    has_reported: Notify,
}

#[derive(Debug, Clone, Copy)]
enum Early {
    /// With the number that its owner has for it.
    Silent(u32),
    /// With its slot.
    Stream(u32),
}

/// Stands for what is watched early, as long as that is. Others report by their slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(u32);

impl Token {
    /// Of a stream that was not watched before.
    pub const NONE: Self = Self(u32::MAX);
}

/// Marks a token among the slots.
const EARLY: u64 = 1 << 32;

/// What is watched for of every socket.
const INPUT: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            early: RefCell::default(),
            reported: RefCell::default(),
            has_reported: Notify::new(),
        })
    }

    /// Watches for input and the end. Room to write is not watched for: nearly every socket has some, and would report it
    /// once it is added, and a Unix socket whenever its client has read.
    ///
    /// # Errors
    /// If the kernel has no memory for it.
    pub fn add(&self, fd: &OwnedFd, slot: u32) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(INPUT, slot.into()))
    }

    /// The same for a silent connection. `key`: what it reports by.
    ///
    /// # Errors
    /// If the kernel has no memory for it.
    pub fn add_silent(&self, fd: &OwnedFd, key: u32) -> nix::Result<Token> {
        let mut early = self.early.borrow_mut();
        let entry = early.vacant_entry();
        let token = Token(entry.key() as u32);
        self.epoll.add(fd, EpollEvent::new(INPUT, token.data()))?;
        entry.insert(Early::Silent(key));
        Ok(token)
    }

    /// It is silent still, and has another number.
    pub fn stays_silent(&self, token: Token, key: u32) {
        self.assign(token, Early::Silent(key));
    }

    /// It has become a stream.
    pub fn becomes(&self, token: Token, slot: u32) {
        self.assign(token, Early::Stream(slot));
    }

    fn assign(&self, token: Token, what: Early) {
        if let Some(entry) = self.early.borrow_mut().get_mut(token.0 as usize) {
            *entry = what;
        }
    }

    /// A socket is full: watches for room to write, too. It is reported also if there is some again by now.
    ///
    /// # Errors
    /// If it is not watched.
    pub fn await_writable(&self, fd: &OwnedFd, slot: u32, token: Token) -> nix::Result<()> {
        let flags = INPUT | EpollFlags::EPOLLOUT;
        let data = match token {
            Token::NONE => slot.into(),
            token => token.data(),
        };
        self.epoll.modify(fd, &mut EpollEvent::new(flags, data))
    }

    /// # Errors
    /// If it is not watched.
    pub fn delete(&self, fd: &OwnedFd, token: Token) -> nix::Result<()> {
        self.forget(token);
        self.epoll.delete(fd)
    }

    /// Its socket is closed, or is to be.
    pub fn forget(&self, token: Token) {
        self.early.borrow_mut().try_remove(token.0 as usize);
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

    /// The slot of the stream that an event is for. None: it is for a silent connection, and is kept for it, or for nobody.
    pub fn dispatch(&self, event: &EpollEvent) -> Option<u32> {
        let data = event.data();
        if data & EARLY == 0 {
            return Some(data as u32);
        }
        let early = *self.early.borrow().get((data & !EARLY) as usize)?;
        match early {
            Early::Stream(slot) => Some(slot),
            Early::Silent(key) => {
                let mut reported = self.reported.borrow_mut();
                reported.push_back((key, event.events()));
                self.has_reported.notify_one();
                None
            }
        }
    }

    /// The next silent connection that reported something, and what.
    pub fn next_reported(&self) -> Option<(u32, EpollFlags)> {
        self.reported.borrow_mut().pop_front()
    }

    /// Until one does.
    pub async fn reports(&self) {
        self.has_reported.notified().await;
    }
}

impl Token {
    fn data(self) -> u64 {
        EARLY | u64::from(self.0)
    }
}
