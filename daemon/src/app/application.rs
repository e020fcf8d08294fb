//! An application: everything that belongs to it alone. Nothing here is shared with another application.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use parking_lot::Mutex;
use protocol::pusher::signature::Credentials;
use protocol::rate_limit::{Bound, Rate};
use protocol::socket_id::Prover;
use shared::name::RingName;

use crate::app::publishing::Publishing;
use crate::auth::authority::Authority;
use crate::hub::hub::Hub;
use crate::hub::roster::Roster;
use crate::hub::watchlists::Watchlists;
use crate::process::client_key::ClientKey;
use crate::process::shares;
use crate::process::shares::Shares;

/// One application, shared by all workers.
pub struct App {
    pub id: String,
    pub ring: RingName,
    pub hub: Arc<Hub>,
    pub authority: Authority,
    pub roster: Roster,
    pub prover: Prover,
    pub quota: Quota,
    /// The key and secrets whose signatures are accepted in Pusher's protocol; without a secret, none are.
    pub credentials: Credentials,
    /// The key and secrets of the HTTP API, which does not depend on how subscribers are authorized.
    pub api_credentials: Credentials,
    pub publishing: Publishing,
    pub watchlists: Watchlists,
    /// The rate limit of client events, of all connections together.
    pub client_events: Budget,
}

/// So many a second, of all workers together, and an eighth of them of one client.
#[derive(Debug)]
pub struct Budget {
    bound: Bound,
    share: Bound,
    started: Instant,
    rates: Mutex<Rates>,
}

#[derive(Debug, Default)]
struct Rates {
    all: Rate,
    /// Of clients that took some in the last second or two.
    clients: HashMap<ClientKey, Rate>,
    swept: u64,
}

impl Budget {
    /// A budget of `per_second`, with a burst of one second's worth. 0 allows nothing.
    pub fn new(per_second: u32) -> Self {
        let share = shares::by_default(per_second as usize, shares::ANY);
        Self {
            bound: Bound::per_second(per_second),
            share: Bound::per_second(share),
            started: Instant::now(),
            rates: Mutex::default(),
        }
    }

    /// # Errors
    /// If there is none left, of all or of this client.
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

/// How many streams and sockets an application may have, and one client of it.
#[derive(Debug)]
pub struct Quota {
    /// 0: as many as the daemon has.
    most: usize,
    used: AtomicUsize,
    clients: Shares,
}

/// What there is no room in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Application,
    Client,
}

impl Quota {
    /// `share`: of one client. Without a limit of the application, that of the daemon is enough.
    pub fn new(most: usize, share: u32) -> Self {
        Self {
            most,
            used: AtomicUsize::new(0),
            clients: Shares::new(match most {
                0 => shares::ANY,
                _ => share,
            }),
        }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// At a limit; it is not counted then.
    pub fn enter(&self, client: ClientKey) -> Result<(), Full> {
        let before = self.used.fetch_add(1, Relaxed);
        let room = match self.most == 0 || before < self.most {
            true if self.clients.enter(client) => return Ok(()),
            true => Full::Client,
            false => Full::Application,
        };
        self.used.fetch_sub(1, Relaxed);
        Err(room)
    }

    pub fn leave(&self, client: ClientKey) {
        self.used.fetch_sub(1, Relaxed);
        self.clients.leave(client);
    }

    /// The number of connections.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::client_key::testing::client;

    #[test]
    fn a_quota_is_kept_and_given_back() {
        let quota = Quota::new(2, shares::ANY);
        let one = client(1);
        assert_eq!((quota.enter(one), quota.enter(one)), (Ok(()), Ok(())));
        assert_eq!(quota.enter(one), Err(Full::Application));
        assert_eq!(quota.used(), 2);
        quota.leave(one);
        assert_eq!(quota.enter(one), Ok(()));
        let open = Quota::new(0, 1);
        assert!((0..100).all(|_| open.enter(one).is_ok()));
    }

    #[test]
    fn one_client_has_its_share_of_a_budget_and_leaves_nothing_behind() {
        let budget = Budget::new(16);
        let take = |n, now| budget.take_at(client(n), now);
        assert_eq!((take(1, 0), take(1, 0)), (Ok(()), Ok(())));
        for _ in 0..100 {
            assert_eq!(take(1, 0), Err(Full::Client));
        }
        let others = (2..100).filter(|n| take(*n, 0).is_ok()).count();
        assert_eq!(others, 14, "all that is left");
        assert_eq!(take(100, 0), Err(Full::Application));
        assert_eq!(take(1, 2000), Ok(()));
        assert_eq!(budget.rates.lock().clients.len(), 1);
        for _ in 0..15 {
            assert_eq!(budget.take_at(ClientKey::NONE, 2000), Ok(()));
        }
    }

    #[test]
    fn one_client_has_its_share_of_it() {
        let quota = Quota::new(4, 1);
        assert_eq!(quota.enter(client(1)), Ok(()));
        assert_eq!(quota.enter(client(1)), Err(Full::Client));
        assert_eq!((quota.enter(client(2)), quota.used()), (Ok(()), 2));
        quota.leave(client(1));
        assert_eq!(quota.enter(client(1)), Ok(()));
    }
}
