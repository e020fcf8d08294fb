//! The ring is the outbox: what was published on this node, in ring order, as entries for the log.
//!
//! The driver appends one piece after another and says when the log has it. If it cannot know (the answer did not come),
//! it appends the same piece again, without what was erased since: whoever reads an entry twice drops it. So nothing is relayed out of order, and
//! nothing is forgotten; at worst something is in the log twice.
//!
//! What others want again is read from the ring again, in pieces between those that are new. The next piece of it is sent
//! when this node has read the one before in the log: sent as fast as the log takes it, it would be trimmed before anybody
//! has read it, and be wanted again for ever.
//!
//! Where the log itself became another one nobody has to ask first, nor is a piece awaited: what others published comes into the
//! same ring, and takes the place of what only this node has. So the driver reads no more of the log than it can do without
//! until `owes` says that the log has that, too.
//!
//! A node also sends again what it has imported from an origin that is dead: then the log lost what its origin can no longer
//! send. What it lacks itself it says nothing of: others may have it, and the origin may come back.

use std::collections::{BTreeMap, VecDeque};

use shared::cursor::{Cursor, Epoch};
use shared::event::Event;
use shared::vector::{OriginId, Vector};

use crate::entry::{Body, Entry, MAX_LEN};
use crate::import::{Importer, Known};
use crate::node_state::NodeState;

/// Bytes of one piece, if it has more than one entry.
pub const PIECE_BYTES: usize = 256 << 10;
/// Places of the ring that are read for one piece.
pub const PIECE_PLACES: usize = 4096;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of one piece: a small part of what the log holds, since one piece of each node that sends again is in
    /// flight.
    pub piece: usize,
    /// How long a range that was sent again is not sent once more, and how long a piece of it is awaited in the log before
    /// the next one is sent, milliseconds.
    pub patience: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            piece: 256,
            patience: 1_000,
        }
    }
}

/// What this node's ring has of a position: of its own, or of another origin's whose events it has imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The event there, as it was published: without the field that says that it was imported.
    Event(Event),
    /// No event of that origin from the position asked for up to this one. Of own ones: holes, erased events, others' events,
    /// positions between two segments.
    Nothing { through: u64 },
    /// What was published from the position asked for up to this one can no longer be read, or never could.
    Lost { through: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    New,
    Again,
}

/// A range that is sent again: (from, until], of which there is (next, until] left.
#[derive(Clone, Copy, Debug)]
struct Again {
    epoch: Epoch,
    start: u64,
    from: u64,
    next: u64,
    until: u64,
    /// The log took everything up to `next` then, and this node has not read it yet.
    awaits: Option<u64>,
    /// No piece of it is awaited.
    at_once: bool,
}

/// Something of an origin has been sent again: whoever still wants something of it has to say so anew.
#[derive(Debug)]
struct Sent {
    ended: u64,
    /// The beats of states that were made before, by node; none until they are looked at.
    stale: BTreeMap<OriginId, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that the log took.
    pub relayed: u64,
    /// Entries that the log took once more, because somebody wanted them.
    pub again: u64,
    /// Entries that say that something is lost.
    pub lost: u64,
}

#[derive(Debug)]
pub struct Relay {
    epoch: Epoch,
    start: u64,
    limits: Limits,
    /// The last position that the log has.
    last: u64,
    /// How far the ring was read for new events.
    scanned: u64,
    /// What is being appended.
    pending: Vec<Entry>,
    pending_is: Piece,
    /// What is sent again, in turns; what is being appended is of the first.
    again: VecDeque<Again>,
    sent: BTreeMap<OriginId, Sent>,
    pub counts: Counts,
}

