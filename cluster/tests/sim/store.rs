//! The store: a log, the nodes' states, a mark. It is trimmed, emptied, replaced by an older copy of itself.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use shared::vector::OriginId;

#[derive(Clone, Default)]
pub struct Store {
    pub log: VecDeque<(u64, Bytes)>,
    pub last_id: u64,
    pub states: BTreeMap<OriginId, Vec<u8>>,
    /// 0: there is none.
    pub mark: u64,
    /// Changes with each failover.
    pub replication_id: u64,
    /// Added to the time to give ids.
    pub clock: u64,
    pub length: usize,
    pub away_until: u64,
}

impl Store {
    pub fn append(&mut self, now: u64, entry: Bytes) {
        self.last_id = (self.last_id + 1).max((now + self.clock) * 1000);
        self.log.push_back((self.last_id, entry));
        while self.log.len() > self.length {
            self.log.pop_front();
        }
    }

    pub fn after(&self, id: u64, count: usize) -> Vec<(u64, Bytes)> {
        let first = self.log.partition_point(|(other, _)| *other <= id);
        self.log.iter().skip(first).take(count).cloned().collect()
    }

    pub fn flush(&mut self, clock: u64) {
        self.log.clear();
        self.states.clear();
        self.last_id = 0;
        self.mark = 0;
        self.clock = clock;
    }
}
