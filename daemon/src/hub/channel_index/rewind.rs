//! Where a channel's newest events begin, for a subscription that looks back.

use std::collections::VecDeque;

use protocol::gap::Gap;

use super::entry::Entry;

/// How far to look back.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// The newest so many events that were asked for; None: as many as there are.
    pub events: Option<usize>,
    /// Those published since then, in seconds since 1970; 0: of any age.
    pub since: u32,
    /// The bounds: the most events, and what they were published since.
    pub most: usize,
    pub oldest: u32,
}

/// A channel's newest events.
#[derive(Debug, PartialEq, Eq)]
pub struct Tail {
    /// The position of the oldest of them, or where to look for it; the target, if there is none.
    pub from: u64,
    /// How many of them the index knows.
    pub known: usize,
    /// What was asked for and is held, but left out.
    pub gap: Gap,
    /// A bound left some of it out.
    pub cut: bool,
}

/// What is known of a channel.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub entries: &'a VecDeque<Entry>,
    /// At most so many of its events up to this position have been forgotten.
    pub forgotten: u64,
    pub forgotten_up_to: u64,
}

impl Known<'_> {
    /// The channel's events in `held..target` that are within `reach`.
    pub fn tail(self, reach: Reach, held: u64, target: u64) -> Tail {
        let entries = self.entries;
        let first = entries.partition_point(|entry| entry.seq < held);
        let end = entries.partition_point(|entry| entry.seq < target);
        let end = end.max(first);
        let mut gap = Gap::NONE;

        // As many as were asked for, then as many as are allowed.
        let all = end - first;
        let mut start = end - reach.events.unwrap_or(all).min(all);
        let allowed = end - reach.most.min(all);
        let withheld = allowed.saturating_sub(start);
        start = start.max(allowed);

        // Of those, from the oldest on that is young enough. A publisher states the time itself: a wrong one may make
        // this reach further back, and leaves out nothing.
        let since = |start: usize, time: u32| {
            let mut all = entries.range(start..end);
            let older = all.position(|entry| entry.time >= time);
            older.map_or(end, |older| start + older)
        };
        let young = since(start, reach.since);
        let all_known = young == start;
        if withheld > 0 && all_known {
            gap.add(match reach.since {
                0 => Gap::exact(withheld as u64),
                _ => Gap::at_most(withheld as u64),
            });
        }
        start = since(young, reach.oldest);
        gap.add(Gap::exact((start - young) as u64));
        let cut = !gap.is_none();

        // If even the oldest that is known was asked for, so are older ones that the index has forgotten and the ring
        // still holds.
        let forgotten = (self.forgotten_up_to + 1)
            .min(target)
            .saturating_sub(held)
            .min(self.forgotten);
        let wanted = reach
            .events
            .map_or(u64::MAX, |events| events.saturating_sub(all) as u64);
        let room = wanted.min((reach.most - (end - start)) as u64);
        let of_any_age = reach.since == 0 && reach.oldest == 0;
        let mut from = None;
        if of_any_age && (1..=room).contains(&forgotten) {
            // All that there can be is wanted and allowed: the replay looks for it.
            from = Some(held);
        } else if all_known {
            gap.add(Gap::at_most(forgotten.min(wanted)));
        }
        let oldest = entries.range(start..end).next().map(|entry| entry.seq);
        Tail {
            from: from.or(oldest).unwrap_or(target),
            known: end - start,
            gap,
            cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Bounds, ChannelIndex};
    use super::*;

    const ANY: Reach = Reach {
        events: None,
        since: 0,
        most: 1000,
        oldest: 0,
    };

    fn newest(events: usize) -> Reach {
        Reach {
            events: Some(events),
            ..ANY
        }
    }

    fn since(since: u32) -> Reach {
        Reach { since, ..ANY }
    }

    /// Events of "a" at the positions 10, 20, … published at the times 1, 2, …
    fn index(entries: usize) -> ChannelIndex {
        let bounds = Bounds {
            entries,
            channels: 10,
            marks: 1000,
        };
        let index = ChannelIndex::new(bounds, 1);
        for n in 1..=5 {
            index.push(10 * u64::from(n), ["a"].into_iter(), None, n);
        }
        index
    }

    /// Where it begins, how many are known, and the gap's `lost` and `at_most`.
    fn tail(
        index: &ChannelIndex,
        reach: Reach,
        held: u64,
        target: u64,
    ) -> (u64, usize, Option<u64>, u64) {
        let tail = index.tail("a", reach, held, target);
        assert_eq!(
            tail.cut,
            tail.gap.bound() != Some(0) && index.entries() == 5
        );
        (
            tail.from,
            tail.known,
            tail.gap.lost(),
            tail.gap.bound().unwrap(),
        )
    }

    #[test]
    fn the_newest_that_are_held_and_not_delivered_anyway() {
        let index = index(1000);
        for (reach, held, target, from, known) in [
            (newest(2), 1, 60, 40, 2),
            (newest(5), 1, 60, 10, 5),
            (newest(9), 1, 60, 10, 5),
            (newest(2), 1, 50, 30, 2),
            (newest(9), 30, 60, 30, 3),
            (newest(9), 31, 60, 40, 2),
            (newest(9), u64::MAX, 60, 60, 0),
            (ANY, 11, 60, 20, 4),
            (since(3), 1, 60, 30, 3),
            (since(3), 40, 60, 40, 2),
            (since(9), 1, 60, 60, 0),
        ] {
            let expected = (from, known, Some(0), 0);
            assert_eq!(tail(&index, reach, held, target), expected, "{reach:?}");
        }
        let none = index.tail("other", ANY, 1, 60);
        assert_eq!((none.from, none.known, none.gap), (60, 0, Gap::NONE));
    }

    #[test]
    fn what_a_bound_leaves_out_is_a_gap() {
        let index = index(1000);
        let most = |reach: Reach| Reach { most: 2, ..reach };
        assert_eq!(tail(&index, most(ANY), 1, 60), (40, 2, Some(3), 3));
        assert_eq!(tail(&index, most(newest(2)), 1, 60), (40, 2, Some(0), 0));
        // The time of those before the bound was not looked at, unless one within it is too old already.
        assert_eq!(tail(&index, most(since(2)), 1, 60), (40, 2, None, 3));
        assert_eq!(tail(&index, most(since(5)), 1, 60), (50, 1, Some(0), 0));
        let aged = |reach: Reach| Reach { oldest: 4, ..reach };
        assert_eq!(tail(&index, aged(ANY), 1, 60), (40, 2, Some(3), 3));
        assert_eq!(tail(&index, aged(newest(4)), 1, 60), (40, 2, Some(2), 2));
        assert_eq!(tail(&index, aged(newest(2)), 1, 60), (40, 2, Some(0), 0));
    }

    #[test]
    fn a_time_that_is_wrong_leaves_nothing_out() {
        let index = index(1000);
        index.push(60, ["a"].into_iter(), None, 0);
        index.push(70, ["a"].into_iter(), None, 7);
        assert_eq!(index.tail("a", since(5), 1, 80).from, 50);
        index.push(80, ["a"].into_iter(), None, u32::MAX);
        assert_eq!(index.tail("a", since(5), 1, 90).from, 50);
        assert_eq!(index.tail("a", since(100), 1, 90).from, 80);
    }

    #[test]
    fn what_the_index_forgot_is_looked_for_if_all_of_it_is_wanted_and_a_gap_otherwise() {
        // 10, 20 and 30 are forgotten.
        let index = index(2);
        assert_eq!(tail(&index, newest(2), 1, 60), (40, 2, Some(0), 0));
        assert_eq!(tail(&index, newest(3), 1, 60), (40, 2, None, 1));
        assert_eq!(tail(&index, newest(5), 1, 60), (1, 2, Some(0), 0));
        assert_eq!(tail(&index, ANY, 1, 60), (1, 2, Some(0), 0));
        // Not what the ring does not hold any more.
        assert_eq!(tail(&index, newest(3), 31, 60), (40, 2, Some(0), 0));
        assert_eq!(tail(&index, newest(3), 30, 60), (30, 2, Some(0), 0));
        // How old they are is not known.
        assert_eq!(tail(&index, since(4), 1, 60), (40, 2, None, 3));
        assert_eq!(tail(&index, since(5), 1, 60), (50, 1, Some(0), 0));
    }

    proptest! {
        /// Compared with a plain list, where publishers' clocks are right: what follows is within reach, and what is
        /// missing of it is in the gap.
        #[test]
        fn nothing_that_was_asked_for_is_left_out_silently(
            mut times in prop::collection::vec((0..3u8, 1..20u32), 0..40),
            entries in 1..50usize,
            events in prop::option::of(1..30usize),
            since in prop_oneof![Just(0), 1..20u32],
            most in 1..30usize,
            oldest in prop_oneof![2 => Just(0), 1 => 1..20u32],
            held in 1..40u64,
            target in 1..45u64,
        ) {
            let bounds = Bounds { entries, channels: 2, marks: 1000 };
            let index = ChannelIndex::new(bounds, 1);
            times.sort_unstable_by_key(|(_, time)| *time);
            let mut all = Vec::new();
            for (n, (channel, time)) in times.into_iter().enumerate() {
                let seq = n as u64 + 1;
                index.push(seq, [format!("{channel}").as_str()].into_iter(), None, time);
                if channel == 0 {
                    all.push((seq, time));
                }
            }
            let events = events.map(|events| events.min(most));
            let tail = index.tail("0", Reach { events, since, most, oldest }, held, target);
            all.retain(|(seq, _)| (held..target).contains(seq));
            let asked = &all[all.len() - events.unwrap_or(all.len()).min(all.len())..];
            let from = asked.iter().position(|(_, time)| *time >= since);
            let asked = &asked[from.unwrap_or(asked.len())..];
            let got = all.iter().filter(|(seq, _)| *seq >= tail.from).count();
            prop_assert!(got <= asked.len(), "no more than was asked for");
            prop_assert!(got <= most, "nor than is allowed");
            prop_assert!(tail.known <= got);
            let bound = tail.gap.bound().unwrap();
            prop_assert!((asked.len() - got) as u64 <= bound, "{} of {asked:?}: {tail:?}", got);
            if let Some(lost) = tail.gap.lost() {
                prop_assert_eq!(lost, (asked.len() - got) as u64);
            }
        }
    }
}
