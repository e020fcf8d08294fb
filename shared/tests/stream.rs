//! Publishing and reading one ring: order, bounds, stopped and dead publishers, loss.

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::*;
use shared::event::MAX_HEAD;
use shared::fetch::Fetch;
use shared::keeper::Next;
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::publisher::Failure;
use shared::spec::RingSpec;
use shared::stamp::{Stamp, State};

#[test]
fn events_arrive_whole_and_in_order_whatever_their_size() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    // Around the inline limit (88 bytes with an 8-byte head), around a cell, up to the largest.
    let sizes = [0, 1, 7, 8, 79, 80, 81, 1015, 1016, 1017, 3000, 4096];
    let bodies: Vec<String> = sizes
        .map(|n| "é".repeat(n / 2) + &"x".repeat(n % 2))
        .to_vec();
    for body in &bodies {
        publisher.publish(&event(body.as_bytes())).unwrap();
    }
    let found = drain(&mut keeper);
    assert_eq!(texts(&found), bodies);
    let positions: Vec<u64> = events(&found).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(
        positions,
        (64..64 + bodies.len() as u64).collect::<Vec<_>>()
    );
}

#[test]
fn a_payload_over_the_limit_is_refused_with_the_limit() {
    let home = Home::small();
    let keeper = home.keeper();
    let mut publisher = home.publisher();
    assert_eq!(publisher.max_payload(), Some(4096));
    let error = publisher.publish(&event(&[b'x'; 4097])).unwrap_err();
    assert_eq!(error.failure, Failure::TooLarge);
    assert!(
        error
            .message
            .contains("up to 4096 bytes, this one has 4097"),
        "{error}"
    );
    assert_eq!(keeper.current().head(), 64, "nothing was claimed");
    assert!(publisher.publish(&event(&[b'x'; 4096])).is_ok());
}

#[test]
fn a_reader_that_is_lapped_knows_how_many_positions_it_lost() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    for n in 0..1000 {
        publisher.publish(&event(n.to_string().as_bytes())).unwrap();
    }
    let found = drain(&mut keeper);
    let kept = texts(&found);
    assert_eq!(lost(&found) + kept.len() as u64, 1000);
    assert_eq!(
        kept,
        (1000 - kept.len()..1000)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
    );
    assert!(
        kept.len() >= 62,
        "nearly a whole lap is still there: {}",
        kept.len()
    );
}

/// A publisher stopped between claim and commit holds nobody up, and its late store damages nothing.
#[test]
fn a_stopped_publisher_is_passed_and_its_memory_stays_its_own() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    let segment = keeper.current().clone();
    let ring = segment.ring();
    // The stopped one: claimed position 64, stamped BUSY, and then nothing.
    let stopped = ring.tail().fetch_add(1, Relaxed);
    ring.slot(stopped)[S_STAMP].store(Stamp::new(1, 9, State::Busy).0, Release);
    for n in 0..200 {
        publisher.publish(&event(n.to_string().as_bytes())).unwrap();
        if n % 20 == 0 {
            drain(&mut keeper);
        }
    }
    // Three laps later the slot still is its writer's, as a hole of the current lap.
    let stamp = Stamp(ring.slot(stopped)[S_STAMP].load(Acquire));
    assert_eq!((stamp.owner(), stamp.state()), (9, State::PinnedHole));
    assert!(stamp.lap() >= 3);
    // It resumes: its commit fails, because the stamp is no longer what it left.
    let busy = Stamp::new(1, 9, State::Busy).0;
    let done = Stamp::new(1, 9, State::Done).0;
    assert!(
        ring.slot(stopped)[S_STAMP]
            .compare_exchange(busy, done, SeqCst, Relaxed)
            .is_err()
    );
}

#[test]
fn a_claim_that_was_never_stamped_becomes_a_hole() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    keeper.current().ring().tail().fetch_add(3, Relaxed);
    publisher.publish(&event(b"after")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["after"]);
    assert_eq!(keeper.current().read(64), Fetch::Hole);
}

#[test]
fn large_events_among_stopped_publishers_do_not_burn_the_history() {
    let home = Home::small();
    let keeper = home.keeper();
    let mut publisher = home.publisher();
    let ring = keeper.current().ring();
    publisher.publish(&event(&[b'k'; 3000])).unwrap();
    // Stopped publishers pin every third cell of the lap ahead: no run of four is left.
    for cell in (ring.word(W_ARENA_TAIL).load(Relaxed)..)
        .take(64)
        .step_by(3)
    {
        ring.cell_stamp(cell)
            .store(Stamp::new(1, 9, State::Busy).0, Release);
    }
    let before = ring.word(W_ARENA_TAIL).load(Relaxed);
    for _ in 0..1000 {
        let error = publisher.publish(&event(&[b'x'; 3500])).unwrap_err();
        assert_eq!(error.failure, Failure::ArenaFull);
    }
    assert_eq!(
        ring.word(W_ARENA_TAIL).load(Relaxed),
        before,
        "a claim without room moves nothing"
    );
    assert!(
        publisher.publish(&event(&[b'x'; 2000])).is_ok(),
        "a run of two is there"
    );
}

