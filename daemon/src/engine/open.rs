//! A stream opens: it is entered where events are distributed, finds its place, and gets its first bytes.

use nix::sys::epoll::{EpollEvent, EpollFlags};
use protocol::close_reason::CloseReason;
use protocol::format;
use protocol::gap::Gap;
use protocol::pusher::code;
use protocol::socket_id::Place;
use shared::cursor::{Cursor, Epoch};
use shared::segment::now_s;

use super::{Engine, Opening, Resume};
use crate::app::application::Full;
use crate::engine::lingering::Ending;
use crate::engine::outbox::At;
use crate::engine::replay::cache::ReplayCache;
use crate::engine::replay::state::Replay;
use crate::engine::stream::{NONE, Stream};
use crate::engine::subscriptions::{Member, Subscription};
use crate::hub::command::Denied;
use crate::hub::hub::Hub;
use crate::hub::subscriber_counts::Told;
use crate::outbound::webhooks;
use crate::process::client_key::ClientKey;
use crate::process::{admission, holdings};

impl Engine {
    /// Takes a stream over from its request.
    pub fn open(&mut self, opening: Opening) {
        if self.leaving || !self.has_room(opening.channels.iter().map(String::as_str)) {
            return self.turn_away(opening, code::OVER_CAPACITY);
        }
        match self.app.quota.enter(opening.client) {
            Ok(()) => {}
            Err(Full::Application) => {
                self.hub.metrics.over_app.add(1);
                return self.turn_away(opening, code::QUOTA);
            }
            Err(Full::Client) => {
                self.hub.metrics.over_app_address.add(1);
                return self.turn_away(opening, code::OVER_CAPACITY);
            }
        }
        let slot = self.streams.vacant_key() as u32;
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLET;
        let Ok(counts) = self.count(opening.client, &opening.channels) else {
            self.app.quota.leave(opening.client);
            return self.turn_away(opening, code::OVER_CAPACITY);
        };
        if self
            .epoll
            .add(&opening.fd, EpollEvent::new(flags, slot.into()))
            .is_err()
        {
            self.hub.metrics.over_descriptors.add(1);
            let names = opening.channels.iter().map(String::as_str);
            let counts = self.discount(opening.client, names);
            self.hub.tell_counts(opening.client, counts);
            self.app.quota.leave(opening.client);
            return self.hub.limits.leave(self.worker, opening.client);
        }
        let subscriptions: Box<[Subscription]> = opening
            .channels
            .iter()
            .zip(0..)
            .map(|(name, sub)| self.enter(opening.client, name, Member { slot, sub }))
            .collect();
        // Entered into the routes first, read second: what comes at or past this is handed over, what
        // came before is in the history. See ARCHITECTURE.md, "The seam".
        let here = self.hub.watermarks.started();
        let (told, replay) = self.place(&opening, here);
        let (now, heard) = (self.now(), self.now_ms());
        // Up to a tenth older at once: streams that came together end spread over that time.
        let born = now - self.jitter.between(0, self.rules.max_age / 10);
        let expires = opening.accesses.iter().filter_map(|a| a.expires).min();
        let channels: Vec<u32> = subscriptions.iter().map(|s| s.channel).collect();
        self.streams.insert(Stream {
            fd: opening.fd,
            format: opening.format,
            fresh: false,
            leaving: false,
            client: opening.client,
            socket: opening.socket,
            identity: None,
            websocket: opening.websocket.map(|websocket| websocket.heard_at(heard)),
            born,
            expires: 0,
            warned: false,
            active: now,
            from: here,
            first: NONE,
            last: NONE,
            subscriptions,
            outbox: None,
            replay: replay.map(Box::new),
        });
        self.set_expiry(slot, expires);
        self.hub.metrics.streams.add(1);
        let client = opening.client;
        let mut bytes = opening.head;
        let admitted = channels
            .iter()
            .zip(&opening.accesses)
            .try_for_each(|(channel, access)| self.admit(slot, *channel, access));
        if admitted.is_err() {
            // As where there is no room: an EventSource is told to come back.
            self.hub.metrics.over_members.add(1);
            // It has not been on those that had room.
            for channel in &channels {
                self.leave_presence(slot, *channel);
            }
            let retry = self.jitter.around(self.rules.retry);
            bytes.extend(format::farewell(
                opening.format,
                CloseReason::Members,
                retry,
            ));
            return self.close_with(slot, CloseReason::Members, bytes);
        }
        let place = Place {
            worker: self.worker,
            slot,
        };
        let secret = self.app.prover.prove(opening.socket, place, now_s());
        let next = self.cursor(replay.map_or(here, |replay| replay.next) - 1);
        let first = format::Opening {
            retry: self.jitter.around(self.rules.retry),
            told,
            next,
            socket: opening.socket,
            secret: &secret,
            channels: &opening.channels,
            activity: self.rules.pusher.silence.after / 1000,
        };
        bytes.extend(format::opening(opening.format, &first));
        bytes.extend(self.snapshots(slot, false, next));
        if opening.resume.is_none() {
            self.owe(slot, &opening.channels, here);
        }
        let replay = replay.unwrap_or(Replay::new(At::start(here), here));
        self.chunk.begin(bytes, replay);
        self.send_chunk(slot);
        self.hub.tell_counts(client, counts);
    }

