//! Takes back what dead publishers pinned: storage is reclaimed on proof only, never on a timeout.
//!
//! A publisher is dirty from before its first claim until after its last unpin. One that stays dirty
//! from one sweep to the next, without having published, is either stopped or dead; its lock says which.

use std::fs::File;
use std::io;

use crate::layout::*;
use crate::lock;
use crate::prim::Ordering::*;
use crate::ring::Ring;
use crate::stamp::{Stamp, State};

/// What one sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Dead owners whose pins were freed.
    pub reaped: u32,
    /// Owners that are dirty and alive: stopped, or very slow.
    pub stopped: u32,
}

/// One per segment; needs an open file description of its own.
#[derive(Debug)]
pub struct Reaper {
    locks: File,
    /// (owner, its published counter) of those found dirty at the last sweep.
    suspects: Vec<(u16, u64)>,
}

impl Reaper {
    pub fn new(locks: File) -> Self {
        Self {
            locks,
            suspects: Vec::new(),
        }
    }

    pub fn sweep(&mut self, ring: Ring<'_>) -> io::Result<Swept> {
        let mut swept = Swept::default();
        let mut dirty = Vec::new();
        for number in 1..ring.geometry().writers() {
            let number = number as u16;
            let entry = ring.writer(number);
            if entry[WR_DIRTY].load(Acquire) == 0 {
                continue;
            }
            let seen = (number, entry[WR_PUBLISHED].load(Relaxed));
            if !self.suspects.contains(&seen) {
                dirty.push(seen);
            } else if lock::try_lock(&self.locks, number)? {
                let freed = free(ring, number);
                lock::unlock(&self.locks, number)?;
                swept.reaped += u32::from(freed);
            } else {
                swept.stopped += 1;
                dirty.push(seen);
            }
        }
        self.suspects = dirty;
        Ok(swept)
    }
}

/// Frees the pins of `owner`, whose lock we hold: it is dead, and nobody else can become it meanwhile.
/// False if there was nothing to do after all.
pub fn free(ring: Ring<'_>, owner: u16) -> bool {
    let dirty = &ring.writer(owner)[WR_DIRTY];
    if dirty.load(Acquire) == 0 {
        return false;
    }
    for word in ring.all_stamps() {
        let mut seen = Stamp(word.load(Acquire));
        while seen.pinned() && seen.owner() == owner {
            // The lap and owner stay: cells of a committed event remain readable as such. The loop
            // is for readers and publishers that move a pinned hole to a later lap meanwhile.
            let hole = Stamp::new(seen.lap(), owner, State::Hole);
            match word.compare_exchange(seen.0, hole.0, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => seen = Stamp(now),
            }
        }
    }
    // Release: a new owner of this entry, or a reader of the counters, sees the pins gone.
    dirty.store(0, Release);
    true
}
