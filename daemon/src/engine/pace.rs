//! Streams that wait with their replay, because their client has had its share of looking through the ring
//! (`scan_shares.rs`). They keep their place, and go on when some of the share has come back.

use crate::process::client_key::ClientKey;
use std::collections::{BTreeSet, HashMap};

use super::Engine;

/// Streams of one client that go on at a time.
const AT_ONCE: usize = 16;

/// Each client's, so that nobody waits behind another's.
#[derive(Debug, Default)]
pub struct Paced(HashMap<ClientKey, BTreeSet<u32>>);

impl Paced {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, client: ClientKey, slot: u32) {
        self.0.entry(client).or_default().insert(slot);
    }

    /// The stream is gone.
    pub fn remove(&mut self, client: ClientKey, slot: u32) {
        if let Some(slots) = self.0.get_mut(&client) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.0.remove(&client);
            }
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Some streams of each client that `may` go on.
    fn take(&mut self, may: impl Fn(ClientKey) -> bool) -> Vec<u32> {
        let mut due = Vec::new();
        self.0.retain(|client, slots| {
            if may(*client) {
                due.extend(std::iter::from_fn(|| slots.pop_first()).take(AT_ONCE));
            }
            !slots.is_empty()
        });
        due
    }
}

impl Engine {
    /// Whether any wait: then `on_pace` is due ten times a second.
    pub fn is_paced(&self) -> bool {
        !self.paced.is_empty()
    }

    pub fn on_pace(&mut self) {
        let shares = &self.hub.limits.scans;
        let due = self.paced.take(|client| shares.has_some(client));
        self.replaying.extend(due);
    }
}
