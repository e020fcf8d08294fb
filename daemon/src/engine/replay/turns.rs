//! Whose turn it is among streams that replay: each client's in turn, however many streams it has, and each of its
//! streams' in turn. So no client waits behind another for longer than it takes to serve every client once.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::process::client_key::ClientKey;

/// Bytes at the most of each stream that waits, if each is another client's: its client in a table and in a list that have just
/// doubled; they stay until nobody waits.
pub const PLACE: u64 =
    (16 * (size_of::<(ClientKey, Waiting)>() + 1) / 7 + 2 * size_of::<ClientKey>()) as u64;
/// And the node of a tree, with room for others of the same client, only while it waits.
pub const WAITS: u64 = 64;

#[derive(Debug, Default)]
pub struct Turns {
    clients: HashMap<ClientKey, Waiting>,
    /// The clients, each once, the next one first.
    order: VecDeque<ClientKey>,
    streams: usize,
}

/// Streams of one client. Also none: it is forgotten when its turn has come.
#[derive(Debug, Default)]
struct Waiting {
    slots: BTreeSet<u32>,
    /// Behind the one that had its turn last.
    from: u32,
}

impl Waiting {
    fn next(&mut self) -> Option<u32> {
        let behind = self.slots.range(self.from..).next();
        let slot = *behind.or_else(|| self.slots.first())?;
        self.slots.remove(&slot);
        self.from = slot.wrapping_add(1);
        Some(slot)
    }
}

impl Turns {
    pub fn is_empty(&self) -> bool {
        self.streams == 0
    }

    /// How many streams wait.
    pub fn len(&self) -> usize {
        self.streams
    }

    /// Whether one of them waits whose client `may` go on.
    pub fn has(&self, may: impl Fn(ClientKey) -> bool) -> bool {
        let waits = |client: &&ClientKey| !self.clients[client].slots.is_empty();
        self.order.iter().filter(waits).any(|client| may(*client))
    }

    /// The stream waits for its turn. It has one, even if it waits already.
    pub fn add(&mut self, client: ClientKey, slot: u32) {
        let order = &mut self.order;
        let waiting = self.clients.entry(client).or_insert_with(|| {
            order.push_back(client);
            Waiting::default()
        });
        self.streams += usize::from(waiting.slots.insert(slot));
    }

