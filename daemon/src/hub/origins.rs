//! What this ring holds of which host: the link between one local order and vectors, which are the same everywhere.
//!
//! Events of this host and of others lie in one ring, in one order of local positions. For each *origin* (a host's
//! ring, this one's among them) it is remembered which of its positions lies where. With that a place in the ring has
//! a vector (`vector_at`), and a viewer that comes with a vector has a place where it begins (`begin`).
//!
//! Nobody believes an event that says it is of another host: any publisher can write that. Who imports notes here what
//! was published where (`Import`), and the tailer asks (`confirm`).
//!
//! ```text
//!  importer ─ import() ─ publishes ─ event(origin, position, local) ┐        ┌ vector_at ─ ids
//!  tailer ─ own_event(local), lost(from, to), confirm(local, …) ────┴ Origins┴ begin ───── resume
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};

use parking_lot::{Mutex, MutexGuard};
use protocol::gap::Gap;
use shared::cursor::{Cursor, Epoch};
use shared::vector::{OriginId, Vector};

/// Retired origins that are remembered.
const RETIRED: usize = 4 * Vector::MAX_ORIGINS;

#[derive(Debug)]
pub struct Origins {
    /// Held by who imports, for one batch: what it has published is not noted yet.
    importing: Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    epoch: Epoch,
    own: OriginId,
    origins: BTreeMap<OriginId, Origin>,
    /// The last position of origins that have left.
    retired: HashMap<OriginId, u64>,
    /// Oldest first.
    gaps: VecDeque<GapRecord>,
    /// Entries in all origins, and how many there may be.
    entries: usize,
    most: usize,
    /// What lies below is not remembered one by one any more.
    kept_from: u64,
}

/// One host's ring.
#[derive(Debug)]
struct Origin {
    /// Before its first event ever.
    start: u64,
    /// What is up to here has never been in this ring.
    base: u64,
    /// What is up to here is not remembered one by one: its last event, and up to where nothing followed that.
    floor: Reached,
    /// Ascending, by both.
    held: VecDeque<Held>,
    /// It is dead, and the log has nothing of it.
    gone: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reached {
    event: u64,
    through: u64,
}

/// An event, or a stretch that is reported as a gap: everything of its origin after the one before.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Its position in its origin's ring; of a stretch, the last.
    theirs: u64,
    /// Nothing of the origin follows up to here.
    through: u64,
    /// Where it lies in this ring; of a stretch of own positions, the first.
    local: u64,
}

/// A record in this ring that says which stretch of another host's ring can no longer be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRecord {
    pub local: u64,
    pub origin: OriginId,
    /// Exclusive.
    pub from: u64,
    pub to: u64,
}

/// What is known of an origin, to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub origin: OriginId,
    pub start: u64,
    pub base: u64,
    /// What is up to here is not remembered one by one.
    pub floor: u64,
    pub have: u64,
    /// What was imported, and still lies in the ring.
    pub held: Vec<Note>,
}

/// That something was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub position: u64,
    pub local: u64,
    /// It is a gap record of what is after this position.
    pub gap: Option<u64>,
}

/// What this ring has of a position of another origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It lies there in this ring.
    At(u64),
    /// No event of the origin from that position up to this one.
    Nothing { through: u64 },
    /// What there was from that position up to this one is not here, or not remembered.
    Lacking { through: u64 },
}

/// Where a viewer begins that comes with a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The first local position with something that the viewer lacks.
    pub from: u64,
    /// What it has, without what nobody knows here.
    pub vector: Vector,
    /// What follows may be something that the viewer has already.
    pub filter: Option<Until>,
    /// What it lacks and cannot be had here.
    pub gap: Gap,
}

/// Up to where what the viewer has must be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Behind this local position everything is new to it, and ids are those of everybody.
    Local(u64),
    /// It is ahead of this node.
    Covered,
}

impl Origins {
    /// `epoch`: the ring's, whose first event ever is after `start`. `first`: the oldest position that will be read.
    /// `most`: entries that are remembered, at least as many as the ring holds events.
    pub fn new(epoch: Epoch, start: u64, first: u64, most: usize) -> Self {
        Self {
            importing: Mutex::default(),
            inner: Mutex::new(Inner::new(epoch, start, first, most)),
        }
    }

    /// The ring's own origin.
    pub fn own(&self) -> OriginId {
        self.inner.lock().own
    }

    /// The position before the first event that the ring ever had for others.
    pub fn start(&self) -> u64 {
        let inner = self.inner.lock();
        inner.origins.get(&inner.own).map_or(0, |own| own.start)
    }

