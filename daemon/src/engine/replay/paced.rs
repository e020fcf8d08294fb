//! Streams whose replay waits because their client has spent its share of scanning the ring (`scan_shares.rs`).
//! They keep their place, and go on when some of the share has come back.

use std::collections::{BTreeSet, HashMap};

use crate::process::client_key::ClientKey;

/// Streams of one client that go on at once.
const AT_ONCE: usize = 16;

/// By client, so that no client waits behind another.
#[derive(Debug, Default)]
pub struct Paced(HashMap<ClientKey, BTreeSet<u32>>);

impl Paced {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, client: ClientKey, slot: u32) {
        self.0.entry(client).or_default().insert(slot);
    }

    /// The stream is closed.
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

    /// Takes some streams of each client that `may` go on.
    pub fn take(&mut self, may: impl Fn(ClientKey) -> bool) -> Vec<(ClientKey, u32)> {
        let mut due = Vec::new();
        self.0.retain(|client, slots| {
            if may(*client) {
                let first = std::iter::from_fn(|| slots.pop_first()).take(AT_ONCE);
                due.extend(first.map(|slot| (*client, slot)));
            }
            !slots.is_empty()
        });
        due
    }
}
