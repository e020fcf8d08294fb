//! The events waiting for one endpoint, in order. Pure: times are milliseconds of one monotonic clock.
//!
//! `channel_vacated` and `member_removed` are held back for a while: if the opposite happens in the meantime,
//! neither is sent, so that a page reload causes no events. `subscription_count` is held back too, and a newer
//! count replaces it. All other events are ready at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::endpoint::{Endpoint, Limits};
use super::event::{Event, What};
use super::room::QueuedEvent;

/// The events that an endpoint wants.
#[derive(Debug, Clone)]
pub struct Filter {
    events: Vec<String>,
    channel_prefix: String,
}

impl Filter {
    pub fn new(endpoint: &Endpoint) -> Self {
        Self {
            events: endpoint.events.clone(),
            channel_prefix: endpoint.channel_prefix.clone(),
        }
    }

    /// Whether the endpoint wants events of this name.
    pub fn includes(&self, name: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|wanted| wanted == name)
    }

    /// Whether the event must be queued: for itself, or because it may cancel its opposite.
    pub fn matches(&self, event: &Event) -> bool {
        let opposite = match event.what {
            What::ChannelOccupied => "channel_vacated",
            What::ChannelVacated => "channel_occupied",
            What::MemberAdded { .. } => "member_removed",
            What::MemberRemoved { .. } => "member_added",
            _ => event.name(),
        };
        let named = self.includes(event.name()) || self.includes(opposite);
        named && event.channel.starts_with(&self.channel_prefix)
    }
}

/// The key of an event that is held back; there is at most one for each key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Held {
    Channel(Arc<str>),
    Member(Arc<str>, Arc<str>),
    Count(Arc<str>),
}

/// The events waiting for one endpoint.
#[derive(Debug)]
pub struct Queue {
    filter: Filter,
    limits: Limits,
    /// Events that can no longer be cancelled, and since when they are ready.
    ready: VecDeque<(u64, QueuedEvent)>,
    /// The number of the event held back for each key.
    held: HashMap<Held, u64>,
    /// Events held back, with due time and number. The delay is the same for all, so they are in order. An event
    /// whose key is not in `held` under its number was cancelled.
    holding: VecDeque<(u64, u64, Held, QueuedEvent)>,
    numbers: u64,
    /// Events that were cancelled or replaced.
    pub cancelled: u64,
}

impl Queue {
    pub fn new(filter: Filter, limits: Limits) -> Self {
        Self {
            filter,
            limits,
            ready: VecDeque::new(),
            held: HashMap::new(),
            holding: VecDeque::new(),
            numbers: 0,
            cancelled: 0,
        }
    }

    /// Queues an event at `now`.
    pub fn put(&mut self, queued: QueuedEvent, now: u64) {
        self.tick(now);
        let channel = queued.event.channel.clone();
        match &queued.event.what {
            What::ChannelOccupied => self.cancel_or_push(&Held::Channel(channel), queued, now),
            What::MemberAdded { user } => {
                let held = Held::Member(channel, user.clone());
                self.cancel_or_push(&held, queued, now);
            }
            What::ChannelVacated => self.hold(Held::Channel(channel), queued, now),
            What::MemberRemoved { user } => {
                let held = Held::Member(channel, user.clone());
                self.hold(held, queued, now);
            }
            What::SubscriptionCount(_) => self.hold(Held::Count(channel), queued, now),
            What::ClientEvent { .. } | What::CacheMiss => self.push(now, queued),
        }
    }

    /// Cancels the opposite event if it is held back; otherwise the event itself is ready.
    fn cancel_or_push(&mut self, opposite: &Held, queued: QueuedEvent, now: u64) {
        // Its place in `holding` stays taken until it is due, which keeps this step cheap.
        match self.held.remove(opposite) {
            Some(_) => self.cancelled += 2,
            None => self.push(now, queued),
        }
    }

    /// Makes an event ready, unless it was queued only to cancel its opposite.
    fn push(&mut self, since: u64, queued: QueuedEvent) {
        if self.filter.includes(queued.event.name()) {
            self.ready.push_back((since, queued));
        }
    }

    fn hold(&mut self, held: Held, queued: QueuedEvent, now: u64) {
        if let Some(number) = self.held.get(&held) {
            // Numbers are consecutive.
            let first = self.holding.front().map_or(0, |(_, number, ..)| *number);
            if let Some((.., existing)) = self.holding.get_mut((number - first) as usize) {
                existing.event = queued.event;
                self.cancelled += 1;
            }
            return;
        }
        let due = now + self.limits.hold.as_millis() as u64;
        self.held.insert(held.clone(), self.numbers);
        self.holding.push_back((due, self.numbers, held, queued));
        self.numbers += 1;
    }

    /// Releases the events that are due at `now`.
    pub fn tick(&mut self, now: u64) {
        while self.holding.front().is_some_and(|(due, ..)| *due <= now) {
            self.release();
        }
    }

