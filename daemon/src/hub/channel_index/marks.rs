//! What the channels of each of the latest events hash to. A replay over positions whose channels the index has
//! forgotten would have to read every one of them from the ring; with this it reads only those that may be its
//! own. A mark may match a channel that the event is not on, and never fails to match one that it is on.

use std::collections::VecDeque;

/// The bits of one channel, or of all channels of an event.
pub type Mark = u64;

/// Bits of one channel: one event in 65,536 on one other channel matches by accident.
const BITS: u32 = 4;

#[derive(Debug)]
pub struct Marks {
    /// Positions and their marks, ascending. 16 bytes each.
    latest: VecDeque<(u64, Mark)>,
    most: usize,
    /// Nothing is known about positions below.
    first: u64,
}

/// What may be somebody's, of a stretch of positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Ascending.
    pub seqs: Vec<u64>,
    /// Where to go on: everything below has been looked at.
    pub next: u64,
    /// Positions looked at, each once for each channel.
    pub looked: u64,
}

/// The bits for the hash of a channel's name.
pub fn of(hash: u64) -> Mark {
    (0..BITS).fold(0, |mark, n| mark | 1 << (hash >> (6 * n) & 63))
}

impl Marks {
    /// `most`: events remembered. `first`: the oldest position that will be put.
    pub fn new(most: usize, first: u64) -> Self {
        Self {
            latest: VecDeque::new(),
            most,
            first,
        }
    }

    pub fn put(&mut self, seq: u64, mark: Mark) {
        self.latest.push_back((seq, mark));
        while self.latest.len() > self.most {
            if let Some((dropped, _)) = self.latest.pop_front() {
                self.first = dropped + 1;
            }
        }
    }

    /// The first `limit` of the positions `from..to` that may be of one of these, after looking at most at
    /// `work` positions, each once for each of them.
    pub fn candidates(
        &self,
        wanted: &[Mark],
        (from, to): (u64, u64),
        limit: usize,
        work: usize,
    ) -> Candidates {
        if from < self.first {
            let next = to.min(self.first).min(from + limit as u64);
            return Candidates {
                seqs: (from..next).collect(),
                next,
                looked: next - from,
            };
        }
        let mut seqs = Vec::new();
        let mut looked = 0;
        let at = self.latest.partition_point(|(seq, _)| *seq < from);
        for &(seq, mark) in self.latest.range(at..) {
            if seq >= to {
                break;
            }
            if seqs.len() == limit || looked >= work {
                return Candidates {
                    seqs,
                    next: seq,
                    looked: looked as u64,
                };
            }
            looked += wanted.len();
            if wanted.iter().any(|bits| mark & bits == *bits) {
                seqs.push(seq);
            }
        }
        Candidates {
            seqs,
            next: to,
            looked: looked as u64,
        }
    }

    /// The same for one channel, from the newest position on: `seqs` descend, and everything from `next` on has been
    /// looked at.
    pub fn candidates_before(
        &self,
        wanted: Mark,
        (from, to): (u64, u64),
        limit: usize,
        work: usize,
    ) -> Candidates {
        let known = from.max(self.first);
        if to <= known {
            let next = from.max(to.saturating_sub(limit as u64));
            return Candidates {
                seqs: (next..to).rev().collect(),
                next,
                looked: to - next,
            };
        }
        let mut seqs = Vec::new();
        let at = self.latest.partition_point(|(seq, _)| *seq < to);
        for (looked, &(seq, mark)) in self.latest.range(..at).rev().enumerate() {
            if seq < known {
                break;
            }
            if seqs.len() == limit || looked >= work {
                return Candidates {
                    seqs,
                    next: seq + 1,
                    looked: looked as u64,
                };
            }
            if mark & wanted == wanted {
                seqs.push(seq);
            }
        }
        Candidates {
            seqs,
            next: known,
            looked: (to - known).min(at as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(marks: &Marks, wanted: &[Mark], from: u64, to: u64, work: usize) -> Vec<u64> {
        let (mut seqs, mut next) = (Vec::new(), from);
        while next < to {
            let found = marks.candidates(wanted, (next, to), 8, work);
            assert!(found.next > next && found.seqs.len() <= 8, "it moves on");
            assert!(
                found
                    .seqs
                    .iter()
                    .all(|seq| (next..found.next).contains(seq))
            );
            seqs.extend(found.seqs);
            next = found.next;
        }
        seqs
    }

    #[test]
    fn every_event_of_a_channel_is_found_and_hardly_any_other() {
        // Multiplied, so that bits differ as a hash's do.
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let mut marks = Marks::new(10_000, 1);
        for seq in 1..=10_000 {
            // Every third position has no event.
            if seq % 3 != 0 {
                marks.put(seq, of(hash(seq % 100)) | of(hash(1000 + seq)));
            }
        }
        let mine: Vec<u64> = (1..=10_000)
            .filter(|s| s % 100 == 7 && s % 3 != 0)
            .collect();
        for work in [1, 100, 1 << 20] {
            let found = whole(&marks, &[of(hash(7))], 1, 10_001, work);
            assert!(mine.iter().all(|seq| found.binary_search(seq).is_ok()));
            assert!(found.len() < mine.len() + 50, "{}", found.len());
        }
        assert!(whole(&marks, &[of(hash(5_000_000))], 1, 10_001, 100).len() < 50);
    }

    #[test]
    fn what_is_no_longer_known_is_a_candidate_each() {
        let mut marks = Marks::new(3, 10);
        for seq in 10..20 {
            marks.put(seq, of(seq));
        }
        assert_eq!(whole(&marks, &[], 5, 20, 100), (5..17).collect::<Vec<_>>());
        assert_eq!(whole(&marks, &[], 17, 20, 100), [] as [u64; 0]);
    }
}
