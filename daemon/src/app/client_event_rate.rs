//! How many client events an application's subscribers may send.

use std::time::Instant;

use parking_lot::Mutex;
use protocol::rate_limit::{Bound, Rate};

use crate::app::quota::Full;
use crate::process::client_key::ClientKey;
use crate::process::client_rates::ClientRates;
use crate::process::shares;

/// A rate limit of all workers together, of which one client has an eighth.
#[derive(Debug)]
pub struct ClientEventRate {
    started: Instant,
    all: Mutex<(Bound, Rate)>,
    clients: ClientRates,
}

impl ClientEventRate {
    /// `per_second` client events, with a burst of one second's worth. 0 allows none.
    pub fn new(per_second: u32) -> Self {
        let share = shares::by_default(per_second as usize, shares::ANY);
        Self {
            started: Instant::now(),
            all: Mutex::new((Bound::per_second(per_second), Rate::default())),
            clients: ClientRates::new(Bound::per_second(share)),
        }
    }

    /// The limit from now on.
    pub fn set(&self, per_second: u32) {
        let share = shares::by_default(per_second as usize, shares::ANY);
        self.all.lock().0 = Bound::per_second(per_second);
        self.clients.set(Bound::per_second(share));
    }

    /// How many a second all connections together may send, and one client.
    pub fn limits(&self) -> (u32, u32) {
        (
            self.all.lock().0.per_second,
            self.clients.bound().per_second,
        )
    }

    /// # Errors
    /// If all have reached the limit, or this client its share.
    pub fn take(&self, client: ClientKey) -> Result<(), Full> {
        self.take_at(client, self.started.elapsed().as_millis() as u64)
    }

    fn take_at(&self, client: ClientKey, now: u64) -> Result<(), Full> {
        if !self.clients.take_at(client, now) {
            return Err(Full::Client);
        }
        let (bound, rate) = &mut *self.all.lock();
        match rate.take(*bound, now) {
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
        assert_eq!(rate.clients.known(), 1);
        for _ in 0..15 {
            assert_eq!(rate.take_at(ClientKey::NONE, 2000), Ok(()));
        }
    }
}
