//! The positions of each channel's events. With them a replay costs no more than the events it replays, and a
//! gap is exact wherever it can be.
//!
//! The tailer appends; workers request plans. One lock, held for one append or for one bounded plan.
//! Positions stay here longer than the ring holds their events, up to a bound, so that overwritten events can be
//! counted.

mod before;
mod entry;
mod marks;
mod rewind;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;

use entry::Entry;
pub use marks::Candidates;
use marks::Marks;
use parking_lot::{Mutex, MutexGuard};
use protocol::gap::Gap;
use rewind::Known;
pub use rewind::{Reach, Tail};

use crate::hub::erased::Erased;
use crate::hub::matcher_name;

/// Positions looked at at a time, each once for each channel.
const LOOKS: usize = 1 << 14;
/// Intervals nobody read that are remembered one by one; past that the two oldest are joined, and the events between
/// them cannot be told any more. So there are as many as positions that the ring holds, within these bounds.
const BLIND: RangeInclusive<usize> = 1024..=1 << 16;
/// The most candidates for a custom id, newest first: hashes of 32 bits hardly ever collide.
const MAX_CANDIDATES: usize = 64;

/// The bounds of an index.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Positions in all, an event counting once for each of its channels. 24 bytes each.
    pub entries: usize,
    /// Channels, including those without any position left. Some 200 bytes each.
    pub channels: usize,
    /// Latest events of which it is known which channels they may have been on, whatever was forgotten: as
    /// many as the ring holds. 16 bytes each.
    pub marks: usize,
}

/// Bytes that the marks and the intervals nobody read take at the most, each in a queue that has just doubled.
pub const fn marks_ceiling(marks: u64) -> u64 {
    32 * marks + 32 * *BLIND.end() as u64
}

/// The next stretch of a replay.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The events missing before the first of `seqs`, whether or not those can be read.
    pub gap: Gap,
    /// Positions to read, ascending; some may have been overwritten in the meantime.
    pub seqs: Vec<u64>,
    /// Positions from and to, not with it, before all of `seqs`, whose channels the index has forgotten:
    /// `History::candidates` has those that may be wanted. Empty as a rule.
    pub scan: (u64, u64),
    /// Everything below is covered by this plan; where the next one starts.
    pub next: u64,
}

/// Where an event with some custom id may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Newest first.
    pub seqs: Vec<u64>,
    /// There may be older ones.
    pub more: bool,
}

#[derive(Debug)]
pub struct ChannelIndex {
    inner: Mutex<Inner>,
    hasher: RandomState,
    /// Events that there are no more for some of their channels.
    pub erased: Erased,
}

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    ids: HashMap<Box<str>, u32>,
    channels: slab::Slab<Channel>,
    /// The channel of each entry, oldest first: the order of eviction.
    order: VecDeque<u32>,
    /// Channels whose last entry was evicted, oldest first: the order in which they are forgotten. May name a
    /// channel that has events again or is gone; `Channel::emptied` decides.
    emptied: VecDeque<(u32, u64)>,
    /// Positions below were never indexed: they were already gone when this daemon started.
    first: u64,
    /// A channel that is not in the table had no event after this position.
    forgotten_up_to: u64,
    /// What the tailer never read, ascending.
    blind: VecDeque<Unread>,
    marks: Marks,
    /// The last position that was appended.
    last: u64,
    /// Channels that are adopted.
    adopted: usize,
}

/// An interval of positions.
#[derive(Debug, Clone, Copy)]
struct Unread {
    from: u64,
    to: u64,
    /// Events of other hosts that are missing there, beyond one for each position.
    more: u64,
}

#[derive(Debug, Default)]
struct Channel {
    name: Box<str>,
    entries: VecDeque<Entry>,
    /// The last position evicted, 0 if none was.
    evicted_up_to: u64,
    /// An upper bound on the number of positions evicted.
    evicted: u64,
    /// Set while the channel is in `Inner::emptied`: the same mark as there.
    emptied: Option<u64>,
    /// The last position that was erased: those up to there are no loss, even where `Erased` has no entry any more.
    erased_up_to: u64,
    adopted: Adopted,
}

