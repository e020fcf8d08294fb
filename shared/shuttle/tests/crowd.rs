//! A crowd on a ring of 16 slots, under random schedules: writers of small and large events that go round
//! more than twice, one writer that died with pins, a reader that gives up open claims at will, a reaper.
//!
//! Shuttle runs one thread at a time and switches at each atomic access; every order is sequentially
//! consistent. So this shows the protocol, the loom models show the orderings.

use std::collections::HashMap;
use std::sync::Arc;

use loom::rand::{Rng, thread_rng};
use loom::thread;
use shared::event::{EventRef, Origin};
use shared::fetch::{self, Fetch};
use shared::layout::*;
use shared::prim::{AtomicU64, Ordering::*};
use shared::reaper;
use shared::ring::{Ring, Shape};
use shared::stamp::{Stamp, State};
use shared::tail::poison;
use shared::writer::{self, Body, Refused};

const WRITERS: u16 = 3;
const EVENTS: u8 = 14;
/// The writer that died: its entry, and where.
const DEAD: u16 = 7;

struct Memory {
    words: Vec<AtomicU64>,
    shape: Shape,
}

impl Memory {
    /// 16 slots of 64 bytes (24 inline), 16 cells of 16 bytes, of which the dead writer pins one each.
    fn new() -> Arc<Self> {
        let geometry = Geometry {
            slot_bits: 4,
            slot_log2: 6,
            cell_bits: 4,
            cell_log2: 4,
            writer_bits: 3,
        };
        assert!(geometry.valid());
        let words: Vec<_> = (0..geometry.total_len() / 8)
            .map(|_| AtomicU64::new(0))
            .collect();
        let memory = Self {
            words,
            shape: Shape::new(geometry, 1 << 20),
        };
        let ring = memory.ring();
        let (slots, cells) = (geometry.slots(), geometry.cells());
        ring.tail().store(slots + 1, Relaxed);
        ring.word(W_ARENA_TAIL).store(cells + 1, Relaxed);
        ring.writer(DEAD)[WR_DIRTY].store(1, Relaxed);
        let busy = Stamp::new(1, DEAD, State::Busy).0;
        ring.slot(slots)[S_STAMP].store(busy, Release);
        ring.cell_stamp(cells).store(busy, Release);
        Arc::new(memory)
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.words, &self.shape)
    }
}

/// Who, and as which of its own: in each byte of the data.
fn publish(ring: Ring<'_>, owner: u16, number: u8) -> Result<u64, Refused> {
    let len = if number % 4 == 3 { 24 } else { 8 };
    let data = vec![(owner as u8) << 4 | number; len];
    let event = EventRef {
        channels: &[b"a"],
        data: &data,
        ..EventRef::default()
    };
    let mut head = Vec::new();
    event.encode_head(&mut head);
    let body = Body {
        head: &head,
        data: &data,
        flags: 0,
        published: 7,
    };
    writer::publish(ring, owner, body)
}

/// What a reader was given, in its order.
#[derive(Default)]
struct Read {
    next: u64,
    events: Vec<(u64, u8)>,
    lost: Vec<u64>,
}

impl Read {
    /// To the tail as it is now. `patience`: how often it looks at an open claim before it gives it up.
    fn on(&mut self, ring: Ring<'_>, patience: impl Fn() -> u32) {
        let mut looks = patience();
        loop {
            let tail = ring.tail().load(Acquire);
            if self.next >= tail {
                return;
            }
            match fetch::fetch(ring, self.next) {
                Fetch::Event(event) => {
                    let data = event.data();
                    assert!(data.iter().all(|byte| *byte == data[0]), "torn: {data:?}");
                    self.events.push((self.next, data[0]));
                }
                Fetch::Unreadable(why) => panic!("found out by the checksum alone: {why}"),
                Fetch::Hole => {}
                Fetch::Overwritten => self.lost.push(self.next),
                Fetch::Pending if looks > 0 => {
                    looks -= 1;
                    thread::yield_now();
                    continue;
                }
                Fetch::Pending => {
                    poison(
                        ring,
                        self.next,
                        tail.min(self.next + ring.geometry().slots()),
                    );
                    continue;
                }
            }
            looks = patience();
            self.next += 1;
        }
    }
}

fn crowd() {
    let memory = Memory::new();
    let done = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (1..=WRITERS)
        .map(|owner| {
            let (memory, done) = (memory.clone(), done.clone());
            thread::spawn(move || {
                let said = |n| (owner as u8) << 4 | n;
                let all = (0..EVENTS).map(|n| (said(n), publish(memory.ring(), owner, n)));
                let all = all.collect::<Vec<_>>();
                done.fetch_add(1, AcqRel);
                all
            })
        })
        .collect();
    let reaping = {
        let memory = memory.clone();
        thread::spawn(move || assert!(reaper::free(memory.ring(), DEAD)))
    };
    let reading = {
        let memory = memory.clone();
        thread::spawn(move || {
            let mut read = Read {
                next: memory.ring().geometry().slots(),
                ..Read::default()
            };
            while done.load(Acquire) < u64::from(WRITERS) {
                read.on(memory.ring(), || thread_rng().gen_range(0..4));
                thread::yield_now();
            }
            read
        })
    };
    let said: Vec<_> = writers
        .into_iter()
        .flat_map(|writer| writer.join().unwrap())
        .collect();
    reaping.join().unwrap();
    let mut read = reading.join().unwrap();
    let ring = memory.ring();
    read.on(ring, || 0);

    // Acknowledged: read once, there, or told to be lost. Refused: never read.
    let mut at: HashMap<u8, u64> = HashMap::new();
    for (position, byte) in &read.events {
        assert_eq!(at.insert(*byte, *position), None, "{byte:#x} twice");
    }
    for (byte, said) in &said {
        match (said, at.get(byte)) {
            (Ok(position), Some(read)) => assert_eq!(position, read),
            (Ok(position), None) => {
                assert!(read.lost.contains(position), "{byte:#x} at {position}");
            }
            (Err(Refused::ArenaPinned), None) => {}
            other => panic!("{byte:#x}: {other:?}"),
        }
    }
    for owner in 1..=WRITERS {
        let all = read.events.iter().map(|(_, byte)| *byte);
        let mine: Vec<u8> = all.filter(|byte| byte >> 4 == owner as u8).collect();
        assert!(mine.is_sorted(), "{mine:?}");
    }
    let pinned = |word: &AtomicU64| Stamp(word.load(Acquire)).pinned();
    assert_eq!(ring.all_stamps().filter(|word| pinned(word)).count(), 0);
    // The last lap's inline events are still there, whole.
    let tail = ring.tail().load(Acquire);
    for (byte, position) in said.iter().filter(|(byte, _)| byte % 4 != 3) {
        if let Ok(position) = position
            && position + ring.geometry().slots() >= tail
        {
            let found = fetch::fetch(ring, *position);
            assert!(
                matches!(&found, Fetch::Event(event) if event.data()[0] == *byte),
                "{byte:#x} at {position} of {tail}: {found:?}"
            );
        }
    }
}

fn schedules() -> usize {
    let asked = std::env::var("SCHEDULES").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

#[test]
fn a_crowd_at_random() {
    loom::check_random(crowd, schedules());
}

/// Few changes of hands, at the worst places: finds what needs one writer to be away for long.
#[test]
fn a_crowd_with_few_changes_of_hands() {
    loom::check_pct(crowd, schedules(), 4);
}
