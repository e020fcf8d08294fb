//! Models of the ring, run by loom on the crate's own code: `make loom`.
//!
//! Each model explores the interleavings of a few threads on the smallest ring in which the thing can
//! happen, and allows exactly the outcomes that its first lines name. `shared/loom/mutants.py` removes
//! one ordering, fence, pin or acknowledgement at a time and expects a model to fail.
#![cfg(loom)]

use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use shared::arena;
use shared::event::{Event, EventRef};
use shared::fetch::{self, Fetch, Look};
use shared::layout::*;
use shared::prim::{AtomicU64, Ordering::*};
use shared::reaper;
use shared::ring::{Ring, Shape};
use shared::stamp::{Stamp, State};
use shared::tail::poison;
use shared::wake;
use shared::writer::{self, Body, Refused};

/// Slots of 64 bytes (24 inline), eight cells of 16 bytes (so the largest body takes two), four writers.
struct Memory {
    words: Vec<AtomicU64>,
    shape: Shape,
}

/// The first position of a ring of two slots.
const FIRST: u64 = 2;

impl Memory {
    /// Two slots: every third event goes round.
    fn small() -> Arc<Self> {
        Self::new(1)
    }

    fn new(slot_bits: u8) -> Arc<Self> {
        let geometry = Geometry {
            slot_bits,
            slot_log2: 6,
            cell_bits: 3,
            cell_log2: 4,
            writer_bits: 2,
        };
        assert!(geometry.valid());
        let words: Vec<_> = (0..geometry.total_len() / 8)
            .map(|_| AtomicU64::new(0))
            .collect();
        words[W_TAIL].store(geometry.slots(), Relaxed);
        words[W_ARENA_TAIL].store(geometry.cells(), Relaxed);
        Arc::new(Self {
            words,
            shape: Shape::new(geometry, 1 << 20),
        })
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.words, &self.shape)
    }
}

/// An event whose data is one byte, eight times: 16 bytes with its head.
fn publish(ring: Ring<'_>, owner: u16, byte: u8) -> Result<u64, Refused> {
    publish_sized(ring, owner, byte, 8)
}

/// 8 + 24 bytes: too large for a slot, two cells.
fn publish_large(ring: Ring<'_>, owner: u16, byte: u8) -> u64 {
    publish_sized(ring, owner, byte, 24).unwrap()
}

fn publish_sized(ring: Ring<'_>, owner: u16, byte: u8, len: usize) -> Result<u64, Refused> {
    publish_by(writer::publish, ring, owner, byte, len)
}

fn publish_by(
    by: fn(Ring<'_>, u16, Body<'_>) -> Result<u64, Refused>,
    ring: Ring<'_>,
    owner: u16,
    byte: u8,
    len: usize,
) -> Result<u64, Refused> {
    let data = vec![byte; len];
    let event = EventRef {
        channels: &[b"a"],
        data: &data,
        ..EventRef::default()
    };
    let mut head = Vec::new();
    event.encode_head(&mut head);
    by(
        ring,
        owner,
        Body {
            head: &head,
            data: &data,
            flags: 0,
            published: 7,
        },
    )
}

/// The event's byte. A torn event, or one that only the checksum unmasks, fails the model.
fn whole(fetched: Fetch) -> Option<u8> {
    match fetched {
        Fetch::Event(event) => Some(byte_of(&event)),
        Fetch::Unreadable(why) => panic!("torn, and found out by the checksum alone: {why}"),
        Fetch::Hole | Fetch::Overwritten | Fetch::Pending => None,
    }
}

fn byte_of(event: &Event) -> u8 {
    let data = event.data();
    assert!(data.iter().all(|byte| *byte == data[0]), "torn: {data:?}");
    data[0]
}

/// Preemptions a model explores: 4 where two threads meet at one word, fewer where they meet at many
/// and the model would take minutes.
fn bounded(preemptions: usize) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder
}