    /// What is published from now on is imported, and noted before this is dropped. Held for one short batch: the
    /// tailer waits for it at records that are not noted.
    pub fn import(&self) -> Import<'_> {
        Import {
            origins: self,
            _importing: self.importing.lock(),
        }
    }

    /// The tailer: an event of this host at `local`.
    pub fn own_event(&self, local: u64) {
        let mut inner = self.inner.lock();
        let own = inner.own;
        inner.put(own, local, local);
    }

    /// The tailer: what was in `from..to` could not be read.
    pub fn lost(&self, from: u64, to: u64) {
        let mut inner = self.inner.lock();
        let own = inner.own;
        inner.put(own, to - 1, from);
    }

    /// The tailer: whether the event at `local` was imported from `at` by this node. `gap`: it is a gap record of what
    /// is after this position, up to `at`. Waits for the batch that is being imported.
    pub fn confirm(&self, local: u64, at: Cursor, gap: Option<u64>) -> bool {
        let noted = || self.inner.lock().is_noted(local, at, gap);
        noted() || {
            drop(self.importing.lock());
            noted()
        }
    }

    /// What who has everything up to `local` has of each origin. None if `local` is before what is remembered.
    pub fn vector_at(&self, local: u64) -> Option<Vector> {
        self.inner.lock().vector_at(local)
    }

    /// Where a viewer begins that has what `vector` says, when the tailer is at `here` and publishers at `head`.
    pub fn begin(&self, vector: &Vector, here: u64, head: u64) -> Begin {
        self.inner.lock().begin(vector, here, head)
    }

    /// The local position up to which everything lies that `vector` says; `Covered`, if not all of it is here yet.
    /// Origins that nobody knows here do not count.
    pub fn covered_from(&self, vector: &Vector) -> Until {
        self.inner.lock().covered_from(vector)
    }

    /// The first gap record in `from..to` of local positions.
    pub fn next_gap(&self, from: u64, to: u64) -> Option<GapRecord> {
        let inner = self.inner.lock();
        let at = inner.gaps.partition_point(|gap| gap.local < from);
        inner.gaps.get(at).filter(|gap| gap.local < to).copied()
    }

    /// Whether `vector` has what lies at a local position. False where it is not known what lies there.
    pub fn is_covered(&self, local: u64, vector: &Vector) -> bool {
        self.inner.lock().is_covered(local, vector)
    }

    /// Whether something that `vector` has lies in the ring from `oldest` on, or may still come.
    pub fn may_hold(&self, vector: &Vector, oldest: u64) -> bool {
        self.inner.lock().may_hold(vector, oldest)
    }

    /// How far this node has come with an origin.
    pub fn have(&self, origin: OriginId) -> Option<u64> {
        self.inner.lock().origins.get(&origin).map(Origin::have)
    }

    /// The last event of an origin that this node had, and up to where nothing followed it.
    pub fn reached(&self, origin: OriginId) -> Option<(u64, u64)> {
        let inner = self.inner.lock();
        let reached = inner.origins.get(&origin)?.reached();
        Some((reached.event, reached.through))
    }

    /// What was imported from a position of another origin.
    pub fn find(&self, origin: OriginId, position: u64) -> Found {
        self.inner.lock().find(origin, position)
    }

    /// The first position from `from` up to `to`, as far as the tailer has come, at which the ring of `epoch` has
    /// something of its own, or may have: its relay need not read what is before. None: there is nothing.
    pub fn next_own(&self, epoch: Epoch, from: u64, to: u64) -> Option<u64> {
        self.inner.lock().next_own(epoch, from, to)
    }

    /// The same of all of them, this host's own among them.
    pub fn have_all(&self) -> Vector {
        let inner = self.inner.lock();
        let all = inner.origins.iter();
        all.map(|(id, origin)| (*id, origin.have())).collect()
    }

    /// An origin is dead, and the log has nothing of it; or it is not.
    pub fn set_gone(&self, origin: OriginId, gone: bool) {
        if let Some(origin) = self.inner.lock().origins.get_mut(&origin) {
            origin.gone = gone;
        }
    }

    /// Takes an origin out of the vectors, if the ring from `oldest` on has nothing of it. Its last position is
    /// remembered until `forget`.
    pub fn retire(&self, origin: OriginId, oldest: u64) -> bool {
        self.inner.lock().retire(origin, oldest)
    }

    /// A retired origin is remembered no longer.
    pub fn forget(&self, origin: OriginId) {
        self.inner.lock().retired.remove(&origin);
    }

    /// What is to be written down of all origins but this host's, with what lies in the ring from `oldest` on.
    pub fn known(&self, oldest: u64) -> Vec<Known> {
        let inner = self.inner.lock();
        let others = inner.origins.iter().filter(|(id, _)| **id != inner.own);
        others
            .map(|(id, origin)| origin.known(*id, oldest, &inner))
            .collect()
    }

    /// The ring was replaced by one that does not continue it, whose positions begin at `first`: nothing of the other
    /// one is there. How far that one was with each origin, itself among them, stays in the vectors: without it viewers
    /// would be given everything of them again, here and elsewhere.
    pub fn restart(&self, epoch: Epoch, first: u64) {
        let mut inner = self.inner.lock();
        let mut new = Inner::new(epoch, first - 1, first, inner.most);
        new.retired = std::mem::take(&mut inner.retired);
        for (id, former) in std::mem::take(&mut inner.origins) {
            let reached = former.reached();
            let origin = Origin {
                floor: reached,
                gone: former.gone,
                ..Origin::new(former.start, reached.event, reached.event)
            };
            if new.origins.len() < Vector::MAX_ORIGINS {
                new.origins.entry(id).or_insert(origin);
            }
        }
        *inner = new;
    }
}

