//! Announcements of active subscriptions that a stream may have missed: it was away, or too slow. Whoever asks by many
//! patterns, about many, is told a part at a time, between what others are sent.

use protocol::mercure::matcher::Matcher;
use protocol::mercure::topic::Topic;

use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::engine::subscribers::Subscriber;
use crate::hub::active::{Telling, text_of_topic};

/// What a stream may take of a worker's time at a time: ordinary patterns that are tried on a topic.
const TURN: usize = 1000;
/// Streams that are told a part in one turn of all.
const TOLD: usize = 4;

impl Engine {
    /// The stream is live again: what is announced from now on it gets, and the rest is sent to it as it is now.
    pub(super) fn tell_active(&mut self, slot: u32) {
        let is_live = |stream: &Stream| stream.replay.is_none() && stream.outbox.is_none();
        if !self.streams.get(slot as usize).is_some_and(is_live) {
            return;
        }
        let Some(subscriber) = self.subscribers.of_mut(slot) else {
            return;
        };
        if subscriber.missed.take() {
            // What it was not told yet is among it.
            subscriber.telling = begin(subscriber, |texts| self.app.active.begin_telling(texts));
        }
        let Some(mut telling) = subscriber.telling.take() else {
            return;
        };
        let cursor = self.sent_cursor_of(slot);
        let Some(subscriber) = self.subscribers.of(slot) else {
            return;
        };
        let hub = self.hub.topics.hub();
        let asked = subscriber.matched.of_subscriptions();
        let hears = |topic: &str| hears(subscriber, &asked, topic);
        let active = &self.app.active;
        let told = active.tell(&mut telling, hub.path(), cursor.wire(), TURN, hears);
        if !told.is_empty() {
            self.send_control(slot, told);
        }
        // It may have been closed.
        if let Some(subscriber) = self.subscribers.of_mut(slot).filter(|_| !telling.is_over()) {
            subscriber.telling = Some(telling);
            let client = self.streams[slot as usize].client;
            self.replays.telling.add(client, slot);
        }
    }

    /// Some streams are told the next part.
    pub(super) fn go_on_telling(&mut self) {
        for _ in 0..self.replays.telling.len().min(TOLD) {
            let mut turns = std::mem::take(&mut self.replays.telling);
            let next = turns.next(|client| self.may_begin(client));
            self.replays.telling = turns;
            match next {
                Some(slot) => self.tell_active(slot),
                None => break,
            }
        }
    }
}

/// None: it may hear of nobody. `begin`: with the texts of the only matchers that it may hear of, if that is known.
fn begin(
    subscriber: &Subscriber,
    begin: impl FnOnce(Option<&[String]>) -> Telling,
) -> Option<Box<Telling>> {
    let granted = subscriber.granted_subscriptions()?;
    let hub = subscriber.matched.hub();
    let asked = subscriber.matched.of_subscriptions();
    asked.first()?;
    let texts = asked
        .into_iter()
        .map(|matcher| text_of_topic(matcher.kind(), matcher.text(), hub))
        .map(|text| text.map(str::to_owned))
        .collect::<Option<Vec<String>>>()
        .or(granted);
    Some(Box::new(begin(texts.as_deref())))
}

/// Whether a subscriber, who `asked` by these patterns, is told of a topic, and how many patterns were tried.
fn hears(subscriber: &Subscriber, asked: &[&Matcher], topic: &str) -> (bool, usize) {
    let topic = Topic::new(topic, subscriber.matched.hub());
    let (is_granted, mut took) = subscriber.was_granted_topic(&topic);
    let is_asked_for = is_granted
        && asked.iter().any(|matcher| {
            took += matcher.weight();
            matcher.matches(&topic)
        });
    (is_asked_for, took)
}
