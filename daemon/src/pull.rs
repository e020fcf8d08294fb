//! Replay: a stream with a cursor pulls what it missed from the history, at its socket's pace and a
//! bounded piece at a time, until it has reached the live events.

mod scan;

use std::collections::HashMap;
use std::rc::Rc;

use shared::cursor::{Cursor, Epoch};

use crate::bus::Bus;
use crate::gap::Gap;
use crate::limits::ClientKey;
use crate::live::Live;
use crate::socket_id::SocketId;
use crate::stream::Format;
use crate::wire;

/// Bytes after which a turn ends. More than a socket takes at once as a rule.
const TURN_BYTES: usize = 64 << 10;
/// Positions looked up at a time, and how often a turn: bounds the time of a turn that finds nothing.
const PLAN: usize = 64;
const PLANS: usize = 16;

/// Where a pulling stream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pull {
    /// Everything below has been told.
    pub next: u64,
    /// From here on, hand-offs reach the stream's worker.
    pub target: u64,
    /// Found, and not told yet.
    pub gap: Gap,
    /// It has been too slow: what there is up to `target` is counted as lost, not told.
    pub skips: bool,
}

/// A piece of a replay, made to be written at once.
#[derive(Debug, Default)]
pub struct Piece {
    pub bytes: Vec<u8>,
    /// Where frames end, and where the stream is once that much was written.
    pub marks: Vec<(usize, Pull)>,
}

impl Piece {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
    }

    pub fn mark(&mut self, pull: Pull) {
        self.marks.push((self.bytes.len(), pull));
    }

    /// The frame that was cut after `written` bytes: where it ends, and the state after it.
    pub fn cut(&self, written: usize) -> Option<(usize, Pull)> {
        let at = self.marks.partition_point(|(end, _)| *end <= written);
        self.marks.get(at).copied()
    }
}

/// Events read again, each encoded once although ten thousand streams may come back for it.
#[derive(Debug)]
pub struct Reader {
    /// Direct-mapped by position.
    cache: Vec<Option<Rc<Live>>>,
}

/// Events a worker remembers, and how large each may be: 16 MiB at the very most.
const CACHED: usize = 1024;
const CACHED_BYTES: usize = 8 << 10;

impl Reader {
    pub fn new() -> Self {
        Self { cache: Vec::new() }
    }

    pub fn forget(&mut self) {
        self.cache = Vec::new();
    }

    /// None: the ring no longer holds it. An event in the cache may outlive it there.
    pub fn fetch(&mut self, bus: &Bus, epoch: Epoch, seq: u64) -> Option<Rc<Live>> {
        self.cache.resize(CACHED, None);
        let place = &mut self.cache[seq as usize % CACHED];
        if let Some(live) = place
            && live.seq() == seq
        {
            return Some(live.clone());
        }
        let event = bus.archive.fetch(epoch, seq)?;
        let live = Rc::new(Live::new(epoch, seq, event));
        if live.event.data().len() <= CACHED_BYTES {
            *place = Some(live.clone());
        }
        Some(live)
    }
}

/// What a stream asks the history for.
pub struct Ask<'a> {
    pub bus: &'a Bus,
    pub epoch: Epoch,
    pub names: &'a [&'a str],
    pub format: Format,
    pub socket: SocketId,
    /// Whose share of looking through the ring it is.
    pub client: ClientKey,
    /// It is older than what the stream has been told of other channels: no cursor is moved.
    pub late: bool,
}

/// Channels that were added with a cursor of their own: for them replay begins there, while the others
/// have been told more already.
#[derive(Debug, Default)]
pub struct Late {
    /// Where the others go on.
    pub base: u64,
    /// Where each of the added channels does.
    pub since: HashMap<Box<str>, u64>,
}

impl Late {
    fn since(&self, name: &str) -> u64 {
        self.since.get(name).copied().unwrap_or(self.base)
    }

    /// Whether a channel takes part in the replay at `next`.
    pub fn takes(&self, name: &str, next: u64) -> bool {
        self.since(name) <= next
    }

