//! How a stream ends, for whatever reason.

use protocol::close_reason::CloseReason;
use protocol::format;

use crate::engine::lingering::Ending;
use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::process::admission::Place;
use crate::process::metrics::{Counter, Metrics};
use crate::process::reconnect::Window;

impl Engine {
    /// Ends a stream whose client is to reconnect, after what waits for it.
    pub(super) fn retire(&mut self, slot: u32, end: CloseReason) {
        let retry = self.jitter.around(self.rules.retry);
        let format = self.streams[slot as usize].format;
        self.close_with(slot, end, format::farewell(format, end, retry));
    }

    /// The daemon stops: each stream ends. Its client is sent what waits for it, and when to reconnect, for as long as it takes
    /// anything (`lingering.rs`).
    pub fn drain(&mut self, window: Window) {
        self.leaving = Some(window);
        self.on_inbox();
        for slot in 0..self.slots {
            self.take_leave(slot, window);
        }
        self.replays.clear();
    }

    /// Lets one of so many streams go, while the others stay; so many at random that it comes to that in the long run.
    pub(super) fn let_go(&mut self, one_of: u32, window: Window) {
        let (all, one_of) = (self.streams.len() as u32, one_of.max(1));
        let more = self.jitter.between(0, one_of - 1) < all % one_of;
        let count = all / one_of + u32::from(more);
        let slots = self.streams.iter().map(|(slot, _)| slot as u32);
        for slot in slots.take(count as usize).collect::<Vec<_>>() {
            self.take_leave(slot, window);
        }
    }

    fn take_leave(&mut self, slot: u32, window: Window) {
        let Some(stream) = self.streams.get(slot as usize) else {
            return;
        };
        let retry = window.pick(&self.jitter);
        let message = format::farewell(stream.format, CloseReason::Drain, retry);
        self.close_with(slot, CloseReason::Drain, message);
    }

    /// Ends a stream without a message.
    pub(super) fn close(&mut self, slot: u32, end: CloseReason) {
        self.close_with(slot, end, Vec::new());
    }

    /// Ends a stream. `message`: what is sent after all that waits for it.
    pub(super) fn close_with(&mut self, slot: u32, end: CloseReason, message: Vec<u8>) {
        let Some(stream) = self.streams.try_remove(slot as usize) else {
            return;
        };
        self.slow.remove(stream.client, slot);
        self.client_event_rates.remove(&slot);
        self.subscribers.remove(slot);
        self.replays.remove(slot, stream.client);
        self.on_disconnect(&stream, end);
        self.sign_out(slot, &stream);
        self.app.quota.leave(stream.client);
        let names = stream.subscriptions.iter();
        let names = names.map(|s| &**self.subscriptions.name(s.channel));
        let counts = self.uncount_subscriptions(stream.client, names);
        for subscription in &stream.subscriptions {
            self.remove_subscriber(stream.client, *subscription);
        }
        self.hub.announce_counts(stream.client, counts);
        self.hub.process.metrics.streams.sub(1);
        self.hub.open.streams[stream.format as usize].sub(1);
        self.expiring -= usize::from(stream.times.expires > 0);
        counter(&self.hub.process.metrics, end).add(1);
        self.linger(stream, end, message);
    }

    /// Hands the socket of a closed stream to those that linger.
    fn linger(&mut self, stream: Stream, end: CloseReason, message: Vec<u8>) {
        let place = Place::new(self.hub.process.limits.clone(), self.worker, stream.client);
        // Its client is gone, or takes nothing.
        if matches!(
            end,
            CloseReason::Peer | CloseReason::Error | CloseReason::Stalled
        ) || self.poller.delete(&stream.fd).is_err()
        {
            return;
        }
        let mut ending = Ending::new(stream.fd, place);
        ending.message = message.into();
        // An outbox that was the reason is dropped.
        if !matches!(end, CloseReason::Slow | CloseReason::Memory) {
            ending.rest = stream.outbox;
            match stream.websocket {
                Some(websocket) => {
                    ending.awaited_close = websocket.await_close(self.rules.message_bytes)
                }
                // Its input is being read: that finishes the closing handshake.
                None if stream.format.is_websocket() => {
                    self.input.parting = Some(ending);
                    return;
                }
                None => {}
            }
        }
        self.lingering.borrow_mut().end(ending);
    }
}

fn counter(metrics: &Metrics, end: CloseReason) -> &Counter {
    match end {
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
        CloseReason::Closed | CloseReason::Left => &metrics.closed_form,
    }
}
