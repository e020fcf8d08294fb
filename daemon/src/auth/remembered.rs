//! A cache of the access that the application granted recently, so that a page that reconnects causes no further
//! request.
//!
//! Only what was opened is kept, never a refusal; for a set time, and never past its own expiry. Bounded:
//! the oldest goes first; and of one client no more than its share is kept, so that nobody makes the
//! application be asked again about everybody else. A key is the hash of all that the application was shown, so that no two
//! viewers can meet in one entry, and no cookie lies in memory.

use std::collections::{HashMap, VecDeque};

use hyper::HeaderMap;
use sha2::{Digest, Sha256};

use super::authorizer::Access;
use crate::process::client_key::ClientKey;
use crate::process::shares;
use crate::process::shares::Shares;

/// The SHA-256 hash of a viewer's headers and a channel.
pub type Key = [u8; 32];

/// The cache of one application.
#[derive(Debug)]
pub struct Remembered {
    /// Seconds for which an entry is valid.
    time: u64,
    /// The most entries.
    bound: usize,
    shares: Shares,
    entries: HashMap<Key, Entry>,
    /// Each key once, oldest first.
    order: VecDeque<Key>,
    /// Changes with each revocation: an answer to a request from before a revocation is not cached after it.
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    access: Access,
    since: u64,
    client: ClientKey,
}

/// The hash state after the headers forwarded with a request; [`key`] adds the channel.
pub fn viewer(headers: &HeaderMap) -> Sha256 {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for (name, value) in headers {
        part(name.as_str().as_bytes());
        part(value.as_bytes());
    }
    hash
}

/// The key of a viewer and a channel.
pub fn key(viewer: &Sha256, channel: &str) -> Key {
    viewer.clone().chain_update(channel).finalize().into()
}

impl Remembered {
    /// A cache of at most `bound` entries, each valid for `time` seconds; with 0 nothing is cached.
    pub fn new(time: u64, bound: usize) -> Self {
        Self {
            time,
            bound,
            shares: Shares::new(shares::by_default(bound, shares::ANY)),
            entries: HashMap::new(),
            order: VecDeque::new(),
            generation: 0,
        }
    }

    /// The generation to pass to [`Self::put`], taken before the application is asked.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The access cached under `key`, if it is still valid at `now` (seconds since 1970).
    pub fn get(&self, key: &Key, now: u64) -> Option<Access> {
        let entry = self.entries.get(key)?;
        let young = entry.is_young(now, self.time);
        let alive = entry.access.expires.is_none_or(|at| now < at);
        (young && alive).then(|| entry.access.clone())
    }

    /// Keeps what was asked for at `now`, unless something was revoked since `generation`.
    pub fn put(&mut self, key: Key, access: Access, client: ClientKey, now: u64, generation: u64) {
        if generation != self.generation || self.time == 0 || self.bound == 0 {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            // Its place stays that of its first time: at the bound it goes early, never late.
            (entry.access, entry.since) = (access, now);
            return;
        }
        while let Some(oldest) = self.order.front()
            && self
                .entries
                .get(oldest)
                .is_none_or(|entry| !entry.is_young(now, self.time))
        {
            self.drop_oldest();
        }
        if !self.shares.enter(client) {
            return;
        }
        if self.order.len() >= self.bound {
            self.drop_oldest();
        }
        let entry = Entry {
            access,
            since: now,
            client,
        };
        self.entries.insert(key, entry);
        self.order.push_back(key);
    }

    fn drop_oldest(&mut self) {
        let oldest = self.order.pop_front();
        if let Some(entry) = oldest.and_then(|key| self.entries.remove(&key)) {
            self.shares.leave(entry.client);
        }
    }

    /// Forgets what was opened for this user, or for everybody. Where the application named no user, it may
    /// have been this one.
    pub fn forget(&mut self, user: Option<&str>) {
        self.generation += 1;
        self.entries.retain(|_, entry| {
            let of = entry.access.user.as_deref();
            let stays = user.is_some_and(|user| of.is_some_and(|other| other != user));
            if !stays {
                self.shares.leave(entry.client);
            }
            stays
        });
        self.order.retain(|key| self.entries.contains_key(key));
    }
}

