//! Which streams are slow, and since when that matters.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::process::client_key::ClientKey;

#[derive(Debug, Default)]
pub struct Slow {
    /// Streams with an outbox.
    pub blocked: HashSet<u32>,
    /// The same, by client.
    by_client: HashMap<ClientKey, HashSet<u32>>,
    /// Since when memory for events has been tight, whatever was given back here.
    pub tight_since: Option<Instant>,
}

impl Slow {
    pub fn add(&mut self, client: ClientKey, slot: u32) {
        self.blocked.insert(slot);
        self.by_client.entry(client).or_default().insert(slot);
    }

    pub fn remove(&mut self, client: ClientKey, slot: u32) {
        self.blocked.remove(&slot);
        if let Some(slots) = self.by_client.get_mut(&client) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }

    /// Those of one client.
    pub fn of(&self, client: ClientKey) -> impl Iterator<Item = u32> {
        self.by_client.get(&client).into_iter().flatten().copied()
    }
}
