//! A stream opens: it is counted and added to the subscribers of its channels, and gets its first bytes.

use protocol::close_reason::CloseReason;
use protocol::format;
use protocol::pusher::code;
use protocol::socket_id::{Held, Place};
use shared::segment::now_s;
use smallvec::SmallVec;

use crate::app::quota::Full;
use crate::auth::authorizer::Access;
use crate::engine::identity::Identity;
use crate::engine::lingering::Ending;
use crate::engine::opening::Opening;
use crate::engine::outbox::ReplayPosition;
use crate::engine::replay::filter::Filter;
use crate::engine::replay::state::Replay;
use crate::engine::resume::Start;
use crate::engine::stream::{Chain, Stream, Times};
use crate::engine::streams::Engine;
use crate::engine::subscribers::Subscriber;
use crate::engine::subscriptions::{Member, Subscription};
use crate::hub::presence::Refused;
use crate::hub::routes::Room;
use crate::hub::sent_cursor::SentCursor;
use crate::process::admission;

impl Engine {
    /// Takes a stream over from its request.
    pub fn open(&mut self, opening: Opening) {
        if let Some(window) = self.leaving {
            let retry = window.pick(&self.jitter);
            let message = format::farewell(opening.format, CloseReason::Drain, retry);
            return self.turn_away(opening, message);
        }
        if self.hub.process.drain.turns_away() {
            self.hub.process.metrics.over_drain.add(1);
            return self.refuse(opening, code::OVER_CAPACITY, format::DRAINS);
        }
        let mut room = match self.check_limits(&opening) {
            Ok(room) => room,
            Err(code) => return self.refuse(opening, code, format::FULL),
        };
        let Ok(counts) = self.count_subscriptions(opening.client, &opening.channels) else {
            self.app.quota.leave(opening.client);
            return self.refuse(opening, code::OVER_CAPACITY, format::FULL);
        };
        let slot = self.streams.vacant_key() as u32;
        if self.poller.add(&opening.fd, slot).is_err() {
            return self.abandon(&opening);
        }
        let names = opening.channels.iter().zip(0..);
        let mut subscriptions = SmallVec::<[Subscription; 2]>::new();
        subscriptions.reserve_exact(opening.channels.len());
        subscriptions.extend(names.map(|(name, sub)| {
            let member = Member { slot, sub };
            self.add_subscriber(opening.client, name, member, &mut room)
        }));
        drop(room);
        // Added to the routes first, read second: events at or past this are delivered, those before are in the
        // channel index. See ARCHITECTURE.md, "The seam".
        let here = self.hub.watermarks.started();
        let mut start = self.start(opening.resume.as_ref(), &opening.channels, here);
        if let Some(catch_up) = start.catch_up.take() {
            self.replays.catch_ups.insert(slot, catch_up);
        }
        if let Some(held) = &start.held {
            let numbers = subscriptions.iter().map(|s| s.channel);
            let mut filter = Filter::default();
            filter.add(numbers.clone(), held);
            filter.settle(numbers);
            self.replays.filters.insert(slot, filter);
        }
        let (now, now_ms) = (self.clock.seconds(), self.clock.millis());
        self.slots = self.slots.max(slot + 1);
        self.streams.insert(Stream {
            fd: opening.fd,
            format: opening.format,
            fresh: false,
            client: opening.client,
            socket: opening.socket,
            identity: Identity::default(),
            websocket: opening
                .websocket
                .map(|websocket| websocket.opened_at(now_ms)),
            warned: false,
            times: Times {
                // Up to a tenth older at once: streams that opened together end spread over that time.
                born: now - self.jitter.between(0, self.rules.max_age / 10),
                active: now,
                expires: 0,
            },
            from: here,
            chain: Chain::EMPTY,
            subscriptions,
            outbox: None,
            replay: start.replay.map(Box::new),
        });
        if let Some(topics) = opening.topics {
            self.subscribers
                .add(slot, *topics, opening.resume.is_some());
        }
        let expires = opening.accesses.iter().filter_map(|a| a.expires).min();
        self.set_expiry(slot, expires);
        self.hub.process.metrics.streams.add(1);
        self.hub.open.streams[opening.format as usize].add(1);
        if self.admit_all(slot, &opening.accesses).is_err() {
            return self.refuse_members(slot, opening.head);
        }
        self.schedule_last_events(slot, &start.fresh);
        self.greet(slot, opening.head, &opening.channels, &start, here);
        self.tell_active(slot);
        let subscriber = self.subscribers.of(slot);
        if let Some(presence) = subscriber.and_then(Subscriber::presence) {
            presence.announce(&self.hub);
        }
        self.hub.announce_counts(opening.client, counts);
    }