/// The reader gives up a claim while its writer commits. Allowed: the event at the first position, or
/// a hole there and the event at the second. Never twice, never nowhere.
#[test]
fn commit_and_poison_exclude_one_another() {
    bounded(4).check(|| {
        let memory = Memory::small();
        let writer = {
            let memory = memory.clone();
            thread::spawn(move || publish(memory.ring(), 1, b'x').unwrap())
        };
        let ring = memory.ring();
        let claimed = ring.tail().load(Acquire);
        poison(ring, FIRST, claimed);
        let early = whole(fetch::fetch(ring, FIRST));
        // A reader that found a hole has passed it for good.
        let passed = matches!(fetch::look(ring, FIRST, Acquire), Look::Hole);
        let position = writer.join().unwrap();
        assert!(!passed || position != FIRST);
        let late: Vec<_> = (FIRST..ring.tail().load(Acquire))
            .filter_map(|at| whole(fetch::fetch(ring, at)))
            .collect();
        assert_eq!(late, [b'x']);
        assert!(early.is_none() || position == FIRST);
        assert!(position == FIRST || matches!(fetch::look(ring, FIRST, Acquire), Look::Hole));
        // Acknowledged: nothing stays pinned.
        assert!(
            ring.all_stamps()
                .all(|word| !Stamp(word.load(Acquire)).pinned())
        );
    });
}

/// A writer goes round while a reader copies. Allowed: the old event whole, the new one is not seen at
/// the old position, or overwritten.
#[test]
fn a_reader_never_takes_a_mixture() {
    bounded(4).check(|| {
        let memory = Memory::small();
        publish(memory.ring(), 1, b'a').unwrap();
        publish(memory.ring(), 1, b'b').unwrap();
        let writer = {
            let memory = memory.clone();
            thread::spawn(move || publish(memory.ring(), 1, b'c').unwrap())
        };
        let seen = whole(fetch::fetch(memory.ring(), FIRST));
        assert!(matches!(seen, None | Some(b'a')), "{seen:?}");
        assert_eq!(writer.join().unwrap(), FIRST + 2);
        assert_eq!(whole(fetch::fetch(memory.ring(), FIRST + 2)), Some(b'c'));
    });
}

/// The daemon takes an event out while a reader copies it and a writer goes round to its slot. Allowed: the event whole,
/// a hole, or overwritten; the new event is whole, whichever came first, and nothing stays pinned.
#[test]
fn an_event_is_erased_while_it_is_read_and_overwritten() {
    bounded(3).check(|| {
        let memory = Memory::small();
        publish(memory.ring(), 1, b'a').unwrap();
        publish(memory.ring(), 1, b'b').unwrap();
        let writer = {
            let memory = memory.clone();
            thread::spawn(move || publish(memory.ring(), 1, b'c').unwrap())
        };
        let reader = {
            let memory = memory.clone();
            thread::spawn(move || whole(fetch::fetch(memory.ring(), FIRST)))
        };
        let ring = memory.ring();
        let erased = fetch::erase(ring, FIRST);
        let after = fetch::fetch(ring, FIRST);
        if erased {
            assert!(
                matches!(after, Fetch::Hole | Fetch::Overwritten),
                "{after:?}"
            );
        }
        let seen = reader.join().unwrap();
        assert!(matches!(seen, None | Some(b'a')), "{seen:?}");
        let position = writer.join().unwrap();
        assert_eq!(position, FIRST + 2);
        assert_eq!(whole(fetch::fetch(ring, position)), Some(b'c'));
        assert!(
            ring.all_stamps()
                .all(|word| !Stamp(word.load(Acquire)).pinned())
        );
    });
}

/// A page takes the cursor while others publish. Allowed: an event whose call had returned is at or before it; one that
/// is begun afterwards comes after it.
#[test]
fn a_cursor_parts_what_was_published_from_what_comes() {
    bounded(4).check(|| {
        let memory = Memory::small();
        let early = publish(memory.ring(), 1, b'a').unwrap();
        let other = {
            let memory = memory.clone();
            thread::spawn(move || publish(memory.ring(), 2, b'p').unwrap())
        };
        let ring = memory.ring();
        let cursor = ring.tail().load(SeqCst) - 1;
        let late = publish(ring, 1, b'b').unwrap();
        assert!(early <= cursor && late > cursor);
        let between = other.join().unwrap();
        assert!(between != early && between != late);
        assert!(ring.tail().load(SeqCst) > between);
    });
}