/// A batch that is being imported.
#[derive(Debug)]
pub struct Import<'a> {
    origins: &'a Origins,
    _importing: MutexGuard<'a, ()>,
}

impl Import<'_> {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.origins.inner.lock()
    }

    /// How far this node has come with an origin; None if it was not met.
    pub fn have(&self, origin: OriginId) -> Option<u64> {
        self.origins.have(origin)
    }

    /// An origin is met for the first time: its first event ever is after `start`, and what is up to `base` will not
    /// be imported. False if there are as many origins as a vector can have.
    #[must_use]
    pub fn meet(&self, origin: OriginId, start: u64, base: u64) -> bool {
        self.inner().meet(origin, start, base)
    }

    /// After a restart: what is up to `position` of an origin was here, and is not remembered one by one.
    pub fn forgotten_up_to(&self, origin: OriginId, position: u64) {
        let mut inner = self.inner();
        if let Some(origin) = inner.origins.get_mut(&origin)
            && origin.held.is_empty()
            && position > origin.floor.through
        {
            origin.floor = Reached {
                event: position,
                through: position,
            };
        }
    }

    /// The event at `position` of an origin was published `at` this place. False, and nothing is noted, if the ring
    /// was replaced meanwhile, or it is not after everything that is noted.
    pub fn event(&self, origin: OriginId, position: u64, at: Cursor) -> bool {
        let mut inner = self.inner();
        at.epoch == inner.epoch && origin != inner.own && inner.put(origin, position, at.seq)
    }

    /// The same for a gap record: what is after `from`, up to `to`, cannot be had.
    pub fn gap(&self, origin: OriginId, from: u64, to: u64, at: Cursor) -> bool {
        let noted = self.event(origin, to, at);
        if noted {
            self.inner().gaps.push_back(GapRecord {
                local: at.seq,
                origin,
                from,
                to,
            });
        }
        noted
    }

    /// An origin leaves the vectors, whatever the ring has of it: another one needs its place.
    pub fn leave(&self, origin: OriginId) {
        self.inner().leave(origin);
    }

    /// Nothing of the origin follows up to `position`.
    pub fn through(&self, origin: OriginId, position: u64) {
        let mut inner = self.inner();
        if let Some(origin) = inner.origins.get_mut(&origin) {
            let last = origin.held.back_mut();
            let through = last.map_or(&mut origin.floor.through, |last| &mut last.through);
            *through = position.max(*through);
        }
    }
}

impl Inner {
    fn new(epoch: Epoch, start: u64, first: u64, most: usize) -> Self {
        let own = OriginId::from(epoch);
        // What was published before this ring was in a cluster is here, too.
        let base = start.min(first - 1);
        Self {
            epoch,
            own,
            origins: BTreeMap::from([(own, Origin::new(start, base, first - 1))]),
            retired: HashMap::new(),
            gaps: VecDeque::new(),
            entries: 0,
            most: most.max(1),
            kept_from: first,
        }
    }

    fn meet(&mut self, id: OriginId, start: u64, base: u64) -> bool {
        let full = self.origins.len() >= Vector::MAX_ORIGINS;
        if self.origins.contains_key(&id) || full {
            return !full;
        }
        self.retired.remove(&id);
        let base = base.max(start);
        self.origins.insert(id, Origin::new(start, base, base));
        true
    }

    fn put(&mut self, origin: OriginId, theirs: u64, local: u64) -> bool {
        let Some(origin) = self.origins.get_mut(&origin) else {
            return false;
        };
        if theirs <= origin.have() || origin.held.back().is_some_and(|last| local <= last.local) {
            return false;
        }
        origin.held.push_back(Held {
            theirs,
            through: theirs,
            local,
        });
        self.entries += 1;
        while self.entries > self.most {
            self.prune();
        }
        true
    }

    /// Forgets the entry that lies first in the ring.
    fn prune(&mut self) {
        let first = |origin: &&mut Origin| origin.held.front().map_or(u64::MAX, |held| held.local);
        let Some(origin) = self.origins.values_mut().min_by_key(first) else {
            return;
        };
        if let Some(held) = origin.held.pop_front() {
            origin.floor = Reached {
                event: held.theirs,
                through: held.through,
            };
            self.entries -= 1;
            self.kept_from = self.kept_from.max(held.local + 1);
        }
        let kept_from = self.kept_from;
        while self
            .gaps
            .pop_front_if(|gap| gap.local < kept_from)
            .is_some()
        {}
    }

    fn next_own(&self, epoch: Epoch, from: u64, to: u64) -> Option<u64> {
        let own = self.origins.get(&self.own).filter(|_| epoch == self.epoch);
        let next = match own {
            Some(own) if from >= self.kept_from => {
                let at = near_end(&own.held, |held| held.theirs < from);
                // In a stretch, from where it is asked for.
                own.held.get(at)?.local.max(from)
            }
            _ => from,
        };
        (next <= to).then_some(next)
    }

