//! The keys of the events that a ring holds: of those with one key the first counts.
//!
//! Bounded by the ring: as many keys as events are held. A key is remembered as 128 bits of a keyed hash, so that
//! nobody can make two keys meet.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// Bytes that a remembered key costs, at most: twice in a table that is half empty, and in the queue.
pub const BYTES_PER_KEY: usize = 2 * (size_of::<(u128, u64)>() + 1) + 2 * size_of::<(u64, u128)>();

#[derive(Default)]
pub(crate) struct Keys {
    hashers: [RandomState; 2],
    first: HashMap<u128, u64>,
    /// In the order of their positions.
    order: VecDeque<(u64, u128)>,
}

impl Keys {
    /// Whether the event at `seq`, read in the order of positions, is the first with this key; `oldest` is the oldest
    /// position that the ring holds.
    pub fn is_first(&mut self, key: &str, seq: u64, oldest: u64) -> bool {
        while let Some((at, hash)) = self.order.front().copied()
            && at < oldest
        {
            self.order.pop_front();
            self.first.remove(&hash);
        }
        let [low, high] = self
            .hashers
            .each_ref()
            .map(|hasher| u128::from(hasher.hash_one(key)));
        let hash = high << 64 | low;
        let first = *self.first.entry(hash).or_insert(seq) == seq;
        if first {
            self.order.push_back((seq, hash));
        }
        first
    }

    pub fn clear(&mut self) {
        self.first.clear();
        self.order.clear();
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_counts_as_long_as_it_is_held() {
        let mut keys = Keys::default();
        assert!(keys.is_first("a", 10, 0));
        assert!(keys.is_first("b", 11, 0));
        assert!(!keys.is_first("a", 12, 10));
        assert!(!keys.is_first("b", 13, 11));
        // "a" is overwritten, and so is what repeated it.
        assert!(keys.is_first("a", 14, 13));
        assert!(!keys.is_first("a", 15, 14));
        assert_eq!(keys.len(), 1);
        keys.clear();
        assert!(keys.is_first("a", 16, 0));
    }
}
