//! What the askrd that serves a ring reads, so that publishers of another version use nothing else.
//!
//! ```text
//!  63                                          16 15              0
//! ┌───────────────────────────────────────────────┬────────────────┐
//! │ askrd's last heartbeat, Unix ns, its high bits│ features       │
//! └───────────────────────────────────────────────┴────────────────┘
//! ```
//!
//! An askrd that knows of this word writes it before each heartbeat. One that does not leaves it behind its own
//! heartbeats, and then it says nothing. While no askrd runs it keeps what the last one read.

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

    /// Whether all of `others` are among these.
    #[inline]
    pub fn contain(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// With their names in `askr_status()`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Features, &str); 3] = [
            (Features::KEY, "key"),
            (Features::TOPIC, "topic"),
            (Features::IMPORTED, "imported"),
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

/// askrd's heartbeat at `now`, Unix ns, and that it reads `features`.
pub fn beat(ring: Ring<'_>, now: u64, features: Features) {
    ring.word(W_FEATURES)
        .store(now & !BITS | u64::from(features.0), Release);
    ring.word(W_HEARTBEAT).store(now, Release);
}

/// What the askrd that serves the ring reads, or the last one that did.
#[inline]
pub fn offered(ring: Ring<'_>) -> Features {
    // In this order: a beat between the two loads makes the word look newer, never older.
    let heartbeat = ring.word(W_HEARTBEAT).load(Acquire);
    let word = ring.word(W_FEATURES).load(Acquire);
    if word | BITS >= heartbeat {
        Features(word as u16)
    } else {
        Features::NONE
    }
}
