//! What a node makes of the log: each origin's events once, in order, without a hole that nobody is told of.
//!
//! For each origin the importer knows how far it *has* everything. An entry is taken if it joins on to that
//! (`previous` ≤ have < `position`); one that says nothing new is a duplicate; one that is ahead of a hole is *held
//! back*, within bounds, and what is lacking is *wanted* from its origin, which sends it again. That one mechanism serves
//! for everything that can happen to the log: emptied, trimmed, failed over to a replica that lacked its end, read again.
//! Ids of the log play no part in it.
//!
//! What a dead origin can no longer send again, a node sends that has it. What nobody alive can send any more becomes a
//! *gap*: what its origin says is lost, what this version cannot read, and the holes of an origin that is dead.
//!
//! An origin that is first met while the node starts up is taken from the first entry that the log still has: what was
//! before is no business of a node that was not there. One that is met later is taken from its start, so that what the log
//! lost meanwhile is asked for.
//!
//! Whoever drives it publishes what comes out, in order, before it goes on: `have` counts it as published.

use std::collections::{BTreeMap, VecDeque};

use shared::cursor::{Cursor, Epoch};
use shared::event::Event;
use shared::vector::{OriginId, Vector};

use crate::entry::{Body, Entry};
use crate::node_state::NodeState;
use crate::nodes::{Nodes, Standing, Times};

/// An origin that is dead for so long leaves, milliseconds.
pub const RETIRE_AFTER: u64 = 24 * 60 * 60 * 1000;
/// Up to where a ring is given up whose end nobody knows.
const ENDLESS: u64 = Cursor::END - 1;
/// Origins that left whose last position is remembered.
pub const MAX_FORMER: usize = 256;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that are held back of one origin.
    pub held_of_one: usize,
    /// Bytes that are held back of all.
    pub held: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            held_of_one: 8 << 20,
            held: 32 << 20,
        }
    }
}

/// What is remembered of an origin from before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub epoch: Epoch,
    pub start: u64,
    pub have: u64,
}

/// Why events cannot be had any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Their origin says so.
    Lost,
    /// Their origin is dead, and the log lacks them.
    Dead,
    /// This version cannot read them.
    Unreadable,
    /// They were before this node's time, and it has viewers already.
    Before,
}

/// What the driver has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// An origin is new here. What is after `base` will be had; it may have had events since `start`.
    Met { epoch: Epoch, start: u64, base: u64 },
    /// To publish. Nothing else was in (from, at].
    Event { at: Cursor, from: u64, event: Event },
    /// To publish as a gap: what was in (from, at] cannot be had.
    Gap { at: Cursor, from: u64, why: Why },
    /// There is nothing of this origin after what was published up to there.
    Through { at: Cursor },
    /// The log has this node's own events up to there.
    Own { position: u64 },
    /// It left the vector, to make room for a new one.
    Retired { origin: OriginId },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub duplicates: u64,
    /// Entries that were held back.
    pub held: u64,
    /// Entries that could not be, or no longer: they are sent again.
    pub not_held: u64,
    pub gaps: u64,
    /// Entries and states of one origin too many, or of two that cannot be told apart.
    pub refused: u64,
}

#[derive(Debug)]
struct Origin {
    epoch: Epoch,
    start: u64,
    have: u64,
    /// The last position that it says it relayed, and up to where there is nothing after that.
    last: u64,
    through: u64,
    /// Ahead of a hole, by position.
    held: BTreeMap<u64, Entry>,
    held_bytes: usize,
    /// Where what was read ahead of a hole begins, also if there was no room for it.
    read_from: Option<u64>,
    /// Since when the log was read to its end, and nothing came.
    idle: Option<Idle>,
}

/// An origin that left.
#[derive(Debug)]
struct Former {
    epoch: Epoch,
    have: u64,
    /// Of its last state: it comes back with another one.
    beat: Option<u64>,
}

/// By the clock, and by `Nodes::time`.
#[derive(Clone, Copy, Debug)]
struct Idle {
    now: u64,
    time: u64,
}

