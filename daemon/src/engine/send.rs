//! Bytes to sockets: a gathered wake, a piece of replay, one frame; and what a full socket leaves over.

use std::cmp::Reverse;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use protocol::channel::Kind;
use protocol::close_reason::CloseReason;
use protocol::format;
use shared::segment::now_ns;

use super::Engine;
use crate::config::SlowClients;
use crate::engine::outbox::{At, Frame, FrameKind, GivenUp, Outbox};
use crate::engine::replay::chunk::{Chunk, Rest};
use crate::engine::replay::fill::fill;
use crate::engine::replay::query::{ReplayQuery, Turn};
use crate::engine::replay::state::Replay;
use crate::engine::stream::Stream;
use crate::engine::transmit::write_some;
use crate::engine::uring::{BATCH, Job};
use crate::hub::hub::Hub;
use crate::outbound::webhooks;
use crate::process::budget::Held;
use crate::process::quarantine;

/// A client that takes nothing for so long, while memory is tight all the time, holds what others need.
const STUCK: Duration = Duration::from_secs(1);
/// What other workers have to give back, they give back in this time.
const OTHERS: Duration = Duration::from_millis(100);

impl Engine {
    /// The next piece of what a stream pulls.
    pub(super) fn pull_piece(&mut self, slot: u32) {
        let stream = self.streams.get(slot as usize);
        if let Some(replay) = stream.and_then(|stream| stream.replay.as_deref()) {
            self.chunk.begin(Vec::new(), *replay);
            self.send_chunk(slot);
        }
    }

    /// Writes `self.piece`, filled up with what the stream has to pull.
    pub(super) fn send_chunk(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let mut reached = None;
        let skips = stream.replay.as_ref().is_some_and(|replay| replay.skips);
        if let Some(replay) = stream.replay.as_deref_mut() {
            // Hand-offs that were dealt with meanwhile were not for it: it pulls them too.
            replay.target = replay.target.max(self.processed);
            reached = Some((*replay, Turn::More));
        }
        // Where memory is tight nothing more is begun: see `is_pulling`.
        if let Some((mut replay, _)) = reached.filter(|_| !self.hub.memory.is_tight()) {
            let owed = self.owed.get(&slot).map_or(&[][..], Vec::as_slice);
            while let Some((name, here)) = owed.get(usize::from(replay.last_events))
                && !self.chunk.is_full()
            {
                let mut all = stream.subscriptions.iter();
                if all.any(|s| **self.subscriptions.name(s.channel) == **name) {
                    let frame = last_event(&self.hub, stream, name, *here);
                    self.chunk.push(self.hub.memory.hold(frame));
                }
                replay.last_events += 1;
                self.chunk.mark(replay);
            }
            let late = self.catch_ups.get(&slot);
            let joins = late.and_then(|late| late.joins(replay.next));
            let names: Vec<&str> = stream
                .subscriptions
                .iter()
                .map(|s| &**self.subscriptions.name(s.channel))
                .filter(|name| late.is_none_or(|late| late.takes(name, replay.next)))
                .collect();
            let query = ReplayQuery {
                hub: &self.hub,
                epoch: self.epoch,
                names: &names,
                format: stream.format,
                socket: stream.socket,
                client: stream.client,
                catches_up: late.is_some_and(|late| replay.next < late.base),
            };
            // As far as the same channels take part.
            let part = Replay {
                target: joins.map_or(replay.target, |at| at.min(replay.target)),
                ..replay
            };
            let (part, turn) = fill(&query, &mut self.reader, part, &mut self.chunk);
            let turn = match turn {
                // Others of its channels join in.
                Turn::Reached if part.target < replay.target => Turn::More,
                turn => turn,
            };
            let target = replay.target;
            reached = Some((Replay { target, ..part }, turn));
        }
        let written = match write_piece(&stream.fd, &self.chunk) {
            Ok(written) => written,
            Err(error) => return self.close(slot, ended(error)),
        };
        self.hub.metrics.bytes.add(written as u64);
        if written < self.chunk.len() {
            // What was not begun is pulled again later: only a cut frame waits in memory.
            let remainder = self.chunk.remainder(written);
            if let Some(replay) = stream.replay.as_deref_mut() {
                // Still too slow: what comes meanwhile is skipped as well.
                let target = replay.target;
                *replay = Replay {
                    skips,
                    target,
                    ..remainder.after
                };
            }
            let rest = match remainder.rest {
                Rest::None => return self.wait(slot),
                Rest::Copied(bytes) => self.hub.memory.hold(bytes),
                Rest::Shared(held) => held,
            };
            return self.block(slot, true, vec![(FrameKind::Control, rest)]);
        }
        match reached {
            Some((replay, Turn::Reached)) => {
                stream.from = replay.target;
                stream.replay = None;
                self.catch_ups.remove(&slot);
                self.owed.remove(&slot);
                self.refresh(slot);
            }
            Some((replay, Turn::More)) => {
                stream.replay = Some(Box::new(replay));
                self.replaying.push_back(slot);
            }
            Some((replay, Turn::Paced)) => {
                stream.replay = Some(Box::new(replay));
                self.paced.add(stream.client, slot);
            }
            None => {}
        }
    }

