//! The honest side while somebody scribbles: a reading daemon and publishers that put up with errors.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use shared::event::Event;
use shared::fetch::Fetch;
use shared::keeper::{Keeper, Next};

use crate::book::{Board, Book, EVENTS, FAILED};
use crate::common::Words;
use crate::payload::{Bad, Sender, verify};
use crate::rng::Rng;
use crate::roles::{length, spec};
use crate::stage;

/// Publishes, whatever it is told, until it has nothing left to note or is told to stop.
pub fn publish(dir: &Path, id: u32, key: u64, seed: u64) -> io::Result<()> {
    let book = Book::open(dir)?;
    let acks = book.acks(id)?;
    let max = spec(dir, false)?.max_payload() as usize;
    let mut publisher = stage::publisher(&spec(dir, false)?.name);
    let (mut sender, mut rng) = (Sender::new(key, id, max), Rng::new(seed));
    for counter in 0..EVENTS as u64 {
        if book.get(Board::Stop) != 0 {
            break;
        }
        let len = length(&mut rng, max / 4);
        sender.prepare(counter, len);
        acks[0].store(counter + 1, Release);
        let said = publisher
            .publish(&sender.event(counter, len))
            .map(|at| at.seq);
        acks[1 + counter as usize].store(said.unwrap_or(FAILED), Release);
        std::thread::sleep(Duration::from_micros(rng.below(2000)));
    }
    Ok(())
}

/// Reads on, and notes what it was given.
struct Reader<'a> {
    book: &'a Book,
    key: u64,
    notes: HashMap<u32, Option<(Words, Words)>>,
    inode: (u64, u64),
    /// When the present ring was made, Unix time in nanoseconds; 0: before the siege.
    made: u64,
}

/// Serves until it is told to stop. A crash or a standstill is the driver's to notice.
pub fn keep(dir: &Path, key: u64, seed: u64) -> Result<(), Box<dyn std::error::Error>> {
    let book = Book::open(dir)?;
    let mut keeper = Keeper::start(spec(dir, false)?)?;
    let mut rng = Rng::new(seed);
    book.add(Board::Starts, 1);
    let first = keeper.current().inode();
    let mut reader = Reader {
        book: &book,
        key,
        notes: HashMap::new(),
        inode: first,
        made: 0,
    };
    book.set(Board::Stall, u64::MAX);
    while book.get(Board::Stop) < 2 {
        reader.take(&mut keeper);
        reader.look_back(&keeper, &mut rng);
    }
    Ok(())
}

impl Reader<'_> {
    fn take(&mut self, keeper: &mut Keeper) {
        let next = keeper.step();
        self.book.add(Board::Beat, 1);
        match next {
            Next::Empty => keeper.wait(Duration::from_millis(100)),
            Next::Event { seq, event } => {
                self.event(&event);
                self.book.set(Board::Next, seq + 1);
            }
            Next::Lapped { from, to } => {
                self.book.add(Board::Told, 1);
                self.book.add(Board::Positions, to - from);
            }
            Next::Skipped { .. } | Next::Repeated { .. } | Next::Unreadable { .. } => {
                self.book.add(Board::Unreadable, 1)
            }
            Next::Changed { fresh_epoch, .. } => {
                self.book.add(Board::Distrusts, u64::from(fresh_epoch))
            }
        }
        self.pause(keeper);
    }

    /// Notes the shortest time between two replacements (in `Stall`, nanoseconds), by what the rings say:
    /// this process may be away for longer than the times differ.
    fn pause(&mut self, keeper: &Keeper) {
        let ring = keeper.current();
        if ring.inode() != self.inode {
            self.inode = ring.inode();
            if self.made != 0 {
                let gap = ring.created_ns().saturating_sub(self.made);
                self.book
                    .set(Board::Stall, self.book.get(Board::Stall).min(gap));
            }
            self.made = ring.created_ns();
            self.book.add(Board::Epoch, 1);
        }
    }

    /// As a subscriber's replay does: any position of any segment, and the statistics.
    fn look_back(&mut self, keeper: &Keeper, rng: &mut Rng) {
        for segment in keeper.segments() {
            let span = segment.head().saturating_sub(segment.oldest()) + 3;
            let position = segment
                .oldest()
                .saturating_add(rng.below(span))
                .saturating_sub(1);
            if let Fetch::Event(event) = segment.read(position) {
                self.judge(&event);
            }
            if rng.one_in(200) {
                let _ = segment.history_seconds();
            }
        }
    }

    /// Who sent it, if an honest publisher did.
    fn judge(&mut self, event: &Event) -> Option<(u32, u64)> {
        match verify(self.key, event) {
            Ok(sent) => Some((sent.publisher, sent.counter)),
            Err(Bad::Foreign) => {
                self.book.add(Board::Forged, 1);
                None
            }
            Err(Bad::Mark) => {
                eprintln!(
                    "reader: false: id {:?}, {} bytes",
                    event.id(),
                    event.data().len()
                );
                self.book.add(Board::Torn, 1);
                None
            }
        }
    }

    fn event(&mut self, event: &Event) {
        let Some((publisher, counter)) = self.judge(event) else {
            return;
        };
        let book = self.book;
        let notes = self
            .notes
            .entry(publisher)
            .or_insert_with(|| Some((book.seen(publisher)?, book.acks(publisher).ok()?)));
        let attempted = notes
            .as_ref()
            .is_some_and(|(_, acks)| acks[0].load(Acquire) > counter);
        if !attempted {
            eprintln!("reader: {publisher}.{counter} was never sent");
            return self.book.add(Board::Torn, 1);
        }
        if let Some((seen, _)) = notes {
            match seen[counter as usize].swap(1, Release) {
                0 => self.book.add(Board::Events, 1),
                _ => {
                    eprintln!("reader: {publisher}.{counter} twice");
                    self.book.add(Board::Duplicates, 1);
                }
            }
        }
    }
}
