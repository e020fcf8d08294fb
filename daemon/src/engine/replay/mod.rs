//! Replay: a stream with a cursor pulls what it missed from the history, at its socket's pace and a
//! bounded piece at a time, until it has reached the live events.

mod scan;

use std::collections::HashMap;
use std::rc::Rc;

use protocol::format;
use protocol::format::Format;
use protocol::gap::Gap;
use protocol::socket_id::SocketId;
use shared::cursor::{Cursor, Epoch};

use crate::engine::outbox::At;
use crate::hub::encoded_event::EncodedEvent;
use crate::hub::hub::Hub;
use crate::process::budget::Held;
use crate::process::client_key::ClientKey;
use crate::process::{faults, quarantine};

/// Bytes after which a turn ends. More than a socket takes at once as a rule.
const TURN_BYTES: usize = 64 << 10;
/// Positions looked up at a time, and how often a turn: bounds the time of a turn that finds nothing.
const PLAN: usize = 64;
const PLANS: usize = 16;

/// Bytes of room that are kept for the next piece.
pub const KEPT: usize = 4 * TURN_BYTES;

/// Where a pulling stream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replay {
    /// Everything below has been told.
    pub next: u64,
    /// And of the event at `next` what concerns its channels before this one.
    pub channel: u16,
    /// How many of the last events that it is owed have been told: before anything else.
    pub owed: u16,
    /// From here on, hand-offs reach the stream's worker.
    pub target: u64,
    /// Found, and not told yet.
    pub gap: Gap,
    /// It has been too slow: what there is up to `target` is counted as lost, not told.
    pub skips: bool,
}

impl Replay {
    pub fn new(from: At, target: u64) -> Self {
        Self {
            next: from.seq,
            channel: from.channel,
            owed: 0,
            target,
            gap: Gap::NONE,
            skips: false,
        }
    }

    pub fn at(&self) -> At {
        At {
            seq: self.next,
            channel: self.channel,
        }
    }

    /// Goes back to what was to be told already and was not.
    pub fn back_to(&mut self, from: At) {
        let at = self.at().min(from);
        (self.next, self.channel) = (at.seq, at.channel);
    }

    /// Everything below `next` has been told.
    fn go_to(&mut self, next: u64) {
        if next != self.next {
            (self.next, self.channel) = (next, 0);
        }
    }
}

/// A piece of a replay, made to be written at once: small frames together, or with a large one behind them
/// that is shared with whoever else is sent it.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    large: Held,
    /// Where frames end, and where the stream is once that much was written.
    marks: Vec<(usize, Replay)>,
}

/// What is left of a piece that a socket did not take whole.
#[derive(Debug)]
pub struct Cut {
    /// Of the frame that was begun; empty if none was.
    pub rest: Rest,
    /// Where the stream is then.
    pub after: Replay,
}

#[derive(Debug)]
pub enum Rest {
    None,
    Copied(Vec<u8>),
    Shared(Held),
}

impl Chunk {
    /// Begins one with `bytes`, after which the stream is at `pull`.
    pub fn begin(&mut self, bytes: Vec<u8>, replay: Replay) {
        match bytes.is_empty() && self.bytes.capacity() <= KEPT {
            true => self.bytes.clear(),
            false => self.bytes = bytes,
        }
        self.large = Held::default();
        self.marks.clear();
        self.mark(replay);
    }

    pub fn len(&self) -> usize {
        self.bytes.len() + self.large.len()
    }

    /// The bytes, in the order in which they are to be written.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.bytes, &self.large]
    }

    pub fn is_full(&self) -> bool {
        self.len() >= TURN_BYTES
    }

    /// The next frame. Nothing follows a large one: `is_full`.
    pub fn push(&mut self, frame: Held) {
        debug_assert!(self.large.is_empty());
        match frame.len() < TURN_BYTES {
            true => self.bytes.extend_from_slice(&frame),
            false => self.large = frame,
        }
    }

    /// Where the stream is after what there is so far.
    pub fn mark(&mut self, replay: Replay) {
        match self.marks.last_mut() {
            Some((end, state)) if *end == self.bytes.len() + self.large.len() => *state = replay,
            _ => self.marks.push((self.len(), replay)),
        }
    }

    /// After `written` bytes, which are not all.
    pub fn cut(&self, written: usize) -> Cut {
        let at = self.marks.partition_point(|(end, _)| *end <= written);
        let before = at.checked_sub(1).map(|at| self.marks[at]);
        if let Some((_, after)) = before.filter(|(end, _)| *end == written) {
            let rest = Rest::None;
            return Cut { rest, after };
        }
        let (end, after) = self.marks[at];
        let rest = match written.checked_sub(self.bytes.len()) {
            Some(part) => Rest::Shared(self.large.after(part)),
            None => Rest::Copied(self.bytes[written..end].to_vec()),
        };
        Cut { rest, after }
    }
}

