//! Words that only a hostile writer makes.

mod common;

use std::time::{Duration, Instant};

use common::*;
use shared::keeper::{Keeper, Next, TICK};
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::spec::RingSpec;
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

#[test]
fn a_false_sleeper_is_forgotten_at_the_next_tick() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let sleepers = |keeper: &Keeper| keeper.current().ring().word(W_SLEEPERS).load(Acquire);
    keeper
        .current()
        .ring()
        .word(W_SLEEPERS)
        .store(0xf0f0, Release);
    // Each would-be sleep ends at a tick, four a second; ten seconds are forty of them.
    let begun = Instant::now();
    while sleepers(&keeper) != 0 && begun.elapsed() < Duration::from_secs(10) {
        keeper.wait(TICK);
    }
    assert_eq!(sleepers(&keeper), 0);
}

/// A ring of 16 slots and 16 writers, all claimed by writers that were stopped before they left a stamp.
#[test]
fn claims_of_stopped_publishers_are_no_forged_tail() {
    let home = Home::new(RingSpec {
        slots: 16,
        writers: 16,
        ..Home::small().spec
    });
    let keeper = home.keeper();
    let mut publisher = home.publisher();
    let ring = keeper.current().ring();
    let first = keeper.current().first();
    for _ in 0..20 {
        publisher.publish(&event(b"a lap and more")).unwrap();
    }
    ring.tail().fetch_add(15, AcqRel);
    let mut tail = Tail::new(first, true);
    let step = tail.step(ring);
    assert!(
        matches!(step, Step::Lapped { from, .. } if from == first),
        "{step:?}"
    );
    // What they claimed becomes holes, and the reader comes to what is published next.
    publisher.publish(&event(b"after")).unwrap();
    let last = loop {
        match tail.step(ring) {
            Step::Event { event, .. } if event.data_str() == "after" => break event,
            Step::Distrust(why) => panic!("{why}"),
            Step::Empty => tail.wait(ring, Duration::from_millis(5)),
            _ => {}
        }
    };
    assert_eq!(last.data_str(), "after");
}
