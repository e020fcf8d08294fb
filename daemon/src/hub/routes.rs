//! Which workers have a subscriber of a channel. The tailer looks here once per event and channel, so that a
//! worker without a subscriber is not woken; it changes only when a worker's first subscriber of a channel
//! subscribes or its last one leaves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use parking_lot::RwLock;

use crate::config::MAX_WORKERS;

/// A set of workers, one bit each.
pub type WorkerSet = u64;
/// The most workers: the bits of a [`WorkerSet`].
const _: () = assert!(WorkerSet::BITS as usize == MAX_WORKERS);

/// A growing table delays only the channels of its shard, one in 64.
const SHARDS: usize = 64;

/// The routes of one application.
#[derive(Debug)]
pub struct Routes {
    shards: Vec<RwLock<HashMap<Box<str>, WorkerSet>>>,
    hasher: RandomState,
    /// Distinct channels in all shards.
    channels: AtomicUsize,
    /// Those that workers have room for and are about to add.
    reserved: Arc<AtomicUsize>,
}

/// Room for channels that are about to be added, given back when they were.
#[must_use]
#[derive(Debug)]
pub struct Room {
    reserved: Arc<AtomicUsize>,
    channels: usize,
}

impl Room {
    /// A channel was added, and counts by itself now.
    fn taken(&mut self) {
        if let Some(rest) = self.channels.checked_sub(1) {
            self.channels = rest;
            self.reserved.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.reserved.fetch_sub(self.channels, SeqCst);
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            channels: AtomicUsize::new(0),
            reserved: Arc::default(),
        }
    }
}

impl Routes {
    /// Adds a worker with a subscriber of `channel`: once this returns, the tailer finds the worker. `first` is
    /// called under the lock if no worker had a subscriber, so that its calls and those of `last` in
    /// [`Self::remove`] happen in the right order.
    pub fn add(&self, channel: &str, worker: usize, room: &mut Room, first: impl FnOnce()) {
        let mut shard = self.shard(channel).write();
        match shard.get_mut(channel) {
            Some(set) => *set |= 1 << worker,
            None => {
                shard.insert(channel.into(), 1 << worker);
                self.channels.fetch_add(1, SeqCst);
                room.taken();
                first();
            }
        }
    }

    /// Removes a worker whose last subscriber of `channel` left. `last` is called under the lock if no worker has
    /// a subscriber any more.
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

    /// Room for so many more channels, of `most` there may be: several workers that add at one time do not exceed it
    /// together.
    pub fn room(&self, channels: usize, most: usize) -> Option<Room> {
        // Reserved is read before what it becomes: nothing is overlooked in between.
        let fits = |reserved: usize| {
            let all = self.channels.load(SeqCst) + reserved + channels;
            (all <= most).then_some(reserved + channels)
        };
        self.reserved.fetch_update(SeqCst, SeqCst, fits).ok()?;
        Some(Room {
            reserved: self.reserved.clone(),
            channels,
        })
    }

    /// The number of channels with a subscriber on any worker.
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
        let routes = Routes::default();
        let mut room = routes.room(9, 9).unwrap();
        let of = |names: &[&str]| routes.workers(names.iter().copied());
        assert_eq!(of(&["a"]), 0);
        routes.add("a", 0, &mut room, || {});
        routes.add("a", 63, &mut room, || {});
        routes.add("b", 1, &mut room, || {});
        assert_eq!(of(&["a", "b", "c"]), 1 | 1 << 63 | 2);
        routes.remove("a", 0, || {});
        routes.remove("c", 0, || {});
        assert_eq!(of(&["a"]), 1 << 63);
        routes.remove("a", 63, || {});
        assert_eq!(of(&["a"]), 0);
        assert_eq!(routes.channels(), 1);
    }

    #[test]
    fn workers_that_add_at_one_time_have_room_for_no_more_than_there_is() {
        let routes = Routes::default();
        let mut first = routes.room(3, 4).unwrap();
        assert!(routes.room(2, 4).is_none());
        let second = routes.room(1, 4).unwrap();
        // What is added counts once.
        routes.add("a", 0, &mut first, || {});
        routes.add("a", 1, &mut first, || {});
        assert!(routes.room(1, 4).is_none());
        drop(second);
        let second = routes.room(1, 4).unwrap();
        drop((first, second));
        assert!(routes.room(4, 4).is_none());
        assert!(routes.room(3, 4).is_some());
        assert!(routes.room(3, 4).is_some(), "given back");
    }
}
