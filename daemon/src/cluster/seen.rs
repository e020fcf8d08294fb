//! What operators see of an application's nodes: for `/metrics`, `/readyz` and `askrd nodes`.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::process::metrics::Counter;

/// Of one application. Written by the thread that carries, read by whoever asks.
#[derive(Debug, Default)]
pub struct Seen {
    view: Mutex<View>,
    failed: AtomicBool,
    pub counts: Counts,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub relayed: Counter,
    pub resent: Counter,
    pub relayed_lost: Counter,
    pub imported: Counter,
    pub duplicates: Counter,
    pub held: Counter,
    pub not_held: Counter,
    pub gaps: Counter,
    pub refused: Counter,
    /// Entries and states that are none.
    pub malformed: Counter,
    pub connections: Counter,
    /// Times that an import had to wait for the ring.
    pub stalls: Counter,
    pub unnoted: Counter,
}

/// An application's nodes, as this one sees them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    pub application: String,
    /// What it is called in the store.
    pub name: String,
    /// The server, while it can be used.
    pub server: Option<String>,
    /// Why the store cannot be used.
    pub trouble: Option<String>,
    /// What is better changed there.
    pub warning: Option<String>,
    /// What was published here and is not in the log yet: positions, and seconds since nothing was waiting.
    pub out_events: u64,
    pub out_seconds: f64,
    /// What others are known to have relayed and is not here yet.
    pub in_events: u64,
    pub in_seconds: f64,
    pub held_bytes: u64,
    /// Entries of the log.
    pub log: u64,
    /// This node first.
    pub nodes: Vec<SeenNode>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenNode {
    pub origin: String,
    pub name: String,
    pub version: String,
    pub own: bool,
    pub alive: bool,
    /// Seconds since it last gave a sign of life.
    pub seconds: f64,
    /// Positions that it is known to have relayed and that are not here.
    pub lag: u64,
}

impl Seen {
    pub fn view(&self) -> View {
        self.view.lock().clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.view.lock());
    }

    /// Whether an attempt to connect has failed, and none has succeeded since.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    pub fn set_failed(&self, failed: bool) {
        self.failed.store(failed, Relaxed);
    }

    /// Why the other hosts cannot be reached, in a sentence.
    pub fn trouble(&self) -> Option<String> {
        let view = self.view.lock();
        let why = view.trouble.as_ref()?;
        Some(format!(
            "application {}: other hosts cannot be reached: {why}",
            view.application
        ))
    }
}
