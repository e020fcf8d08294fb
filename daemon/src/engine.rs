//! One worker's streams. Single-threaded, and without a task, a buffer or a lock per stream: a stream
//! at rest is an entry in a slab and a descriptor in this worker's own epoll.
//!
//! Everything here is called from the worker's loop (`worker.rs`): a stream opens, hand-offs arrive, a
//! socket is ready, a piece of replay is due, a ping is due, the daemon takes leave. `engine/open.rs` has
//! the opening, `engine/send.rs` the way to the socket.

mod open;
mod send;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use shared::cursor::{Cursor, Epoch};
use shared::segment::now_ns;
use slab::Slab;

use crate::bus::Bus;
use crate::gap::Gap;
use crate::gather::{Gather, Parcel};
use crate::handoff::{Batch, Item};
use crate::jitter::Jitter;
use crate::limits::ClientKey;
use crate::outbox::Bounds;
use crate::pull::{Piece, Pull, Reader};
use crate::settings::{Io, SlowClients};
use crate::sse;
use crate::stream::{End, Format, Stream};
use crate::subscriptions::Subscriptions;
use crate::transmit::Transmit;

/// Pings are spread over this many moments of the period.
pub const BUCKETS: usize = 64;

/// Settings a worker needs for its streams.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub io: Io,
    pub slow_clients: SlowClients,
    pub outbox: Bounds,
    /// Milliseconds.
    pub retry: u32,
    /// Seconds a stream may last, and may be without an event; 0: for ever.
    pub max_age: u32,
    pub max_idle: u32,
    /// Seconds before the end of a stream at which it is told.
    pub expiry_notice: u32,
    pub write_timeout: Duration,
    /// Different channels, all workers together.
    pub max_channels: usize,
}

/// Where a client says it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    Cursor(Cursor),
    /// An id that a publisher gave, or something nobody gave.
    Id(String),
}

/// A request for a stream, read and found good. The socket is non-blocking.
#[derive(Debug)]
pub struct Opening {
    pub fd: OwnedFd,
    pub client: ClientKey,
    /// The answer's head, already written out.
    pub head: Vec<u8>,
    /// Distinct.
    pub channels: Vec<String>,
    pub format: Format,
    pub resume: Option<Resume>,
    /// When it is to end, in seconds since 1970.
    pub expires: Option<u64>,
}

pub struct Engine {
    worker: usize,
    bus: Arc<Bus>,
    rules: Rules,
    epoch: Epoch,
    epoll: Epoll,
    streams: Slab<Stream>,
    subscriptions: Subscriptions,
    /// Streams whose next piece of replay may be written, each in turn.
    pulling: VecDeque<u32>,
    /// Streams with an outbox.
    blocked: HashSet<u32>,
    /// Hand-offs below have been dealt with.
    processed: u64,
    /// Live streams have been told everything below.
    safe: u64,
    leaving: bool,
    /// Streams that end with their token.
    expiring: usize,
    started: Instant,
    jitter: Jitter,
    batch: Batch,
    gather: Gather,
    transmit: Transmit,
    /// Streams that are written to together, and what the sockets said.
    parcels: Vec<(u32, Parcel)>,
    results: Vec<Result<usize, Errno>>,
    reader: Reader,
    piece: Piece,
    ready: Vec<EpollEvent>,
}

impl Engine {
    pub fn new(worker: usize, bus: Arc<Bus>, rules: Rules, epoch: Epoch) -> io::Result<Self> {
        let next = bus.clock.completed();
        Ok(Self {
            worker,
            rules,
            epoch,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            streams: Slab::new(),
            subscriptions: Subscriptions::default(),
            pulling: VecDeque::new(),
            blocked: HashSet::new(),
            processed: next,
            safe: next,
            leaving: false,
            expiring: 0,
            started: Instant::now(),
            jitter: Jitter::new(),
            batch: Batch::default(),
            gather: Gather::default(),
            transmit: Transmit::new(rules.io)?,
            parcels: Vec::new(),
            results: Vec::new(),
            reader: Reader::new(),
            piece: Piece::default(),
            ready: vec![EpollEvent::empty(); 256],
            bus,
        })
    }

