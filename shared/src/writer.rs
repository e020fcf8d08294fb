//! Publishing one event: claim a position, pin it, store, commit. Nothing here waits.
//!
//! The numbers in the comments are those of `docs/RING.md`, "Publish".

use crate::arena::{self, NoRun};
use crate::checksum;
use crate::copy;
use crate::layout::*;
use crate::prim::{Ordering::*, fence};
use crate::ring::{Ring, pack_len, stamp};
use crate::stamp::{Stamp, State};
use crate::wake;

/// Positions lost to poisoning or to other writers before giving up.
const ATTEMPTS: usize = 256;
/// Runs that aged before their event was committed; then it is published all the same.
const AGED_RUNS: usize = 4;

/// How many positions ahead a publisher asks for memory: far enough that the lines have come when their
/// turn is there, and that another publisher is not at work on them at this moment.
const AHEAD: u64 = 4;

/// An event's bytes.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    /// At most `event::MAX_HEAD` bytes, a multiple of 8.
    pub head: &'a [u8],
    pub data: &'a [u8],
    pub flags: u16,
    /// Unix time, nanoseconds.
    pub published: u64,
}

impl Body<'_> {
    fn len(&self) -> usize {
        self.head.len() + self.data.len()
    }

    fn checksum(&self) -> u64 {
        checksum::of(self.head, self.data)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The ring was replaced; publish to the one that bears the name now.
    Closed,
    /// Other publishers, or the reader's poison, took `ATTEMPTS` positions in a row.
    Contended,
    ArenaPinned,
    TooLarge,
}

/// Publishes as `owner`, whose lock the caller holds, and wakes the reader. Returns the event's position.
#[inline]
pub fn publish(ring: Ring<'_>, owner: u16, body: Body<'_>) -> Result<u64, Refused> {
    let result = publish_unwoken(ring, owner, body);
    if result.is_ok() {
        wake::wake(ring, body.published);
    }
    result
}

/// Publishes, and leaves it to the caller to wake the reader, soon: before the ring has gone round, and when the last
/// of several is published.
pub fn publish_unwoken(ring: Ring<'_>, owner: u16, body: Body<'_>) -> Result<u64, Refused> {
    let len = body.len();
    if body.data.len() as u64 > ring.max_payload() || len as u64 > ring.hard_max_body() {
        return Err(Refused::TooLarge);
    }
    let me = ring.writer(owner);
    // 1. From here on a dead owner may leave pins behind; the reaper looks only at dirty owners.
    me[WR_DIRTY].store(1, Relaxed);
    let result = if len <= ring.inline_len() {
        commit(ring, owner, body, body.checksum(), 0)
    } else {
        publish_large(ring, owner, body)
    };
    if result.is_ok() {
        // The owner is the only one who writes its counters, so no read-modify-write is needed.
        me[WR_PUBLISHED].store(me[WR_PUBLISHED].load(Relaxed).wrapping_add(1), Relaxed);
        me[WR_BYTES].store(me[WR_BYTES].load(Relaxed).wrapping_add(len as u64), Relaxed);
    }
    // 6. Release: whoever sees a clean owner sees its pins gone.
    me[WR_DIRTY].store(0, Release);
    result
}

/// 2. The body goes to the arena first.
fn publish_large(ring: Ring<'_>, owner: u16, body: Body<'_>) -> Result<u64, Refused> {
    let cells = ring.cells_for(body.len());
    let mut checksum = None;
    let mut aged_runs = 0;
    let run = loop {
        let run = arena::claim(ring, owner, cells).map_err(|none| match none {
            NoRun::Pinned => Refused::ArenaPinned,
            NoRun::Contended => Refused::Contended,
        })?;
        // The memory comes near while the checksum is made, the slot while the body is copied.
        arena::prefetch(ring, run, body.len());
        checksum.get_or_insert_with(|| body.checksum());
        copy::prefetch_for_write(ring.slot(ring.tail().load(Relaxed)), S_BODY * 8);
        arena::store(ring, run, body.head, body.data);
        if !arena::aged(ring, run, cells) || aged_runs == AGED_RUNS {
            break run;
        }
        aged_runs += 1;
        arena::abandon(ring, owner, run, cells);
    };
    let checksum = checksum.unwrap_or_else(|| body.checksum());
    let result = commit(ring, owner, body, checksum, run);
    match result {
        Ok(_) => arena::unpin(ring, owner, run, cells),
        Err(_) => arena::abandon(ring, owner, run, cells),
    }
    result
}

