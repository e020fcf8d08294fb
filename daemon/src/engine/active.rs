//! Announcements of active subscriptions that a stream may have missed: it was away, or too slow.

use protocol::mercure::topic::Topic;

use crate::engine::streams::Engine;
use crate::hub::active::text_of_topic;

impl Engine {
    /// The stream is live again: what is announced from now on it gets, and the rest is sent to it as it is now.
    pub(super) fn tell_active(&mut self, slot: u32) {
        let Some(stream) = self.streams.get(slot as usize) else {
            return;
        };
        let Some(subscriber) = self.subscribers.of(slot) else {
            return;
        };
        if stream.replay.is_some() || stream.outbox.is_some() || !subscriber.missed.take() {
            return;
        }
        let hub = self.hub.topics.hub();
        let mut told = Vec::new();
        for matcher in subscriber.matched.of_subscriptions() {
            let text = text_of_topic(matcher.text(), hub.path(), hub.origin());
            let may_have = |topic: &str| {
                let topic = Topic::new(topic, hub);
                matcher.matches(&topic) && subscriber.was_granted_topic(&topic)
            };
            told.extend(self.app.active.told(hub.path(), text, may_have));
        }
        if !told.is_empty() {
            self.send_control(slot, told);
        }
    }
}
