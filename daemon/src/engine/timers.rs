//! What is due by time: pings, and the end of streams by age, idleness, expiry or a full socket.

use protocol::close_reason::CloseReason;
use protocol::format;
use protocol::format::{FORMATS, Format};

use crate::engine::outbox::FrameKind;
use crate::engine::readiness::Took;
use crate::engine::streams::Engine;
use crate::engine::websocket::session::Session;
use crate::process::budget::Held;

/// Pings are spread over so many moments of the period, as far as there are so many streams.
pub const BUCKETS: usize = 64;
/// Neighbours that have their turn at one moment. They opened together, so that what the kernel keeps for them lies together.
const TOGETHER: usize = 64;

/// The slots of a bucket, below `slots`.
fn slots_of(bucket: usize, slots: usize) -> impl Iterator<Item = usize> {
    let firsts = (bucket * TOGETHER..slots).step_by(BUCKETS * TOGETHER);
    firsts.flat_map(move |first| first..slots.min(first + TOGETHER))
}

impl Engine {
    /// Keeps the streams of one bucket alive and sends them their cursor. Call `on_inbox` first.
    pub fn ping(&mut self, bucket: usize) {
        self.ping_slots(slots_of(bucket, self.slots as usize));
    }

    pub(super) fn ping_slots(&mut self, slots: impl Iterator<Item = usize>) {
        let mut frames: [(u64, Held); FORMATS] = Default::default();
        let mut sent = 0;
        let now = self.clock.seconds();
        for slot in slots {
            if self.check_silence(slot as u32).is_break() {
                continue;
            }
            let rules = &self.rules;
            let Some(stream) = self.streams.get_mut(slot) else {
                continue;
            };
            let fresh = std::mem::take(&mut stream.fresh);
            if fresh {
                stream.times.active = now;
            }
            if rules.max_age > 0 && now - stream.times.born >= rules.max_age {
                self.retire(slot as u32, CloseReason::Aged);
                continue;
            }
            // One that is ahead of this host waits for it, and not for its socket.
            let is_ahead = self.replays.ahead.contains_key(&(slot as u32));
            if stream.replay.is_some() && !is_ahead || stream.outbox.is_some() || fresh {
                continue;
            }
            if rules.max_idle > 0 && now - stream.times.active >= rules.max_idle {
                self.retire(slot as u32, CloseReason::Idle);
                continue;
            }
            // It has no cursor to be kept recent, and its session pings when the client is silent.
            if stream.format == Format::Pusher {
                continue;
            }
            if is_ahead {
                let frame = self.own_ping(slot as u32);
                self.send_control(slot as u32, frame);
                sent += 1;
                continue;
            }
            // A stream that opened later than what is safe for all is further.
            let seq = self.progress.safe.max(stream.from) - 1;
            let frame = &mut frames[stream.format as usize];
            if frame.0 != seq || frame.1.is_empty() {
                let cursor = self.hub.sent_cursor(self.progress.cursor(seq));
                *frame = (
                    seq,
                    self.hub
                        .process
                        .memory
                        .hold(format::ping(stream.format, cursor.wire())),
                );
            }
            sent += 1;
            let bytes = frame.1.clone();
            self.send_frame(slot as u32, FrameKind::Control, bytes);
        }
        self.hub.process.metrics.pings.add(sent);
    }

    /// A ping for this stream alone. One whose channels have different things of other hosts already gets no cursor that
    /// is for all of them: it would be a step back for some.
    pub(super) fn own_ping(&self, slot: u32) -> Vec<u8> {
        let format = match self.streams[slot as usize].format {
            Format::Recovery if self.replays.filters.contains_key(&slot) => Format::Pusher,
            format => format,
        };
        format::ping(format, self.sent_cursor_of(slot).wire())
    }

    /// Notifies streams whose token expires soon, and ends them when it does. `now`: seconds since 1970.
    pub fn expire(&mut self, now: u64) {
        if self.expiring == 0 {
            return;
        }
        for slot in 0..self.slots {
            let Some(stream) = self.streams.get_mut(slot as usize) else {
                continue;
            };
            let expires = u64::from(stream.times.expires);
            if expires == 0 {
                continue;
            }
            if expires <= now {
                self.retire(slot, CloseReason::Expired);
            } else if !stream.warned && expires <= now + u64::from(self.rules.expiry_notice) {
                stream.warned = true;
                let message = format::expiring(stream.format, expires);
                self.send_control(slot, message);
            }
        }
    }

    /// Ends the clients of Pusher's protocol that have not shown in time who they are.
    pub fn end_unauthorized(&mut self) {
        let limit = 1000 * u64::from(self.rules.authorize_timeout);
        if limit == 0 {
            return;
        }
        let now = self.clock.millis();
        for slot in 0..self.slots {
            let Some(stream) = self.streams.get_mut(slot as usize) else {
                continue;
            };
            // Not `times.born`, which is earlier by chance.
            if let Some(websocket) = &stream.websocket
                && now - websocket.opened >= limit
                && let Session::Pusher(session) = &websocket.session
                && !session.is_authorized()
            {
                let actions = session.end_unauthorized();
                let _ = self.apply_pusher(slot, &None, actions);
            }
        }
    }

    /// When the stream's token expires, in seconds since 1970. Later than 2106 counts as 2106.
    pub(super) fn set_expiry(&mut self, slot: u32, expires: Option<u64>) {
        let stream = &mut self.streams[slot as usize];
        self.expiring -= usize::from(stream.times.expires > 0);
        stream.times.expires = expires.map_or(0, |at| at.min(u32::MAX.into()) as u32);
        stream.warned = false;
        self.expiring += usize::from(stream.times.expires > 0);
    }

    /// Disconnects the clients that have taken nothing for too long.
    pub fn disconnect_stalled(&mut self) {
        let limit = self.rules.write_timeout;
        let is_stalled = |slot: &&u32| {
            let outbox = self
                .streams
                .get(**slot as usize)
                .and_then(|s| s.outbox.as_ref());
            outbox.is_some_and(|outbox| outbox.since.elapsed() >= limit)
        };
        let stalled: Vec<u32> = self
            .slow
            .blocked
            .iter()
            .filter(is_stalled)
            .copied()
            .collect();
        for slot in stalled {
            // It may have room by now, and this worker may be the one that is late.
            let outbox = self.streams[slot as usize].outbox.as_ref();
            let waits = outbox.is_some_and(|outbox| !outbox.is_empty());
            if !waits || self.write_outbox(slot) == Took::Nothing {
                self.close(slot, CloseReason::Stalled);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, slots_of};

    #[test]
    fn each_slot_has_its_turn_once_in_a_period() {
        for slots in [0, 1, 63, 64, 65, 4095, 4096, 4097, 10_000] {
            let mut had: Vec<usize> = (0..BUCKETS).flat_map(|n| slots_of(n, slots)).collect();
            had.sort_unstable();
            assert!(had.into_iter().eq(0..slots), "{slots}");
        }
    }

    #[test]
    fn neighbours_have_their_turn_together() {
        assert!(slots_of(0, 10_000).take(64).eq(0..64));
        assert!(slots_of(63, 10_000).take(64).eq(63 * 64..64 * 64));
    }

    #[test]
    fn many_slots_are_spread_over_all_moments() {
        let each: Vec<usize> = (0..BUCKETS).map(|n| slots_of(n, 10_000).count()).collect();
        assert!(
            each.iter().all(|count| (128..=192).contains(count)),
            "{each:?}"
        );
    }
}
