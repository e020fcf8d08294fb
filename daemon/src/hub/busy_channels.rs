//! Which channels have the most events, in bounded memory: a sketch (space-saving: M. Metwally et al., 2005) of each few
//! seconds. Only while somebody looks; otherwise an event costs one load.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

/// Channels that a sketch counts. Of no more than so many each has its exact count.
pub const COUNTED: usize = 256;
/// Sketches that are kept: of a minute, if one is begun every five seconds.
pub const KEPT: usize = 12;

/// Bytes that they come to at the most, in tables that have just doubled, with names as long as is allowed.
pub const CEILING: u64 = KEPT as u64 * COUNTED as u64 * (200 + 2 * 40);

#[derive(Debug, Default)]
pub struct BusyChannels {
    watched: AtomicBool,
    sketches: Mutex<VecDeque<Sketch>>,
}

impl BusyChannels {
    /// Whether events are counted from now on. What was counted is forgotten.
    pub fn watch(&self, watched: bool) {
        if self.watched.swap(watched, Relaxed) != watched {
            self.sketches.lock().clear();
        }
    }

    /// An event of these channels.
    #[inline]
    pub fn count<'a>(&self, channels: impl Iterator<Item = &'a str>) {
        if self.watched.load(Relaxed) {
            self.count_now(channels);
        }
    }

    #[cold]
    fn count_now<'a>(&self, channels: impl Iterator<Item = &'a str>) {
        let mut sketches = self.sketches.lock();
        if sketches.is_empty() {
            sketches.push_back(Sketch::default());
        }
        if let Some(sketch) = sketches.back_mut() {
            channels.for_each(|channel| sketch.count(channel));
        }
    }

    /// Begins a new sketch, and forgets the oldest.
    pub fn turn(&self) {
        let mut sketches = self.sketches.lock();
        while sketches.len() >= KEPT {
            sketches.pop_front();
        }
        sketches.push_back(Sketch::default());
    }

    /// The channels with the most events in all sketches together, at most so many, the busiest first; and whether each
    /// count is exact.
    pub fn top(&self, most: usize) -> (Vec<(String, u64)>, bool) {
        let sketches = self.sketches.lock();
        let mut all: HashMap<&str, u64> = HashMap::new();
        for sketch in sketches.iter() {
            for (channel, count) in &sketch.counts {
                *all.entry(channel).or_default() += count;
            }
        }
        let exact = sketches.iter().all(|sketch| !sketch.replaced);
        let mut top: Vec<(&str, u64)> = all.into_iter().collect();
        top.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        top.truncate(most);
        let own = |(channel, count): (&str, u64)| (channel.to_owned(), count);
        (top.into_iter().map(own).collect(), exact)
    }
}

#[derive(Debug, Default)]
struct Sketch {
    counts: HashMap<Box<str>, u64>,
    /// A channel took the place and the count of another one: counts may be too high, by the least of all at most.
    replaced: bool,
}

impl Sketch {
    fn count(&mut self, channel: &str) {
        if let Some(count) = self.counts.get_mut(channel) {
            *count += 1;
            return;
        }
        let mut count = 1;
        if self.counts.len() == COUNTED {
            let least = self.counts.iter().min_by_key(|(_, count)| **count);
            if let Some((least, of_least)) = least.map(|(name, count)| (name.clone(), *count)) {
                self.counts.remove(&least);
                count += of_least;
            }
            self.replaced = true;
        }
        self.counts.insert(channel.into(), count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(busy: &BusyChannels, channel: &str, times: usize) {
        (0..times).for_each(|_| busy.count(std::iter::once(channel)));
    }

    #[test]
    fn few_channels_are_counted_exactly_over_all_that_is_kept() {
        let busy = BusyChannels::default();
        count(&busy, "a", 5);
        assert_eq!(busy.top(9).0, [], "nobody looks");
        busy.watch(true);
        count(&busy, "a", 5);
        busy.turn();
        count(&busy, "b", 7);
        count(&busy, "a", 1);
        busy.count(["a", "c"].into_iter());
        let top = |busy: &BusyChannels, most| busy.top(most).0;
        let own = |name: &str, n| (name.to_owned(), n);
        assert_eq!(top(&busy, 9), [own("a", 7), own("b", 7), own("c", 1)]);
        assert_eq!(top(&busy, 1), [own("a", 7)]);
        (1..KEPT).for_each(|_| busy.turn());
        assert_eq!(top(&busy, 9), [own("b", 7), own("a", 2), own("c", 1)]);
        busy.turn();
        assert_eq!(top(&busy, 9), []);
        count(&busy, "a", 1);
        busy.watch(false);
        busy.watch(true);
        assert_eq!(top(&busy, 9), []);
    }

    #[test]
    fn of_many_channels_the_busiest_are_found_and_memory_is_bounded() {
        let busy = BusyChannels::default();
        busy.watch(true);
        for n in 0..100_000 {
            count(&busy, &n.to_string(), 1);
            if n % 10 == 0 {
                count(&busy, "busiest", 1);
            }
            if n % 20 == 0 {
                count(&busy, "second", 1);
            }
        }
        let (top, exact) = busy.top(2);
        let names: Vec<&str> = top.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, exact), (vec!["busiest", "second"], false));
        assert!(top[0].1 >= 10_000 && top[1].1 >= 5_000);
        assert_eq!(busy.sketches.lock()[0].counts.len(), COUNTED);
    }
}
