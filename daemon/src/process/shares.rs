//! Each client's share of a pool, so that no client takes all of it.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::{Mutex, MutexGuard};

use crate::process::client_key::ClientKey;

/// A client may have any number.
pub const ANY: u32 = u32::MAX;

/// A client's share of a pool where no setting gives it: an eighth, between 1 and `most`.
pub fn by_default(pool: usize, most: u32) -> u32 {
    u32::try_from(pool / 8).unwrap_or(ANY).clamp(1, most)
}

/// The value of a setting: -1 means `default`, 0 any number.
pub fn of_setting(setting: i64, default: u32) -> u32 {
    match u32::try_from(setting) {
        Ok(0) => ANY,
        Ok(most) => most,
        Err(_) if setting < 0 => default,
        Err(_) => ANY,
    }
}

/// Bytes at the most for so many clients: an entry each, in a table that has just doubled.
pub const fn ceiling(clients: u64) -> u64 {
    64 * clients
}

/// What each client has of one pool. Only the pool bounds a client without an address (`ClientKey::NONE`).
#[derive(Debug)]
pub struct Shares {
    most: AtomicU32,
    held: Mutex<HashMap<ClientKey, u32>>,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub struct Share<'a> {
    shares: &'a Shares,
    client: ClientKey,
}

impl Shares {
    pub fn new(most: u32) -> Self {
        Self {
            most: AtomicU32::new(most),
            held: Mutex::default(),
        }
    }

    /// The share from now on. Who has more keeps it.
    pub fn set(&self, most: u32) {
        self.most.store(most, Relaxed);
    }

    /// Counts one more place of `client`. False, and not counted, if it has its share.
    pub fn enter(&self, client: ClientKey) -> bool {
        self.add(client, 1)
    }

    /// Gives back what `enter` counted.
    pub fn leave(&self, client: ClientKey) {
        self.give_back(client, 1);
    }

    /// Counts so many more.
    pub fn add(&self, client: ClientKey, amount: u32) -> bool {
        if client == ClientKey::NONE {
            return true;
        }
        let mut held = self.lock();
        let count = held.get(&client).copied().unwrap_or(0);
        let room = amount <= self.most.load(Relaxed).saturating_sub(count);
        if room {
            held.insert(client, count + amount);
        }
        room
    }

    pub fn give_back(&self, client: ClientKey, amount: u32) {
        if client == ClientKey::NONE {
            return;
        }
        let mut held = self.lock();
        if let Some(count) = held.get_mut(&client) {
            *count -= amount;
            if *count == 0 {
                held.remove(&client);
            }
        }
    }

    /// Counts one more place until the result is dropped. None if the client has its share.
    pub fn take(&self, client: ClientKey) -> Option<Share<'_>> {
        // Not `then_some`: a share that is dropped gives a place back.
        self.enter(client).then(|| Share {
            shares: self,
            client,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        self.held.lock()
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.shares.leave(self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::client_key::testing::client;

    #[test]
    fn a_client_has_its_share_and_gives_it_back() {
        let shares = Shares::new(2);
        let (one, two) = (client(1), client(2));
        assert!(shares.enter(one) && shares.enter(one) && !shares.enter(one));
        let place = shares.take(two).unwrap();
        assert!(shares.enter(two) && shares.take(two).is_none());
        assert!(!shares.enter(two), "what was refused gives nothing back");
        drop(place);
        assert!(shares.enter(two), "others are not affected");
        shares.leave(one);
        assert!(shares.enter(one));
        for client in [one, one, two, two] {
            shares.leave(client);
        }
        assert!(
            shares.lock().is_empty(),
            "nothing is kept of who has nothing"
        );
    }

    #[test]
    fn who_has_no_address_is_not_counted_and_a_bound_that_is_set_later_finds_all_counted() {
        let (shares, open) = (Shares::new(1), Shares::new(ANY));
        for _ in 0..10 {
            assert!(shares.enter(ClientKey::NONE) && open.enter(client(1)));
        }
        assert!(shares.lock().is_empty());
        open.set(10);
        assert!(!open.enter(client(1)));
        open.give_back(client(1), 10);
        assert!(open.enter(client(1)));
    }

    #[test]
    fn a_share_is_an_eighth_unless_a_setting_says_it() {
        let of = |pool| of_setting(-1, by_default(pool, 1024));
        assert_eq!((of(0), of(15), of(16), of(800)), (1, 1, 2, 100));
        assert_eq!((of(1_000_000), of(usize::MAX)), (1024, 1024));
        assert_eq!((of_setting(0, 7), of_setting(9, 7)), (ANY, 9));
        assert_eq!(of_setting(i64::MAX, 7), ANY);
    }
}
