//! Channels whose events up to some position were erased. Events of that channel alone are taken out of the ring; those
//! that are on others too stay there for them, and are hidden here from whoever reads them for this channel.
//!
//! On several hosts what is erased is what a vector has: hosts have events in different orders. What comes later from
//! another host, and was erased, is not imported for that channel (`refuses`).
//!
//! An entry ends when the ring holds nothing that old. `erased_file.rs` keeps them across restarts.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use shared::cursor::{Cursor, Epoch};
use shared::vector::{OriginId, Vector};

use crate::hub::origins::Origins;

/// Channels with erased events that are remembered.
pub const MOST: usize = 10_000;

/// Bytes of them at the most: an entry with as long a name as is allowed, in a table that has just doubled.
pub const CEILING: u64 = 320 * MOST as u64;
/// The same on several hosts: the vectors besides.
pub const CEILING_ACROSS: u64 = CEILING + (16 * Vector::MAX_ORIGINS * MOST) as u64;

/// That a channel's events were erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub channel: Box<str>,
    /// The last position that is.
    pub at: Cursor,
    /// Only what it has. None: everything.
    pub vector: Option<Vector>,
}

impl Erasure {
    pub fn here(channel: &str, at: Cursor) -> Self {
        Self {
            channel: channel.into(),
            at,
            vector: None,
        }
    }

    pub fn across(channel: &str, at: Cursor, vector: Vector) -> Self {
        Self {
            channel: channel.into(),
            at,
            vector: Some(vector),
        }
    }
}

/// Whether there are more than are remembered.
pub fn are_too_many(all: &[Erasure]) -> bool {
    let across = all.iter().filter(|erasure| erasure.vector.is_some());
    let across = across.count();
    across.max(all.len() - across) > MOST
}

#[derive(Debug, Default)]
pub struct Erased {
    /// No channel has an erased position past this one.
    newest: AtomicU64,
    inner: RwLock<Inner>,
    /// None: the application is on one host.
    origins: OnceLock<Arc<Origins>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The ring that the positions are of. None: none was served yet.
    epoch: Option<Epoch>,
    /// For each channel the last position that is erased.
    channels: HashMap<Box<str>, u64>,
    /// For each channel what is erased on all hosts.
    across: HashMap<Box<str>, Across>,
}

#[derive(Clone, Debug, Default)]
struct Across {
    vector: Vector,
    /// Nothing after it is erased. 0: what lies in the ring is not erased yet.
    until: u64,
}

impl Erased {
    /// The application is on several hosts.
    pub fn among(&self, origins: Arc<Origins>) {
        let _ = self.origins.set(origins);
    }

    /// The ring of `epoch` is served from now on.
    pub fn restart(&self, epoch: Epoch) {
        let mut inner = self.inner.write();
        *inner = Inner {
            epoch: Some(epoch),
            ..Inner::default()
        };
        self.newest.store(0, Release);
    }

    /// Replaces all entries; those of another ring mean nothing.
    pub fn set(&self, known: Vec<Erasure>) {
        let mut inner = self.inner.write();
        let epoch = inner.epoch;
        *inner = Inner {
            epoch,
            ..Inner::default()
        };
        let mut newest = 0;
        for erasure in known {
            if Some(erasure.at.epoch) == epoch {
                newest = newest.max(erasure.at.seq);
                inner.add(erasure);
            }
        }
        self.newest.store(newest, Release);
    }

    /// From now on nothing of it is imported for these channels.
    pub fn refuse(&self, told: &[(Box<str>, Vector)]) {
        let mut inner = self.inner.write();
        for (channel, vector) in told {
            let across = inner.across.entry(channel.clone()).or_default();
            across.vector.merge(vector);
        }
    }

    /// Whether an event that comes from another host is erased as far as it is this channel's.
    pub fn refuses(&self, channel: &str, origin: OriginId, position: u64) -> bool {
        let inner = self.inner.read();
        let across = inner.across.get(channel);
        across.is_some_and(|across| across.vector.get(origin) >= Some(position))
    }

    /// Whether all of it is known to be erased.
    pub fn knows(&self, channel: &str, vector: &Vector) -> bool {
        let inner = self.inner.read();
        let across = inner.across.get(channel);
        across.is_some_and(|across| across.until > 0 && across.vector.covers(vector))
    }

    /// What is erased on all hosts.
    pub fn all_across(&self) -> Vec<(Box<str>, Vector)> {
        let inner = self.inner.read();
        let all = inner.across.iter();
        all.map(|(name, across)| (name.clone(), across.vector.clone()))
            .collect()
    }

    /// Whether the event at `seq` is erased as far as it is this channel's.
    pub fn hides(&self, channel: &str, seq: u64) -> bool {
        if !self.concerns(seq) {
            return false;
        }
        let inner = self.inner.read();
        let is_here = inner.channels.get(channel).is_some_and(|last| seq <= *last);
        is_here
            || inner.across.get(channel).is_some_and(|across| {
                // Without the others nobody knows whose it is: rather too much than what was erased.
                let covers = |origins: &Arc<Origins>| origins.is_covered(seq, &across.vector);
                seq <= across.until && self.origins.get().is_none_or(covers)
            })
    }

