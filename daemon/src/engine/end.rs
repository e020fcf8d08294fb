//! What time does to a stream: pings, the end of its token, of its age and of our patience; and how it
//! ends, for whatever reason.

use protocol::close_reason::CloseReason;
use protocol::format;
use protocol::format::{FORMATS, Format};
use shared::cursor::Cursor;

use super::{BUCKETS, Engine};
use crate::engine::lingering::Ending;
use crate::engine::outbox::FrameKind;
use crate::engine::stream::Stream;
use crate::process::admission::Place;
use crate::process::budget::Held;

impl Engine {
    /// Keeps the streams of one bucket alive and tells them their cursor. Call `on_handoff` first.
    pub fn ping(&mut self, bucket: usize) {
        let mut frames: [(u64, Held); FORMATS] = Default::default();
        let mut sent = 0;
        let now = self.now();
        for slot in (bucket..self.streams.capacity()).step_by(BUCKETS) {
            if !self.is_heard(slot as u32) {
                continue;
            }
            let rules = &self.rules;
            let Some(stream) = self.streams.get_mut(slot) else {
                continue;
            };
            let fresh = std::mem::take(&mut stream.fresh);
            if fresh {
                stream.active = now;
            }
            if rules.max_age > 0 && now - stream.born >= rules.max_age {
                self.retire(slot as u32, CloseReason::Aged);
                continue;
            }
            if stream.replay.is_some() || stream.outbox.is_some() || fresh {
                continue;
            }
            if rules.max_idle > 0 && now - stream.active >= rules.max_idle {
                self.retire(slot as u32, CloseReason::Idle);
                continue;
            }
            // There is no cursor to be kept young, and silence is asked about in its own time.
            if stream.format == Format::Pusher {
                continue;
            }
            // A stream that came later than what is safe for all knows more.
            let seq = self.safe.max(stream.from) - 1;
            let frame = &mut frames[stream.format as usize];
            if frame.0 != seq || frame.1.is_empty() {
                let cursor = Cursor {
                    epoch: self.epoch,
                    seq,
                };
                *frame = (
                    seq,
                    self.hub.memory.hold(format::ping(stream.format, cursor)),
                );
            }
            sent += 1;
            let bytes = frame.1.clone();
            self.send_one(slot as u32, FrameKind::Control, bytes);
        }
        self.hub.metrics.pings.add(sent);
    }

    /// Tells streams that their token ends soon, and ends them when it does. `now`: seconds since 1970.
    pub fn expire(&mut self, now: u64) {
        if self.expiring == 0 {
            return;
        }
        for slot in 0..self.streams.capacity() as u32 {
            let Some(stream) = self.streams.get_mut(slot as usize) else {
                continue;
            };
            let expires = u64::from(stream.expires);
            if expires == 0 {
                continue;
            }
            if expires <= now {
                self.retire(slot, CloseReason::Expired);
            } else if !stream.warned && expires <= now + u64::from(self.rules.expiry_notice) {
                stream.warned = true;
                let told = format::expiring(stream.format, expires);
                self.tell(slot, told);
            }
        }
    }

    /// Ends a stream that is to come back; what waits for it, it gets then.
    pub(super) fn retire(&mut self, slot: u32, end: CloseReason) {
        let retry = self.jitter.around(self.rules.retry);
        let format = self.streams[slot as usize].format;
        self.close_with(slot, end, format::farewell(format, end, retry));
    }

    /// Cuts the clients that have taken nothing for too long.
    pub fn cut_stalled(&mut self) {
        let limit = self.rules.write_timeout;
        let stalled = |slot: &&u32| {
            let outbox = self
                .streams
                .get(**slot as usize)
                .and_then(|s| s.outbox.as_ref());
            outbox.is_some_and(|outbox| outbox.since.elapsed() >= limit)
        };
        let cut: Vec<u32> = self.blocked.iter().filter(stalled).copied().collect();
        for slot in cut {
            self.close(slot, CloseReason::Stalled);
        }
    }