/// Events read again, each encoded once although ten thousand streams may come back for it. It keeps what it
/// read while there is memory for that (`Budget::is_roomy`) and somebody replays.
#[derive(Debug, Default)]
pub struct ReplayCache {
    /// Direct-mapped by position; each with its size when it was last weighed.
    cache: Vec<Option<(Rc<EncodedEvent>, usize)>>,
    bytes: usize,
    /// The place to be emptied next.
    hand: usize,
    /// It has been of use since the last `rest`.
    used: bool,
}

/// Events a worker remembers, and the bytes of all of them in all their forms: the largest that the default
/// settings allow fits, in a form that escapes make six times as long.
const CACHED: usize = 1024;
pub const CACHED_BYTES: usize = 8 << 20;

impl ReplayCache {
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// From time to time: what nobody asked for since the last time is not kept any longer.
    pub fn rest(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.forget();
        }
    }

    /// None: the ring no longer holds it. An event in the cache may outlive it there.
    pub fn fetch(&mut self, hub: &Hub, epoch: Epoch, seq: u64) -> Option<Rc<EncodedEvent>> {
        self.used = true;
        let place = seq as usize % CACHED;
        if let Some(Some((live, _))) = self.cache.get(place)
            && live.seq() == seq
        {
            return Some(live.clone());
        }
        let _in_hand = quarantine::hold(Cursor { epoch, seq });
        let event = hub.store.fetch(epoch, seq)?;
        let live = Rc::new(EncodedEvent::new(epoch, seq, event, &hub.memory));
        if hub.memory.is_roomy() {
            self.keep(&live);
        }
        Some(live)
    }

    fn keep(&mut self, live: &Rc<EncodedEvent>) {
        let place = live.seq() as usize % CACHED;
        self.cache.resize(CACHED, None);
        self.empty(place);
        self.bytes += live.size();
        self.cache[place] = Some((live.clone(), live.size()));
        self.shrink();
    }

    /// Forms of the event at `seq` may have been made since.
    fn weigh(&mut self, seq: u64) {
        let place = seq as usize % CACHED;
        if let Some(Some((kept, size))) = self.cache.get_mut(place)
            && kept.seq() == seq
        {
            self.bytes += kept.size() - *size;
            *size = kept.size();
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        while self.bytes > CACHED_BYTES {
            self.hand = (self.hand + 1) % CACHED;
            self.empty(self.hand);
        }
    }

    fn empty(&mut self, place: usize) {
        if let Some((_, size)) = self.cache[place].take() {
            self.bytes -= size;
        }
    }
}

/// What a stream asks the history for.
pub struct ReplayQuery<'a> {
    pub hub: &'a Hub,
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
pub struct CatchUp {
    /// Where the others go on.
    pub base: u64,
    /// Where each of the added channels does.
    pub since: HashMap<Box<str>, u64>,
}

