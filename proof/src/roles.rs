//! The processes of the torture: a publisher, and a reading daemon made of the `Keeper` that askrd uses.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::Release;
use std::time::{Duration, Instant};

use shared::event::Event;
use shared::keeper::{Keeper, Next};
use shared::publisher::Failure;
use shared::spec::RingSpec;

use crate::book::{Board, Book, EVENTS, FAILED};
use crate::common::Words;
use crate::payload::{Bad, Sender, verify};
use crate::rng::Rng;
use crate::stage;

/// Two sizes of one ring: a daemon that starts with the other one rotates it.
pub fn spec(dir: &Path, second: bool) -> io::Result<RingSpec> {
    let name = format!("{}/ring", dir.display())
        .parse()
        .map_err(io::Error::other)?;
    let (slots, arena) = if second {
        (4096, 8 << 20)
    } else {
        (8192, 4 << 20)
    };
    // 4 MiB / 16: both rings take the same payloads, so that a rotation refuses nobody's.
    let max_payload = Some(256 << 10);
    Ok(RingSpec {
        name,
        slots,
        arena,
        max_payload,
        writers: 256,
        ..RingSpec::default()
    })
}

/// A length from 0 to `max`: mostly small, now and then as large as it goes.
pub fn length(rng: &mut Rng, max: usize) -> usize {
    let most = match rng.below(1000) {
        0..700 => 400,
        700..920 => 8 << 10,
        920..998 => 64 << 10,
        998 => max,
        _ => return max,
    };
    rng.below(most as u64 + 1) as usize
}