    /// Writes what was gathered: each stream's in one piece, many streams' with one system call.
    pub(super) fn flush(&mut self) {
        let mut next = 0;
        while next < self.fanout.dirty.len() {
            next = self.collect(next);
            let (fanout, streams) = (&self.fanout, &self.streams);
            let jobs: Vec<Job<'_>> = self
                .writes
                .iter()
                .map(|(slot, write_batch)| Job {
                    fd: streams[*slot as usize].fd.as_fd(),
                    bytes: fanout.bytes(*write_batch),
                })
                .collect();
            self.transmit.send(&jobs, &mut self.results);
            self.settle();
        }
        self.hub.metrics.delivered.add(self.fanout.count);
        self.fanout.clear();
        self.tell_latency();
        for (slot, from) in std::mem::take(&mut self.fanout.aside) {
            self.hub.metrics.large_replayed.add(1);
            self.fall_back(slot, from, false);
        }
        self.relieve();
    }

    /// Makes parcels for streams from `next` on, as many as are sent together; returns where to go on.
    fn collect(&mut self, mut next: usize) -> usize {
        self.writes.clear();
        self.fanout.forget_parcels();
        while next < self.fanout.dirty.len()
            && self.writes.len() < BATCH
            && !self.fanout.parcels_full()
        {
            let slot = self.fanout.dirty[next];
            next += 1;
            let stream = &mut self.streams[slot as usize];
            self.fanout.take(stream);
            stream.fresh = true;
            if stream.outbox.is_some() {
                let frames: Vec<Frame> = self.fanout.chain().cloned().collect();
                self.block(slot, false, frames);
            } else {
                self.writes.push((slot, self.fanout.write_batch()));
            }
        }
        next
    }

    /// What became of the parcels.
    fn settle(&mut self) {
        let mut bytes = 0;
        let writes = std::mem::take(&mut self.writes);
        for (n, &(slot, write_batch)) in writes.iter().enumerate() {
            match self.results[n] {
                Ok(written) if written == self.fanout.bytes(write_batch).len() => bytes += written,
                Ok(written) => {
                    bytes += written;
                    let mut frames = self.fanout.frames(write_batch);
                    let (mut skip, mut begun) = (written, false);
                    frames.retain_mut(|(_, frame)| {
                        let taken = skip.min(frame.len());
                        skip -= taken;
                        frame.advance(taken);
                        begun |= taken > 0 && !frame.is_empty();
                        !frame.is_empty()
                    });
                    self.block(slot, begun, frames);
                }
                Err(error) => self.close(slot, ended(error)),
            }
        }
        self.writes = writes;
        self.hub.metrics.bytes.add(bytes as u64);
    }

