//! A position of an epoch names one event for ever: whatever a daemon finds when it starts, and whatever
//! happens to the files while one serves, either the epoch is a new one or no position that was handed out
//! is used again.

mod common;

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::*;
use proptest::prelude::*;
use shared::cursor::Epoch;
use shared::keeper::{Keeper, KeeperError, Next};
use shared::layout::*;
use shared::spec::RingSpec;

/// One name, and everything that was ever handed out under it.
struct Trial {
    home: Home,
    /// Copies of the ring, kept elsewhere.
    shelf: tempfile::TempDir,
    handed: HashMap<(Epoch, u64), String>,
    /// For each epoch the first position that was not handed out.
    end: HashMap<Epoch, u64>,
    sent: u64,
    /// Events sent when `end` was told.
    known: u64,
}

impl Trial {
    fn new() -> Self {
        Self {
            home: Home::small(),
            shelf: tempfile::tempdir_in("/dev/shm").unwrap(),
            handed: HashMap::new(),
            end: HashMap::new(),
            sent: 0,
            known: 0,
        }
    }

    fn spec(&self, large: bool) -> RingSpec {
        let spec = self.home.spec.clone();
        match large {
            true => RingSpec {
                slots: 128,
                arena: 128 << 10,
                ..spec
            },
            false => spec,
        }
    }

    /// A daemon serves, `count` events are published, `mischief` happens meanwhile, and as many again.
    fn serve(
        &mut self,
        large: bool,
        count: usize,
        mischief: impl FnOnce(&mut Self),
    ) -> Result<Epoch, KeeperError> {
        let mut keeper = Keeper::start(self.spec(large))?;
        self.publish(count);
        self.hand_out(&mut keeper);
        mischief(self);
        self.publish(count);
        self.hand_out(&mut keeper);
        Ok(keeper.current().epoch())
    }

    fn publish(&mut self, count: usize) {
        let mut publisher = self.home.publisher();
        for _ in 0..count {
            self.sent += 1;
            // While somebody else's file bears the name this may be refused.
            let _ = publisher.publish(&event(self.sent.to_string().as_bytes()));
        }
    }

    /// Reads as askrd does, until the keeper has nothing more, and holds it to the promise.
    fn hand_out(&mut self, keeper: &mut Keeper) {
        let mut epoch = keeper.segments()[0].epoch();
        let begun: HashMap<Epoch, u64> = self.end.clone();
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < patience, "the keeper never settles");
            let next = keeper.step();
            let reached = match next {
                Next::Empty if settled(keeper) => {
                    self.known = self.sent;
                    return;
                }
                Next::Empty => {
                    keeper.wait(Duration::from_millis(20));
                    continue;
                }
                Next::Changed { fresh_epoch, .. } => {
                    if fresh_epoch {
                        epoch = keeper.current().epoch();
                    }
                    continue;
                }
                Next::Lapped { to, .. } => to,
                Next::Unreadable { seq, .. } | Next::Skipped { seq } | Next::Repeated { seq } => {
                    seq + 1
                }
                Next::Event { seq, event } => {
                    let text = event.data_str().to_owned();
                    match self.handed.insert((epoch, seq), text.clone()) {
                        Some(former) => assert_eq!(text, former, "{epoch}-{seq} names two events"),
                        // Somebody holds a cursor past it, and would never be sent this one. (It may
                        // have been told as lost, when publishers were a lap ahead.)
                        None => {
                            let end = begun.get(&epoch).copied().unwrap_or(0);
                            let new = text.parse::<u64>().unwrap() > self.known;
                            assert!(
                                seq >= end || !new,
                                "{epoch}-{seq} is new, {epoch}-{end} was told"
                            );
                        }
                    }
                    seq + 1
                }
            };
            let end = self.end.entry(epoch).or_default();
            *end = reached.max(*end);
        }
    }

    fn name(&self) -> PathBuf {
        self.home.path()
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.home.spec.name.beside(suffix)
    }

    fn shelf(&self, name: &str) -> PathBuf {
        self.shelf.path().join(name)
    }

    fn retired(&self) -> Vec<PathBuf> {
        let names = self.home.files().into_iter();
        names
            .filter(|name| name.contains(".old-"))
            .map(|name| self.home.dir.path().join(name))
            .collect()
    }
}

