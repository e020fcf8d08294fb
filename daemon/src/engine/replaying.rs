//! Replaying streams: each in turn gets its next chunk, until it is live.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::engine::outbox::{FrameKind, ReplayPosition};
use crate::engine::replay::chunk::{Chunk, Rest};
use crate::engine::replay::fill::fill;
use crate::engine::replay::query::{ReplayQuery, Turn};
use crate::engine::replay::state::Replay;
use crate::engine::stream::close_reason;
use crate::engine::streams::Engine;
use crate::engine::transmit::write_to;
use crate::process::client_key::ClientKey;

/// Chunks of one turn of all replays, and as many for those that scan the ring.
const CHUNKS: usize = 16;

/// Streams of one client that go on at once when some of its share of scanning has come back.
const PACED: usize = 16;

/// What a chunk may be filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    /// What the index knows.
    Indexed,
    /// Also what the ring is scanned for.
    All,
}

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
        for _ in 0..CHUNKS {
            let Some(slot) = self.next_turn(Reads::Indexed) else {
                break;
            };
            self.replay_chunk(slot, Reads::Indexed);
        }
        let scanned = self.hub.counters(self.worker).scanned.get();
        for _ in 0..CHUNKS {
            let Some(slot) = self.next_turn(Reads::All) else {
                break;
            };
            self.replay_chunk(slot, Reads::All);
            if self.hub.counters(self.worker).scanned.get() > scanned {
                break;
            }
        }
        self.count_due();
        self.relieve();
    }

    fn count_due(&self) {
        let due = self.replays.ready.len() + self.replays.scans.len();
        self.hub.counters(self.worker).replays_due.set(due as u64);
    }

    /// Whether any stream may have its next chunk, or be told more of who is there.
    pub(super) fn has_turns(&self) -> bool {
        let replays = &self.replays;
        let mut all = [&replays.ready, &replays.scans, &replays.telling].into_iter();
        all.any(|turns| turns.has(|client| self.may_begin(client)))
    }

    /// The next stream whose turn it is among those that read so. Whoever may not begin anything now keeps its turn.
    fn next_turn(&mut self, reads: Reads) -> Option<u32> {
        let mut turns = match reads {
            Reads::All => std::mem::take(&mut self.replays.scans),
            _ => std::mem::take(&mut self.replays.ready),
        };
        let next = turns.next(|client| self.may_begin(client));
        match reads {
            Reads::All => self.replays.scans = turns,
            _ => self.replays.ready = turns,
        }
        next
    }

    /// Whether a client's replays may begin anything now. While memory is tight, only if nothing of it waits for the
    /// client: who takes what it is sent needs memory for a moment, and others' stalled streams do not hold it up.
    pub(super) fn may_begin(&self, client: ClientKey) -> bool {
        let memory = &self.hub.process.memory;
        let holds = |slot: u32| {
            let outbox = self.streams.get(slot as usize)?.outbox.as_ref()?;
            (!outbox.is_empty()).then_some(())
        };
        !memory.is_tight()
            || !memory.is_full() && !self.slow.of(client).any(|slot| holds(slot).is_some())
    }

    /// Once a second: what was kept for replays that are over is dropped.
    pub fn trim_cache(&mut self) {
        self.replays.cache.trim();
        self.count_due();
    }

    /// Whether any streams wait for their client's share of scanning: then `on_pace` is due ten times a second.
    pub fn is_paced(&self) -> bool {
        !self.replays.paced.is_empty()
    }

    pub fn on_pace(&mut self) {
        let shares = &self.hub.process.limits.scans;
        let may = |client| shares.has_some(client);
        let due = self.replays.paced.round(PACED, may);
        for (client, slot) in due {
            self.replays.ready.add(client, slot);
        }
    }

    /// The next chunk of a stream's replay.
    fn replay_chunk(&mut self, slot: u32, reads: Reads) {
        // It may be blocked meanwhile, or live.
        let stream = self.streams.get(slot as usize);
        let stream = stream.filter(|stream| stream.outbox.is_none());
        if let Some(replay) = stream.and_then(|stream| stream.replay.as_deref()) {
            self.replays.chunk.begin(Vec::new(), *replay);
            self.hub.counters(self.worker).replay_turns.add(1);
            self.send_chunk(slot, reads);
        }
    }

    /// The first chunk of a stream that has just opened, behind `bytes`. It has nothing scanned while others wait for that,
    /// or who comes again and again would never have to.
    pub(super) fn send_first_chunk(&mut self, slot: u32, bytes: Vec<u8>, replay: Replay) {
        let reads = match self.may_begin(self.streams[slot as usize].client) {
            false => Reads::Nothing,
            true if self.replays.scans.is_empty() => Reads::All,
            true => Reads::Indexed,
        };
        self.replays.chunk.begin(bytes, replay);
        self.send_chunk(slot, reads);
    }

    /// Writes the chunk, filled up with what the stream has to replay.
    fn send_chunk(&mut self, slot: u32, reads: Reads) {
        let Some(stream) = self.streams.get(slot as usize) else {
            return;
        };
        let skips = stream.replay.as_ref().is_some_and(|replay| replay.skips);
        let filled = self.fill_chunk(slot, reads);
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
                self.replays.ahead.insert(slot, stream.client);
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
                self.replays.ready.add(stream.client, slot);
            }
            Some((replay, Turn::Scans)) => {
                stream.replay = Some(Box::new(replay));
                self.replays.scans.add(stream.client, slot);
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
    fn fill_chunk(&mut self, slot: u32, reads: Reads) -> Option<(Replay, Turn)> {
        let replay = self.streams[slot as usize].replay.as_deref_mut()?;
        // Deliveries that were dealt with meanwhile were not for it: it replays them too.
        replay.target = replay.target.max(self.progress.processed);
        // On its way to what it has already, other channels' events count.
        if self.replays.filters.contains_key(&slot) {
            replay.target = replay.target.max(self.progress.safe);
        }
        let mut replay = *replay;
        if reads == Reads::Nothing {
            return Some((replay, Turn::More));
        }
        self.append_last_events(slot, &mut replay);
        Some(self.append_missed(slot, replay, reads))
    }

    /// Appends events that the stream missed, as far as the same of its channels take part.
    fn append_missed(&mut self, slot: u32, replay: Replay, reads: Reads) -> (Replay, Turn) {
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
            scans: reads == Reads::All,
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
                    self.replays.ready.add(stream.client, slot);
                }
            }
        }
        if let Some(catch_up) = self.replays.catch_ups.get_mut(&slot) {
            catch_up.fall_back(from);
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
