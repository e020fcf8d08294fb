//! `NAME.imports`, beside the ring: what of other hosts lies in it, and how far this host has come with each, so that after a
//! restart nothing is imported twice and nothing left out. It lasts as long as the ring: what is written of another epoch
//! means nothing.
//!
//! ```text
//! "askrimp1"   epoch [u8; 6], 2 zeros   start u64 LE              24 bytes, then records of 32 bytes:
//! kind u8      epoch [u8; 6], a 0       a u64 LE   b u64 LE   c u64 LE
//!
//! met          of another ring          start      base       0
//! intent       of another ring          position   after      0           it is about to be published here, behind this place
//! event        of another ring          position   local      0           it was, at this place
//! gap          of another ring          position   local      from        the same of a gap record
//! through      of another ring          position   0          0           nothing of it follows up to here
//! own          of this ring             position   0          0           the log has it up to here
//! retired      of another ring          0          0          0
//! floor        of another ring          position   0          0           what is up to here is not noted one by one, and
//!                                                                       what was noted of it is no longer in this ring
//! former       of this host's last ring start      have        0           the log has that up to there, or further
//! ```
//!
//! `start` is the place at which this ring was first in a cluster. Records are appended in one write for each batch, which a
//! killed process either made or did not; an incomplete one is skipped. Now and then the file is written anew with
//! what still counts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cluster::import::Known as Former;
use cluster::recovery;
use shared::cursor::{Cursor, Epoch};

use crate::process::own_file::{self, Others};

/// Of the file's name, after that of the ring.
pub const SUFFIX: &str = ".imports";

const MAGIC: &[u8; 8] = b"askrimp1";
const HEADER: usize = 24;
const RECORD: usize = 32;
/// Records beyond those that count after which the file is written anew.
const SLACK: usize = 16 << 10;
/// Other rings that are remembered: as many as a vector can have.
const MAX_ORIGINS: usize = shared::vector::Vector::MAX_ORIGINS;

/// Bytes that a journal of a ring with so many slots may take in memory while it is read, or written anew.
pub const fn ceiling(slots: u64) -> u64 {
    (longest(slots) + 64 * slots as usize) as u64
}

/// Bytes of the longest file: what counts is bounded by what the ring holds.
const fn longest(slots: u64) -> usize {
    HEADER + RECORD * (3 * slots as usize + 2 * SLACK + 8 * MAX_ORIGINS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    Met { epoch: Epoch, start: u64, base: u64 },
    Intent { at: Cursor, after: u64 },
    Event { at: Cursor, local: u64 },
    Gap { at: Cursor, local: u64, from: u64 },
    Through { at: Cursor },
    Own { position: u64 },
    Retired { epoch: Epoch },
    Floor { at: Cursor },
    Former { ring: Former },
}

impl From<recovery::Found> for Record {
    fn from(found: recovery::Found) -> Self {
        match found {
            recovery::Found::Event { at, local } => Self::Event { at, local },
            recovery::Found::Gap { at, local, from } => Self::Gap { at, local, from },
            recovery::Found::Floor { at } => Self::Floor { at },
        }
    }
}

/// What is known of another ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub epoch: Epoch,
    pub start: u64,
    pub base: u64,
    /// What is up to here is not noted one by one.
    pub floor: u64,
    pub through: u64,
    /// Ascending.
    pub notes: Vec<Note>,
    /// What may have been published just before the process ended, and behind which place. Ascending.
    intents: Vec<(u64, u64)>,
}

/// What lies where in this ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    pub position: u64,
    pub local: u64,
    /// It is a gap record of what is after this position.
    pub gap: Option<u64>,
}

impl Known {
    fn new(epoch: Epoch, start: u64, base: u64) -> Self {
        Self {
            epoch,
            start,
            base,
            floor: base,
            through: base,
            notes: Vec::new(),
            intents: Vec::new(),
        }
    }

    /// Up to where it was imported.
    pub fn have(&self) -> u64 {
        let last = self.notes.last().map_or(self.floor, |note| note.position);
        last.max(self.through)
    }

    fn note(&mut self, position: u64, local: u64, gap: Option<u64>) {
        let after = self.notes.last();
        if position > self.have() && after.is_none_or(|last| last.local < local) {
            self.intents.retain(|(intent, _)| *intent > position);
            self.notes.push(Note {
                position,
                local,
                gap,
            });
        }
    }
}