/// Everything was read, and the ring is whole and bears its name.
fn settled(keeper: &Keeper) -> bool {
    let read = |segment: &std::sync::Arc<shared::segment::Segment>| {
        keeper.position() >= segment.head() || keeper.position() < segment.first()
    };
    let current = keeper.current();
    let sound = current.header_intact() && !current.truncated();
    let open = current.ring().tail().load(shared::prim::Ordering::Acquire) & CLOSED == 0;
    let named = keeper.trouble().is_some() || current.is_at(&path_of(keeper));
    keeper.segments().iter().all(read) && sound && open && named
}

fn path_of(keeper: &Keeper) -> PathBuf {
    keeper.name().path().to_owned()
}

/// Another file with the same content.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_file(to);
    write_into(from, to);
}

/// The same file with another's content.
fn write_into(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).unwrap()).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}

fn word(path: &Path, word: usize, value: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_at(&value.to_le_bytes(), (word * 8) as u64)
        .unwrap();
}

fn read_word(path: &Path, word: usize) -> u64 {
    let bytes = fs::read(path).unwrap();
    u64::from_le_bytes(bytes[word * 8..][..8].try_into().unwrap())
}

/// What becomes of the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Kept,
    New,
    /// askrd does not start.
    Refused,
}
use Outcome::*;