    /// Whether any channel has erased events at `seq` or later.
    pub fn concerns(&self, seq: u64) -> bool {
        seq <= self.newest.load(Acquire)
    }

    /// The last position of this channel up to which everything is erased; 0 if nothing is.
    pub fn up_to(&self, channel: &str) -> u64 {
        if self.newest.load(Acquire) == 0 {
            return 0;
        }
        let inner = self.inner.read();
        inner.channels.get(channel).copied().unwrap_or(0)
    }

    /// Channels.
    pub fn len(&self) -> usize {
        let inner = self.inner.read();
        let others = inner.across.keys();
        let others = others.filter(|name| !inner.channels.contains_key(*name));
        inner.channels.len() + others.count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What there would be with these besides, without those that end before `oldest`. None: they are of another ring.
    pub fn with(&self, more: Vec<Erasure>, oldest: u64) -> Option<Vec<Erasure>> {
        let inner = self.inner.read();
        let epoch = inner.epoch?;
        let channels = inner.channels.iter().filter(|(_, last)| **last >= oldest);
        let across = inner.across.iter();
        let across = across.filter(|(_, across)| across.until >= oldest);
        let mut all = Inner {
            epoch: inner.epoch,
            channels: channels.map(|(name, last)| (name.clone(), *last)).collect(),
            across: across
                .map(|(name, across)| (name.clone(), across.clone()))
                .collect(),
        };
        for erasure in more {
            if erasure.at.epoch != epoch {
                return None;
            }
            all.add(erasure);
        }
        let cursor = |seq| Cursor { epoch, seq };
        let here = all.channels.into_iter();
        let here = here.map(|(name, last)| Erasure::here(&name, cursor(last)));
        let across = all.across.into_iter();
        let across = across.map(|(name, of)| Erasure::across(&name, cursor(of.until), of.vector));
        Some(here.chain(across).collect())
    }
}

impl Inner {
    fn add(&mut self, erasure: Erasure) {
        let seq = erasure.at.seq;
        match erasure.vector {
            None => {
                let last = self.channels.entry(erasure.channel).or_default();
                *last = seq.max(*last);
            }
            Some(vector) => {
                let across = self.across.entry(erasure.channel).or_default();
                across.vector.merge(&vector);
                across.until = seq.max(across.until);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::testing::{EPOCH, cursor};

    use super::*;

    fn here(channel: &str, seq: u64) -> Vec<Erasure> {
        vec![Erasure::here(channel, cursor(seq))]
    }

    #[test]
    fn a_channel_is_hidden_up_to_a_position_of_its_ring() {
        let erased = Erased::default();
        assert!(erased.with(here("a", 7), 0).is_none(), "no ring yet");
        erased.restart(EPOCH);
        assert!(!erased.hides("a", 1));
        let all = erased.with(here("a", 7), 0).unwrap();
        erased.set(all);
        assert!(erased.hides("a", 1) && erased.hides("a", 7) && !erased.hides("a", 8));
        assert!(!erased.hides("b", 1) && erased.concerns(7) && !erased.concerns(8));
        let all = erased.with(here("b", 9), 0).unwrap();
        assert_eq!(all.len(), 2);
        erased.set(all);
        // It never goes back, and what the ring no longer holds needs no entry.
        let all = erased.with(here("b", 8), 8).unwrap();
        assert_eq!(all, here("b", 9));
        let other = Epoch([0; 6]);
        erased.restart(other);
        erased.set(all);
        assert!(!erased.hides("b", 1) && erased.is_empty());
        assert!(erased.with(here("b", 9), 0).is_none());
    }

    #[test]
    fn across_hosts_what_a_vector_has_is_hidden_and_not_imported() {
        let other = Epoch([9; 6]);
        let origins = Arc::new(Origins::new(EPOCH, 0, 1, 100));
        assert!(origins.import().meet(other.into(), 0, 0));
        origins.own_event(1);
        assert!(origins.import().event(other.into(), 5, cursor(2)));
        origins.own_event(3);
        assert!(origins.import().event(other.into(), 6, cursor(4)));
        let erased = Erased::default();
        erased.among(origins);
        erased.restart(EPOCH);
        let vector = |own, theirs| -> Vector {
            [(EPOCH.into(), own), (other.into(), theirs)]
                .into_iter()
                .collect()
        };
        let told = [("a".into(), vector(1, 8))];
        erased.refuse(&told);
        assert!(erased.refuses("a", other.into(), 8) && !erased.refuses("a", other.into(), 9));
        assert!(!erased.refuses("b", other.into(), 8));
        assert!(
            !erased.hides("a", 1) && !erased.knows("a", &vector(1, 8)),
            "not yet"
        );
        let [(_, of)] = told;
        let all = erased.with(vec![Erasure::across("a", cursor(4), of)], 0);
        erased.set(all.unwrap());
        let hidden: Vec<u64> = (0..6).filter(|seq| erased.hides("a", *seq)).collect();
        assert_eq!(hidden, [1, 2, 4]);
        assert!(erased.knows("a", &vector(1, 8)) && !erased.knows("a", &vector(1, 9)));
        assert_eq!((erased.len(), erased.up_to("a")), (1, 0));
        assert_eq!(erased.with(vec![], 5), Some(vec![]));
    }
}