/// A dead origin, of which others have something.
struct Estate {
    /// When it died, by `Nodes::time`.
    since: u64,
    /// How far the one has it who has most of it.
    others: u64,
}

#[derive(Debug)]
pub struct Importer {
    own: Epoch,
    times: Times,
    limits: Limits,
    nodes: Nodes,
    origins: BTreeMap<OriginId, Origin>,
    /// Those that left; the eldest first.
    former: VecDeque<Former>,
    /// The log was not yet read to its end.
    starting: bool,
    /// There are viewers.
    serves: bool,
    /// When the log was last read to its end, by `Nodes::time`.
    ended: Option<u64>,
    /// The ring that this host had before, if its end is unknown.
    own_former: Option<Known>,
    held: usize,
    pub counts: Counts,
}

impl Importer {
    /// A node that starts up.
    pub fn new(
        own: Epoch,
        known: impl IntoIterator<Item = Known>,
        times: Times,
        limits: Limits,
        now: u64,
    ) -> Self {
        let mut importer = Self {
            own,
            times,
            limits,
            nodes: Nodes::new(own.into(), times, now),
            origins: BTreeMap::new(),
            former: VecDeque::new(),
            starting: true,
            serves: false,
            ended: None,
            own_former: None,
            held: 0,
            counts: Counts::default(),
        };
        for known in known {
            importer.meet(now, known.epoch, known.start, known.have, &mut Vec::new());
        }
        importer
    }

    /// This host had another ring before, which is gone. Nobody knows how much was published there that was never relayed:
    /// once all that others have of it is here, everything after that is given up.
    pub fn had_ring(&mut self, former: Known) {
        self.own_former = Some(former);
    }

    /// An entry of the log, in the log's order.
    pub fn entry(&mut self, now: u64, entry: Entry, out: &mut Vec<Import>) {
        let origin = entry.origin();
        if entry.epoch == self.own {
            let position = entry.position;
            return out.push(Import::Own { position });
        }
        let base = match self.starting {
            true => entry.previous,
            false => entry.start,
        };
        let is_known = self.origins.contains_key(&origin);
        let left = (!is_known).then(|| self.left(entry.epoch)).flatten();
        if left.is_some_and(|left| entry.position <= left.have) {
            self.counts.duplicates += 1;
            return;
        }
        if !self.meet(now, entry.epoch, entry.start, base, out) {
            self.counts.refused += 1;
            return;
        }
        let Some(state) = self.origins.get_mut(&origin) else {
            return;
        };
        if entry.position <= state.have {
            self.counts.duplicates += 1;
        } else if entry.previous > state.have {
            self.hold(entry);
        } else {
            let before = state.held_bytes;
            state.take(entry, &mut self.counts, out);
            self.held -= before - state.held_bytes;
        }
    }

    /// The log was read to its end: call it whenever a read brought less than was asked for, also if that was nothing.
    pub fn end_of_log(&mut self, now: u64, out: &mut Vec<Import>) {
        let time = self.nodes.time();
        self.ended = Some(time);
        if self.starting {
            self.starting = false;
            // The log has nothing of these: what they have relayed was before this node's time.
            let rest: Vec<_> = self
                .nodes
                .states()
                .filter(|state| !self.origins.contains_key(&state.origin()))
                .map(|state| (state.epoch, state.start, state.last))
                .chain(
                    self.own_former
                        .map(|former| (former.epoch, former.start, former.have)),
                )
                .collect();
            for (epoch, start, last) in rest {
                self.meet(now, epoch, start, last, out);
            }
            self.learn(out);
        }
        for origin in self.origins.values_mut() {
            origin.idle.get_or_insert(Idle { now, time });
        }
    }

    /// The states of all nodes, as they were read; one's own may be among them.
    pub fn states(
        &mut self,
        now: u64,
        states: impl IntoIterator<Item = NodeState>,
        out: &mut Vec<Import>,
    ) {
        for state in states {
            let left = self.left(state.epoch);
            if state.epoch == self.own || left.is_some_and(|left| left.beat == Some(state.beat)) {
                continue;
            }
            let (epoch, start) = (state.epoch, state.start);
            let met = match self.starting {
                true => self.is_distinct(epoch),
                false => self.meet(now, epoch, start, start, out),
            };
            if !met || !self.nodes.heard(now, state) {
                self.counts.refused += 1;
            }
        }
        self.nodes.looked(now);
        self.learn(out);
    }