    /// One frame for one stream, now or behind what waits for it.
    pub(super) fn send_one(&mut self, slot: u32, of: FrameKind, frame: Held) {
        let stream = &self.streams[slot as usize];
        if stream.outbox.is_some() {
            return self.block(slot, false, vec![(of, frame)]);
        }
        match write_to(&stream.fd, &frame) {
            Ok(written) if written == frame.len() => {}
            Ok(0) => self.block(slot, false, vec![(of, frame)]),
            Ok(written) => self.block(slot, true, vec![(FrameKind::Control, frame.after(written))]),
            Err(error) => self.close(slot, ended(error)),
        }
    }

    /// What a stream must be told, and nobody else knows.
    pub(super) fn tell(&mut self, slot: u32, bytes: Vec<u8>) {
        let frame = self.hub.memory.hold(bytes);
        self.send_one(slot, FrameKind::Control, frame);
    }

    /// The socket is full: frames wait, within bounds; what becomes of the rest is a setting.
    /// `begun`: the first of the frames was written in part.
    fn block(&mut self, slot: u32, begun: bool, frames: Vec<Frame>) {
        let outbox = self.outbox(slot);
        if begun {
            outbox.begin();
        }
        let count = frames.len();
        let (mut missed, mut full) = (0, None);
        let bounds = self.rules.outbox;
        for (n, (of, frame)) in frames.into_iter().enumerate() {
            let outbox = self.outbox(slot);
            match of {
                // What follows is read again later, but for what cannot be.
                FrameKind::Event(_) if full.is_some() => {}
                FrameKind::Ephemeral if full.is_some() => missed += 1,
                _ if outbox.push(of, frame, bounds).is_ok() => {}
                FrameKind::Event(at) => full = Some((n, at)),
                FrameKind::Ephemeral => missed += 1,
                FrameKind::Control => return self.close(slot, CloseReason::Slow),
            }
        }
        self.miss(slot, missed);
        if let Some((n, at)) = full {
            self.fanout.count -= ((count - n) as u64).min(self.fanout.count);
            self.overflow(slot, at);
        }
    }

    /// The stream's outbox, made if it has none.
    fn outbox(&mut self, slot: u32) -> &mut Outbox {
        let memory = &self.hub.memory;
        self.streams[slot as usize].outbox.get_or_insert_with(|| {
            self.blocked.insert(slot);
            Box::new(Outbox::new(memory))
        })
    }

    /// The socket is full, and nothing is kept for it: it pulls once it can be written to.
    fn wait(&mut self, slot: u32) {
        self.outbox(slot);
    }

    /// Frames without a place in history were left out.
    fn miss(&mut self, slot: u32, count: usize) {
        if count == 0 {
            return;
        }
        self.hub.metrics.ephemeral_missed.add(count as u64);
        if let Some(identity) = &mut self.streams[slot as usize].identity {
            identity.miss();
        }
    }

    /// What there is from `from` on did not fit.
    fn overflow(&mut self, slot: u32, from: At) {
        match self.rules.slow_clients {
            SlowClients::Close => self.close(slot, CloseReason::Slow),
            SlowClients::Replay => {
                self.hub.metrics.slow_replayed.add(1);
                self.fall_back(slot, from, false);
            }
            SlowClients::Skip => {
                let given = self.outbox(slot).give_up();
                self.miss(slot, given.ephemeral);
                self.hub.metrics.slow_skipped.add(1);
                self.fall_back(slot, given.from.unwrap_or(from).min(from), true);
            }
        }
    }

