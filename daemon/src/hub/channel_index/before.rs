//! Plans that begin with the newest events, for pages of a channel's history.

use std::hash::BuildHasher;

use protocol::gap::Gap;

use super::{Candidates, ChannelIndex, LOOKS, marks};

/// The next stretch of one channel's events on the way back.
#[derive(Debug, PartialEq, Eq)]
pub struct PlanBefore {
    /// Positions to read, descending; some may have been overwritten in the meantime.
    pub seqs: Vec<u64>,
    /// Positions from and to, not with it, whose channels the index has forgotten: `candidates_before` has those that
    /// may be wanted. Then there are no `seqs`.
    pub scan: (u64, u64),
    /// Everything from here on is covered by this plan.
    pub next: u64,
}

impl ChannelIndex {
    /// Plans the newest `limit` events of a channel in `from..before`.
    pub fn plan_before(&self, channel: &str, from: u64, before: u64, limit: usize) -> PlanBefore {
        let inner = self.lock();
        let from = from
            .max(inner.first)
            .max(inner.unerased_from(&self.erased, channel));
        let row = inner.channel(channel);
        let forgotten_up_to = row.map_or(inner.forgotten_up_to, |channel| channel.evicted_up_to);
        let known = from.max(forgotten_up_to + 1);
        if before <= known {
            let scan = (from.min(before), before);
            return PlanBefore {
                seqs: Vec::new(),
                scan,
                next: scan.0,
            };
        }
        let entries = row.map(|channel| {
            let at = channel.entries.partition_point(|entry| entry.seq < before);
            let newest = channel.entries.range(..at).rev().map(|entry| entry.seq);
            newest.take_while(|seq| *seq >= known).take(limit).collect()
        });
        let seqs: Vec<u64> = entries.unwrap_or_default();
        let next = match seqs.last() {
            Some(seq) if seqs.len() == limit => *seq,
            _ => known,
        };
        PlanBefore {
            seqs,
            scan: (next, next),
            next,
        }
    }

    /// Of `range`, which a plan has for a scan: the newest `limit` positions that may have an event on this channel.
    pub fn candidates_before(&self, channel: &str, range: (u64, u64), limit: usize) -> Candidates {
        let wanted = marks::of(self.hasher.hash_one(channel));
        self.lock()
            .marks
            .candidates_before(wanted, range, limit, LOOKS)
    }

    /// What nobody read of `from..to`, which is not below `first`.
    pub fn unread(&self, from: u64, to: u64) -> Gap {
        let inner = self.lock();
        let within = inner.blind.range(inner.blind_from(from)..);
        let overlaps = within
            .take_while(|unread| unread.from < to)
            .map(|unread| (unread.to.min(to) - unread.from.max(from)).saturating_add(unread.more));
        Gap::at_most(overlaps.fold(0, u64::saturating_add))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Bounds;
    use super::*;

    /// All events of a channel, as a page after the other finds them; `held` says what the ring has.
    fn whole(
        index: &ChannelIndex,
        channel: &str,
        held: &[(u64, bool)],
        end: u64,
        limit: usize,
    ) -> Vec<u64> {
        let (mut at, mut all) = (end, Vec::new());
        while at > 0 {
            let plan = index.plan_before(channel, 0, at, limit);
            assert!(plan.seqs.len() <= limit && plan.next <= at);
            if plan.scan.0 < plan.scan.1 {
                let found = index.candidates_before(channel, plan.scan, limit);
                assert!(found.next < at, "it moves on");
                let is = |seq: &&u64| held.contains(&(**seq, true));
                all.extend(found.seqs.iter().filter(is));
                at = found.next;
            } else {
                all.extend(plan.seqs);
                if plan.next == at || plan.next <= index.first() {
                    break;
                }
                at = plan.next;
            }
        }
        all
    }

    proptest! {
        #[test]
        fn on_the_way_back_each_event_is_found_once_newest_first(
            events in prop::collection::vec((any::<bool>(), 1..4u64), 1..80),
            entries in 1..40usize, channels in 1..4usize, marks in 1..80usize, limit in 1..9usize, erased in 0..60u64,
        ) {
            let index = ChannelIndex::new(Bounds { entries, channels, marks }, 5);
            let (mut seq, mut held) = (5, Vec::new());
            for (mine, step) in events {
                let other = format!("c{}", seq % 5);
                index.push(seq, [if mine { "a" } else { &*other }].into_iter(), None, 0);
                held.push((seq, mine));
                seq += step;
            }
            index.erase("a", erased);
            let due = held.iter().rev().filter(|(seq, mine)| *mine && *seq > erased).map(|(seq, _)| *seq);
            let due: Vec<u64> = due.collect();
            // An index that has lost the channel itself has lost what was erased, too: `Erased` has it then.
            let found = whole(&index, "a", &held, seq, limit);
            let found: Vec<u64> = found.into_iter().filter(|seq| *seq > erased).collect();
            prop_assert_eq!(found, due);
        }
    }

    #[test]
    fn what_nobody_read_counts_as_far_as_it_lies_within() {
        let index = ChannelIndex::new(
            Bounds {
                entries: 9,
                channels: 9,
                marks: 9,
            },
            1,
        );
        index.blind(10, 20);
        index.blind(30, 40);
        assert_eq!(index.unread(1, 50), Gap::at_most(20));
        assert_eq!(index.unread(15, 35), Gap::at_most(10));
        assert!(index.unread(20, 30).is_none());
    }
}
