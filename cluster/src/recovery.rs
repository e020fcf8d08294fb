//! What a process that was killed had imported without noting it.
//!
//! Before it publishes a batch it writes down what it is about to publish (*intents*), and behind which place; after it,
//! where everything lies. A node that starts looks in its ring, from that place on, for what was never noted.
//!
//! Imports are published in order. So what was to come before something that is found was published, too; if it is not
//! there it was erased, or it can no longer be read. The latter must not be passed over: whoever has what is before it
//! would be sent what comes after it, and never be told.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use shared::cursor::Cursor;

/// Something of another origin was about to be published, behind a local position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    pub at: Cursor,
    pub after: u64,
}

/// What lies in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It says that it was imported. `gap`: it is a gap record of what is after this position.
    Imported { at: Cursor, gap: Option<u64> },
    /// An event of this node.
    Own,
    /// No event from the position asked for up to this one.
    Nothing { through: u64 },
    /// What was published from the position asked for up to this one cannot be read.
    Lost { through: u64 },
}

/// What is to be noted, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It lies there; or it may, and what lies there cannot be read.
    Event { at: Cursor, local: u64 },
    /// The same of a gap record of what is after `from`.
    Gap { at: Cursor, local: u64, from: u64 },
    /// The ring no longer holds what it had of this origin up to there; nobody knows where that was.
    Floor { at: Cursor },
}

/// Looks for intents, which ascend within each origin. `held`: the places that the ring holds; `read` says what lies there.
pub fn recover(
    intents: impl IntoIterator<Item = Intent>,
    held: Range<u64>,
    read: impl Fn(u64) -> Place,
) -> Vec<Found> {
    let mut open: BTreeMap<[u8; 6], Open> = BTreeMap::new();
    for intent in intents {
        let of = open.entry(intent.at.epoch.0).or_default();
        of.intents.push_back(intent);
    }
    let first = open.values().filter_map(Open::first).min();
    let Some(first) = first else {
        return Vec::new();
    };
    let mut found = Vec::new();
    // The ring may overwrite on while it is read.
    let mut gone = held.start;
    let mut place = first.max(held.start);
    while place < held.end {
        match read(place) {
            Place::Own => place += 1,
            Place::Nothing { through } => place = through.max(place) + 1,
            Place::Lost { through } => {
                let next = through.max(place) + 1;
                for of in open.values_mut() {
                    of.cannot_read(place..next.min(held.end));
                }
                if place == gone {
                    gone = next;
                }
                place = next;
            }
            Place::Imported { at, gap } => {
                if let Some(of) = open.get_mut(&at.epoch.0) {
                    of.take(at, gap, place, gone, &mut found);
                }
                place += 1;
            }
        }
    }
    found
}

/// One origin.
#[derive(Default)]
struct Open {
    /// What was not found yet.
    intents: VecDeque<Intent>,
    /// Places that cannot be read, behind what was found last; no more than there are intents.
    unreadable: Vec<u64>,
    has_found: bool,
}

impl Open {
    /// The first place at which any of them may lie.
    fn first(&self) -> Option<u64> {
        self.intents.front().map(|intent| intent.after + 1)
    }

    fn cannot_read(&mut self, places: Range<u64>) {
        let first = self.first().unwrap_or(places.end);
        let room = self.intents.len().saturating_sub(self.unreadable.len());
        let places = places.start.max(first)..places.end;
        self.unreadable.extend(places.take(room));
    }

