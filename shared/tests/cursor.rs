//! `Publisher::cursor`: what was published before it is at or before it, what is published from then on comes after.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64};

use common::*;
use proptest::prelude::*;
use shared::cursor::Cursor;
use shared::keeper::Next;
use shared::layout::*;
use shared::prim::Ordering::*;

/// When a call began and when it returned, in steps of one counter that all threads share.
#[derive(Clone, Copy)]
struct Call {
    began: u64,
    returned: u64,
    at: Cursor,
}

/// Publishers and pages at work while askrd reads, ends, starts again and changes the ring's sizes.
fn history(publishers: usize, pages: usize, restarts: u32) -> (Vec<Call>, Vec<Call>, Vec<u64>) {
    let mut home = Home::small();
    home.spec.slots = 1024;
    let time = AtomicU64::new(1);
    let stop = AtomicBool::new(false);
    let mut firsts = Vec::new();
    let mut keeper = home.keeper();
    let (published, cursors) = std::thread::scope(|scope| {
        let work = |publish: bool| {
            let mut publisher = home.publisher();
            let (time, stop) = (&time, &stop);
            scope.spawn(move || {
                let mut calls = Vec::new();
                for n in 0..20_000 {
                    if n >= 500 && stop.load(Relaxed) {
                        break;
                    }
                    let began = time.fetch_add(1, SeqCst);
                    let at = if publish {
                        publisher.publish(&event(b"x")).ok()
                    } else {
                        publisher.cursor().ok()
                    };
                    let returned = time.fetch_add(1, SeqCst);
                    calls.extend(at.map(|at| Call {
                        began,
                        returned,
                        at,
                    }));
                }
                calls
            })
        };
        let publishing: Vec<_> = (0..publishers).map(|_| work(true)).collect();
        let asking: Vec<_> = (0..pages).map(|_| work(false)).collect();
        for n in 0..restarts {
            let until = time.load(SeqCst) + 2_000;
            let mut killed = 0;
            while time.load(SeqCst) < until && !asking.iter().all(|page| page.is_finished()) {
                if matches!(keeper.step(), Next::Empty) && killed < 5 {
                    // As a publisher leaves it that is killed between its claim and its commit.
                    killed += 1;
                    keeper.current().ring().tail().fetch_add(1, Relaxed);
                }
            }
            drop(keeper);
            let mut spec = home.spec.clone();
            spec.slots = if n % 2 == 0 { 2048 } else { 1024 };
            keeper = shared::keeper::Keeper::start(spec).unwrap();
            firsts.push(keeper.current().first());
        }
        stop.store(true, Relaxed);
        let joined = |threads: Vec<std::thread::ScopedJoinHandle<'_, Vec<Call>>>| -> Vec<Call> {
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        };
        (joined(publishing), joined(asking))
    });
    (published, cursors, firsts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missed_between_a_page_and_its_stream(
        publishers in 1usize..4,
        pages in 1usize..3,
        restarts in 0u32..4,
    ) {
        let (mut published, cursors, firsts) = history(publishers, pages, restarts);
        prop_assert!(!published.is_empty() && !cursors.is_empty());
        // By the end of the call: for each cursor, the newest event that was there before.
        published.sort_by_key(|call| call.returned);
        let mut newest = 0;
        let newest_before: Vec<(u64, u64)> = published
            .iter()
            .map(|call| { newest = newest.max(call.at.seq); (call.returned, newest) })
            .collect();
        let mut begun = published.clone();
        begun.sort_by_key(|call| call.began);
        // By the begin: the oldest of all that began later.
        let mut oldest = u64::MAX;
        let mut oldest_after: Vec<(u64, u64)> = begun
            .iter()
            .rev()
            .map(|call| { oldest = oldest.min(call.at.seq); (call.began, oldest) })
            .collect();
        oldest_after.reverse();
        for cursor in cursors {
            prop_assert_eq!(cursor.at.epoch, published[0].at.epoch);
            let later = oldest_after.partition_point(|(began, _)| *began < cursor.returned);
            if let Some((_, seq)) = oldest_after.get(later) {
                prop_assert!(*seq > cursor.at.seq, "missed: {seq} after {}", cursor.at);
            }
            let earlier = newest_before.partition_point(|(returned, _)| *returned < cursor.began);
            if let Some((_, seq)) = earlier.checked_sub(1).and_then(|n| newest_before.get(n)) {
                // While a ring is replaced, and only then, a cursor may be earlier than need be.
                let replaced = firsts.iter().any(|first| (cursor.at.seq + 1..=*seq).contains(first));
                prop_assert!(*seq <= cursor.at.seq || replaced, "{seq} before {}", cursor.at);
            }
        }
    }
}

#[test]
fn while_a_replaced_ring_is_open_a_new_one_tells_where_that_ended() {
    let mut home = Home::small();
    let mut before = home.publisher();
    let mut keeper = home.keeper();
    let last = before.publish(&event(b"before")).unwrap();
    let old = keeper.current().clone();
    home.spec.slots = 128;
    drop(keeper);
    keeper = home.keeper();
    // As if askrd had been killed between giving the new ring the name and closing the old one.
    let tail = old.ring().tail();
    tail.store(old.head(), SeqCst);
    old.ring().word(W_CLOSED_AT).store(0, SeqCst);
    let new = keeper.current().clone();
    new.ring().word(W_FLOOR).store(old.head(), SeqCst);
    drop(keeper);
    let early = home.publisher().publish(&event(b"in the new one")).unwrap();
    let cursor = home.publisher().cursor().unwrap();
    let late = before.publish(&event(b"in the old one")).unwrap();
    assert_eq!(cursor, last);
    assert!(late.seq > cursor.seq && early.seq > late.seq);
    // The next askrd closes it.
    let mut keeper = home.keeper();
    let found = drain(&mut keeper);
    assert_eq!(
        texts(&found),
        ["before", "in the old one", "in the new one"]
    );
    assert_eq!(home.publisher().cursor().unwrap(), early);
    assert!(!found.iter().any(|next| matches!(next, Next::Lapped { .. })));
}

#[test]
fn a_cursor_needs_no_askrd_and_follows_to_the_next_ring() {
    let mut home = Home::small();
    let mut publisher = home.publisher();
    let error = publisher.cursor().unwrap_err();
    assert!(error.message.contains("is askrd running?"), "{error}");
    drop(home.keeper());
    let first = publisher.cursor().unwrap();
    assert_eq!(
        publisher.publish(&event(b"one")).unwrap().seq,
        first.seq + 1
    );
    assert_eq!(publisher.cursor().unwrap().seq, first.seq + 1);
    home.spec.slots = 128;
    let keeper = home.keeper();
    let next = publisher.cursor().unwrap();
    assert_eq!(next.seq, keeper.current().first() - 1);
}
