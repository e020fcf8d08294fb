//! An application: everything that is its own. Nothing here is shared with another.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use shared::name::RingName;

use crate::auth::authority::Authority;
use crate::auth::pusher::Credentials;
use crate::bus::Bus;
use crate::http::api::Api;
use crate::members::Members;
use crate::socket_id::Prover;
use crate::watchlists::Watchlists;
use crate::ws::rate::{Bound, Rate};

pub struct App {
    pub id: String,
    pub ring: RingName,
    pub bus: Arc<Bus>,
    pub authority: Authority,
    pub members: Members,
    pub prover: Prover,
    pub quota: Quota,
    /// Whose signatures Pusher's protocol takes; without a secret, nobody's.
    pub credentials: Credentials,
    /// The same for the HTTP API, whoever may let subscribers in.
    pub api_credentials: Credentials,
    pub api: Api,
    pub watchlists: Watchlists,
    /// Client events of all its connections.
    pub client_events: Budget,
}

/// So many a second, of all workers together.
#[derive(Debug)]
pub struct Budget {
    bound: Bound,
    started: Instant,
    rate: Mutex<Rate>,
}

impl Budget {
    pub fn new(per_second: u32) -> Self {
        Self {
            bound: Bound::per_second(per_second),
            started: Instant::now(),
            rate: Mutex::default(),
        }
    }

    pub fn take(&self) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.take(self.bound, now)
    }
}

/// How many streams and sockets an application may have.
#[derive(Debug, Default)]
pub struct Quota {
    /// 0: as many as the daemon has.
    pub most: usize,
    used: AtomicUsize,
}

impl Quota {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            used: AtomicUsize::new(0),
        }
    }

    /// Counts one more. False, and not counted, at the limit.
    pub fn enter(&self) -> bool {
        let before = self.used.fetch_add(1, Relaxed);
        let room = self.most == 0 || before < self.most;
        if !room {
            self.leave();
        }
        room
    }

    pub fn leave(&self) {
        self.used.fetch_sub(1, Relaxed);
    }

    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_kept_and_given_back() {
        let quota = Quota::new(2);
        assert!(quota.enter() && quota.enter() && !quota.enter());
        assert_eq!(quota.used(), 2);
        quota.leave();
        assert!(quota.enter());
        let open = Quota::new(0);
        assert!((0..100).all(|_| open.enter()));
    }
}
