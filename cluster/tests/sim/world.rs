//! Nodes, stores and viewers in virtual time, what happens to them at random, and what must hold at the end.

use std::collections::BTreeMap;

use cluster::nodes::Times;
use shared::cursor::{Cursor, Epoch};
use shared::vector::OriginId;

use crate::node::{Held, Journal, Node};
use crate::ring::{Rec, Ring};
use crate::rng::Rng;
use crate::store::Store;
use crate::truth::{Origin, Published, Truth};
use crate::viewer::Viewer;

pub const TIMES: Times = Times {
    lease: 3_000,
    grace: 3_000,
    patience: 300,
};

/// What is left out or done wrong, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Whatever comes next is taken.
    NoContiguity,
    /// Nobody asks for anything again.
    NoWants,
    /// A node that starts knows nothing.
    NoJournal,
    /// Only the log's ids say what is new.
    LogIds,
    /// A viewer that is ahead of its node gets ids as everybody.
    SharedFrame,
    /// A record that says that it is another host's is taken for that.
    BelieveTheRing,
    /// Nobody sends again what a dead origin no longer can.
    NoHeirs,
    /// What the ring overwrote of a batch that was not noted is passed over.
    NoFloor,
    /// Nobody knows of the ring that a host had before.
    NoFormer,
}

pub const MUTANTS: [Mutant; 9] = [
    Mutant::NoContiguity,
    Mutant::NoWants,
    Mutant::NoJournal,
    Mutant::LogIds,
    Mutant::SharedFrame,
    Mutant::BelieveTheRing,
    Mutant::NoHeirs,
    Mutant::NoFloor,
    Mutant::NoFormer,
];