#[test]
fn many_publishers_at_once_lose_nothing_unaccounted() {
    let home = Home::new(RingSpec {
        slots: 1024,
        arena: 1 << 20,
        writers: 16,
        ..RingSpec::default()
    });
    let mut keeper = home.keeper();
    const EACH: u64 = 20_000;
    let (mut seen, mut missing) = (HashMap::<u64, u64>::new(), 0);
    let mut received = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4u64)
            .map(|thread| {
                let mut publisher = home.publisher();
                scope.spawn(move || {
                    for n in 0..EACH {
                        let len = (n * 37 % 900) as usize;
                        let text = format!("{thread} {n} {}", "x".repeat(len));
                        publisher.publish(&event(text.as_bytes())).unwrap();
                    }
                })
            })
            .collect();
        loop {
            let finished = threads.iter().all(|thread| thread.is_finished());
            match keeper.step() {
                Next::Event { event, .. } => {
                    let mut parts = event.data_str().split(' ');
                    let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
                    let (thread, n) = (number(), number());
                    assert_eq!(parts.next().unwrap().len() as u64, n * 37 % 900);
                    let last = seen.insert(thread, n);
                    assert!(
                        last.is_none_or(|last| last < n),
                        "{thread}: {n} after {last:?}"
                    );
                    received += 1;
                }
                Next::Lapped { from, to } => missing += to - from,
                Next::Empty if finished && keeper.position() == keeper.current().head() => break,
                Next::Empty => keeper.wait(Duration::from_millis(50)),
                other => panic!("{other:?}"),
            }
        }
    });
    assert!(received > 1000, "{received}");
    assert!(
        received + missing >= 4 * EACH,
        "{received} received, {missing} told as lost"
    );
}

#[test]
fn a_record_with_a_wrong_checksum_or_forged_names_is_reported_and_skipped() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    for text in ["one", "two", "three"] {
        publisher.publish(&event(text.as_bytes())).unwrap();
    }
    let segment = keeper.current().clone();
    segment.ring().slot(65)[S_BODY + 1].fetch_xor(1, Relaxed);
    let found = drain(&mut keeper);
    assert_eq!(texts(&found), ["one", "three"]);
    assert!(
        found
            .iter()
            .any(|next| matches!(next, Next::Unreadable { seq: 65, .. }))
    );
}

#[test]
fn forged_lengths_never_reach_out_of_bounds() {
    let home = Home::small();
    let keeper = home.keeper();
    let mut publisher = home.publisher();
    let segment = keeper.current().clone();
    let ring = segment.ring();
    for (len, run) in [
        (u64::MAX, 0),
        (89, 0),
        (1 << 20, 64),
        (88 | 89 << 32, 0),
        (8, u64::MAX),
    ] {
        let seq = publisher.publish(&event(b"x")).unwrap().seq;
        ring.slot(seq)[S_LEN].store(len, Relaxed);
        ring.slot(seq)[S_ARENA].store(run, Relaxed);
        assert!(
            matches!(segment.read(seq), Fetch::Unreadable(_) | Fetch::Overwritten),
            "len {len:#x} run {run:#x}"
        );
    }
    assert!(MAX_HEAD < u16::MAX as usize);
}

#[test]
fn a_dead_publishers_memory_is_taken_back_on_proof() {
    let home = Home::small();
    let keeper = home.keeper();
    let segment = keeper.current().clone();
    let ring = segment.ring();
    // Died between claim and commit: dirty, pinned, and nobody holds its lock.
    ring.writer(5)[WR_DIRTY].store(1, Relaxed);
    let seq = ring.tail().fetch_add(1, Relaxed);
    ring.slot(seq)[S_STAMP].store(Stamp::new(1, 5, State::Busy).0, Release);
    ring.cell_stamp(64)
        .store(Stamp::new(1, 5, State::Busy).0, Release);
    while keeper.reaped().0 == 0 {
        std::thread::yield_now();
    }
    assert_eq!(ring.writer(5)[WR_DIRTY].load(Acquire), 0);
    assert!(!Stamp(ring.slot(seq)[S_STAMP].load(Acquire)).pinned());
    assert!(!Stamp(ring.cell_stamp(64).load(Acquire)).pinned());
}

#[test]
fn a_live_publisher_is_never_reaped() {
    let home = Home::small();
    let keeper = home.keeper();
    let mut publisher = home.publisher();
    publisher.publish(&event(b"x")).unwrap();
    let segment = keeper.current().clone();
    let ring = segment.ring();
    let owner = (1..16)
        .find(|n| ring.writer(*n)[WR_PUBLISHED].load(Relaxed) > 0)
        .unwrap();
    ring.writer(owner)[WR_DIRTY].store(1, Relaxed);
    // Swept, and found alive.
    while keeper.reaped().1 == 0 {
        std::thread::yield_now();
    }
    assert_eq!(ring.writer(owner)[WR_DIRTY].load(Acquire), 1);
    drop(publisher);
    while ring.writer(owner)[WR_DIRTY].load(Acquire) != 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_full_writer_table_is_a_clear_failure() {
    let home = Home::small();
    let _keeper = home.keeper();
    let mut publishers: Vec<_> = (0..15).map(|_| home.publisher()).collect();
    for publisher in &mut publishers {
        publisher.publish(&event(b"x")).unwrap();
    }
    let mut late = home.publisher();
    let error = late.publish(&event(b"x")).unwrap_err();
    assert_eq!(error.failure, Failure::TableFull);
    assert!(error.message.contains("ring.writers"), "{error}");
    assert_eq!(late.status().failures[Failure::TableFull as usize], 1);
}
