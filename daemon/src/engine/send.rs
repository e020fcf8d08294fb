//! Bytes to sockets: a gathered wake, a piece of replay, one frame; and what a full socket leaves over.

use std::os::fd::{AsFd, OwnedFd};

use bytes::{Buf, Bytes};
use nix::errno::Errno;

use super::Engine;
use crate::gap::Gap;
use crate::outbox::{Frame, Full, Of, Outbox};
use crate::pull::{self, Ask, Pull, Turn};
use crate::settings::SlowClients;
use crate::stream::End;
use crate::transmit::write_some;
use crate::uring::{BATCH, Job};

impl Engine {
    /// Writes `self.piece`, filled up with what the stream has to pull.
    pub(super) fn send_piece(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let mut reached = None;
        let skips = stream.pull.as_ref().is_some_and(|pull| pull.skips);
        if let Some(pull) = stream.pull.as_deref_mut() {
            // Hand-offs that were dealt with meanwhile were not for it: it pulls them too.
            pull.target = pull.target.max(self.processed);
            let pull = *pull;
            let late = self.lates.get(&slot);
            let joins = late.and_then(|late| late.joins(pull.next));
            let names: Vec<&str> = stream
                .subscriptions
                .iter()
                .map(|s| &**self.subscriptions.name(s.channel))
                .filter(|name| late.is_none_or(|late| late.takes(name, pull.next)))
                .collect();
            let ask = Ask {
                bus: &self.bus,
                epoch: self.epoch,
                names: &names,
                format: stream.format,
                socket: stream.socket,
                client: stream.client,
                late: late.is_some_and(|late| pull.next < late.base),
            };
            // As far as the same channels take part.
            let part = Pull {
                target: joins.map_or(pull.target, |at| at.min(pull.target)),
                ..pull
            };
            let (part, turn) = pull::fill(&ask, &mut self.reader, part, &mut self.piece);
            let turn = match turn {
                // Others of its channels join in.
                Turn::Reached if part.target < pull.target => Turn::More,
                turn => turn,
            };
            let target = pull.target;
            reached = Some((Pull { target, ..part }, turn));
        }
        let bytes = &self.piece.bytes;
        let written = match write_to(&stream.fd, bytes) {
            Ok(written) => written,
            Err(error) => return self.close(slot, ended(error)),
        };
        self.bus.metrics.bytes.add(written as u64);
        if written < bytes.len() {
            // What was not begun is pulled again later: only a cut frame waits in memory.
            let (end, after) = self
                .piece
                .cut(written)
                .unwrap_or((bytes.len(), Pull::default()));
            let rest = Bytes::copy_from_slice(&bytes[written..end]);
            if let Some(pull) = stream.pull.as_deref_mut() {
                // Still too slow: what comes meanwhile is skipped as well.
                let target = pull.target;
                *pull = Pull {
                    skips,
                    target,
                    ..after
                };
            }
            return self.block(slot, true, vec![(Of::Notice, rest)]);
        }
        match reached {
            Some((pull, Turn::Reached)) => {
                stream.from = pull.target;
                stream.pull = None;
                self.lates.remove(&slot);
                self.refresh(slot);
            }
            Some((pull, Turn::More)) => {
                stream.pull = Some(Box::new(pull));
                self.pulling.push_back(slot);
            }
            Some((pull, Turn::Paced)) => {
                stream.pull = Some(Box::new(pull));
                self.paced.add(stream.client, slot);
            }
            None => {}
        }
    }

    /// Writes what was gathered: each stream's in one piece, many streams' with one system call.
    pub(super) fn flush(&mut self) {
        let mut next = 0;
        while next < self.gather.dirty.len() {
            next = self.collect(next);
            let (gather, streams) = (&self.gather, &self.streams);
            let jobs: Vec<Job<'_>> = self
                .parcels
                .iter()
                .map(|(slot, parcel)| Job {
                    fd: streams[*slot as usize].fd.as_fd(),
                    bytes: gather.bytes(*parcel),
                })
                .collect();
            self.transmit.send(&jobs, &mut self.results);
            self.settle();
        }
        self.bus.metrics.delivered.add(self.gather.count);
        self.gather.clear();
    }

    /// Makes parcels for streams from `next` on, as many as are sent together; returns where to go on.
    fn collect(&mut self, mut next: usize) -> usize {
        self.parcels.clear();
        self.gather.forget_parcels();
        while next < self.gather.dirty.len()
            && self.parcels.len() < BATCH
            && !self.gather.parcels_full()
        {
            let slot = self.gather.dirty[next];
            next += 1;
            let stream = &mut self.streams[slot as usize];
            self.gather.take(stream);
            stream.fresh = true;
            if stream.outbox.is_some() {
                let frames: Vec<Frame> = self.gather.chain().cloned().collect();
                self.block(slot, false, frames);
            } else {
                self.parcels.push((slot, self.gather.parcel()));
            }
        }
        next
    }