    fn is_noted(&self, local: u64, at: Cursor, gap: Option<u64>) -> bool {
        let noted = self.origins.get(&at.epoch.into()).and_then(|origin| {
            let place = near_end(&origin.held, |held| held.theirs < at.seq);
            let held = origin.held.get(place);
            held.filter(|held| held.theirs == at.seq)
        });
        noted.is_some_and(|held| held.local == local)
            && OriginId::from(at.epoch) != self.own
            && self.gap_at(local) == gap
    }

    /// After which position everything is missing that the record at `local` says, if it is a gap record.
    fn gap_at(&self, local: u64) -> Option<u64> {
        let place = self.gaps.binary_search_by_key(&local, |gap| gap.local);
        place.ok().map(|place| self.gaps[place].from)
    }

    fn find(&self, origin: OriginId, position: u64) -> Found {
        let Some(origin) = self.origins.get(&origin) else {
            return Found::Lacking { through: u64::MAX };
        };
        let through = origin.floor.through;
        if position <= through {
            return Found::Lacking { through };
        }
        let at = origin.held.partition_point(|held| held.theirs < position);
        match origin.held.get(at) {
            None => Found::Nothing { through: u64::MAX },
            Some(held) if self.gap_at(held.local).is_some() => Found::Lacking {
                through: held.theirs,
            },
            Some(held) if held.theirs > position => Found::Nothing {
                through: held.theirs - 1,
            },
            Some(held) => Found::At(held.local),
        }
    }

    fn vector_at(&self, local: u64) -> Option<Vector> {
        let at = |(id, origin): (&OriginId, &Origin)| {
            let behind = near_end(&origin.held, |held| held.local <= local);
            let last = behind.checked_sub(1).map(|last| origin.held[last].through);
            let through = last.unwrap_or(origin.floor.through);
            // A stretch of own positions that could not be read may go on behind it.
            (
                *id,
                if *id == self.own {
                    through.min(local)
                } else {
                    through
                },
            )
        };
        (local + 1 >= self.kept_from).then(|| self.origins.iter().map(at).collect())
    }

    fn begin(&self, held: &Vector, here: u64, head: u64) -> Begin {
        let (mut from, mut gap) = (here, Gap::NONE);
        let mut vector = Vector::default();
        for (id, position) in held.iter() {
            // A position that nobody has published yet is of another past of this ring.
            let known = self.origins.contains_key(&id) && (id != self.own || position < head);
            match self.retired.get(&id) {
                _ if known => _ = vector.set(id, position),
                Some(last) => gap.add(Gap::at_most(last.saturating_sub(position))),
                None => gap.add(Gap::UNKNOWN),
            }
        }
        for (id, origin) in &self.origins {
            let position = match held.get(*id) {
                Some(_) if vector.get(*id).is_none() => continue,
                Some(position) => position,
                // Who does not know it has had all of it, or it began later.
                None if origin.gone => continue,
                None => origin.start,
            };
            gap.add(Gap::at_most(origin.base.saturating_sub(position)));
            let forgotten = origin.floor.event.saturating_sub(position.max(origin.base));
            if forgotten > 0 {
                gap.add(Gap::at_most(forgotten));
                from = from.min(self.kept_from);
            }
            let next = origin.held.partition_point(|held| held.theirs <= position);
            if let Some(next) = origin.held.get(next) {
                // In a stretch of own positions that could not be read.
                let within = if *id == self.own { position + 1 } else { 0 };
                from = from.min(next.local.max(within));
            }
        }
        let filter = match self.covered_from(&vector) {
            Until::Local(at) if at < from => None,
            until => Some(until),
        };
        Begin {
            from,
            vector,
            filter,
            gap,
        }
    }

    fn covered_from(&self, vector: &Vector) -> Until {
        let mut from = 0;
        for (id, position) in vector.iter() {
            let Some(origin) = self.origins.get(&id) else {
                continue;
            };
            if position <= origin.floor.through {
                continue;
            }
            // Own positions are places in this ring.
            if id == self.own {
                from = from.max(position);
                continue;
            }
            let at = origin.held.partition_point(|held| held.through < position);
            match origin.held.get(at) {
                Some(held) => from = from.max(held.local),
                None => return Until::Covered,
            }
        }
        Until::Local(from)
    }

    fn is_covered(&self, local: u64, vector: &Vector) -> bool {
        let theirs = self.origins.iter().find_map(|(id, origin)| {
            let place = origin.held.binary_search_by_key(&local, |held| held.local);
            place.ok().map(|place| (*id, origin.held[place].theirs))
        });
        theirs.is_some_and(|(id, theirs)| vector.get(id).is_some_and(|has| theirs <= has))
    }

    fn may_hold(&self, vector: &Vector, oldest: u64) -> bool {
        vector.iter().any(|(id, has)| {
            let Some(origin) = self.origins.get(&id) else {
                return !self.retired.contains_key(&id);
            };
            let first = origin.held.partition_point(|held| held.local < oldest);
            let is_held = origin
                .held
                .get(first)
                .is_some_and(|held| held.theirs <= has);
            is_held || has > origin.have()
        })
    }

