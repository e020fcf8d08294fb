//! Memory for events, of the whole process: their bodies, each of their encoded forms, and what was copied
//! for one client. A byte counts from its allocation until its last holder drops it, and once, however many
//! hold it.
//!
//! Nothing is refused here, since live events are encoded whatever is held. The budget reports how much is held,
//! and holders give way:
//!
//! | held | who gives way |
//! |---|---|
//! | over half of the limit (`is_roomy` no longer) | caches: they keep nothing more and are emptied |
//! | over three quarters (`is_tight`) | slow streams, first those that hold most for longest; replays of clients for whom something waits |
//! | over the limit (`is_full`) | also frames that slow streams have begun, by ending them; inboxes; all replays |

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Buf, Bytes};
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::process::metrics::Counter;

#[derive(Debug)]
pub struct Budget {
    limit: AtomicU64,
    /// Every worker changes it for every event; `limit` beside it is only read.
    used: CachePadded<AtomicU64>,
    /// Bytes that wait for slow clients; shared bytes count for each of them.
    pub waiting: CachePadded<Counter>,
    /// Holders that can give way: they are woken when memory gets tight.
    holders: Mutex<Vec<Arc<Notify>>>,
}

impl Budget {
    pub fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: CachePadded::default(),
            waiting: CachePadded::default(),
            holders: Mutex::default(),
        }
    }

    /// The limit from now on; what is held over it gives way as ever.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Relaxed);
    }

    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// There is room to cache what may be requested again.
    pub fn is_roomy(&self) -> bool {
        self.used() <= self.limit() / 2
    }

    pub fn is_tight(&self) -> bool {
        self.used() > self.tight()
    }

    pub fn is_full(&self) -> bool {
        self.used() > self.limit()
    }

    /// Wakes `holder` whenever memory gets tight.
    pub fn wakes(&self, holder: Arc<Notify>) {
        let mut holders = self.holders.lock();
        holders.push(holder);
    }

    /// Counts `bytes` for as long as the charge lives.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.add(bytes);
        Charge {
            budget: self.clone(),
            bytes,
        }
    }

    /// Counts these bytes until the last holder of any of them drops it.
    pub fn hold(self: &Arc<Self>, bytes: Vec<u8>) -> Held {
        // What was allocated and is not used would not be counted.
        let bytes = bytes.into_boxed_slice();
        let charge = self.charge(bytes.len() + Held::OVERHEAD);
        Held(Bytes::from_owner(Owner {
            bytes,
            _charge: charge,
        }))
    }

    fn tight(&self) -> u64 {
        self.limit() / 4 * 3
    }

    fn add(&self, bytes: usize) {
        let before = self.used.fetch_add(bytes as u64, Relaxed);
        if before <= self.tight() && before + bytes as u64 > self.tight() {
            let holders = self.holders.lock();
            holders.iter().for_each(|holder| holder.notify_one());
        }
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Relaxed);
    }
}

/// Bytes counted, given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Counts so many from now on.
    pub fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.budget.add(more),
            None => self.budget.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// Bytes that the budget counts, or a part of them. A clone costs nothing and counts nothing.
#[derive(Debug, Clone, Default)]
pub struct Held(Bytes);

struct Owner {
    bytes: Box<[u8]>,
    _charge: Charge,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// What a frame costs beside its bytes: two allocations and what counts its holders.
    pub const OVERHEAD: usize = 96;

    /// Drops its first `count` bytes, which stay counted until the rest is dropped.
    pub fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }

    /// What follows its first `at` bytes.
    pub fn after(&self, at: usize) -> Self {
        Self(self.0.slice(at..))
    }
}

impl From<Held> for Bytes {
    fn from(held: Held) -> Self {
        held.0
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_count_once_until_the_last_holder_lets_go() {
        let budget = Arc::new(Budget::new(1000));
        let mut room = Vec::with_capacity(4096);
        room.extend_from_slice(&[7; 300]);
        let whole = budget.hold(room);
        let counted = (300 + Held::OVERHEAD) as u64;
        assert_eq!(budget.used(), counted);
        let holders: Vec<Held> = (0..100).map(|_| whole.clone()).collect();
        let mut rest = whole.after(100);
        rest.advance(150);
        assert_eq!((&*rest, budget.used()), (&[7; 50][..], counted));
        drop((holders, whole));
        assert_eq!(budget.used(), counted, "a part of it is held");
        drop(rest);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_has_changed_its_size_is_given_back_as_it_is() {
        let budget = Arc::new(Budget::new(1000));
        let mut charge = budget.charge(10);
        charge.set(400);
        assert_eq!(budget.used(), 400);
        charge.set(7);
        assert_eq!(budget.used(), 7);
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn it_says_who_is_to_give_way_and_wakes_them() {
        let budget = Arc::new(Budget::new(1000));
        let holder = Arc::new(Notify::new());
        budget.wakes(holder.clone());
        let woken = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    biased;
                    () = holder.notified() => true,
                    () = std::future::ready(()) => false,
                }
            })
        };
        let is = || (budget.is_roomy(), budget.is_tight(), budget.is_full());
        let mut charge = budget.charge(500);
        assert_eq!(is(), (true, false, false));
        charge.set(750);
        assert_eq!((is(), woken()), ((false, false, false), false));
        charge.set(751);
        assert_eq!((is(), woken()), ((false, true, false), true));
        charge.set(1001);
        assert_eq!((is(), woken()), ((false, true, true), false));
        charge.set(0);
        assert_eq!(is(), (true, false, false));
        charge.set(800);
        assert!(woken());
    }
}
