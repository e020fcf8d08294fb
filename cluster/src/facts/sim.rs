//! Three nodes, whose messages come late, come twice or are lost, and whose processes are killed. Each keeps a copy of
//! the others' facts. What it does never contradicts itself; who stays on a node that is restarted is never seen to
//! leave; and once messages arrive again, each copy is what is true.

use std::collections::{BTreeMap, HashMap, VecDeque};

use proptest::prelude::*;
use shared::vector::OriginId;

use super::others::{Effect, Limits, Others};
use super::own::Own;
use super::{Key, Notice, Value};

const NODES: usize = 3;
const LIMITS: Limits = Limits {
    per_node: 1000,
    facts: 2000,
};

#[derive(Debug, Clone)]
enum Step {
    Set(usize, u8, u8),
    Unset(usize, u8),
    /// The changes are told.
    Tell(usize),
    /// How far a node has come.
    Beat(usize),
    /// The oldest message of one to another arrives, is lost, or arrives and stays.
    Deliver(usize, usize),
    Lose(usize, usize),
    Twice(usize, usize),
    Answer(usize),
    NoAnswer(usize),
    /// Its process is replaced by one that does not know who was there.
    Kill(usize),
    Settle(usize),
    /// A node takes another one for dead.
    Bury(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0..NODES;
    prop_oneof![
        8 => (n(), 0..12u8, 0..3u8).prop_map(|(node, key, value)| Step::Set(node, key, value)),
        6 => (n(), 0..12u8).prop_map(|(node, key)| Step::Unset(node, key)),
        8 => n().prop_map(Step::Tell),
        4 => n().prop_map(Step::Beat),
        12 => (n(), n()).prop_map(|(from, to)| Step::Deliver(from, to)),
        3 => (n(), n()).prop_map(|(from, to)| Step::Lose(from, to)),
        1 => (n(), n()).prop_map(|(from, to)| Step::Twice(from, to)),
        8 => n().prop_map(Step::Answer),
        2 => n().prop_map(Step::NoAnswer),
        1 => n().prop_map(Step::Kill),
        2 => n().prop_map(Step::Settle),
        1 => (n(), n()).prop_map(|(node, other)| Step::Bury(node, other)),
    ]
}

fn id(node: usize) -> OriginId {
    OriginId([node as u8; 5])
}

fn key(n: u8) -> Key {
    match n % 3 {
        0 => Key::Member {
            channel: "presence-a".into(),
            user: n.to_string().into(),
        },
        1 => Key::Subscribers(n.to_string().into()),
        _ => Key::User(n.to_string().into()),
    }
}

/// Is there as long as its node is.
fn stays() -> Key {
    Key::Member {
        channel: "presence-a".into(),
        user: "stays".into(),
    }
}

/// With short messages and pages.
fn own(process: u64, settling: bool) -> Own {
    let mut own = Own::new(process, settling);
    own.message = 150;
    own
}

struct World {
    processes: u64,
    owns: Vec<Own>,
    /// Whether who stays has come back since the process began.
    back: [bool; NODES],
    others: Vec<Others>,
    /// What each node made of the effects, by the other's place.
    seen: Vec<HashMap<(u8, Key), Value>>,
    /// Messages from one to another.
    way: HashMap<(usize, usize), VecDeque<Notice>>,
    /// Questions of each node.
    asks: Vec<VecDeque<(usize, u64, Option<Key>)>>,
}

type Facts = Vec<(Key, Value)>;

fn all(own: &Own) -> Facts {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = own.page(after.as_ref());
        all.extend(page.facts);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            processes: NODES as u64,
            owns: (0..NODES as u64).map(|n| own(n, false)).collect(),
            back: [true; NODES],
            others: (0..NODES).map(|_| Others::new(LIMITS)).collect(),
            seen: vec![HashMap::new(); NODES],
            way: HashMap::new(),
            asks: vec![VecDeque::new(); NODES],
        };
        for own in &mut world.owns {
            own.set(stays(), Value::Plain);
        }
        world
    }

    fn send(&mut self, from: usize, notice: &Notice) {
        for to in (0..NODES).filter(|to| *to != from) {
            let way = self.way.entry((from, to)).or_default();
            way.push_back(notice.clone());
        }
    }

    fn hear(&mut self, from: usize, to: usize, notice: Notice) {
        let effects = self.others[to].heard(id(from), notice, 0);
        self.carry_out(to, effects, false);
    }

    /// `buried`: everything of a node ends.
    fn carry_out(&mut self, node: usize, effects: Vec<Effect>, buried: bool) {
        for effect in effects {
            match effect {
                Effect::Ask {
                    node: other,
                    reading,
                    after,
                } => {
                    let other = other.0[0] as usize;
                    self.asks[node].push_back((other, reading, after));
                }
                Effect::Set {
                    node: at,
                    key,
                    value,
                } => {
                    let before = self.seen[node].insert((at, key), value.clone());
                    assert_ne!(before, Some(value), "nothing has changed");
                }
                Effect::Unset { node: at, key, .. } => {
                    assert!(buried || key != stays(), "it was never gone");
                    let before = self.seen[node].remove(&(at, key));
                    assert!(before.is_some(), "it was not there");
                }
            }
        }
    }

    fn answer(&mut self, node: usize) {
        if let Some((other, reading, after)) = self.asks[node].pop_front() {
            let page = self.owns[other].page(after.as_ref());
            let effects = self.others[node].page(id(other), reading, page, 0);
            self.carry_out(node, effects, false);
        }
    }

    fn tell(&mut self, node: usize) {
        while let Some(notice) = self.owns[node].take() {
            self.send(node, &notice);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Set(node, n, value) => {
                let value = match key(n) {
                    Key::Subscribers(_) => Value::Count(1 + u32::from(value)),
                    _ => Value::Plain,
                };
                self.owns[node].set(key(n), value);
            }
            Step::Unset(node, n) => self.owns[node].unset(key(n)),
            Step::Tell(node) => self.tell(node),
            Step::Beat(node) => {
                let state = self.owns[node].state();
                self.send(node, &state);
            }
            Step::Deliver(from, to) => {
                let message = self.way.get_mut(&(from, to)).and_then(VecDeque::pop_front);
                if let Some(notice) = message {
                    self.hear(from, to, notice);
                }
            }
            Step::Lose(from, to) => {
                if let Some(way) = self.way.get_mut(&(from, to)) {
                    way.pop_front();
                }
            }
            Step::Twice(from, to) => {
                let message = self.way.get(&(from, to)).and_then(VecDeque::front);
                if let Some(notice) = message.cloned() {
                    self.hear(from, to, notice);
                }
            }
            Step::Answer(node) => self.answer(node),
            Step::NoAnswer(node) => {
                if let Some((other, reading, _)) = self.asks[node].pop_front() {
                    self.others[node].unanswered(id(other), reading);
                }
            }
            Step::Kill(node) => {
                self.owns[node] = own(self.processes, true);
                self.processes += 1;
                self.back[node] = false;
                self.asks[node].clear();
                self.others[node] = Others::new(LIMITS);
                self.seen[node].clear();
            }
            Step::Settle(node) => {
                self.come_back(node);
                self.owns[node].settle();
            }
            Step::Bury(node, other) => {
                let effects = self.others[node].gone(id(other), 0);
                self.carry_out(node, effects, true);
            }
        }
    }

    fn come_back(&mut self, node: usize) {
        self.back[node] = true;
        self.owns[node].set(stays(), Value::Plain);
    }

    /// From now on every message arrives.
    fn quiet(&mut self) {
        for node in 0..NODES {
            self.step(Step::Settle(node));
            self.tell(node);
        }
        // Late answers first, then what is on its way, then beats: those that lack something read it.
        for _ in 0..3 {
            for node in 0..NODES {
                while !self.asks[node].is_empty() {
                    self.answer(node);
                }
                self.step(Step::Beat(node));
            }
            for (from, to) in (0..NODES * NODES).map(|n| (n / NODES, n % NODES)) {
                while self.way.get(&(from, to)).is_some_and(|way| !way.is_empty()) {
                    self.step(Step::Deliver(from, to));
                }
            }
        }
        for node in 0..NODES {
            while !self.asks[node].is_empty() {
                self.answer(node);
            }
        }
    }

    /// What a node sees of all others together, and what is true.
    fn views(&self, node: usize) -> (Facts, Facts) {
        let seen = self.seen[node].iter();
        let mut seen: Vec<_> = seen.map(|((_, key), v)| (key.clone(), v.clone())).collect();
        let others = (0..NODES).filter(|other| *other != node);
        let mut truth: Vec<_> = others.flat_map(|other| all(&self.owns[other])).collect();
        let order = |a: &(Key, Value), b: &(Key, Value)| {
            (&a.0, format!("{:?}", a.1)).cmp(&(&b.0, format!("{:?}", b.1)))
        };
        seen.sort_by(order);
        truth.sort_by(order);
        (seen, truth)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn copies_never_contradict_themselves_and_end_as_the_truth(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.quiet();
        for node in 0..NODES {
            let (seen, truth) = world.views(node);
            prop_assert_eq!(seen, truth, "node {}", node);
            let total = world.others[node].total();
            prop_assert_eq!(total, world.seen[node].len());
        }
        // A node that all take for dead leaves nothing.
        for node in 1..NODES {
            let effects = world.others[node].gone(id(0), 0);
            world.carry_out(node, effects, true);
            let left: BTreeMap<_, _> = world.seen[node].keys().map(|(at, _)| (*at, ())).collect();
            prop_assert!(left.len() <= NODES - 2);
        }
    }
}

