//! One node: what outlives its process (the ring, the journal) and what does not.

use std::collections::BTreeMap;

use cluster::import::Importer;
use cluster::recovery::{Found, Intent, recover};
use cluster::relay::Relay;
use shared::cursor::{Cursor, Epoch};
use shared::vector::{OriginId, Vector};

use crate::ring::{Rec, Ring};
use crate::truth::Serial;
use crate::world::{Mutant, Stats};

pub struct Node {
    pub ring: Ring,
    pub journal: Journal,
    /// The ring that it had before, as the journal of that one says.
    pub former: Option<cluster::import::Known>,
    pub up: Option<Up>,
    pub down_until: u64,
    /// It is stopped, as by a debugger.
    pub paused_until: u64,
    /// Steps until it crashes.
    pub fuse: Option<u64>,
    /// Which of the stores it reaches.
    pub store: usize,
    /// What was ever published into this ring as imported, where and when: for the checks
    /// alone.
    pub imported: BTreeMap<(OriginId, u64), (u64, u64)>,
    /// What it ever had of each origin in this ring: for the checks alone.
    pub ever: Vector,
}

/// What is written beside the ring.
#[derive(Clone, Debug)]
pub struct Journal {
    pub origins: BTreeMap<OriginId, Known>,
    pub notes: Vec<Note>,
    /// The record, and behind which place it is.
    pub intents: Vec<(Rec, u64)>,
    pub own_seen: u64,
    /// The last id that was read, and of which log.
    pub read: (u64, u64),
}

#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub epoch: Epoch,
    pub start: u64,
    pub base: u64,
    /// What is up to here is not noted one by one.
    pub floor: u64,
    pub have: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Note {
    pub local: u64,
    pub record: Rec,
}

impl Journal {
    pub fn new(start: u64) -> Self {
        Self {
            origins: BTreeMap::new(),
            notes: Vec::new(),
            intents: Vec::new(),
            own_seen: start,
            read: (0, 0),
        }
    }

    /// What was written but not noted is looked for in the ring.
    pub fn resolve(&mut self, ring: &Ring, mutant: Option<Mutant>, stats: &mut Stats) {
        let oldest = ring.oldest();
        let intents = std::mem::take(&mut self.intents);
        let intents = intents.iter().map(|(record, after)| Intent {
            at: import_of(*record).0,
            after: *after,
        });
        for found in recover(intents, oldest..ring.next, |place| ring.place(place)) {
            match found {
                Found::Event { local, .. } | Found::Gap { local, .. } => {
                    stats.recovered += 1;
                    let record = ring.records[&local];
                    self.note(Note { local, record });
                }
                Found::Floor { at } if mutant != Some(Mutant::NoFloor) => {
                    stats.floors += 1;
                    let known = self.origins.get_mut(&at.epoch.into()).expect("it was met");
                    known.floor = known.floor.max(at.seq);
                    known.have = known.have.max(at.seq);
                }
                Found::Floor { .. } => {}
            }
        }
        for note in self.notes.extract_if(.., |note| note.local < oldest) {
            let (at, _) = import_of(note.record);
            let known = self.origins.get_mut(&at.epoch.into()).expect("it was met");
            known.floor = known.floor.max(at.seq);
        }
    }

    pub fn note(&mut self, note: Note) {
        let (at, _) = import_of(note.record);
        let known = self.origins.get_mut(&at.epoch.into()).expect("it was met");
        known.have = known.have.max(at.seq);
        self.notes.push(note);
    }
}

/// The place of an imported record, and what it is.
pub fn import_of(record: Rec) -> (Cursor, What) {
    match record {
        Rec::Imported { at, serial } => (at, What::Event(serial)),
        Rec::Gap { at, from } => (at, What::Gap(from)),
        other => panic!("{other:?} is not imported"),
    }
}

/// The process.
pub struct Up {
    pub importer: Importer,
    pub relay: Relay,
    pub origins: BTreeMap<OriginId, Held>,
    /// Everything up to there went through the tailer.
    pub tailed: u64,
    /// Of which log, and up to which id it was read.
    pub cursor: u64,
    pub replication_id: u64,
    pub connected: bool,
    pub connected_at: u64,
    /// The last beat that it read of each, and for how long it has looked since that was new: for the checks alone.
    pub heard: BTreeMap<OriginId, u64>,
    pub looked: u64,
    pub silence: BTreeMap<OriginId, u64>,
    pub mark: u64,
    pub next_beat: u64,
    pub beat: u64,
    pub started: u64,
    /// Viewers are let in.
    pub serves: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Event(Serial),
    /// What is after this position.
    Gap(u64),
}

#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub theirs: u64,
    pub through: u64,
    pub what: What,
}

/// What the ring holds of one origin, by local position.
pub struct Held {
    pub start: u64,
    /// What is up to here is not listed; nothing follows it up to `floor_through`.
    pub floor: u64,
    pub floor_through: u64,
    pub items: BTreeMap<u64, Item>,
}

impl Held {
    pub fn new(start: u64, floor: u64) -> Self {
        Self {
            start,
            floor,
            floor_through: floor,
            items: BTreeMap::new(),
        }
    }

    pub fn at(&self, local: u64) -> u64 {
        let last = self.items.range(..=local).next_back();
        last.map_or(self.floor_through, |(_, item)| item.through)
    }

    pub fn have(&self) -> u64 {
        self.at(u64::MAX)
    }

    pub fn put(&mut self, local: u64, theirs: u64, what: What) {
        let through = theirs;
        self.items.insert(
            local,
            Item {
                theirs,
                through,
                what,
            },
        );
    }

    pub fn through(&mut self, position: u64) {
        let last = self
            .items
            .last_entry()
            .map(|last| &mut last.into_mut().through);
        let through = last.unwrap_or(&mut self.floor_through);
        *through = position.max(*through);
    }

    /// Whether it is listed, as an event or in a gap.
    pub fn accounts_for(&self, position: u64) -> bool {
        self.items.values().any(|item| match item.what {
            What::Event(_) => item.theirs == position,
            What::Gap(from) => from < position && position <= item.theirs,
        })
    }

    /// The last position of what is no longer in a ring that begins at `oldest`.
    pub fn gone(&self, oldest: u64) -> u64 {
        let last = self.items.range(..oldest).next_back();
        last.map_or(self.floor, |(_, item)| item.theirs)
    }
}

impl Up {
    pub fn vector_at(&self, local: u64) -> Vector {
        let all = self.origins.iter();
        all.map(|(id, held)| (*id, held.at(local))).collect()
    }

    pub fn item(&self, local: u64) -> Option<(OriginId, Item)> {
        let mut all = self.origins.iter();
        all.find_map(|(id, held)| held.items.get(&local).map(|item| (*id, *item)))
    }
}

impl Node {
    pub fn own(&self) -> OriginId {
        self.ring.epoch.into()
    }

    pub fn runs(&self, now: u64) -> bool {
        self.up.is_some() && now >= self.paused_until
    }
}
