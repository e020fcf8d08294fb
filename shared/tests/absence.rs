//! What publishers overwrote while no daemon read is told to the next one, also in the middle.

mod common;

use common::*;
use shared::keeper::{Keeper, Next};
use shared::spec::RingSpec;

#[test]
fn what_was_overwritten_behind_a_retired_ring_is_told() {
    let home = Home::small();
    let mut publisher = home.publisher();
    drop(home.keeper());
    let mut acked = vec![publisher.publish(&event(b"in the first ring")).unwrap().seq];
    let spec = RingSpec {
        slots: 128,
        ..home.spec.clone()
    };
    let mut second = Keeper::start(spec.clone()).unwrap();
    acked.push(publisher.publish(&event(b"in the second")).unwrap().seq);
    assert_eq!(texts(&drain(&mut second)).len(), 2);
    drop(second);
    for _ in 0..300 {
        acked.push(publisher.publish(&event(b"while away")).unwrap().seq);
    }
    // The first ring is still there, so the gap lies behind what is read first.
    let mut third = Keeper::start(spec).unwrap();
    let found = drain(&mut third);
    let told = |position: &u64| {
        found.iter().any(
            |next| matches!(next, Next::Lapped { from, to } if (*from..*to).contains(position)),
        )
    };
    let read: Vec<u64> = events(&found).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(read[0], acked[0]);
    let silent: Vec<_> = acked
        .iter()
        .filter(|at| !read.contains(at) && !told(at))
        .collect();
    assert!(silent.is_empty(), "neither read nor told: {silent:?}");
}
