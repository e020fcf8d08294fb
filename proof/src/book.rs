//! Who published what and what arrived: written into shared files while it happens, so that a SIGKILL
//! takes nothing of it away, and compared afterwards.
//!
//! A publisher's life is an *incarnation*, with a number of its own. It says what it attempts before
//! and what it was told after each publish; the reader notes the position of each event it reads, and
//! each range it was told to be gone. When an incarnation has ended and the reader has passed
//! everything it can have claimed, each of its events is accounted for.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::common::Words;
use crate::payload::repeats;

/// Events of one incarnation.
pub const EVENTS: usize = 1 << 15;
/// In an ack: publish() failed. Otherwise the position, or 0 before there was an answer.
pub const FAILED: u64 = u64::MAX;
/// Instead of a position: the event arrived, and the connection ended before its position did.
pub const ORPHAN: u64 = u64::MAX - 1;
/// Ranges that readers can be told in one run.
const RANGES: usize = 1 << 22;

/// Words of the reader's board.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub enum Board {
    /// Everything below this position was read, or told to be gone.
    Next,
    Events,
    /// Events read again by a later reader of the same ring.
    Again,
    /// Whole for the ring, yet not what was sent.
    Torn,
    Duplicates,
    /// Well-formed, and from nobody we know.
    Forged,
    Unreadable,
    /// Nanoseconds that the reader waited for an open claim, at the most.
    Stall,
    /// The ring was given up as not trustworthy.
    Distrusts,
    /// Counts while the reader lives.
    Beat,
    Starts,
    Told,
    Positions,
    Epoch,
    Reaped,
    /// A subscriber's connections that ended.
    Cuts,
    /// Cursors that a subscriber was given out of order.
    Backwards,
    /// Events that a subscriber got before an earlier one of the same publisher.
    Disordered,
    /// Set by the driver: everybody ends.
    Stop,
    Count,
}

pub struct Book {
    dir: PathBuf,
    board: Words,
    told: Words,
}

impl Book {
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            board: Words::file(&dir.join("board"), Board::Count as usize)?,
            told: Words::file(&dir.join("told"), RANGES * 3)?,
            dir: dir.to_owned(),
        })
    }

    pub fn get(&self, word: Board) -> u64 {
        self.board[word as usize].load(Acquire)
    }

    pub fn set(&self, word: Board, value: u64) {
        self.board[word as usize].store(value, Release);
    }

    pub fn add(&self, word: Board, value: u64) {
        self.board[word as usize].fetch_add(value, Release);
    }

    pub fn raise(&self, word: Board, value: u64) {
        self.board[word as usize].fetch_max(value, Release);
    }

    /// The positions `from..to` will not be read; at most `bound` events are among them. The range is
    /// complete before it counts.
    pub fn tell(&self, from: u64, to: u64, bound: u64) {
        let n = self.get(Board::Told) as usize;
        assert!(n < RANGES, "more losses than can be noted");
        for (word, value) in self.told[n * 3..].iter().zip([from, to, bound]) {
            word.store(value, Relaxed);
        }
        self.set(Board::Told, n as u64 + 1);
        self.add(Board::Positions, to - from);
    }

    fn told_rows(&self) -> impl Iterator<Item = [u64; 3]> {
        let count = self.get(Board::Told) as usize;
        let rows = self.told[..count * 3].chunks_exact(3);
        rows.map(|row| [0, 1, 2].map(|n| row[n].load(Relaxed)))
    }

    /// Ranges in which more events are `missing` (positions) than was told. A subscriber's ranges do
    /// not overlap.
    pub fn understated(&self, missing: &mut [u64]) -> Vec<String> {
        missing.sort_unstable();
        let below = |end: u64| missing.partition_point(|at| *at < end);
        let few = |[from, to, bound]: [u64; 3]| {
            let gone = (below(to) - below(from)) as u64;
            let note = || format!("{gone} events missing in {from}..{to}, at most {bound} told");
            (gone > bound).then(note)
        };
        self.told_rows().filter_map(few).collect()
    }

    /// What was told, sorted and merged.
    pub fn told(&self) -> Vec<(u64, u64)> {
        let mut all: Vec<_> = self.told_rows().map(|[from, to, _]| (from, to)).collect();
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (from, to) in all {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        merged
    }

    /// Where the reader notes the positions of an incarnation's events; None once it is settled.
    pub fn seen(&self, id: u32) -> Option<Words> {
        let path = self.path("seen", id);
        path.exists().then(|| Words::file(&path, EVENTS).ok())?
    }

    /// Where a publisher notes what it was told: word 0 is how many it attempted.
    pub fn acks(&self, id: u32) -> io::Result<Words> {
        Words::file(&self.path("ack", id), EVENTS + 1)
    }

    /// Before a publisher starts. `words`: false for PHP, which appends bytes to its file.
    pub fn begin(&self, id: u32, words: bool) -> io::Result<()> {
        Words::file(&self.path("seen", id), EVENTS)?;
        if words {
            self.acks(id).map(drop)
        } else {
            File::create(self.path("ack", id)).map(drop)
        }
    }

    fn path(&self, kind: &str, id: u32) -> PathBuf {
        self.dir.join(format!("{kind}-{id}"))
    }
}

