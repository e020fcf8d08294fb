//! Who is alive, as one node sees it.
//!
//! No clock but one's own counts: a node is alive as long as its beat changes, and dead when it has not changed for `lease`
//! and `grace`. Only time in which this node looked counts: it stands still while the states cannot be read, or while this
//! node was stopped itself, and begins anew when the store is back. A state that is gone, because somebody emptied the store
//! or a replica lacked it, is no death as long as its node writes it again in time.

use std::collections::BTreeMap;

use shared::vector::{OriginId, Vector};

use crate::node_state::NodeState;

/// How long each takes, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A node whose beat does not change for so long may be dead.
    pub lease: u64,
    /// After the lease: then it is.
    pub grace: u64,
    /// How long something must be lacking, with the log read to its end and nothing coming, before it is asked for.
    pub patience: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            lease: 10_000,
            grace: 10_000,
            patience: 1_000,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Also one that was never heard of: its time begins when it is.
    Living,
    /// `since`: when its time was over, by `Nodes::time`. `heard`: when it was heard of last, by the clock.
    Dead { since: u64, heard: u64 },
}

#[derive(Debug)]
struct Node {
    /// None: known by its entries or from a former time alone.
    state: Option<NodeState>,
    /// When its beat changed, or it was met.
    heard: u64,
    /// For how long this node has looked since then, or since the store came back.
    silent: u64,
    died: Option<u64>,
}

#[derive(Debug)]
pub struct Nodes {
    own: OriginId,
    times: Times,
    nodes: BTreeMap<OriginId, Node>,
    /// When all states were read last, or the store came back.
    looked: u64,
    time: u64,
}

impl Nodes {
    pub fn new(own: OriginId, times: Times, now: u64) -> Self {
        Self {
            own,
            times,
            nodes: BTreeMap::new(),
            looked: now,
            time: 0,
        }
    }

    /// The store can be read again, or it is another one: everybody has the whole time to show that they are alive.
    pub fn store_back(&mut self, now: u64) {
        self.looked = now;
        for node in self.nodes.values_mut() {
            (node.silent, node.died) = (0, None);
        }
    }

    /// An origin that there is; its time begins, if it is new.
    pub fn met(&mut self, now: u64, origin: OriginId) {
        if self.has_room(origin) {
            self.nodes
                .entry(origin)
                .or_insert_with(|| Node::new(None, now));
        }
    }

    /// A state as it was read. False: there are too many nodes already.
    pub fn heard(&mut self, now: u64, state: NodeState) -> bool {
        let origin = state.origin();
        if !self.has_room(origin) {
            return false;
        }
        let before = self.state(origin).map(|state| state.beat);
        match self.nodes.get_mut(&origin) {
            Some(node) if before == Some(state.beat) => node.state = Some(state),
            _ => {
                self.nodes.insert(origin, Node::new(Some(state), now));
            }
        }
        true
    }

    /// All states have been read. Half a lease counts at most, however long ago that was the last time.
    pub fn looked(&mut self, now: u64) {
        let passed = now.saturating_sub(self.looked).min(self.times.lease / 2);
        self.looked = now;
        self.time += passed;
        for node in self.nodes.values_mut() {
            node.silent = node.silent.saturating_add(passed);
            if node.silent >= self.times.lease + self.times.grace {
                node.died.get_or_insert(self.time);
            }
        }
    }

    /// For how long this node has looked: the time by which others die.
    pub fn time(&self) -> u64 {
        self.time
    }

    fn has_room(&self, origin: OriginId) -> bool {
        origin != self.own
            && (self.nodes.contains_key(&origin) || self.nodes.len() < Vector::MAX_ORIGINS)
    }

    pub fn forget(&mut self, origin: OriginId) {
        self.nodes.remove(&origin);
    }

    pub fn standing(&self, origin: OriginId) -> Standing {
        let node = self.nodes.get(&origin);
        match node.and_then(|node| Some((node.died?, node.heard))) {
            Some((since, heard)) => Standing::Dead { since, heard },
            None => Standing::Living,
        }
    }

    /// Whether a node was heard of at `time`, by the clock, or later.
    pub fn was_heard_since(&self, origin: OriginId, time: u64) -> bool {
        let node = self.nodes.get(&origin);
        node.is_some_and(|node| node.heard >= time)
    }

    /// The last state of an origin.
    pub fn state(&self, origin: OriginId) -> Option<&NodeState> {
        self.nodes.get(&origin)?.state.as_ref()
    }

    /// The last states of all others, by origin.
    pub fn states(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.values().filter_map(|node| node.state.as_ref())
    }

    /// The states of those that are alive.
    pub fn living(&self) -> impl Iterator<Item = &NodeState> {
        self.states()
            .filter(|state| self.standing(state.origin()) == Standing::Living)
    }
}

impl Node {
    fn new(state: Option<NodeState>, heard: u64) -> Self {
        Self {
            state,
            heard,
            silent: 0,
            died: None,
        }
    }
}
