//! Random spreads: clients that were disconnected at the same moment must not come back at the same moment.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// Not for secrets.
#[derive(Debug)]
pub struct Jitter(Cell<u64>);

impl Default for Jitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Jitter {
    pub fn new() -> Self {
        Self(Cell::new(RandomState::new().hash_one(0)))
    }

    /// Uniform in `least..=most`.
    pub fn between(&self, least: u32, most: u32) -> u32 {
        // splitmix64 (Steele, Lea, Flood 2014).
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        least + (z % u64::from(most.saturating_sub(least).saturating_add(1))) as u32
    }

    /// `retry` milliseconds, a quarter up or down.
    pub fn around(&self, retry: u32) -> u32 {
        self.between(retry - retry / 4, retry.saturating_add(retry / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_spread_over_the_whole_range_and_not_beyond() {
        let jitter = Jitter::new();
        let seen: std::collections::BTreeSet<u32> =
            (0..1000).map(|_| jitter.between(5, 9)).collect();
        assert!(seen.into_iter().eq(5..=9));
        assert!((0..1000).all(|_| (1500..=2500).contains(&jitter.around(2000))));
        assert_eq!(jitter.around(1), 1);
        assert!(jitter.between(u32::MAX, u32::MAX) == u32::MAX);
    }
}
