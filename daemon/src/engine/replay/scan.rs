//! Where the channel index has forgotten which channels a position belongs to, the events that may be the stream's
//! are read and checked. That is the price of an index that is too small: it is counted, and each client has a share.

use protocol::gap::Gap;

use crate::engine::replay::cache::ReplayCache;
use crate::engine::replay::chunk::Chunk;
use crate::engine::replay::query::{PLAN, ReplayQuery, Turn, append_event};
use crate::engine::replay::state::Replay;
use crate::process::scan_shares::READ;

/// Patterns that are tried in a turn, beside those of one event: other streams have their turns.
const TURN: u64 = 1000;

/// Scans part of `from..to`; `replay` is then behind what was scanned.
pub fn scan(
    query: &ReplayQuery<'_>,
    cache: &mut ReplayCache,
    (from, to): (u64, u64),
    replay: &mut Replay,
    chunk: &mut Chunk,
) -> Turn {
    let (index, share) = (&query.hub.index, &query.hub.process.limits.scans);
    replay.go_to(from);
    if !share.has_some(query.client) {
        query.hub.process.metrics.paced.add(1);
        return Turn::Paced;
    }
    let found = index.candidates(query.names, (from, to), PLAN);
    // Each of a stream's patterns is tried on what is read.
    let patterns = query.subscriber.map_or(0, |s| s.matched.weight());
    let cost = patterns.max(1) as u64;
    let (mut read, mut full) = (0, false);
    for seq in found.seqs {
        read += 1;
        match cache.fetch(query.hub, query.epoch, seq) {
            Some(encoded) if query.asks_for(&encoded) => {
                full = append_event(query, &encoded, cache, replay, chunk).is_break();
            }
            Some(_) => {}
            // Overwritten since the plan was made. Otherwise a position that never had an event.
            None if !query.hub.store.is_hole(query.epoch, seq) => replay.miss(Gap::at_most(1)),
            None => {}
        }
        // An event that did not fit whole is continued where it stopped.
        if !full {
            replay.go_to(seq + 1);
            full = chunk.is_full() || read * cost >= TURN;
        }
        if full {
            break;
        }
    }
    if !full {
        replay.go_to(found.next);
    }
    query.counters.scanned.add(read);
    share.spend(query.client, found.looked + READ * read * cost);
    Turn::More
}
