//! Random access to the events that the ring's segments still hold: the current one and those it replaced.

use std::sync::Arc;

use parking_lot::RwLock;
use shared::cursor::{Cursor, Epoch};
use shared::event::Event;
use shared::fetch::Fetch;
use shared::segment::Segment;

use crate::process::quarantine;

/// Random access to what the ring still holds. Any thread.
pub trait EventStore: Send + Sync {
    /// The event at `seq`. None: it was overwritten, is unreadable, or the epoch is another one.
    fn fetch(&self, epoch: Epoch, seq: u64) -> Option<Event>;

    /// Whether `seq` is certainly a hole: no event was published there.
    fn is_hole(&self, epoch: Epoch, seq: u64) -> bool;

    /// The first position from `seq` on that may still be held; `u64::MAX` if there is none.
    fn held_from(&self, seq: u64) -> u64;
}

/// What lies at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Event(Event),
    /// No event is there, nor behind it up to this position.
    Nothing {
        through: u64,
    },
    /// What was there up to this position can no longer be read, or never could.
    Lost {
        through: u64,
    },
}

/// The store of one ring: the tailer updates its segments, workers read.
#[derive(Clone, Default)]
pub struct RingStore(Arc<RwLock<Vec<Arc<Segment>>>>);

impl RingStore {
    /// A store of `segments`, oldest first.
    pub fn new(segments: Vec<Arc<Segment>>) -> Self {
        Self(Arc::new(RwLock::new(segments)))
    }

    /// Replaces the segments; oldest first.
    pub fn set(&self, segments: Vec<Arc<Segment>>) {
        *self.0.write() = segments;
    }

    /// The epoch of the newest segment.
    ///
    /// # Panics
    /// If there is no segment: before the first `set`.
    pub fn epoch(&self) -> Epoch {
        let segments = self.0.read();
        segments.last().expect("the tailer has set it").epoch()
    }

    /// The next position that a publisher will claim.
    pub fn head(&self) -> u64 {
        let segments = self.0.read();
        segments.last().map_or(0, |segment| segment.head())
    }

    fn read(&self, epoch: Epoch, seq: u64) -> Option<Fetch> {
        if quarantine::skips(Cursor { epoch, seq }) {
            return None;
        }
        Some(self.segment(epoch, seq)?.read(seq))
    }

    /// What lies at a position that publishers are done with.
    pub fn place(&self, at: Cursor) -> Place {
        if quarantine::skips(at) {
            return Place::Lost { through: at.seq };
        }
        let segments = self.0.read();
        let newest_first = segments.iter().enumerate().rev();
        let mut begun = newest_first.filter(|(_, segment)| segment.first() <= at.seq);
        let Some((n, segment)) = begun.next() else {
            let first = segments.first().map_or(at.seq + 1, |first| first.first());
            return Place::Lost { through: first - 1 };
        };
        if segment.epoch() != at.epoch {
            return Place::Lost { through: at.seq };
        }
        if at.seq >= segment.head() {
            // Between two segments there is nothing.
            let next = segments.get(n + 1).map_or(at.seq + 1, |next| next.first());
            return Place::Nothing { through: next - 1 };
        }
        match segment.read(at.seq) {
            Fetch::Event(event) => Place::Event(event),
            Fetch::Hole => Place::Nothing { through: at.seq },
            Fetch::Overwritten => Place::Lost {
                through: at.seq.max(segment.oldest() - 1),
            },
            Fetch::Pending | Fetch::Unreadable(_) => Place::Lost { through: at.seq },
        }
    }

    /// The oldest position that may still be readable.
    pub fn oldest(&self) -> u64 {
        let segments = self.0.read();
        segments.first().map_or(0, |segment| segment.oldest())
    }

    /// Takes an event out of the ring: from now on there is a hole, for all readers.
    pub fn erase(&self, at: Cursor) {
        if let Some(segment) = self.segment(at.epoch, at.seq) {
            segment.erase(at.seq);
        }
    }

    /// The segment that has this position.
    fn segment(&self, epoch: Epoch, seq: u64) -> Option<Arc<Segment>> {
        let segments = self.0.read();
        let newest_first = &mut segments.iter().rev();
        let segment = newest_first.find(|segment| segment.first() <= seq)?;
        (segment.epoch() == epoch).then(|| segment.clone())
    }

    /// Seconds between the oldest event held and now.
    pub fn history_seconds(&self) -> f64 {
        let segments = self.0.read().clone();
        segments
            .iter()
            .map(|segment| segment.history_seconds())
            .fold(0.0, f64::max)
    }
}

impl EventStore for RingStore {
    fn held_from(&self, seq: u64) -> u64 {
        let segments = self.0.read();
        segments
            .iter()
            .find(|segment| seq < segment.head())
            .map_or(u64::MAX, |segment| seq.max(segment.oldest()))
    }

    fn fetch(&self, epoch: Epoch, seq: u64) -> Option<Event> {
        match self.read(epoch, seq)? {
            Fetch::Event(event) => Some(event),
            _ => None,
        }
    }

    fn is_hole(&self, epoch: Epoch, seq: u64) -> bool {
        matches!(self.read(epoch, seq), Some(Fetch::Hole))
    }
}