/// Publishes until it has nothing left to note, is told to stop, or is killed.
/// `calm`: the mean pause after an event, microseconds.
pub fn publish(dir: &Path, id: u32, key: u64, seed: u64, calm: u64) -> io::Result<()> {
    let book = Book::open(dir)?;
    let acks = book.acks(id)?;
    let max = spec(dir, false)?.max_payload() as usize;
    let mut publisher = stage::publisher(&spec(dir, false)?.name);
    let (mut sender, mut rng) = (Sender::new(key, id, max), Rng::new(seed));
    for counter in 0..EVENTS as u64 {
        if book.get(Board::Stop) != 0 {
            break;
        }
        let len = length(&mut rng, max);
        sender.prepare(counter, len);
        acks[0].store(counter + 1, Release);
        let event = sender.keyed(counter, len);
        let mut said = publisher.publish(&event).map(|at| at.seq);
        if event.key.is_some() {
            // One of the two must arrive, and one only: the first that got a position.
            let again = publisher.publish(&event).map(|at| at.seq);
            said = said.or(again);
        }
        acks[1 + counter as usize].store(*said.as_ref().unwrap_or(&FAILED), Release);
        match said {
            Ok(_) => {}
            Err(error) => {
                eprintln!("publisher {id}: {}", error.message);
                // A crowded table or arena passes; a ring that cannot be used would be news.
                let passing = matches!(
                    error.failure,
                    Failure::TableFull | Failure::ArenaFull | Failure::Contended | Failure::Closed
                );
                if !passing && book.get(Board::Stop) == 0 {
                    return Err(io::Error::other(error.message));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if calm > 0 && rng.one_in(8) {
            std::thread::sleep(Duration::from_micros(rng.below(calm * 16)));
        }
    }
    Ok(())
}

/// Reads what the keeper reads, and notes it all.
struct Reader<'a> {
    book: &'a Book,
    key: u64,
    /// Up to where former readers had noted when this one began; the event at it may be noted already.
    before: u64,
    seen: HashMap<u32, Option<Words>>,
    waiting: Option<Instant>,
    reaped: u64,
}

/// Serves the ring until it is told to stop, or killed.
pub fn keep(dir: &Path, key: u64, second: bool) -> Result<(), Box<dyn std::error::Error>> {
    let book = Book::open(dir)?;
    let mut keeper = Keeper::start(spec(dir, second)?)?;
    let [a, b, c, d, e, f] = keeper.current().epoch().0;
    let epoch = u64::from_le_bytes([a, b, c, d, e, f, 1, 0]);
    let before = book.get(Board::Next);
    if before == 0 {
        book.set(Board::Epoch, epoch);
    } else if book.get(Board::Epoch) != epoch {
        book.add(Board::Distrusts, 1);
    }
    // What publishers overwrote while nobody read: this is where a subscriber's loss is told.
    if before != 0 && keeper.position() > before {
        book.tell(before, keeper.position(), u64::MAX);
        book.raise(Board::Next, keeper.position());
    }
    book.add(Board::Starts, 1);
    let mut reader = Reader {
        book: &book,
        key,
        before,
        seen: HashMap::new(),
        waiting: None,
        reaped: 0,
    };
    while book.get(Board::Stop) < 2 {
        reader.take(&mut keeper);
    }
    Ok(())
}

impl Reader<'_> {
    fn take(&mut self, keeper: &mut Keeper) {
        let next = keeper.step();
        self.book.add(Board::Beat, 1);
        if matches!(next, Next::Empty) {
            if keeper.current().head() > keeper.position() {
                self.waiting.get_or_insert_with(Instant::now);
            } else {
                self.waiting = None;
            }
            let reaped = keeper.reaped().0;
            self.book.add(Board::Reaped, reaped - self.reaped);
            self.reaped = reaped;
            return keeper.wait(Duration::from_millis(100));
        }
        if let Some(since) = self.waiting.take() {
            self.book
                .raise(Board::Stall, since.elapsed().as_nanos() as u64);
        }
        match next {
            // Nothing is skipped here, and nothing has a key.
            Next::Empty | Next::Skipped { .. } | Next::Repeated { .. } => {}
            Next::Event { seq, event } => self.event(seq, &event),
            Next::Lapped { from, to } => {
                self.book.tell(from, to, u64::MAX);
                self.book.raise(Board::Next, to);
            }
            Next::Unreadable { seq, why } => {
                eprintln!("reader: {seq}: {why}");
                self.book.add(Board::Unreadable, 1);
                self.book.raise(Board::Next, seq + 1);
            }
            Next::Changed {
                fresh_epoch,
                reason,
            } => {
                if fresh_epoch {
                    eprintln!("reader: {reason}");
                    self.book.add(Board::Distrusts, 1);
                }
            }
        }
    }

    fn event(&mut self, seq: u64, event: &Event) {
        match verify(self.key, event) {
            Err(Bad::Mark) => {
                eprintln!(
                    "reader: torn at {seq}: id {:?}, {} bytes",
                    event.id(),
                    event.data().len()
                );
                self.book.add(Board::Torn, 1);
            }
            Err(Bad::Foreign) => self.book.add(Board::Forged, 1),
            Ok(sent) => {
                if self.seen.len() > 500 {
                    self.seen.clear();
                }
                let book = self.book;
                let seen = self
                    .seen
                    .entry(sent.publisher)
                    .or_insert_with(|| book.seen(sent.publisher));
                match seen
                    .as_ref()
                    .and_then(|words| words.get(sent.counter as usize))
                {
                    Some(word) => match word.swap(seq, Release) {
                        0 => self.book.add(Board::Events, 1),
                        old if old == seq && seq <= self.before => self.book.add(Board::Again, 1),
                        old => {
                            eprintln!("reader: {sent:?} at {old} and at {seq}");
                            self.book.add(Board::Duplicates, 1);
                        }
                    },
                    // Settled long ago: only a new reader's look at the history meets it.
                    None if seq <= self.before => self.book.add(Board::Again, 1),
                    None => {
                        eprintln!("reader: {sent:?} at {seq} is of nobody");
                        self.book.add(Board::Forged, 1);
                    }
                }
            }
        }
        self.book.raise(Board::Next, seq + 1);
    }
}

/// Waits, at most `limit`, until `done`.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    done()
}
