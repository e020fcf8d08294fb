//! Channels of one stream that catch up with its others.

use std::collections::HashMap;

use crate::engine::outbox::ReplayPosition;

/// Channels that begin at positions of their own, because they were added with a cursor or look back: the replay
/// begins at the first of these, while the stream's other channels are further already, or join in later.
#[derive(Debug, Default)]
pub struct CatchUp {
    /// Where the other channels go on.
    pub base: u64,
    /// Where each of these channels does, by its number.
    pub since: HashMap<u32, u64>,
    /// Parts of events that have been sent, with their channels' numbers: the replay went back from the middle of one.
    pub had: Vec<(ReplayPosition, u32)>,
}

/// Parts that are remembered. No client comes near it that does not go back again and again; what it has had then comes twice.
const PARTS: usize = 1024;

impl CatchUp {
    fn since(&self, channel: u32) -> u64 {
        self.since.get(&channel).copied().unwrap_or(self.base)
    }

    /// Whether a channel takes part in the replay at `next`.
    pub fn takes(&self, channel: u32, next: u64) -> bool {
        let has = |(at, had): &(ReplayPosition, u32)| at.seq == next && *had == channel;
        self.since(channel) <= next && !self.had.iter().any(has)
    }

    /// Where others take part than at `next`; None: nowhere any more.
    pub fn joins(&self, next: u64) -> Option<u64> {
        let all = self.since.values().chain([&self.base]).copied();
        let parts = self.had.iter().flat_map(|(at, _)| [at.seq, at.seq + 1]);
        all.chain(parts).filter(|at| *at > next).min()
    }

    /// The replay goes back to `from`, and has sent these parts of the event that it had come to.
    pub fn keep(&mut self, from: u64, parts: Vec<(ReplayPosition, u32)>) {
        self.had.retain(|(at, _)| at.seq >= from);
        self.had.extend(parts);
        self.had.truncate(PARTS);
    }

    /// The channel's number may be another's next.
    pub fn remove(&mut self, channel: u32) {
        self.since.remove(&channel);
        self.had.retain(|(_, had)| *had != channel);
    }

    /// What was to be sent from `from` on was not, after all.
    pub fn fall_back(&mut self, from: ReplayPosition) {
        self.base = self.base.min(from.seq);
        self.had.retain(|(at, _)| *at < from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(seq: u64, channel: u16) -> ReplayPosition {
        ReplayPosition { seq, channel }
    }

    #[test]
    fn who_has_had_its_part_of_an_event_joins_in_behind_it() {
        let mut catch_up = CatchUp {
            base: 8,
            ..CatchUp::default()
        };
        catch_up.since.insert(3, 5);
        catch_up.keep(5, vec![(part(8, 0), 1)]);
        assert!(catch_up.takes(3, 5) && !catch_up.takes(1, 5));
        assert_eq!(catch_up.joins(5), Some(8));
        assert!(catch_up.takes(2, 8) && !catch_up.takes(1, 8) && catch_up.takes(3, 8));
        assert_eq!(catch_up.joins(8), Some(9));
        assert!(catch_up.takes(1, 9));
        assert_eq!(catch_up.joins(9), None);
    }

    #[test]
    fn what_was_not_sent_after_all_is_not_kept() {
        let mut catch_up = CatchUp {
            base: 8,
            ..CatchUp::default()
        };
        catch_up.keep(5, vec![(part(8, 0), 1), (part(8, 1), 2)]);
        catch_up.fall_back(part(8, 1));
        assert!(!catch_up.takes(1, 8) && catch_up.takes(2, 8));
        catch_up.fall_back(part(7, 0));
        assert!(catch_up.takes(1, 7) && catch_up.takes(1, 8));
    }

    #[test]
    fn a_number_that_is_another_channels_has_had_nothing() {
        let mut catch_up = CatchUp::default();
        catch_up.keep(0, vec![(part(8, 0), 1)]);
        catch_up.remove(1);
        assert!(catch_up.takes(1, 8));
    }
}