    fn retire(&mut self, id: OriginId, oldest: u64) -> bool {
        let is_held = |origin: &Origin| origin.held.back().is_some_and(|last| last.local >= oldest);
        if id == self.own || self.origins.get(&id).is_none_or(is_held) {
            return false;
        }
        self.leave(id);
        true
    }

    fn leave(&mut self, id: OriginId) {
        if id == self.own {
            return;
        }
        if let Some(origin) = self.origins.remove(&id) {
            self.entries -= origin.held.len();
            self.gaps.retain(|gap| gap.origin != id);
            if self.retired.len() < RETIRED {
                self.retired.insert(id, origin.have());
            }
        }
    }
}

impl Origin {
    fn new(start: u64, base: u64, floor: u64) -> Self {
        let floor = floor.max(base);
        Self {
            start,
            base,
            floor: Reached {
                event: floor,
                through: floor,
            },
            held: VecDeque::new(),
            gone: false,
        }
    }

    fn have(&self) -> u64 {
        self.reached().through
    }

    fn reached(&self) -> Reached {
        self.held.back().map_or(self.floor, |last| Reached {
            event: last.theirs,
            through: last.through,
        })
    }

    fn known(&self, origin: OriginId, oldest: u64, inner: &Inner) -> Known {
        let at = self.held.partition_point(|held| held.local < oldest);
        let before = at.checked_sub(1).map(|last| self.held[last].theirs);
        let held = self.held.range(at..);
        Known {
            origin,
            start: self.start,
            base: self.base,
            floor: before.unwrap_or(self.floor.event),
            have: self.have(),
            held: held
                .map(|held| Note {
                    position: held.theirs,
                    local: held.local,
                    gap: inner.gap_at(held.local),
                })
                .collect(),
        }
    }
}

