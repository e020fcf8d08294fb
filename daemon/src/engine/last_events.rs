//! The last events of cache channels, which a new subscriber is sent first.

use protocol::channel::Kind;
use protocol::format;
use shared::segment::now_ns;

use crate::engine::outbox::ReplayPosition;
use crate::engine::replay::state::Replay;
use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::hub::hub::Hub;
use crate::outbound::webhooks;
use crate::process::quarantine;

impl Engine {
    /// The stream is due the last events of those of its `fresh` channels that are cache channels: a chunk at a time,
    /// as in a replay. Each is given with the position from which the stream gets its events anyway. True: it was
    /// live, and replays from now on.
    pub(super) fn schedule_last_events(&mut self, slot: u32, fresh: &[(u32, u64)]) -> bool {
        let is_cached = |channel: u32| Kind::of(self.subscriptions.name(channel)).is_cached();
        let cached = fresh.iter().copied();
        let cached: Vec<_> = cached.filter(|(channel, _)| is_cached(*channel)).collect();
        if cached.is_empty() {
            return false;
        }
        self.forget_sent_last_events(slot);
        self.replays
            .last_events
            .entry(slot)
            .or_default()
            .extend(cached);
        let stream = &mut self.streams[slot as usize];
        if stream.replay.is_some() {
            return false;
        }
        let live = self.progress.live(stream.from);
        stream.replay = Some(Box::new(Replay::new(ReplayPosition::start(live), live)));
        true
    }

    /// Keeps only those of the last events that are due which have not been sent.
    pub(super) fn forget_sent_last_events(&mut self, slot: u32) {
        let replay = self.streams[slot as usize].replay.as_deref_mut();
        if let (Some(replay), Some(due)) = (replay, self.replays.last_events.get_mut(&slot)) {
            let sent = usize::from(std::mem::take(&mut replay.last_events));
            due.drain(..sent.min(due.len()));
        }
    }

    /// Appends the last events that are still due, as far as the chunk has room.
    pub(super) fn append_last_events(&mut self, slot: u32, replay: &mut Replay) {
        let stream = &self.streams[slot as usize];
        let (due, chunk) = (&self.replays.last_events, &mut self.replays.chunk);
        let due = due.get(&slot).map_or(&[][..], Vec::as_slice);
        while let Some((channel, from)) = due.get(usize::from(replay.last_events))
            && !chunk.is_full()
        {
            let name = self.subscriptions.name(*channel);
            let frame = last_event(&self.hub, stream, name, *from);
            chunk.push(self.hub.process.memory.hold(frame));
            replay.last_events += 1;
            chunk.mark(*replay);
        }
    }
}

/// The last event of a cache channel, for a stream that gets its events from `from` on.
fn last_event(hub: &Hub, stream: &Stream, channel: &str, from: u64) -> Vec<u8> {
    let format = stream.format;
    match hub.last_events.get(channel, now_ns()) {
        Some(last) if last.cursor.seq >= from => Vec::new(),
        Some(last) if last.except == Some(stream.socket) => Vec::new(),
        Some(last) => {
            let _in_hand = quarantine::hold(last.cursor);
            let cursor = hub.sent_cursor(last.cursor);
            format::earlier(format, &last.event, cursor.wire(), channel)
        }
        None => {
            let miss = webhooks::event::What::CacheMiss;
            hub.hook(stream.client, channel, miss);
            format::cache_miss(format, channel)
        }
    }
}