    /// Sends the first bytes: the response's head, the opening message, snapshots of members, and what there is to
    /// replay up to `here`.
    fn greet(&mut self, slot: u32, head: Vec<u8>, channels: &[String], start: &Start, here: u64) {
        let Stream { socket, format, .. } = self.streams[slot as usize];
        let held = Held {
            node: self.app.node(),
            place: Place {
                worker: self.worker,
                slot,
            },
        };
        let replay = start
            .replay
            .unwrap_or(Replay::new(ReplayPosition::start(here), here));
        let place = self.progress.cursor(replay.settled() - 1);
        let next = self.sent_cursor(slot, place);
        let resume_from = start.cursor.map(|cursor| self.sent_cursor(slot, cursor));
        let first = format::Opening {
            retry: self.jitter.around(self.rules.retry),
            resume_from: resume_from.as_ref().map(SentCursor::wire),
            next: next.wire(),
            socket,
            secret: self.app.prover.prove(socket, held, now_s()),
            channels,
            activity: self.rules.pusher.silence.after / 1000,
        };
        let mut bytes = head;
        format::opening(&mut bytes, format, &first);
        bytes.extend(self.snapshots(slot, false, place));
        self.send_first_chunk(slot, bytes, replay);
    }

    /// Enters the stream into the application's quota. The error is the WebSocket close code.
    fn check_limits(&self, opening: &Opening) -> Result<Room, u16> {
        let room = self
            .room_for(opening.channels.iter().map(String::as_str))
            .ok_or(code::OVER_CAPACITY)?;
        self.app
            .quota
            .enter(opening.client)
            .map(|()| room)
            .map_err(|full| match full {
                Full::Application => {
                    self.hub.process.metrics.over_app.add(1);
                    code::QUOTA
                }
                Full::Client => {
                    self.hub.process.metrics.over_app_address.add(1);
                    code::OVER_CAPACITY
                }
            })
    }

    /// A response other than 200 would end an EventSource for good: it is asked to reconnect later.
    fn refuse(&self, opening: Opening, code: u16, why: &str) {
        let retry = self.jitter.around(self.rules.retry);
        let message = format::turned_away(opening.format, code, why, retry);
        self.turn_away(opening, message);
    }

    /// Ends a stream before it begins, with one message.
    fn turn_away(&self, opening: Opening, message: Vec<u8>) {
        let mut response = opening.head;
        response.extend(message);
        let place =
            admission::Place::new(self.hub.process.limits.clone(), self.worker, opening.client);
        let most = self.rules.message_bytes;
        self.lingering.borrow_mut().end(Ending {
            message: response.into(),
            awaited_close: opening
                .websocket
                .and_then(|websocket| websocket.await_close(most)),
            ..Ending::new(opening.fd, place)
        });
    }

    /// There is no memory to watch its socket: it is closed.
    fn abandon(&self, opening: &Opening) {
        self.hub.process.metrics.over_descriptors.add(1);
        let names = opening.channels.iter().map(String::as_str);
        let counts = self.uncount_subscriptions(opening.client, names);
        self.hub.announce_counts(opening.client, counts);
        self.app.quota.leave(opening.client);
        self.hub.process.limits.leave(self.worker, opening.client);
    }

    /// Admits the stream to each of its channels under the access that was granted for it.
    fn admit_all(&mut self, slot: u32, accesses: &[Access]) -> Result<(), Refused> {
        accesses.iter().enumerate().try_for_each(|(sub, access)| {
            let channel = self.streams[slot as usize].subscriptions[sub].channel;
            self.admit(slot, channel, access)
        })
    }

    /// A presence channel is full. As in `refuse`, an EventSource is asked to reconnect later.
    fn refuse_members(&mut self, slot: u32, head: Vec<u8>) {
        self.hub.process.metrics.over_members.add(1);
        // It does not become a member where there was room.
        for sub in 0..self.streams[slot as usize].subscriptions.len() {
            let channel = self.streams[slot as usize].subscriptions[sub].channel;
            self.leave_presence(slot, channel);
        }
        let format = self.streams[slot as usize].format;
        let retry = self.jitter.around(self.rules.retry);
        let mut bytes = head;
        bytes.extend(format::farewell(format, CloseReason::Members, retry));
        self.close_with(slot, CloseReason::Members, bytes);
    }
}
