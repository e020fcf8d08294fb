//! What one turn of a replay is asked for, and how the answer gets into a chunk: events and gaps.

use std::ops::ControlFlow;

use protocol::format;
use protocol::format::Format;
use protocol::gap::Gap;
use protocol::socket_id::SocketId;
use shared::cursor::{Cursor, Epoch};

use crate::engine::replay::cache::ReplayCache;
use crate::engine::replay::chunk::Chunk;
use crate::engine::replay::state::Replay;
use crate::hub::encoded_event::EncodedEvent;
use crate::hub::hub::Hub;
use crate::process::client_key::ClientKey;
use crate::process::worker_counters::WorkerCounters;
use crate::process::{faults, quarantine};

/// Positions looked up at a time.
pub const PLAN: usize = 64;

/// What one turn of a replay is for.
pub struct ReplayQuery<'a> {
    pub hub: &'a Hub,
    /// The worker's.
    pub counters: &'a WorkerCounters,
    pub epoch: Epoch,
    /// The channels that take part.
    pub names: &'a [&'a str],
    pub format: Format,
    pub socket: SocketId,
    /// Whose share of scanning the ring is spent.
    pub client: ClientKey,
    /// The channels catch up: their events are older than what the stream was sent of others, and move no cursor.
    pub catches_up: bool,
}

impl ReplayQuery<'_> {
    /// Whether the event at `seq` is wanted as one of this channel.
    pub fn wants(&self, name: &str, seq: u64) -> bool {
        self.names.contains(&name) && !self.hub.index.erased.hides(name, seq)
    }
}

/// How a turn of a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has reached `target`.
    Reached,
    More,
    /// There is more, but its client has spent its share of scanning the ring for now.
    Paced,
}

/// Appends an event, one frame for each of its channels. `Break`: the chunk is full, and some channels are left.
pub fn append_event(
    query: &ReplayQuery<'_>,
    encoded: &EncodedEvent,
    cache: &mut ReplayCache,
    replay: &mut Replay,
    chunk: &mut Chunk,
) -> ControlFlow<()> {
    if encoded.except == Some(query.socket) {
        return ControlFlow::Continue(());
    }
    let _in_hand = quarantine::hold(encoded.cursor);
    faults::at("worker-event", encoded.event.data());
    append_gap(query, encoded.seq() - 1, replay, chunk);
    replay.go_to(encoded.seq());
    let left = |(index, name): &(usize, &str)| {
        *index >= usize::from(replay.channel) && query.wants(name, encoded.seq())
    };
    let left: Vec<(usize, &str)> = encoded.event.channels().enumerate().filter(left).collect();
    if left.is_empty() {
        return ControlFlow::Continue(());
    }
    for (n, &(index, name)) in left.iter().enumerate() {
        // A frame without the channel's name is sent once.
        let last = query.format == Format::Raw || n + 1 == left.len();
        chunk.push(match (query.catches_up, query.format) {
            (true, format) => {
                let frame = format::earlier(format, &encoded.event, encoded.cursor, name);
                query.hub.process.memory.hold(frame)
            }
            (false, Format::Raw) => encoded.raw(),
            (false, format) => encoded.form(format, index, last),
        });
        cache.weigh(encoded.seq());
        if last {
            replay.go_to(encoded.seq() + 1);
            chunk.mark(*replay);
            break;
        }
        replay.channel = index as u16 + 1;
        chunk.mark(*replay);
        if chunk.is_full() {
            return ControlFlow::Break(());
        }
    }
    query.counters.replayed.add(1);
    ControlFlow::Continue(())
}

/// Reports what was lost up to `seq`, if anything was.
pub fn append_gap(query: &ReplayQuery<'_>, seq: u64, replay: &mut Replay, chunk: &mut Chunk) {
    if replay.gap.is_none() {
        return;
    }
    let cursor = Cursor {
        epoch: query.epoch,
        seq,
    };
    let frame = format::gap(
        query.format,
        query.names,
        &replay.gap,
        cursor,
        query.catches_up,
    );
    chunk.append(&frame);
    query.hub.process.metrics.gaps.add(1);
    replay.gap = Gap::NONE;
    replay.go_to(seq + 1);
    chunk.mark(*replay);
}
