//! A copy of the other nodes' facts, and what changes in it.
//!
//! A node's changes are taken as long as none is missing. If one is, if the node is new, or if its process is, its facts
//! are read again: its pages first, then the changes that came meanwhile, of which each says what is so and not what
//! is more or less, so that it does no harm if a page has it already. Until all is read, what was known stays.
//!
//! A user may go from one node to another while messages are lost. So with what ends somewhere comes whether the other
//! nodes' facts are known as they are now ([`Effect::Unset`]): if not, it may be about to be said that it is so elsewhere.
//!
//! A process that follows one that was killed does not know who was there. Members of before stay until the new process
//! has *settled*: they may be about to come back to it.

use std::collections::{HashMap, HashSet};

use shared::vector::OriginId;

use super::{Change, Key, Notice, Page, Value};

/// The most other nodes: the bits of a set.
pub const NODES: usize = 64;
/// Milliseconds for which a node's facts count as known after it was heard; it says at least once a second how far it is.
const FRESH: u64 = 2500;
/// The most changes that wait while a node's facts are read. If there are more, they are read again.
const WAITING: usize = 131_072;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Facts of one node, and of all others together. What is more is left out, and counted.
    pub per_node: usize,
    pub facts: usize,
}

/// What is to be done, in this order. `node`: its place in a set, below [`NODES`]; it is another's only after
/// everything of it was unset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The node is to be asked for its facts behind `after`; answered with [`Others::page`] or [`Others::unanswered`].
    Ask {
        node: OriginId,
        reading: u64,
        after: Option<Key>,
    },
    /// It is so on that node, or has another value now.
    Set { node: u8, key: Key, value: Value },
    /// It is so no longer. `sure`: nothing that another node may have said of it is lacking.
    Unset { node: u8, key: Key, sure: bool },
}

/// The other nodes' facts.
#[derive(Debug)]
pub struct Others {
    limits: Limits,
    nodes: HashMap<OriginId, Node>,
    /// Facts of all nodes.
    total: usize,
    /// Facts that found no room.
    pub left_out: u64,
    /// How often a node's facts were read.
    pub read: u64,
    /// Nodes beyond [`NODES`].
    pub refused: u64,
}

#[derive(Debug)]
struct Node {
    at: u8,
    /// Whose facts these are, up to which change. None: they were never read.
    known: Option<Known>,
    facts: HashMap<Key, Value>,
    /// Those that a former process had, and this one may have again.
    unconfirmed: HashSet<Key>,
    reading: Option<Reading>,
    /// When it was last heard. None: not since messages may have been lost.
    heard: Option<u64>,
}

