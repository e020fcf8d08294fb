//! Where the events of topics are that their publishers gave ids to. An id that was given again means its first event,
//! as far as it is known.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

/// The most events of one id that are looked at.
const MAX_CANDIDATES: usize = 64;

/// Bytes at the most, of tables that have just doubled.
pub const fn ceiling(ids: u64) -> u64 {
    160 * ids
}

#[derive(Debug)]
pub struct Ids {
    /// Events that are remembered.
    most: usize,
    hasher: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Positions and the hashes of ids, ascending.
    latest: VecDeque<(u64, u64)>,
    /// The positions of each hash, ascending.
    by_id: HashMap<u64, VecDeque<u64>>,
}

impl Ids {
    /// `most`: events that are remembered, as many as the ring holds.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            hasher: RandomState::new(),
            inner: Mutex::default(),
        }
    }

    /// Positions must ascend.
    pub fn put(&self, seq: u64, id: &str) {
        let id = self.hasher.hash_one(id);
        let mut inner = self.inner.lock();
        inner.latest.push_back((seq, id));
        inner.by_id.entry(id).or_default().push_back(seq);
        while inner.latest.len() > self.most {
            inner.drop_oldest();
        }
    }

    /// Where an event with this id may be, oldest first. Two ids may have the same hash.
    pub fn find(&self, id: &str) -> Vec<u64> {
        let inner = self.inner.lock();
        let found = inner.by_id.get(&self.hasher.hash_one(id));
        let found = found.into_iter().flatten().copied();
        found.take(MAX_CANDIDATES).collect()
    }

    /// What was before `seq` can no longer be read.
    pub fn forget_before(&self, seq: u64) {
        let mut inner = self.inner.lock();
        while inner
            .latest
            .front()
            .is_some_and(|(oldest, _)| *oldest < seq)
        {
            inner.drop_oldest();
        }
    }

    pub fn clear(&self) {
        *self.inner.lock() = Inner::default();
    }
}

impl Inner {
    fn drop_oldest(&mut self) {
        let Some((_, id)) = self.latest.pop_front() else {
            return;
        };
        if let Some(of_id) = self.by_id.get_mut(&id) {
            of_id.pop_front();
            if of_id.is_empty() {
                self.by_id.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_given_again_means_its_first_event_that_is_held() {
        let ids = Ids::new(3);
        for (seq, id) in [(1, "a"), (2, "b"), (3, "a")] {
            ids.put(seq, id);
        }
        assert_eq!(ids.find("a"), [1, 3]);
        ids.forget_before(2);
        assert_eq!(ids.find("a"), [3]);
        for (seq, id) in [(4, "c"), (5, "c"), (6, "c")] {
            ids.put(seq, id);
        }
        assert_eq!(ids.find("b"), [] as [u64; 0]);
        assert_eq!(ids.find("c"), [4, 5, 6]);
        let inner = ids.inner.lock();
        assert_eq!((inner.latest.len(), inner.by_id.len()), (3, 1));
    }
}