    /// The event queue itself, to be waited on: readable when `on_ready` has something to do.
    pub fn queue(&self) -> io::Result<OwnedFd> {
        self.epoll.0.try_clone()
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether pieces of replay are due.
    pub fn is_pulling(&self) -> bool {
        !self.pulling.is_empty()
    }

    /// Empties the inbox: one write per stream, whatever came.
    pub fn on_handoff(&mut self) {
        let began = Instant::now();
        // Read before the queue is emptied: everything below is then in what is found there.
        let completed = self.bus.clock.completed();
        let mut batch = std::mem::take(&mut self.batch);
        self.bus.inboxes[self.worker].take(&mut batch);
        let mut replaced = false;
        for item in &batch.items {
            match item {
                Item::Event(live) => {
                    self.gather
                        .event(live, &mut self.streams, &self.subscriptions);
                    self.processed = live.seq() + 1;
                }
                Item::Lost { to, gap } => {
                    let cursor = Cursor {
                        epoch: self.epoch,
                        seq: to - 1,
                    };
                    // A replay from there finds the loss in the history.
                    let from = gap.bound().map(|lost| to - lost);
                    self.tell_everybody(from, gap, cursor);
                    self.processed = *to;
                }
                Item::Replaced { epoch, first } => {
                    self.flush();
                    self.replaced(*epoch, *first);
                    replaced = true;
                }
            }
        }
        self.flush();
        if batch.overrun {
            self.catch_up();
        }
        if !batch.items.is_empty() {
            self.bus.metrics.wakes.add(1);
            self.bus.turns.observe(began.elapsed().as_nanos() as u64);
            self.tell_latency(&batch.items);
        }
        batch.items.clear();
        self.batch = batch;
        self.safe = if replaced {
            self.processed
        } else {
            completed.max(self.processed)
        };
    }

    fn tell_latency(&self, items: &[Item]) {
        let now = now_ns();
        for item in items {
            if let Item::Event(live) = item {
                // A publisher's clock, and its word.
                let latency = now.saturating_sub(live.event.published_ns());
                self.bus.latency.observe(latency);
            }
        }
    }

    /// Whole seconds, from far enough above zero that a stream can be born before the engine.
    fn now(&self) -> u32 {
        (1 << 30) + self.started.elapsed().as_secs() as u32
    }

    /// Deals with what the sockets report. False: there may be more.
    pub fn on_ready(&mut self) -> bool {
        let mut ready = std::mem::take(&mut self.ready);
        let count = self.epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
        for event in &ready[..count] {
            self.on_event(event.data() as u32, event.events());
        }
        let done = count < ready.len();
        self.ready = ready;
        done
    }

    /// One piece of replay for each of some streams.
    pub fn on_pull(&mut self) {
        // Few at a time: live events go first.
        let scanned = self.bus.metrics.scanned.get();
        for _ in 0..self.pulling.len().min(16) {
            let Some(slot) = self.pulling.pop_front() else {
                return;
            };
            // Closed meanwhile, or its place taken by a stream that does not pull or is blocked.
            let due = |s: &Stream| s.pull.is_some() && s.outbox.is_none();
            if self.streams.get(slot as usize).is_some_and(due) {
                self.piece.clear();
                self.send_piece(slot);
            }
            if self.bus.metrics.scanned.get() > scanned {
                return;
            }
        }
    }

    /// Keeps the streams of one bucket alive and tells them their cursor. Call `on_handoff` first.
    pub fn ping(&mut self, bucket: usize) {
        let mut frame: (u64, Bytes) = (0, Bytes::new());
        let mut sent = 0;
        let now = self.now();
        for slot in (bucket..self.streams.capacity()).step_by(BUCKETS) {
            let rules = &self.rules;
            let Some(stream) = self.streams.get_mut(slot) else {
                continue;
            };
            let fresh = std::mem::take(&mut stream.fresh);
            if fresh {
                stream.active = now;
            }
            if rules.max_age > 0 && now - stream.born >= rules.max_age {
                self.retire(slot as u32, End::Aged);
                continue;
            }
            if stream.pull.is_some() || stream.outbox.is_some() || fresh {
                continue;
            }
            if rules.max_idle > 0 && now - stream.active >= rules.max_idle {
                self.retire(slot as u32, End::Idle);
                continue;
            }
            // A stream that came later than what is safe for all knows more.
            let seq = self.safe.max(stream.from) - 1;
            if frame.0 != seq || frame.1.is_empty() {
                frame = (
                    seq,
                    sse::ping(Cursor {
                        epoch: self.epoch,
                        seq,
                    })
                    .into(),
                );
            }
            sent += 1;
            let bytes = frame.1.clone();
            self.send_one(slot as u32, bytes);
        }
        self.bus.metrics.pings.add(sent);
    }

    /// Tells streams that their token ends soon, and ends them when it does. `now`: seconds since 1970.
    pub fn expire(&mut self, now: u64) {
        if self.expiring == 0 {
            return;
        }
        for slot in 0..self.streams.capacity() as u32 {
            let Some(stream) = self.streams.get_mut(slot as usize) else {
                continue;
            };
            let expires = u64::from(stream.expires);
            if expires == 0 {
                continue;
            }
            if expires <= now {
                self.retire(slot, End::Expired);
            } else if !stream.warned && expires <= now + u64::from(self.rules.expiry_notice) {
                stream.warned = true;
                self.send_one(slot, sse::expiring(expires).into());
            }
        }
    }

    /// Ends a stream that is to come back; what waits for it, it gets then.
    fn retire(&mut self, slot: u32, end: End) {
        let retry = self.jitter.around(self.rules.retry);
        if self.streams[slot as usize].outbox.is_none() {
            self.send_one(slot, sse::retry(retry).into());
        }
        self.close(slot, end);
    }

    /// Cuts the clients that have taken nothing for too long.
    pub fn cut_stalled(&mut self) {
        let limit = self.rules.write_timeout;
        let stalled = |slot: &&u32| {
            let outbox = self
                .streams
                .get(**slot as usize)
                .and_then(|s| s.outbox.as_ref());
            outbox.is_some_and(|outbox| outbox.since.elapsed() >= limit)
        };
        let cut: Vec<u32> = self.blocked.iter().filter(stalled).copied().collect();
        for slot in cut {
            self.close(slot, End::Stalled);
        }
    }

    /// Tells every client when to come back and lets it go as soon as it has everything.
    /// `spread`: milliseconds over which they are to return.
    pub fn leave(&mut self, spread: u32) {
        self.leaving = true;
        self.on_handoff();
        for slot in 0..self.streams.capacity() as u32 {
            let Some(stream) = self.streams.get_mut(slot as usize) else {
                continue;
            };
            stream.leaving = true;
            stream.pull = None;
            let retry = self.rules.retry;
            let retry = self.jitter.between(retry, retry.saturating_add(spread));
            self.send_one(slot, sse::retry(retry).into());
            if self
                .streams
                .get(slot as usize)
                .is_some_and(|s| s.outbox.is_none())
            {
                self.close(slot, End::Drain);
            }
        }
        self.pulling.clear();
    }

    /// Every live stream that is not past `cursor`.
    fn tell_everybody(&mut self, from: Option<u64>, gap: &Gap, cursor: Cursor) {
        let frame = Bytes::from(sse::gap(gap, cursor));
        let before = self.gather.count;
        // A stream that came while it happened has lost some of it at most: the bound holds.
        self.gather
            .everybody(from, cursor.seq, frame, &mut self.streams);
        self.bus.metrics.gaps.add(self.gather.count - before);
        self.gather.count = before;
    }

    /// The ring no longer continues: whatever streams held means nothing now.
    fn replaced(&mut self, epoch: Epoch, first: u64) {
        (self.epoch, self.processed) = (epoch, first);
        self.reader.forget();
        self.pulling.clear();
        for (_, stream) in &mut self.streams {
            stream.from = 0;
            stream.pull = None;
        }
        self.tell_everybody(
            None,
            &Gap::UNKNOWN,
            Cursor {
                epoch,
                seq: first - 1,
            },
        );
        self.flush();
        for (_, stream) in &mut self.streams {
            stream.from = first;
        }
    }

    /// This worker was too far behind: what was not kept for it is in the history.
    fn catch_up(&mut self) {
        self.bus.metrics.overruns.add(1);
        let target = self.bus.clock.started();
        for (slot, stream) in &mut self.streams {
            if stream.pull.is_none() && !stream.leaving {
                let next = self.processed.max(stream.from);
                stream.pull = Some(Box::new(Pull {
                    next,
                    target: target.max(next),
                    gap: Gap::NONE,
                    skips: false,
                }));
                if stream.outbox.is_none() {
                    self.pulling.push_back(slot as u32);
                }
            } else if let Some(pull) = &mut stream.pull {
                pull.target = pull.target.max(target);
            }
        }
    }

    fn on_event(&mut self, slot: u32, flags: EpollFlags) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP) {
            return self.close(slot, End::Peer);
        }
        if flags.contains(EpollFlags::EPOLLIN) {
            return self.close(slot, End::Input);
        }
        let Some(outbox) = &mut stream.outbox else {
            return;
        };
        match outbox.write_to(stream.fd.as_fd()) {
            Err(error) => return self.close(slot, send::ended(error)),
            Ok(written) => self.bus.metrics.bytes.add(written as u64),
        }
        if outbox.is_empty() {
            stream.outbox = None;
            self.blocked.remove(&slot);
            if stream.leaving {
                self.close(slot, End::Drain);
            } else if stream.pull.is_some() {
                self.pulling.push_back(slot);
            }
        }
    }

    fn close(&mut self, slot: u32, end: End) {
        let Some(stream) = self.streams.try_remove(slot as usize) else {
            return;
        };
        self.blocked.remove(&slot);
        let names = stream.subscriptions.iter();
        let names = names.map(|s| &**self.subscriptions.name(s.channel));
        self.bus.census.leave(names);
        for subscription in &stream.subscriptions {
            let left = self.subscriptions.leave(*subscription);
            if let Some(moved) = left.moved {
                let other = &mut self.streams[moved.slot as usize];
                other.subscriptions[moved.sub as usize].at = subscription.at;
            }
            if let Some(name) = left.last {
                self.bus.routes.remove(&name, self.worker);
            }
        }
        let metrics = &self.bus.metrics;
        metrics.streams.sub(1);
        self.expiring -= usize::from(stream.expires > 0);
        metrics.subscriptions.sub(stream.subscriptions.len() as u64);
        let reason = match end {
            End::Peer => &metrics.closed_peer,
            End::Input => &metrics.closed_input,
            End::Error => &metrics.closed_error,
            End::Slow => &metrics.closed_slow,
            End::Memory => &metrics.closed_memory,
            End::Stalled => &metrics.closed_stalled,
            End::Drain => &metrics.closed_drain,
            End::Aged => &metrics.closed_aged,
            End::Expired => &metrics.closed_expired,
            End::Idle => &metrics.closed_idle,
        };
        reason.add(1);
        self.bus.limits.leave(self.worker, stream.client);
    }
}