impl Node {
    fn is_current(&self, now: u64) -> bool {
        let fresh = self.heard.is_some_and(|at| now.saturating_sub(at) <= FRESH);
        fresh && self.known.is_some() && self.reading.is_none()
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    process: u64,
    number: u64,
}

/// Facts that are being read.
#[derive(Debug)]
struct Reading {
    /// An answer to a question of an earlier one is none.
    number: u64,
    process: u64,
    /// Of the first page.
    begin: Option<u64>,
    /// From which change on the process has settled, as far as it said.
    settled: Option<u64>,
    facts: HashMap<Key, Value>,
    /// Changes that came meanwhile, each with its number.
    changes: Vec<(u64, Option<Change>)>,
}

impl Reading {
    fn note_settled(&mut self, settling: bool, number: u64) {
        if !settling {
            let earlier = self.settled.unwrap_or(number);
            self.settled = Some(earlier.min(number));
        }
    }
}

/// What comes of one message.
struct Effects {
    sure: bool,
    all: Vec<Effect>,
}

impl Effects {
    fn new(sure: bool) -> Self {
        Self {
            sure,
            all: Vec::new(),
        }
    }
}

impl Others {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            nodes: HashMap::new(),
            total: 0,
            left_out: 0,
            read: 0,
            refused: 0,
        }
    }

    /// A node told its changes, or how far it has come.
    /// `now`: milliseconds of one clock.
    pub fn heard(&mut self, from: OriginId, notice: Notice, now: u64) -> Vec<Effect> {
        let sure = self.is_sure(from, now);
        let mut effects = Effects::new(sure);
        self.on_notice(from, notice, now, &mut effects);
        effects.all
    }

    /// Messages may have been lost.
    pub fn deaf(&mut self) {
        for node in self.nodes.values_mut() {
            node.heard = None;
        }
    }

    /// Whether the facts of all nodes are known as they are now.
    pub fn are_sure(&self, now: u64) -> bool {
        self.nodes.values().all(|node| node.is_current(now))
    }

    /// Whether the facts of all nodes but one are known as they are now.
    fn is_sure(&self, but: OriginId, now: u64) -> bool {
        let mut others = self.nodes.iter().filter(|(id, _)| **id != but);
        others.all(|(_, node)| node.is_current(now))
    }

    fn on_notice(&mut self, from: OriginId, notice: Notice, now: u64, effects: &mut Effects) {
        let Some(node) = self.node(from) else {
            self.refused += 1;
            return;
        };
        node.heard = Some(now);
        if notice.number < notice.changes.len() as u64 {
            return;
        }
        let first = notice.number - notice.changes.len() as u64;
        if let Some(reading) = &mut node.reading {
            let many = reading.changes.len() + notice.changes.len() > WAITING;
            if reading.process != notice.process || many {
                return self.read(from, notice.process, effects);
            }
            reading.note_settled(notice.settling, notice.number);
            let numbers = first + 1..;
            reading.changes.extend(numbers.zip(notice.changes));
            return;
        }
        let known = node.known.filter(|known| known.process == notice.process);
        let Some(known) = known.filter(|known| first <= known.number) else {
            return self.read(from, notice.process, effects);
        };
        let had = (known.number - first) as usize;
        for change in notice.changes.into_iter().skip(had).flatten() {
            self.apply(from, change, effects);
        }
        if let Some(node) = self.nodes.get_mut(&from) {
            node.known = Some(Known {
                number: known.number.max(notice.number),
                ..known
            });
        }
        if !notice.settling {
            self.settle(from, effects);
        }
    }

    /// The answer of a node that was asked, and which reading it was asked for.
    pub fn page(&mut self, from: OriginId, number: u64, page: Page, now: u64) -> Vec<Effect> {
        let sure = self.is_sure(from, now);
        let mut effects = Effects::new(sure);
        self.on_page(from, number, page, &mut effects);
        effects.all
    }

    fn on_page(&mut self, from: OriginId, number: u64, page: Page, effects: &mut Effects) {
        let per_node = self.limits.per_node;
        let node = self.nodes.get_mut(&from);
        let reading = node.and_then(|node| node.reading.as_mut());
        let Some(reading) = reading.filter(|reading| reading.number == number) else {
            return;
        };
        if reading.process != page.process {
            return self.read(from, page.process, effects);
        }
        reading.begin.get_or_insert(page.number);
        reading.note_settled(page.settling, page.number);
        for (key, value) in page.facts {
            if reading.facts.len() >= per_node {
                self.left_out += 1;
            } else {
                reading.facts.insert(key, value);
            }
        }
        match page.next {
            Some(next) => effects.all.push(Effect::Ask {
                node: from,
                reading: number,
                after: Some(next),
            }),
            None => self.finish(from, effects),
        }
    }

    /// A node that was asked did not answer. It is asked again when it is next heard.
    pub fn unanswered(&mut self, from: OriginId, number: u64) {
        if let Some(node) = self.nodes.get_mut(&from) {
            node.reading.take_if(|reading| reading.number == number);
        }
    }

    /// The node is dead: nothing is so there any more.
    pub fn gone(&mut self, node: OriginId, now: u64) -> Vec<Effect> {
        let sure = self.is_sure(node, now);
        let Some(Node { at, facts, .. }) = self.nodes.remove(&node) else {
            return Vec::new();
        };
        self.total -= facts.len();
        let keys = facts.into_keys();
        keys.map(|key| Effect::Unset {
            node: at,
            key,
            sure,
        })
        .collect()
    }

    /// The nodes that were heard and are not gone.
    pub fn nodes(&self) -> impl Iterator<Item = OriginId> {
        self.nodes.keys().copied()
    }

    /// Whether a node's facts were read.
    pub fn knows(&self, node: OriginId) -> bool {
        let node = self.nodes.get(&node);
        node.is_some_and(|node| node.known.is_some())
    }

    /// How many facts there are.
    pub fn total(&self) -> usize {
        self.total
    }

    fn node(&mut self, id: OriginId) -> Option<&mut Node> {
        if !self.nodes.contains_key(&id) {
            let taken: HashSet<u8> = self.nodes.values().map(|node| node.at).collect();
            let at = (0..NODES as u8).find(|at| !taken.contains(at))?;
            let node = Node {
                at,
                known: None,
                facts: HashMap::new(),
                unconfirmed: HashSet::new(),
                reading: None,
                heard: None,
            };
            self.nodes.insert(id, node);
        }
        self.nodes.get_mut(&id)
    }

    /// Begins to read a node's facts.
    fn read(&mut self, id: OriginId, process: u64, effects: &mut Effects) {
        self.read += 1;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.reading = Some(Reading {
                number: self.read,
                process,
                begin: None,
                settled: None,
                facts: HashMap::new(),
                changes: Vec::new(),
            });
        }
        effects.all.push(Effect::Ask {
            node: id,
            reading: self.read,
            after: None,
        });
    }

    /// All pages have come.
    fn finish(&mut self, id: OriginId, effects: &mut Effects) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        let Some(mut reading) = node.reading.take() else {
            return;
        };
        let mut known = Known {
            process: reading.process,
            number: reading.begin.unwrap_or(0),
        };
        for (number, change) in reading.changes {
            if number <= known.number {
                continue;
            }
            if number != known.number + 1 {
                return self.read(id, known.process, effects);
            }
            known.number = number;
            match change {
                Some((key, Some(value))) => drop(reading.facts.insert(key, value)),
                Some((key, None)) => drop(reading.facts.remove(&key)),
                None => {}
            }
        }
        let restarted = node
            .known
            .is_some_and(|before| before.process != known.process);
        node.known = Some(known);
        let settled = reading.settled.is_some_and(|at| at <= known.number);
        let waits = !settled && (restarted || !node.unconfirmed.is_empty());
        let (kept, ended): (Vec<Key>, Vec<Key>) = node
            .facts
            .keys()
            .filter(|key| !reading.facts.contains_key(key))
            .cloned()
            .partition(|key| waits && matches!(key, Key::Member { .. }));
        // First what is new, so that nothing ends and begins again in between.
        for (key, value) in reading.facts {
            self.apply(id, (key, Some(value)), effects);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.unconfirmed = kept.into_iter().collect();
        }
        for key in ended {
            self.apply(id, (key, None), effects);
        }
    }

    fn apply(&mut self, id: OriginId, (key, value): Change, effects: &mut Effects) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        node.unconfirmed.remove(&key);
        let at = node.at;
        match value {
            Some(value) => {
                let before = node.facts.get(&key);
                if before == Some(&value) {
                    return;
                }
                if before.is_none() {
                    if node.facts.len() >= self.limits.per_node || self.total >= self.limits.facts {
                        self.left_out += 1;
                        return;
                    }
                    self.total += 1;
                }
                node.facts.insert(key.clone(), value.clone());
                effects.all.push(Effect::Set {
                    node: at,
                    key,
                    value,
                });
            }
            None => {
                if node.facts.remove(&key).is_some() {
                    self.total -= 1;
                    let sure = effects.sure;
                    effects.all.push(Effect::Unset {
                        node: at,
                        key,
                        sure,
                    });
                }
            }
        }
    }

    /// Those who have not come back to a process that has settled are gone.
    fn settle(&mut self, id: OriginId, effects: &mut Effects) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        for key in std::mem::take(&mut node.unconfirmed) {
            self.apply(id, (key, None), effects);
        }
    }
}