    /// The stream is closed.
    pub fn remove(&mut self, client: ClientKey, slot: u32) {
        if let Some(waiting) = self.clients.get_mut(&client) {
            self.streams -= usize::from(waiting.slots.remove(&slot));
        }
        // Nobody's turn comes any more, in which those without streams would be forgotten.
        if self.streams == 0 {
            self.clear();
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next stream whose client `may` go on. A client that may not is passed over, and is asked again when all others
    /// have been.
    pub fn next(&mut self, may: impl Fn(ClientKey) -> bool) -> Option<u32> {
        for _ in 0..self.order.len() {
            let client = self.order.pop_front()?;
            let waiting = self.clients.get_mut(&client)?;
            if waiting.slots.is_empty() {
                self.clients.remove(&client);
                continue;
            }
            self.order.push_back(client);
            if may(client)
                && let Some(slot) = waiting.next()
            {
                self.streams -= 1;
                return Some(slot);
            }
        }
        None
    }

    /// The next streams of each client that `may` go on, so many of one at the most.
    pub fn round(&mut self, most: usize, may: impl Fn(ClientKey) -> bool) -> Vec<(ClientKey, u32)> {
        let (clients, mut due) = (&mut self.clients, Vec::new());
        self.order.retain(|client| {
            let Some(waiting) = clients.get_mut(client) else {
                return false;
            };
            if may(*client) {
                let some = std::iter::from_fn(|| waiting.next()).take(most);
                due.extend(some.map(|slot| (*client, slot)));
            }
            let waits = !waiting.slots.is_empty();
            if !waits {
                clients.remove(client);
            }
            waits
        });
        self.streams -= due.len();
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::process::client_key::testing::client;

    fn all(turns: &mut Turns) -> Vec<u32> {
        std::iter::from_fn(|| turns.next(|_| true)).collect()
    }

    #[test]
    fn each_client_has_its_turn_and_each_of_its_streams() {
        let mut turns = Turns::default();
        (0..5).for_each(|slot| turns.add(client(1), slot));
        turns.add(client(2), 10);
        turns.add(client(2), 11);
        turns.add(client(1), 4);
        assert_eq!(turns.len(), 7);
        assert_eq!(turns.next(|_| true), Some(0), "all others are behind it");
        turns.add(client(1), 0);
        assert_eq!(all(&mut turns), [10, 1, 11, 2, 3, 4, 0]);
        assert!(turns.is_empty() && turns.next(|_| true).is_none());
        assert!(turns.clients.is_empty() && turns.order.is_empty());
    }

    #[test]
    fn who_may_not_go_on_is_passed_over_and_keeps_its_place_among_its_own() {
        let mut turns = Turns::default();
        (0..2).for_each(|slot| turns.add(client(1), slot));
        (2..4).for_each(|slot| turns.add(client(2), slot));
        let other = |one| one != client(1);
        assert!(turns.has(other));
        assert_eq!([turns.next(other), turns.next(other)], [Some(2), Some(3)]);
        assert!(turns.next(other).is_none() && !turns.has(other));
        assert_eq!(turns.len(), 2);
        turns.remove(client(1), 0);
        assert_eq!(all(&mut turns), [1]);
    }

    #[test]
    fn in_a_round_each_client_goes_on_with_those_of_its_streams_whose_turn_it_is() {
        let mut turns = Turns::default();
        (0..5).for_each(|slot| turns.add(client(1), slot));
        turns.add(client(2), 10);
        turns.add(client(3), 20);
        let round = |turns: &mut Turns| -> Vec<u32> {
            let due = turns.round(2, |one| one != client(3));
            // They wait again at once.
            due.iter()
                .for_each(|(client, slot)| turns.add(*client, *slot));
            due.into_iter().map(|(_, slot)| slot).collect()
        };
        let mut had: Vec<u32> = round(&mut turns);
        assert_eq!(had.len(), 3, "two of the one client, one of the other");
        had.extend(round(&mut turns));
        had.extend(round(&mut turns));
        had.sort_unstable();
        assert_eq!(had, [0, 0, 1, 2, 3, 4, 10, 10, 10]);
        assert_eq!(turns.len(), 7);
        assert_eq!(turns.round(100, |_| true).len(), 7);
        assert!(turns.is_empty() && turns.clients.is_empty() && turns.order.is_empty());
    }

    proptest! {
        /// Streams come, go and have their turns; each goes on after its turn, as in a replay without an end.
        #[test]
        fn nobody_waits_for_more_turns_than_there_are_clients_times_its_own_streams(
            steps in prop::collection::vec((0..4u8, 0..6u8, 0..8u32), 1..400),
        ) {
            let mut turns = Turns::default();
            // Those that wait, and how many turns others have had meanwhile.
            let mut waits: HashMap<(u8, u32), usize> = HashMap::new();
            let owner = |slot: u32| (slot / 8) as u8;
            for (step, of, n) in steps {
                let slot = u32::from(of) * 8 + n;
                match step {
                    0 => {
                        turns.add(client(of), slot);
                        waits.entry((of, slot)).or_default();
                    }
                    1 => {
                        turns.remove(client(of), slot);
                        waits.remove(&(of, slot));
                    }
                    _ => {
                        let next = turns.next(|_| true);
                        prop_assert_eq!(next.is_some(), !waits.is_empty());
                        let Some(next) = next else { continue };
                        prop_assert!(waits.remove(&(owner(next), next)).is_some());
                        // At most 6 clients with 8 streams each.
                        for turns in waits.values_mut() {
                            *turns += 1;
                            prop_assert!(*turns <= 6 * 8);
                        }
                        turns.add(client(owner(next)), next);
                        waits.insert((owner(next), next), 0);
                    }
                }
                prop_assert_eq!(turns.len(), waits.len());
            }
        }
    }
}
