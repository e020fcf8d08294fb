//! Presence on three nodes, with everything that is real but sockets: users who connect, hop, lose their connection and
//! leave; nodes that are killed, restarted and stay away; messages that are lost, and a store that is away. In each
//! node's view, which is what its viewers are sent, joins and leaves alternate; nobody who is somewhere all the time is
//! seen to leave; nobody stays for longer than is promised; and in the end all views are equal, and true.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cluster::facts::others::{Effect, Limits as FactLimits, Others};
use cluster::facts::own::Own;
use cluster::facts::{Key, Notice, Value};
use proptest::prelude::*;
use shared::vector::OriginId;

use crate::hub::presence::{Announcement, Before, Departure, Limits, Presence};

const NODES: usize = 3;
const ROOM: &str = "presence-room";
const GRACE: u64 = 5_000;
/// Of a node: lease and grace together.
const LEASE: u64 = 20_000;
const BEAT: u64 = 1_000;
const TICK: u64 = 250;

#[derive(Debug, Clone)]
enum Step {
    /// A user opens a connection to a node that serves.
    Connect(usize, u8),
    /// One of its connections is lost; the client comes back to another node soon.
    Hop(u8, usize),
    Lose(u8),
    Leave(u8),
    Kill(usize),
    /// A planned stop, which notes who was there.
    Stop(usize),
    Start(usize),
    StoreAway,
    StoreBack,
    /// The next messages to a node are lost.
    Drop(usize, u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0..NODES;
    prop_oneof![
        6 => (n(), 0..6u8).prop_map(|(node, user)| Step::Connect(node, user)),
        8 => (0..6u8, n()).prop_map(|(user, to)| Step::Hop(user, to)),
        2 => (0..6u8).prop_map(Step::Lose),
        2 => (0..6u8).prop_map(Step::Leave),
        1 => n().prop_map(Step::Kill),
        1 => n().prop_map(Step::Stop),
        4 => n().prop_map(Step::Start),
        1 => Just(Step::StoreAway),
        3 => Just(Step::StoreBack),
        2 => (n(), 1..8u8).prop_map(|(node, many)| Step::Drop(node, many)),
        8 => prop_oneof![0..2_000u64, Just(4_000), Just(9_000), Just(30_000)].prop_map(Step::Wait),
    ]
}

/// A running process.
struct Process {
    started: u64,
    /// Since when nobody of before may come back any more.
    settled: u64,
    presence: Presence,
    own: Own,
    others: Others,
    /// Who its viewers see.
    seen: BTreeSet<String>,
    /// Until the members of others are known.
    knows: bool,
    /// When each other node was last heard, and the store came back, whichever is later.
    beats: BTreeMap<usize, u64>,
    asks: VecDeque<(usize, u64, Option<Key>)>,
    /// Who is connected, with the number of the connection, and since when.
    connected: BTreeMap<u8, (u64, u64)>,
}

#[derive(Default)]
struct World {
    now: u64,
    nodes: Vec<Option<Process>>,
    /// What a stopped process noted.
    notes: Vec<Option<Before>>,
    store: bool,
    numbers: u64,
    drop: [u8; NODES],
    /// When a message was lost last.
    dropped: u64,
    /// Since when a user is nowhere: never connected at 0. None: it is somewhere.
    nowhere: BTreeMap<u8, u64>,
    /// Users who were nowhere, or on a node that was killed, for long enough to be seen leaving, since when they came.
    since: BTreeMap<u8, u64>,
    /// When the store came back.
    back: u64,
    /// When a node had not heard all that others said.
    unsure: u64,
    /// When a process ended of which it was not known that it had settled: whom it might have had may come back for as long as if it had.
    unsettled: u64,
}

fn id(node: usize) -> OriginId {
    OriginId([node as u8; 5])
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            nodes: (0..NODES).map(|_| None).collect(),
            notes: vec![Some(Before::Nobody); NODES],
            store: true,
            ..Self::default()
        };
        world.nowhere = (0..6).map(|user| (user, 0)).collect();
        (0..NODES).for_each(|node| world.start(node));
        world.wait(3_000);
        world
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].is_some() {
            return;
        }
        self.numbers += 1;
        let limits = Limits {
            grace: GRACE,
            ..Limits::default()
        };
        let before = self.notes[node].take().unwrap_or(Before::Somebody);
        let mut presence = Presence::new(limits, before, self.now);
        presence.expect_others(self.now + GRACE);
        let own = Own::new(self.numbers, true);
        let seen = presence.members(ROOM).map(|(user, _)| user.to_string());
        let seen = seen.collect();
        let limits = FactLimits {
            per_node: 1000,
            facts: 1000,
        };
        self.nodes[node] = Some(Process {
            started: self.now,
            settled: u64::MAX,
            presence,
            own,
            others: Others::new(limits),
            seen,
            knows: false,
            beats: BTreeMap::new(),
            asks: VecDeque::new(),
            connected: BTreeMap::new(),
        });
    }

    fn stop(&mut self, node: usize, killed: bool) {
        let Some(process) = self.nodes[node].take() else {
            return;
        };
        // The other nodes have to hear of it.
        if process.settled.saturating_add(BEAT) > self.now {
            self.unsettled = self.now;
        }
        let here = process.presence.all_here();
        let here: Vec<_> = here
            .map(|(channel, user)| (channel.to_string(), user.to_string()))
            .collect();
        self.notes[node] = match (killed, here.is_empty()) {
            (true, _) => None,
            (false, true) => Some(Before::Nobody),
            (false, false) => Some(Before::These(here)),
        };
        for (user, (_, at)) in process.connected {
            // Perhaps others have not heard that it was there: what was lost is noticed a beat later.
            let heard = at.max(self.dropped) + BEAT;
            if heard > self.now {
                self.since.insert(user, u64::MAX);
            }
            self.is_lost(user);
        }
    }

    /// A user's connection is gone.
    fn is_lost(&mut self, user: u8) {
        if !self.is_connected(user) {
            self.nowhere.insert(user, self.now);
        }
    }

    fn is_connected(&self, user: u8) -> bool {
        let mut nodes = self.nodes.iter().flatten();
        nodes.any(|process| process.connected.contains_key(&user))
    }

    fn connect(&mut self, node: usize, user: u8) {
        self.numbers += 1;
        let (number, now) = (self.numbers, self.now);
        let Some(process) = &mut self.nodes[node] else {
            return;
        };
        if process.connected.contains_key(&user) {
            return;
        }
        process.connected.insert(user, (number, now));
        let (presence, name) = (&mut process.presence, user.to_string());
        let announced = presence.join(ROOM, &name, None, number, now).unwrap();
        process.receive(announced);
        let left = self.nowhere.remove(&user);
        // Within the grace time it never left; and the other nodes have to hear of it.
        let anew = self.since.get(&user) == Some(&u64::MAX);
        if anew || left.is_some_and(|at| at == 0 || at + GRACE <= now + 2 * BEAT) {
            self.since.insert(user, now);
        }
    }

    fn disconnect(&mut self, user: u8, how: Departure) {
        let now = self.now;
        let mut nodes = self.nodes.iter_mut().flatten();
        let Some(process) = nodes.find(|process| process.connected.contains_key(&user)) else {
            return;
        };
        let (number, _) = process.connected.remove(&user).unwrap();
        let (presence, name) = (&mut process.presence, user.to_string());
        let announced = presence.leave(ROOM, &name, number, how, now);
        process.receive(announced);
        if how == Departure::Meant && !self.is_connected(user) {
            // Whatever happens now, it may be seen to have left.
            self.since.insert(user, u64::MAX);
        }
        self.is_lost(user);
    }

    /// Everything that is due, and all messages.
    fn tick(&mut self) {
        self.now += TICK;
        let now = self.now;
        let mut notices: Vec<(usize, Notice)> = Vec::new();
        let living: BTreeSet<usize> = (0..NODES).filter(|n| self.nodes[*n].is_some()).collect();
        for (n, process) in self.nodes.iter_mut().enumerate() {
            let Some(process) = process else { continue };
            if now.is_multiple_of(BEAT) {
                let mut others = living.iter().filter(|other| **other != n);
                let known = others.all(|other| process.others.knows(id(*other)));
                let sure = self.store && known && process.others.are_sure(now);
                let announced = process.presence.set_sure(sure);
                process.receive(announced);
                if !sure {
                    self.unsure = now;
                }
            }
            let announced = process.presence.tick(now);
            process.receive(announced);
            if !process.presence.expects_anybody() {
                process.settled = process.settled.min(now);
                process.own.settle();
            }
            while let Some(notice) = process.own.take() {
                notices.push((n, notice));
            }
            if now.is_multiple_of(BEAT) {
                notices.push((n, process.own.state()));
            }
        }
        if !self.store {
            for process in self.nodes.iter_mut().flatten() {
                process.others.deaf();
                process.unanswered();
            }
            return;
        }
        for to in 0..NODES {
            let Some(process) = &mut self.nodes[to] else {
                continue;
            };
            for (from, notice) in &notices {
                if *from == to {
                    continue;
                }
                if self.drop[to] > 0 {
                    self.drop[to] -= 1;
                    self.dropped = now;
                    process.others.deaf();
                    continue;
                }
                process.beats.insert(*from, now);
                let effects = process.others.heard(id(*from), notice.clone(), now);
                process.carry_out(effects, now);
            }
        }
        for to in 0..NODES {
            while let Some((other, reading, after)) = self.nodes[to]
                .as_mut()
                .and_then(|process| process.asks.pop_front())
            {
                let answer = self.nodes[other].as_ref();
                let page = answer.map(|process| process.own.page(after.as_ref()));
                let process = self.nodes[to].as_mut().unwrap();
                match page {
                    Some(page) => {
                        let effects = process.others.page(id(other), reading, page, now);
                        process.carry_out(effects, now);
                    }
                    None => process.others.unanswered(id(other), reading),
                }
            }
        }
        for (n, process) in self.nodes.iter_mut().enumerate() {
            let Some(process) = process else { continue };
            let dead = |at: &u64| at.max(&self.back) + LEASE <= now;
            let gone: Vec<_> = process.beats.iter().filter(|(_, at)| dead(at)).collect();
            let gone: Vec<usize> = gone.into_iter().map(|(other, _)| *other).collect();
            for other in gone {
                process.beats.remove(&other);
                let effects = process.others.gone(id(other), now);
                process.carry_out(effects, now);
            }
            let mut others = living.iter().filter(|other| **other != n);
            if !process.knows && others.all(|other| process.others.knows(id(*other))) {
                process.knows = true;
                let announced = process.presence.others_known();
                process.receive(announced);
            }
        }
        self.check();
    }

    fn check(&self) {
        for process in self.nodes.iter().flatten() {
            let members = process.presence.members(ROOM);
            let members: BTreeSet<String> = members.map(|(user, _)| user.to_string()).collect();
            assert_eq!(process.seen, members);
        }
    }

    fn wait(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            let before: Vec<_> = self.views();
            self.tick();
            self.nobody_flickered(&before);
            self.nobody_stays_too_long();
        }
    }

    fn views(&self) -> Vec<Option<BTreeSet<String>>> {
        let nodes = self.nodes.iter();
        nodes
            .map(|process| process.as_ref().map(|process| process.seen.clone()))
            .collect()
    }

    /// Who has been somewhere all the time since it was first seen is not seen to leave, wherever it hopped to within the
    /// grace time. While the store is away, a node cannot know that who left it is on another one.
    fn nobody_flickered(&self, before: &[Option<BTreeSet<String>>]) {
        if !self.store || self.back + GRACE + 2 * BEAT > self.now {
            return;
        }
        for user in 0..6u8 {
            let away = self.nowhere.get(&user);
            let there = away.is_none_or(|at| *at != 0 && at + GRACE > self.now);
            if !there || self.since.get(&user).is_none_or(|at| *at == u64::MAX) {
                continue;
            }
            // It may have been away for longer before, and what was said of that may come late.
            if self.since[&user] + LEASE + 2 * GRACE > self.now {
                continue;
            }
            let name = user.to_string();
            for (before, process) in before.iter().zip(&self.nodes) {
                // A new process does not know whom one has that was killed just before.
                let process = process
                    .as_ref()
                    .filter(|one| one.started + LEASE <= self.now);
                if let (Some(before), Some(process)) = (before, process) {
                    let left = before.contains(&name) && !process.seen.contains(&name);
                    assert!(!left, "user {user} was there all the time, at {}", self.now);
                }
            }
        }
    }

    fn nobody_stays_too_long(&self) {
        if !self.store {
            return;
        }
        for (user, at) in &self.nowhere {
            let began = (*at).max(self.back).max(self.unsettled);
            // Its own grace, that of its node, and the time to hear it; where a node has not heard all, until it has, and one
            // more grace at most.
            let until = began + LEASE + GRACE + 3 * BEAT;
            let until = until.max((self.unsure + 2 * BEAT).min(until + GRACE));
            if self.now > until {
                let mut nodes = self.nodes.iter().flatten();
                // A node that was started again waits for who may come back, before it says who is there.
                for process in nodes.by_ref().filter(|one| !one.presence.expects_anybody()) {
                    assert!(
                        !process.seen.contains(&user.to_string()),
                        "user {user} has been gone since {began}, and it is {}",
                        self.now
                    );
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect(node, user) => self.connect(node, user),
            Step::Hop(user, to) => {
                self.disconnect(user, Departure::Lost);
                self.wait(500);
                self.connect(to, user);
            }
            Step::Lose(user) => self.disconnect(user, Departure::Lost),
            Step::Leave(user) => self.disconnect(user, Departure::Meant),
            Step::Kill(node) => self.stop(node, true),
            Step::Stop(node) => self.stop(node, false),
            Step::Start(node) => self.start(node),
            Step::StoreAway => self.store = false,
            Step::StoreBack => self.store_back(),
            Step::Drop(node, many) => self.drop[node] = many,
            Step::Wait(time) => self.wait(time),
        }
    }

    fn store_back(&mut self) {
        if !self.store {
            self.store = true;
            self.back = self.now;
        }
    }
}

impl Process {
    fn receive(&mut self, announced: Vec<Announcement>) {
        for one in announced {
            match one {
                Announcement::Joined { user, .. } => {
                    assert!(self.seen.insert(user.to_string()), "{user} joined twice");
                }
                Announcement::Left { user, .. } => {
                    assert!(self.seen.remove(&*user), "{user} left twice");
                }
                Announcement::Here { channel, user, .. } => {
                    self.own.set(Key::Member { channel, user }, Value::Plain);
                }
                Announcement::NotHere { channel, user } => {
                    self.own.unset(Key::Member { channel, user });
                }
                Announcement::Occupied(_) | Announcement::Vacated(_) | Announcement::Settled(_) => {
                }
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>, now: u64) {
        for effect in effects {
            let announced = match effect {
                Effect::Ask {
                    node,
                    reading,
                    after,
                } => {
                    let node = node.0[0] as usize;
                    self.asks.push_back((node, reading, after));
                    continue;
                }
                Effect::Set {
                    node,
                    key: Key::Member { channel, user },
                    ..
                } => self.presence.set_elsewhere(&channel, &user, None, node),
                Effect::Unset {
                    node,
                    key: Key::Member { channel, user },
                    sure,
                } => {
                    let from = (node, sure);
                    self.presence.unset_elsewhere(&channel, &user, from, now)
                }
                Effect::Set { .. } | Effect::Unset { .. } => continue,
            };
            self.receive(announced);
        }
    }

    fn unanswered(&mut self) {
        while let Some((other, reading, _)) = self.asks.pop_front() {
            self.others.unanswered(id(other), reading);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn views_are_consistent_and_end_as_the_truth(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.store_back();
        world.drop = [0; NODES];
        world.wait(LEASE + 2 * GRACE + 4 * BEAT);
        let truth: BTreeSet<String> = (0..6u8)
            .filter(|user| world.is_connected(*user))
            .map(|user| user.to_string())
            .collect();
        for process in world.nodes.iter().flatten() {
            prop_assert_eq!(&process.seen, &truth);
        }
    }
}
