//! The last event of each cache channel (`cache-`, `private-cache-` …), for new subscribers. The ring may have
//! overwritten it, so it is kept beside the ring.
//!
//! Bounded in channels and bytes: an event counts once, for as long as one of its channels keeps it, and none of
//! its encoded forms is kept. At the bound the channels with the oldest events are forgotten and counted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::channel::Kind;
use protocol::socket_id::SocketId;
use shared::cursor::Cursor;
use shared::event::Event;

use crate::hub::encoded_event::EncodedEvent;

/// Pusher's bound on age: 30 minutes.
pub const MAX_AGE_NS: u64 = 30 * 60 * 1_000_000_000;
const MAX_CHANNELS: usize = 10_000;
pub const MAX_BYTES: usize = 32 << 20;
/// Bytes of a channel's entries beside its name, which is stored twice.
const CHANNEL: usize = 160;

#[derive(Debug, Default)]
pub struct LastEvents(Mutex<Inner>);

#[derive(Debug)]
pub struct Last {
    pub cursor: Cursor,
    pub event: Event,
    /// The connection that must not get it.
    pub except: Option<SocketId>,
}

#[derive(Debug, Default)]
struct Inner {
    channels: HashMap<Box<str>, Arc<Last>>,
    /// Channels by the position of their event. An event of several channels has an entry for each.
    by_age: BTreeSet<(u64, Box<str>)>,
    bytes: usize,
    forgotten: u64,
}

impl LastEvents {
    /// Keeps `live` for its cache channels. Positions must rise.
    pub fn put(&self, live: &EncodedEvent) {
        let mut cached = live
            .event
            .channels()
            .filter(|name| Kind::of(name).is_cached())
            .peekable();
        if cached.peek().is_none() {
            return;
        }
        let last = Arc::new(Last {
            cursor: live.cursor,
            event: live.event.clone(),
            except: live.except,
        });
        let mut inner = self.0.lock();
        inner.bytes += last.size();
        for name in cached {
            inner.drop_channel(name);
            inner.bytes += size_of_channel(name);
            inner.channels.insert(name.into(), last.clone());
            inner.by_age.insert((live.seq(), name.into()));
        }
        drop(last);
        while inner.channels.len() > MAX_CHANNELS || inner.bytes > MAX_BYTES {
            let Some((_, name)) = inner.by_age.first() else {
                return;
            };
            let name = name.clone();
            inner.drop_channel(&name);
            inner.forgotten += 1;
        }
    }

    /// None: there was no event in the last half hour, or it was forgotten.
    pub fn get(&self, channel: &str, now_ns: u64) -> Option<Arc<Last>> {
        let inner = self.0.lock();
        let last = inner.channels.get(channel)?;
        let age = now_ns.saturating_sub(last.event.published_ns());
        (age <= MAX_AGE_NS).then(|| last.clone())
    }

    /// Drops the channel's event if it is at `up_to` or older.
    pub fn erase(&self, channel: &str, up_to: u64) {
        let mut inner = self.0.lock();
        if inner
            .channels
            .get(channel)
            .is_some_and(|last| last.cursor.seq <= up_to)
        {
            inner.drop_channel(channel);
        }
    }

    /// Forgets all events: the ring was replaced without its history.
    pub fn clear(&self) {
        *self.0.lock() = Inner::default();
    }

    /// Events forgotten because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.0.lock().forgotten
    }
}

impl Inner {
    fn drop_channel(&mut self, name: &str) {
        let Some(last) = self.channels.remove(name) else {
            return;
        };
        self.by_age.remove(&(last.cursor.seq, name.into()));
        self.bytes -= size_of_channel(name);
        let seq = last.cursor.seq;
        let mut behind = self.by_age.range((seq, Box::default())..);
        // No other channel keeps it.
        if behind.next().is_none_or(|(other, _)| *other != seq) {
            self.bytes -= last.size();
        }
    }
}

impl Last {
    fn size(&self) -> usize {
        size_of::<Self>() + self.event.size()
    }
}

fn size_of_channel(name: &str) -> usize {
    CHANNEL + 2 * name.len()
}

#[cfg(test)]
mod tests {
    use protocol::format::Format;
    use protocol::testing::{EPOCH, event};

    use super::*;
    use crate::process::budget::Budget;

    fn live(seq: u64, channels: &[&str], data: &str) -> Arc<EncodedEvent> {
        let event = event(channels, None, None, None, data).unwrap();
        Arc::new(EncodedEvent::new(
            EPOCH,
            seq,
            event,
            &Arc::new(Budget::new(1 << 40)),
        ))
    }

    fn seq(kept: &LastEvents, channel: &str) -> Option<u64> {
        kept.get(channel, 0).map(|last| last.cursor.seq)
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
    fn what_was_erased_is_not_kept_and_what_came_later_is() {
        let kept = LastEvents::default();
        kept.put(&live(1, &["cache-a", "cache-b"], "1"));
        kept.put(&live(3, &["cache-c"], "3"));
        kept.erase("cache-a", 2);
        kept.erase("cache-c", 2);
        kept.erase("cache-d", 2);
        assert_eq!(
            (seq(&kept, "cache-a"), seq(&kept, "cache-b")),
            (None, Some(1))
        );
        assert_eq!(seq(&kept, "cache-c"), Some(3));
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
        let inner = small.0.lock();
        assert_eq!(inner.channels.len(), inner.by_age.len());
    }

    #[test]
    fn an_event_counts_with_its_head_and_once_for_all_its_channels() {
        let kept = LastEvents::default();
        let bytes = || kept.0.lock().bytes;
        let names: Vec<String> = (0..50).map(|n| format!("cache-{n}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        kept.put(&live(1, &names, &"x".repeat(10_000)));
        assert!((10_000..30_000).contains(&bytes()), "{}", bytes());
        // A long head counts too, of which little is a cache channel's name.
        let other: Vec<String> = (0..50).map(|n| format!("{n:0>200}")).collect();
        names.splice(1.., other.iter().map(String::as_str));
        kept.put(&live(2, &names, ""));
        assert!((28_000..40_000).contains(&bytes()), "{}", bytes());
        for n in 0..50 {
            kept.put(&live(3 + n, &[&format!("cache-{n}")], ""));
        }
        assert!(bytes() < 20_000, "{}", bytes());
        let inner = kept.0.lock();
        let last = inner.channels.values().map(|last| last.size());
        let names = inner.channels.keys().map(|name| size_of_channel(name));
        assert_eq!(last.chain(names).sum::<usize>(), inner.bytes);
    }

    #[test]
    fn no_form_is_kept_with_the_last_event() {
        let kept = LastEvents::default();
        let budget = Arc::new(Budget::new(1 << 30));
        let event = event(&["cache-a"], None, None, None, &"x".repeat(1000)).unwrap();
        let live = Arc::new(EncodedEvent::new(EPOCH, 1, event, &budget));
        kept.put(&live);
        drop((live.raw(), live.form(Format::Json, 0, true)));
        drop(live);
        assert_eq!((seq(&kept, "cache-a"), budget.used()), (Some(1), 0));
    }
}