/// Channels are adopted that the tailer does not name as a matter of course: it does from some position on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Adopted {
    #[default]
    Never,
    Now,
    /// Nobody asks for it before it is adopted again.
    Before,
}

impl ChannelIndex {
    /// `first`: the oldest position that will be appended.
    pub fn new(bounds: Bounds, first: u64) -> Self {
        Self {
            inner: Mutex::new(Inner::new(bounds, first)),
            hasher: RandomState::new(),
            erased: Erased::default(),
        }
    }

    /// The first position that this daemon indexes; it never saw the ones below.
    pub fn first(&self) -> u64 {
        self.lock().first
    }

    /// Appends an event. `id`: its custom id. `time`: when it was published, in seconds since 1970. Positions must
    /// ascend.
    pub fn push<'a>(
        &self,
        seq: u64,
        channels: impl Iterator<Item = &'a str>,
        id: Option<&str>,
        time: u32,
    ) {
        let id = id.map_or(0, |id| self.id_hash(id));
        let mut inner = self.lock();
        let mut mark = 0;
        for channel in channels {
            inner.push(channel, Entry { seq, id, time });
            mark |= marks::of(self.hasher.hash_one(channel));
            if matcher_name::is_matcher(channel) {
                mark |= marks::of(self.hasher.hash_one(matcher_name::ANY));
            }
        }
        inner.marks.put(seq, mark);
        inner.last = seq;
        inner.evict();
    }

    /// From now on each event of this channel is appended. Nothing is known of those before; they were not all appended,
    /// if any were.
    pub fn adopt(&self, channel: &str) {
        let mut inner = self.lock();
        let (key, up_to) = (inner.key(channel), inner.last);
        let channel = &mut inner.channels[key as usize];
        let is_new = channel.adopted != Adopted::Now;
        channel.adopted = Adopted::Now;
        channel.emptied = None;
        channel.evicted_up_to = channel.evicted_up_to.max(up_to);
        channel.evicted = u64::MAX;
        inner.adopted += usize::from(is_new);
    }

    /// Events of an adopted channel are no longer appended.
    pub fn release(&self, channel: &str) {
        let mut inner = self.lock();
        let Some(key) = inner.ids.get(channel).copied() else {
            return;
        };
        let channel = &mut inner.channels[key as usize];
        if channel.adopted == Adopted::Now {
            channel.adopted = Adopted::Before;
            if channel.entries.is_empty() {
                let mark = channel.evicted_up_to;
                channel.emptied = Some(mark);
                inner.emptied.push_back((key, mark));
            }
            inner.adopted -= 1;
        }
    }

    /// Records that the positions `from..to` were lost before their channels could be read.
    pub fn blind(&self, from: u64, to: u64) {
        self.lock().blind(Unread { from, to, more: 0 });
    }

    /// Records that the position `seq` stands for as many events of another host.
    pub fn blind_of_another_host(&self, seq: u64, events: u64) {
        let (to, more) = (seq + 1, events.saturating_sub(1));
        self.lock().blind(Unread {
            from: seq,
            to,
            more,
        });
    }

    /// Forgets everything, for another ring whose positions begin at `first`.
    pub fn restart(&self, first: u64) {
        let mut inner = self.lock();
        *inner = Inner::new(inner.bounds, first);
    }

    /// Plans a replay of the events of `channels` in `next..target`, the oldest `limit` of them. `held`: the first
    /// position from `next` on that can still be read.
    pub fn plan(&self, channels: &[&str], next: u64, target: u64, limit: usize, held: u64) -> Plan {
        self.lock()
            .plan(&self.erased, channels, next, target, limit, held)
    }

    /// There are no events of this channel up to this position any more, and nobody has lost them.
    pub fn erase(&self, channel: &str, up_to: u64) {
        let mut inner = self.lock();
        if let Some(key) = inner.ids.get(channel).copied() {
            let channel = &mut inner.channels[key as usize];
            channel.erased_up_to = channel.erased_up_to.max(up_to);
        }
    }

    /// The newest events of a channel before `target`, within `reach`. `held`: the first position that can still be
    /// read. What was erased is not among them.
    pub fn tail(&self, channel: &str, reach: Reach, held: u64, target: u64) -> Tail {
        let inner = self.lock();
        let known = match inner.channel(channel) {
            Some(channel) => Known {
                entries: &channel.entries,
                forgotten_up_to: channel.evicted_up_to,
                forgotten: channel.evicted,
            },
            // Forgotten or never seen, as for a plan.
            None => Known {
                entries: &VecDeque::new(),
                forgotten_up_to: inner.forgotten_up_to,
                forgotten: u64::MAX,
            },
        };
        let erased = inner.unerased_from(&self.erased, channel);
        known.tail(reach, held.max(inner.first).max(erased), target)
    }

    /// Of `range`, which a plan has for a scan: the first `limit` positions that may have an event on these
    /// channels.
    pub fn candidates(&self, channels: &[&str], range: (u64, u64), limit: usize) -> Candidates {
        // A pattern may match what was appended before it was known.
        let mark = |name: &&str| match matcher_name::is_pattern(name) {
            true => marks::of(self.hasher.hash_one(matcher_name::ANY)),
            false => marks::of(self.hasher.hash_one(*name)),
        };
        let mut wanted: Vec<_> = channels.iter().map(mark).collect();
        wanted.dedup();
        self.lock().marks.candidates(&wanted, range, limit, LOOKS)
    }

    /// Where an event with the custom id `id` may be.
    pub fn find_id(&self, channels: &[&str], id: &str) -> Found {
        let hash = self.id_hash(id);
        let inner = self.lock();
        let mut found: Vec<u64> = Vec::new();
        for name in channels {
            let Some(channel) = inner.channel(name) else {
                continue;
            };
            let from = inner.unerased_from(&self.erased, name);
            let seqs = channel
                .entries
                .iter()
                .rev()
                .take_while(|e| e.seq >= from)
                .filter(|e| e.id == hash)
                .map(|e| e.seq);
            found.extend(seqs.take(MAX_CANDIDATES));
        }
        drop(inner);
        found.sort_unstable_by_key(|seq| Reverse(*seq));
        found.dedup();
        let more = found.len() >= MAX_CANDIDATES;
        found.truncate(MAX_CANDIDATES);
        Found { seqs: found, more }
    }

    /// The number of positions in the index.
    pub fn entries(&self) -> usize {
        self.lock().order.len()
    }

    fn id_hash(&self, id: &str) -> u32 {
        (self.hasher.hash_one(id) as u32).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn new(bounds: Bounds, first: u64) -> Self {
        Self {
            bounds,
            ids: HashMap::new(),
            channels: slab::Slab::new(),
            order: VecDeque::new(),
            emptied: VecDeque::new(),
            first,
            forgotten_up_to: 0,
            blind: VecDeque::new(),
            marks: Marks::new(bounds.marks, first),
            last: first.saturating_sub(1),
            adopted: 0,
        }
    }

    fn channel(&self, name: &str) -> Option<&Channel> {
        self.ids
            .get(name)
            .and_then(|id| self.channels.get(*id as usize))
    }

    /// The number of a channel, which is new if need be.
    fn key(&mut self, name: &str) -> u32 {
        if let Some(key) = self.ids.get(name) {
            return *key;
        }
        // The channel may have been forgotten, with events up to that position.
        let channel = Channel {
            name: name.into(),
            evicted_up_to: self.forgotten_up_to,
            evicted: self.forgotten_up_to,
            ..Channel::default()
        };
        let key = self.channels.insert(channel) as u32;
        self.ids.insert(name.into(), key);
        key
    }

    fn push(&mut self, name: &str, entry: Entry) {
        let key = self.key(name);
        let channel = &mut self.channels[key as usize];
        channel.emptied = None;
        channel.entries.push_back(entry);
        self.order.push_back(key);
    }

    fn evict(&mut self) {
        while self.order.len() > self.bounds.entries || self.has_too_many_channels() {
            // Too many channels: first forget empty ones, then evict the oldest entry.
            if self.has_too_many_channels() && self.forget() {
                continue;
            }
            let Some(key) = self.order.pop_front() else {
                return;
            };
            let channel = &mut self.channels[key as usize];
            let Some(entry) = channel.entries.pop_front() else {
                continue;
            };
            channel.evicted_up_to = channel.evicted_up_to.max(entry.seq);
            channel.evicted = channel.evicted.saturating_add(1);
            if channel.entries.is_empty() && channel.adopted != Adopted::Now {
                channel.emptied = Some(entry.seq);
                self.emptied.push_back((key, entry.seq));
            }
        }
    }

    /// Those that are adopted have a bound of their own.
    fn has_too_many_channels(&self) -> bool {
        self.ids.len() - self.adopted > self.bounds.channels
    }

    /// Drops the channel that has been empty for the longest time. False if there is none.
    fn forget(&mut self) -> bool {
        while let Some((key, mark)) = self.emptied.pop_front() {
            let stale = self
                .channels
                .get(key as usize)
                .is_none_or(|c| c.emptied != Some(mark));
            if !stale {
                let channel = self.channels.remove(key as usize);
                self.ids.remove(&channel.name);
                // One that is adopted says itself what is not known of it.
                if channel.adopted == Adopted::Never {
                    self.forgotten_up_to = self.forgotten_up_to.max(channel.evicted_up_to);
                }
                return true;
            }
        }
        false
    }

    fn blind(&mut self, unread: Unread) {
        let is_next =
            |last: &&mut Unread| last.to == unread.from && (last.more, unread.more) == (0, 0);
        match self.blind.back_mut().filter(is_next) {
            Some(last) => last.to = unread.to,
            None => self.blind.push_back(unread),
        }
        if self.blind.len() > self.bounds.marks.clamp(*BLIND.start(), *BLIND.end()) {
            // Joined, including what was read in between: the bound grows, but no loss goes unreported.
            let oldest = self.blind.pop_front().expect("longer than the bound");
            if let Some(next) = self.blind.front_mut() {
                next.from = oldest.from;
                next.more = next.more.saturating_add(oldest.more);
            }
        }
    }

    /// Of the intervals nobody read, the first that ends behind `position`.
    fn blind_from(&self, position: u64) -> usize {
        self.blind.partition_point(|unread| unread.to <= position)
    }

    /// The first position of a channel that was not erased.
    fn unerased_from(&self, erased: &Erased, name: &str) -> u64 {
        let known = self.channel(name).map_or(0, |channel| channel.erased_up_to);
        match known.max(erased.up_to(name)) {
            0 => 0,
            last => last + 1,
        }
    }

    fn plan(
        &self,
        erased: &Erased,
        channels: &[&str],
        next: u64,
        target: u64,
        limit: usize,
        held: u64,
    ) -> Plan {
        // What was erased on all of them is nobody's loss.
        let unerased_from = |name: &&str| self.unerased_from(erased, name);
        let past = channels.iter().map(unerased_from).min().unwrap_or(0);
        let next = next.max(past.min(target));
        let (from, mut start) = (next, next.max(self.first));
        let mut gap = Gap::at_most(self.first.min(target).saturating_sub(from));
        // The plan ends at the next unread interval; if it starts in one, it starts after it instead.
        let mut end = target.max(start);
        for unread in self.blind.range(self.blind_from(start)..) {
            if unread.from > start || start == end {
                end = end.min(unread.from.max(start));
                break;
            }
            let past = unread.to.min(end);
            gap.add(Gap::at_most(unread.more.saturating_add(past - start)));
            start = past;
        }
        let mut rows = Vec::with_capacity(channels.len());
        let mut forgotten_up_to = 0;
        for name in channels {
            let start = start.max(unerased_from(name));
            let (up_to, evicted) = match self.channel(name) {
                Some(channel) => {
                    rows.push((&channel.entries, start));
                    (channel.evicted_up_to, channel.evicted)
                }
                // Forgotten or never seen: the two cannot be distinguished.
                None => (self.forgotten_up_to, u64::MAX),
            };
            gap.add(lost(up_to, evicted, start, end.min(held)));
            forgotten_up_to = forgotten_up_to.max(up_to);
        }
        let scan = (start.max(held), end.min(forgotten_up_to + 1));
        if scan.0 < scan.1 {
            return Plan {
                gap,
                seqs: Vec::new(),
                scan,
                next: scan.1,
            };
        }
        let seqs = merge(&rows, end, limit);
        let next = if seqs.len() == limit {
            seqs[limit - 1] + 1
        } else {
            end
        };
        Plan {
            gap,
            seqs,
            scan: (end, end),
            next: next.max(start),
        }
    }
}