type State = (&'static str, Outcome, fn(&Trial));

/// What may be found at the name. `before-…`: copies made by the story in `story`.
const NAMES: [State; 20] = [
    ("as it was", Kept, |_| {}),
    ("a whole copy", Kept, |t| {
        copy(&t.name(), &t.shelf("same"));
        copy(&t.shelf("same"), &t.name());
    }),
    ("absent", New, |t| fs::remove_file(t.name()).unwrap()),
    ("zero length", New, |t| fs::write(t.name(), b"").unwrap()),
    ("cut short", New, |t| {
        let file = OpenOptions::new().write(true).open(t.name()).unwrap();
        file.set_len(8192).unwrap();
    }),
    ("some text", New, |t| {
        fs::write(t.name(), b"dear reader").unwrap();
    }),
    ("another layout", New, |t| {
        word(&t.name(), W_MAGIC, u64::from_le_bytes(*b"ASKRRNG1"));
    }),
    ("a damaged header", New, |t| {
        word(&t.name(), W_FIRST, 1 << 20);
    }),
    ("an older copy", New, |t| {
        copy(&t.shelf("large-before"), &t.name());
    }),
    ("an older copy, written into the file", New, |t| {
        write_into(&t.shelf("large-before"), &t.name());
    }),
    ("a copy of before the rotation", New, |t| {
        copy(&t.shelf("small-after"), &t.name());
    }),
    ("an older copy of before the rotation", New, |t| {
        copy(&t.shelf("small-before"), &t.name());
    }),
    ("the retired one, moved there", New, |t| {
        // Retired in the last step of the story; other states may have removed it.
        let retired = t.shelf("retired");
        fs::remove_file(t.name()).unwrap();
        fs::hard_link(&retired, t.name()).unwrap();
    }),
    ("the retired one, opened again", New, |t| {
        copy(&t.shelf("retired-copied"), &t.name());
        let closed = read_word(&t.name(), W_CLOSED_AT);
        word(&t.name(), W_TAIL, closed);
        word(&t.name(), W_CLOSED_AT, 0);
    }),
    ("closed", New, |t| {
        let tail = read_word(&t.name(), W_TAIL);
        word(&t.name(), W_TAIL, tail | CLOSED);
    }),
    ("with the tail set back", New, |t| {
        let tail = read_word(&t.name(), W_TAIL);
        word(&t.name(), W_TAIL, tail - 2);
    }),
    ("with the tail at the end of all positions", New, |t| {
        word(&t.name(), W_TAIL, MAX_POSITION - 1);
    }),
    ("a ring of another epoch", New, |t| {
        copy(&t.shelf("foreign"), &t.name());
    }),
    ("a directory", Refused, |t| {
        fs::remove_file(t.name()).unwrap();
        fs::create_dir(t.name()).unwrap();
    }),
    ("a symbolic link", Refused, |t| {
        fs::remove_file(t.name()).unwrap();
        std::os::unix::fs::symlink(t.shelf("large-before"), t.name()).unwrap();
    }),
];

/// What may be found beside it.
const RETIRED: [State; 9] = [
    ("as it was", Kept, |_| {}),
    ("none", Kept, |t| {
        t.retired()
            .iter()
            .for_each(|path| fs::remove_file(path).unwrap());
    }),
    ("not closed yet", Kept, |t| {
        for path in t.retired() {
            let closed = read_word(&path, W_CLOSED_AT);
            word(&path, W_TAIL, closed);
            word(&path, W_CLOSED_AT, 0);
        }
    }),
    ("zero length", Kept, |t| {
        t.retired()
            .iter()
            .for_each(|path| fs::write(path, b"").unwrap());
    }),
    ("of another epoch", Kept, |t| {
        copy(&t.shelf("foreign"), &t.beside(".old-1"));
    }),
    ("a link of the one at the name", Kept, |t| {
        if t.name().is_file() {
            fs::hard_link(t.name(), t.beside(".old-1")).unwrap();
        }
    }),
    ("a copy of the last one", New, |t| {
        copy(&t.shelf("large-after"), &t.beside(".old-1"));
    }),
    ("an older copy of itself", New, |t| {
        copy(&t.shelf("small-before"), &t.beside(".old-1"));
    }),
    ("of a higher position", New, |t| {
        copy(&t.shelf("large-after"), &t.beside(".old-1"));
        let tail = read_word(&t.beside(".old-1"), W_TAIL);
        word(&t.beside(".old-1"), W_TAIL, tail + 1000);
    }),
];

/// What a daemon that was killed at its work left.
const UNFINISHED: [State; 2] = [
    ("none", Kept, |_| {}),
    ("of two pids", Kept, |t| {
        fs::write(t.beside(".new-1"), b"half").unwrap();
        copy(&t.shelf("large-before"), &t.beside(".new-00c0ffee"));
    }),
];

/// Events under two sizes, handed out, with copies made on the way. The last epoch.
fn story(t: &mut Trial) -> Epoch {
    let other = Trial::new();
    drop(other.home.keeper());
    copy(&other.name(), &t.shelf("foreign"));
    t.serve(false, 2, |_| {}).unwrap();
    copy(&t.name(), &t.shelf("small-before"));
    t.serve(false, 1, |_| {}).unwrap();
    copy(&t.name(), &t.shelf("small-after"));
    t.serve(true, 2, |_| {}).unwrap();
    copy(&t.name(), &t.shelf("large-before"));
    let epoch = t.serve(true, 3, |_| {}).unwrap();
    copy(&t.name(), &t.shelf("large-after"));
    let retired = t.retired();
    assert_eq!(retired.len(), 1);
    fs::hard_link(&retired[0], t.shelf("retired")).unwrap();
    copy(&retired[0], &t.shelf("retired-copied"));
    epoch
}

/// `away`: so many events are published after that, before a daemon starts.
fn every_state(large: bool, away: usize) {
    for name in NAMES {
        for retired in RETIRED {
            for unfinished in UNFINISHED {
                let mut t = Trial::new();
                let epoch = story(&mut t);
                let case = format!(
                    "the name: {}; retired: {}; unfinished: {}; large: {large}",
                    name.0, retired.0, unfinished.0
                );
                println!("{case}");
                for (_, _, arrange) in [retired, unfinished, name] {
                    arrange(&t);
                }
                t.publish(away);
                let mut expected = name.1.max(retired.1).max(unfinished.1);
                // The link is of the one that was copied: two of the same positions.
                if name.0 == "a whole copy" && retired.0 == "a link of the one at the name" {
                    expected = New;
                }
                let outcome = match t.serve(large, 2, |_| {}) {
                    Err(_) => Refused,
                    Ok(now) if now == epoch => Kept,
                    Ok(_) => New,
                };
                // Where publishers went on, a tail that was set back is past all again, and after a lap
                // nothing that was handed out is held.
                if away == 0 || expected == Kept {
                    assert_eq!(outcome, expected, "{case}");
                }
                let left = t.home.files();
                assert!(!left.iter().any(|file| file.contains(".new-")), "{left:?}");
                // And once more, with a rotation.
                if outcome != Refused {
                    t.serve(!large, 2, |_| {}).unwrap();
                }
            }
        }
    }
}

#[test]
fn no_position_is_used_twice_whatever_a_daemon_of_the_same_sizes_finds() {
    every_state(true, 0);
}

#[test]
fn no_position_is_used_twice_whatever_a_daemon_of_other_sizes_finds() {
    every_state(false, 0);
}

#[test]
fn no_position_is_used_twice_when_publishers_went_on_meanwhile() {
    every_state(true, 20);
}

#[test]
fn no_position_is_used_twice_when_publishers_went_round_meanwhile() {
    every_state(true, 300);
}

#[test]
fn what_the_files_show_needs_no_note() {
    let shown = [
        "absent",
        "zero length",
        "cut short",
        "some text",
        "another layout",
        "a damaged header",
        "the retired one, moved there",
        "closed",
    ];
    for name in NAMES.iter().filter(|name| shown.contains(&name.0)) {
        for large in [false, true] {
            let mut t = Trial::new();
            let epoch = story(&mut t);
            fs::remove_file(t.beside(".lock")).unwrap();
            name.2(&t);
            assert_ne!(t.serve(large, 2, |_| {}).unwrap(), epoch, "{}", name.0);
            t.serve(!large, 2, |_| {}).unwrap();
        }
    }
}

#[test]
fn a_ring_of_an_epoch_that_was_given_up_is_not_served_again() {
    let mut t = Trial::new();
    let first = t.serve(false, 2, |_| {}).unwrap();
    copy(&t.name(), &t.shelf("first"));
    t.serve(false, 2, |_| {}).unwrap();
    fs::remove_file(t.name()).unwrap();
    let second = t.serve(false, 0, |_| {}).unwrap();
    copy(&t.shelf("first"), &t.name());
    let third = t.serve(false, 2, |_| {}).unwrap();
    assert!(third != first && third != second && first != second);
}

#[test]
fn an_older_copy_written_into_the_ring_that_is_served_ends_its_epoch() {
    let mut t = Trial::new();
    let epoch = t.serve(false, 2, |_| {}).unwrap();
    copy(&t.name(), &t.shelf("older"));
    let mut keeper = t.home.keeper();
    t.publish(2);
    t.hand_out(&mut keeper);
    // All at once for the keeper: the file's length and header are as they were.
    write_into(&t.shelf("older"), &t.name());
    t.publish(5);
    let patience = Instant::now() + Duration::from_secs(60);
    while keeper.current().epoch() == epoch && Instant::now() < patience {
        t.hand_out(&mut keeper);
    }
    assert_ne!(keeper.current().epoch(), epoch);
    t.publish(2);
    t.hand_out(&mut keeper);
}

#[test]
fn an_older_copy_whose_holes_became_events_ends_its_epoch() {
    let mut t = Trial::new();
    let mut keeper = t.home.keeper();
    t.publish(2);
    t.hand_out(&mut keeper);
    copy(&t.name(), &t.shelf("older"));
    // Claims of publishers that were killed: the reader passes them, and cursors past them are told.
    let tail = keeper.current().ring().tail();
    tail.fetch_add(3, shared::prim::Ordering::AcqRel);
    t.hand_out(&mut keeper);
    let epoch = keeper.current().epoch();
    drop(keeper);
    copy(&t.shelf("older"), &t.name());
    // A lap, so that the last event is overwritten, but not the places of the holes.
    t.publish(65);
    assert_ne!(t.serve(false, 1, |_| {}).unwrap(), epoch);
}

#[test]
fn a_restart_right_after_the_reader_was_lapped_keeps_the_epoch() {
    let mut t = Trial::new();
    let mut keeper = t.home.keeper();
    let epoch = keeper.current().epoch();
    t.publish(2);
    t.hand_out(&mut keeper);
    t.publish(200);
    assert!(matches!(keeper.step(), Next::Lapped { .. }));
    drop(keeper);
    // What is held was not handed out, but all before it was reported as lost.
    let mut keeper = t.home.keeper();
    assert_eq!((keeper.given_up(), keeper.current().epoch()), (None, epoch));
    t.hand_out(&mut keeper);
    drop(keeper);
    assert_eq!(t.serve(false, 0, |_| {}).unwrap(), epoch);
}

#[test]
fn a_ring_of_before_the_last_boot_has_a_new_epoch() {
    // On a disk, the file may be older than what was handed out before the power failed.
    let mut t = Trial::new();
    let epoch = t.serve(false, 3, |_| {}).unwrap();
    let lock = t.beside(".lock");
    let mut text = fs::read(&lock).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = u128::from_str_radix(&boot.trim().replace('-', ""), 16).unwrap();
    let boot = boot.to_le_bytes();
    let at = text.windows(16).position(|bytes| bytes == boot).unwrap();
    text[at] ^= 1;
    fs::write(&lock, text).unwrap();
    assert_ne!(t.serve(false, 3, |_| {}).unwrap(), epoch);
}

#[test]
fn a_ring_of_a_daemon_that_kept_no_note_is_taken_over() {
    let mut t = Trial::new();
    let epoch = t.serve(false, 3, |_| {}).unwrap();
    fs::write(t.beside(".lock"), b"4711").unwrap();
    assert_eq!(t.serve(true, 3, |_| {}).unwrap(), epoch);
    fs::remove_file(t.beside(".lock")).unwrap();
    assert_eq!(t.serve(true, 3, |_| {}).unwrap(), epoch);
}

#[test]
fn another_rings_files_are_left_alone() {
    let t = Trial::new();
    for file in [
        "ring.old-shop",
        "ring.old-shop.lock",
        "ring.new-shop",
        "ring.old-",
    ] {
        fs::write(t.home.dir.path().join(file), b"another's").unwrap();
    }
    drop(t.home.keeper());
    let expected = [
        "ring",
        "ring.lock",
        "ring.new-shop",
        "ring.old-",
        "ring.old-shop",
        "ring.old-shop.lock",
    ];
    assert_eq!(t.home.files(), expected);
}

/// What somebody does to the files.
#[derive(Clone, Copy, Debug)]
enum Act {
    Nothing,
    Save(u8),
    Restore(u8),
    WriteInto(u8),
    SavedToRetired(u8),
    Remove,
    Empty,
    RemoveRetired,
    RetiredToName,
    RetiredCopied,
    NameToRetired,
    Publish(usize),
}

fn act(t: &mut Trial, act: Act) {
    let name = t.name();
    let saved = |n: u8| t.shelf(&format!("saved-{n}"));
    let retired = t.retired().pop();
    match (act, retired) {
        (Act::Save(n), _) if name.is_file() => copy(&name, &saved(n)),
        (Act::Restore(n), _) if saved(n).exists() => copy(&saved(n), &name),
        (Act::WriteInto(n), _) if saved(n).exists() => write_into(&saved(n), &name),
        (Act::SavedToRetired(n), _) if saved(n).exists() => {
            copy(&saved(n), &t.beside(&format!(".old-{n}")));
        }
        (Act::Remove, _) => drop(fs::remove_file(&name)),
        (Act::Empty, _) => drop(fs::write(&name, b"")),
        (Act::RemoveRetired, Some(retired)) => fs::remove_file(retired).unwrap(),
        (Act::RetiredToName, Some(retired)) => fs::rename(retired, &name).unwrap(),
        (Act::RetiredCopied, Some(retired)) => copy(&retired, &name),
        (Act::Publish(count), _) => t.publish(count),
        (Act::NameToRetired, _) if name.is_file() => copy(&name, &t.beside(".old-abc")),
        _ => {}
    }
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Nothing),
        2 => (0..3u8).prop_map(Act::Save),
        3 => (0..3u8).prop_map(Act::Restore),
        2 => (0..3u8).prop_map(Act::WriteInto),
        1 => (0..3u8).prop_map(Act::SavedToRetired),
        2 => Just(Act::Remove),
        1 => Just(Act::Empty),
        1 => Just(Act::RemoveRetired),
        1 => Just(Act::RetiredToName),
        1 => Just(Act::RetiredCopied),
        1 => Just(Act::NameToRetired),
        3 => prop_oneof![1..6usize, 60..150usize].prop_map(Act::Publish),
    ]
}