/// How an incarnation's events fared.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub acked: u64,
    pub arrived: u64,
    /// In a range that was told.
    pub told: u64,
    pub failed: u64,
    /// Acknowledged, not read, not told.
    pub unexplained: u64,
    /// Read at another position than the one acknowledged.
    pub elsewhere: u64,
    /// Arrived although publish() said that it failed.
    pub phantoms: u64,
    /// Arrived before an earlier one of the same publisher.
    pub disordered: u64,
    /// Positions of the acknowledged events that were told to be lost, where they are known.
    pub missing: Vec<u64>,
    pub notes: Vec<String>,
}

impl Account {
    pub fn bad(&self) -> u64 {
        self.unexplained + self.elsewhere + self.phantoms + self.disordered
    }

    pub fn add(&mut self, other: Self) {
        self.acked += other.acked;
        self.arrived += other.arrived;
        self.told += other.told;
        self.failed += other.failed;
        self.unexplained += other.unexplained;
        self.elsewhere += other.elsewhere;
        self.phantoms += other.phantoms;
        self.disordered += other.disordered;
        self.missing.extend(other.missing);
        self.notes.extend(other.notes);
        self.notes.truncate(20);
    }
}

impl Book {
    /// Accounts for an incarnation that has ended and that the reader has passed, and forgets it.
    pub fn settle(&self, id: u32, words: bool, told: &[(u64, u64)]) -> io::Result<Account> {
        let seen = Words::file(&self.path("seen", id), EVENTS)?;
        let seen: Vec<u64> = seen.iter().map(|word| word.load(Acquire)).collect();
        let account = if words {
            let acks = self.acks(id)?;
            let acks: Vec<u64> = acks[1..].iter().map(|word| word.load(Acquire)).collect();
            by_position(id, &acks, &seen, told)
        } else {
            by_order(id, &std::fs::read(self.path("ack", id))?, &seen, told)
        };
        std::fs::remove_file(self.path("ack", id))?;
        std::fs::remove_file(self.path("seen", id))?;
        Ok(account)
    }
}

/// Publishers that know their positions.
fn by_position(id: u32, acks: &[u64], seen: &[u64], told: &[(u64, u64)]) -> Account {
    let mut account = Account::default();
    for (n, (ack, seen)) in acks.iter().copied().zip(seen.iter().copied()).enumerate() {
        match (ack, seen) {
            // Never tried, or killed on the way: then it may have arrived.
            (0, _) => {}
            (FAILED, 0) => account.failed += 1,
            (FAILED, at) => {
                account.phantoms += 1;
                account
                    .notes
                    .push(format!("{id}.{n} failed, and was read at {at}"));
            }
            (ack, 0) if within(told, ack) => {
                account.acked += 1;
                account.told += 1;
                account.missing.push(ack);
            }
            (ack, 0) => {
                account.acked += 1;
                account.unexplained += 1;
                account
                    .notes
                    .push(format!("{id}.{n} at {ack} was neither read nor told"));
            }
            (ack, at) => {
                account.acked += 1;
                account.arrived += 1;
                // Of an event that was published twice the second counts if the first is lost.
                let repeated = repeats(n as u64) && at > ack && within(told, ack);
                if ack != at && at != ORPHAN && !repeated {
                    account.elsewhere += 1;
                    account
                        .notes
                        .push(format!("{id}.{n} was read at {at}, not at {ack}"));
                }
            }
        }
    }
    order(id, seen, &mut account);
    account
}