impl Entry {
    /// A clock that was set back does not make it live longer.
    fn is_young(&self, now: u64, time: u64) -> bool {
        self.since <= now && now - self.since < time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::client_key::testing::client;

    const NOBODY: ClientKey = ClientKey::NONE;

    fn of(user: Option<&str>, expires: Option<u64>) -> Access {
        Access {
            user: user.map(Into::into),
            expires,
            ..Access::default()
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn it_is_kept_for_its_time_and_never_past_its_expiry() {
        let mut cache = Remembered::new(30, 10);
        cache.put([1; 32], of(None, None), NOBODY, 100, 0);
        cache.put([2; 32], of(None, Some(110)), NOBODY, 100, 0);
        let there = |now| {
            let one = cache.get(&[1; 32], now).is_some();
            (one, cache.get(&[2; 32], now).is_some())
        };
        assert_eq!(there(100), (true, true));
        assert_eq!(there(109), (true, true));
        assert_eq!(there(110), (true, false));
        assert_eq!((there(129), there(130)), ((true, false), (false, false)));
        assert_eq!(there(99), (false, false), "a clock that was set back");
        let mut off = Remembered::new(0, 10);
        off.put([1; 32], of(None, None), NOBODY, 100, 0);
        assert!(off.get(&[1; 32], 100).is_none() && off.entries.is_empty());
    }

    #[test]
    fn at_the_bound_the_oldest_is_evicted() {
        let mut cache = Remembered::new(30, 2);
        for n in [1, 2, 1, 3] {
            cache.put([n; 32], of(None, None), NOBODY, 100, 0);
        }
        assert!(cache.get(&[1; 32], 100).is_none());
        assert!(cache.get(&[2; 32], 100).is_some() && cache.get(&[3; 32], 100).is_some());
        assert_eq!((cache.entries.len(), cache.order.len()), (2, 2));
    }

    #[test]
    fn a_client_has_its_share_and_pushes_out_nobody_else() {
        let mut kept = Remembered::new(30, 16);
        let (one, two) = (client(1), client(2));
        kept.put([0; 32], of(Some("7"), None), two, 100, 0);
        for n in 1..100 {
            kept.put([n; 32], of(None, None), one, 100, 0);
        }
        assert_eq!(kept.entries.len(), 3);
        assert!(kept.get(&[0; 32], 100).is_some());
        // What is too old gives its place back, and what is revoked.
        kept.put([50; 32], of(None, None), one, 130, 0);
        assert_eq!((kept.entries.len(), kept.order.len()), (1, 1));
        kept.put([51; 32], of(None, None), one, 130, 0);
        kept.put([52; 32], of(None, None), one, 130, 0);
        assert_eq!(kept.entries.len(), 2);
        kept.forget(None);
        kept.put([53; 32], of(None, None), one, 130, 1);
        kept.put([54; 32], of(None, None), one, 130, 1);
        assert_eq!(kept.entries.len(), 2);
    }

    #[test]
    fn what_is_revoked_is_forgotten_also_when_it_was_on_its_way() {
        let mut kept = Remembered::new(30, 10);
        for (n, user) in [(1, Some("7")), (2, Some("8")), (3, None)] {
            kept.put([n; 32], of(user, None), NOBODY, 100, kept.generation());
        }
        let before = kept.generation();
        kept.forget(Some("7"));
        kept.put([4; 32], of(Some("7"), None), NOBODY, 100, before);
        let there = |kept: &Remembered| [1, 2, 3, 4].map(|n| kept.get(&[n; 32], 100).is_some());
        assert_eq!(there(&kept), [false, true, false, false]);
        assert_eq!(kept.order.len(), 1);
        kept.forget(None);
        assert_eq!(there(&kept), [false; 4]);
        assert!(kept.order.is_empty());
    }

    #[test]
    fn no_two_viewers_share_a_key() {
        let all = [
            headers(&[]),
            headers(&[("cookie", "a=1")]),
            headers(&[("cookie", "a=2")]),
            headers(&[("authorization", "a=1")]),
            headers(&[("cookie", "a=1"), ("cookie", "a=2")]),
            headers(&[("cookie", "a=1a=2")]),
            headers(&[("cookie", "a=1"), ("user-agent", "a=2")]),
        ];
        let keys: std::collections::HashSet<Key> = all
            .iter()
            .flat_map(|headers| ["private-a", "private-b"].map(|c| key(&viewer(headers), c)))
            .collect();
        assert_eq!(keys.len(), 2 * all.len());
        let again = headers(&[("cookie", "a=1")]);
        assert!(keys.contains(&key(&viewer(&again), "private-a")));
    }
}
