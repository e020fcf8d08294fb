//! How many subscribers each channel has on all workers. Counted only if there is a limit, or if the application
//! enables sending the counts to subscribers.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use protocol::channel::Kind;

/// A channel with more subscribers than this is sent its count at most once every `INTERVAL` (Pusher's values).
const LARGE: u32 = 100;
const INTERVAL: Duration = Duration::from_secs(5);

/// The subscriber counts of one application.
#[derive(Debug, Default)]
pub struct SubscriberCounts {
    /// The most subscribers of a channel. 0: no limit.
    limit: u32,
    /// Whether counts are sent to subscribers.
    publishes: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: HashMap<Box<str>, Count>,
    /// Large channels whose changed count was not sent yet.
    due: HashSet<Box<str>>,
}

#[derive(Debug, Default)]
struct Count {
    now: u32,
    /// When it was last sent.
    sent: Option<Instant>,
}

/// Channels whose count is to be sent to their subscribers now, with the count.
pub type CountChanges = Vec<(Box<str>, u32)>;

impl SubscriberCounts {
    /// `limit`: the most subscribers of a channel, 0 for no limit. `publishes`: whether counts are sent to
    /// subscribers.
    pub fn new(limit: u32, publishes: bool) -> Self {
        Self {
            limit,
            publishes,
            inner: Mutex::default(),
        }
    }

    /// Counts one more subscriber for each of `channels`, which are distinct. None, without counting any, if one
    /// of them is full.
    pub fn enter(&self, channels: &[String]) -> Option<CountChanges> {
        let mut changes = CountChanges::new();
        if self.limit == 0 && !self.publishes {
            return Some(changes);
        }
        let mut inner = self.lock();
        let full = |name: &String| {
            let count = inner.counts.get(name.as_str());
            self.limit > 0 && count.is_some_and(|count| count.now >= self.limit)
        };
        if channels.iter().any(full) {
            return None;
        }
        for name in channels {
            inner.counts.entry(name.as_str().into()).or_default().now += 1;
            changes.extend(self.changed(&mut inner, name));
        }
        Some(changes)
    }

    /// Counts one subscriber less for each of `channels`.
    pub fn leave<'a>(&self, channels: impl Iterator<Item = &'a str>) -> CountChanges {
        let mut changes = CountChanges::new();
        if self.limit == 0 && !self.publishes {
            return changes;
        }
        let mut inner = self.lock();
        for name in channels {
            let Some(count) = inner.counts.get_mut(name) else {
                continue;
            };
            count.now -= 1;
            if count.now > 0 {
                changes.extend(self.changed(&mut inner, name));
            } else {
                // No subscriber is left to send it to.
                inner.counts.remove(name);
                inner.due.remove(name);
            }
        }
        changes
    }

    /// Large channels whose interval is over. To be called about once a second.
    pub fn due(&self) -> CountChanges {
        let mut inner = self.lock();
        let waiting: Vec<Box<str>> = inner.due.iter().cloned().collect();
        let changes = waiting.iter().filter_map(|name| {
            let change = self.changed(&mut inner, name)?;
            inner.due.remove(name);
            Some(change)
        });
        changes.collect()
    }

    /// The count to be sent now, if any. Presence channels announce their members instead.
    fn changed(&self, inner: &mut Inner, name: &str) -> Option<(Box<str>, u32)> {
        if !self.publishes || Kind::of(name).is_presence() {
            return None;
        }
        let count = inner.counts.get_mut(name)?;
        let early = count.sent.is_some_and(|sent| sent.elapsed() < INTERVAL);
        if count.now > LARGE && early {
            inner.due.insert(name.into());
            return None;
        }
        count.sent = Some(Instant::now());
        Some((name.into(), count.now))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_full_channel_refuses_and_counts_nothing() {
        let counts = SubscriberCounts::new(2, false);
        let enter = |text| counts.enter(&names(text)).is_some();
        assert!(enter("a b") && enter("a"));
        assert!(!enter("b a"));
        assert!(enter("b"), "the refusal counted nothing");
        counts.leave("a b".split(' '));
        assert!(enter("a b"));
        counts.leave("a a b b".split(' '));
        assert!(counts.lock().counts.is_empty());
        assert!(SubscriberCounts::new(0, false).enter(&names("a")).is_some());
    }

    #[test]
    fn a_small_channel_is_sent_its_count_at_once_and_a_large_one_less_often() {
        let counts = SubscriberCounts::new(0, true);
        for n in 1..=100 {
            let changes = counts.enter(&names("a presence-b")).unwrap();
            assert_eq!(changes, [("a".into(), n)]);
        }
        assert_eq!(counts.enter(&names("a")).unwrap(), [], "not so soon");
        assert_eq!(counts.due(), []);
        assert!(counts.lock().due.contains("a"));
        // As if the pause were over.
        counts.lock().counts.get_mut("a").unwrap().sent = None;
        assert_eq!(counts.due(), [("a".into(), 101)]);
        assert_eq!(counts.due(), []);
        assert_eq!(counts.leave(["a"].into_iter()), [("a".into(), 100)]);
        for _ in 0..100 {
            counts.leave(["a", "presence-b"].into_iter());
        }
        let inner = counts.lock();
        assert!(inner.counts.is_empty() && inner.due.is_empty());
    }
}
