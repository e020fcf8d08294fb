//! Which workers have a subscriber of a channel. The tailer looks here once per event and channel, so
//! that a worker nobody asked for it is not woken; it changes only when a worker's first subscriber of
//! a channel comes or its last one goes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::RwLock;

/// A set of workers; hence at most 64 of them.
pub type WorkerSet = u64;
pub const MAX_WORKERS: usize = 64;

/// Enough that a growing table holds up one channel in 64, and only for that table's growth.
const SHARDS: usize = 64;

#[derive(Debug)]
pub struct Routes {
    shards: Vec<RwLock<HashMap<Box<str>, WorkerSet>>>,
    hasher: RandomState,
    /// Different channels in all shards.
    channels: AtomicUsize,
}

impl Routes {
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self {
            shards,
            hasher: RandomState::new(),
            channels: AtomicUsize::new(0),
        }
    }

    /// The lock orders it: once this returns, a tailer that looks finds the worker. `first`: what to do, in
    /// the same order as `remove`'s, if nobody had a subscriber.
    pub fn add(&self, channel: &str, worker: usize, first: impl FnOnce()) {
        let mut shard = self.shard(channel).write();
        match shard.get_mut(channel) {
            Some(set) => *set |= 1 << worker,
            None => {
                shard.insert(channel.into(), 1 << worker);
                self.channels.fetch_add(1, Relaxed);
                first();
            }
        }
    }

    /// `last`: what to do if nobody has a subscriber any more.
    pub fn remove(&self, channel: &str, worker: usize, last: impl FnOnce()) {
        let mut shard = self.shard(channel).write();
        if let Entry::Occupied(mut set) = shard.entry(channel.into()) {
            *set.get_mut() &= !(1 << worker);
            if *set.get() == 0 {
                set.remove();
                self.channels.fetch_sub(1, Relaxed);
                last();
            }
        }
    }

    /// The workers with a subscriber of any of these channels.
    pub fn workers<'a>(&self, channels: impl Iterator<Item = &'a str>) -> WorkerSet {
        channels.fold(0, |set, channel| {
            let shard = self.shard(channel).read();
            set | shard.get(channel).copied().unwrap_or(0)
        })
    }

    /// Channels with a subscriber anywhere.
    pub fn channels(&self) -> usize {
        self.channels.load(Relaxed)
    }

    fn shard(&self, channel: &str) -> &RwLock<HashMap<Box<str>, WorkerSet>> {
        &self.shards[self.hasher.hash_one(channel) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_found_from_its_first_subscriber_to_its_last() {
        let routes = Routes::new();
        let of = |names: &[&str]| routes.workers(names.iter().copied());
        assert_eq!(of(&["a"]), 0);
        routes.add("a", 0, || {});
        routes.add("a", 63, || {});
        routes.add("b", 1, || {});
        assert_eq!(of(&["a", "b", "c"]), 1 | 1 << 63 | 2);
        routes.remove("a", 0, || {});
        routes.remove("c", 0, || {});
        assert_eq!(of(&["a"]), 1 << 63);
        routes.remove("a", 63, || {});
        assert_eq!(of(&["a"]), 0);
        assert_eq!(routes.channels(), 1);
    }
}
