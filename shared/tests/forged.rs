//! Words that only a hostile writer makes.

mod common;

use std::time::{Duration, Instant};

use common::*;
use shared::keeper::Next;
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::stamp::{Stamp, State};
use shared::tail::{Distrust, Step, Tail};

/// Makes the slot at the first position look overwritten, and says that `tail` was reached.
fn forge(home: &Home, tail: u64) -> Step {
    let keeper = home.keeper();
    let ring = keeper.current().ring();
    let first = keeper.current().first();
    let ahead = Stamp::new(ring.slot_lap(first) + 9, 1, State::Done);
    ring.slot(first)[S_STAMP].store(ahead.0, Release);
    ring.tail().store(tail, Release);
    Tail::new(first, true).step(ring)
}

#[test]
fn a_tail_whose_lap_does_not_fit_a_stamp_is_not_believed() {
    // 64 slots: the lap of 2^50 needs 45 bits. A reader that went there would wait for ever for stamps
    // that cannot be made.
    let step = forge(&Home::small(), (1 << 50) + 5);
    assert!(matches!(step, Step::Distrust(Distrust::Jumped)), "{step:?}");
}

#[test]
fn a_slot_ahead_does_not_make_a_forged_tail_a_loss() {
    let step = forge(&Home::small(), 1 << 40);
    assert!(matches!(step, Step::Distrust(Distrust::Jumped)), "{step:?}");
}

#[test]
fn a_publisher_does_not_claim_there_either() {
    let home = Home::small();
    let keeper = home.keeper();
    let mut publisher = home.publisher();
    publisher.publish(&event(b"before")).unwrap();
    let ring = keeper.current().ring();
    let tail = ring.tail().load(Acquire);
    ring.tail().store((1 << 50) + 5, Release);
    publisher.publish(&event(b"lost")).unwrap_err();
    ring.tail().store(tail, Release);
    publisher.publish(&event(b"after")).unwrap();
    // The same for the arena, whose 64 cells' laps end at 2^50 as well.
    ring.word(W_ARENA_TAIL).store((1 << 50) + 5, Release);
    publisher.publish(&event(&[b'x'; 1000])).unwrap_err();
}

#[test]
fn a_ring_that_is_forged_again_at_once_is_not_replaced_at_once() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut replaced = Vec::new();
    while replaced.len() < 3 {
        home.publisher().publish(&event(b"read")).unwrap();
        drain(&mut keeper);
        keeper.current().ring().tail().store(0, Release);
        let before = Instant::now();
        loop {
            match keeper.step() {
                Next::Changed { fresh_epoch, .. } if fresh_epoch => break,
                _ => keeper.wait(Duration::from_millis(50)),
            }
        }
        replaced.push((before, Instant::now()));
    }
    for pair in replaced.windows(2) {
        assert!(
            pair[1].1 - pair[0].0 >= Duration::from_secs(1),
            "{replaced:?}"
        );
    }
}
