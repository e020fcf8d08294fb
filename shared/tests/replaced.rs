//! The memory of a ring that was replaced is given back as soon as nobody needs it, whoever has the file open, and
//! nothing that still counts goes with it.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use common::*;
use shared::fetch::Fetch;
use shared::keeper::{Keeper, Next};
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::publisher::Publisher;
use shared::segment::Segment;
use shared::spec::RingSpec;

/// Of what is there besides slots and arena, and of what shares a page with something that counts.
const REST: u64 = 64 << 10;

/// 4,096 slots of 512 bytes, an arena of 4 MiB.
fn large() -> RingSpec {
    RingSpec {
        slots: 4096,
        slot_size: 512,
        arena: 4 << 20,
        writers: 16,
        ..RingSpec::default()
    }
}

/// The same with another arena, so that the ring is replaced.
fn other(home: &Home, arena: u64) -> RingSpec {
    RingSpec {
        arena,
        ..home.spec.clone()
    }
}

fn retired(home: &Home) -> Vec<PathBuf> {
    let files = home.files().into_iter();
    let old = files.filter(|name| name.starts_with("ring.old-"));
    old.map(|name| home.dir.path().join(name)).collect()
}

fn bytes(path: &PathBuf) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn publish(publisher: &mut Publisher, count: usize, len: usize) -> Vec<u64> {
    let data = vec![b'x'; len];
    let one = |_| publisher.publish(&event(&data)).unwrap().seq;
    (0..count).map(one).collect()
}

/// Has the keeper read what there is, and do what it does now and then, until it is so.
fn until(keeper: &mut Keeper, is: impl Fn(&Keeper) -> bool) {
    while !is(keeper) {
        drain(keeper);
        keeper.wait(Duration::from_millis(300));
    }
}

fn is_event(keeper: &Keeper, seq: u64) -> bool {
    let segments = keeper.segments();
    let segment = segments.iter().rev().find(|one| one.first() <= seq);
    matches!(segment.unwrap().read(seq), Fetch::Event(_))
}

#[test]
fn of_a_ring_with_a_few_events_little_more_than_these_is_kept() {
    let home = Home::new(large());
    let mut publisher = home.publisher();
    let mut keeper = home.keeper();
    let mut events = publish(&mut publisher, 3, 100);
    events.extend(publish(&mut publisher, 1, 100_000));
    drain(&mut keeper);
    drop(keeper);

    let mut keeper = Keeper::start(other(&home, 2 << 20)).unwrap();
    let whole = bytes(&retired(&home)[0]);
    assert!(whole > 6 << 20, "{whole}");
    until(&mut keeper, |keeper| keeper.retired_bytes() < whole);
    let kept = bytes(&retired(&home)[0]);
    assert_eq!(kept, keeper.retired_bytes());
    assert!(kept < 100_000 + REST, "{kept}");
    assert!(events.iter().all(|seq| is_event(&keeper, *seq)));
    // The publisher has the old one open, and moves over.
    events.extend(publish(&mut publisher, 2, 100_000));
    drop(keeper);

    // Once more: two are kept, and both are small.
    let mut keeper = Keeper::start(other(&home, 1 << 20)).unwrap();
    let small = |keeper: &Keeper| keeper.retired_bytes() < 3 * 100_000 + 2 * REST;
    until(&mut keeper, small);
    assert_eq!(retired(&home).len(), 2);
    assert!(events.iter().all(|seq| is_event(&keeper, *seq)));
    drop(keeper);
    // And who starts the next time reads all of them again.
    let mut keeper = Keeper::start(other(&home, 1 << 20)).unwrap();
    let again: Vec<u64> = common::events(&drain(&mut keeper))
        .iter()
        .map(|(seq, _)| *seq)
        .collect();
    assert_eq!(again, events);
}

#[test]
fn what_newer_events_have_taken_the_place_of_is_given_back_step_by_step() {
    let home = Home::new(large());
    let mut publisher = home.publisher();
    let mut keeper = home.keeper();
    // Two laps, so that no slot is unused, and a body in the arena for each.
    let old = publish(&mut publisher, 2 * 4096, 700);
    drain(&mut keeper);
    drop(keeper);
    let mut keeper = Keeper::start(other(&home, 8 << 20)).unwrap();
    until(&mut keeper, |keeper| keeper.retired_bytes() > 0);
    drain(&mut keeper);
    let mut kept = keeper.retired_bytes();
    let half = old[old.len() - 2048];
    let mut new = Vec::new();
    for _ in 0..8 {
        new.extend(publish(&mut publisher, 256, 700));
        until(&mut keeper, |keeper| keeper.retired_bytes() < kept);
        kept = keeper.retired_bytes();
    }
    // As many as the ring holds: half of them new, half of them old.
    assert!(
        old.iter()
            .filter(|seq| **seq >= half)
            .all(|seq| is_event(&keeper, *seq))
    );
    assert!(!is_event(&keeper, half - 1));
    assert_eq!(keeper.segments()[0].oldest(), half);
    let gone = keeper.segments()[0].read(half - 1);
    assert_eq!(
        gone,
        Fetch::Overwritten,
        "lost, and not a place where nothing was"
    );
    assert!(kept < (2048 * (512 + 1024)) + REST, "{kept}");
    drop(keeper);

    // A daemon that starts now begins where something is held.
    let mut keeper = Keeper::start(other(&home, 8 << 20)).unwrap();
    assert_eq!(keeper.position(), half);
    let read = common::events(&drain(&mut keeper));
    let expected = old.iter().filter(|seq| **seq >= half).chain(&new);
    assert!(read.iter().map(|(seq, _)| seq).eq(expected));
    publish(&mut publisher, 2048, 10);
    until(&mut keeper, |keeper| keeper.segments().len() == 1);
    assert_eq!(keeper.retired_bytes(), 0);
    assert_eq!(home.files(), ["ring", "ring.lock"]);
}