/// A daemon that serves, what happens meanwhile, and what happens after it has gone.
type Turn = (bool, usize, Act, Vec<Act>);

fn turn() -> impl Strategy<Value = Turn> {
    let meanwhile = prop_oneof![4 => Just(Act::Nothing), 1 => any_act()];
    let after = prop::collection::vec(any_act(), 0..3);
    (any::<bool>(), 0..4usize, meanwhile, after)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_position_is_used_twice_whatever_becomes_of_the_files(
        turns in prop::collection::vec(turn(), 2..7)
    ) {
        let mut t = Trial::new();
        for (large, count, meanwhile, after) in turns {
            t.serve(large, count, |t| act(t, meanwhile)).unwrap();
            after.into_iter().for_each(|one| act(&mut t, one));
        }
    }
}

#[test]
fn a_second_daemon_whose_lock_was_removed_makes_no_ring_of_the_same_epoch() {
    let mut t = Trial::new();
    let mut first = Keeper::start(t.spec(false)).unwrap();
    t.publish(3);
    t.hand_out(&mut first);
    fs::remove_file(t.beside(".lock")).unwrap();
    // Before the first one has looked.
    let mut second = Keeper::start(t.spec(true)).unwrap();
    t.publish(3);
    t.hand_out(&mut second);
    // The first one finds the name elsewhere, its ring closed, and another that holds the lock.
    let patience = Instant::now() + Duration::from_secs(60);
    while first.trouble().is_none() && Instant::now() < patience {
        first.step();
        first.wait(Duration::from_millis(20));
    }
    let said = first.trouble().unwrap_or_default();
    assert!(said.contains("another askrd"), "{said}");
    assert!(second.current().is_at(&t.name()));
    assert_eq!(second.trouble(), None);
    // When the second has gone the first takes over, with an epoch of its own.
    let former = second.current().epoch();
    drop(second);
    while first.trouble().is_some() && Instant::now() < patience {
        first.step();
        first.wait(Duration::from_millis(20));
    }
    assert_eq!(first.trouble(), None);
    assert_ne!(first.current().epoch(), former);
    drain(&mut first);
    t.publish(3);
    t.hand_out(&mut first);
}

#[test]
fn a_lock_that_was_removed_is_made_again() {
    let t = Trial::new();
    let mut keeper = t.home.keeper();
    fs::remove_file(t.beside(".lock")).unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while !t.beside(".lock").exists() && Instant::now() < patience {
        keeper.step();
        keeper.wait(Duration::from_millis(20));
    }
    assert!(matches!(
        Keeper::start(t.spec(false)),
        Err(KeeperError::Served { .. })
    ));
    assert_eq!(keeper.trouble(), None);
    t.home.publisher().publish(&event(b"as ever")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["as ever"]);
}
