//! A stream opens: it is entered where events are distributed, finds its place, and gets its first bytes.

use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::unistd::write;
use shared::cursor::{Cursor, Epoch};

use super::{Engine, Opening, Resume};
use crate::bus::Bus;
use crate::gap::Gap;
use crate::pull::{Pull, Reader};
use crate::sse;
use crate::stream::{NONE, Stream};
use crate::subscriptions::{Member, Subscription};

impl Engine {
    /// Takes a stream over from its request.
    pub fn open(&mut self, opening: Opening) {
        if self.leaving || !self.has_room(&opening.channels) {
            return self.turn_away(opening);
        }
        let slot = self.streams.vacant_key() as u32;
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLET;
        if !self.bus.census.enter(&opening.channels) {
            self.bus.metrics.over_subscribers.add(1);
            return self.turn_away(opening);
        }
        if self
            .epoll
            .add(&opening.fd, EpollEvent::new(flags, slot.into()))
            .is_err()
        {
            self.bus.metrics.over_descriptors.add(1);
            let names = opening.channels.iter().map(String::as_str);
            self.bus.census.leave(names);
            return self.bus.limits.leave(self.worker, opening.client);
        }
        let subscriptions = self.subscribe(slot, &opening.channels);
        // Entered into the routes first, read second: what comes at or past this is handed over, what
        // came before is in the history. See ARCHITECTURE.md, "The seam".
        let here = self.bus.clock.started();
        let (told, pull) = self.place(&opening, here);
        let hello = sse::hello(self.jitter.around(self.rules.retry), told);
        let now = self.now();
        // Up to a tenth older at once: streams that came together end spread over that time.
        let born = now - self.jitter.between(0, self.rules.max_age / 10);
        self.streams.insert(Stream {
            fd: opening.fd,
            format: opening.format,
            fresh: false,
            leaving: false,
            client: opening.client,
            born,
            // Until 2106; later ones end then.
            expires: opening
                .expires
                .map_or(0, |at| at.min(u32::MAX.into()) as u32),
            warned: false,
            active: now,
            from: here,
            first: NONE,
            last: NONE,
            subscriptions,
            outbox: None,
            pull: pull.map(Box::new),
        });
        self.expiring += usize::from(opening.expires.is_some());
        self.bus.metrics.streams.add(1);
        self.piece.clear();
        self.piece.bytes.extend_from_slice(&opening.head);
        self.piece.bytes.extend_from_slice(&hello);
        self.piece.mark(pull.unwrap_or(Pull {
            next: here,
            target: here,
            gap: Gap::NONE,
            skips: false,
        }));
        self.send_piece(slot);
    }

    fn has_room(&self, channels: &[String]) -> bool {
        let (routes, most) = (&self.bus.routes, self.rules.max_channels);
        let new = |name: &&String| routes.workers(std::iter::once(name.as_str())) == 0;
        // Only near the limit does it matter which of them are new.
        let room = routes.channels() + channels.len() <= most
            || routes.channels() + channels.iter().filter(new).count() <= most;
        if !room {
            self.bus.metrics.over_channels.add(1);
        }
        room
    }

    /// An answer other than 200 would end an EventSource for good: it is told to come back.
    fn turn_away(&self, opening: Opening) {
        let mut answer = opening.head;
        answer.extend_from_slice(&sse::retry(self.jitter.around(self.rules.retry)));
        let _ = write(&opening.fd, &answer);
        self.bus.limits.leave(self.worker, opening.client);
    }

    fn subscribe(&mut self, slot: u32, channels: &[String]) -> Box<[Subscription]> {
        self.bus.metrics.subscriptions.add(channels.len() as u64);
        let mut all = Vec::with_capacity(channels.len());
        for (sub, name) in channels.iter().enumerate() {
            let (subscription, first) = self.subscriptions.join(
                name,
                Member {
                    slot,
                    sub: sub as u32,
                },
            );
            if first {
                self.bus.routes.add(name, self.worker);
            }
            all.push(subscription);
        }
        all.into()
    }

    /// Where a stream that opens when the tailer is at `here` begins: the cursor it may be told at
    /// once, and what it has to pull. It is told no cursor past a gap that it has not been told.
    fn place(&mut self, opening: &Opening, here: u64) -> (Option<Cursor>, Option<Pull>) {
        let cursor = |seq| {
            Some(Cursor {
                epoch: self.epoch,
                seq,
            })
        };
        let seq = match &opening.resume {
            None => return (cursor(here - 1), None),
            Some(Resume::Cursor(held)) => (held.epoch == self.epoch).then_some(held.seq),
            Some(Resume::Id(id)) => find_id(&self.bus, &mut self.reader, self.epoch, opening, id),
        };
        match seq {
            Some(seq) if seq + 1 == here => (cursor(seq), None),
            Some(seq) if seq < here => (
                cursor(seq),
                Some(Pull {
                    next: seq + 1,
                    target: here,
                    gap: Gap::NONE,
                    skips: false,
                }),
            ),
            // A position nobody has published yet: this ring's past is not what the client thinks.
            Some(_) => {
                self.bus.metrics.unknown_cursors.add(1);
                (
                    None,
                    Some(Pull {
                        next: here,
                        target: here,
                        gap: Gap::UNKNOWN,
                        skips: false,
                    }),
                )
            }
            None => {
                self.bus.metrics.unknown_cursors.add(1);
                let next = self.bus.history.first();
                (
                    None,
                    Some(Pull {
                        next,
                        target: here,
                        gap: Gap::UNKNOWN,
                        skips: false,
                    }),
                )
            }
        }
    }
}

/// The position of the newest event with this custom id on these channels.
fn find_id(
    bus: &Bus,
    reader: &mut Reader,
    epoch: Epoch,
    opening: &Opening,
    id: &str,
) -> Option<u64> {
    let names: Vec<&str> = opening.channels.iter().map(String::as_str).collect();
    let candidates = bus.history.find_id(&names, id);
    // The index knows a hash only.
    candidates.into_iter().find(|seq| {
        reader
            .fetch(bus, epoch, *seq)
            .is_some_and(|live| live.event.id() == Some(id))
    })
}