    /// Tells every client when to come back and lets it go as soon as it has everything.
    /// `spread`: milliseconds over which they are to return.
    pub fn leave(&mut self, spread: u32) {
        self.leaving = true;
        self.on_inbox();
        for slot in 0..self.streams.capacity() as u32 {
            let Some(stream) = self.streams.get_mut(slot as usize) else {
                continue;
            };
            stream.leaving = true;
            stream.replay = None;
            let retry = self.rules.retry;
            let retry = self.jitter.between(retry, retry.saturating_add(spread));
            let told = format::farewell(stream.format, CloseReason::Drain, retry);
            if stream.outbox.is_none() {
                self.close_with(slot, CloseReason::Drain, told);
            } else {
                self.tell(slot, told);
            }
        }
        self.replaying.clear();
        self.paced.clear();
    }

    pub(super) fn close(&mut self, slot: u32, end: CloseReason) {
        self.close_with(slot, end, Vec::new());
    }

    /// Ends a stream. `words`: what it is told behind all that waits for it.
    pub(super) fn close_with(&mut self, slot: u32, end: CloseReason, words: Vec<u8>) {
        let Some(stream) = self.streams.try_remove(slot as usize) else {
            return;
        };
        self.blocked.remove(&slot);
        self.paced.remove(stream.client, slot);
        self.catch_ups.remove(&slot);
        self.owed.remove(&slot);
        self.on_disconnect(&stream);
        self.sign_out(slot, &stream);
        self.app.quota.leave(stream.client);
        let names = stream.subscriptions.iter();
        let names = names.map(|s| &**self.subscriptions.name(s.channel));
        let counts = self.discount(stream.client, names);
        for subscription in &stream.subscriptions {
            self.forget(stream.client, *subscription);
        }
        self.hub.tell_counts(stream.client, counts);
        let metrics = &self.hub.metrics;
        metrics.streams.sub(1);
        self.expiring -= usize::from(stream.expires > 0);
        let reason = match end {
            CloseReason::Peer => &metrics.closed_peer,
            CloseReason::Input => &metrics.closed_input,
            CloseReason::Error => &metrics.closed_error,
            CloseReason::Slow => &metrics.closed_slow,
            CloseReason::Memory => &metrics.closed_memory,
            CloseReason::Stalled => &metrics.closed_stalled,
            CloseReason::Drain => &metrics.closed_drain,
            CloseReason::Aged => &metrics.closed_aged,
            CloseReason::Expired => &metrics.closed_expired,
            CloseReason::Idle => &metrics.closed_idle,
            CloseReason::Ended => &metrics.closed_ended,
            CloseReason::Members => &metrics.closed_members,
            CloseReason::Closed => &metrics.closed_form,
        };
        reason.add(1);
        self.let_go(stream, end, words);
    }

    /// What remains of a stream is its socket.
    fn let_go(&mut self, stream: Stream, end: CloseReason, words: Vec<u8>) {
        let place = Place::new(self.hub.limits.clone(), self.worker, stream.client);
        // Nobody is there, or takes anything.
        if matches!(
            end,
            CloseReason::Peer | CloseReason::Error | CloseReason::Stalled
        ) || self.epoll.delete(&stream.fd).is_err()
        {
            return;
        }
        let mut ending = Ending::new(stream.fd, place);
        ending.words = words.into();
        // One whose outbox was the reason does not keep it.
        if !matches!(end, CloseReason::Slow | CloseReason::Memory) {
            ending.rest = stream.outbox;
            match stream.websocket {
                Some(websocket) => ending.hearing = websocket.hearing(self.rules.message_bytes),
                // It is listened to just now: the rest is heard there.
                None if stream.format.is_websocket() => {
                    self.parting = Some(ending);
                    return;
                }
                None => {}
            }
        }
        self.lingering.borrow_mut().end(ending);
    }
}