impl Relay {
    /// `start`: the position before the origin's first event ever. `place`: everything up to there is in the log, as far
    /// as is known; if it is too low, some of it is sent twice.
    pub fn new(epoch: Epoch, start: u64, place: u64, limits: Limits) -> Self {
        let place = place.max(start);
        Self {
            epoch,
            start,
            limits,
            last: place,
            scanned: place,
            pending: Vec::new(),
            pending_is: Piece::New,
            again: VecDeque::new(),
            sent: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    /// The last position that was relayed: `NodeState::last`.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The last position of which the log may have something.
    pub fn said(&self) -> u64 {
        self.scanned
    }

    /// There is nothing after `last` up to there: `NodeState::through`.
    pub fn through(&self) -> u64 {
        match self.pending_is == Piece::New && !self.pending.is_empty() {
            true => self.last,
            false => self.scanned,
        }
    }

    /// Whether there is something to do: to append, or to read up to `completed`, the last position that is settled.
    pub fn is_behind(&self, now: u64, completed: u64) -> bool {
        !self.pending.is_empty() || self.next_again(now).is_some() || self.scanned < completed
    }

    /// What to append next, in this order; nothing, if up to `completed` there is nothing or not yet (see `is_behind`). The
    /// same again until `appended` is called, but for what is erased meanwhile. `read` is asked for own positions up to `completed`, or
    /// for those of an origin that is dead.
    pub fn piece(
        &mut self,
        now: u64,
        completed: u64,
        read: impl FnMut(Cursor) -> Record,
    ) -> &[Entry] {
        if !self.pending.is_empty() {
            self.leave_out_erased(read);
        } else {
            // In turns, so that neither waits for the other.
            let turn = self.pending_is == Piece::New || self.scanned >= completed;
            match self.next_again(now) {
                Some(at) if turn => {
                    self.again.rotate_left(at);
                    self.read_again(now, read);
                }
                _ => self.read_new(completed, read),
            }
        }
        &self.pending
    }

    /// Of what was not appended, because the log was away. What was overwritten since is kept: nobody else has it.
    fn leave_out_erased(&mut self, mut read: impl FnMut(Cursor) -> Record) {
        for entry in &mut self.pending {
            let at = Cursor {
                epoch: entry.epoch,
                seq: entry.position,
            };
            if let Body::Event(event) = &mut entry.body {
                match read(at) {
                    Record::Event(left) => *event = left,
                    Record::Nothing { .. } => entry.body = Body::Nothing,
                    Record::Lost { .. } => {}
                }
            }
        }
    }

    /// Which range comes next: one of which no piece is awaited.
    fn next_again(&self, now: u64) -> Option<usize> {
        let patience = self.limits.patience;
        let ready = |range: &Again| range.awaits.is_none_or(|since| now >= since + patience);
        self.again.iter().position(ready)
    }

    /// This node has read an entry in the log. Whether that was awaited.
    pub fn seen(&mut self, at: Cursor) -> bool {
        let awaited = |range: &&mut Again| {
            (range.epoch, range.next) == (at.epoch, at.seq) && range.awaits.is_some()
        };
        let found = self.again.iter_mut().find(awaited);
        found.is_some_and(|range| range.awaits.take().is_some())
    }

    fn read_new(&mut self, completed: u64, read: impl FnMut(Cursor) -> Record) {
        self.pending_is = Piece::New;
        let (epoch, start, last) = (self.epoch, self.start, self.last);
        let mut said = Statement { epoch, start, last };
        self.scanned = self.fill(&mut said, self.scanned, completed, read);
    }

    /// A piece of the first range.
    fn read_again(&mut self, now: u64, read: impl FnMut(Cursor) -> Record) {
        self.pending_is = Piece::Again;
        let Some(range) = self.again.front().copied() else {
            return;
        };
        let mut said = Statement {
            epoch: range.epoch,
            start: range.start,
            last: range.next,
        };
        let scanned = self.fill(&mut said, range.next, range.until, read);
        // What was there may have been erased: whoever waits for something there must not wait for ever.
        if scanned > said.last {
            self.pending.push(said.next(scanned, Body::Nothing));
        }
        if self.pending.is_empty() {
            self.go_on(now, scanned, None);
        }
    }

    /// The first range was sent again up to `next`.
    fn go_on(&mut self, now: u64, next: u64, awaits: Option<u64>) {
        let Some(range) = self.again.pop_front() else {
            return;
        };
        if next < range.until {
            self.again.push_back(Again {
                next,
                awaits,
                ..range
            });
            return;
        }
        let (ended, stale) = (now, BTreeMap::new());
        self.sent.insert(range.epoch.into(), Sent { ended, stale });
    }

    /// Reads (scanned, until]. Returns how far.
    fn fill(
        &mut self,
        said: &mut Statement,
        mut scanned: u64,
        until: u64,
        mut read: impl FnMut(Cursor) -> Record,
    ) -> u64 {
        let epoch = said.epoch;
        let mut bytes = 0;
        for _ in 0..PIECE_PLACES {
            if scanned >= until || self.pending.len() >= self.limits.piece {
                break;
            }
            let seq = scanned + 1;
            let (through, body) = match read(Cursor { epoch, seq }) {
                Record::Event(event) => (seq, Some(Body::Event(event))),
                Record::Nothing { through } => (through.clamp(seq, until), None),
                Record::Lost { through } => (through.clamp(seq, until), Some(Body::Lost)),
            };
            if body == Some(Body::Lost) && epoch != self.epoch {
                said.last = through;
            } else if let Some(body) = body {
                let mut entry = said.next(through, body);
                if entry.size() > MAX_LEN {
                    entry.body = Body::Lost;
                }
                if !self.pending.is_empty() && bytes + entry.size() > PIECE_BYTES {
                    break;
                }
                bytes += entry.size();
                said.last = through;
                match self.pending.last_mut() {
                    Some(last) if (&last.body, &entry.body) == (&Body::Lost, &Body::Lost) => {
                        last.position = through;
                    }
                    _ => self.pending.push(entry),
                }
            }
            scanned = through;
        }
        scanned
    }

    /// The log has the whole piece.
    pub fn appended(&mut self, now: u64) {
        let Some(last) = self.pending.last() else {
            return;
        };
        let position = last.position;
        for entry in &self.pending {
            match (self.pending_is, &entry.body) {
                (Piece::Again, _) => self.counts.again += 1,
                (Piece::New, Body::Event(_)) => self.counts.relayed += 1,
                (Piece::New, Body::Lost) => self.counts.lost += 1,
                (Piece::New, Body::Nothing | Body::Unreadable(_)) => {}
            }
        }
        match self.pending_is {
            Piece::New => self.last = position,
            Piece::Again => {
                let at_once = self.again.front().is_some_and(|range| range.at_once);
                self.go_on(now, position, (!at_once).then_some(now));
            }
        }
        self.pending.clear();
    }

    /// Looks whether somebody who is alive wants something again: of each origin from the lowest position that is wanted up
    /// to the last that there is, or to what is under way already. When all of that was sent, those who still want something
    /// of this origin have to say so anew.
    pub fn look_at_wants(&mut self, now: u64, importer: &Importer) {
        let nodes = importer.nodes();
        for sent in self.sent.values_mut().filter(|sent| sent.stale.is_empty()) {
            let beats = nodes.states().map(|state| (state.origin(), state.beat));
            sent.stale = beats.collect();
        }
        let mut wanted = Vector::default();
        for state in nodes.living() {
            for (origin, from) in state.wants.iter() {
                if self.is_news(now, origin, state) {
                    let lowest = wanted.get(origin).map_or(from, |other| other.min(from));
                    let _ = wanted.set(origin, lowest);
                }
            }
        }
        for (origin, from) in wanted.iter() {
            let own = origin == OriginId::from(self.epoch);
            let known = match own {
                true => Some(Known {
                    epoch: self.epoch,
                    start: self.start,
                    have: self.last,
                }),
                false => importer.estate(origin),
            };
            let Some(known) = known else {
                continue;
            };
            let of_it = self.again.iter().filter(|range| range.epoch == known.epoch);
            let under_way = of_it.map(|range| range.from).min();
            let from = from.max(known.start);
            let until = under_way.unwrap_or(known.have);
            if from < until {
                self.again.push_back(Again {
                    epoch: known.epoch,
                    start: known.start,
                    from,
                    next: from,
                    until,
                    awaits: None,
                    at_once: false,
                });
                self.sent.remove(&origin);
            }
        }
    }

    /// The log is another one, which may lack what the former one had. These nodes are known to have everything of this one up
    /// to `have`: what follows is sent again at once, and no more of it than so many positions, which the log has room for.
    pub fn log_changed(&mut self, have: u64, most: u64) {
        let from = have.max(self.start);
        let until = self.last.min(from.saturating_add(most));
        if from < until {
            self.again.push_front(Again {
                epoch: self.epoch,
                start: self.start,
                from,
                next: from,
                until,
                awaits: None,
                at_once: true,
            });
        }
    }

    /// Whether the log may lack something of this node up to `until` that no other node has asked for.
    pub fn owes(&self, until: u64) -> bool {
        self.through() < until || self.again.iter().any(|range| range.at_once)
    }

    /// Whether what a node wants of an origin was not sent since.
    fn is_news(&self, now: u64, origin: OriginId, state: &NodeState) -> bool {
        self.sent.get(&origin).is_none_or(|sent| {
            let said_before = sent.stale.get(&state.origin()) == Some(&state.beat);
            now >= sent.ended + self.limits.patience && !said_before
        })
    }
}

/// Up to where everything was said of an origin.
#[derive(Clone, Copy)]
struct Statement {
    epoch: Epoch,
    start: u64,
    last: u64,
}

impl Statement {
    fn next(self, position: u64, body: Body) -> Entry {
        Entry {
            epoch: self.epoch,
            start: self.start,
            previous: self.last,
            position: position.min(Cursor::END - 1),
            body,
        }
    }
}
