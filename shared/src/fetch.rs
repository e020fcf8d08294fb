//! Reading the event at one position: any thread, any process, no lock.
//!
//! Everything read is hostile. Words are read once and bounded before use; the payload is copied out
//! and only believed when the stamps have not moved, and only parsed when the checksum holds.

use bytes::Bytes;

use crate::arena;
use crate::checksum;
use crate::copy;
use crate::event::{DecodeError, Event, LONGEST_HEAD};
use crate::layout::*;
use crate::prim::{AtomicU64, Ordering::*, fence};
use crate::ring::{Ring, stamp, unpack_len};
use crate::stamp::{Stamp, State};

/// What lies at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    Event(Event),
    /// No event was published here: a claim that was given up.
    Hole,
    /// A later lap has taken the slot, or the arena cells of its body.
    Overwritten,
    /// Not claimed yet, or claimed and not committed yet.
    Pending,
    /// Committed, but not what a publisher of ours writes.
    Unreadable(Damage),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("lengths out of bounds")]
    Length,
    #[error("wrong checksum")]
    Checksum,
    #[error("{0}")]
    Event(#[from] DecodeError),
}

impl Damage {
    /// Whether nothing is wrong with the record but that it is a newer publisher's.
    pub fn is_unsupported(self) -> bool {
        self == Self::Event(DecodeError::Unsupported)
    }
}

/// The stamp's verdict alone, before anything is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Done(Stamp),
    Hole,
    Overwritten,
    /// Carries the stamp found: older than the lap, or BUSY.
    Pending(Stamp),
}

/// Acquire by default; the reader that goes to sleep asks for SeqCst.
#[inline]
pub fn look(ring: Ring<'_>, position: u64, order: crate::prim::Ordering) -> Look {
    let seen = stamp(&ring.slot(position)[S_STAMP], order);
    let lap = ring.slot_lap(position);
    if seen.lap() > lap {
        return Look::Overwritten;
    }
    if seen.lap() < lap {
        return Look::Pending(seen);
    }
    match seen.state() {
        State::Done => Look::Done(seen),
        State::Busy => Look::Pending(seen),
        State::Hole | State::PinnedHole => Look::Hole,
    }
}

/// Reads the event at `position`.
pub fn fetch(ring: Ring<'_>, position: u64) -> Fetch {
    match look(ring, position, Acquire) {
        Look::Done(seen) => read(ring, position, seen),
        Look::Hole => Fetch::Hole,
        Look::Overwritten => Fetch::Overwritten,
        Look::Pending(_) => Fetch::Pending,
    }
}

/// Reads the event at `position`, whose stamp was `seen` to be done.
pub fn read(ring: Ring<'_>, position: u64, seen: Stamp) -> Fetch {
    let slot = ring.slot(position);
    let raw = match copy_out(ring, slot, seen) {
        Ok(raw) => Some(raw),
        Err(Lost::Length) => None,
        Err(Lost::Arena) => return Fetch::Overwritten,
    };
    // Pairs with the writers' release fence: if any of the loads above saw a newer writer's store,
    // the load below sees that writer's BUSY.
    fence(Acquire);
    let now = stamp(&slot[S_STAMP], Relaxed);
    if now != seen {
        let erased = now.lap() == seen.lap() && now.state() == State::Hole;
        return if erased {
            Fetch::Hole
        } else {
            Fetch::Overwritten
        };
    }
    let Some(raw) = raw else {
        return Fetch::Unreadable(Damage::Length);
    };
    if raw.run != 0 && !arena::holds(ring, seen.owner(), raw.run, ring.cells_for(raw.body.len())) {
        return Fetch::Overwritten;
    }
    let (_, head_len, flags) = unpack_len(raw.len_word);
    let (head, data) = raw.body.split_at(head_len as usize);
    let sum = checksum::of(head, data);
    if checksum::bind(sum, position, raw.len_word, raw.run, raw.published) != raw.sum {
        return Fetch::Unreadable(Damage::Checksum);
    }
    match Event::decode(Bytes::from(raw.body), head_len, flags, raw.published) {
        Ok(event) => Fetch::Event(event),
        Err(why) => Fetch::Unreadable(Damage::Event(why)),
    }
}

/// Takes the event at `position` out of the ring: from now on there is a hole, for all readers. False if there was no
/// event. Its bytes stay until the slot is claimed again.
pub fn erase(ring: Ring<'_>, position: u64) -> bool {
    let Look::Done(seen) = look(ring, position, Acquire) else {
        return false;
    };
    let hole = Stamp::new(seen.lap(), seen.owner(), State::Hole);
    // AcqRel: the hole may be the next writer's starting point. A committed slot has no other writer than that one.
    ring.slot(position)[S_STAMP]
        .compare_exchange(seen.0, hole.0, AcqRel, Relaxed)
        .is_ok()
}

/// When the event at `position` was published (Unix ns); None unless it is there.
pub fn published(ring: Ring<'_>, position: u64) -> Option<u64> {
    let Look::Done(seen) = look(ring, position, Acquire) else {
        return None;
    };
    let slot = ring.slot(position);
    let time = slot[S_TIME].load(Relaxed);
    fence(Acquire);
    (slot[S_STAMP].load(Relaxed) == seen.0).then_some(time)
}

/// The run of arena cells that the event at `position` says it has: the first one, and how many.
pub fn run(ring: Ring<'_>, position: u64) -> Option<(u64, u64)> {
    let Look::Done(_) = look(ring, position, Acquire) else {
        return None;
    };
    let slot = ring.slot(position);
    let (len, ..) = unpack_len(slot[S_LEN].load(Relaxed));
    let run = slot[S_ARENA].load(Relaxed);
    let has = run != 0 && run < MAX_POSITION && u64::from(len) <= ring.hard_max_body();
    has.then(|| (run, ring.cells_for(len as usize)))
}

struct Raw {
    len_word: u64,
    run: u64,
    sum: u64,
    published: u64,
    body: Vec<u8>,
}

enum Lost {
    Length,
    Arena,
}

fn copy_out(ring: Ring<'_>, slot: &[AtomicU64], seen: Stamp) -> Result<Raw, Lost> {
    let len_word = slot[S_LEN].load(Relaxed);
    let run = slot[S_ARENA].load(Relaxed);
    let sum = slot[S_SUM].load(Relaxed);
    let published = slot[S_TIME].load(Relaxed);
    let (len, head_len, _) = unpack_len(len_word);
    let len = len as usize;
    let fits = if run == 0 {
        len <= ring.inline_len()
    } else {
        len as u64 <= ring.hard_max_body() && run < MAX_POSITION
    };
    if !fits || head_len as usize > len.min(LONGEST_HEAD) {
        return Err(Lost::Length);
    }
    let mut body = Vec::with_capacity(len);
    if run == 0 {
        copy::load(&slot[S_BODY..], len, &mut body);
    } else {
        // Looked at before the copy as well, only so that a large body that is gone costs nothing.
        if !arena::holds(ring, seen.owner(), run, ring.cells_for(len)) {
            return Err(Lost::Arena);
        }
        arena::load(ring, run, len, &mut body);
    }
    Ok(Raw {
        len_word,
        run,
        sum,
        published,
        body,
    })
}
