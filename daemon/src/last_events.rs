//! The last event of each cache channel (`cache-`, `private-cache-` …), for whoever subscribes next.
//! The ring may have gone on; so these few are kept beside it.
//!
//! Bounded in channels and bytes. At the bound those whose event is oldest are forgotten, and counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::channel::Kind;
use crate::live::Live;

/// Pusher's bound on age: 30 minutes.
pub const MAX_AGE_NS: u64 = 30 * 60 * 1_000_000_000;
const MAX_CHANNELS: usize = 10_000;
const MAX_BYTES: usize = 32 << 20;

#[derive(Debug, Default)]
pub struct LastEvents(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    channels: HashMap<Box<str>, Arc<Live>>,
    /// Which channel's event is oldest. An event of several channels is there for each.
    by_age: BTreeMap<(u64, Box<str>), usize>,
    bytes: usize,
    forgotten: u64,
}

impl LastEvents {
    /// Keeps `live` for its cache channels. Positions only rise.
    pub fn put(&self, live: &Arc<Live>) {
        let mut cached = live
            .event
            .channels()
            .filter(|name| Kind::of(name).is_cached())
            .peekable();
        if cached.peek().is_none() {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in cached {
            inner.drop_channel(name);
            let size = live.event.data().len() + name.len();
            inner.channels.insert(name.into(), live.clone());
            inner.by_age.insert((live.seq(), name.into()), size);
            inner.bytes += size;
        }
        while inner.channels.len() > MAX_CHANNELS || inner.bytes > MAX_BYTES {
            let Some(((_, name), _)) = inner.by_age.first_key_value() else {
                return;
            };
            let name = name.clone();
            inner.drop_channel(&name);
            inner.forgotten += 1;
        }
    }

    /// None: there was none, or none in the last half hour, or it had to be forgotten.
    pub fn get(&self, channel: &str, now_ns: u64) -> Option<Arc<Live>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = inner.channels.get(channel)?;
        let age = now_ns.saturating_sub(live.event.published_ns());
        (age <= MAX_AGE_NS).then(|| live.clone())
    }

    /// The ring's past is no longer that of its present.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }

    /// Events forgotten because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forgotten
    }
}

impl Inner {
    fn drop_channel(&mut self, name: &str) {
        if let Some(live) = self.channels.remove(name)
            && let Some(size) = self.by_age.remove(&(live.seq(), name.into()))
        {
            self.bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{EPOCH, event};

    fn live(seq: u64, channels: &[&str], data: &str) -> Arc<Live> {
        let event = event(channels, None, None, None, data).unwrap();
        Arc::new(Live::new(EPOCH, seq, event))
    }

    fn seq(kept: &LastEvents, channel: &str) -> Option<u64> {
        kept.get(channel, 0).map(|live| live.seq())
    }

    #[test]
    fn the_last_event_of_cache_channels_is_kept() {
        let kept = LastEvents::default();
        kept.put(&live(1, &["cache-a", "b", "private-cache-c"], "1"));
        kept.put(&live(2, &["cache-a"], "2"));
        assert_eq!((seq(&kept, "cache-a"), seq(&kept, "b")), (Some(2), None));
        assert_eq!(seq(&kept, "private-cache-c"), Some(1));
        assert!(kept.get("cache-a", MAX_AGE_NS).is_some());
        assert!(kept.get("cache-a", MAX_AGE_NS + 1).is_none());
        kept.clear();
        assert_eq!(seq(&kept, "cache-a"), None);
    }

    #[test]
    fn the_oldest_go_at_the_bound() {
        let kept = LastEvents::default();
        let large = "x".repeat(MAX_BYTES / 4);
        for n in 1..=5 {
            kept.put(&live(n, &[&format!("cache-{n}")], &large));
        }
        assert_eq!((seq(&kept, "cache-1"), kept.forgotten()), (None, 2));
        assert_eq!(seq(&kept, "cache-5"), Some(5));
        let small = LastEvents::default();
        for n in 0..=MAX_CHANNELS as u64 {
            small.put(&live(n, &[&format!("cache-{n}")], ""));
        }
        assert_eq!((seq(&small, "cache-0"), small.forgotten()), (None, 1));
        let inner = small.0.lock().unwrap();
        assert_eq!(inner.channels.len(), inner.by_age.len());
    }
}