    /// What became of the parcels.
    fn settle(&mut self) {
        let mut bytes = 0;
        let parcels = std::mem::take(&mut self.parcels);
        for (n, &(slot, parcel)) in parcels.iter().enumerate() {
            match self.results[n] {
                Ok(written) if written == self.gather.bytes(parcel).len() => bytes += written,
                Ok(written) => {
                    bytes += written;
                    let mut frames = self.gather.frames(parcel);
                    let mut skip = written;
                    frames.retain_mut(|(_, frame)| {
                        let taken = skip.min(frame.len());
                        skip -= taken;
                        frame.advance(taken);
                        !frame.is_empty()
                    });
                    self.block(slot, written > 0, frames);
                }
                Err(error) => self.close(slot, ended(error)),
            }
        }
        self.parcels = parcels;
        self.bus.metrics.bytes.add(bytes as u64);
    }

    /// One frame for one stream, now or behind what waits for it.
    pub(super) fn send_one(&mut self, slot: u32, of: Of, frame: Bytes) {
        let stream = &self.streams[slot as usize];
        if stream.outbox.is_some() {
            return self.block(slot, false, vec![(of, frame)]);
        }
        match write_to(&stream.fd, &frame) {
            Ok(written) if written == frame.len() => {}
            Ok(0) => self.block(slot, false, vec![(of, frame)]),
            Ok(written) => self.block(slot, true, vec![(Of::Notice, frame.slice(written..))]),
            Err(error) => self.close(slot, ended(error)),
        }
    }

    /// The socket is full: frames wait, within bounds; what becomes of the rest is a setting.
    /// `begun`: the first of the frames, or an earlier one of its event, was written in part.
    fn block(&mut self, slot: u32, begun: bool, frames: Vec<Frame>) {
        let budget = &self.bus.outboxes;
        let stream = &mut self.streams[slot as usize];
        let outbox = stream.outbox.get_or_insert_with(|| {
            self.blocked.insert(slot);
            Box::new(Outbox::new(budget.clone()))
        });
        if begun {
            outbox.begin();
        }
        let count = frames.len();
        let mut frames = frames.into_iter().enumerate();
        while let Some((n, (of, frame))) = frames.next() {
            let Err(full) = outbox.push(of, frame, self.rules.outbox) else {
                continue;
            };
            if of == Of::Ephemeral && !(begun && n == 0) {
                self.bus.metrics.ephemeral_missed.add(1);
                if let Some(who) = &mut stream.who {
                    who.miss();
                }
                continue;
            }
            // Not to be read again from anywhere: a notice, or what was begun already.
            let again = |seq: &u64| !outbox.is_empty() && !outbox.ends_with(*seq);
            let Some(seq) = of.seq().filter(again) else {
                let end = match full {
                    Full::Stream => End::Slow,
                    Full::Process => End::Memory,
                };
                return self.close(slot, end);
            };
            self.gather.count -= ((count - n) as u64).min(self.gather.count);
            // What follows is read again later, but for what cannot be.
            let missed = frames.filter(|(_, (of, _))| *of == Of::Ephemeral).count();
            self.bus.metrics.ephemeral_missed.add(missed as u64);
            if let Some(who) = stream.who.as_mut().filter(|_| missed > 0) {
                who.miss();
            }
            return self.overflow(slot, seq, full);
        }
        // All of it was left out.
        if outbox.is_empty() {
            stream.outbox = None;
            self.blocked.remove(&slot);
        }
    }

    /// The event at `seq` did not fit, nor did what comes after it.
    fn overflow(&mut self, slot: u32, seq: u64, full: Full) {
        let stream = &mut self.streams[slot as usize];
        let (mut next, mut skips) = (seq, false);
        match self.rules.slow_clients {
            SlowClients::Close => {
                let end = match full {
                    Full::Stream => End::Slow,
                    Full::Process => End::Memory,
                };
                return self.close(slot, end);
            }
            SlowClients::Replay => self.bus.metrics.slow_replayed.add(1),
            SlowClients::Skip => {
                let forgotten = stream.outbox.as_mut().and_then(|outbox| outbox.forget());
                next = forgotten.unwrap_or(seq).min(seq);
                skips = true;
                self.bus.metrics.slow_skipped.add(1);
            }
        }
        // As a stream that came back: it pulls as soon as its outbox is empty.
        stream.pull = Some(Box::new(Pull {
            next,
            target: self.processed.max(seq + 1),
            gap: Gap::NONE,
            skips,
        }));
        if stream
            .outbox
            .as_ref()
            .is_some_and(|outbox| outbox.is_empty())
        {
            stream.outbox = None;
            self.blocked.remove(&slot);
            self.pulling.push_back(slot);
        }
    }
}

fn write_to(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    write_some(&Job {
        fd: fd.as_fd(),
        bytes,
    })
}

pub(super) fn ended(error: Errno) -> End {
    match error {
        Errno::EPIPE | Errno::ECONNRESET => End::Peer,
        _ => End::Error,
    }
}
