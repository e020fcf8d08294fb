//! What one turn of a replay is asked for, and how the answer gets into a chunk: events and gaps.

use std::ops::ControlFlow;

use protocol::format;
use protocol::format::Format;
use protocol::gap::Gap;
use protocol::mercure::stream;
use protocol::socket_id::SocketId;
use shared::cursor::{Cursor, Epoch};

use crate::engine::replay::cache::{Form, ReplayCache};
use crate::engine::replay::chunk::Chunk;
use crate::engine::replay::filter::Filter;
use crate::engine::replay::state::Replay;
use crate::engine::subscribers::Subscriber;
use crate::hub::encoded_event::EncodedEvent;
use crate::hub::hub::Hub;
use crate::hub::sent_cursor::SentCursor;
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
    /// The channels that take part, and their numbers.
    pub names: &'a [&'a str],
    pub channels: &'a [u32],
    /// Only of a stream of topics.
    pub subscriber: Option<&'a Subscriber>,
    /// What the stream has already, if it comes from another host.
    pub filter: Option<&'a Filter>,
    pub format: Format,
    pub socket: SocketId,
    /// Whose share of scanning the ring is spent.
    pub client: ClientKey,
    /// Whether the ring may be scanned in this turn.
    pub scans: bool,
    /// The channels catch up: their events are older than what the stream was sent of others, and move no cursor.
    pub catches_up: bool,
}

impl ReplayQuery<'_> {
    /// Whether an event may be the stream's: one of its channels, or of topics that it asks for.
    pub fn asks_for(&self, encoded: &EncodedEvent) -> bool {
        match self.subscriber {
            Some(subscriber) => subscriber.matched.matches(&encoded.event),
            None => {
                let mut channels = encoded.event.channels();
                channels.any(|name| self.wants(name, encoded.seq()))
            }
        }
    }

    /// Whether the event at `seq` is wanted as one of this channel.
    pub fn wants(&self, name: &str, seq: u64) -> bool {
        self.names.contains(&name) && !self.hub.index.erased.hides(name, seq)
    }

    /// The filter, if the place `seq` may have something that the stream has already.
    pub fn filter_at(&self, seq: u64) -> Option<&Filter> {
        self.filter.filter(|filter| filter.concerns(seq))
    }

    /// What was lost at `seq` may have been something that the stream has already: then it is only a bound.
    pub fn lost_at(&self, seq: u64, gap: Gap) -> Gap {
        match self.filter_at(seq) {
            Some(_) => gap.as_bound(),
            None => gap,
        }
    }

    fn number(&self, name: &str) -> Option<u32> {
        let place = self.names.iter().position(|other| *other == name)?;
        self.channels.get(place).copied()
    }

    /// Whether the stream has an event already, as one of this channel.
    fn has(&self, filter: &Filter, encoded: &EncodedEvent, name: &str) -> bool {
        let at = encoded.event.imported().unwrap_or(encoded.cursor);
        let number = self.number(name);
        number.is_some_and(|channel| filter.has(channel, at.epoch.into(), at.seq))
    }

    /// The cursor of a place, for who has more than that says. `name`: the channel that it is the cursor of, where each
    /// has its own.
    fn cursor_with(&self, filter: &Filter, cursor: Cursor, name: Option<&str>) -> SentCursor {
        let channel = name.and_then(|name| self.number(name));
        let held = filter.beside(self.format, channel);
        SentCursor::with(cursor, self.hub.origins.as_deref(), Some(held))
    }
}

/// How a turn of a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has reached `target`.
    Reached,
    More,
    /// There is more, which the ring has to be scanned for.
    Scans,
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
    if let Some(subscriber) = query.subscriber {
        append_update(query, subscriber, encoded, cache, replay, chunk);
        return ControlFlow::Continue(());
    }
    let filter = query.filter_at(encoded.seq());
    let left = |(index, name): &(usize, &str)| {
        *index >= usize::from(replay.channel)
            && query.wants(name, encoded.seq())
            && !filter.is_some_and(|filter| query.has(filter, encoded, name))
    };
    let left: Vec<(usize, &str)> = encoded.event.channels().enumerate().filter(left).collect();
    if left.is_empty() {
        return ControlFlow::Continue(());
    }
    for (n, &(index, name)) in left.iter().enumerate() {
        // A frame without the channel's name is sent once.
        let last = query.format == Format::Raw || n + 1 == left.len();
        chunk.push(match (filter, query.catches_up, query.format) {
            (Some(filter), ..) => {
                let sent = query.cursor_with(filter, encoded.cursor, Some(name));
                let form = Form {
                    format: query.format,
                    channel: index as u16,
                    moves: !query.catches_up && last,
                };
                cache.form_with(encoded, sent, form, |cursor| match query.catches_up {
                    true => format::earlier(query.format, &encoded.event, cursor, name),
                    false => format::event(query.format, &encoded.event, cursor, name, last),
                })
            }
            (None, true, format) => {
                let frame = format::earlier(format, &encoded.event, encoded.wire_cursor(), name);
                query.hub.process.memory.hold(frame)
            }
            (None, false, Format::Raw) => encoded.raw(),
            (None, false, format) => encoded.form(format, index, last),
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

/// Appends an event of topics, which the stream's matchers led to, if it may have it.
fn append_update(
    query: &ReplayQuery<'_>,
    subscriber: &Subscriber,
    encoded: &EncodedEvent,
    cache: &mut ReplayCache,
    replay: &mut Replay,
    chunk: &mut Chunk,
) {
    if !subscriber.may_have(&encoded.event, encoded.cursor) {
        return;
    }
    // All matchers of a stream came with one cursor.
    let at = encoded.event.imported().unwrap_or(encoded.cursor);
    let filter = query.filter_at(encoded.seq());
    let held = filter.and_then(|filter| filter.of_all().get(at.epoch.into()));
    if held.is_some_and(|held| held >= at.seq) {
        return;
    }
    chunk.push(match filter {
        Some(filter) => {
            let sent = query.cursor_with(filter, encoded.cursor, None);
            let form = Form {
                format: query.format,
                channel: 0,
                moves: true,
            };
            cache.form_with(encoded, sent, form, |cursor| {
                stream::update(&encoded.event, cursor)
            })
        }
        None => encoded.update(),
    });
    cache.weigh(encoded.seq());
    replay.go_to(encoded.seq() + 1);
    chunk.mark(*replay);
    query.counters.replayed.add(1);
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
    let frame = match query.filter {
        // None of its channels may be taken back to what another one has.
        Some(filter) if query.format == Format::Recovery => {
            let of = |name: &&str| query.cursor_with(filter, cursor, Some(name));
            let sent: Vec<SentCursor> = query.names.iter().map(of).collect();
            let each = query.names.iter().zip(&sent);
            format::gap_of_each(each.map(|(name, sent)| (*name, sent.wire())), &replay.gap)
        }
        filter => {
            let sent = match filter {
                Some(filter) => query.cursor_with(filter, cursor, None),
                None => query.hub.sent_cursor(cursor),
            };
            let (gap, late) = (&replay.gap, query.catches_up);
            format::gap(query.format, query.names, gap, sent.wire(), late)
        }
    };
    chunk.append(&frame);
    query.hub.process.metrics.gaps.add(1);
    replay.gap = Gap::NONE;
    replay.go_to(seq + 1);
    chunk.mark(*replay);
}
