//! What the askrd that serves a ring reads, so that publishers of another version use nothing else.
//!
//! ```text
//!  63                                          16 15              0
//! ┌───────────────────────────────────────────────┬────────────────┐
//! │ askrd's last heartbeat, Unix ns, its high bits│ features       │
//! └───────────────────────────────────────────────┴────────────────┘
//! ```
//!
//! An askrd that knows of this word writes it before each heartbeat, and with all high bits set when it ends, since the
//! heartbeat is 0 then. One that does not know of it leaves it behind: its heartbeats are newer, or 0 without that mark, or
//! much older after a clock was set back. Then it says nothing. While no askrd runs it keeps what the last one read.

use std::ops::BitOr;

use crate::layout::*;
use crate::prim::Ordering::*;
use crate::ring::Ring;

/// Parts of the event format that came after its first version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u16);

impl Features {
    pub const NONE: Self = Self(0);
    /// Of events with one key the first counts.
    pub const KEY: Self = Self(1);
    /// Events of topics.
    pub const TOPIC: Self = Self(2);
    /// Events of other hosts.
    pub const IMPORTED: Self = Self(4);
    /// Records that say what of another host can no longer be had.
    pub const GAP: Self = Self(8);

    /// These and `others`, for constants.
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of `others` are among these.
    #[inline]
    pub fn contain(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// With their names in `askr_status()`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Features, &str); 4] = [
            (Features::KEY, "key"),
            (Features::TOPIC, "topic"),
            (Features::IMPORTED, "imported"),
            (Features::GAP, "gap"),
        ];
        NAMES
            .into_iter()
            .filter(move |(feature, _)| self.contain(*feature))
            .map(|(_, name)| name)
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const BITS: u64 = u16::MAX as u64;
/// In place of a time, when askrd has ended.
const ENDED: u64 = !BITS;
/// The word is written just before the heartbeat: further ahead of it, another askrd's heartbeat it is.
const AHEAD_NS: u64 = 2_000_000_000;

/// Far more than two stores that follow one another take.
const LOOKS: u32 = 64;

/// askrd's heartbeat at `now`, Unix ns, and that it reads `features`.
pub fn beat(ring: Ring<'_>, now: u64, features: Features) {
    ring.word(W_FEATURES)
        .store(now & !BITS | u64::from(features.0), Release);
    ring.word(W_HEARTBEAT).store(now, Release);
}

/// askrd, which reads `features`, ends: there is no heartbeat any more.
pub fn end(ring: Ring<'_>, features: Features) {
    ring.word(W_FEATURES)
        .store(ENDED | u64::from(features.0), Release);
    ring.word(W_HEARTBEAT).store(0, Release);
}

/// Whether the askrd that serves the ring reads all of `needs`. Begin and end of an askrd are two stores: who meets them
/// in between looks again.
#[inline]
pub fn offer(ring: Ring<'_>, needs: Features) -> bool {
    (0..LOOKS).any(|look| {
        if look > 0 {
            std::hint::spin_loop();
        }
        offered(ring).contain(needs)
    })
}

/// What the askrd that serves the ring reads, or the last one that did.
#[inline]
pub fn offered(ring: Ring<'_>) -> Features {
    // In this order: a beat between the two loads makes the word look newer, never older.
    let heartbeat = ring.word(W_HEARTBEAT).load(Acquire);
    let word = ring.word(W_FEATURES).load(Acquire);
    let says = match heartbeat {
        0 => word & !BITS == ENDED,
        _ => (word | BITS)
            .checked_sub(heartbeat)
            .is_some_and(|ahead| ahead < AHEAD_NS),
    };
    if says {
        Features(word as u16)
    } else {
        Features::NONE
    }
}
