//! Events that crash askrd. The ring still has such an event after the restart, so askrd would crash again, until
//! the service manager gives up, for all applications. Therefore each thread notes the event it works on where
//! the note survives the process, and an event with which askrd has died twice is skipped: by the tailer, which
//! reports a gap to all streams, and by everything else that reads the ring.
//!
//! ```text
//! NAME.in-flight   beside the first application's ring, mapped:
//!
//! header     magic · whether a part's death has been blamed · on which event, if any
//! suspects   event · deaths with it       (64)
//! slots      event                        (one a thread, on a cache line of its own)
//! ```
//!
//! A note is a store into the mapping, without a system call. It survives any end of the process: a panic, an
//! abort when memory runs out, a stack overflow, SIGKILL, a watchdog's SIGABRT. A panic or an error is blamed on
//! the event of the thread it happened on, if any; after any other end every noted event is a suspect. The file
//! lies beside the ring that its events are in: both are gone after a reboot, and no directory has to be set up.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize, compiler_fence};

use nix::fcntl::posix_fallocate;
use shared::cursor::{Cursor, Epoch};
use shared::map::Map;

use crate::process::logging;
use crate::process::own_file::{self, Others};

/// "askrfly1"
const MAGIC: u64 = u64::from_be_bytes(*b"askrfly1");
const HEADER: usize = 8;
const BLAMED: usize = 1;
const CULPRIT: usize = 2;
const SUSPECTS: usize = 64;
const SUSPECT: usize = 4;
const SLOTS_AT: usize = HEADER + SUSPECTS * SUSPECT;
/// Words of a slot: a cache line, or threads would slow one another down.
const SLOT: usize = 8;
/// Bytes of a file that is read; far more than there are threads.
const MOST: u64 = 1 << 20;
/// Deaths with an event after which it is skipped.
const DEATHS: u64 = 2;

/// Of the file's name, after that of the ring.
pub const SUFFIX: &str = ".in-flight";

static NOTES: OnceLock<Notes> = OnceLock::new();

thread_local! {
    static IN_HAND: Cell<Option<Cursor>> = const { Cell::new(None) };
    /// The thread's place among the slots.
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
}