    /// What the states say of origins whose events are known.
    fn learn(&mut self, out: &mut Vec<Import>) {
        for state in self.nodes.states() {
            let Some(origin) = self.origins.get_mut(&state.origin()) else {
                continue;
            };
            if state.last >= origin.last {
                origin.last = state.last;
                origin.through = origin.through.max(state.through);
            }
            origin.pass_nothing(out);
        }
    }

    /// From time to time, and before a state is written: gives up what nobody alive can send.
    pub fn tick(&mut self, out: &mut Vec<Import>) {
        let Some(ended) = self.ended else {
            return;
        };
        let time = self.nodes.time();
        for (id, origin) in &mut self.origins {
            let Some(estate) = estate(&self.nodes, *id) else {
                continue;
            };
            // Whoever has it gets the time to send it; anew, whenever something of it comes.
            let has_heir = estate.others > origin.have;
            let patience = match has_heir {
                true => self.times.lease + self.times.grace + self.times.patience,
                false => self.times.patience,
            };
            let Some(idle) = origin.idle.filter(|_| ended > estate.since) else {
                continue;
            };
            if time < idle.time.max(estate.since) + patience {
                continue;
            }
            // What others have of it has been in the log; this node may never have known. Where they lack something
            // themselves, what comes after it is not given up with it.
            let hole = origin.ahead().filter(|_| has_heir);
            let last = origin.held.last_key_value().map_or(0, |(last, _)| *last);
            let known = origin.last.max(last).max(estate.others);
            let former = self.own_former.as_ref().map(|former| former.epoch);
            let end = match former == Some(origin.epoch) {
                true => ENDLESS,
                false => known,
            };
            let to = hole.unwrap_or(end);
            if to > origin.have {
                let before = origin.held_bytes;
                origin.give_up(to, Why::Dead, &mut self.counts, out);
                origin.join(&mut self.counts, out);
                self.held -= before - origin.held_bytes;
                origin.pass_nothing(out);
            }
        }
    }

    /// After which positions somebody should send again: `NodeState::wants`. Of an origin that is dead, another node that
    /// has more of it.
    pub fn wants(&self, now: u64) -> Vector {
        let wanted = self.origins.iter().filter(|(id, origin)| {
            let lacks = match estate(&self.nodes, **id) {
                Some(estate) => estate.others > origin.have,
                None => origin.lacks(),
            };
            let idle = origin.idle.filter(|_| lacks);
            idle.is_some_and(|idle| now >= idle.now + self.times.patience)
        });
        wanted.map(|(id, origin)| (*id, origin.have)).collect()
    }

    /// What this node has of a dead origin: it sends it again, if it is wanted. Everybody does who has more than the one who
    /// wants it, since each may lack something.
    pub fn estate(&self, id: OriginId) -> Option<Known> {
        let origin = self.origins.get(&id)?;
        let Standing::Dead { .. } = self.nodes.standing(id) else {
            return None;
        };
        Some(Known {
            epoch: origin.epoch,
            start: origin.start,
            have: origin.have,
        })
    }

    /// How far this node has come with the others: `NodeState::have`.
    pub fn have(&self) -> Vector {
        let all = self.origins.iter();
        all.map(|(id, origin)| (*id, origin.have)).collect()
    }

    /// How many positions each origin is known to be ahead, and bytes that are held back of it.
    pub fn lags(&self) -> impl Iterator<Item = (OriginId, u64, usize)> {
        self.origins.iter().map(|(id, origin)| {
            let lag = origin.last.saturating_sub(origin.have);
            (*id, lag, origin.held_bytes)
        })
    }

    /// From now on there are viewers. Best after the log was read to its end; where that takes too long, what was before an
    /// origin is met becomes a gap.
    pub fn serves(&mut self) {
        self.serves = true;
    }