/// What may happen in a run.
pub struct Faults {
    pub appends: bool,
    crashes: bool,
    pauses: bool,
    rotations: bool,
    epochs: bool,
    flushes: bool,
    failovers: bool,
    partitions: bool,
    away: bool,
    trims: bool,
    forgers: bool,
    erases: bool,
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened in a run.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl std::ops::AddAssign for Stats {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

stats! {
    published,
    entries,
    imported,
    delivered,
    hops,
    /// Viewers that were ahead of their node.
    ahead,
    /// Gaps that viewers were told, and gap records.
    told,
    gaps,
    /// Viewers and tailers that the ring overtook.
    slow,
    lapped,
    /// Origins that were not taken from their start.
    bases,
    wants,
    /// Imports that were checked for what they come after.
    causes,
    failed_appends,
    connects,
    crashes,
    /// Rings that took much while nobody read them.
    bursts,
    /// What was imported without a note: found after a restart, and overwritten before one.
    recovered,
    floors,
    pauses,
    rotations,
    epochs,
    flushes,
    failovers,
    partitions,
    away,
    trims,
    forged,
    erased,
}

pub struct World {
    pub rng: Rng,
    pub now: u64,
    pub nodes: Vec<Node>,
    pub stores: [Store; 2],
    /// The store that stays.
    main: usize,
    replica: Option<Store>,
    /// Since when, and until when, there are two masters.
    parted: Option<(u64, u64)>,
    last_parted: u64,
    pub viewers: Vec<Viewer>,
    pub truth: Truth,
    pub faults: Faults,
    pub mutant: Option<Mutant>,
    /// Nothing has happened to the log yet.
    pub clean: bool,
    /// When something happened to the log last.
    pub harmed: u64,
    /// When each origin's state was written last.
    pub wrote: BTreeMap<OriginId, u64>,
    quiet: bool,
    pub stats: Stats,
}

impl World {
    pub fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut rng = Rng::new(seed);
        let calm = rng.permille(150);
        let mut some = |n| !calm && rng.permille(n);
        let faults = Faults {
            appends: some(600),
            crashes: some(700),
            pauses: some(300),
            rotations: some(400),
            epochs: some(300),
            flushes: some(400),
            failovers: some(400),
            partitions: some(400),
            away: some(400),
            trims: some(400),
            forgers: some(400),
            erases: some(300),
        };
        let length = match faults.trims {
            true => rng.between(20, 300) as usize,
            false => usize::MAX,
        };
        let store = Store {
            length,
            replication_id: 1,
            ..Store::default()
        };
        let mut world = Self {
            now: 1_000_000,
            nodes: Vec::new(),
            stores: [store.clone(), store],
            main: 0,
            replica: None,
            parted: None,
            last_parted: 0,
            viewers: Vec::new(),
            truth: Truth::default(),
            faults,
            mutant,
            clean: true,
            harmed: 0,
            wrote: BTreeMap::new(),
            quiet: false,
            stats: Stats::default(),
            rng,
        };
        for n in 0..3 {
            let ring = world.new_ring();
            let start = ring.start;
            world.nodes.push(Node {
                ring,
                journal: Journal::new(start),
                former: None,
                up: None,
                // One may come when the others have been there for a while.
                down_until: match world.rng.permille(300) && n == 2 {
                    true => world.now + world.rng.below(20_000),
                    false => world.now,
                },
                paused_until: 0,
                fuse: None,
                store: 0,
                imported: BTreeMap::new(),
                ever: Default::default(),
            });
        }
        for _ in 0..6 {
            let speed = world.rng.between(20, 1000);
            world.viewers.push(Viewer {
                speed,
                ..Viewer::default()
            });
        }
        world
    }

    fn new_ring(&mut self) -> Ring {
        let bytes = self.rng.next().to_le_bytes();
        let epoch = Epoch(std::array::from_fn(|n| bytes[n]));
        let start = self.rng.below(1000);
        let capacity = self.rng.between(30, 400) as usize;
        let events = BTreeMap::new();
        self.truth
            .origins
            .insert(epoch.into(), Origin { start, events });
        Ring::new(epoch, start, capacity)
    }

    pub fn publish(&mut self, n: usize) {
        if self.quiet {
            return;
        }
        let node = &mut self.nodes[n];
        self.truth.serials += 1;
        let serial = self.truth.serials;
        let position = node.ring.publish(Rec::Own(serial));
        let published = Published {
            serial,
            after: node.ever.clone(),
            erased: false,
        };
        let origin = self
            .truth
            .origins
            .get_mut(&node.own())
            .expect("it has a ring");
        origin.events.insert(position, published);
        self.stats.published += 1;
    }

    /// Whether others may have been unable to see that it is alive, because there were two masters.
    pub fn parted(&self, _origin: OriginId) -> bool {
        self.parted.is_some() || self.now < self.last_parted + 2 * (TIMES.lease + TIMES.grace)
    }

    pub fn step(&mut self) {
        self.now += self.rng.below(25);
        self.wake();
        for store in 0..2 {
            if self.now < self.stores[store].away_until {
                self.wrote.values_mut().for_each(|wrote| *wrote = self.now);
            }
        }
        let n = self.rng.pick(3);
        let runs = self.nodes[n].runs(self.now);
        match self.rng.below(100) {
            0..20 => {
                for _ in 0..self.rng.between(1, 4) {
                    self.publish(n);
                }
            }
            20..40 if runs => {
                let most = self.rng.between(1, 40);
                self.tail(n, most);
            }
            40..60 if runs => {
                let _ = self.relay(n);
            }
            60..85 if runs => {
                let count = self.rng.between(1, 40) as usize;
                let _ = self.read(n, count);
            }
            _ => {}
        }
        self.move_viewers();
        self.fault(n);
    }

    /// What comes by its own time.
    fn wake(&mut self) {
        if self.parted.is_some_and(|(_, until)| self.now >= until) {
            self.heal();
        }
        for n in 0..3 {
            if self.nodes[n].up.is_none() && self.now >= self.nodes[n].down_until {
                self.start(n);
            }
            if self.nodes[n].runs(self.now) {
                self.may_serve(n);
                let due = self.nodes[n]
                    .up
                    .as_ref()
                    .is_some_and(|up| self.now >= up.next_beat);
                if due {
                    let _ = self.beat(n);
                }
            }
        }
    }

    fn move_viewers(&mut self) {
        for v in 0..self.viewers.len() {
            match self.viewers[v].at {
                None => {
                    let n = self.rng.pick(3);
                    if self.nodes[n].runs(self.now) && self.rng.permille(200) {
                        self.attach(v, n);
                    }
                }
                Some(_) if self.rng.permille(10) => self.viewers[v].at = None,
                Some((n, _)) if self.nodes[n].runs(self.now) => {
                    if self.rng.permille(self.viewers[v].speed) {
                        self.view(v);
                    }
                    if self.rng.permille(20) {
                        self.ping(v);
                    }
                }
                Some(_) => {}
            }
        }
        // One that is new now and then.
        if self.rng.permille(2) {
            let v = self.rng.pick(self.viewers.len());
            let speed = self.viewers[v].speed;
            self.viewers[v] = Viewer {
                speed,
                ..Viewer::default()
            };
        }
    }

    fn fault(&mut self, n: usize) {
        let now = self.now;
        if self.rng.permille(10) {
            self.replica = Some(self.stores[self.main].clone());
        }
        if self.faults.crashes && self.rng.permille(4) && self.nodes[n].up.is_some() {
            self.nodes[n].fuse = Some(self.rng.below(40));
        }
        // While its process is away a ring takes what comes; now and then that is most of what it holds.
        if self.faults.crashes && self.nodes[n].up.is_none() && self.rng.permille(50) {
            let most = self.nodes[n].ring.capacity() as u64;
            for _ in 0..self.rng.below(most) {
                self.publish(n);
            }
            self.stats.bursts += 1;
        }
        if self.faults.pauses && self.rng.permille(2) {
            self.nodes[n].paused_until = now + self.rng.below(9_000);
            self.stats.pauses += 1;
        }
        if self.faults.rotations && self.rng.permille(3) {
            let jump = self.rng.between(1, 5_000);
            self.nodes[n].ring.rotate(jump);
            self.stats.rotations += 1;
        }
        if self.faults.epochs && self.rng.permille(1) {
            self.crash(n);
            let ring = self.new_ring();
            let node = &mut self.nodes[n];
            node.former = Some(cluster::import::Known {
                epoch: node.ring.epoch,
                start: node.ring.start,
                have: node.journal.own_seen,
            });
            node.journal = Journal::new(ring.start);
            node.ring = ring;
            node.imported.clear();
            node.ever = Default::default();
            self.stats.epochs += 1;
        }
        let clock = self.rng.below(100_000);
        if self.faults.flushes && self.rng.permille(2) {
            self.stores[self.main].flush(clock);
            self.harm();
            self.stats.flushes += 1;
        }
        if self.faults.failovers && self.rng.permille(2) && self.has_replica() {
            self.promote(self.main, clock);
            (0..3).for_each(|n| self.disconnect(n));
            self.stats.failovers += 1;
        }
        if self.faults.partitions && self.rng.permille(2) && self.has_replica() {
            self.promote(1 - self.main, clock);
            for n in 0..3 {
                if self.rng.permille(500) {
                    self.nodes[n].store = 1 - self.main;
                    self.disconnect(n);
                }
            }
            self.parted = Some((now, now + self.rng.below(8_000)));
            self.stats.partitions += 1;
        }
        if self.faults.away && self.rng.permille(2) {
            let long = self.rng.permille(100);
            let most = if long { 60_000 } else { 8_000 };
            self.stores[self.main].away_until = now + self.rng.below(most);
            self.stats.away += 1;
        }
        if self.faults.trims && self.rng.permille(5) {
            let store = &mut self.stores[self.main];
            let gone = self.rng.below(store.log.len() as u64 + 1) as usize;
            store.log.drain(..gone);
            self.harm();
            self.stats.trims += 1;
        }
        if self.faults.forgers && self.rng.permille(10) {
            self.forge(n);
        }
        if self.faults.erases && self.rng.permille(10) {
            self.erase(n);
        }
    }

    pub fn harm(&mut self) {
        self.clean = false;
        self.harmed = self.now;
    }

    fn has_replica(&self) -> bool {
        self.replica.is_some() && self.parted.is_none()
    }

    /// The replica becomes a master, with what it had.
    fn promote(&mut self, store: usize, clock: u64) {
        self.harm();
        self.stores[store] = self.replica.take().expect("there is a replica");
        self.stores[store].replication_id = self.rng.next() | 1;
        self.stores[store].clock = clock;
    }

    /// The new master is the only one; what the old one took is gone.
    fn heal(&mut self) {
        self.parted = None;
        self.last_parted = self.now;
        self.main = 1 - self.main;
        for n in 0..3 {
            if self.nodes[n].store != self.main {
                self.nodes[n].store = self.main;
                self.disconnect(n);
            }
        }
    }

    /// A publisher writes that an event is another host's.
    fn forge(&mut self, n: usize) {
        let of = (n + 1 + self.rng.pick(2)) % 3;
        let ring = &self.nodes[of].ring;
        let seq = ring.next + self.rng.below(20);
        let at = Cursor {
            epoch: ring.epoch,
            seq,
        };
        let record = match self.rng.permille(500) {
            true => Rec::Imported { at, serial: 0 },
            false => Rec::Gap { at, from: seq - 1 },
        };
        self.nodes[n].ring.publish(record);
        self.stats.forged += 1;
    }

    fn erase(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let tailed = node.up.as_ref().map_or(0, |up| up.tailed);
        let own = node.own();
        let mut events: Vec<_> = node.ring.records.range_mut(..=tailed).collect();
        let at = self.rng.pick(events.len().max(1));
        if let Some((position, record)) = events.get_mut(at)
            && matches!(record, Rec::Own(_))
        {
            **record = Rec::Hole;
            let origin = self.truth.origins.get_mut(&own).expect("it has a ring");
            origin
                .events
                .get_mut(*position)
                .expect("it was published")
                .erased = true;
            self.stats.erased += 1;
        }
    }

    /// Everything is repaired, nobody publishes any more: in bounded time all nodes have the same, and viewers too.
    pub fn quiesce(&mut self) {
        self.quiet = true;
        if self.parted.is_some() {
            self.heal();
        }
        let now = self.now;
        self.stores
            .iter_mut()
            .for_each(|store| store.away_until = now);
        for node in &mut self.nodes {
            (node.paused_until, node.down_until, node.fuse) = (now, now, None);
        }
        self.faults.appends = false;
        let deadline = now + 300_000;
        while let Err(why) = self.is_even() {
            if self.now >= deadline {
                self.explain();
            }
            assert!(self.now < deadline, "after minutes of peace: {why}");
            self.now += 100;
            self.wake();
            for n in 0..3 {
                self.tail(n, u64::MAX);
                for _ in 0..5 {
                    let _ = self.relay(n);
                }
                for _ in 0..20 {
                    let _ = self.read(n, 50);
                }
            }
            self.move_viewers();
        }
        for round in 0..3 {
            for v in 0..self.viewers.len() {
                self.viewers[v].at = None;
                let n = (v + round) % 3;
                self.tail(n, u64::MAX);
                self.attach(v, n);
                while self.view(v) {}
                self.ping(v);
                let up = self.nodes[n].up.as_ref().expect("it runs");
                for (origin, held) in &up.origins {
                    let has = self.viewers[v].id.get(*origin);
                    assert!(
                        has >= Some(held.have()),
                        "viewer {v} has less of {origin} than node {n}: {has:?} of {} at {:?}, tailed {}",
                        held.have(),
                        self.viewers[v].at,
                        up.tailed
                    );
                }
            }
        }
    }

    fn explain(&self) {
        for (n, node) in self.nodes.iter().enumerate() {
            let Some(up) = &node.up else { continue };
            println!(
                "node {n} {} from {} to {}, oldest {}: relay {} {} serves {}",
                node.own(),
                node.ring.start,
                node.ring.next - 1,
                node.ring.oldest(),
                up.relay.last(),
                up.relay.through(),
                up.serves
            );
            println!(
                "  have {:?}\n wants {:?}\n lags {:?}",
                up.importer
                    .have()
                    .iter()
                    .map(|(o, p)| format!("{o}:{p}"))
                    .collect::<Vec<_>>(),
                up.importer
                    .wants(self.now)
                    .iter()
                    .map(|(o, p)| format!("{o}:{p}"))
                    .collect::<Vec<_>>(),
                up.importer.lags().collect::<Vec<_>>()
            );
            println!("  {:?} {:?}", up.importer.counts, up.relay.counts);
        }
    }

    /// Whether all nodes have everything of all that live, and the same of those that do not.
    fn is_even(&self) -> Result<(), String> {
        for m in 0..3 {
            let Some(up) = self.nodes[m].up.as_ref().filter(|up| up.serves) else {
                return Err(format!("node {m} does not serve"));
            };
            for former in self.nodes.iter().filter_map(|node| node.former) {
                let former = OriginId::from(former.epoch);
                let have = up.origins.get(&former).map(Held::have);
                let lacks =
                    have.and_then(|have| self.truth.events(former, have, u64::MAX - 1).next());
                if let Some(lacks) = lacks {
                    return Err(format!("node {m} does not tell of {lacks} of {former}"));
                }
            }
            for n in 0..3 {
                let other = &self.nodes[n];
                let (own, last) = (other.own(), other.ring.next - 1);
                let has = up
                    .origins
                    .get(&own)
                    .map_or(self.truth.start(own), |held| held.have());
                if let Some(lacks) = self.truth.events(own, has, last).next() {
                    return Err(format!("node {m} lacks {lacks} of node {n}, has {has}"));
                }
                let Some(theirs) = &other.up else {
                    continue;
                };
                for (origin, held) in &up.origins {
                    let there = theirs.origins.get(origin).map(|held| held.have());
                    let lacks = there
                        .and_then(|there| self.truth.events(*origin, held.have(), there).next());
                    if let Some(lacks) = lacks {
                        return Err(format!(
                            "node {m} lacks {lacks} of {origin}, node {n} has it"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