    /// Where the next of them joins in; None once all have.
    pub fn joins(&self, next: u64) -> Option<u64> {
        let all = self.since.values().chain([&self.base]);
        all.copied().filter(|at| *at > next).min()
    }
}

/// How a turn of a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has reached `target`.
    Reached,
    More,
    /// There is more, but its client has had its share of looking through the ring for now.
    Paced,
}

/// Appends to `piece` what comes next for a stream; returns its state after that.
pub fn fill(ask: &Ask<'_>, reader: &mut Reader, mut pull: Pull, piece: &mut Piece) -> (Pull, Turn) {
    let (bus, target) = (ask.bus, pull.target);
    if std::mem::take(&mut pull.skips) {
        skip(ask, &mut pull);
    }
    for _ in 0..PLANS {
        let held = bus.archive.held_from(pull.next);
        let plan = bus.history.plan(ask.names, pull.next, target, PLAN, held);
        pull.gap.add(plan.gap);
        if plan.scan.0 < plan.scan.1 {
            // Once a turn: others have theirs.
            let turn = scan::scan(ask, reader, plan.scan, &mut pull, piece);
            return (pull, turn);
        }
        for seq in plan.seqs {
            match reader.fetch(bus, ask.epoch, seq) {
                None => pull.gap.add(Gap::exact(1)),
                Some(live) => tell(ask, &live, &mut pull, piece),
            }
            pull.next = seq + 1;
            if piece.bytes.len() >= TURN_BYTES {
                return (pull, Turn::More);
            }
        }
        pull.next = pull.next.max(plan.next);
        if pull.next >= target {
            tell_gap(ask, target - 1, &mut pull, piece);
            return (pull, Turn::Reached);
        }
    }
    (pull, Turn::More)
}

/// Jumps to the target. Not bounded by a turn: it only counts, and the index is bounded.
fn skip(ask: &Ask<'_>, pull: &mut Pull) {
    while pull.next < pull.target {
        // Nothing is read, so nothing is held: what the index has forgotten is a bound.
        let plan = ask
            .bus
            .history
            .plan(ask.names, pull.next, pull.target, PLAN, u64::MAX);
        pull.gap.add(plan.gap);
        pull.gap.add(Gap::exact(plan.seqs.len() as u64));
        ask.bus.metrics.skipped.add(plan.seqs.len() as u64);
        pull.next = plan.next.max(pull.next + 1);
    }
}

fn tell(ask: &Ask<'_>, live: &Live, pull: &mut Pull, piece: &mut Piece) {
    if live.except == Some(ask.socket) {
        return;
    }
    tell_gap(ask, live.seq() - 1, pull, piece);
    append(ask, live, &mut piece.bytes);
    ask.bus.metrics.replayed.add(1);
    pull.next = live.seq() + 1;
    piece.mark(*pull);
}

/// Tells what was lost up to `seq`, if anything was.
fn tell_gap(ask: &Ask<'_>, seq: u64, pull: &mut Pull, piece: &mut Piece) {
    if pull.gap.is_none() {
        return;
    }
    let cursor = Cursor {
        epoch: ask.epoch,
        seq,
    };
    let told = wire::gap(ask.format, ask.names, &pull.gap, cursor, ask.late);
    piece.bytes.extend_from_slice(&told);
    ask.bus.metrics.gaps.add(1);
    pull.gap = Gap::NONE;
    pull.next = seq + 1;
    piece.mark(*pull);
}

fn append(ask: &Ask<'_>, live: &Live, out: &mut Vec<u8>) {
    if ask.format == Format::Raw && !ask.late {
        return out.extend_from_slice(live.raw());
    }
    let mut matching = live
        .event
        .channels()
        .enumerate()
        .filter(|(_, channel)| ask.names.contains(channel))
        .peekable();
    while let Some((index, channel)) = matching.next() {
        if ask.late {
            out.extend_from_slice(&wire::earlier(ask.format, live, channel));
        } else {
            let last = matching.peek().is_none();
            out.extend_from_slice(live.form(ask.format, index, last));
        }
        // Without a channel's name in it, once is enough.
        if ask.format == Format::Raw {
            return;
        }
    }
}