    /// Whether the log has not been read to its end since the node started.
    pub fn is_starting(&self) -> bool {
        self.starting
    }

    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The store can be reached, or another one took its place. (Nothing has to be said when it can no longer be.)
    pub fn store_back(&mut self, now: u64) {
        self.nodes.store_back(now);
        self.ended = None;
        for origin in self.origins.values_mut() {
            origin.idle = None;
        }
    }

    /// Origins that are dead for long enough to leave, if the local ring has nothing of them any more.
    pub fn retirable(&self, now: u64) -> impl Iterator<Item = OriginId> {
        self.dead()
            .filter(move |(heard, _)| now >= heard + RETIRE_AFTER)
            .map(|(_, id)| id)
    }

    /// Those that are dead, and when they were heard of last.
    fn dead(&self) -> impl Iterator<Item = (u64, OriginId)> {
        self.origins.keys().filter_map(|id| {
            let Standing::Dead { heard, .. } = self.nodes.standing(*id) else {
                return None;
            };
            Some((heard, *id))
        })
    }

    /// An origin leaves the vector. If it comes back it goes on where it was.
    /// Its state should leave the store, too: a node that starts would meet it.
    pub fn retire(&mut self, id: OriginId) {
        let Some(origin) = self.origins.remove(&id) else {
            return;
        };
        self.held -= origin.held_bytes;
        let beat = self.nodes.state(id).map(|state| state.beat);
        self.nodes.forget(id);
        if self.former.len() >= MAX_FORMER {
            self.former.pop_front();
        }
        let (epoch, have) = (origin.epoch, origin.have);
        self.former.push_back(Former { epoch, have, beat });
    }

    fn left(&self, epoch: Epoch) -> Option<&Former> {
        self.former.iter().find(|former| former.epoch == epoch)
    }

    /// False: there is no room for it, or another one has its name.
    fn meet(
        &mut self,
        now: u64,
        epoch: Epoch,
        start: u64,
        base: u64,
        out: &mut Vec<Import>,
    ) -> bool {
        let id = OriginId::from(epoch);
        if let Some(known) = self.origins.get(&id) {
            return known.epoch == epoch;
        }
        if !self.is_distinct(epoch) || !self.make_room(out) {
            return false;
        }
        let returns = self.former.iter().position(|former| former.epoch == epoch);
        let (have, base) = match returns.and_then(|at| self.former.remove(at)) {
            Some(former) => (former.have, former.have),
            // Viewers may have come with less.
            None if self.serves => (start, base),
            None => (base, base),
        };
        self.nodes.met(now, id);
        let mut origin = Origin {
            epoch,
            start,
            have,
            last: 0,
            through: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            read_from: None,
            idle: None,
        };
        out.push(Import::Met {
            epoch,
            start,
            base: have,
        });
        origin.gap(base, Why::Before, &mut self.counts, out);
        self.origins.insert(id, origin);
        true
    }

    /// Whether it cannot be mistaken for this node or for one that is known.
    fn is_distinct(&self, epoch: Epoch) -> bool {
        let id = OriginId::from(epoch);
        let known = self.origins.get(&id).map(|known| known.epoch);
        id != self.own.into() && known.is_none_or(|known| known == epoch)
    }

    /// A vector has room for 64 origins, this node's own among them. Whoever is dead for longest gives way.
    fn make_room(&mut self, out: &mut Vec<Import>) -> bool {
        if self.origins.len() < Vector::MAX_ORIGINS - 1 {
            return true;
        }
        let Some((_, origin)) = self.dead().min() else {
            return false;
        };
        self.retire(origin);
        out.push(Import::Retired { origin });
        true
    }

