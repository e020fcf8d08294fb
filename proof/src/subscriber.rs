//! One subscriber of the real askrd, as a browser is: it reads, is cut off or leaves at any moment,
//! comes back with the last id it was given, and believes what `askr:gap` tells it. It notes all of it
//! in the book, and what no honest stream may do at once.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, path::Path};

use shared::cursor::Cursor;

use crate::book::{Board, Book, ORPHAN};
use crate::common::Words;
use crate::payload::{Bad, CHANNEL, Sent, verify_parts};
use crate::rng::Rng;
use crate::sse::{Block, Stream};

/// Publishers from this number on are PHP: they note no attempts in words.
pub const PHP: u32 = 1 << 24;
/// askrd pings twice a second.
const QUIET: Duration = Duration::from_secs(5);
/// Leaves by itself once in so many blocks.
const FICKLE: u64 = 3000;

pub struct Subscriber {
    book: Book,
    key: u64,
    rng: Rng,
    /// What a browser would send as Last-Event-ID.
    last_id: Option<String>,
    at: Option<Cursor>,
    /// Dispatched; its position comes with the next block.
    pending: Option<Sent>,
    seen: HashMap<u32, Option<(Words, Option<Words>)>>,
    /// Each publisher's last counter.
    counters: HashMap<u32, u64>,
    /// Up to here events come again: askrd did not know the id, said so, and sends all it holds.
    again: u64,
    notes: Cell<u32>,
    /// Somebody scribbles: the order of a publisher's events is not the ring's to keep then.
    besieged: bool,
}

