//! One worker's streams. Single-threaded, and without a task, a buffer or a lock per stream: a stream
//! at rest is an entry in a slab and a descriptor in this worker's own epoll.
//!
//! Everything here is called from the worker's loop (`worker.rs`): a stream opens, hand-offs arrive, a
//! socket is ready, a piece of replay is due, a ping is due, the daemon takes leave. `engine/open.rs` has
//! the opening, `engine/pace.rs` what waits with its replay, `engine/send.rs` the way to the socket, `engine/change.rs` what others want of a stream,
//! `engine/members.rs` presence, `engine/end.rs` what time does to a stream, and its end.

mod change;
mod end;
pub mod fanout;
pub mod identity;
pub mod lingering;
mod members;
mod open;
pub mod outbox;
mod pace;
pub mod replay;
#[cfg(test)]
pub mod seam;
mod send;
pub mod stream;
pub mod subscriptions;
pub mod transmit;
pub mod uring;
mod websocket;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use pace::Paced;
use protocol::close_reason::CloseReason;
use protocol::format::Format;
use protocol::gap::Gap;
use protocol::socket_id::SocketId;
use protocol::{format, plain, pusher};
use shared::cursor::{Cursor, Epoch};
use shared::segment::now_ns;
use slab::Slab;
use websocket::INPUT;
pub use websocket::WebSocketSession;

use crate::app::application::App;
use crate::auth::authorizer::Access;
use crate::config::{Io, SlowClients};
use crate::engine::fanout::{Fanout, WriteBatch};
use crate::engine::lingering::{Ending, Lingering};
use crate::engine::outbox::{At, Bounds};
use crate::engine::replay::cache::ReplayCache;
use crate::engine::replay::catch_up::CatchUp;
use crate::engine::replay::chunk::Chunk;
use crate::engine::replay::state::Replay;
use crate::engine::stream::Stream;
use crate::engine::subscriptions::Subscriptions;
use crate::engine::transmit::Transmit;
use crate::hub::hub::Hub;
use crate::hub::inbox::{Batch, Delivery};
use crate::process::client_key::ClientKey;
use crate::process::jitter::Jitter;
use crate::process::{admission, faults, quarantine};

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
    /// Channels of one stream.
    pub channels_per_stream: usize,
    /// What a WebSocket's client may do.
    pub pusher: pusher::session::Limits,
    pub plain: plain::Limits,
    /// Bytes of a client's message.
    pub message_bytes: usize,
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
    /// What was granted for each of them.
    pub accesses: Vec<Access>,
    pub format: Format,
    pub resume: Option<Resume>,
    pub socket: SocketId,
    /// Only for a WebSocket.
    pub websocket: Option<Box<WebSocketSession>>,
}

pub struct Engine {
    worker: usize,
    app: Arc<App>,
    /// The application's.
    hub: Arc<Hub>,
    rules: Rules,
    epoch: Epoch,
    epoll: Epoll,
    streams: Slab<Stream>,
    subscriptions: Subscriptions,
    /// Streams whose next piece of replay may be written, each in turn.
    replaying: VecDeque<u32>,
    /// Streams whose replay waits for their client's share.
    paced: Paced,
    /// Those of them with channels that were added with a cursor.
    catch_ups: HashMap<u32, CatchUp>,
    /// Those of them with last events of cache channels still to be told: each channel, and where the tailer
    /// was when it was subscribed.
    owed: HashMap<u32, Vec<(Box<str>, u64)>>,
    /// Since when memory for events has been tight, whatever was given back here.
    tight_since: Option<Instant>,
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
    fanout: Fanout,
    /// When the events gathered were published, in nanoseconds.
    published: Vec<u64>,
    transmit: Transmit,
    /// Streams that are written to together, and what the sockets said.
    writes: Vec<(u32, WriteBatch)>,
    results: Vec<Result<usize, Errno>>,
    reader: ReplayCache,
    chunk: Chunk,
    ready: Vec<EpollEvent>,
    /// WebSockets with more to read, each in turn; and what is read from them.
    listening: VecDeque<u32>,
    input: Vec<u8>,
    /// Where connections go at their end; and one that ended while it was listened to.
    lingering: Rc<RefCell<Lingering<admission::Place>>>,
    parting: Option<Ending<admission::Place>>,
}