#[test]
fn what_finds_no_room_is_left_out_and_counted() {
    let mut own = Own::new(1, false);
    for n in 0..6u8 {
        own.set(Key::User(n.to_string().into()), Value::Plain);
    }
    let limits = Limits {
        per_node: 4,
        facts: 5,
    };
    let mut others = Others::new(limits);
    for node in 0..2 {
        let asked = others.heard(id(node), own.state(), 0);
        assert_eq!(asked.len(), 1);
        others.page(id(node), node as u64 + 1, own.page(None), 0);
    }
    assert_eq!((others.total(), others.left_out), (5, 2 + 3 + 2));
}

#[test]
fn a_change_that_is_lost_while_facts_are_read_makes_them_read_again() {
    let user = |n: u8| Key::User(n.to_string().into());
    let (mut own, mut others) = (own(1, false), Others::new(LIMITS));
    for n in 0..9 {
        own.set(user(n), Value::Plain);
    }
    while own.take().is_some() {}
    let asked = others.heard(id(1), own.state(), 0);
    let [Effect::Ask { reading, .. }] = asked[..] else {
        panic!("{asked:?}")
    };
    let first = own.page(None);
    let next = first.next.clone();
    assert!(next.is_some());
    others.page(id(1), reading, first, 0);
    own.unset(user(0));
    own.take();
    own.set(user(9), Value::Plain);
    while let Some(told) = own.take() {
        assert_eq!(others.heard(id(1), told, 0), []);
    }
    let mut after = next;
    loop {
        let page = own.page(after.as_ref());
        after = page.next.clone();
        let effects = others.page(id(1), reading, page, 0);
        match &effects[..] {
            [Effect::Ask { after: None, .. }] => break,
            [Effect::Ask { after, .. }] if after.is_some() => {}
            _ => panic!("a fact that ended was taken: {effects:?}"),
        }
    }
}