#[derive(Debug)]
pub struct ImportJournal {
    path: PathBuf,
    epoch: Epoch,
    start: u64,
    file: Option<File>,
    /// Records in the file, and those that counted when it was last written anew.
    records: usize,
    counted: usize,
    own: u64,
    /// What the file says of it.
    own_written: u64,
    origins: BTreeMap<[u8; 6], Known>,
    /// The ring that this host had before this one, if nobody knows where that ended.
    former: Option<Former>,
    /// There was none of this ring.
    fresh: bool,
    encoded: Vec<u8>,
}

impl ImportJournal {
    /// Reads the journal of the ring of `epoch`, if there is one; else one begins, of a ring that is in a cluster from after
    /// position `now` on. `trusted`: whether this user may own the file.
    ///
    /// # Errors
    /// One line: the file, and why it is not believed.
    pub fn open(
        path: PathBuf,
        epoch: Epoch,
        now: u64,
        slots: u64,
        trusted: impl Fn(u32) -> bool,
    ) -> Result<Self, String> {
        let text = read(&path, longest(slots), trusted)
            .map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Self::of(path, text.as_deref(), epoch, now))
    }

    /// The journal whose file says this; None: there is none.
    pub fn of(path: PathBuf, text: Option<&[u8]>, epoch: Epoch, now: u64) -> Self {
        let mut journal = Self {
            path,
            epoch,
            start: now,
            file: None,
            records: 0,
            counted: 0,
            own: now,
            own_written: now,
            origins: BTreeMap::new(),
            former: None,
            fresh: true,
            encoded: Vec::new(),
        };
        if let Some((start, records)) = text.and_then(|text| parse(text, epoch)) {
            (journal.start, journal.own, journal.fresh) = (start, start, false);
            records.for_each(|record| journal.apply(record));
            journal.own_written = journal.own;
        } else {
            journal.former = text.and_then(former_of);
        }
        journal
    }

    /// The ring that this host had before this one, if nobody knows where that ended.
    pub fn former(&self) -> Option<Former> {
        self.former
    }

    /// Whether there was no journal of this ring.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The position after which this ring is in a cluster.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The log has this ring's events up to there. It is written down with what is written next: after a kill, at worst
    /// something is relayed once more.
    pub fn reached(&mut self, position: u64) {
        self.own = self.own.max(position);
    }

    /// Whether something waits for that.
    pub fn owes(&self) -> bool {
        self.own > self.own_written
    }

    /// The last position of this ring that the log was seen to have.
    pub fn own(&self) -> u64 {
        self.own
    }

    /// What another node remembered of this ring, whose journal was lost.
    pub fn recall(&mut self, start: u64, own: u64) {
        if self.fresh && start <= own && own <= self.own {
            (self.start, self.own) = (start, own);
            self.file = None;
        }
    }

    pub fn known(&self) -> impl Iterator<Item = &Known> {
        self.origins.values()
    }

    /// What may have been published without a note, and behind which place.
    pub fn intents(&self) -> impl Iterator<Item = recovery::Intent> + '_ {
        // A former askrd did not write where.
        let noted = self.last_local();
        self.origins.values().flat_map(move |known| {
            let epoch = known.epoch;
            let all = known.intents.iter();
            all.map(move |&(seq, after)| recovery::Intent {
                at: Cursor { epoch, seq },
                after: after.max(noted),
            })
        })
    }

    /// The place of what was noted last.
    fn last_local(&self) -> u64 {
        let last = |known: &Known| known.notes.last().map_or(0, |note| note.local);
        self.origins.values().map(last).max().unwrap_or(0)
    }

    /// What is left of it was not published, or will come again.
    pub fn forget_intents(&mut self) {
        for known in self.origins.values_mut() {
            known.intents.clear();
        }
    }

    /// The ring was replaced by one that does not continue it. `known`: of each other origin, the former ring among them, its
    /// start, the last event of it that this host had, and up to where nothing followed that.
    pub fn restart(
        &mut self,
        epoch: Epoch,
        now: u64,
        known: impl Iterator<Item = (Epoch, u64, (u64, u64))>,
    ) {
        let known = known.take(MAX_ORIGINS);
        let known = known.map(|(epoch, start, (event, through))| {
            let known = Known {
                through,
                ..Known::new(epoch, start, event)
            };
            (epoch.0, known)
        });
        self.origins = known.collect();
        (self.epoch, self.start, self.own, self.fresh) = (epoch, now, now, true);
        (self.file, self.own_written) = (None, now);
    }

    /// Writes records down. `oldest`: the first position that the ring holds; notes of what is before do not count.
    ///
    /// # Errors
    /// If they cannot be written. Then they count nonetheless, as long as the process lives.
    pub fn write(&mut self, records: &[Record], oldest: u64) -> io::Result<()> {
        for record in records {
            self.apply(*record);
        }
        let grown = self.records + records.len() > 2 * self.counted + SLACK;
        if self.file.is_none() || grown {
            return self.rewrite(oldest);
        }
        let position = self.own;
        let own = (position > self.own_written).then_some(Record::Own { position });
        self.encoded.clear();
        for record in records.iter().chain(&own) {
            let bytes = self.encode(*record);
            self.encoded.extend_from_slice(&bytes);
        }
        if self.encoded.is_empty() {
            return Ok(());
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let written = file.write_all(&self.encoded);
        if written.is_err() {
            // Part of it may be there.
            self.file = None;
        }
        self.own_written = position;
        self.records += records.len() + usize::from(own.is_some());
        written
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Met { epoch, start, base } => {
                if self.origins.len() < MAX_ORIGINS {
                    let new = || Known::new(epoch, start, base);
                    self.origins.entry(epoch.0).or_insert_with(new);
                }
            }
            Record::Intent { at, after } => {
                if let Some(known) = self.origins.get_mut(&at.epoch.0)
                    && at.seq > known.have()
                {
                    // What the ring did not take before is written down again.
                    let first = known.intents.partition_point(|(seq, _)| *seq < at.seq);
                    known.intents.truncate(first);
                    known.intents.push((at.seq, after));
                }
            }
            Record::Event { at, local } => {
                if let Some(known) = self.origins.get_mut(&at.epoch.0) {
                    known.note(at.seq, local, None);
                }
            }
            Record::Gap { at, local, from } => {
                if let Some(known) = self.origins.get_mut(&at.epoch.0) {
                    known.note(at.seq, local, Some(from));
                }
            }
            Record::Through { at } => {
                if let Some(known) = self.origins.get_mut(&at.epoch.0) {
                    known.through = known.through.max(at.seq);
                    known.intents.retain(|(intent, _)| *intent > at.seq);
                }
            }
            Record::Floor { at } => {
                if let Some(known) = self.origins.get_mut(&at.epoch.0) {
                    known.floor = known.floor.max(at.seq);
                    known.notes.retain(|note| note.position > at.seq);
                    known.intents.retain(|(intent, _)| *intent > at.seq);
                }
            }
            Record::Own { position } => self.own = self.own.max(position),
            Record::Former { ring } => self.former = Some(ring),
            Record::Retired { epoch } => drop(self.origins.remove(&epoch.0)),
        }
    }

    /// A new file takes the place of the old one when it is complete.
    fn rewrite(&mut self, oldest: u64) -> io::Result<()> {
        let mut records = Vec::new();
        for known in self.origins.values_mut() {
            let at = known.notes.partition_point(|note| note.local < oldest);
            if let Some(last) = known.notes.drain(..at).next_back() {
                known.floor = last.position;
            }
            let (epoch, start, base) = (known.epoch, known.start, known.base);
            let at = |seq| Cursor { epoch, seq };
            records.push(Record::Met { epoch, start, base });
            let floor = at(known.floor);
            records.push(Record::Floor { at: floor });
            records.extend(known.notes.iter().map(|note| match note.gap {
                None => Record::Event {
                    at: at(note.position),
                    local: note.local,
                },
                Some(from) => Record::Gap {
                    at: at(note.position),
                    local: note.local,
                    from,
                },
            }));
            let through = at(known.through);
            records.push(Record::Through { at: through });
            let intents = known.intents.iter();
            records.extend(intents.map(|&(seq, after)| Record::Intent { at: at(seq), after }));
        }
        let position = self.own;
        records.push(Record::Own { position });
        records.extend(self.former.map(|ring| Record::Former { ring }));
        let mut text = Vec::with_capacity(HEADER + RECORD * records.len());
        text.extend_from_slice(MAGIC);
        text.extend_from_slice(&self.epoch.0);
        text.extend_from_slice(&[0; 2]);
        text.extend_from_slice(&self.start.to_le_bytes());
        for record in &records {
            text.extend_from_slice(&self.encode(*record));
        }
        self.file = None;
        let file = replace(&self.path, &text)?;
        (self.file, self.records, self.counted) = (Some(file), records.len(), records.len());
        self.own_written = position;
        Ok(())
    }

    fn encode(&self, record: Record) -> [u8; RECORD] {
        let (kind, epoch, numbers) = match record {
            Record::Met { epoch, start, base } => (1, epoch, [start, base, 0]),
            Record::Intent { at, after } => (2, at.epoch, [at.seq, after, 0]),
            Record::Event { at, local } => (3, at.epoch, [at.seq, local, 0]),
            Record::Gap { at, local, from } => (4, at.epoch, [at.seq, local, from]),
            Record::Through { at } => (5, at.epoch, [at.seq, 0, 0]),
            Record::Own { position } => (6, self.epoch, [position, 0, 0]),
            Record::Retired { epoch } => (7, epoch, [0; 3]),
            Record::Floor { at } => (8, at.epoch, [at.seq, 0, 0]),
            Record::Former { ring } => (9, ring.epoch, [ring.start, ring.have, 0]),
        };
        let mut bytes = [0; RECORD];
        bytes[0] = kind;
        bytes[1..7].copy_from_slice(&epoch.0);
        for (to, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

/// Whose journal it is, and how far the log was with that ring.
fn former_of(text: &[u8]) -> Option<Former> {
    let epoch = Epoch(text.get(8..14)?.try_into().ok()?);
    let (start, records) = parse(text, epoch)?;
    let own = records.filter_map(|record| match record {
        Record::Own { position } => Some(position),
        _ => None,
    });
    let have = own.max().unwrap_or(start).max(start);
    Some(Former { epoch, start, have })
}

/// The start and the records of a journal of this epoch.
fn parse(text: &[u8], epoch: Epoch) -> Option<(u64, impl Iterator<Item = Record>)> {
    let (header, records) = text.split_first_chunk::<HEADER>()?;
    if &header[..8] != MAGIC || header[8..14] != epoch.0 {
        return None;
    }
    let start = u64::from_le_bytes(header[16..].try_into().ok()?);
    // A record of a later version, or none at all, is passed over.
    let all = records.chunks_exact(RECORD).filter_map(decode);
    (start < Cursor::END).then_some((start, all))
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let number = |n: usize| -> Option<u64> {
        let bytes = bytes.get(8 + 8 * n..16 + 8 * n)?;
        let number = u64::from_le_bytes(bytes.try_into().ok()?);
        (number < Cursor::END).then_some(number)
    };
    let (a, b, c) = (number(0)?, number(1)?, number(2)?);
    let epoch = Epoch(bytes.get(1..7)?.try_into().ok()?);
    let at = Cursor { epoch, seq: a };
    Some(match bytes.first()? {
        1 if a <= b => Record::Met {
            epoch,
            start: a,
            base: b,
        },
        2 => Record::Intent { at, after: b },
        3 => Record::Event { at, local: b },
        4 if c < a => Record::Gap {
            at,
            local: b,
            from: c,
        },
        5 => Record::Through { at },
        6 => Record::Own { position: a },
        7 => Record::Retired { epoch },
        8 => Record::Floor { at },
        9 if a <= b => Record::Former {
            ring: Former {
                epoch,
                start: a,
                have: b,
            },
        },
        _ => return None,
    })
}

/// None: there is no file.
fn read(
    path: &Path,
    longest: usize,
    trusted: impl Fn(u32) -> bool,
) -> Result<Option<Vec<u8>>, String> {
    own_file::read(path, longest as u64, Others::MustNotWrite, trusted)
        .map_err(|why| why.to_string())
}

fn replace(path: &Path, text: &[u8]) -> io::Result<File> {
    own_file::replace(path, |mut file| {
        file.write_all(text)?;
        Ok(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::own_file::own;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const OWN: Epoch = Epoch([9; 6]);
    const A: Epoch = Epoch([1; 6]);
    const B: Epoch = Epoch([2; 6]);

    fn at(epoch: Epoch, seq: u64) -> Cursor {
        Cursor { epoch, seq }
    }

    fn open(path: &Path) -> ImportJournal {
        ImportJournal::open(path.into(), OWN, 100, 64, own).unwrap()
    }

    fn met(epoch: Epoch) -> Record {
        let (start, base) = (3, 5);
        Record::Met { epoch, start, base }
    }

    fn intent(seq: u64, after: u64) -> Record {
        let at = at(A, seq);
        Record::Intent { at, after }
    }

    #[test]
    fn what_was_written_is_known_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.imports");
        let mut journal = open(&path);
        assert!(journal.is_fresh() && journal.known().next().is_none());
        assert_eq!((journal.start(), journal.own()), (100, 100));
        let first = [met(A), met(B), intent(7, 39), intent(8, 39)];
        journal.write(&first, 0).unwrap();
        let local = 40;
        let second = [
            Record::Event {
                at: at(A, 7),
                local,
            },
            Record::Gap {
                at: at(B, 9),
                local: 41,
                from: 5,
            },
            Record::Through { at: at(B, 12) },
            Record::Own { position: 130 },
        ];
        journal.write(&second, 0).unwrap();
        let again = open(&path);
        assert!(!again.is_fresh());
        assert_eq!((again.start(), again.own()), (100, 130));
        let known: Vec<&Known> = again.known().collect();
        assert_eq!(
            known[0].notes,
            [Note {
                position: 7,
                local,
                gap: None
            }]
        );
        assert_eq!((known[0].start, known[0].base, known[0].have()), (3, 5, 7));
        assert_eq!(
            known[1].notes,
            [Note {
                position: 9,
                local: 41,
                gap: Some(5)
            }]
        );
        assert_eq!(known[1].have(), 12);
        // Behind what was noted last, whatever was written.
        let (at, after) = (at(A, 8), 41);
        assert!(again.intents().eq([recovery::Intent { at, after }]));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_the_ring_overwrote_before_it_was_noted_is_below_a_floor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.imports");
        let mut journal = open(&path);
        let event = |seq, local| Record::Event {
            at: at(A, seq),
            local,
        };
        journal.write(&[met(A), event(7, 40)], 0).unwrap();
        let batch = [intent(8, 50), intent(9, 50), intent(10, 50)];
        journal.write(&batch, 0).unwrap();
        let mut killed = open(&path);
        let found = [Record::Floor { at: at(A, 8) }, event(9, 60)];
        killed.write(&found, 60).unwrap();
        let again = open(&path);
        let known = again.known().next().unwrap();
        assert_eq!((known.floor, known.have()), (8, 9));
        let places = known.notes.iter().map(|note| (note.position, note.local));
        assert!(places.eq([(9, 60)]));
        assert_eq!(again.intents().count(), 1, "one that was not found");
    }

    /// The ring took a part of a batch.
    #[test]
    fn what_is_written_down_again_lies_behind_the_later_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.imports");
        let mut journal = open(&path);
        let batch = [met(A), intent(7, 50), intent(8, 50), intent(9, 50)];
        journal.write(&batch, 0).unwrap();
        let (at, local) = (at(A, 7), 51);
        journal.write(&[Record::Event { at, local }], 0).unwrap();
        journal.write(&[intent(8, 70), intent(9, 70)], 0).unwrap();
        // What is not published after all is not looked for.
        let (epoch, seq) = (A, 8);
        let at = Cursor { epoch, seq };
        journal.write(&[Record::Through { at }], 0).unwrap();
        let of = |journal: ImportJournal| -> Vec<(u64, u64)> {
            let intents = journal.intents();
            intents
                .map(|intent| (intent.at.seq, intent.after))
                .collect()
        };
        assert_eq!(of(open(&path)), [(9, 70)]);
        journal.rewrite(0).unwrap();
        assert_eq!(of(open(&path)), [(9, 70)]);
    }

    #[test]
    fn how_far_the_log_is_with_this_ring_is_written_down_with_what_comes_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.imports");
        let mut journal = open(&path);
        journal.write(&[met(A)], 0).unwrap();
        journal.reached(130);
        journal.reached(120);
        assert!(journal.owes() && open(&path).own() == 100);
        journal.write(&[intent(7, 0)], 0).unwrap();
        assert!(!journal.owes() && open(&path).own() == 130);
        let size = fs::metadata(&path).unwrap().len();
        journal.write(&[], 0).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
        journal.reached(140);
        journal.write(&[], 0).unwrap();
        let mut again = open(&path);
        assert!(again.own() == 140 && !again.owes());
        again.reached(150);
        again.restart(B, 90, std::iter::empty());
        assert!(!again.owes());
    }

    #[test]
    fn it_is_written_anew_with_what_still_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.imports");
        let mut journal = open(&path);
        journal.write(&[met(A)], 0).unwrap();
        let last = 3 * SLACK as u64;
        for position in 6..last {
            let event = Record::Event {
                at: at(A, position),
                local: 1000 + position,
            };
            journal.write(&[event], 1000 + position - 10).unwrap();
        }
        let size = fs::metadata(&path).unwrap().len() as usize;
        assert!(
            size < longest(64) && size <= HEADER + RECORD * 2 * SLACK,
            "{size}"
        );
        let again = open(&path);
        let known = again.known().next().unwrap();
        assert_eq!(known.have(), last - 1);
        assert!(known.notes.len() < 2 * SLACK && known.floor > known.base);
        let joined = known
            .notes
            .windows(2)
            .all(|two| two[0].position + 1 == two[1].position);
        assert!(joined);
        assert_eq!(known.notes[0].position, known.floor + 1);
    }

    #[test]
    fn another_ring_begins_with_nothing_but_how_far_the_others_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.imports");
        let mut journal = open(&path);
        let event = Record::Event {
            at: at(A, 7),
            local: 40,
        };
        journal.write(&[met(A), event], 0).unwrap();
        let other = ImportJournal::open(path.clone(), B, 500, 64, own).unwrap();
        assert!(other.is_fresh() && other.known().next().is_none() && other.start() == 500);
        let former = |epoch, start, have| Some(Former { epoch, start, have });
        assert_eq!(journal.former(), None);
        assert_eq!(other.former(), former(OWN, 100, 100));
        let known = [(A, 3, (7, 9)), (OWN, 100, (130, 130))];
        journal.restart(B, 500, known.into_iter());
        journal.write(&[], 0).unwrap();
        let again = ImportJournal::open(path.clone(), B, 900, 64, own).unwrap();
        let known = again.known();
        let known = known.map(|known| (known.base, known.have(), known.notes.len()));
        assert!(known.eq([(7, 9, 0), (130, 130, 0)]));
        assert_eq!(
            (again.start(), again.own(), again.former()),
            (500, 500, None)
        );
        // Of a ring that was taken away nobody knows the end.
        let mut other = ImportJournal::open(path.clone(), OWN, 900, 64, own).unwrap();
        other.write(&[], 0).unwrap();
        assert_eq!(open(&path).former(), former(B, 500, 500));
    }

    #[test]
    fn a_file_that_is_not_askrds_own_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.imports");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let refused = ImportJournal::open(path.clone(), OWN, 0, 64, own).unwrap_err();
        assert!(
            refused.ends_with("with mode 0666: is it askrd's own file?"),
            "{refused}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(ImportJournal::open(path.clone(), OWN, 0, 64, |_| false).is_err());
        assert!(open(&path).is_fresh());
    }

    /// A process may be killed at each byte.
    #[test]
    fn what_was_cut_short_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.imports");
        let mut journal = open(&path);
        let events = (6..20).map(|seq| Record::Event {
            at: at(A, seq),
            local: seq,
        });
        let all: Vec<Record> = [met(A)].into_iter().chain(events).collect();
        journal.write(&all, 0).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut before = 0;
        for len in 0..=whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let have = open(&path).known().next().map_or(0, Known::have);
            assert!(have >= before, "{len}");
            before = have;
        }
        assert_eq!(before, 19);
    }

    proptest! {
        /// Records with the kinds that there are and small numbers, so that they concern one another.
        #[test]
        fn anything_is_read_without_harm(records in prop::collection::vec((0..10u8, 0..3u8, prop::array::uniform3(0..40u64)), 0..60)) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("ring.imports");
            let mut text = MAGIC.to_vec();
            text.extend([9; 6]);
            text.extend([0; 10]);
            for (kind, epoch, numbers) in records {
                text.push(kind);
                text.extend([epoch; 6]);
                text.push(0);
                numbers.iter().for_each(|number| text.extend(number.to_le_bytes()));
            }
            fs::write(&path, &text).unwrap();
            let mut journal = open(&path);
            for known in journal.known() {
                let ascends = |two: &[Note]| two[0].position < two[1].position && two[0].local < two[1].local;
                prop_assert!(known.notes.windows(2).all(ascends));
                prop_assert!(known.have() >= known.base && known.base >= known.start);
                prop_assert!(known.intents.is_sorted() && known.intents.iter().all(|intent| intent.0 > known.floor));
            }
            let before: Vec<(u64, Vec<Note>)> = journal.known().map(|known| (known.have(), known.notes.clone())).collect();
            journal.rewrite(0).unwrap();
            let again = open(&path);
            let after: Vec<(u64, Vec<Note>)> = again.known().map(|known| (known.have(), known.notes.clone())).collect();
            prop_assert_eq!(before, after);
        }
    }
}