    /// Something that says that it is at `at` lies at `local`; the ring holds nothing before `gone`.
    fn take(
        &mut self,
        at: Cursor,
        gap: Option<u64>,
        local: u64,
        gone: u64,
        found: &mut Vec<Found>,
    ) {
        let is_it = |intent: &Intent| intent.at == at && intent.after < local;
        let Some(before) = self.intents.iter().position(is_it) else {
            return;
        };
        let overwritten = !self.has_found && self.first().is_some_and(|first| first < gone);
        let missing: Vec<Intent> = self.intents.drain(..=before).take(before).collect();
        match missing.last() {
            Some(last) if overwritten => found.push(Found::Floor { at: last.at }),
            // Each has a place of its own, so that the last of them is in the last such place or before it.
            _ => {
                let places = self.unreadable.iter();
                let events = missing.iter().zip(places);
                found.extend(events.map(|(intent, &local)| Found::Event {
                    at: intent.at,
                    local,
                }));
            }
        }
        found.push(match gap {
            None => Found::Event { at, local },
            Some(from) => Found::Gap { at, local, from },
        });
        self.unreadable.clear();
        self.has_found = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::cursor::Epoch;

    const A: Epoch = Epoch([1; 6]);
    const B: Epoch = Epoch([2; 6]);

    fn at(epoch: Epoch, seq: u64) -> Cursor {
        Cursor { epoch, seq }
    }

    fn imported(epoch: Epoch, seq: u64) -> Place {
        let (at, gap) = (at(epoch, seq), None);
        Place::Imported { at, gap }
    }

    fn event(epoch: Epoch, seq: u64, local: u64) -> Found {
        let at = at(epoch, seq);
        Found::Event { at, local }
    }

    fn floor(epoch: Epoch, seq: u64) -> Found {
        let at = at(epoch, seq);
        Found::Floor { at }
    }

    /// A ring that holds these places from `first` on.
    fn find(intents: &[(Epoch, u64, u64)], first: u64, ring: &[Place]) -> Vec<Found> {
        let intents = intents.iter().map(|&(epoch, seq, after)| Intent {
            at: at(epoch, seq),
            after,
        });
        let end = first + ring.len() as u64;
        recover(intents, first..end, |place| ring[(place - first) as usize])
    }

    const LOST: Place = Place::Lost { through: 0 };
    const HOLE: Place = Place::Nothing { through: 0 };

    #[test]
    fn what_was_published_is_found_and_what_was_not_is_left_to_come() {
        let ring = [
            imported(A, 5),
            Place::Own,
            imported(B, 1),
            imported(A, 6),
            Place::Imported {
                at: at(A, 9),
                gap: Some(6),
            },
        ];
        let intents = [
            (A, 5, 19),
            (A, 6, 19),
            (A, 9, 19),
            (A, 10, 19),
            (B, 1, 19),
            (B, 2, 19),
        ];
        let gap = Found::Gap {
            at: at(A, 9),
            local: 24,
            from: 6,
        };
        let all = [event(A, 5, 20), event(B, 1, 22), event(A, 6, 23), gap];
        assert_eq!(find(&intents, 20, &ring), all);
        assert_eq!(find(&[], 20, &ring), []);
        assert_eq!(find(&intents[3..4], 20, &ring), []);
    }

    /// Those that lay where others lie now are not passed over.
    #[test]
    fn what_the_ring_overwrote_of_a_batch_is_a_floor() {
        let ring = [imported(A, 7), Place::Own, imported(B, 1), imported(A, 8)];
        let intents = [
            (A, 5, 16),
            (A, 6, 16),
            (A, 7, 16),
            (A, 8, 16),
            (B, 1, 16),
            (B, 3, 16),
        ];
        let all = [
            floor(A, 6),
            event(A, 7, 20),
            event(B, 1, 22),
            event(A, 8, 23),
        ];
        assert_eq!(find(&intents, 20, &ring), all);
        // It goes on overwriting.
        let ring = [Place::Lost { through: 21 }, LOST, HOLE, imported(A, 8)];
        let all = [floor(A, 7), event(A, 8, 23)];
        assert_eq!(find(&intents[..4], 20, &ring), all);
        // All of it: it comes again, and is new here.
        assert_eq!(find(&intents, 20, &[Place::Own]), []);
    }

    #[test]
    fn what_was_erased_is_passed_over_where_the_ring_holds_all_of_the_batch() {
        let ring = [HOLE, imported(A, 6), HOLE, imported(A, 8)];
        let intents = [(A, 5, 19), (A, 6, 19), (A, 7, 19), (A, 8, 19)];
        let all = [event(A, 6, 21), event(A, 8, 23)];
        assert_eq!(find(&intents, 20, &ring), all);
    }

    #[test]
    fn a_place_that_cannot_be_read_may_be_that_of_one_that_is_missing() {
        let ring = [
            imported(A, 5),
            LOST,
            Place::Own,
            LOST,
            imported(A, 8),
            LOST,
            imported(A, 9),
        ];
        let intents = [
            (A, 5, 19),
            (A, 6, 19),
            (A, 7, 19),
            (A, 8, 19),
            (A, 9, 19),
            (B, 1, 19),
        ];
        let all = [
            event(A, 5, 20),
            event(A, 6, 21),
            event(A, 7, 23),
            event(A, 8, 24),
            event(A, 9, 26),
        ];
        assert_eq!(find(&intents, 20, &ring), all);
        // One place cannot be that of two; the other one was erased.
        let ring = [Place::Own, LOST, HOLE, imported(A, 8)];
        let all = [event(A, 6, 21), event(A, 8, 23)];
        assert_eq!(find(&intents[1..4], 20, &ring), all);
    }

    #[test]
    fn a_record_from_before_the_intent_is_not_it() {
        let ring = [imported(A, 5), imported(A, 5), imported(A, 5)];
        assert_eq!(find(&[(A, 5, 20)], 20, &ring), [event(A, 5, 21)]);
    }
}
