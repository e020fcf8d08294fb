//! What really happened: each event that was published, by the place it has in its origin's ring.

use std::collections::BTreeMap;

use shared::event::{Event, EventRef};
use shared::vector::{OriginId, Vector};

/// What an event was published with, and what tells it from all others.
pub type Serial = u64;

pub struct Published {
    pub serial: Serial,
    /// What its node had imported before.
    pub after: Vector,
    /// Nobody has to get it any more.
    pub erased: bool,
}

pub struct Origin {
    pub start: u64,
    pub events: BTreeMap<u64, Published>,
}

#[derive(Default)]
pub struct Truth {
    pub origins: BTreeMap<OriginId, Origin>,
    pub serials: Serial,
}

impl Truth {
    pub fn start(&self, origin: OriginId) -> u64 {
        self.origins[&origin].start
    }

    /// Positions of events in (from, to].
    pub fn events(&self, origin: OriginId, from: u64, to: u64) -> impl Iterator<Item = u64> + '_ {
        let range = from + 1..to.max(from) + 1;
        self.origins[&origin]
            .events
            .range(range)
            .filter(|(_, published)| !published.erased)
            .map(|(position, _)| *position)
    }

    pub fn serial(&self, origin: OriginId, position: u64) -> Option<Serial> {
        let events = &self.origins.get(&origin)?.events;
        events.get(&position).map(|published| published.serial)
    }
}

pub fn event_of(serial: Serial) -> Event {
    let data = serial.to_string();
    let source = EventRef {
        channels: &[b"c"],
        data: data.as_bytes(),
        ..EventRef::default()
    };
    source.to_event(serial).expect("a good event")
}

pub fn serial_of(event: &Event) -> Serial {
    event.data_str().parse().expect("a serial")
}