impl CatchUp {
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
pub fn fill(
    ask: &ReplayQuery<'_>,
    reader: &mut ReplayCache,
    mut replay: Replay,
    chunk: &mut Chunk,
) -> (Replay, Turn) {
    let (hub, target) = (ask.hub, replay.target);
    if std::mem::take(&mut replay.skips) {
        skip(ask, &mut replay);
        chunk.mark(replay);
    }
    for _ in 0..PLANS {
        if chunk.is_full() {
            return (replay, Turn::More);
        }
        let held = hub.store.held_from(replay.next);
        let plan = hub.index.plan(ask.names, replay.next, target, PLAN, held);
        replay.gap.add(plan.gap);
        if plan.scan.0 < plan.scan.1 {
            // Once a turn: others have theirs.
            let turn = scan::scan(ask, reader, plan.scan, &mut replay, chunk);
            return (replay, turn);
        }
        for seq in plan.seqs {
            match reader.fetch(hub, ask.epoch, seq) {
                None => replay.gap.add(Gap::exact(1)),
                Some(live) => {
                    if !tell(ask, &live, reader, &mut replay, chunk) {
                        return (replay, Turn::More);
                    }
                }
            }
            replay.go_to(seq + 1);
            if chunk.is_full() {
                return (replay, Turn::More);
            }
        }
        replay.go_to(replay.next.max(plan.next));
        if replay.next >= target {
            tell_gap(ask, target - 1, &mut replay, chunk);
            return (replay, Turn::Reached);
        }
    }
    (replay, Turn::More)
}

/// Jumps to the target. Not bounded by a turn: it only counts, and the index is bounded.
fn skip(ask: &ReplayQuery<'_>, replay: &mut Replay) {
    while replay.next < replay.target {
        // Nothing is read, so nothing is held: what the index has forgotten is a bound.
        let plan = ask
            .hub
            .index
            .plan(ask.names, replay.next, replay.target, PLAN, u64::MAX);
        replay.gap.add(plan.gap);
        replay.gap.add(Gap::exact(plan.seqs.len() as u64));
        ask.hub.metrics.skipped.add(plan.seqs.len() as u64);
        replay.go_to(plan.next.max(replay.next + 1));
    }
}

/// Tells an event, a channel at a time. False: the piece is full, and some of its channels are left.
fn tell(
    ask: &ReplayQuery<'_>,
    live: &EncodedEvent,
    reader: &mut ReplayCache,
    replay: &mut Replay,
    chunk: &mut Chunk,
) -> bool {
    if live.except == Some(ask.socket) {
        return true;
    }
    let _in_hand = quarantine::hold(live.cursor);
    faults::at("worker-event", live.event.data());
    tell_gap(ask, live.seq() - 1, replay, chunk);
    replay.go_to(live.seq());
    let left = |(index, name): &(usize, &str)| {
        *index >= usize::from(replay.channel) && ask.names.contains(name)
    };
    let left: Vec<(usize, &str)> = live.event.channels().enumerate().filter(left).collect();
    for (n, &(index, name)) in left.iter().enumerate() {
        // Without a channel's name in it, once is enough.
        let last = ask.format == Format::Raw || n + 1 == left.len();
        chunk.push(match (ask.late, ask.format) {
            (true, format) => {
                let frame = format::earlier(format, &live.event, live.cursor, name);
                ask.hub.memory.hold(frame)
            }
            (false, Format::Raw) => live.raw(),
            (false, format) => live.form(format, index, last),
        });
        reader.weigh(live.seq());
        if last {
            replay.go_to(live.seq() + 1);
            chunk.mark(*replay);
            break;
        }
        replay.channel = index as u16 + 1;
        chunk.mark(*replay);
        if chunk.is_full() {
            return false;
        }
    }
    ask.hub.metrics.replayed.add(1);
    true
}

/// Tells what was lost up to `seq`, if anything was.
fn tell_gap(ask: &ReplayQuery<'_>, seq: u64, replay: &mut Replay, chunk: &mut Chunk) {
    if replay.gap.is_none() {
        return;
    }
    let cursor = Cursor {
        epoch: ask.epoch,
        seq,
    };
    let told = format::gap(ask.format, ask.names, &replay.gap, cursor, ask.late);
    chunk.bytes.extend_from_slice(&told);
    ask.hub.metrics.gaps.add(1);
    replay.gap = Gap::NONE;
    replay.go_to(seq + 1);
    chunk.mark(*replay);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::testing::{EPOCH, event};

    use super::*;
    use crate::process::budget::Budget;

    fn replay(next: u64) -> Replay {
        Replay::new(At::start(next), 100)
    }

    #[test]
    fn only_a_frame_that_was_begun_is_left_of_a_piece() {
        let budget = Arc::new(Budget::new(1 << 30));
        let mut chunk = Chunk::default();
        chunk.begin(vec![b'o'; 10], replay(1));
        chunk.push(budget.hold(vec![b'a'; 5]));
        chunk.mark(replay(2));
        let large = budget.hold(vec![b'b'; TURN_BYTES]);
        chunk.push(large.clone());
        chunk.mark(replay(3));
        assert!(chunk.is_full() && chunk.len() == 15 + TURN_BYTES);
        let cut = |written| {
            let cut = chunk.cut(written);
            let rest = match cut.rest {
                Rest::None => (false, Vec::new()),
                Rest::Copied(bytes) => (false, bytes),
                Rest::Shared(held) => (true, held.to_vec()),
            };
            (rest, cut.after.next)
        };
        assert_eq!(cut(0), ((false, vec![b'o'; 10]), 1), "the opening");
        assert_eq!(cut(10), ((false, vec![]), 1), "between two frames");
        assert_eq!(cut(12), ((false, vec![b'a'; 3]), 2));
        assert_eq!(cut(15), ((false, vec![]), 2));
        let rest = vec![b'b'; TURN_BYTES - 1];
        assert_eq!(cut(16), ((true, rest), 3), "shared, not copied");
        let used = budget.used();
        drop(large);
        assert_eq!(budget.used(), used);
        chunk.begin(Vec::new(), replay(7));
        assert_eq!((budget.used(), chunk.len()), (0, 0));
    }

    #[test]
    fn a_reader_keeps_what_its_bound_says_in_all_forms_and_for_as_long_as_it_is_used() {
        let budget = Arc::new(Budget::new(1 << 30));
        let mut reader = ReplayCache::default();
        let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for seq in 0..200 {
            let event = event(&names, None, None, None, &"\x01".repeat(8000)).unwrap();
            let live = Rc::new(EncodedEvent::new(EPOCH, seq, event, &budget));
            reader.keep(&live);
            for channel in 0..20 {
                drop(live.form(Format::Json, channel, false));
                reader.weigh(seq);
            }
            drop(live);
            assert!(budget.used() <= CACHED_BYTES as u64, "{}", budget.used());
            assert_eq!(budget.used(), reader.bytes as u64);
        }
        assert!(reader.bytes > CACHED_BYTES / 2);
        reader.used = true;
        reader.rest();
        assert!(!reader.is_empty());
        reader.rest();
        assert_eq!((reader.bytes, budget.used()), (0, 0));
    }
}
