//! The replays of all streams of a worker: whose turn it is, what else each is to be sent, and the buffers.

use std::collections::HashMap;

use crate::engine::replay::cache::ReplayCache;
use crate::engine::replay::catch_up::CatchUp;
use crate::engine::replay::chunk::Chunk;
use crate::engine::replay::filter::Filter;
use crate::engine::replay::turns::{self, Turns};
use crate::process::client_key::ClientKey;

/// Bytes at the most of each stream in the tables of turns, of which it waits in one.
pub const TURNS: u64 = 4 * turns::PLACE + turns::WAITS;

#[derive(Debug, Default)]
pub struct Replays {
    /// Streams whose next chunk may be written.
    pub ready: Turns,
    /// Those of them that have to scan the ring for it: apart, so that it is not at others' expense.
    pub scans: Turns,
    /// Streams that are to be told more of who is there (`active.rs`).
    pub telling: Turns,
    /// Streams whose client has spent its share of scanning the ring (`scan_shares.rs`): they go on when some of it has come
    /// back.
    pub paced: Turns,
    /// Streams with channels that were added with a cursor.
    pub catch_ups: HashMap<u32, CatchUp>,
    /// Streams that come from another host, as long as that matters.
    pub filters: HashMap<u32, Filter>,
    /// Those of them that have reached the end, and may have more than this host: they go on when it does.
    pub ahead: HashMap<u32, ClientKey>,
    /// Last events of cache channels that are still to be sent: the number of each channel, and the position from
    /// which the stream gets its events.
    pub last_events: HashMap<u32, Vec<(u32, u64)>>,
    pub cache: ReplayCache,
    pub chunk: Chunk,
}

impl Replays {
    /// The stream is live now.
    pub fn finish(&mut self, slot: u32) {
        remove_from(&mut self.catch_ups, slot);
        remove_from(&mut self.filters, slot);
        remove_from(&mut self.ahead, slot);
        remove_from(&mut self.last_events, slot);
    }

    /// The stream is closed.
    pub fn remove(&mut self, slot: u32, client: ClientKey) {
        self.ready.remove(client, slot);
        self.scans.remove(client, slot);
        self.paced.remove(client, slot);
        self.telling.remove(client, slot);
        self.finish(slot);
    }

    /// No stream replays any more.
    pub fn clear(&mut self) {
        self.ready.clear();
        self.scans.clear();
        self.paced.clear();
        self.ahead.clear();
    }

    /// There is something new.
    pub fn go_on(&mut self) {
        for (slot, client) in self.ahead.drain() {
            self.ready.add(client, slot);
        }
    }

    /// The ring was replaced: nothing of it can be replayed.
    pub fn forget(&mut self) {
        self.clear();
        self.cache.forget();
        self.catch_ups.clear();
        self.filters.clear();
        self.last_events.clear();
    }
}

/// Each stream that opens comes here, and nearly always there is nothing: then its slot need not be hashed.
fn remove_from<T>(all: &mut HashMap<u32, T>, slot: u32) {
    if !all.is_empty() {
        all.remove(&slot);
    }
}
