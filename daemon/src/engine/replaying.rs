//! Replaying streams: each in turn gets its next chunk, until it is live.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::engine::outbox::{FrameKind, ReplayPosition};
use crate::engine::replay::chunk::{Chunk, Rest};
use crate::engine::replay::fill::fill;
use crate::engine::replay::query::{ReplayQuery, Turn};
use crate::engine::replay::state::Replay;
use crate::engine::stream::{Stream, close_reason};
use crate::engine::streams::Engine;
use crate::engine::transmit::write_to;

impl Engine {
    /// One chunk of replay for each of some streams, and input of some WebSockets.
    pub fn on_replay(&mut self) {
        for _ in 0..self.input.queue.len().min(16) {
            if let Some(slot) = self.input.queue.pop_front() {
                self.resume_input(slot);
            }
        }
        self.go_on_telling();
        // Few at a time: live events come first.
        let scanned = self.hub.counters(self.worker).scanned.get();
        for _ in 0..self.replays.ready.len().min(16) {
            let Some(slot) = self.replays.ready.pop_front() else {
                break;
            };
            // It may be closed, or its slot taken by a stream that does not replay or is blocked.
            let due = |s: &Stream| s.replay.is_some() && s.outbox.is_none();
            if self.streams.get(slot as usize).is_some_and(due) {
                self.replay_chunk(slot);
            }
            if self.hub.counters(self.worker).scanned.get() > scanned {
                break;
            }
        }
        self.relieve();
    }

    /// Once a second: what was kept for replays that are over is dropped.
    pub fn trim_cache(&mut self) {
        self.replays.cache.trim();
    }

    /// Whether any streams wait for their client's share of scanning: then `on_pace` is due ten times a second.
    pub fn is_paced(&self) -> bool {
        !self.replays.paced.is_empty()
    }

    pub fn on_pace(&mut self) {
        let shares = &self.hub.process.limits.scans;
        let due = self.replays.paced.take(|client| shares.has_some(client));
        self.replays.ready.extend(due);
    }

    /// The next chunk of a stream's replay.
    fn replay_chunk(&mut self, slot: u32) {
        let stream = self.streams.get(slot as usize);
        if let Some(replay) = stream.and_then(|stream| stream.replay.as_deref()) {
            self.replays.chunk.begin(Vec::new(), *replay);
            self.send_chunk(slot);
        }
    }

    /// Writes the chunk, filled up with what the stream has to replay.
    pub(super) fn send_chunk(&mut self, slot: u32) {
        let Some(stream) = self.streams.get(slot as usize) else {
            return;
        };
        let skips = stream.replay.as_ref().is_some_and(|replay| replay.skips);
        let filled = self.fill_chunk(slot);
        let fd = &self.streams[slot as usize].fd;
        let written = match write_chunk(fd, &self.replays.chunk) {
            Ok(written) => written,
            Err(error) => return self.close(slot, close_reason(error)),
        };
        self.hub.counters(self.worker).bytes.add(written as u64);
        if written < self.replays.chunk.size() {
            return self.keep_remainder(slot, written, skips);
        }
        let is_ahead = |(replay, turn): (Replay, Turn)| {
            turn == Turn::Reached && self.is_ahead(slot, replay.target)
        };
        let is_ahead = filled.is_some_and(is_ahead);
        let stream = &mut self.streams[slot as usize];
        match filled {
            Some((replay, Turn::Reached)) if is_ahead => {
                stream.replay = Some(Box::new(replay));
                self.replays.ahead.insert(slot);
                self.refresh_members(slot);
            }
            Some((replay, Turn::Reached)) => {
                stream.from = replay.target;
                stream.replay = None;
                self.replays.finish(slot);
                self.refresh_members(slot);
            }
            Some((replay, Turn::More)) => {
                stream.replay = Some(Box::new(replay));
                self.replays.ready.push_back(slot);
            }
            Some((replay, Turn::Paced)) => {
                stream.replay = Some(Box::new(replay));
                self.replays.paced.add(stream.client, slot);
            }
            None => {}
        }
    }

    /// Whether the stream may have something of another host already that comes at or behind `next`.
    fn is_ahead(&mut self, slot: u32, next: u64) -> bool {
        let filter = self.replays.filters.get_mut(&slot);
        let origins = self.hub.origins.as_deref();
        filter.is_some_and(|filter| !filter.is_over(next, origins))
    }