#[test]
fn a_publisher_that_has_a_replaced_ring_open_keeps_no_memory() {
    let home = Home::new(large());
    let (mut idle, mut busy) = (home.publisher(), home.publisher());
    let mut keeper = home.keeper();
    publish(&mut idle, 4096, 700);
    drain(&mut keeper);
    // Its file, whatever becomes of the name; the publisher has it mapped.
    let file = File::open(home.path()).unwrap();
    drop(keeper);
    let mut keeper = Keeper::start(other(&home, 2 << 20)).unwrap();
    publish(&mut busy, 4096, 10);
    until(&mut keeper, |keeper| keeper.segments().len() == 1);
    let meta = file.metadata().unwrap();
    assert_eq!(meta.nlink(), 0);
    assert!(meta.blocks() * 512 <= PAGE as u64, "{}", meta.blocks());
    // It finds out when it publishes again, and nothing is lost.
    let seq = idle.publish(&event(b"after it")).unwrap().seq;
    let read = common::events(&drain(&mut keeper));
    assert_eq!(read.last().unwrap().0, seq);
    // The same where the ring was not to be trusted.
    let file = File::open(home.path()).unwrap();
    keeper.current().ring().tail().store(1, Release);
    until(&mut keeper, |keeper| keeper.distrusts() == 1);
    assert!(file.metadata().unwrap().blocks() * 512 <= PAGE as u64);
    idle.publish(&event(b"after that, too")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["after that, too"]);
}

/// Fills a ring, replaces it, and has half of the old one given back. Returns the sizes of the new one, the file of the
/// old one as it was before, and the first position that is held.
fn half_given_back(home: &Home) -> (RingSpec, Vec<u8>, u64) {
    let mut publisher = home.publisher();
    let mut keeper = home.keeper();
    let old = publish(&mut publisher, 2 * 4096, 100);
    drain(&mut keeper);
    drop(keeper);
    let spec = other(home, 2 << 20);
    let mut keeper = Keeper::start(spec.clone()).unwrap();
    let before = fs::read(&retired(home)[0]).unwrap();
    publish(&mut publisher, 2048, 100);
    let half = old[2 * 4096 - 2048];
    until(&mut keeper, |keeper| keeper.segments()[0].oldest() == half);
    (spec, before, half)
}

#[test]
fn a_daemon_that_is_killed_while_it_gives_back_leaves_nothing_that_is_read_wrongly() {
    let home = Home::new(large());
    let (spec, before, half) = half_given_back(&home);
    let path = retired(&home).remove(0);
    let epoch = Keeper::start(spec.clone()).unwrap().current().epoch();
    // After the mark, before the memory: it is all there, and not read.
    let mut marked = before.clone();
    let floor = W_FLOOR * 8..W_FLOOR * 8 + 8;
    marked[floor.clone()].copy_from_slice(&half.to_le_bytes());
    fs::write(&path, &marked).unwrap();
    let mut keeper = Keeper::start(spec.clone()).unwrap();
    assert_eq!((keeper.position(), keeper.current().epoch()), (half, epoch));
    assert_eq!(common::events(&drain(&mut keeper)).len(), 2048 + 2048);
    drop(keeper);
    // In the middle of it, as of each page: what is held is whole.
    let mut keeper = Keeper::start(spec.clone()).unwrap();
    assert_eq!(common::events(&drain(&mut keeper)).len(), 2048 + 2048);
    drop(keeper);
    // After all of it was given up, before the file was removed.
    let segment = Segment::open(&path, |_| true).unwrap();
    let (head, len) = (segment.head(), segment.geometry().total_len());
    drop(segment);
    let mut hollow = before[..HEADER_LEN].to_vec();
    hollow[floor].copy_from_slice(&head.to_le_bytes());
    hollow.resize(len, 0);
    fs::write(&path, &hollow).unwrap();
    let mut keeper = Keeper::start(spec).unwrap();
    assert_eq!(keeper.current().epoch(), epoch);
    let read = drain(&mut keeper);
    assert_eq!(common::events(&read).len(), 2048);
    assert!(
        !read
            .iter()
            .any(|next| matches!(next, Next::Unreadable { .. }))
    );
}

#[test]
fn a_mark_that_somebody_forged_costs_history_and_nothing_else() {
    for forged in [u64::MAX, 1 << 63, 1] {
        let home = Home::new(large());
        let (spec, ..) = half_given_back(&home);
        let segment = Segment::open(&retired(&home)[0], |_| true).unwrap();
        segment.ring().word(W_FLOOR).store(forged, Release);
        drop(segment);
        let mut keeper = Keeper::start(spec).unwrap();
        let read = common::events(&drain(&mut keeper)).len();
        assert!((2048..=2048 + 4096).contains(&read), "{read}");
        publish(&mut home.publisher(), 1, 10);
        assert_eq!(common::events(&drain(&mut keeper)).len(), 1);
    }
}