/// A writer is slow, the reader passes it, another goes round to the same slot. Allowed: both events
/// are published, each whole, each once; the slot is never written by two at a time.
#[test]
fn a_slow_writer_keeps_its_slot_through_later_laps() {
    bounded(3).check(|| {
        let memory = Memory::small();
        let slow = {
            let memory = memory.clone();
            thread::spawn(move || publish(memory.ring(), 1, b's').unwrap())
        };
        let ring = memory.ring();
        poison(ring, FIRST, ring.tail().load(Acquire));
        let first = publish(ring, 2, b'x').unwrap();
        let second = publish(ring, 2, b'y').unwrap();
        let third = whole(fetch::fetch(ring, second));
        assert!(matches!(third, None | Some(b'y')));
        let slow_at = slow.join().unwrap();
        assert!(first < second && slow_at != first && slow_at != second);
        // What is within the last lap is whole and is what was said to be there.
        let tail = ring.tail().load(Acquire);
        for (at, byte) in [(first, b'x'), (second, b'y'), (slow_at, b's')] {
            let seen = whole(fetch::fetch(ring, at));
            assert!(seen.is_none_or(|seen| seen == byte));
            assert!(seen.is_some() || at + 2 < tail + 1, "{at} of {tail}");
        }
        assert!(
            ring.all_stamps()
                .all(|word| !Stamp(word.load(Acquire)).pinned())
        );
    });
}

/// Two writers take runs of the arena at once, one of them round the end. Allowed: both published
/// whole, in different cells.
#[test]
fn arena_runs_never_overlap() {
    bounded(3).check(|| {
        let memory = Memory::new(3);
        for byte in [b'a', b'b', b'c'] {
            publish_large(memory.ring(), 1, byte);
        }
        let other = {
            let memory = memory.clone();
            thread::spawn(move || publish_large(memory.ring(), 1, b'p'))
        };
        let mine = publish_large(memory.ring(), 2, b'q');
        let theirs = other.join().unwrap();
        let ring = memory.ring();
        assert_eq!(whole(fetch::fetch(ring, mine)), Some(b'q'));
        assert_eq!(whole(fetch::fetch(ring, theirs)), Some(b'p'));
        assert!(
            ring.all_stamps()
                .all(|word| !Stamp(word.load(Acquire)).pinned())
        );
    });
}

/// A reader copies an arena body while a writer takes its cells; the slot itself stays. Allowed: the
/// body whole, or overwritten.
#[test]
fn an_arena_body_is_whole_or_gone() {
    bounded(4).check(|| {
        let memory = Memory::new(3);
        let at = publish_large(memory.ring(), 1, b'a');
        for byte in [b'b', b'c', b'd'] {
            publish_large(memory.ring(), 1, byte);
        }
        let writer = {
            let memory = memory.clone();
            thread::spawn(move || publish_large(memory.ring(), 2, b'e'))
        };
        let seen = whole(fetch::fetch(memory.ring(), at));
        assert!(matches!(seen, None | Some(b'a')), "{seen:?}");
        let last = writer.join().unwrap();
        assert_eq!(whole(fetch::fetch(memory.ring(), last)), Some(b'e'));
        assert!(matches!(
            fetch::fetch(memory.ring(), at),
            Fetch::Overwritten
        ));
    });
}