/// PHP publishers only know that they published: a missing event is explained by a told range between
/// the positions of its neighbours.
fn by_order(id: u32, acks: &[u8], seen: &[u64], told: &[(u64, u64)]) -> Account {
    let mut account = Account::default();
    let (mut before, mut missing) = (0, Vec::new());
    let explain = |missing: &mut Vec<usize>, from: u64, to: u64, account: &mut Account| {
        // Ranges of this gap, cut to it: they hold at least as many positions as events are missing.
        let near = told.partition_point(|(_, b)| *b <= from);
        let room: u64 = told[near..]
            .iter()
            .take_while(|(a, _)| *a < to)
            .map(|(a, b)| (*b).min(to).saturating_sub((*a).max(from)))
            .sum();
        let explained = room.min(missing.len() as u64);
        account.told += explained;
        account.unexplained += missing.len() as u64 - explained;
        if explained < missing.len() as u64 {
            let note = format!("{id}.{missing:?} between {from} and {to}: {room} positions told");
            account.notes.push(note);
        }
        missing.clear();
    };
    for (n, at) in seen.iter().copied().enumerate() {
        let ack = acks.get(n).copied();
        match (ack, at) {
            (Some(b'1'), 0) => missing.push(n),
            (Some(b'0'), 0) => account.failed += 1,
            (Some(b'0'), at) => {
                account.phantoms += 1;
                account
                    .notes
                    .push(format!("{id}.{n} failed, and was read at {at}"));
            }
            (None, 0) => {}
            (_, at) => {
                if at != ORPHAN {
                    explain(&mut missing, before, at, &mut account);
                    before = at;
                }
                account.arrived += u64::from(ack.is_some());
            }
        }
    }
    explain(&mut missing, before, u64::MAX, &mut account);
    account.acked = acks.iter().filter(|ack| **ack == b'1').count() as u64;
    order(id, seen, &mut account);
    account
}

fn order(id: u32, seen: &[u64], account: &mut Account) {
    let mut last = 0;
    for (n, at) in seen.iter().copied().enumerate() {
        if at == 0 || at == ORPHAN {
            continue;
        }
        if at <= last {
            account.disordered += 1;
            account.notes.push(format!(
                "{id}.{n} was read at {at}, its predecessor at {last}"
            ));
        }
        last = at;
    }
}

/// `told` is sorted and merged.
fn within(told: &[(u64, u64)], position: u64) -> bool {
    let after = told.partition_point(|(from, _)| *from <= position);
    after > 0 && position < told[after - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_go_wrong_is_noticed() {
        let told = [(20, 30), (40, 41)];
        let good = by_position(
            1,
            &[10, 25, 40, FAILED, 50, 0],
            &[10, 0, 0, 0, 50, 60],
            &told,
        );
        assert_eq!(
            (good.bad(), good.acked, good.arrived, good.told, good.failed),
            (0, 4, 2, 2, 1)
        );
        assert_eq!(by_position(1, &[30], &[0], &told).unexplained, 1);
        assert_eq!(by_position(1, &[10], &[11], &told).elsewhere, 1);
        assert_eq!(
            by_position(1, &[20], &[31], &told).elsewhere,
            0,
            "the repeated one"
        );
        assert_eq!(by_position(1, &[FAILED], &[11], &told).phantoms, 1);
        assert_eq!(by_position(1, &[12, 11], &[12, 11], &told).disordered, 1);
    }

    #[test]
    fn a_gap_that_tells_of_too_few_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(dir.path()).unwrap();
        book.tell(10, 20, 2);
        book.tell(30, 40, u64::MAX);
        assert_eq!(book.understated(&mut [12, 11, 31, 32, 33]).len(), 0);
        assert_eq!(book.understated(&mut [19, 12, 10]).len(), 1);
        assert_eq!(book.told(), [(10, 20), (30, 40)]);
    }

    #[test]
    fn php_losses_need_a_told_range_between_their_neighbours() {
        let told = [(20, 22)];
        let account = |acks: &[u8], seen: &[u64]| by_order(1, acks, seen, &told);
        assert_eq!(account(b"111", &[10, 0, 30]).told, 1);
        assert_eq!(
            account(b"11111", &[10, 0, 0, 0, 30]).unexplained,
            1,
            "two positions, three events"
        );
        assert_eq!(account(b"111", &[30, 0, 40]).unexplained, 1);
        assert_eq!(account(b"110", &[30, 40, 50]).phantoms, 1);
        assert_eq!(
            account(b"1", &[30, 40]).bad(),
            0,
            "killed between publish and ack"
        );
    }
}