/// The events evicted in `start..end`: at most the number of positions, and at most the number evicted.
fn lost(evicted_up_to: u64, evicted: u64, start: u64, end: u64) -> Gap {
    Gap::at_most(
        (evicted_up_to + 1)
            .min(end)
            .saturating_sub(start)
            .min(evicted),
    )
}

/// The first `limit` positions up to `end` that are in any row, from where that begins on, each once.
fn merge(rows: &[(&VecDeque<Entry>, u64)], end: u64, limit: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    let mut heap = BinaryHeap::with_capacity(rows.len());
    for (row, (entries, start)) in rows.iter().enumerate() {
        let at = entries.partition_point(|e| e.seq < *start);
        if let Some(entry) = entries.get(at) {
            heap.push(Reverse((entry.seq, row, at)));
        }
    }
    while let Some(Reverse((seq, row, at))) = heap.pop() {
        if seq >= end || seqs.len() == limit {
            break;
        }
        if seqs.last() != Some(&seq) {
            seqs.push(seq);
        }
        if let Some(entry) = rows[row].0.get(at + 1) {
            heap.push(Reverse((entry.seq, row, at + 1)));
        }
    }
    seqs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDE: Bounds = Bounds {
        entries: 1000,
        channels: 1000,
        marks: 1000,
    };

    fn whole(
        index: &ChannelIndex,
        channels: &[&str],
        from: u64,
        to: u64,
        limit: usize,
    ) -> (Gap, Vec<u64>) {
        let (mut gap, mut seqs, mut next) = (Gap::NONE, Vec::new(), from);
        loop {
            let plan = index.plan(channels, next, to, limit, u64::MAX);
            assert!(plan.seqs.len() <= limit);
            assert!(plan.seqs.iter().all(|s| (next..plan.next).contains(s)));
            gap.add(plan.gap);
            seqs.extend(plan.seqs);
            if plan.next >= to {
                return (gap, seqs);
            }
            assert!(plan.next > next, "a plan moves on");
            next = plan.next;
        }
    }

    #[test]
    fn a_quiet_channel_has_no_gap_however_much_went_on_elsewhere() {
        let index = ChannelIndex::new(
            Bounds {
                entries: 10,
                channels: 10,
                marks: 1000,
            },
            1,
        );
        for seq in 1..500 {
            index.push(seq, ["busy"].into_iter(), None, 0);
        }
        assert_eq!(whole(&index, &["quiet"], 3, 500, 64), (Gap::NONE, vec![]));
        assert_eq!(
            whole(&index, &["busy"], 495, 500, 64),
            (Gap::NONE, (495..500).collect())
        );
    }

    #[test]
    fn evicted_positions_bound_the_gap() {
        let index = ChannelIndex::new(
            Bounds {
                entries: 2,
                channels: 10,
                marks: 1000,
            },
            1,
        );
        for seq in [10, 20, 30, 40] {
            index.push(seq, ["a"].into_iter(), None, 0);
        }
        // 10 and 20 are evicted: two events at most, although 20 positions are missing.
        assert_eq!(
            whole(&index, &["a"], 1, 50, 64),
            (Gap::at_most(2), vec![30, 40])
        );
        assert_eq!(
            whole(&index, &["a"], 20, 50, 64),
            (Gap::at_most(1), vec![30, 40])
        );
        assert_eq!(whole(&index, &["a"], 21, 50, 64), (Gap::NONE, vec![30, 40]));
    }

    #[test]
    fn unread_positions_bound_the_gap() {
        let index = ChannelIndex::new(WIDE, 100);
        assert_eq!(whole(&index, &["a"], 90, 100, 64).0, Gap::at_most(10));
        index.push(100, ["a"].into_iter(), None, 0);
        index.blind(101, 110);
        index.push(110, ["a"].into_iter(), None, 0);
        assert_eq!(
            whole(&index, &["a"], 100, 111, 64),
            (Gap::at_most(9), vec![100, 110])
        );
        assert_eq!(
            whole(&index, &["a"], 105, 111, 64),
            (Gap::at_most(5), vec![110])
        );
        assert_eq!(whole(&index, &["a"], 110, 111, 64), (Gap::NONE, vec![110]));
    }

    #[test]
    fn the_oldest_of_too_many_unread_stretches_are_joined_and_the_newest_are_not() {
        let history = ChannelIndex::new(WIDE, 1);
        let stretches = *BLIND.start() as u64 + 10;
        // One position unread, one read, and so on.
        for n in 0..stretches {
            history.blind(2 * n + 1, 2 * n + 2);
            history.push(2 * n + 2, ["other"].into_iter(), None, 0);
        }
        let end = 2 * stretches + 1;
        let bound = |from| whole(&history, &["quiet"], from, end, 64).0;
        assert_eq!(bound(end - 20), Gap::at_most(10));
        let lost = stretches;
        // Ten were joined with the next: the ten that were read in between count as well.
        assert_eq!(bound(1), Gap::at_most(lost + 10));
    }

    #[test]
    fn records_that_cannot_be_read_take_no_others_with_them() {
        let bounds = Bounds {
            entries: 10_000,
            channels: 10,
            marks: 10_000,
        };
        let index = ChannelIndex::new(bounds, 1);
        // Half of what a ring of 10,000 slots holds: one position unread, one read, and so on.
        let events: Vec<u64> = (1..=5000).map(|n| 2 * n).collect();
        for seq in &events {
            index.blind(seq - 1, *seq);
            index.push(*seq, ["a"].into_iter(), None, 0);
        }
        assert_eq!(
            whole(&index, &["a"], 1, 10_001, 64),
            (Gap::at_most(5000), events)
        );
        assert_eq!(index.unread(5, 10), Gap::at_most(3));
    }

    #[test]
    fn custom_ids_are_found_newest_first_in_these_channels_only() {
        let history = ChannelIndex::new(WIDE, 1);
        history.push(1, ["a"].into_iter(), Some("x"), 0);
        history.push(2, ["a", "b"].into_iter(), Some("x"), 0);
        history.push(3, ["c"].into_iter(), Some("x"), 0);
        history.push(4, ["a"].into_iter(), Some("y"), 0);
        assert_eq!(history.find_id(&["a", "b"], "x").seqs, [2, 1]);
        assert_eq!(history.find_id(&["a"], "z").seqs, [] as [u64; 0]);
    }

    #[test]
    fn what_was_erased_is_not_found_and_is_no_gap() {
        let bounds = Bounds {
            entries: 4,
            channels: 10,
            marks: 1000,
        };
        let index = ChannelIndex::new(bounds, 10);
        for seq in 10..20 {
            index.push(seq, ["a", "b"].into_iter(), Some("x"), 0);
        }
        // 18 and 19 are remembered.
        assert_eq!(whole(&index, &["a"], 1, 20, 64).0, Gap::at_most(9 + 8));
        index.erase("a", 18);
        assert_eq!(whole(&index, &["a"], 1, 20, 64), (Gap::NONE, vec![19]));
        assert_eq!(index.find_id(&["a"], "x").seqs, [19]);
        assert_eq!(whole(&index, &["b"], 18, 20, 64), (Gap::NONE, vec![18, 19]));
        assert_eq!(
            whole(&index, &["a", "b"], 18, 20, 64),
            (Gap::NONE, vec![18, 19])
        );
        index.blind(20, 30);
        index.push(30, ["a"].into_iter(), None, 0);
        assert_eq!(
            whole(&index, &["a"], 1, 31, 64),
            (Gap::at_most(10), vec![19, 30])
        );
        index.erase("a", 40);
        assert_eq!(whole(&index, &["a"], 1, 31, 64), (Gap::NONE, vec![]));
        // No plan goes past its target.
        assert_eq!(index.plan(&["a"], 1, 31, 64, u64::MAX).next, 31);
    }

    #[test]
    fn a_flood_of_channel_names_stays_within_the_bound() {
        let index = ChannelIndex::new(
            Bounds {
                entries: 50,
                channels: 20,
                marks: 1000,
            },
            1,
        );
        for seq in 1..1000 {
            index.push(seq, [format!("c{seq}").as_str()].into_iter(), None, 0);
        }
        let inner = index.lock();
        assert!(inner.ids.len() <= 20 && inner.channels.len() <= 20 && inner.order.len() <= 50);
        assert!(inner.emptied.len() <= 21);
    }

    /// A step of a random sequence.
    #[derive(Debug, Clone)]
    enum Step {
        Push(Vec<u8>),
        Hole,
        Blind(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => prop::collection::vec(0..6u8, 1..4).prop_map(Step::Push),
            1 => Just(Step::Hole),
            1 => (1..20u64).prop_map(Step::Blind),
        ]
    }

    proptest! {
        /// Compares with a plain list of everything that happened.
        #[test]
        fn a_replay_has_what_is_held_and_its_gap_covers_what_is_not(
            steps in prop::collection::vec(step(), 1..120),
            entries in 1..60usize, channels in 1..8usize,
            first in 1..50u64, back in 0..60u64,
            subscribed in prop::collection::btree_set(0..6u8, 1..4),
            limit in 1..9usize,
        ) {
            let index = ChannelIndex::new(Bounds { entries, channels, marks: 1000 }, first);
            let (mut seq, mut all, mut blind) = (first, Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Push(mut names) => {
                        names.sort_unstable();
                        names.dedup();
                        let texts: Vec<String> = names.iter().map(u8::to_string).collect();
                        index.push(seq, texts.iter().map(String::as_str), None, 0);
                        all.push((seq, names));
                        seq += 1;
                    }
                    Step::Hole => seq += 1,
                    Step::Blind(n) => {
                        index.blind(seq, seq + n);
                        blind.push((seq, seq + n));
                        seq += n;
                    }
                }
            }
            let cursor = seq.saturating_sub(back);
            let texts: Vec<String> = subscribed.iter().map(u8::to_string).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let (gap, got) = whole(&index, &texts, cursor, seq, limit);

            let due: Vec<u64> = all.iter()
                .filter(|(s, names)| *s >= cursor && names.iter().any(|n| subscribed.contains(n)))
                .map(|(s, _)| *s).collect();
            prop_assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once");
            prop_assert!(got.iter().all(|s| due.contains(s)), "no event of another channel");
            // No more events may be missing than the gap allows.
            let missing = due.len() - got.len();
            let bound = gap.bound().expect("always bounded here");
            let unseen: u64 = blind.iter().map(|(a, b)| b.saturating_sub((*a).max(cursor))).sum::<u64>()
                + first.saturating_sub(cursor);
            prop_assert!(bound >= missing as u64 + unseen, "{bound} for {missing} and {unseen}");
            prop_assert_eq!(gap.is_none() , bound == 0);
            // No false gap while nothing was evicted.
            if all.iter().map(|(_, n)| n.len()).sum::<usize>() <= entries && channels >= 6 {
                prop_assert_eq!(got, due);
                prop_assert_eq!(bound, unseen);
            }
        }
    }
}
