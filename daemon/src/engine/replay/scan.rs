//! Positions of which the index no longer knows whose they are: those that may be the stream's own are read and
//! looked into. The price of an index that is too small for its channels: counted, and each client has a share.

use protocol::gap::Gap;

use super::{Chunk, PLAN, Replay, ReplayCache, ReplayQuery, Turn, tell};

/// What reading a position costs, in positions looked at.
const READ: u64 = 256;

/// Goes on somewhat in `from..to`, up to where everything has been done.
pub fn scan(
    ask: &ReplayQuery<'_>,
    reader: &mut ReplayCache,
    (from, to): (u64, u64),
    replay: &mut Replay,
    chunk: &mut Chunk,
) -> Turn {
    let (history, share) = (&ask.hub.index, &ask.hub.limits.scans);
    replay.go_to(from);
    if !share.has_some(ask.client) {
        ask.hub.metrics.paced.add(1);
        return Turn::Paced;
    }
    let found = history.candidates(ask.names, (from, to), PLAN);
    let (mut read, mut full) = (0, false);
    for seq in found.seqs {
        read += 1;
        match reader.fetch(ask.hub, ask.epoch, seq) {
            Some(live) if live.event.channels().any(|name| ask.names.contains(&name)) => {
                full = !tell(ask, &live, reader, replay, chunk);
            }
            Some(_) => {}
            // Overwritten since the plan was made. Otherwise a position that never had an event.
            None if !ask.hub.store.is_hole(ask.epoch, seq) => replay.gap.add(Gap::at_most(1)),
            None => {}
        }
        // What did not fit all is gone on with where it stopped.
        if !full {
            replay.go_to(seq + 1);
            full = chunk.is_full();
        }
        if full {
            break;
        }
    }
    if !full {
        replay.go_to(found.next);
    }
    ask.hub.metrics.scanned.add(read);
    share.spend(ask.client, found.looked + READ * read);
    Turn::More
}
