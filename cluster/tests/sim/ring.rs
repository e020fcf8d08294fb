//! A small ring that overwrites its oldest. It outlives the process that reads it.

use std::collections::BTreeMap;

use cluster::recovery::Place;
use cluster::relay::Record;
use shared::cursor::{Cursor, Epoch};

use crate::node::{Held, What};
use crate::truth::{Serial, event_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rec {
    Own(Serial),
    /// As an importer publishes it, or as somebody forges it.
    Imported {
        at: Cursor,
        serial: Serial,
    },
    Gap {
        at: Cursor,
        from: u64,
    },
    Hole,
}

pub struct Ring {
    pub epoch: Epoch,
    pub start: u64,
    pub next: u64,
    pub records: BTreeMap<u64, Rec>,
    capacity: usize,
    /// Positions that no publisher could claim: (from, to].
    jumps: Vec<(u64, u64)>,
}

impl Ring {
    pub fn new(epoch: Epoch, start: u64, capacity: usize) -> Self {
        Self {
            epoch,
            start,
            next: start + 1,
            records: BTreeMap::new(),
            capacity,
            jumps: Vec::new(),
        }
    }

    pub fn publish(&mut self, record: Rec) -> u64 {
        let position = self.next;
        self.next += 1;
        self.records.insert(position, record);
        while self.records.len() > self.capacity {
            self.records.pop_first();
        }
        position
    }

    /// The same epoch, positions that go on later.
    pub fn rotate(&mut self, jump: u64) {
        self.jumps.push((self.next - 1, self.next - 1 + jump));
        self.next += jump;
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The first position that is held.
    pub fn oldest(&self) -> u64 {
        self.records.keys().next().copied().unwrap_or(self.next)
    }

    pub fn holds(&self, position: u64) -> bool {
        matches!(self.records.get(&position), Some(Rec::Own(_)))
    }

    /// What lies there, for who looks for imports.
    pub fn place(&self, position: u64) -> Place {
        match self.records.get(&position) {
            Some(Rec::Imported { at, .. }) => Place::Imported { at: *at, gap: None },
            Some(Rec::Gap { at, from }) => Place::Imported {
                at: *at,
                gap: Some(*from),
            },
            Some(Rec::Own(_)) => Place::Own,
            // What the ring overwrote is not asked for; so it was not there.
            Some(Rec::Hole) | None => Place::Nothing { through: position },
        }
    }

    /// What the relay is told. `mine`: whether this node published the record at that place as an import.
    pub fn read(&self, position: u64, mine: impl Fn(u64) -> bool) -> Record {
        let jump = self
            .jumps
            .iter()
            .find(|(from, to)| (from + 1..=*to).contains(&position));
        if let Some((_, through)) = jump {
            return Record::Nothing { through: *through };
        }
        match self.records.get(&position) {
            None => Record::Lost {
                through: self.oldest() - 1,
            },
            Some(Rec::Own(serial)) => Record::Event(event_of(*serial)),
            Some(Rec::Imported { .. } | Rec::Gap { .. }) if !mine(position) => {
                Record::Lost { through: position }
            }
            Some(_) => Record::Nothing { through: position },
        }
    }

    /// The same of an origin of which this ring has imports.
    pub fn read_import(&self, position: u64, origin: &Held) -> Record {
        if position <= origin.floor {
            let through = origin.floor;
            return Record::Lost { through };
        }
        let next = origin
            .items
            .iter()
            .find(|(_, item)| item.theirs >= position);
        let Some((local, item)) = next else {
            return Record::Nothing { through: u64::MAX };
        };
        match (item.what, self.records.get(local)) {
            (What::Event(_), Some(_)) if item.theirs > position => Record::Nothing {
                through: item.theirs - 1,
            },
            (What::Event(serial), Some(_)) => Record::Event(event_of(serial)),
            _ => Record::Lost {
                through: item.theirs,
            },
        }
    }
}
