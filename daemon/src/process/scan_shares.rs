//! How much scanning of the ring each client may cause. A channel index that is too small forgets positions, and a
//! replay then has to scan the ring for them: a client that causes this again and again waits, others do not.

use crate::process::client_key::ClientKey;
use std::collections::HashMap;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

/// What reading a position costs, in positions looked at.
pub const READ: u64 = 256;
/// Positions that a client may have scanned at once, each counting once for each channel it is checked for, and
/// 256 times if it is read: 500 times through a ring of the default size for one channel. A position takes some
/// nanoseconds.
const MOST: u64 = 16 << 20;
/// Positions that a client regains each second: a few milliseconds of work.
const PER_SECOND: u64 = 4 << 20;
/// Clients that are tracked. All further ones share the share of a single one.
const MOST_CLIENTS: usize = 1 << 16;

/// Bytes at the most: a table of them that has just doubled. They stay until there is no room for another.
pub const CEILING: u64 = 64 * MOST_CLIENTS as u64;

#[derive(Debug)]
pub struct ScanShares {
    started: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Clients that have spent something, which they may have regained by now.
    spent: HashMap<ClientKey, Spent>,
    /// When clients that have regained everything were last removed, in milliseconds since the start.
    swept: u64,
}

#[derive(Debug, Clone, Copy)]
struct Spent {
    positions: u64,
    /// Milliseconds since the start.
    at: u64,
}

impl Spent {
    /// What has not been regained by `now`.
    fn left(self, now: u64) -> u64 {
        let back = now.saturating_sub(self.at).saturating_mul(PER_SECOND) / 1000;
        self.positions.saturating_sub(back)
    }
}

impl Default for ScanShares {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            table: Mutex::default(),
        }
    }
}

impl ScanShares {
    /// Whether `client` has any of its share left.
    pub fn has_some(&self, client: ClientKey) -> bool {
        self.has_some_at(client, self.now())
    }

    /// Takes `positions` from the share of `client`. They may exceed what is left: it waits longer then.
    pub fn spend(&self, client: ClientKey, positions: u64) {
        self.spend_at(client, positions, self.now());
    }

    fn has_some_at(&self, client: ClientKey, now: u64) -> bool {
        let table = self.lock();
        let spent = table.spent.get(&table.counted(client));
        spent.is_none_or(|spent| spent.left(now) < MOST)
    }

    fn spend_at(&self, client: ClientKey, positions: u64, now: u64) {
        let mut table = self.lock();
        table.make_room(now);
        let client = table.counted(client);
        let spent = table.spent.entry(client).or_insert(Spent {
            positions: 0,
            at: now,
        });
        *spent = Spent {
            positions: spent.left(now) + positions,
            at: now,
        };
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}

impl Table {
    /// The key that `client` is tracked under.
    fn counted(&self, client: ClientKey) -> ClientKey {
        match self.spent.len() < MOST_CLIENTS || self.spent.contains_key(&client) {
            true => client,
            false => ClientKey::NONE,
        }
    }

    fn make_room(&mut self, now: u64) {
        // At most once a second, not for each newcomer of a flood.
        if self.spent.len() >= MOST_CLIENTS && now >= self.swept + 1000 {
            self.spent.retain(|_, spent| spent.left(now) > 0);
            self.swept = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u32) -> ClientKey {
        let limits =
            crate::process::admission::Limits::new(1, crate::process::shares::ANY, false, 1);
        limits.client(Some(std::net::Ipv4Addr::from(0x0a00_0000 + n).into()))
    }

    #[test]
    fn a_share_is_spent_and_comes_back_in_time_and_others_have_theirs() {
        let shares = ScanShares::default();
        let (one, other) = (client(1), client(2));
        shares.spend_at(one, MOST - 1, 1000);
        assert!(shares.has_some_at(one, 1000));
        // More than was left: it is owed.
        shares.spend_at(one, PER_SECOND + 1, 1000);
        assert!(!shares.has_some_at(one, 1999));
        assert!(shares.has_some_at(one, 2001));
        assert!(shares.has_some_at(other, 1000));
        assert!(shares.has_some_at(ClientKey::NONE, 1000));
    }

    #[test]
    fn a_flood_of_clients_is_remembered_within_the_bound() {
        let shares = ScanShares::default();
        for n in 0..MOST_CLIENTS as u32 + 1000 {
            shares.spend_at(client(n), MOST, 0);
        }
        // One more for all that came late.
        assert!(shares.lock().spent.len() <= MOST_CLIENTS + 1);
        assert!(!shares.has_some_at(client(5), 0));
        assert!(
            !shares.has_some_at(client(u32::MAX >> 8), 0),
            "they share one"
        );
        // When it has come back, there is room again.
        let later = 1000 * MOST.div_ceil(PER_SECOND) + 1_000_000;
        shares.spend_at(client(1), 1, later);
        assert!(shares.lock().spent.len() <= 2 && shares.has_some_at(client(5), later));
    }
}
