//! Any messages about other nodes' facts: refused, or taken within bounds, and what comes of them never contradicts
//! itself. Each line is a notice or a page of one of two nodes, by its first byte.
#![no_main]

use std::collections::HashSet;

use cluster::facts::others::{Effect, Limits, NODES, Others};
use cluster::facts::{Key, Notice, Page};
use libfuzzer_sys::fuzz_target;
use shared::vector::OriginId;

const LIMITS: Limits = Limits {
    per_node: 8,
    facts: 12,
};

fuzz_target!(|data: &[u8]| {
    let mut others = Others::new(LIMITS);
    let mut seen: HashSet<(u8, Key)> = HashSet::new();
    let (mut reading, mut now) = (0, 0);
    for line in data.split(|byte| *byte == b'\n') {
        let Some((what, text)) = line.split_first() else {
            continue;
        };
        let node = OriginId([what & 1; 5]);
        now += u64::from(what >> 4) * 500;
        let effects = match what & 6 {
            0 => others.gone(node, now),
            2 => match serde_json::from_slice::<Page>(text) {
                Ok(page) => others.page(node, reading, page, now),
                Err(_) => continue,
            },
            _ => match serde_json::from_slice::<Notice>(text) {
                Ok(notice) => others.heard(node, notice, now),
                Err(_) => continue,
            },
        };
        for effect in effects {
            match effect {
                Effect::Ask { reading: number, .. } => reading = number,
                Effect::Set { node, key, .. } => {
                    assert!(usize::from(node) < NODES);
                    seen.insert((node, key));
                }
                Effect::Unset { node, key, .. } => assert!(seen.remove(&(node, key))),
            }
        }
        assert_eq!(others.total(), seen.len());
        assert!(seen.len() <= LIMITS.facts);
    }
});