    /// Fills the chunk with what the stream has to replay. Returns where it is once the chunk was written; None if
    /// it does not replay.
    fn fill_chunk(&mut self, slot: u32) -> Option<(Replay, Turn)> {
        let replay = self.streams[slot as usize].replay.as_deref_mut()?;
        // Deliveries that were dealt with meanwhile were not for it: it replays them too.
        replay.target = replay.target.max(self.progress.processed);
        // On its way to what it has already, other channels' events count.
        if self.replays.filters.contains_key(&slot) {
            replay.target = replay.target.max(self.progress.safe);
        }
        let mut replay = *replay;
        // Where memory is tight nothing more is begun: see `has_more`.
        if self.hub.process.memory.is_tight() {
            return Some((replay, Turn::More));
        }
        self.append_last_events(slot, &mut replay);
        Some(self.append_missed(slot, replay))
    }

    /// Appends events that the stream missed, as far as the same of its channels take part.
    fn append_missed(&mut self, slot: u32, replay: Replay) -> (Replay, Turn) {
        let stream = &self.streams[slot as usize];
        let replays = &mut self.replays;
        let catch_up = replays.catch_ups.get(&slot);
        let joins = catch_up.and_then(|catch_up| catch_up.joins(replay.next));
        let takes =
            |channel: &u32| catch_up.is_none_or(|catch_up| catch_up.takes(*channel, replay.next));
        let channels = stream.subscriptions.iter().map(|s| s.channel);
        let channels: Vec<u32> = channels.filter(takes).collect();
        let names = channels
            .iter()
            .map(|channel| &**self.subscriptions.name(*channel));
        let names: Vec<&str> = names.collect();
        let query = ReplayQuery {
            hub: &self.hub,
            counters: self.hub.counters(self.worker),
            epoch: self.progress.epoch,
            names: &names,
            channels: &channels,
            filter: replays.filters.get(&slot),
            subscriber: self.subscribers.of(slot),
            format: stream.format,
            socket: stream.socket,
            client: stream.client,
            catches_up: catch_up.is_some_and(|catch_up| replay.next < catch_up.base),
        };
        let part = Replay {
            target: joins.map_or(replay.target, |at| at.min(replay.target)),
            ..replay
        };
        let (part, turn) = fill(&query, &mut replays.cache, part, &mut replays.chunk);
        let turn = match turn {
            // Others of its channels join in.
            Turn::Reached if part.target < replay.target => Turn::More,
            turn => turn,
        };
        let target = replay.target;
        (Replay { target, ..part }, turn)
    }

    /// The socket took `written` bytes of the chunk. Only a frame written in part waits in memory; what was not
    /// begun is replayed again later.
    fn keep_remainder(&mut self, slot: u32, written: usize, skips: bool) {
        let remainder = self.replays.chunk.remainder(written);
        if let Some(replay) = self.streams[slot as usize].replay.as_deref_mut() {
            // Still too slow: what comes meanwhile is skipped as well.
            let target = replay.target;
            *replay = Replay {
                skips,
                target,
                ..remainder.after
            };
        }
        let rest = match remainder.rest {
            Rest::None => return self.await_writable(slot),
            Rest::Copied(bytes) => self.hub.process.memory.hold(bytes),
            Rest::Shared(held) => held,
        };
        self.enqueue(slot, true, vec![(FrameKind::Control, rest)]);
    }

    /// The stream replays from `from` on, as if it had reconnected, as soon as its outbox is empty.
    pub(super) fn fall_back(&mut self, slot: u32, from: ReplayPosition, skips: bool) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let target = self.progress.processed.max(from.seq + 1);
        match &mut stream.replay {
            Some(replay) => {
                replay.back_to(from);
                replay.target = replay.target.max(target);
                replay.skips |= skips;
            }
            None => {
                let replay = Replay {
                    skips,
                    ..Replay::new(from, target)
                };
                stream.replay = Some(Box::new(replay));
                if stream.outbox.is_none() {
                    self.replays.ready.push_back(slot);
                }
            }
        }
        if let Some(catch_up) = self.replays.catch_ups.get_mut(&slot) {
            catch_up.base = catch_up.base.min(from.seq);
        }
    }
}

/// How much of a chunk the socket took.
fn write_chunk(fd: &OwnedFd, chunk: &Chunk) -> Result<usize, Errno> {
    let mut written = 0;
    for part in chunk.parts() {
        if part.is_empty() {
            continue;
        }
        let taken = write_to(fd, part)?;
        written += taken;
        if taken < part.len() {
            break;
        }
    }
    Ok(written)
}
