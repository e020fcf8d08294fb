//! Several events published together: askrd is woken once for all, or as often as an eighth of the ring was filled.

mod common;

use common::*;
use shared::event::EventRef;
use shared::keeper::Keeper;
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::segment::now_ns;
use shared::spec::RingSpec;
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
    publisher.wake();
    // Names fill the arena as well, and each event takes whole cells of 1 KiB.
    let names: Vec<Vec<u8>> = (0..20).map(|n| format!("{n:0>150}").into_bytes()).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let many = EventRef {
        channels: &names,
        ..event(b"")
    };
    let by_names = wakes(&keeper, || {
        for _ in 0..7 {
            publisher.publish_unwoken(&many).unwrap();
        }
    });
    assert!(by_names >= 2, "{by_names}");
    publisher.wake();
    let medium = [b'x'; 100];
    let by_cells = wakes(&keeper, || {
        for _ in 0..7 {
            publisher.publish_unwoken(&event(&medium)).unwrap();
        }
    });
    assert_eq!(by_cells, 0, "seven cells of 64");
}

/// Slots of 64 bytes (24 inline): 1,024 of them, and 16 KiB for all that is longer.
#[test]
fn cells_fill_up_before_slots_and_bytes() {
    let home = Home::new(RingSpec {
        slots: 1024,
        slot_size: 64,
        arena: 16 << 10,
        writers: 16,
        ..RingSpec::default()
    });
    let keeper = home.keeper();
    let mut publisher = home.publisher();
    let woken = wakes(&keeper, || {
        for _ in 0..16 {
            publisher
                .publish_unwoken(&event(b"more than fits a slot"))
                .unwrap();
        }
    });
    assert_eq!(woken, 8, "each second cell of 16");
}