    /// As a stream that came back: it pulls as soon as nothing waits for it any more.
    fn fall_back(&mut self, slot: u32, from: At, skips: bool) {
        let Some(stream) = self.streams.get_mut(slot as usize).filter(|s| !s.leaving) else {
            return;
        };
        let target = self.processed.max(from.seq + 1);
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
                    self.replaying.push_back(slot);
                }
            }
        }
        if let Some(late) = self.catch_ups.get_mut(&slot) {
            late.base = late.base.min(from.seq);
        }
    }

    /// The stream is to be told the last events of these of its channels, subscribed when the tailer was at
    /// `here`: a piece at a time, as if it had come back. True: it was live, and pulls from now on.
    pub(super) fn owe(&mut self, slot: u32, names: &[String], here: u64) -> bool {
        let cached = names.iter().filter(|name| Kind::of(name).is_cached());
        let mut cached = cached.map(|name| (name.as_str().into(), here)).peekable();
        if cached.peek().is_none() {
            return false;
        }
        self.owed.entry(slot).or_default().extend(cached);
        let stream = &mut self.streams[slot as usize];
        if stream.replay.is_some() {
            return false;
        }
        let live = self.safe.max(self.processed).max(stream.from);
        stream.replay = Some(Box::new(Replay::new(At::start(live), live)));
        true
    }

    /// Where memory is short, gives some of it back: what is kept for later first, then what waits for slow
    /// clients, of those first that hold the most for the longest. Call it often.
    pub fn relieve(&mut self) {
        let memory = self.hub.memory.clone();
        if !memory.is_tight() {
            self.tight_since = None;
        }
        if memory.is_roomy() {
            return;
        }
        if !self.reader.is_empty() {
            self.reader.forget();
            self.hub.metrics.relieved_cache.add(1);
        }
        if !memory.is_tight() {
            return;
        }
        let now = Instant::now();
        let burden = |slot: &u32| {
            let outbox = self.streams.get(*slot as usize)?.outbox.as_ref()?;
            (!outbox.is_empty()).then(|| (outbox.burden(now), outbox.since, *slot))
        };
        let mut slow: Vec<_> = self.blocked.iter().filter_map(burden).collect();
        slow.sort_unstable_by_key(|(burden, ..)| Reverse(*burden));
        for &(_, _, slot) in &slow {
            if !memory.is_tight() {
                return;
            }
            self.give_up(slot);
        }
        // What is left was begun, or is told to nobody else.
        let tight = now - *self.tight_since.get_or_insert(now);
        for &(_, since, slot) in &slow {
            if !memory.is_tight() {
                return;
            }
            let stuck = tight.min(now.saturating_duration_since(since)) >= STUCK;
            if stuck || memory.is_full() && tight >= OTHERS {
                self.close(slot, CloseReason::Memory);
            }
        }
    }

    /// Lets go what waits for a stream and can be had again.
    fn give_up(&mut self, slot: u32) {
        let leaving = self.streams[slot as usize].leaving;
        let outbox = &mut self.streams[slot as usize].outbox;
        let Some(outbox) = outbox.as_mut().filter(|_| !leaving) else {
            return;
        };
        let given = outbox.give_up();
        if given == GivenUp::default() {
            return;
        }
        self.hub.metrics.relieved_stream.add(1);
        self.miss(slot, given.ephemeral);
        match (given.from, self.rules.slow_clients) {
            (None, _) => {}
            (Some(_), SlowClients::Close) => self.close(slot, CloseReason::Memory),
            (Some(from), SlowClients::Replay) => self.fall_back(slot, from, false),
            (Some(from), SlowClients::Skip) => self.fall_back(slot, from, true),
        }
    }
}

/// The last event of a cache channel, for a subscriber who came when the tailer was at `here`.
fn last_event(hub: &Hub, stream: &Stream, channel: &str, here: u64) -> Vec<u8> {
    let format = stream.format;
    match hub.last_events.get(channel, now_ns()) {
        // From here on it is handed over.
        Some(last) if last.cursor.seq >= here => Vec::new(),
        Some(last) if last.except == Some(stream.socket) => Vec::new(),
        Some(last) => {
            let _in_hand = quarantine::hold(last.cursor);
            format::earlier(format, &last.event, last.cursor, channel)
        }
        None => {
            let miss = webhooks::event::What::CacheMiss;
            hub.hook(stream.client, channel, miss);
            format::cache_miss(format, channel)
        }
    }
}

/// How much of a piece the socket took.
fn write_piece(fd: &OwnedFd, chunk: &Chunk) -> Result<usize, Errno> {
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

fn write_to(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    write_some(&Job {
        fd: fd.as_fd(),
        bytes,
    })
}

pub(super) fn ended(error: Errno) -> CloseReason {
    match error {
        Errno::EPIPE | Errno::ECONNRESET => CloseReason::Peer,
        _ => CloseReason::Error,
    }
}
