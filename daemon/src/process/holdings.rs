//! Which channels each client holds, so that one address does not take what there is for all.
//!
//! A client pays for each different channel that it holds: once, however many of its connections have the
//! channel, and whoever else has it too. So a crowd behind one address pays once for the channel that all
//! of it has, and nobody is charged for what others do. Any rule by which a shared channel were free, or
//! were paid for by whoever came first, could be used to hold channels at the cost of others: two
//! addresses that hold the same ones would pay nothing, or make a third one pay.
//!
//! A client also has a share of one channel's places for subscribers (`server.subscribers_per_channel`).
//! Only the limits for all bound a client without an address (`ClientKey::NONE`).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::{Mutex, MutexGuard};

use crate::process::client_key::ClientKey;
#[cfg(test)]
use crate::process::shares::ANY;

/// A growing table holds up the clients of one shard, and only for that table's growth.
const SHARDS: usize = 64;

#[derive(Debug)]
pub struct Holdings {
    /// See [`Limits`].
    channels: AtomicU32,
    subscriptions: AtomicU32,
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

/// What one client may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Different channels.
    pub channels: u32,
    /// Subscriptions of one channel.
    pub subscriptions: u32,
}

#[cfg(test)]
impl Limits {
    pub const NONE: Self = Self {
        channels: ANY,
        subscriptions: ANY,
    };
}

#[derive(Debug, Default)]
struct Shard {
    /// Different channels of each client.
    channels: HashMap<ClientKey, u32>,
    /// Subscriptions of each client and channel. A channel is known by its keyed hash: two that collide, which
    /// no client can arrange, count as one.
    held: HashMap<(ClientKey, u64), u32>,
}

/// The limit that a client has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Channels,
    Subscriptions,
}

/// Bytes for so many subscriptions at the most: an entry for each, and one for a client, in tables that have
/// just doubled.
pub const fn ceiling(subscriptions: u64) -> u64 {
    128 * subscriptions
}