impl Engine {
    pub fn new(worker: usize, app: Arc<App>, rules: Rules, epoch: Epoch) -> io::Result<Self> {
        let hub = app.hub.clone();
        let next = hub.watermarks.completed();
        let lingering = Lingering::new(hub.metrics.clone())?;
        Ok(Self {
            worker,
            app,
            rules,
            epoch,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            streams: Slab::new(),
            subscriptions: Subscriptions::default(),
            replaying: VecDeque::new(),
            paced: Paced::default(),
            catch_ups: HashMap::new(),
            owed: HashMap::new(),
            tight_since: None,
            blocked: HashSet::new(),
            processed: next,
            safe: next,
            leaving: false,
            expiring: 0,
            started: Instant::now(),
            jitter: Jitter::new(),
            batch: Batch::default(),
            fanout: Fanout::default(),
            published: Vec::new(),
            transmit: Transmit::new(rules.io)?,
            writes: Vec::new(),
            results: Vec::new(),
            reader: ReplayCache::default(),
            chunk: Chunk::default(),
            ready: vec![EpollEvent::empty(); 256],
            listening: VecDeque::new(),
            input: vec![0; INPUT],
            lingering: Rc::new(RefCell::new(lingering)),
            parting: None,
            hub,
        })
    }

    /// With those of the whole thread in place of its own.
    pub fn lingering_in(self, lingering: Rc<RefCell<Lingering<admission::Place>>>) -> Self {
        Self { lingering, ..self }
    }

