//! How many subscribers each channel has, over all workers: kept only where a limit asks for it, or where
//! an application wants its subscribers to be told.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use protocol::channel::Kind;

/// Above so many subscribers a channel is told of them at most every so often (Pusher's numbers).
const CROWD: u32 = 100;
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct SubscriberCounts {
    /// 0: any number.
    limit: u32,
    /// Whether somebody is to be told.
    tells: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: HashMap<Box<str>, Count>,
    /// Crowds that changed and were not told yet.
    due: HashSet<Box<str>>,
}

#[derive(Debug, Default)]
struct Count {
    now: u32,
    told: Option<Instant>,
}

/// Channels whose number is to be told now.
pub type Told = Vec<(Box<str>, u32)>;

impl SubscriberCounts {
    pub fn new(limit: u32, tells: bool) -> Self {
        Self {
            limit,
            tells,
            inner: Mutex::default(),
        }
    }

    /// Counts one more subscriber for each of `channels`, which are distinct. None, and nothing
    /// counted, if one of them is full.
    pub fn enter(&self, channels: &[String]) -> Option<Told> {
        let mut told = Told::new();
        if self.limit == 0 && !self.tells {
            return Some(told);
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
            told.extend(self.changed(&mut inner, name));
        }
        Some(told)
    }

    pub fn leave<'a>(&self, channels: impl Iterator<Item = &'a str>) -> Told {
        let mut told = Told::new();
        if self.limit == 0 && !self.tells {
            return told;
        }
        let mut inner = self.lock();
        for name in channels {
            let Some(count) = inner.counts.get_mut(name) else {
                continue;
            };
            count.now -= 1;
            if count.now > 0 {
                told.extend(self.changed(&mut inner, name));
            } else {
                // Nobody is left to be told.
                inner.counts.remove(name);
                inner.due.remove(name);
            }
        }
        told
    }

    /// Crowds whose pause is over. To be asked about once a second.
    pub fn due(&self) -> Told {
        let mut inner = self.lock();
        let waiting: Vec<Box<str>> = inner.due.iter().cloned().collect();
        let told = waiting.iter().filter_map(|name| {
            let told = self.changed(&mut inner, name)?;
            inner.due.remove(name);
            Some(told)
        });
        told.collect()
    }

    /// The number to be told now, if any. Presence channels tell of their members instead.
    fn changed(&self, inner: &mut Inner, name: &str) -> Option<(Box<str>, u32)> {
        if !self.tells || Kind::of(name).is_presence() {
            return None;
        }
        let count = inner.counts.get_mut(name)?;
        let early = count.told.is_some_and(|told| told.elapsed() < PAUSE);
        if count.now > CROWD && early {
            inner.due.insert(name.into());
            return None;
        }
        count.told = Some(Instant::now());
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
    fn a_full_channel_refuses_and_nothing_is_kept_of_it() {
        let census = SubscriberCounts::new(2, false);
        let enter = |text| census.enter(&names(text)).is_some();
        assert!(enter("a b") && enter("a"));
        assert!(!enter("b a"));
        assert!(enter("b"), "the refusal counted nothing");
        census.leave("a b".split(' '));
        assert!(enter("a b"));
        census.leave("a a b b".split(' '));
        assert!(census.lock().counts.is_empty());
        assert!(SubscriberCounts::new(0, false).enter(&names("a")).is_some());
    }

    #[test]
    fn a_small_channel_is_told_at_once_and_a_crowd_now_and_then() {
        let census = SubscriberCounts::new(0, true);
        for n in 1..=100 {
            let told = census.enter(&names("a presence-b")).unwrap();
            assert_eq!(told, [("a".into(), n)]);
        }
        assert_eq!(census.enter(&names("a")).unwrap(), [], "not so soon");
        assert_eq!(census.due(), []);
        assert!(census.lock().due.contains("a"));
        // As if the pause were over.
        census.lock().counts.get_mut("a").unwrap().told = None;
        assert_eq!(census.due(), [("a".into(), 101)]);
        assert_eq!(census.due(), []);
        assert_eq!(census.leave(["a"].into_iter()), [("a".into(), 100)]);
        for _ in 0..100 {
            census.leave(["a", "presence-b"].into_iter());
        }
        let inner = census.lock();
        assert!(inner.counts.is_empty() && inner.due.is_empty());
    }
}
