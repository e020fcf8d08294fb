//! A ring of one's own, without threads: what `Keeper` is made of, driven by hand, so that a test
//! decides when the reader reads and when the reaper looks.

use std::fs::OpenOptions;
use std::io;
use std::time::{Duration, Instant};

use shared::event::Event;
use shared::layout::*;
use shared::name::RingName;
use shared::owner;
use shared::prim::{AtomicU64, Ordering::*};
use shared::publisher::{AttachOptions, Publisher};
use shared::reaper::{Reaper, Swept};
use shared::ring::Ring;
use shared::segment::{Segment, now_ns};
use shared::stamp::Stamp;
use shared::tail::{Step, Tail};
use tempfile::TempDir;

/// Nothing that works takes this long; what does is called stuck.
const STUCK: Duration = Duration::from_secs(20);

pub struct Stage {
    pub name: RingName,
    pub segment: Segment,
    pub tail: Tail,
    reaper: Reaper,
    _dir: TempDir,
}

/// What the reader met on its way to the tail.
#[derive(Debug, Default)]
pub struct Seen {
    pub events: Vec<(u64, Event)>,
    /// Ranges of positions it was told to be gone.
    pub lapped: Vec<(u64, u64)>,
    /// Anything that must not happen when all writers are honest.
    pub wrong: Vec<String>,
}

impl Stage {
    pub fn new(geometry: Geometry, max_payload: u64) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("askr-proof-")
            .tempdir_in("/dev/shm")?;
        let text = format!("{}/ring", dir.path().display());
        let name: RingName = text.parse().map_err(io::Error::other)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(name.path())?;
        file.set_len(geometry.total_len() as u64)?;
        let segment = Segment::format(&file, geometry, max_payload, [7; 16], geometry.slots())
            .map_err(io::Error::other)?;
        let locks = owner::open_again(name.path(), segment.inode())
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        let tail = Tail::new(segment.first(), true);
        let stage = Self {
            name,
            tail,
            reaper: Reaper::new(locks),
            segment,
            _dir: dir,
        };
        stage.beat();
        Ok(stage)
    }

    pub fn ring(&self) -> Ring<'_> {
        self.segment.ring()
    }

    /// As askrd does four times a second: while this is fresh, publishers look at nothing else.
    pub fn beat(&self) {
        self.ring().word(W_HEARTBEAT).store(now_ns(), Release);
    }

    pub fn publisher(&self) -> Publisher {
        publisher(&self.name)
    }

    /// Reads to the tail. A claim that stays open is waited for and poisoned, as askrd does.
    pub fn drain(&mut self) -> Seen {
        let mut seen = Seen::default();
        let begun = Instant::now();
        loop {
            match self.tail.step(self.segment.ring()) {
                Step::Event { seq, event } => seen.events.push((seq, event)),
                Step::Lapped { from, to } => seen.lapped.push((from, to)),
                // Nothing is skipped here.
                Step::Skipped { seq } => seen.wrong.push(format!("{seq}: skipped")),
                Step::Unreadable { seq, why } => seen.wrong.push(format!("{seq}: {why}")),
                Step::Distrust(why) => {
                    seen.wrong.push(format!("distrust: {why}"));
                    return seen;
                }
                Step::End => return seen,
                Step::Empty if self.tail.next() >= self.segment.head() => return seen,
                Step::Empty if begun.elapsed() > STUCK => {
                    seen.wrong.push(format!("stuck at {}", self.tail.next()));
                    return seen;
                }
                Step::Empty => self
                    .tail
                    .wait(self.segment.ring(), Duration::from_millis(5)),
            }
        }
    }

    /// One look for dead owners; two in a row reap what died before the first.
    pub fn sweep(&mut self) -> io::Result<Swept> {
        self.reaper.sweep(self.segment.ring())
    }

    pub fn pins(&self) -> usize {
        pins(self.ring())
    }

    pub fn dirty(&self) -> usize {
        dirty(self.ring())
    }
}

/// Slots and cells that an unfinished writer owns.
pub fn pins(ring: Ring<'_>) -> usize {
    let pinned = |word: &&AtomicU64| Stamp(word.load(Acquire)).pinned();
    ring.all_stamps().filter(pinned).count()
}

/// Writers in the middle of a publish, or dead there.
pub fn dirty(ring: Ring<'_>) -> usize {
    let writers = ring.geometry().writers() as u16;
    let dirty = |n: &u16| ring.writer(*n)[WR_DIRTY].load(Acquire) != 0;
    (1..writers).filter(dirty).count()
}

pub fn publisher(name: &RingName) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.configure(AttachOptions {
        name: name.clone(),
        ..AttachOptions::default()
    });
    publisher
}
