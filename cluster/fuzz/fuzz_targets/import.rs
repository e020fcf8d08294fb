//! Entries and states of a few origins, in any order, true or not: what an importer lets out joins on, origin by origin,
//! and it keeps within its bounds.
#![no_main]

use std::collections::BTreeMap;

use cluster::entry::{Body, Entry};
use cluster::import::{Import, Importer, Limits};
use cluster::node_state::NodeState;
use cluster::nodes::Times;
use libfuzzer_sys::fuzz_target;
use shared::cursor::Epoch;
use shared::event::{Event, EventRef};
use shared::vector::{OriginId, Vector};

const LIMITS: Limits = Limits {
    held_of_one: 400,
    held: 600,
};
const TIMES: Times = Times {
    lease: 50,
    grace: 50,
    patience: 5,
};

fn event() -> Event {
    let source = EventRef {
        channels: &[b"a"],
        data: b"1",
        ..EventRef::default()
    };
    source.to_event(0).expect("a good event")
}

/// The last byte only: two epochs of one origin.
fn epoch(byte: u8) -> Epoch {
    Epoch([byte % 5, 0, 0, 0, 0, byte / 5 % 2])
}

fuzz_target!(|data: &[u8]| {
    let mut now = 0;
    let mut importer = Importer::new(epoch(0), [], TIMES, LIMITS, now);
    let mut have: BTreeMap<OriginId, u64> = BTreeMap::new();
    for op in data.chunks_exact(6) {
        let &[kind, who, a, b, c, time] = op else {
            unreachable!("chunks of six")
        };
        now += u64::from(time);
        let mut positions = [a, b, c].map(u64::from);
        positions.sort_unstable();
        let [start, previous, position] = positions;
        let mut out = Vec::new();
        let epoch = epoch(who);
        match kind % 8 {
            0..4 => {
                let body = match kind % 8 {
                    0 | 1 => Body::Event(event()),
                    2 => Body::Lost,
                    _ => Body::Nothing,
                };
                let position = position + 1;
                let entry = Entry { epoch, start, previous, position, body };
                importer.entry(now, entry, &mut out);
            }
            4 => importer.end_of_log(now, &mut out),
            5 => {
                let (last, through) = (previous, position);
                let state = NodeState {
                    epoch,
                    name: String::new(),
                    askrd: String::new(),
                    beat: u64::from(kind),
                    start,
                    last,
                    through,
                    have: [(OriginId([c % 5, 0, 0, 0, 0]), u64::from(a))].into_iter().collect(),
                    wants: Vector::default(),
                };
                importer.states(now, [state], &mut out);
            }
            6 => importer.tick(&mut out),
            _ if a == 0 => importer.serves(),
            _ if a < 10 => importer.store_back(now),
            _ if a == 11 => {
                let retired = OriginId::from(epoch);
                importer.retire(retired);
                have.remove(&retired);
            }
            _ => {}
        }
        for import in out {
            match import {
                Import::Met { epoch, base, .. } => {
                    assert_eq!(have.insert(epoch.into(), base), None);
                }
                Import::Event { at, from, .. } | Import::Gap { at, from, .. } => {
                    assert!(from < at.seq);
                    assert_eq!(have.insert(at.epoch.into(), at.seq), Some(from));
                }
                Import::Through { at } => {
                    assert!(have.insert(at.epoch.into(), at.seq).is_some_and(|was| was < at.seq));
                }
                Import::Retired { origin } => assert!(have.remove(&origin).is_some()),
                Import::Own { .. } => {}
            }
        }
        let said: BTreeMap<_, _> = importer.have().iter().collect();
        assert_eq!(said, have);
        let held: Vec<usize> = importer.lags().map(|(_, _, held)| held).collect();
        assert!(held.iter().all(|held| *held <= LIMITS.held_of_one));
        assert!(held.iter().sum::<usize>() <= LIMITS.held);
        assert!(importer.have().covers(&importer.wants(now)));
    }
});