/// A writer that was away between its claim of cells and its pins comes back a lap later. Allowed: it
/// pins them before the newer writer, which then takes others; or it is told that they are lost, and
/// the newer event stays whole.
#[test]
fn a_late_pin_never_takes_newer_cells() {
    bounded(3).check(|| {
        let memory = Memory::new(3);
        // The late writer claimed the second run of the first lap.
        publish_large(memory.ring(), 2, b'a');
        let run = memory.ring().word(W_ARENA_TAIL).fetch_add(2, Relaxed);
        publish_large(memory.ring(), 2, b'b');
        publish_large(memory.ring(), 2, b'c');
        publish_large(memory.ring(), 2, b'd');
        let late = {
            let memory = memory.clone();
            thread::spawn(move || {
                let ring = memory.ring();
                match arena::pin(ring, 1, run, 2) {
                    Ok(()) => {
                        arena::store(ring, run, &[b'l'; 32], &[]);
                        arena::abandon(ring, 1, run, 2);
                    }
                    Err(taken) => arena::abandon(ring, 1, run, taken),
                }
            })
        };
        let ring = memory.ring();
        let at = publish_large(ring, 2, b'e');
        assert_eq!(whole(fetch::fetch(ring, at)), Some(b'e'));
        late.join().unwrap();
        assert_eq!(whole(fetch::fetch(ring, at)), Some(b'e'));
        assert!(
            ring.all_stamps()
                .all(|word| !Stamp(word.load(Acquire)).pinned())
        );
    });
}

/// The reader goes to sleep while a writer commits. Allowed: the writer sees the sleeper, or the reader
/// sees the commit. A reader that sleeps on never ends, which loom reports.
#[test]
fn no_wake_up_is_lost() {
    bounded(4).check(|| {
        let memory = Memory::small();
        let writer = {
            let memory = memory.clone();
            thread::spawn(move || publish(memory.ring(), 1, b'w').unwrap())
        };
        let ring = memory.ring();
        while matches!(fetch::look(ring, FIRST, SeqCst), Look::Pending(_)) {
            wake::sleep(ring, Duration::MAX, || {
                !matches!(fetch::look(ring, FIRST, SeqCst), Look::Pending(_))
            });
        }
        writer.join().unwrap();
        assert_eq!(ring.word(W_SLEEPERS).load(Relaxed), 0);
    });
}

/// Two events and one wake after both. The reader may take the first alone, or both at once; it never sleeps on.
#[test]
fn no_wake_up_of_several_events_is_lost() {
    bounded(3).check(|| {
        let memory = Memory::small();
        let writer = {
            let memory = memory.clone();
            thread::spawn(move || {
                for byte in [b'1', b'2'] {
                    publish_by(writer::publish_unwoken, memory.ring(), 1, byte, 8).unwrap();
                }
                wake::wake(memory.ring(), 7);
            })
        };
        let ring = memory.ring();
        for at in [FIRST, FIRST + 1] {
            while matches!(fetch::look(ring, at, SeqCst), Look::Pending(_)) {
                wake::sleep(ring, Duration::MAX, || {
                    !matches!(fetch::look(ring, at, SeqCst), Look::Pending(_))
                });
            }
        }
        writer.join().unwrap();
        assert_eq!(ring.word(W_SLEEPERS).load(Relaxed), 0);
    });
}

/// The reaper frees a dead owner's pins while the reader poisons and a live writer comes round.
/// Allowed: the live event is published once and whole; at the end the dead owner pins nothing.
#[test]
fn reaping_meets_readers_and_later_laps() {
    bounded(3).check(|| {
        let memory = Memory::small();
        {
            // Died between claim and commit.
            let ring = memory.ring();
            ring.writer(3)[WR_DIRTY].store(1, Relaxed);
            ring.tail().fetch_add(1, Relaxed);
            ring.slot(FIRST)[S_STAMP].store(Stamp::new(1, 3, State::Busy).0, Release);
        }
        let reaping = {
            let memory = memory.clone();
            thread::spawn(move || reaper::free(memory.ring(), 3))
        };
        let writing = {
            let memory = memory.clone();
            thread::spawn(move || {
                publish(memory.ring(), 1, b'x').unwrap();
                publish(memory.ring(), 1, b'y').unwrap()
            })
        };
        let ring = memory.ring();
        poison(ring, FIRST, FIRST + 1);
        assert!(reaping.join().unwrap());
        let last = writing.join().unwrap();
        assert_eq!(whole(fetch::fetch(ring, last)), Some(b'y'));
        assert!(
            ring.all_stamps()
                .all(|word| !Stamp(word.load(Acquire)).pinned())
        );
        assert_eq!(ring.writer(3)[WR_DIRTY].load(Acquire), 0);
    });
}
