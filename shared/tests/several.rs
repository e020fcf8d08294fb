//! Several events published together: askrd is woken once for all, or as often as an eighth of the ring was filled.

mod common;

use common::*;
use shared::keeper::Keeper;
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::segment::now_ns;
use shared::wake::DAEMON;

/// How often the reader, which sleeps for as long as `publish` takes, is woken.
fn wakes(keeper: &Keeper, publish: impl FnOnce()) -> u64 {
    let ring = keeper.current().ring();
    ring.word(W_HEARTBEAT).store(now_ns(), Relaxed);
    ring.word(W_SLEEPERS).store(DAEMON, SeqCst);
    let before = ring.word(W_GEN).load(SeqCst);
    publish();
    ring.word(W_GEN).load(SeqCst) - before
}

#[test]
fn one_wake_is_enough_for_several_events() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    let each = wakes(&keeper, || {
        for _ in 0..7 {
            publisher.publish(&event(b"x")).unwrap();
        }
    });
    assert_eq!(each, 7);
    let together = wakes(&keeper, || {
        for _ in 0..7 {
            publisher.publish_unwoken(&event(b"x")).unwrap();
        }
    });
    assert_eq!(together, 0);
    assert_eq!(wakes(&keeper, || publisher.wake()), 1);
    assert_eq!(events(&drain(&mut keeper)).len(), 14);
}

/// The small ring has 64 slots and 64 KiB for large events.
#[test]
fn a_ring_that_fills_up_wakes_askrd_in_between() {
    let home = Home::small();
    let keeper = home.keeper();
    let mut publisher = home.publisher();
    let by_slots = wakes(&keeper, || {
        for _ in 0..31 {
            publisher.publish_unwoken(&event(b"x")).unwrap();
        }
    });
    assert_eq!(by_slots, 3);
    publisher.wake();
    let large = [b'x'; 3000];
    let by_bytes = wakes(&keeper, || {
        for _ in 0..7 {
            publisher.publish_unwoken(&event(&large)).unwrap();
        }
    });
    assert_eq!(by_bytes, 2);
}