    /// The event queue itself, to be waited on: readable when `on_ready` has something to do.
    pub fn queue(&self) -> io::Result<OwnedFd> {
        self.epoll.0.try_clone()
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Channels that were added with a cursor and whose replay is not done.
    #[cfg(test)]
    pub fn late_channels(&self) -> usize {
        self.catch_ups.values().map(|late| late.since.len()).sum()
    }

    /// Whether pieces of replay are due, or of what clients send. No replay begins anything while memory is
    /// tight; it goes on at the next tick when it is not.
    pub fn has_more(&self) -> bool {
        let replays = !self.replaying.is_empty() && !self.hub.memory.is_tight();
        replays || !self.listening.is_empty()
    }

    /// Empties the inbox: one write per stream, whatever came.
    pub fn on_inbox(&mut self) {
        let began = Instant::now();
        // Read before the queue is emptied: everything below is then in what is found there.
        let completed = self.hub.watermarks.completed();
        let mut batch = std::mem::take(&mut self.batch);
        self.hub.inboxes[self.worker].take(&mut batch);
        let (mut replaced, some) = (false, !batch.items.is_empty());
        // What was made of an event is let go as soon as it was sent.
        for item in batch.items.drain(..) {
            if self.fanout.is_full() {
                self.flush();
            }
            match item {
                Delivery::Event(live) => {
                    let _in_hand = quarantine::hold(live.cursor);
                    faults::at("worker-event", live.event.data());
                    self.fanout
                        .event(&live, &mut self.streams, &self.subscriptions);
                    self.published.push(live.event.published_ns());
                    self.processed = live.seq() + 1;
                }
                Delivery::Lost { to, gap } => {
                    let cursor = self.cursor(to - 1);
                    // A replay from there finds the loss in the history.
                    let from = gap.bound().map(|lost| to - lost);
                    self.tell_everybody(from, &gap, cursor);
                    self.processed = to;
                }
                Delivery::EncodedEphemeral(notice) => self.on_notice(&notice),
                Delivery::Settled => {
                    self.flush();
                    self.on_settled();
                }
                Delivery::Replaced { epoch, first } => {
                    self.flush();
                    self.replaced(epoch, first);
                    replaced = true;
                }
            }
        }
        self.flush();
        if batch.overrun {
            self.catch_up();
            self.stale();
            self.refresh_all();
        }
        self.safe = if replaced {
            self.processed
        } else {
            completed.max(self.processed)
        };
        for command in batch.commands.drain(..) {
            self.command(command);
        }
        if some {
            self.hub.metrics.wakes.add(1);
            self.hub.turns.observe(began.elapsed().as_nanos() as u64);
        }
        self.batch = batch;
    }

    /// The events gathered so far have been written.
    fn tell_latency(&mut self) {
        if self.published.is_empty() {
            return;
        }
        let now = now_ns();
        for published in self.published.drain(..) {
            // A publisher's clock, and its word.
            self.hub.latency.observe(now.saturating_sub(published));
        }
    }

    /// The position up to which a stream has everything.
    fn cursor_of(&self, slot: u32) -> Cursor {
        let stream = &self.streams[slot as usize];
        let next = match &stream.replay {
            Some(replay) => replay.next,
            None => self.safe.max(stream.from),
        };
        self.cursor(next - 1)
    }

    fn cursor(&self, seq: u64) -> Cursor {
        Cursor {
            epoch: self.epoch,
            seq,
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
    pub fn on_replay(&mut self) {
        for _ in 0..self.listening.len().min(16) {
            if let Some(slot) = self.listening.pop_front() {
                self.resume_input(slot);
            }
        }
        // Few at a time: live events go first.
        let scanned = self.hub.metrics.scanned.get();
        for _ in 0..self.replaying.len().min(16) {
            let Some(slot) = self.replaying.pop_front() else {
                break;
            };
            // Closed meanwhile, or its place taken by a stream that does not pull or is blocked.
            let due = |s: &Stream| s.replay.is_some() && s.outbox.is_none();
            if self.streams.get(slot as usize).is_some_and(due) {
                self.pull_piece(slot);
            }
            if self.hub.metrics.scanned.get() > scanned {
                break;
            }
        }
        self.relieve();
    }

    /// Once a second: what was kept for replays that are over goes.
    pub fn rest(&mut self) {
        self.reader.rest();
    }

    /// Every live stream that is not past `cursor`.
    fn tell_everybody(&mut self, from: Option<u64>, gap: &Gap, cursor: Cursor) {
        let before = self.fanout.count;
        // A stream that came while it happened has lost some of it at most: the bound holds.
        let memory = &self.hub.memory;
        let frame = |format| memory.hold(format::gap(format, &[], gap, cursor, false));
        self.fanout
            .everybody(from, cursor.seq, frame, &mut self.streams);
        self.hub.metrics.gaps.add(self.fanout.count - before);
        self.fanout.count = before;
    }

    /// The ring no longer continues: whatever streams held means nothing now.
    fn replaced(&mut self, epoch: Epoch, first: u64) {
        (self.epoch, self.processed) = (epoch, first);
        self.reader.forget();
        self.replaying.clear();
        self.paced.clear();
        self.catch_ups.clear();
        self.owed.clear();
        for (_, stream) in &mut self.streams {
            stream.from = 0;
            stream.replay = None;
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
        self.hub.metrics.overruns.add(1);
        let target = self.hub.watermarks.started();
        for (slot, stream) in &mut self.streams {
            if stream.replay.is_none() && !stream.leaving {
                let next = self.processed.max(stream.from);
                let replay = Replay::new(At::start(next), target.max(next));
                stream.replay = Some(Box::new(replay));
                if stream.outbox.is_none() {
                    self.replaying.push_back(slot as u32);
                }
            } else if let Some(replay) = &mut stream.replay {
                replay.target = replay.target.max(target);
            }
        }
    }

    fn on_event(&mut self, slot: u32, flags: EpollFlags) {
        let reads = flags.contains(EpollFlags::EPOLLIN);
        if reads {
            self.read_input(slot);
        }
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP) {
            return self.close(slot, CloseReason::Peer);
        }
        if reads && !stream.format.is_websocket() {
            return self.retire(slot, CloseReason::Input);
        }
        let Some(outbox) = &mut stream.outbox else {
            // What did not even find room to wait may have been news of members.
            return self.refresh(slot);
        };
        if outbox.is_empty() && !flags.contains(EpollFlags::EPOLLOUT) {
            // It waits for its socket, which is still full.
            return;
        }
        match outbox.write_to(stream.fd.as_fd()) {
            Err(error) => return self.close(slot, send::ended(error)),
            Ok(written) => self.hub.metrics.bytes.add(written as u64),
        }
        if outbox.is_empty() {
            stream.outbox = None;
            self.blocked.remove(&slot);
            if stream.leaving {
                self.close(slot, CloseReason::Drain);
            } else {
                if stream.replay.is_some() {
                    self.replaying.push_back(slot);
                }
                self.refresh(slot);
            }
        }
    }
}
