//! What the process of a node does with relay and importer, step by step; it may crash at each.

use std::collections::BTreeMap;

use bytes::Bytes;
use cluster::entry::Entry;
use cluster::import::{Import, Importer, Known, Limits, Why};
use cluster::node_state::NodeState;
use cluster::nodes::Standing;
use cluster::relay::{self, Relay};
use shared::cursor::Cursor;
use shared::vector::OriginId;

use crate::node::{Held, Journal, Note, Up, What, import_of};
use crate::ring::Rec;
use crate::truth::serial_of;
use crate::world::{Mutant, TIMES, World};

/// The process ended in the middle of something.
pub struct Crash;

pub const BEAT: u64 = 1_000;
/// How long a node that starts waits for the log before it lets viewers in.
const START: u64 = 2_000;

impl World {
    fn may_crash(&mut self, n: usize) -> Result<(), Crash> {
        match &mut self.nodes[n].fuse {
            Some(0) => {
                self.crash(n);
                Err(Crash)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub fn crash(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.up.take().is_none() {
            return;
        }
        node.fuse = None;
        let down = match self.rng.below(10) {
            0..5 => self.rng.below(300),
            5..9 => self.rng.below(3_000),
            _ => self.rng.below(20_000),
        };
        self.nodes[n].down_until = self.now + down;
        self.stats.crashes += 1;
        self.detach(n);
    }

    pub fn start(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let (epoch, start) = (node.ring.epoch, node.ring.start);
        if self.mutant == Some(Mutant::NoJournal) {
            node.journal = Journal::new(start);
        }
        node.journal
            .resolve(&node.ring, self.mutant, &mut self.stats);
        let journal = &node.journal;
        let known = journal.origins.values().map(|known| Known {
            epoch: known.epoch,
            start: known.start,
            have: known.have,
        });
        let limits = Limits {
            held_of_one: 2_000,
            held: 3_000,
        };
        let mut importer = Importer::new(epoch, known, TIMES, limits, now);
        let knows = self.mutant != Some(Mutant::NoFormer);
        if let Some(former) = node.former.filter(|_| knows) {
            importer.had_ring(former);
        }
        let place = journal.own_seen.min(node.ring.next - 1);
        let limits = relay::Limits {
            piece: 6,
            patience: TIMES.patience,
        };
        let relay = Relay::new(epoch, start, place, limits);
        let oldest = node.ring.oldest();
        let first = match oldest > start + 1 {
            true => oldest - 1,
            false => start,
        };
        let mut up = Up {
            importer,
            relay,
            origins: [(epoch.into(), Held::new(start, first))].into(),
            tailed: first,
            cursor: 0,
            replication_id: 0,
            connected: false,
            connected_at: 0,
            heard: BTreeMap::new(),
            looked: now,
            silence: BTreeMap::new(),
            mark: 0,
            next_beat: now,
            beat: self.rng.next() >> 20,
            started: now,
            serves: false,
        };
        for (id, known) in &journal.origins {
            let mut held = Held::new(known.start, known.floor.max(known.base));
            for note in &journal.notes {
                let (at, what) = import_of(note.record);
                if at.epoch == known.epoch {
                    held.put(note.local, at.seq, what);
                }
            }
            held.through(known.have);
            // To a viewer that connects before anything else happens, all that it cannot have is reported.
            let gone = held.gone(node.ring.oldest());
            let mut had = self.truth.events(*id, gone, held.have());
            let missing = had.find(|position| !held.accounts_for(*position));
            assert_eq!(missing, None, "node {n} passes over {missing:?} of {id}");
            up.origins.insert(*id, held);
        }
        if self.rng.permille(500) {
            (up.cursor, up.replication_id) = journal.read;
        }
        node.up = Some(up);
        self.tail(n, u64::MAX);
    }

    /// The tailer reads the ring, up to so many positions.
    pub fn tail(&mut self, n: usize, most: u64) {
        let node = &mut self.nodes[n];
        let own = node.own();
        let Some(up) = &mut node.up else {
            return;
        };
        let oldest = node.ring.oldest();
        if oldest > up.tailed + 1 {
            let from = up.tailed;
            let held = up.origins.get_mut(&own).expect("its own");
            if oldest - 1 > held.have() {
                held.put(oldest - 1, oldest - 1, What::Gap(from));
            }
            up.tailed = oldest - 1;
            self.stats.lapped += 1;
        }
        let records = node.ring.records.range(up.tailed + 1..);
        for (local, record) in records.take(most.min(1 << 20) as usize) {
            match *record {
                Rec::Own(serial) => {
                    let held = up.origins.get_mut(&own).expect("its own");
                    held.put(*local, *local, What::Event(serial));
                }
                Rec::Hole => {}
                record if up.item(*local).is_none() => {
                    let (at, what) = import_of(record);
                    let id = OriginId::from(at.epoch);
                    let believed = self.mutant == Some(Mutant::BelieveTheRing);
                    match up.origins.get_mut(&id) {
                        Some(held) if believed && at.seq > held.have() => {
                            held.put(*local, at.seq, what);
                        }
                        _ => {
                            let held = up.origins.get_mut(&own).expect("its own");
                            held.put(*local, *local, What::Gap(*local - 1));
                        }
                    }
                }
                _ => {}
            }
            up.tailed = *local;
        }
        if up.tailed + 1 < node.ring.next
            && node.ring.records.range(up.tailed + 1..).next().is_none()
        {
            up.tailed = node.ring.next - 1;
        }
    }

    /// Whether the node reaches its store now; what that means for it.
    fn reaches(&mut self, n: usize) -> bool {
        let now = self.now;
        let node = &mut self.nodes[n];
        let store = &self.stores[node.store];
        let up = node.up.as_mut().expect("it runs");
        if now < store.away_until {
            up.connected = false;
            return false;
        }
        if !up.connected {
            up.connected = true;
            // What another server says is read from its beginning; else by a margin.
            up.cursor = match up.replication_id == store.replication_id {
                true => up.cursor.saturating_sub(self.rng.below(60_000) * 1000),
                false => 0,
            };
            up.replication_id = store.replication_id;
            up.next_beat = now;
            up.connected_at = now;
            up.looked = now;
            up.silence.clear();
            up.importer.store_back(now);
            self.stats.connects += 1;
        }
        true
    }

    /// The connection is closed, or leads to another server from now on.
    pub fn disconnect(&mut self, n: usize) {
        if let Some(up) = &mut self.nodes[n].up {
            up.connected = false;
        }
    }

    pub fn relay(&mut self, n: usize) -> Result<(), Crash> {
        if !self.reaches(n) {
            return Ok(());
        }
        let now = self.now;
        let node = &mut self.nodes[n];
        let up = node.up.as_mut().expect("it runs");
        let origins = &up.origins;
        let own = OriginId::from(node.ring.epoch);
        let mine = |local| {
            let mut others = origins.iter().filter(|(id, _)| **id != own);
            others.any(|(_, held)| held.items.contains_key(&local))
        };
        let ring = &node.ring;
        let read = |at: Cursor| match at.epoch == ring.epoch {
            true => ring.read(at.seq, mine),
            false => ring.read_import(at.seq, &origins[&at.epoch.into()]),
        };
        let piece = up.relay.piece(now, up.tailed, read);
        let piece = piece.to_vec();
        if piece.is_empty() {
            return Ok(());
        }
        let fails = self.faults.appends && self.rng.permille(60);
        // What a store promises: none without those before it.
        let taken = match fails {
            true => self.rng.below(piece.len() as u64 + 1) as usize,
            false => piece.len(),
        };
        for entry in &piece[..taken] {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            let store = &mut self.stores[self.nodes[n].store];
            let before = store.log.len();
            store.append(now, Bytes::from(bytes));
            if store.log.len() == before {
                self.harm();
            }
            self.stats.entries += 1;
            self.may_crash(n)?;
        }
        let up = self.nodes[n].up.as_mut().expect("it runs");
        match fails {
            true => self.stats.failed_appends += 1,
            false => up.relay.appended(now),
        }
        self.may_crash(n)
    }

    pub fn read(&mut self, n: usize, count: usize) -> Result<(), Crash> {
        if !self.reaches(n) {
            return Ok(());
        }
        let now = self.now;
        let node = &mut self.nodes[n];
        let up = node.up.as_mut().expect("it runs");
        let entries = self.stores[node.store].after(up.cursor, count);
        let ended = entries.len() < count;
        let mut out = Vec::new();
        for (id, bytes) in entries {
            let mut entry = Entry::decode(&bytes).expect("an entry");
            let blind = matches!(self.mutant, Some(Mutant::NoContiguity | Mutant::LogIds));
            if blind && entry.epoch != node.ring.epoch {
                let have = up
                    .importer
                    .have()
                    .get(entry.origin())
                    .unwrap_or(entry.previous);
                entry.previous = have.min(entry.position - 1);
            }
            up.cursor = id;
            up.relay.seen(entry.at());
            up.importer.entry(now, entry, &mut out);
        }
        if ended {
            up.importer.end_of_log(now, &mut out);
        }
        self.apply(n, out)?;
        self.may_serve(n);
        Ok(())
    }

    pub fn may_serve(&mut self, n: usize) {
        let now = self.now;
        let Some(up) = &mut self.nodes[n].up else {
            return;
        };
        if !up.serves && (!up.importer.is_starting() || now >= up.started + START) {
            up.importer.serves();
            up.serves = true;
        }
    }

    pub fn beat(&mut self, n: usize) -> Result<(), Crash> {
        if !self.reaches(n) {
            return Ok(());
        }
        let now = self.now;
        let node = &mut self.nodes[n];
        let up = node.up.as_mut().expect("it runs");
        up.next_beat = now + BEAT;
        let store = &mut self.stores[node.store];
        if store.mark == 0 {
            store.mark = self.rng.next() | 1;
        }
        if up.mark != store.mark {
            // The log was emptied: ids may have gone back.
            up.mark = store.mark;
            if self.mutant != Some(Mutant::LogIds) {
                up.cursor = 0;
            }
        }
        let mut out = Vec::new();
        let states = store.states.values();
        let states = states.map(|bytes| NodeState::decode(bytes).expect("a state"));
        let states: Vec<_> = states.collect();
        for state in &states {
            let before = up.heard.insert(state.origin(), state.beat);
            if before != Some(state.beat) {
                up.silence.remove(&state.origin());
            }
        }
        let passed = (now - up.looked).min(TIMES.lease / 2);
        up.looked = now;
        for id in up.origins.keys() {
            *up.silence.entry(*id).or_default() += passed;
        }
        let before = up.importer.have();
        up.importer.states(now, states, &mut out);
        up.importer.tick(&mut out);
        assert!(
            up.importer.have().covers(&before),
            "a node's vector went back"
        );
        up.relay.look_at_wants(now, &up.importer);
        self.apply(n, out)?;
        let node = &mut self.nodes[n];
        let up = node.up.as_mut().expect("it runs");
        up.beat += 1;
        let state = NodeState {
            epoch: node.ring.epoch,
            name: format!("node-{n}"),
            askrd: "0.1.0".into(),
            beat: up.beat,
            start: node.ring.start,
            last: up.relay.last(),
            through: up.relay.through(),
            have: up.importer.have(),
            wants: match self.mutant {
                Some(Mutant::NoWants | Mutant::LogIds) => Default::default(),
                Some(Mutant::NoHeirs) => {
                    let wants = up.importer.wants(now);
                    let lives = |id| up.importer.nodes().standing(id) == Standing::Living;
                    wants.iter().filter(|(id, _)| lives(*id)).collect()
                }
                _ => up.importer.wants(now),
            },
        };
        if !state.wants.is_empty() {
            self.stats.wants += 1;
        }
        let store = &mut self.stores[node.store];
        store.states.insert(state.origin(), state.encode());
        self.wrote.insert(state.origin(), now);
        self.may_crash(n)
    }

    /// Publishes what came out of the importer: intents, records, notes.
    fn apply(&mut self, n: usize, out: Vec<Import>) -> Result<(), Crash> {
        if out.is_empty() {
            return Ok(());
        }
        self.may_crash(n)?;
        let node = &mut self.nodes[n];
        let after = node.ring.next - 1;
        for import in &out {
            match import {
                Import::Met { epoch, start, base } => {
                    let known = crate::node::Known {
                        epoch: *epoch,
                        start: *start,
                        base: *base,
                        floor: *base,
                        have: *base,
                    };
                    node.journal.origins.insert((*epoch).into(), known);
                }
                import => {
                    let record = record_of(import);
                    node.journal
                        .intents
                        .extend(record.map(|record| (record, after)));
                }
            }
        }
        self.may_crash(n)?;
        let mut notes = Vec::new();
        let mut own_seen = 0;
        for import in out {
            self.check_import(n, &import);
            let record = record_of(&import);
            let node = &mut self.nodes[n];
            let up = node.up.as_mut().expect("it runs");
            match import {
                Import::Met { epoch, start, base } => {
                    up.origins.insert(epoch.into(), Held::new(start, base));
                }
                Import::Event { at, .. } | Import::Gap { at, .. } => {
                    let record = record.expect("it is published");
                    let local = node.ring.publish(record);
                    let id = OriginId::from(at.epoch);
                    let (_, what) = import_of(record);
                    up.origins
                        .get_mut(&id)
                        .expect("it was met")
                        .put(local, at.seq, what);
                    notes.push(Note { local, record });
                    node.imported.insert((id, at.seq), (local, self.now));
                    assert!(node.ever.set(id, at.seq));
                    if self.rng.permille(100) {
                        self.publish(n);
                    }
                    self.may_crash(n)?;
                }
                Import::Through { at } => {
                    let id = OriginId::from(at.epoch);
                    up.origins.get_mut(&id).expect("it was met").through(at.seq);
                }
                Import::Own { position } => {
                    own_seen = position.max(own_seen);
                }
                Import::Retired { .. } => panic!("nobody retires in so short a time"),
            }
        }
        self.may_crash(n)?;
        let node = &mut self.nodes[n];
        let up = node.up.as_ref().expect("it runs");
        let journal = &mut node.journal;
        journal.intents.clear();
        for note in notes {
            journal.note(note);
        }
        for (id, have) in up.importer.have().iter() {
            let known = journal.origins.get_mut(&id).expect("it was met");
            known.have = known.have.max(have);
        }
        journal.own_seen = journal.own_seen.max(own_seen);
        journal.read = (up.cursor, up.replication_id);
        Ok(())
    }

    /// Whether another node that is well has imported this a while ago, and still holds it.
    fn has_heir(&self, n: usize, event: (OriginId, u64)) -> bool {
        let mut others = self.nodes.iter().enumerate().filter(|(m, _)| *m != n);
        others.any(|(_, other)| {
            let imported = other.imported.get(&event).filter(|(local, at)| {
                let record = other.ring.records.get(local);
                matches!(record, Some(Rec::Imported { .. })) && self.now > at + 3 * BEAT
            });
            let wrote = self.wrote.get(&other.own());
            let well = wrote.is_some_and(|wrote| self.now < wrote + 2 * BEAT);
            let steady = other.up.as_ref().is_some_and(|up| {
                up.connected && self.now > up.started.max(up.connected_at) + 2 * TIMES.grace
            });
            imported.is_some() && well && steady
        })
    }

    /// What an importer lets out is what really happened.
    fn check_import(&mut self, n: usize, import: &Import) {
        let truth = &self.truth;
        let node = &self.nodes[n];
        let up = node.up.as_ref().expect("it runs");
        let have = |id: &OriginId| up.origins.get(id).map(Held::have);
        match import {
            Import::Met { epoch, start, base } => {
                let id = OriginId::from(*epoch);
                assert_eq!(*start, truth.start(id));
                if *base > *start {
                    self.stats.bases += 1;
                    assert!(!up.serves, "viewers are there already");
                }
                assert_eq!(node.ever.get(id), None, "node {n} has met {id} before");
            }
            Import::Event { at, from, event } => {
                let id = OriginId::from(at.epoch);
                assert_eq!(have(&id), Some(*from));
                let serial = Some(serial_of(event));
                assert_eq!(truth.serial(id, at.seq), serial, "another event at {at}");
                let skipped = truth.events(id, *from, at.seq - 1).next();
                assert_eq!(skipped, None, "node {n} passes over {skipped:?} of {id}");
                if let Some((local, _)) = node.imported.get(&(id, at.seq)) {
                    assert!(*local < node.ring.oldest(), "node {n} imports {at} twice");
                }
                self.stats.imported += 1;
                if self.clean {
                    let causes = &truth.origins[&id].events[&at.seq].after;
                    for (cause, position) in causes.iter().filter(|(cause, _)| *cause != node.own())
                    {
                        let has = have(&cause).unwrap_or(truth.start(cause));
                        let lacks = truth.events(cause, has, position).next();
                        assert_eq!(lacks, None, "node {n} has {at} before its cause of {cause}");
                    }
                    self.stats.causes += 1;
                }
            }
            Import::Gap { at, from, why } => {
                self.stats.gaps += 1;
                let id = OriginId::from(at.epoch);
                let lost: Vec<_> = truth.events(id, *from, at.seq).collect();
                let origin = self.nodes.iter().find(|other| other.ring.epoch == at.epoch);
                let held = origin
                    .and_then(|origin| lost.iter().find(|position| origin.ring.holds(**position)));
                // What was sent again may be lost again.
                let harmed = self.now < self.harmed + 2 * (TIMES.lease + TIMES.grace);
                let mut heirs = lost.iter();
                let heir = heirs.find(|position| self.has_heir(n, (id, **position)));
                assert!(
                    heir.is_none() || *why != Why::Dead || self.parted(id) || harmed,
                    "node {n} gives up {at} from {from} ({why:?}), which another one has: {heir:?}"
                );
                // Others may not have seen its last beats.
                let wrote = self.wrote.get(&id).copied().unwrap_or(2 * BEAT) - 2 * BEAT;
                let time = TIMES.lease + TIMES.grace;
                let silent = up.silence.get(&id).is_some_and(|silent| *silent >= time);
                let dead = self.now >= wrote + time || silent;
                // What is given up may come to others later than what follows it.
                self.clean &= lost.is_empty();
                let excused = *why == Why::Dead && (dead || self.parted(id));
                let excused = excused || *why == Why::Before;
                assert!(
                    held.is_none() || excused,
                    "node {n} gives up {at} from {from} ({why:?}), which is held: {held:?}"
                );
            }
            Import::Through { at } => {
                let id = OriginId::from(at.epoch);
                let from = have(&id).expect("it was met");
                let skipped = truth.events(id, from, at.seq).next();
                assert_eq!(skipped, None, "node {n} passes over {skipped:?} of {id}");
            }
            Import::Own { .. } | Import::Retired { .. } => {}
        }
    }
}

fn record_of(import: &Import) -> Option<Rec> {
    match import {
        Import::Event { at, event, .. } => Some(Rec::Imported {
            at: *at,
            serial: serial_of(event),
        }),
        Import::Gap { at, from, .. } => Some(Rec::Gap {
            at: *at,
            from: *from,
        }),
        _ => None,
    }
}