impl Holdings {
    pub fn new(limits: Limits) -> Self {
        Self {
            channels: AtomicU32::new(limits.channels),
            subscriptions: AtomicU32::new(limits.subscriptions),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The limits from now on. Who holds more keeps it.
    pub fn set(&self, limits: Limits) {
        self.channels.store(limits.channels, Relaxed);
        self.subscriptions.store(limits.subscriptions, Relaxed);
    }

    /// Counts one more subscription of `client` to each of `channels`, which are distinct.
    ///
    /// # Errors
    /// If it has its share; nothing is counted then.
    pub fn enter(&self, client: ClientKey, channels: &[String]) -> Result<(), Full> {
        if client == ClientKey::NONE {
            return Ok(());
        }
        let mut shard = self.shard(client);
        let keys = channels.iter().map(|name| self.key(client, name));
        let mut new = 0;
        for key in keys.clone() {
            match shard.held.get(&key) {
                Some(count) if *count >= self.subscriptions.load(Relaxed) => {
                    return Err(Full::Subscriptions);
                }
                Some(_) => {}
                None => new += 1,
            }
        }
        let held = shard.channels.get(&client).copied().unwrap_or(0);
        if new > self.channels.load(Relaxed).saturating_sub(held) {
            return Err(Full::Channels);
        }
        for key in keys {
            *shard.held.entry(key).or_default() += 1;
        }
        if new > 0 {
            shard.channels.insert(client, held + new);
        }
        Ok(())
    }

    /// Gives back what `enter` counted.
    pub fn leave<'a>(&self, client: ClientKey, channels: impl Iterator<Item = &'a str>) {
        if client == ClientKey::NONE {
            return;
        }
        let mut shard = self.shard(client);
        for name in channels {
            let key = self.key(client, name);
            let Some(count) = shard.held.get_mut(&key) else {
                continue;
            };
            *count -= 1;
            if *count > 0 {
                continue;
            }
            shard.held.remove(&key);
            if let Some(channels) = shard.channels.get_mut(&client) {
                *channels -= 1;
                if *channels == 0 {
                    shard.channels.remove(&client);
                }
            }
        }
    }

    fn key(&self, client: ClientKey, channel: &str) -> (ClientKey, u64) {
        (client, self.hasher.hash_one(channel))
    }

    fn shard(&self, client: ClientKey) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[self.hasher.hash_one(client) as usize % SHARDS];
        shard.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::process::client_key::testing::client;

    const LIMITS: Limits = Limits {
        channels: 3,
        subscriptions: 2,
    };

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    impl Holdings {
        fn is_empty(&self) -> bool {
            let empty = |shard: &Mutex<Shard>| {
                let shard = shard.lock();
                shard.held.is_empty() && shard.channels.is_empty()
            };
            self.shards.iter().all(empty)
        }
    }

    #[test]
    fn a_channel_counts_once_to_each_client_that_has_it() {
        let holdings = Holdings::new(LIMITS);
        let (one, two) = (client(1), client(2));
        assert_eq!(holdings.enter(one, &names("a b c")), Ok(()));
        assert_eq!(holdings.enter(one, &names("a b")), Ok(()));
        assert_eq!(holdings.enter(one, &names("c d")), Err(Full::Channels));
        assert_eq!(holdings.enter(one, &names("c a")), Err(Full::Subscriptions));
        assert_eq!(holdings.enter(one, &names("c")), Ok(()), "nothing was kept");
        assert_eq!(holdings.enter(two, &names("a b d")), Ok(()));
        holdings.leave(one, ["a", "b", "c"].into_iter());
        assert_eq!(holdings.enter(one, &names("d")), Err(Full::Channels));
        holdings.leave(one, ["a"].into_iter());
        assert_eq!(holdings.enter(one, &names("d")), Ok(()));
        holdings.leave(one, ["b", "c", "d"].into_iter());
        holdings.leave(two, ["a", "b", "d"].into_iter());
        assert!(holdings.is_empty());
    }

    #[test]
    fn who_has_no_address_is_not_counted_and_a_bound_that_is_set_later_finds_all_counted() {
        let holdings = Holdings::new(LIMITS);
        assert_eq!(holdings.enter(ClientKey::NONE, &names("a b c d")), Ok(()));
        assert!(holdings.is_empty());
        let open = Holdings::new(Limits::NONE);
        assert_eq!(open.enter(client(1), &names("a b c d")), Ok(()));
        open.set(LIMITS);
        assert_eq!(open.enter(client(1), &names("e")), Err(Full::Channels));
        open.leave(client(1), ["a", "b", "c", "d"].into_iter());
        assert!(open.is_empty());
    }

    proptest! {
        #[test]
        fn a_client_never_has_more_than_its_share_nor_pays_for_another(
            steps in prop::collection::vec((0..3u8, 0..6u8, any::<bool>()), 0..200)
        ) {
            let holdings = Holdings::new(LIMITS);
            let mut model: BTreeMap<u8, BTreeMap<u8, u32>> = BTreeMap::new();
            for (who, channel, enters) in steps {
                let mine = model.entry(who).or_default();
                let name = channel.to_string();
                let count = mine.get(&channel).copied().unwrap_or(0);
                if !enters {
                    if count > 0 {
                        holdings.leave(client(who), std::iter::once(name.as_str()));
                        mine.insert(channel, count - 1);
                        mine.retain(|_, count| *count > 0);
                    }
                    continue;
                }
                let expected = match count {
                    2 => Err(Full::Subscriptions),
                    0 if mine.len() == 3 => Err(Full::Channels),
                    _ => Ok(()),
                };
                let entered = holdings.enter(client(who), &[name]);
                prop_assert_eq!(entered, expected);
                if entered.is_ok() {
                    mine.insert(channel, count + 1);
                }
            }
            for (who, mine) in model {
                for (channel, count) in mine {
                    for _ in 0..count {
                        holdings.leave(client(who), std::iter::once(channel.to_string().as_str()));
                    }
                }
            }
            prop_assert!(holdings.is_empty());
        }
    }
}
