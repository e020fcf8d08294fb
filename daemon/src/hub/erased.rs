//! Channels whose events up to some position were erased. Events of that channel alone are taken out of the ring; those
//! that are on others too stay there for them, and are hidden here from whoever reads them for this channel.
//!
//! An entry ends when the ring holds nothing that old. `erased_file.rs` keeps them across restarts.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use parking_lot::RwLock;
use shared::cursor::{Cursor, Epoch};

/// Channels with erased events that are remembered.
pub const MOST: usize = 10_000;

/// Bytes of them at the most: an entry with as long a name as is allowed, in a table that has just doubled.
pub const CEILING: u64 = 320 * MOST as u64;

#[derive(Debug, Default)]
pub struct Erased {
    /// No channel has an erased position past this one.
    newest: AtomicU64,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The ring that the positions are of. None: none was served yet.
    epoch: Option<Epoch>,
    /// For each channel the last position that is erased.
    channels: HashMap<Box<str>, u64>,
}

impl Erased {
    /// The ring of `epoch` is served from now on.
    pub fn restart(&self, epoch: Epoch) {
        let mut inner = self.inner.write();
        inner.epoch = Some(epoch);
        inner.channels.clear();
        self.newest.store(0, Release);
    }

    /// Replaces all entries; those of another ring mean nothing.
    pub fn set(&self, known: Vec<(Box<str>, Cursor)>) {
        let mut inner = self.inner.write();
        let epoch = inner.epoch;
        let of_epoch = known.into_iter().filter(|(_, at)| Some(at.epoch) == epoch);
        inner.channels = of_epoch.map(|(name, at)| (name, at.seq)).collect();
        let newest = inner.channels.values().copied().max();
        self.newest.store(newest.unwrap_or(0), Release);
    }

    /// Whether the event at `seq` is erased as far as it is this channel's.
    pub fn hides(&self, channel: &str, seq: u64) -> bool {
        self.concerns(seq) && seq <= self.up_to(channel)
    }

    /// Whether any channel has erased events at `seq` or later.
    pub fn concerns(&self, seq: u64) -> bool {
        seq <= self.newest.load(Acquire)
    }

    /// The last position of this channel that is erased; 0 if none is.
    pub fn up_to(&self, channel: &str) -> u64 {
        if self.newest.load(Acquire) == 0 {
            return 0;
        }
        let inner = self.inner.read();
        inner.channels.get(channel).copied().unwrap_or(0)
    }

    pub fn len(&self) -> usize {
        self.inner.read().channels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What there would be with one entry more, without those that end before `oldest`. None: `at` is of another
    /// ring.
    pub fn with(&self, channel: &str, at: Cursor, oldest: u64) -> Option<Vec<(Box<str>, Cursor)>> {
        let inner = self.inner.read();
        if inner.epoch != Some(at.epoch) {
            return None;
        }
        let kept = inner
            .channels
            .iter()
            .filter(|(name, up_to)| **up_to >= oldest && ***name != *channel);
        let cursor = |seq| Cursor { seq, ..at };
        let mut all: Vec<_> = kept
            .map(|(name, up_to)| (name.clone(), cursor(*up_to)))
            .collect();
        let before = inner.channels.get(channel).copied().unwrap_or(0);
        all.push((channel.into(), cursor(at.seq.max(before))));
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use protocol::testing::{EPOCH, cursor};

    use super::*;

    #[test]
    fn a_channel_is_hidden_up_to_a_position_of_its_ring() {
        let erased = Erased::default();
        assert!(erased.with("a", cursor(7), 0).is_none(), "no ring yet");
        erased.restart(EPOCH);
        assert!(!erased.hides("a", 1));
        let all = erased.with("a", cursor(7), 0).unwrap();
        erased.set(all);
        assert!(erased.hides("a", 1) && erased.hides("a", 7) && !erased.hides("a", 8));
        assert!(!erased.hides("b", 1) && erased.concerns(7) && !erased.concerns(8));
        let all = erased.with("b", cursor(9), 0).unwrap();
        assert_eq!(all.len(), 2);
        erased.set(all);
        // It never goes back, and what the ring no longer holds needs no entry.
        let all = erased.with("b", cursor(8), 8).unwrap();
        assert_eq!(all, [("b".into(), cursor(9))]);
        let other = Epoch([0; 6]);
        erased.restart(other);
        erased.set(all);
        assert!(!erased.hides("b", 1) && erased.is_empty());
        assert!(erased.with("b", cursor(9), 0).is_none());
    }
}
