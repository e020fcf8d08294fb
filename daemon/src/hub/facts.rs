//! What is so on this node, as the others are told it, and what they said of theirs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use cluster::facts::others::{Effect, Limits, Others};
use cluster::facts::own::Own;
use cluster::facts::{Key, Notice, Page, Value};
use parking_lot::Mutex;
use shared::vector::OriginId;
use tokio::sync::Notify;

use crate::outbound::webhooks::Event;

/// Of one application. Its locks are taken inside those of who changes a fact, and take no other.
#[derive(Debug)]
pub struct Facts {
    own: Mutex<Own>,
    others: Mutex<Others>,
    started: Instant,
    webhooks: Mutex<Leading>,
    /// Rings when there is something to tell.
    changed: Notify,
}

/// Whether this node sends the webhooks of what is so on all hosts together.
#[derive(Debug)]
struct Leading {
    leads: bool,
    /// What another node sends, if it has not died.
    recent: VecDeque<(Instant, Event)>,
}

/// The most webhook events that are kept in case another node has died.
const RECENT: usize = 10_000;

impl Facts {
    /// `process`: a random number. Until [`Self::settle`], members of before may come back.
    pub fn new(process: u64, limits: Limits) -> Self {
        Self {
            own: Mutex::new(Own::new(process, true)),
            others: Mutex::new(Others::new(limits)),
            started: Instant::now(),
            webhooks: Mutex::new(Leading {
                leads: true,
                recent: VecDeque::new(),
            }),
            changed: Notify::new(),
        }
    }

    /// It is so from now on, or no longer.
    pub fn say(&self, key: Key, value: Option<Value>) {
        let mut own = self.own.lock();
        match value {
            Some(value) => own.set(key, value),
            None => own.unset(key),
        }
        drop(own);
        self.changed.notify_one();
    }

    pub fn settle(&self) {
        self.own.lock().settle();
    }

    /// Waits until there may be something to tell.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The next changes to tell, if there are any.
    pub fn take(&self) -> Option<Notice> {
        self.own.lock().take()
    }

    /// How far the changes have come.
    pub fn state(&self) -> Notice {
        self.own.lock().state()
    }

    pub fn page(&self, after: Option<&Key>) -> Page {
        self.own.lock().page(after)
    }

    /// A webhook event that each node knows of. None: another one sends it.
    pub fn if_leading(&self, event: Event) -> Option<Event> {
        let mut webhooks = self.webhooks.lock();
        if webhooks.leads {
            return Some(event);
        }
        if webhooks.recent.len() >= RECENT {
            webhooks.recent.pop_front();
        }
        webhooks.recent.push_back((Instant::now(), event));
        None
    }

    /// This node sends them from now on, or another one does. Returns what the one before may not have sent any more,
    /// as it is no longer ago than `lease`.
    pub fn lead(&self, leads: bool, lease: Duration) -> Vec<Event> {
        let mut webhooks = self.webhooks.lock();
        let recent = |at: &Instant| at.elapsed() <= lease;
        while webhooks.recent.front().is_some_and(|(at, _)| !recent(at)) {
            webhooks.recent.pop_front();
        }
        webhooks.leads = leads;
        match leads {
            true => webhooks.recent.drain(..).map(|(_, event)| event).collect(),
            false => Vec::new(),
        }
    }

    /// Hands the others' facts, and the time, to `change`, and what comes of it to `carry_out`, in one order.
    pub fn on_others<T>(
        &self,
        change: impl FnOnce(&mut Others, u64) -> Vec<Effect>,
        carry_out: impl FnOnce(Vec<Effect>) -> T,
    ) -> T {
        let mut others = self.others.lock();
        let now = self.now();
        let effects = change(&mut others, now);
        carry_out(effects)
    }

    /// Messages of others may have been lost.
    pub fn deaf(&self) {
        self.others.lock().deaf();
    }

    /// Hands over whether nothing is lacking of what the others said, in one order with what comes of it.
    pub fn on_whether_sure<T>(&self, carry_out: impl FnOnce(bool) -> T) -> T {
        let others = self.others.lock();
        carry_out(others.are_sure(self.now()))
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Whether the facts of all these nodes were read.
    pub fn knows(&self, nodes: &[OriginId]) -> bool {
        let others = self.others.lock();
        nodes.iter().all(|node| others.knows(*node))
    }

    /// The nodes whose facts are known, or will be.
    pub fn nodes(&self) -> Vec<OriginId> {
        self.others.lock().nodes().collect()
    }

    /// Facts of the others, those that found no room, and how often some were read.
    pub fn counts(&self) -> (usize, u64, u64) {
        let others = self.others.lock();
        (
            others.total(),
            others.left_out + others.refused,
            others.read,
        )
    }
}
