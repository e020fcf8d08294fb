//! How many client events an application's subscribers may send.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use protocol::rate_limit::{Bound, Rate};

use crate::app::quota::Full;
use crate::process::client_key::ClientKey;
use crate::process::shares;

/// A rate limit of all workers together, of which one client has an eighth.
#[derive(Debug)]
pub struct ClientEventRate {
    bound: Bound,
    share: Bound,
    started: Instant,
    rates: Mutex<Rates>,
}

#[derive(Debug, Default)]
struct Rates {
    all: Rate,
    /// Of clients that sent some in the last second or two.
    clients: HashMap<ClientKey, Rate>,
    swept: u64,
}

impl ClientEventRate {
    /// `per_second` client events, with a burst of one second's worth. 0 allows none.
    pub fn new(per_second: u32) -> Self {
        let share = shares::by_default(per_second as usize, shares::ANY);
        Self {
            bound: Bound::per_second(per_second),
            share: Bound::per_second(share),
            started: Instant::now(),
            rates: Mutex::default(),
        }
    }

    /// How many a second all connections together may send, and one client.
    pub fn limits(&self) -> (u32, u32) {
        (self.bound.per_second, self.share.per_second)
    }

    /// # Errors
    /// If all have reached the limit, or this client its share.
    pub fn take(&self, client: ClientKey) -> Result<(), Full> {
        self.take_at(client, self.started.elapsed().as_millis() as u64)
    }

    fn take_at(&self, client: ClientKey, now: u64) -> Result<(), Full> {
        let mut rates = self.rates.lock();
        if now >= rates.swept + 1000 {
            rates.swept = now;
            rates.clients.retain(|_, rate| !rate.is_fresh(now));
        }
        if client != ClientKey::NONE {
            let rate = rates.clients.entry(client).or_default();
            if !rate.take(self.share, now) {
                return Err(Full::Client);
            }
        }
        match rates.all.take(self.bound, now) {
            true => Ok(()),
            false => Err(Full::Application),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::client_key::testing::client;

    #[test]
    fn one_client_has_its_share_of_it_and_leaves_nothing_behind() {
        let rate = ClientEventRate::new(16);
        let take = |n, now| rate.take_at(client(n), now);
        assert_eq!((take(1, 0), take(1, 0)), (Ok(()), Ok(())));
        for _ in 0..100 {
            assert_eq!(take(1, 0), Err(Full::Client));
        }
        let others = (2..100).filter(|n| take(*n, 0).is_ok()).count();
        assert_eq!(others, 14, "all that is left");
        assert_eq!(take(100, 0), Err(Full::Application));
        assert_eq!(take(1, 2000), Ok(()));
        assert_eq!(rate.rates.lock().clients.len(), 1);
        for _ in 0..15 {
            assert_eq!(rate.take_at(ClientKey::NONE, 2000), Ok(()));
        }
    }
}