    /// Releases all events: nothing will cancel them any more.
    pub fn release_all(&mut self) {
        while !self.holding.is_empty() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some((due, number, held, queued)) = self.holding.pop_front()
            && self.held.get(&held) == Some(&number)
        {
            self.held.remove(&held);
            self.push(due, queued);
        }
    }

    /// When there is something to do next: an event held back is due, or a batch has gathered long enough.
    pub fn next(&self) -> Option<u64> {
        let held = self.holding.front().map(|(due, ..)| *due);
        let gather = self.limits.gather.as_millis() as u64;
        let gathered = self.ready.front().map(|(since, _)| since + gather);
        [held, gathered].into_iter().flatten().min()
    }

    /// Whether no event is ready or held back.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.holding.is_empty()
    }

    /// Takes the next batch, with the time since when its oldest event is ready, if the batch is full or has
    /// gathered long enough at `now`, or if `all` is set.
    pub fn take(&mut self, now: u64, all: bool) -> Option<(u64, Vec<QueuedEvent>)> {
        let since = self.ready.front()?.0;
        let gather = self.limits.gather.as_millis() as u64;
        let mut bytes = 0;
        let fit = |(_, queued): &&(u64, QueuedEvent)| {
            bytes += queued.event.bytes();
            bytes <= self.limits.batch_bytes
        };
        let most = self.limits.batch;
        let count = self.ready.iter().take(most).take_while(fit).count().max(1);
        let full = count == most || count < self.ready.len();
        if !(full || all || now >= since + gather) {
            return None;
        }
        Some((
            since,
            self.ready
                .drain(..count)
                .map(|(_, queued)| queued)
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::room::Room;
    use super::*;
    use crate::process::client_key::ClientKey;

    const LIMITS: Limits = Limits {
        events: 100,
        bytes: 100_000,
        batch: 3,
        batch_bytes: 1000,
        gather: Duration::from_millis(50),
        hold: Duration::from_millis(3000),
        pause: Duration::ZERO,
        longest_pause: Duration::ZERO,
        patience: Duration::ZERO,
    };

    struct Test {
        queue: Queue,
        room: Arc<Room>,
    }

    impl Test {
        fn new(events: &[&str]) -> Self {
            let endpoint = Endpoint {
                events: events.iter().map(ToString::to_string).collect(),
                ..Endpoint::default()
            };
            Self {
                queue: Queue::new(Filter::new(&endpoint), LIMITS),
                room: Arc::new(Room::new(LIMITS)),
            }
        }

        fn put(&mut self, what: What, now: u64) {
            self.put_on("c", what, now);
        }

        fn put_on(&mut self, channel: &str, what: What, now: u64) {
            let event = Event::new(channel, what);
            if self.queue.filter.matches(&event) {
                let place = Room::reserve(&self.room, ClientKey::NONE, event.bytes()).unwrap();
                self.queue.put(QueuedEvent { event, place }, now);
            }
        }

        /// What is ready at `now`, batch by batch.
        fn at(&mut self, now: u64) -> Vec<What> {
            self.queue.tick(now);
            let batches = std::iter::from_fn(|| self.queue.take(now, true));
            batches
                .flat_map(|(_, all)| all)
                .map(|queued| queued.event.what)
                .collect()
        }

        fn waiting(&self) -> usize {
            self.room.events.load(std::sync::atomic::Ordering::Relaxed)
        }
    }

    fn added() -> What {
        What::MemberAdded { user: "7".into() }
    }

    fn removed() -> What {
        What::MemberRemoved { user: "7".into() }
    }

    #[test]
    fn a_return_in_time_cancels_both_events() {
        for (joined, left) in [
            (What::ChannelOccupied, What::ChannelVacated),
            (added(), removed()),
        ] {
            let mut t = Test::new(&[]);
            t.put(joined.clone(), 1000);
            assert_eq!(t.at(1000), std::slice::from_ref(&joined));
            t.put(left.clone(), 2000);
            assert_eq!((t.at(4999), t.queue.next()), (vec![], Some(5000)));
            t.put(joined.clone(), 4999);
            assert_eq!((t.at(4999), t.queue.cancelled), (vec![], 2));
            // The next time starts anew.
            t.put(left.clone(), 4999);
            assert_eq!((t.at(5000), t.at(7998)), (vec![], vec![]));
            assert_eq!(t.at(7999), [left]);
            t.put(joined.clone(), 9000);
            assert_eq!(t.at(9000), [joined]);
            assert!(t.queue.is_empty() && t.queue.held.is_empty());
            assert_eq!(t.waiting(), 0);
        }
    }

    #[test]
    fn after_the_hold_both_events_are_sent() {
        let mut t = Test::new(&[]);
        t.put(What::ChannelVacated, 0);
        t.put(What::ChannelOccupied, 3000);
        assert_eq!(t.at(3000), [What::ChannelVacated, What::ChannelOccupied]);
    }

    #[test]
    fn only_the_same_channel_and_user_cancel() {
        let mut t = Test::new(&[]);
        t.put_on("a", What::ChannelVacated, 0);
        t.put_on("a", removed(), 0);
        t.put_on("b", What::ChannelOccupied, 1);
        t.put_on("b", added(), 1);
        let other = What::MemberAdded { user: "8".into() };
        t.put_on("a", other.clone(), 1);
        assert_eq!(t.at(1), [What::ChannelOccupied, added(), other]);
        assert_eq!(t.at(3000), [What::ChannelVacated, removed()]);
    }

    #[test]
    fn an_endpoint_that_wants_one_of_a_pair_also_gets_no_cancelled_events() {
        for wanted in ["channel_occupied", "channel_vacated"] {
            let mut t = Test::new(&[wanted]);
            t.put(added(), 0);
            t.put(What::ChannelOccupied, 0);
            t.put(What::ChannelVacated, 100);
            t.put(What::ChannelOccupied, 200);
            t.put(What::ChannelVacated, 300);
            let expected = match wanted {
                "channel_occupied" => What::ChannelOccupied,
                _ => What::ChannelVacated,
            };
            assert_eq!(t.at(3300), [expected], "{wanted}");
            assert_eq!(t.waiting(), 0);
        }
    }

    #[test]
    fn only_the_newest_count_is_sent() {
        let mut t = Test::new(&[]);
        for n in 1..=5 {
            t.put(What::SubscriptionCount(n), 100 * n);
            t.put(What::CacheMiss, 100 * n);
        }
        t.put_on("d", What::SubscriptionCount(9), 500);
        assert_eq!(t.waiting(), 7);
        assert_eq!(t.at(600), vec![What::CacheMiss; 5]);
        assert_eq!(t.at(3100), [What::SubscriptionCount(5)]);
        assert_eq!(
            (t.at(3500), t.queue.cancelled),
            (vec![What::SubscriptionCount(9)], 4)
        );
    }

    #[test]
    fn endless_changes_take_no_more_room_than_allowed() {
        let mut t = Test::new(&[]);
        let most = LIMITS.events as u64;
        for now in 1..most {
            t.put(What::ChannelVacated, now);
            assert_eq!(t.waiting() as u64, now, "a cancelled event keeps its place");
            t.put(What::ChannelOccupied, now);
        }
        t.put(What::ChannelVacated, most);
        assert!(Room::reserve(&t.room, ClientKey::NONE, 1).is_err());
        assert_eq!(t.queue.holding.len(), LIMITS.events);
        assert_eq!(t.at(3001), []);
        assert_eq!(t.waiting(), LIMITS.events - 1);
        assert_eq!(t.at(3000 + most), [What::ChannelVacated]);
        assert_eq!(t.waiting(), 0);
    }

    #[test]
    fn a_batch_is_taken_when_it_is_full_or_has_waited_long_enough() {
        let mut t = Test::new(&[]);
        t.put(What::CacheMiss, 100);
        t.put(What::CacheMiss, 120);
        assert!(t.queue.take(149, false).is_none());
        assert_eq!(t.queue.next(), Some(150));
        let (since, batch) = t.queue.take(150, false).unwrap();
        assert_eq!((since, batch.len()), (100, 2));
        for now in 200..204 {
            t.put(What::CacheMiss, now);
        }
        assert_eq!(t.queue.take(204, false).unwrap().1.len(), 3);
        assert!(t.queue.take(204, false).is_none());
        assert_eq!(t.queue.take(204, true).unwrap().1.len(), 1);
        assert!(t.queue.take(204, true).is_none());
        let large = What::ClientEvent {
            event: "client-a".into(),
            data: "x".repeat(600).into(),
            socket: "1.2".into(),
            user: None,
        };
        for _ in 0..2 {
            t.put(large.clone(), 300);
        }
        assert_eq!(
            t.queue.take(300, false).unwrap().1.len(),
            1,
            "by their bytes"
        );
        let huge = What::ClientEvent {
            event: "client-a".into(),
            data: "x".repeat(6000).into(),
            socket: "1.2".into(),
            user: None,
        };
        t.put(huge, 300);
        assert_eq!(t.queue.take(300, false).unwrap().1.len(), 1);
        assert_eq!(
            t.queue.take(300, true).unwrap().1.len(),
            1,
            "one always fits"
        );
    }

    #[test]
    fn at_the_end_nothing_is_held_back() {
        let mut t = Test::new(&[]);
        t.put(What::ChannelVacated, 0);
        t.put_on("d", What::ChannelVacated, 0);
        t.put_on("d", What::ChannelOccupied, 1);
        t.queue.release_all();
        assert_eq!(t.at(1), [What::ChannelVacated]);
        assert!(t.queue.is_empty());
    }
}