/// As `partition_point`, with few looks near the end, where what is asked for mostly lies.
fn near_end(held: &VecDeque<Held>, is_before: impl Fn(&Held) -> bool) -> usize {
    let (mut low, mut high, mut step) = (0, held.len(), 1);
    while high > 0 {
        let at = high.saturating_sub(step);
        if is_before(&held[at]) {
            low = at + 1;
            break;
        }
        high = at;
        step *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match is_before(&held[middle]) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Epoch = Epoch([0xa; 6]);
    const B: Epoch = Epoch([0xb; 6]);
    const C: Epoch = Epoch([0xc; 6]);

    fn id(epoch: Epoch) -> OriginId {
        epoch.into()
    }

    fn at(epoch: Epoch, seq: u64) -> Cursor {
        Cursor { epoch, seq }
    }

    fn vector(parts: &[(Epoch, u64)]) -> Vector {
        parts.iter().map(|(epoch, at)| (id(*epoch), *at)).collect()
    }

    /// The ring of A, positions from 1 on, which knows B and C.
    fn origins(most: usize) -> Origins {
        let origins = Origins::new(A, 0, 1, most);
        let import = origins.import();
        assert!(import.meet(id(B), 0, 0) && import.meet(id(C), 100, 100));
        drop(import);
        origins
    }

    #[test]
    fn the_relay_is_told_where_this_host_has_something_next() {
        let origins = origins(5);
        origins.own_event(2);
        for (position, local) in [(7, 3), (8, 4)] {
            assert!(origins.import().event(id(B), position, at(A, local)));
        }
        origins.own_event(5);
        let next = |from, to| origins.next_own(A, from, to);
        assert_eq!(
            (next(1, 9), next(2, 9), next(3, 9)),
            (Some(2), Some(2), Some(5))
        );
        assert_eq!((next(3, 4), next(6, 9)), (None, None));
        origins.lost(7, 10);
        assert_eq!(
            (next(6, 9), next(8, 9), next(10, 20)),
            (Some(7), Some(8), None)
        );
        assert_eq!(
            origins.next_own(B, 6, 9),
            Some(6),
            "another ring is here now"
        );
        origins.own_event(12);
        assert_eq!(next(1, 9), Some(1), "what is not remembered is read");
        assert_eq!(next(3, 9), Some(5));
    }

    #[test]
    fn a_place_has_a_vector_and_a_vector_has_a_place() {
        let origins = origins(1000);
        origins.own_event(1);
        assert!(origins.import().event(id(B), 7, at(A, 2)));
        assert!(origins.import().event(id(C), 105, at(A, 3)));
        origins.own_event(5);
        let zero = vector(&[(A, 0), (B, 0), (C, 100)]);
        assert_eq!(origins.vector_at(0), Some(zero));
        assert_eq!(
            origins.vector_at(4),
            Some(vector(&[(A, 1), (B, 7), (C, 105)])),
            "a hole is nothing"
        );
        let begin = |held: &[(Epoch, u64)]| origins.begin(&vector(held), 6, 6);
        let same = begin(&[(A, 1), (B, 7), (C, 105)]);
        assert_eq!((same.from, same.filter, same.gap), (5, None, Gap::NONE));
        let other = begin(&[(A, 0), (B, 7), (C, 100)]);
        assert_eq!((other.from, other.filter), (1, Some(Until::Local(2))));
        let ahead = begin(&[(A, 5), (B, 8), (C, 105)]);
        assert_eq!((ahead.from, ahead.filter), (6, Some(Until::Covered)));
        // It was sent nothing of B up to there, and there is nothing.
        origins.import().through(id(B), 8);
        assert_eq!(begin(&[(A, 5), (B, 8), (C, 105)]).filter, None);
        assert_eq!(origins.have(id(B)), Some(8));
    }

    #[test]
    fn what_a_vector_has_is_found_here_or_may_still_come() {
        let origins = origins(1000);
        origins.own_event(1);
        assert!(origins.import().event(id(B), 7, at(A, 2)));
        origins.own_event(3);
        let has = vector(&[(A, 1), (B, 7)]);
        let covered = |local| origins.is_covered(local, &has);
        assert!(covered(1) && covered(2) && !covered(3) && !covered(4));
        assert!(!origins.is_covered(2, &vector(&[(B, 6)])));
        assert!(origins.may_hold(&has, 2), "B's lies there");
        assert!(!origins.may_hold(&has, 3));
        assert!(origins.may_hold(&vector(&[(B, 8)]), 3), "it may come");
        let other = Epoch([0xd; 6]);
        assert!(
            origins.may_hold(&vector(&[(other, 1)]), 3),
            "of who was not met yet"
        );
    }

    /// It is here, but nobody else has it: it is no gap for a viewer of this host.
    #[test]
    fn what_was_published_before_the_ring_was_in_a_cluster_is_in_the_vector() {
        let origins = Origins::new(A, 10, 5, 1000);
        (5..=12).for_each(|local| origins.own_event(local));
        let begin = |position| origins.begin(&vector(&[(A, position)]), 13, 13);
        let here = begin(6);
        assert_eq!((here.from, here.gap), (7, Gap::NONE));
        assert_eq!(
            begin(2).gap,
            Gap::at_most(2),
            "what the ring no longer holds"
        );
        let nothing = origins.begin(&Vector::default(), 13, 13);
        assert_eq!(
            (nothing.from, nothing.gap),
            (11, Gap::NONE),
            "of others' viewers"
        );
    }

    #[test]
    fn what_was_never_here_or_is_unknown_is_a_gap() {
        let origins = Origins::new(A, 0, 1, 1000);
        assert!(origins.import().meet(id(B), 10, 50));
        assert!(origins.import().event(id(B), 51, at(A, 1)));
        let begin = |held: &[(Epoch, u64)]| origins.begin(&vector(held), 2, 2);
        assert_eq!(begin(&[(A, 0), (B, 44)]).gap, Gap::at_most(6));
        assert_eq!(begin(&[(A, 0)]).gap, Gap::at_most(40), "it began later");
        let unknown = begin(&[(A, 0), (B, 51), (C, 9)]);
        assert_eq!((unknown.gap, unknown.from), (Gap::UNKNOWN, 2));
        assert_eq!(unknown.vector.get(id(C)), None, "reported once");
        origins.set_gone(id(B), true);
        assert_eq!(begin(&[(A, 0)]).gap, Gap::NONE, "it was retired there");
        let future = begin(&[(A, 9), (B, 51)]);
        assert_eq!((future.gap, future.from), (Gap::UNKNOWN, 2));
    }

    #[test]
    fn a_record_is_believed_only_at_the_place_where_it_was_put() {
        let origins = origins(1000);
        let import = origins.import();
        assert!(import.event(id(B), 7, at(A, 1)));
        assert!(import.gap(id(B), 7, 20, at(A, 3)));
        assert!(!import.event(id(B), 20, at(A, 4)), "twice");
        assert!(!import.event(id(B), 21, at(C, 4)), "of a ring that is gone");
        drop(import);
        assert!(origins.confirm(1, at(B, 7), None));
        assert!(origins.confirm(3, at(B, 20), Some(7)));
        assert!(!origins.confirm(2, at(B, 7), None), "a copy");
        assert!(!origins.confirm(1, at(B, 8), None));
        assert!(!origins.confirm(1, at(B, 7), Some(0)), "as a gap");
        assert!(!origins.confirm(3, at(B, 20), None), "as an event");
        assert!(!origins.confirm(3, at(B, 20), Some(6)), "of another size");
        assert!(!origins.confirm(5, at(A, 5), None), "of this host");
        let gap = origins.next_gap(0, 9).unwrap();
        assert_eq!((gap.local, gap.from, gap.to), (3, 7, 20));
        assert_eq!(origins.next_gap(4, 9), None);
    }

    #[test]
    fn what_was_imported_is_found_by_its_own_position() {
        let origins = origins(1000);
        {
            let import = origins.import();
            assert!(import.event(id(B), 7, at(A, 3)));
            assert!(import.gap(id(B), 7, 20, at(A, 4)));
            assert!(import.event(id(B), 25, at(A, 9)));
        }
        let find = |position| origins.find(id(B), position);
        assert_eq!(find(1), Found::Nothing { through: 6 });
        assert_eq!(find(7), Found::At(3));
        assert_eq!(find(8), Found::Lacking { through: 20 });
        assert_eq!(find(21), Found::Nothing { through: 24 });
        assert_eq!(find(25), Found::At(9));
        assert_eq!(find(26), Found::Nothing { through: u64::MAX });
        let before = origins.find(id(C), 60);
        assert_eq!(before, Found::Lacking { through: 100 }, "never here");
    }

    #[test]
    fn the_tailer_waits_for_the_batch() {
        let origins = std::sync::Arc::new(origins(1000));
        let import = origins.import();
        let tailer = {
            let origins = origins.clone();
            std::thread::spawn(move || origins.confirm(1, at(B, 7), None))
        };
        // Published, not noted yet.
        std::thread::yield_now();
        assert!(import.event(id(B), 7, at(A, 1)));
        drop(import);
        assert!(tailer.join().unwrap());
    }

    #[test]
    fn what_is_forgotten_is_a_bound_and_what_is_remembered_is_exact() {
        let origins = origins(3);
        for local in 1..=3 {
            origins.own_event(local);
        }
        assert!(origins.import().event(id(B), 9, at(A, 4)));
        assert!(origins.import().event(id(B), 12, at(A, 5)));
        assert_eq!(origins.vector_at(1), None);
        assert_eq!(
            origins.vector_at(2),
            Some(vector(&[(A, 2), (B, 0), (C, 100)]))
        );
        let old = origins.begin(&vector(&[(A, 1), (B, 0), (C, 100)]), 6, 6);
        assert_eq!((old.from, old.gap), (3, Gap::at_most(1)));
        origins.own_event(6);
        origins.own_event(7);
        let old = origins.begin(&vector(&[(A, 3), (B, 4), (C, 100)]), 8, 8);
        assert_eq!((old.from, old.gap), (5, Gap::at_most(5)));
    }

    #[test]
    fn an_origin_that_has_left_is_in_no_vector_and_comes_back_as_it_was() {
        let origins = origins(1000);
        assert!(origins.import().event(id(B), 9, at(A, 4)));
        assert!(!origins.retire(id(B), 4), "the ring still has something");
        assert!(!origins.retire(id(A), 9));
        assert!(origins.retire(id(B), 5));
        assert_eq!(origins.vector_at(4).unwrap().get(id(B)), None);
        let begin = |at| origins.begin(&vector(&[(A, 0), (B, at), (C, 100)]), 5, 5);
        assert_eq!(begin(9).gap, Gap::NONE);
        assert_eq!(begin(7).gap, Gap::at_most(2));
        origins.forget(id(B));
        assert_eq!(begin(9).gap, Gap::UNKNOWN);
        assert!(origins.import().meet(id(B), 0, 9));
        assert_eq!(begin(9).gap, Gap::NONE);
    }

    #[test]
    fn after_a_restart_what_was_written_down_is_as_it_was() {
        let before = origins(1000);
        for (position, local) in [(7, 2), (9, 4), (15, 6)] {
            assert!(before.import().event(id(B), position, at(A, local)));
        }
        assert!(before.import().gap(id(B), 15, 18, at(A, 7)));
        before.import().through(id(B), 20);
        let known = before.known(4);
        let after = Origins::new(A, 0, 4, 1000);
        let import = after.import();
        for known in &known {
            assert!(import.meet(known.origin, known.start, known.base));
            import.forgotten_up_to(known.origin, known.floor);
            for note in &known.held {
                let place = at(A, note.local);
                assert!(match note.gap {
                    Some(from) => import.gap(known.origin, from, note.position, place),
                    None => import.event(known.origin, note.position, place),
                });
            }
            import.through(known.origin, known.have);
        }
        drop(import);
        assert_eq!(after.known(4), known);
        assert!(after.confirm(4, at(B, 9), None));
        assert!(after.confirm(7, at(B, 18), Some(15)));
        for local in 4..8 {
            let others = |origins: &Origins| {
                let mut vector = origins.vector_at(local).unwrap();
                vector.remove(id(A));
                vector
            };
            assert_eq!(others(&after), others(&before));
        }
        after.restart(C, 9);
        let all = vector(&[(A, 3), (B, 20), (C, 8)]);
        assert_eq!(after.vector_at(8), Some(all));
        let begin = |own, b| after.begin(&vector(&[(A, own), (B, b)]), 9, 9).gap;
        assert_eq!((begin(3, 20), begin(3, 18)), (Gap::NONE, Gap::NONE));
        assert_eq!(begin(1, 20), Gap::at_most(2), "of the former ring");
    }

    #[test]
    fn there_are_as_many_origins_as_a_vector_can_have() {
        let origins = Origins::new(A, 0, 1, 10);
        let meet = |n: u8| origins.import().meet(OriginId([n; 5]), 0, 0);
        assert!((100..163).all(meet));
        assert!(!meet(99));
        let one = OriginId([100; 5]);
        assert!(origins.import().event(one, 7, at(A, 1)));
        origins.import().leave(one);
        assert!(meet(99));
        assert_eq!(origins.have_all().len(), Vector::MAX_ORIGINS);
    }

    /// What one node's ring holds, in a list: where each thing lies, whose it is, and its position there.
    #[derive(Debug)]
    struct Node {
        epoch: Epoch,
        origins: Origins,
        next: u64,
        held: Vec<(u64, Epoch, u64)>,
    }

    impl Node {
        fn new(epoch: Epoch, others: [Epoch; 2]) -> Self {
            let origins = Origins::new(epoch, 0, 1, 1000);
            let meet = |other: Epoch| origins.import().meet(id(other), 0, 0);
            assert!(others.into_iter().all(meet));
            Self {
                epoch,
                origins,
                next: 1,
                held: Vec::new(),
            }
        }

        fn own_event(&mut self) {
            self.origins.own_event(self.next);
            self.held.push((self.next, self.epoch, self.next));
            self.next += 1;
        }

        fn import(&mut self, (epoch, position): (Epoch, u64), as_gap: bool) {
            let import = self.origins.import();
            let have = import.have(id(epoch)).unwrap();
            let place = at(self.epoch, self.next);
            assert!(match as_gap {
                true => import.gap(id(epoch), have, position, place),
                false => import.event(id(epoch), position, place),
            });
            drop(import);
            self.held.push((self.next, epoch, position));
            self.next += 1;
        }

        fn vector_at(&self, local: u64) -> Vector {
            let mut vector = vector(&[(A, 0), (B, 0), (C, 0)]);
            for (at, epoch, position) in &self.held {
                if *at <= local {
                    assert!(vector.set(id(*epoch), *position));
                }
            }
            vector
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Publish(usize),
        /// Imports the next one of another node.
        Import(usize, usize, bool),
        Hole(usize),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            (0..3usize).prop_map(Op::Publish),
            (0..3usize, 0..3usize, prop::bool::weighted(0.1))
                .prop_map(|(to, of, gap)| Op::Import(to, of, gap)),
            (0..3usize, 0..3usize).prop_map(|(to, of)| Op::Import(to, of, false)),
            (0..3usize).prop_map(Op::Hole),
        ];
        prop::collection::vec(op, 0..80)
    }

    proptest! {
        #[test]
        fn near_the_end_is_found_what_is_found_anywhere(steps in prop::collection::vec(0..3u64, 0..100), asked in 0..210u64) {
            let mut last = 0;
            let held = steps.iter().map(|step| {
                last += step;
                Held { theirs: last, through: last, local: last }
            });
            let held: VecDeque<Held> = held.collect();
            let is_before = |held: &Held| held.theirs < asked;
            prop_assert_eq!(near_end(&held, is_before), held.partition_point(is_before));
        }

        /// Three nodes that import each other's events in any order, some as gap records: from each place on each node
        /// to each other one.
        #[test]
        fn places_and_vectors_are_those_of_a_plain_list(ops in ops()) {
            let mut nodes = [
                Node::new(A, [B, C]),
                Node::new(B, [A, C]),
                Node::new(C, [A, B]),
            ];
            for op in ops {
                match op {
                    Op::Publish(node) => nodes[node].own_event(),
                    Op::Hole(node) => nodes[node].next += 1,
                    Op::Import(to, of, gap) if to != of => {
                        let epoch = nodes[of].epoch;
                        let have = nodes[to].origins.have(id(epoch)).unwrap();
                        let own = nodes[of].held.iter().filter(|held| held.1 == epoch);
                        let next = own.map(|held| held.2).find(|position| *position > have);
                        if let Some(position) = next {
                            nodes[to].import((epoch, position), gap);
                        }
                    }
                    Op::Import(..) => {}
                }
            }
            for (from, to) in [(0, 0), (0, 1), (1, 0), (2, 1)] {
                let (from, to) = (&nodes[from], &nodes[to]);
                for place in 0..from.next {
                    let vector = from.origins.vector_at(place).unwrap();
                    prop_assert_eq!(&vector, &from.vector_at(place));
                    let begin = to.origins.begin(&vector, to.next, to.next);
                    let lacks = |held: &&(u64, Epoch, u64)| held.2 > vector.get(id(held.1)).unwrap();
                    let first = to.held.iter().find(lacks).map_or(to.next, |held| held.0);
                    prop_assert_eq!((begin.from, begin.gap), (first, Gap::NONE));
                    prop_assert_eq!(&begin.vector, &vector);
                    let covers = |place: &u64| to.vector_at(*place).covers(&vector);
                    let covered = (0..to.next).find(covers);
                    match begin.filter {
                        None => prop_assert!(covered.is_some_and(|at| at < begin.from)),
                        Some(Until::Covered) => prop_assert_eq!(covered, None),
                        Some(Until::Local(at)) => {
                            prop_assert_eq!(covered, Some(at));
                            let has = to.held.iter().filter(|held| held.0 > at);
                            prop_assert!(has.clone().all(|held| lacks(&held)));
                        }
                    }
                }
            }
        }
    }
}
