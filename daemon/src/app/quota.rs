//! How many connections an application may have.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::process::client_key::ClientKey;
use crate::process::shares;
use crate::process::shares::Shares;

/// How many streams and sockets an application may have, and one client of it.
#[derive(Debug)]
pub struct Quota {
    /// 0: as many as the daemon has.
    most: AtomicUsize,
    used: AtomicUsize,
    clients: Shares,
}

/// Whose limit has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Application,
    Client,
}

impl Quota {
    /// `share`: of one client. Without a limit of the application, that of the daemon is enough.
    pub fn new(most: usize, share: u32) -> Self {
        Self {
            most: AtomicUsize::new(most),
            used: AtomicUsize::new(0),
            clients: Shares::new(share_of(most, share)),
        }
    }

    /// The limits from now on. Who is connected stays.
    pub fn set(&self, most: usize, share: u32) {
        self.most.store(most, Relaxed);
        self.clients.set(share_of(most, share));
    }

    /// How many there are, and may be; 0: as many as the daemon has.
    pub fn used_of(&self) -> (usize, usize) {
        (self.used.load(Relaxed), self.most.load(Relaxed))
    }

    /// Counts one more.
    ///
    /// # Errors
    /// At a limit; it is not counted then.
    pub fn enter(&self, client: ClientKey) -> Result<(), Full> {
        let most = self.most.load(Relaxed);
        let before = self.used.fetch_add(1, Relaxed);
        let room = match most == 0 || before < most {
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

fn share_of(most: usize, share: u32) -> u32 {
    match most {
        0 => shares::ANY,
        _ => share,
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
    fn one_client_has_its_share_of_it() {
        let quota = Quota::new(4, 1);
        assert_eq!(quota.enter(client(1)), Ok(()));
        assert_eq!(quota.enter(client(1)), Err(Full::Client));
        assert_eq!((quota.enter(client(2)), quota.used()), (Ok(()), 2));
        quota.leave(client(1));
        assert_eq!(quota.enter(client(1)), Ok(()));
    }
}