struct Notes {
    map: Map,
    slots: usize,
    taken: AtomicUsize,
    skipped: HashSet<Cursor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Suspect {
    event: Cursor,
    deaths: u64,
}

/// The event is noted as this thread's until this is dropped.
#[must_use]
pub struct InHand {
    before: Option<Cursor>,
}

/// This thread works on `event` now.
pub fn hold(event: Cursor) -> InHand {
    let before = IN_HAND.replace(Some(event));
    note(Some(event));
    InHand { before }
}

impl Drop for InHand {
    fn drop(&mut self) {
        IN_HAND.set(self.before);
        note(self.before);
    }
}

/// Whether `event` is to be skipped.
pub fn skips(event: Cursor) -> bool {
    let notes = NOTES.get();
    notes.is_some_and(|notes| !notes.skipped.is_empty() && notes.skipped.contains(&event))
}

/// The process ends because of this thread's event, or of none: events of other threads are no suspects.
pub fn blame() {
    if let Some(notes) = NOTES.get() {
        put(&notes.map.words()[CULPRIT..], IN_HAND.get());
        notes.map.words()[BLAMED].store(1, Release);
    }
}

/// The event that this thread works on.
pub fn in_hand() -> Option<Cursor> {
    IN_HAND.get()
}

/// Reads what the former process left at `path`, and notes there from now on, for `threads` threads. Does
/// nothing once it has succeeded.
///
/// # Errors
/// A sentence; then nothing is noted or skipped.
pub fn start(path: &Path, threads: usize) -> Result<(), String> {
    if NOTES.get().is_some() {
        return Ok(());
    }
    let failed = |why: io::Error| {
        format!(
            "{}: events that kill askrd cannot be noted: {why}",
            path.display()
        )
    };
    let words = read(path).map_err(failed)?;
    let (suspects, died) = judge(&words);
    for suspect in &suspects {
        let Suspect { event, deaths } = suspect;
        if *deaths >= DEATHS {
            tracing::error!(
                "askrd died while it worked on the event {event} ({deaths} deaths): it is skipped"
            );
        } else if died.contains(event) {
            tracing::warn!("askrd died while it worked on the event {event} (1 death)");
        }
    }
    if !suspects.is_empty() {
        // The next event may end the process before this is written.
        logging::settle();
    }
    let map = create(path, &suspects, threads).map_err(failed)?;
    let skipped: HashSet<Cursor> = suspects
        .iter()
        .filter(|suspect| suspect.deaths >= DEATHS)
        .map(|suspect| suspect.event)
        .collect();
    let notes = Notes {
        map,
        slots: threads,
        taken: AtomicUsize::new(0),
        skipped,
    };
    let _ = NOTES.set(notes);
    Ok(())
}

fn note(event: Option<Cursor>) {
    let Some(notes) = NOTES.get() else {
        return;
    };
    let place = PLACE.get().unwrap_or_else(|| {
        let place = notes.taken.fetch_add(1, Relaxed);
        PLACE.set(Some(place));
        place
    });
    if place < notes.slots {
        put(&notes.map.words()[SLOTS_AT + place * SLOT..], event);
        // Before the work begins, as far as this thread can see: it is the one that may die.
        compiler_fence(SeqCst);
    }
}

/// Position 0 means none. It is cleared first, so that no mixture of two events is ever read.
fn put(words: &[AtomicU64], event: Option<Cursor>) {
    words[1].store(0, Release);
    if let Some(event) = event {
        words[0].store(epoch_word(event.epoch), Release);
        words[1].store(event.seq, Release);
    }
}

fn epoch_word(epoch: Epoch) -> u64 {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(&epoch.0);
    u64::from_ne_bytes(bytes)
}

fn event(words: &[u64]) -> Option<Cursor> {
    let bytes = words[0].to_ne_bytes();
    let mut epoch = [0; 6];
    epoch.copy_from_slice(&bytes[..6]);
    (words[1] != 0).then_some(Cursor {
        epoch: Epoch(epoch),
        seq: words[1],
    })
}

/// Who is suspected after the former process's end, and of what it may have died just now.
fn judge(words: &[u64]) -> (Vec<Suspect>, Vec<Cursor>) {
    if words.len() < SLOTS_AT || words[0] != MAGIC {
        return (Vec::new(), Vec::new());
    }
    let known = words[HEADER..SLOTS_AT].chunks_exact(SUSPECT);
    let mut suspects: Vec<Suspect> = known
        .filter_map(|words| {
            Some(Suspect {
                event: event(words)?,
                deaths: words[2],
            })
        })
        .collect();
    let mut died: Vec<Cursor> = match words[BLAMED] {
        0 => words[SLOTS_AT..]
            .chunks_exact(SLOT)
            .filter_map(event)
            .collect(),
        _ => event(&words[CULPRIT..]).into_iter().collect(),
    };
    // Several threads may have had the same one.
    let mut seen = HashSet::new();
    died.retain(|event| seen.insert(*event));
    for event in &died {
        match suspects.iter_mut().find(|one| one.event == *event) {
            Some(suspect) => suspect.deaths = suspect.deaths.saturating_add(1),
            None => suspects.push(Suspect {
                event: *event,
                deaths: 1,
            }),
        }
    }
    while suspects.len() > SUSPECTS {
        // Those that are skipped stay, as long as there are others.
        let once = suspects.iter().position(|one| one.deaths < DEATHS);
        suspects.remove(once.unwrap_or(0));
    }
    (suspects, died)
}

fn read(path: &Path) -> io::Result<Vec<u64>> {
    let bytes = own_file::read(path, MOST, Others::MustNotWrite, own_file::own)?;
    let bytes = bytes.unwrap_or_default();
    let words = bytes.as_chunks().0;
    Ok(words.iter().copied().map(u64::from_ne_bytes).collect())
}

/// A new file takes the place of the old one when it is complete: a death meanwhile forgets nothing.
fn create(path: &Path, suspects: &[Suspect], threads: usize) -> io::Result<Map> {
    let mut words = vec![0; SLOTS_AT + threads * SLOT];
    words[0] = MAGIC;
    for (words, suspect) in words[HEADER..].chunks_exact_mut(SUSPECT).zip(suspects) {
        words[0] = epoch_word(suspect.event.epoch);
        words[1] = suspect.event.seq;
        words[2] = suspect.deaths;
    }
    let bytes: Vec<u8> = words
        .iter()
        .flat_map(|word: &u64| word.to_ne_bytes())
        .collect();
    own_file::replace(path, |mut file| {
        // A page that is missing on a full tmpfs would raise SIGBUS at the first note.
        posix_fallocate(&file, 0, bytes.len() as i64)?;
        file.write_all(&bytes)?;
        Map::new(&file, bytes.len())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use protocol::testing::cursor;

    use super::*;

    /// What a process would find that starts after this one.
    fn left(path: &Path) -> (Vec<(u64, u64)>, Vec<u64>) {
        let (suspects, died) = judge(&read(path).unwrap());
        let suspects = suspects.iter().map(|one| (one.event.seq, one.deaths));
        (suspects.collect(), died.iter().map(|one| one.seq).collect())
    }

    fn slot(map: &Map, place: usize) -> &[AtomicU64] {
        &map.words()[SLOTS_AT + place * SLOT..]
    }

    #[test]
    fn what_threads_have_in_hand_when_the_process_is_killed_is_counted_once_each() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("ring.in-flight");
        assert_eq!(left(&path), (vec![], vec![]));
        let map = create(&path, &[], 3).unwrap();
        assert_eq!(left(&path), (vec![], vec![]));
        put(slot(&map, 0), Some(cursor(7)));
        put(slot(&map, 1), Some(cursor(7)));
        put(slot(&map, 2), Some(cursor(9)));
        assert_eq!(left(&path), (vec![(7, 1), (9, 1)], vec![7, 9]));
        put(slot(&map, 2), None);
        assert_eq!(left(&path), (vec![(7, 1)], vec![7]));

        let (suspects, _) = judge(&read(&path).unwrap());
        let map = create(&path, &suspects, 1).unwrap();
        assert_eq!(left(&path), (vec![(7, 1)], vec![]), "nothing died since");
        put(slot(&map, 0), Some(cursor(7)));
        assert_eq!(left(&path), (vec![(7, 2)], vec![7]));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn after_a_panic_only_the_event_of_its_thread_is_suspected() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("ring.in-flight");
        let map = create(&path, &[], 2).unwrap();
        put(slot(&map, 0), Some(cursor(7)));
        put(slot(&map, 1), Some(cursor(8)));
        map.words()[BLAMED].store(1, Relaxed);
        assert_eq!(left(&path), (vec![], vec![]), "it was no event");
        put(&map.words()[CULPRIT..], Some(cursor(8)));
        assert_eq!(left(&path), (vec![(8, 1)], vec![8]));
    }

    #[test]
    fn the_table_is_bounded_and_those_that_are_skipped_stay() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("ring.in-flight");
        let suspect = |seq, deaths| Suspect {
            event: cursor(seq),
            deaths,
        };
        let mut suspects: Vec<Suspect> = (1..=SUSPECTS as u64).map(|n| suspect(n, 1)).collect();
        suspects[0].deaths = 2;
        let map = create(&path, &suspects, 2).unwrap();
        put(slot(&map, 0), Some(cursor(1000)));
        put(slot(&map, 1), Some(cursor(1001)));
        let (suspects, _) = judge(&read(&path).unwrap());
        assert_eq!(suspects.len(), SUSPECTS);
        assert_eq!(suspects[0], suspect(1, 2));
        assert_eq!(suspects[1], suspect(4, 1));
        assert_eq!(suspects[SUSPECTS - 1], suspect(1001, 1));
    }

    #[test]
    fn what_is_not_ours_is_not_believed() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("ring.in-flight");
        for text in ["", "x", &"askrfly1".repeat(1000)] {
            fs::write(&path, text).unwrap();
            assert_eq!(left(&path).1, Vec::<u64>::new());
        }
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).unwrap();
        assert!(read(&directory.path().join("link")).is_err());
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("0666"));
    }
}
