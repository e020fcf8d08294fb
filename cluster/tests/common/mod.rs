//! Entries and states of made-up origins.
#![allow(dead_code)]

use cluster::entry::{Body, Entry};
use cluster::import::{Import, Importer, Limits};
use cluster::node_state::NodeState;
use cluster::nodes::Times;
use shared::cursor::{Cursor, Epoch};
use shared::event::{Event, EventRef};
use shared::vector::{OriginId, Vector};

pub const TIMES: Times = Times {
    lease: 1_000,
    grace: 1_000,
    patience: 100,
};

pub fn epoch(n: u8) -> Epoch {
    Epoch([n, 0, 0, 0, 0, 0])
}

pub fn id(n: u8) -> OriginId {
    epoch(n).into()
}

pub fn at(n: u8, seq: u64) -> Cursor {
    let epoch = epoch(n);
    Cursor { epoch, seq }
}

pub fn event(data: &str) -> Event {
    let source = EventRef {
        channels: &[b"c"],
        data: data.as_bytes(),
        ..EventRef::default()
    };
    source.to_event(0).unwrap()
}

/// All origins start at 10.
pub fn entry(n: u8, previous: u64, position: u64, body: Body) -> Entry {
    Entry {
        epoch: epoch(n),
        start: 10,
        previous,
        position,
        body,
    }
}

pub fn event_entry(n: u8, previous: u64, position: u64) -> Entry {
    entry(
        n,
        previous,
        position,
        Body::Event(event(&position.to_string())),
    )
}

pub fn state(n: u8, beat: u64, last: u64) -> NodeState {
    NodeState {
        epoch: epoch(n),
        name: String::new(),
        askrd: String::new(),
        beat,
        start: 10,
        last,
        through: last,
        have: Vector::default(),
        wants: Vector::default(),
    }
}

pub fn vector(parts: &[(u8, u64)]) -> Vector {
    parts.iter().map(|(n, at)| (id(*n), *at)).collect()
}

/// Node 0, which has read an empty log to its end.
pub fn running() -> Importer {
    let limits = Limits {
        held_of_one: 400,
        held: 600,
    };
    let mut importer = Importer::new(epoch(0), [], TIMES, limits, 0);
    importer.store_back(0);
    importer.end_of_log(0, &mut Vec::new());
    importer
}

pub fn take(importer: &mut Importer, now: u64, entry: Entry) -> Vec<Import> {
    let mut out = Vec::new();
    importer.entry(now, entry, &mut out);
    out
}

/// Positions of what comes out: events as they are, gaps with where they begin.
pub fn told(out: &[Import]) -> Vec<(&'static str, u64, u64)> {
    let told = |import: &Import| match import {
        Import::Event { at, from, .. } => Some(("event", *from, at.seq)),
        Import::Gap { at, from, .. } => Some(("gap", *from, at.seq)),
        Import::Through { at } => Some(("nothing", 0, at.seq)),
        _ => None,
    };
    out.iter().filter_map(told).collect()
}
