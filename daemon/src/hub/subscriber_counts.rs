//! How many subscribers each channel has on all workers. Counted only if there is a limit, if the application
//! enables sending the counts to subscribers, or if other hosts are to know.
//!
//! What is sent to subscribers is the number on all hosts; the limit is one host's own.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use protocol::channel::Kind;

use crate::hub::matcher_name;

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
    /// Whether other hosts are told.
    shares: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: HashMap<Box<str>, Count>,
    /// Large channels whose changed count was not sent yet.
    due: HashSet<Box<str>>,
    /// Subscribers on other hosts, by the hosts' places.
    elsewhere: HashMap<Box<str>, HashMap<u8, u32>>,
    /// Channels whose changed count other hosts were not told yet.
    untold: HashSet<Box<str>>,
    /// Channels that have the first subscriber of all hosts, or lost the last, in this order.
    occupancy: Vec<(Box<str>, bool)>,
}

impl Inner {
    fn elsewhere(&self, name: &str) -> u32 {
        let hosts = self.elsewhere.get(name).into_iter();
        let counts = hosts.flat_map(HashMap::values);
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[derive(Debug, Default)]
struct Count {
    now: u32,
    /// When it was last sent.
    sent: Option<Instant>,
}

/// Whether anybody is told the count: presence channels announce their members instead, and matchers are nobody's channels.
fn tells(name: &str) -> bool {
    !Kind::of(name).is_presence() && !matcher_name::is_matcher(name)
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
            shares: false,
            inner: Mutex::default(),
        }
    }

    /// The same among other hosts, which are told the counts if they are of use there: for subscribers, or for webhooks.
    pub fn among_others(limit: u32, publishes: bool, webhooks: bool) -> Self {
        Self {
            shares: publishes || webhooks,
            ..Self::new(limit, publishes)
        }
    }

    /// Counts one more subscriber for each of `channels`, which are distinct. None, without counting any, if one
    /// of them is full.
    pub fn enter(&self, channels: &[String]) -> Option<CountChanges> {
        let mut changes = CountChanges::new();
        if self.counts_nothing() {
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
            let count = inner.counts.entry(name.as_str().into()).or_default();
            count.now += 1;
            let first = count.now == 1;
            self.to_tell(&mut inner, name, first.then_some(true));
            changes.extend(self.changed(&mut inner, name));
        }
        Some(changes)
    }

    /// Counts one subscriber less for each of `channels`.
    pub fn leave<'a>(&self, channels: impl Iterator<Item = &'a str>) -> CountChanges {
        let mut changes = CountChanges::new();
        if self.counts_nothing() {
            return changes;
        }
        let mut inner = self.lock();
        for name in channels {
            let Some(count) = inner.counts.get_mut(name) else {
                continue;
            };
            count.now -= 1;
            let left = count.now;
            self.to_tell(&mut inner, name, (left == 0).then_some(false));
            if left > 0 {
                changes.extend(self.changed(&mut inner, name));
            } else {
                // No subscriber is left to send it to.
                inner.counts.remove(name);
                inner.due.remove(name);
            }
        }
        changes
    }

    fn counts_nothing(&self) -> bool {
        self.limit == 0 && !self.publishes && !self.shares
    }

    /// `occupied`: whether this host has the first subscriber now, or lost the last.
    fn to_tell(&self, inner: &mut Inner, name: &str, occupied: Option<bool>) {
        if !self.shares || !tells(name) {
            return;
        }
        if !inner.untold.contains(name) {
            inner.untold.insert(name.into());
        }
        if let Some(occupied) = occupied
            && inner.elsewhere(name) == 0
        {
            inner.occupancy.push((name.into(), occupied));
        }
    }

    /// The channels that have the first subscriber of all hosts now, or lost the last.
    pub fn occupancy(&self) -> Vec<(Box<str>, bool)> {
        match self.shares {
            true => std::mem::take(&mut self.lock().occupancy),
            false => Vec::new(),
        }
    }

    /// The changed counts that other hosts are to be told.
    pub fn untold(&self) -> CountChanges {
        let mut inner = self.lock();
        let untold = std::mem::take(&mut inner.untold);
        let count = |name: Box<str>| {
            let count = inner.counts.get(&name).map_or(0, |count| count.now);
            (name, count)
        };
        untold.into_iter().map(count).collect()
    }

    /// Another host has so many subscribers of a channel.
    pub fn set_elsewhere(&self, name: &str, host: u8, count: u32) -> CountChanges {
        let mut inner = self.lock();
        let hosts = inner.elsewhere.entry(name.into()).or_default();
        let before = !hosts.is_empty();
        match count {
            0 => hosts.remove(&host),
            count => hosts.insert(host, count),
        };
        let now = !hosts.is_empty();
        if !now {
            inner.elsewhere.remove(name);
        }
        if self.shares && before != now && !inner.counts.contains_key(name) {
            inner.occupancy.push((name.into(), now));
        }
        // Nobody here: there is none to send it to.
        self.changed(&mut inner, name).into_iter().collect()
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

    /// The count to be sent now, if any.
    fn changed(&self, inner: &mut Inner, name: &str) -> Option<(Box<str>, u32)> {
        if !self.publishes || !tells(name) {
            return None;
        }
        let elsewhere = inner.elsewhere(name);
        let count = inner.counts.get_mut(name)?;
        let early = count.sent.is_some_and(|sent| sent.elapsed() < INTERVAL);
        let all = count.now.saturating_add(elsewhere);
        if all > LARGE && early {
            inner.due.insert(name.into());
            return None;
        }
        count.sent = Some(Instant::now());
        Some((name.into(), all))
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
    fn subscribers_of_all_hosts_are_counted_and_each_is_told_its_own() {
        let counts = SubscriberCounts::among_others(0, true, false);
        assert_eq!(counts.set_elsewhere("a", 1, 2), [], "nobody here");
        assert_eq!(
            counts.enter(&names("a presence-b")).unwrap(),
            [("a".into(), 3)]
        );
        assert_eq!(counts.untold(), [("a".into(), 1)]);
        assert_eq!(counts.untold(), []);
        assert_eq!(counts.set_elsewhere("a", 2, 5), [("a".into(), 8)]);
        assert_eq!(counts.set_elsewhere("a", 1, 0), [("a".into(), 6)]);
        assert_eq!(counts.leave(["a"].into_iter()), []);
        assert_eq!(counts.untold(), [("a".into(), 0)]);
        counts.set_elsewhere("a", 2, 0);
        assert!(counts.lock().elsewhere.is_empty());
        assert_eq!(
            counts.occupancy(),
            [("a".into(), true), ("a".into(), false)]
        );
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