/// Subscribes in a thread of its own until `Board::Stop` is 2.
pub fn start(
    dir: &Path,
    port: u16,
    key: u64,
    seed: u64,
    besieged: bool,
) -> io::Result<JoinHandle<()>> {
    let mut subscriber = Subscriber {
        book: Book::open(dir)?,
        key,
        rng: Rng::new(seed),
        last_id: None,
        at: None,
        pending: None,
        seen: HashMap::new(),
        counters: HashMap::new(),
        again: 0,
        notes: Cell::new(0),
        besieged,
    };
    let run = move || {
        while subscriber.book.get(Board::Stop) < 2 {
            // Refused or cut: the daemon is away, and will be back.
            if subscriber.stay(port).is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    };
    std::thread::Builder::new().spawn(run)
}

impl Subscriber {
    /// One connection, to its end.
    fn stay(&mut self, port: u16) -> io::Result<()> {
        let mut stream = Stream::open(port, CHANNEL, self.last_id.as_deref(), QUIET)?;
        let mut told = false;
        while self.book.get(Board::Stop) < 2 {
            let block = stream.block().inspect_err(|_| self.cut())?;
            self.take(block);
            if !told && self.at.is_some() {
                told = true;
                self.book.add(Board::Starts, 1);
            }
            if self.rng.one_in(FICKLE) {
                self.cut();
                return Ok(());
            }
        }
        Ok(())
    }

    /// The connection ended. An event whose position was on its way has been dispatched all the same.
    fn cut(&mut self) {
        self.book.add(Board::Cuts, 1);
        if let Some(sent) = self.pending.take() {
            self.note(sent, ORPHAN);
        }
    }

    fn take(&mut self, block: Block) {
        let resumed = self.last_id.clone();
        if let Some(id) = &block.id {
            self.last_id = Some(id.clone());
        }
        let cursor = block.id.as_deref().and_then(|id| id.parse().ok());
        match (block.event.as_deref(), block.data) {
            (Some("askr:gap"), Some(data)) => {
                if let Some(cursor) = cursor {
                    self.gap(cursor, resumed.as_deref(), &String::from_utf8_lossy(&data));
                }
            }
            // Who it is: every stream begins with that.
            (Some("askr:connected"), _) => {}
            (_, Some(data)) => self.message(block.id.as_deref(), &data, cursor),
            (_, None) => {
                if let Some(cursor) = cursor {
                    let fresh = self.moved(cursor);
                    if let Some(sent) = self.pending.take() {
                        if !fresh {
                            self.wrong(Board::Backwards, &format!("{sent:?} again at {cursor}"));
                        }
                        self.note(sent, cursor.seq);
                    }
                    self.book.raise(Board::Next, cursor.seq + 1);
                }
            }
        }
    }

    /// Goes to `cursor`; true if that is news.
    fn moved(&mut self, cursor: Cursor) -> bool {
        match self.at.replace(cursor) {
            Some(before) if before.epoch != cursor.epoch => {
                self.book.add(Board::Distrusts, 1);
                true
            }
            Some(before) if cursor.seq < before.seq => {
                self.wrong(Board::Backwards, &format!("{before}, then {cursor}"));
                false
            }
            before => before != Some(cursor),
        }
    }

    fn gap(&mut self, cursor: Cursor, resumed: Option<&str>, told: &str) {
        let bound = told.split_once("\"at_most\":").map(|(_, rest)| rest);
        let bound: Option<u64> = bound.and_then(|rest| rest.trim_end_matches('}').parse().ok());
        let before = self.at.filter(|before| before.epoch == cursor.epoch);
        match (bound, before) {
            // It knows every cursor of its ring, but a publisher's id only while it holds the event.
            (None, Some(before)) if resumed.is_none_or(|id| id.parse::<Cursor>().is_err()) => {
                self.again = self.again.max(before.seq);
                self.at = Some(cursor);
            }
            (None, Some(before)) if !self.besieged => {
                self.wrong(Board::Backwards, &format!("{before} was not known"));
                self.moved(cursor);
            }
            _ => drop(self.moved(cursor)),
        }
        if let Some(before) = before
            && before.seq < cursor.seq
        {
            let bound = bound.unwrap_or(u64::MAX);
            self.book.tell(before.seq + 1, cursor.seq + 1, bound);
        }
        self.book.raise(Board::Next, cursor.seq + 1);
    }

    fn message(&mut self, id: Option<&str>, data: &[u8], cursor: Option<Cursor>) {
        if let Some(cursor) = cursor {
            self.moved(cursor);
        }
        match verify_parts(self.key, id, data) {
            Ok(sent) => self.pending = Some(sent),
            Err(Bad::Foreign) => self.book.add(Board::Forged, 1),
            Err(Bad::Mark) => {
                let what = format!("torn: id {id:?}, {} bytes", data.len());
                self.wrong(Board::Torn, &what);
            }
        }
    }

    fn note(&mut self, sent: Sent, position: u64) {
        let Sent { publisher, counter } = sent;
        if self.seen.len() > 500 {
            self.seen.clear();
        }
        let at = if position == ORPHAN {
            self.at.map_or(0, |at| at.seq + 1)
        } else {
            position
        };
        let again = at <= self.again;
        let last = self.counters.entry(publisher).or_insert(0);
        let before = std::mem::replace(last, counter.max(*last));
        if before > counter && !again && !self.besieged {
            self.wrong(Board::Disordered, &format!("{sent:?} after {before}"));
        }
        let (book, besieged) = (&self.book, self.besieged);
        let notes = self.seen.entry(publisher).or_insert_with(|| {
            let noted = besieged && publisher < PHP;
            let acks = noted.then(|| book.acks(publisher).ok());
            Some((book.seen(publisher)?, acks.flatten()))
        });
        let Some((seen, acks)) = notes else {
            // Settled long ago, and read again.
            if again {
                return self.book.add(Board::Again, 1);
            }
            return self.wrong(Board::Forged, &format!("{sent:?} is of nobody"));
        };
        let attempted = |acks: &Words| acks[0].load(Acquire) > counter;
        let untold = self.besieged && !acks.as_ref().is_none_or(attempted);
        let old = match seen.get(counter as usize) {
            Some(word) if !untold => word.swap(position, Release),
            _ => return self.wrong(Board::Torn, &format!("{sent:?} was never sent")),
        };
        if old == 0 {
            self.book.add(Board::Events, 1);
        } else if again || (old == ORPHAN && self.again > 0) {
            self.book.add(Board::Again, 1);
        } else {
            let what = format!("{sent:?} at {old} and at {position}");
            self.wrong(Board::Duplicates, &what);
        }
    }

    fn wrong(&self, word: Board, what: &str) {
        self.notes.set(self.notes.get() + 1);
        if self.notes.get() <= 20 {
            eprintln!("subscriber: {what}");
        }
        self.book.add(word, 1);
    }
}
