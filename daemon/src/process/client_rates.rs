//! A rate limit for each client of something, none of which knows of another.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use protocol::rate_limit::{Bound, Rate};

use crate::process::client_key::ClientKey;

#[derive(Debug)]
pub struct ClientRates {
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    bound: Bound,
    /// Of clients that took some in the last second or two.
    clients: HashMap<ClientKey, Rate>,
    swept: u64,
}

impl ClientRates {
    pub fn new(bound: Bound) -> Self {
        Self {
            started: Instant::now(),
            inner: Mutex::new(Inner {
                bound,
                clients: HashMap::new(),
                swept: 0,
            }),
        }
    }

    pub fn bound(&self) -> Bound {
        self.inner.lock().bound
    }

    /// The limit from now on.
    pub fn set(&self, bound: Bound) {
        self.inner.lock().bound = bound;
    }

    /// Whether this client may have one more. One without an address (`ClientKey::NONE`) always may.
    pub fn take(&self, client: ClientKey) -> bool {
        self.take_at(client, self.started.elapsed().as_millis() as u64)
    }

    pub fn take_at(&self, client: ClientKey, now: u64) -> bool {
        let mut inner = self.inner.lock();
        if now >= inner.swept + 1000 {
            inner.swept = now;
            inner.clients.retain(|_, rate| !rate.is_fresh(now));
        }
        let bound = inner.bound;
        client == ClientKey::NONE || inner.clients.entry(client).or_default().take(bound, now)
    }

    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.inner.lock().clients.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::client_key::testing::client;

    #[test]
    fn each_client_has_its_own_and_leaves_nothing_behind() {
        let rates = ClientRates::new(Bound::per_second(2));
        let take = |n, now| rates.take_at(client(n), now);
        assert!(take(1, 0) && take(1, 0) && !take(1, 0));
        assert!(take(2, 0));
        assert!((0..100).all(|_| rates.take_at(ClientKey::NONE, 0)));
        assert!(take(1, 5000));
        assert_eq!(rates.known(), 1);
    }
}