    /// Keeps an entry until what is before it has come. Where memory is short, what is farthest ahead is dropped.
    fn hold(&mut self, entry: Entry) {
        let Some(origin) = self.origins.get_mut(&entry.origin()) else {
            return;
        };
        let size = entry.size();
        let ahead = origin.ahead().unwrap_or(entry.previous);
        origin.read_from = Some(ahead.min(entry.previous));
        // Of two that end at one position, the one that says more.
        if let Some(other) = origin.held.get(&entry.position)
            && other.previous <= entry.previous
        {
            self.counts.duplicates += 1;
            return;
        }
        if let Some(other) = origin.held.insert(entry.position, entry) {
            origin.held_bytes -= other.size();
            self.held -= other.size();
        }
        origin.held_bytes += size;
        self.held += size;
        self.counts.held += 1;
        while origin.held_bytes > self.limits.held_of_one || self.held > self.limits.held {
            let Some((_, dropped)) = origin.held.pop_last() else {
                return;
            };
            origin.held_bytes -= dropped.size();
            self.held -= dropped.size();
            self.counts.not_held += 1;
        }
    }
}

/// None: it is alive.
fn estate(nodes: &Nodes, id: OriginId) -> Option<Estate> {
    let Standing::Dead { since, .. } = nodes.standing(id) else {
        return None;
    };
    let others = nodes.living().filter_map(|state| state.have.get(id)).max();
    let others = others.unwrap_or(0);
    Some(Estate { since, others })
}

impl Origin {
    fn lacks(&self) -> bool {
        self.have < self.last || !self.held.is_empty()
    }

    /// Where the hole ends.
    fn ahead(&self) -> Option<u64> {
        let held = self.held.first_key_value().map(|(_, entry)| entry.previous);
        let read = self.read_from.filter(|from| *from > self.have);
        held.into_iter().chain(read).min()
    }

    fn at(&self, seq: u64) -> Cursor {
        let epoch = self.epoch;
        Cursor { epoch, seq }
    }

    /// Takes an entry that joins on, and what was held back until it came.
    fn take(&mut self, entry: Entry, counts: &mut Counts, out: &mut Vec<Import>) {
        self.take_one(entry, counts, out);
        self.join(counts, out);
    }

    /// Takes what was held back, as far as it joins on now.
    fn join(&mut self, counts: &mut Counts, out: &mut Vec<Import>) {
        while let Some(entry) = self.next_held(self.have) {
            match entry.position > self.have {
                true => self.take_one(entry, counts, out),
                false => counts.duplicates += 1,
            }
        }
    }

    /// The first that is held back, if what is before it is known up to `have`.
    fn next_held(&mut self, have: u64) -> Option<Entry> {
        let first = self.held.first_entry()?;
        if first.get().previous > have {
            return None;
        }
        let entry = first.remove();
        self.held_bytes -= entry.size();
        Some(entry)
    }

    fn take_one(&mut self, entry: Entry, counts: &mut Counts, out: &mut Vec<Import>) {
        self.idle = None;
        let (at, from) = (entry.at(), self.have);
        match entry.body {
            Body::Event(event) => {
                counts.events += 1;
                out.push(Import::Event { at, from, event });
            }
            Body::Nothing => out.push(Import::Through { at }),
            Body::Lost => return self.give_up(entry.position, Why::Lost, counts, out),
            Body::Unreadable(_) => {
                counts.gaps += 1;
                let why = Why::Unreadable;
                out.push(Import::Gap { at, from, why });
            }
        }
        self.have = entry.position;
    }

    /// Up to `to` there is only what is held back.
    fn give_up(&mut self, to: u64, why: Why, counts: &mut Counts, out: &mut Vec<Import>) {
        self.idle = None;
        while let Some(entry) = self.next_held(to - 1) {
            self.gap(entry.previous, why, counts, out);
            match entry.position > self.have {
                true => self.take_one(entry, counts, out),
                false => counts.duplicates += 1,
            }
        }
        self.gap(to, why, counts, out);
    }

    fn gap(&mut self, to: u64, why: Why, counts: &mut Counts, out: &mut Vec<Import>) {
        if to > self.have {
            counts.gaps += 1;
            let (at, from) = (self.at(to), self.have);
            out.push(Import::Gap { at, from, why });
            self.have = to;
        }
    }

    /// What its state says: there is nothing after the last event up to some position.
    fn pass_nothing(&mut self, out: &mut Vec<Import>) {
        if self.have >= self.last && self.have < self.through {
            self.idle = None;
            self.have = self.through;
            let at = self.at(self.have);
            out.push(Import::Through { at });
        }
    }
}