/// 3.–5. `run` is the arena's first cell, or 0 for an inline body (cells start at lap 1).
fn commit(
    ring: Ring<'_>,
    owner: u16,
    body: Body<'_>,
    checksum: u64,
    run: u64,
) -> Result<u64, Refused> {
    let len = pack_len(body.len() as u32, body.head.len() as u16, body.flags);
    let inline_len = if run == 0 { body.len() } else { 0 };
    for _ in 0..ATTEMPTS {
        // Relaxed: the position alone is no message; the stamp carries the order.
        let position = ring.tail().fetch_add(1, Relaxed);
        // Covers the CLOSED bit and forged tails, whose laps would not fit a stamp.
        if position >= ring.max_position() {
            return Err(Refused::Closed);
        }
        let lap = ring.slot_lap(position);
        let slot = ring.slot(position);
        if !pin(slot, lap, owner) {
            continue;
        }
        // 4. Pairs with the readers' acquire fence: who sees one of these stores sees BUSY too.
        fence(Release);
        slot[S_LEN].store(len, Relaxed);
        slot[S_ARENA].store(run, Relaxed);
        let bound = checksum::bind(checksum, position, len, run, body.published);
        slot[S_SUM].store(bound, Relaxed);
        slot[S_TIME].store(body.published, Relaxed);
        if run == 0 {
            let inline = &slot[S_BODY..];
            copy::store(inline, body.head);
            copy::store(&inline[body.head.len() / 8..], body.data);
        }
        // 5. SeqCst: one half of the Dekker pair with a reader that goes to sleep (see `wake`).
        let (busy, done) = (
            Stamp::new(lap, owner, State::Busy),
            Stamp::new(lap, owner, State::Done),
        );
        if slot[S_STAMP]
            .compare_exchange(busy.0, done.0, SeqCst, Relaxed)
            .is_ok()
        {
            // In a burst the next events are much like this one: their lines come near meanwhile.
            copy::prefetch_for_write(ring.slot(position + AHEAD), S_BODY * 8 + inline_len);
            return Ok(position);
        }
        acknowledge(slot, owner);
    }
    Err(Refused::Contended)
}

/// Takes the slot for this lap. False when the claim is lost: a reader poisoned it, a later lap has
/// it, or an unfinished writer still owns the memory, in which case the position becomes a hole.
fn pin(slot: &[crate::prim::AtomicU64], lap: u64, owner: u16) -> bool {
    let word = &slot[S_STAMP];
    let mut old = stamp(word, Relaxed);
    while old.lap() < lap {
        let (new, mine) = if old.pinned() {
            (Stamp::new(lap, old.owner(), State::PinnedHole), false)
        } else {
            (Stamp::new(lap, owner, State::Busy), true)
        };
        // AcqRel: pairs with the previous owner's commit or acknowledgement, whose stores must be over.
        match word.compare_exchange(old.0, new.0, AcqRel, Relaxed) {
            Ok(_) => return mine,
            Err(now) => old = Stamp(now),
        }
    }
    false
}

/// The claim was poisoned while we stored: say that we have stopped storing. Later laps may move the
/// hole on meanwhile, so this repeats until it holds; each turn means that another writer got on.
fn acknowledge(slot: &[crate::prim::AtomicU64], owner: u16) {
    let word = &slot[S_STAMP];
    let mut old = stamp(word, Relaxed);
    while old.state() == State::PinnedHole && old.owner() == owner {
        let hole = Stamp::new(old.lap(), owner, State::Hole);
        // Release: pairs with the next owner's pin.
        match word.compare_exchange(old.0, hole.0, AcqRel, Relaxed) {
            Ok(_) => return,
            Err(now) => old = Stamp(now),
        }
    }
}