    pub(super) fn has_room<'a>(&self, channels: impl Iterator<Item = &'a str> + Clone) -> bool {
        let (routes, most) = (&self.hub.routes, self.rules.max_channels);
        let new = |name: &&str| routes.workers(std::iter::once(*name)) == 0;
        // Only near the limit does it matter which of them are new.
        let room = routes.channels() + channels.clone().count() <= most
            || routes.channels() + channels.filter(new).count() <= most;
        if !room {
            self.hub.metrics.over_channels.add(1);
        }
        room
    }

    /// Counts a subscription of `client` to each of `channels`, which are distinct.
    ///
    /// # Errors
    /// If the client or a channel has as many as it may have; nothing is counted then.
    pub(super) fn count(&self, client: ClientKey, channels: &[String]) -> Result<Told, Denied> {
        let (hub, metrics) = (&self.hub, &self.hub.metrics);
        if let Err(full) = hub.holdings.enter(client, channels) {
            match full {
                holdings::Full::Channels => metrics.over_address_channels.add(1),
                holdings::Full::Subscriptions => metrics.over_address_subscribers.add(1),
            }
            return Err(Denied::Share);
        }
        hub.subscriber_counts.enter(channels).ok_or_else(|| {
            metrics.over_subscribers.add(1);
            hub.holdings
                .leave(client, channels.iter().map(String::as_str));
            Denied::Full
        })
    }

    /// Takes back what `count` counted.
    pub(super) fn discount<'a>(
        &self,
        client: ClientKey,
        channels: impl Iterator<Item = &'a str> + Clone,
    ) -> Told {
        self.hub.holdings.leave(client, channels.clone());
        self.hub.subscriber_counts.leave(channels)
    }

    /// An answer other than 200 would end an EventSource for good: it is told to come back.
    fn turn_away(&self, opening: Opening, code: u16) {
        let mut answer = opening.head;
        let retry = self.jitter.around(self.rules.retry);
        answer.extend(format::turned_away(opening.format, code, retry));
        let place = admission::Place::new(self.hub.limits.clone(), self.worker, opening.client);
        let most = self.rules.message_bytes;
        self.lingering.borrow_mut().end(Ending {
            words: answer.into(),
            hearing: opening
                .websocket
                .and_then(|websocket| websocket.hearing(most)),
            ..Ending::new(opening.fd, place)
        });
    }

    /// One more subscriber of a channel, a stream of `client`.
    pub(super) fn enter(&mut self, client: ClientKey, name: &str, member: Member) -> Subscription {
        self.hub.metrics.subscriptions.add(1);
        let (subscription, first) = self.subscriptions.join(name, member);
        if first {
            let hub = &self.hub;
            let told = || hub.hook(client, name, webhooks::event::What::ChannelOccupied);
            hub.routes.add(name, self.worker, told);
        }
        subscription
    }

    /// One fewer.
    pub(super) fn forget(&mut self, client: ClientKey, subscription: Subscription) {
        self.hub.metrics.subscriptions.sub(1);
        let left = self.subscriptions.leave(subscription);
        if let Some(moved) = left.moved
            && let Some(other) = self.streams.get_mut(moved.slot as usize)
        {
            other.subscriptions[moved.sub as usize].at = subscription.at;
        }
        if let Some(name) = left.last {
            let hub = &self.hub;
            let told = || hub.hook(client, &name, webhooks::event::What::ChannelVacated);
            hub.routes.remove(&name, self.worker, told);
        }
    }

    /// When the stream is to end, in seconds since 1970. Until 2106; later ones end then.
    pub(super) fn set_expiry(&mut self, slot: u32, expires: Option<u64>) {
        let stream = &mut self.streams[slot as usize];
        self.expiring -= usize::from(stream.expires > 0);
        stream.expires = expires.map_or(0, |at| at.min(u32::MAX.into()) as u32);
        stream.warned = false;
        self.expiring += usize::from(stream.expires > 0);
    }

    /// Where a stream that opens when the tailer is at `here` begins: the cursor it may be told at
    /// once, and what it has to pull. It is told no cursor past a gap that it has not been told.
    fn place(&mut self, opening: &Opening, here: u64) -> (Option<Cursor>, Option<Replay>) {
        let epoch = self.epoch;
        let cursor = |seq| Some(Cursor { epoch, seq });
        let seq = match &opening.resume {
            None => return (cursor(here - 1), None),
            Some(Resume::Cursor(held)) => (held.epoch == self.epoch).then_some(held.seq),
            Some(Resume::Id(id)) => {
                match find_id(&self.hub, &mut self.reader, self.epoch, opening, id) {
                    Some((oldest, newest)) if oldest < newest => {
                        // It has seen one of them, nobody knows which.
                        let replay = Replay {
                            gap: Gap::at_most(newest - oldest),
                            ..Replay::new(At::start(newest + 1), here)
                        };
                        return (None, Some(replay));
                    }
                    found => found.map(|(_, newest)| newest),
                }
            }
        };
        match seq {
            Some(seq) if seq + 1 == here => (cursor(seq), None),
            Some(seq) if seq < here => (cursor(seq), Some(Replay::new(At::start(seq + 1), here))),
            // A position nobody has published yet: this ring's past is not what the client thinks.
            Some(_) => {
                self.hub.metrics.unknown_cursors.add(1);
                (
                    None,
                    Some(Replay {
                        gap: Gap::UNKNOWN,
                        ..Replay::new(At::start(here), here)
                    }),
                )
            }
            None => {
                self.hub.metrics.unknown_cursors.add(1);
                let next = self.hub.index.first();
                (
                    None,
                    Some(Replay {
                        gap: Gap::UNKNOWN,
                        ..Replay::new(At::start(next), here)
                    }),
                )
            }
        }
    }
}

/// The positions of the oldest and of the newest event with this custom id on these channels.
fn find_id(
    hub: &Hub,
    reader: &mut ReplayCache,
    epoch: Epoch,
    opening: &Opening,
    id: &str,
) -> Option<(u64, u64)> {
    let names: Vec<&str> = opening.channels.iter().map(String::as_str).collect();
    let found = hub.index.find_id(&names, id);
    // The index knows a hash only.
    let mut is = |seq: u64| {
        let live = reader.fetch(hub, epoch, seq)?;
        Some(live.event.id() == Some(id))
    };
    let newest = found.seqs.iter().position(|seq| is(*seq) == Some(true))?;
    let older = found.seqs[newest..].iter().rev();
    // One that was overwritten may have had it.
    let oldest = older.copied().find(|seq| is(*seq) != Some(false));
    let oldest = match found.more {
        true => hub.index.first(),
        false => oldest?,
    };
    Some((oldest, found.seqs[newest]))
}
