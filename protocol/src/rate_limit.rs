//! A rate limit with bursts, in eight bytes of state: the time at which an even flow would have sent everything
//! that was allowed so far (the generic cell rate algorithm).

/// A bound of a rate. A rate of 0 allows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// How many a second in the long run.
    pub per_second: u32,
    /// How many at once; 0 counts as 1.
    pub burst: u32,
}

impl Bound {
    /// A rate with a burst of one second's worth.
    pub const fn per_second(per_second: u32) -> Self {
        Self {
            per_second,
            burst: per_second,
        }
    }
}

/// The state of one rate limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    /// When the even flow would send the next one, in microseconds.
    due: u64,
}

impl Rate {
    /// Whether it is as if nothing had ever been let through.
    pub fn is_fresh(&self, now: u64) -> bool {
        self.due <= now.saturating_mul(1000)
    }

    /// Whether one more is let through at `now`, in milliseconds of a clock that does not go back.
    pub fn take(&mut self, bound: Bound, now: u64) -> bool {
        if bound.per_second == 0 {
            return false;
        }
        let step = 1_000_000 / u64::from(bound.per_second);
        let now = now.saturating_mul(1000);
        let ahead = u64::from(bound.burst.max(1) - 1) * step;
        if self.due > now.saturating_add(ahead) {
            return false;
        }
        self.due = self.due.max(now).saturating_add(step);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let (mut rate, bound) = (Rate::default(), Bound::per_second(10));
        let taken = |rate: &mut Rate, now| (0..50).filter(|_| rate.take(bound, now)).count();
        assert_eq!(taken(&mut rate, 5_000), 10);
        assert_eq!(taken(&mut rate, 5_099), 0);
        assert_eq!(taken(&mut rate, 5_100), 1);
        assert_eq!(taken(&mut rate, 5_350), 2);
        assert_eq!(taken(&mut rate, 60_000), 10);
        assert!(!Rate::default().take(Bound::per_second(0), 1));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            per_second in 1u32..1000, burst in 1u32..50, gaps in prop::collection::vec(0u64..50, 1..300),
        ) {
            let bound = Bound { per_second, burst };
            let (mut rate, mut now, mut taken) = (Rate::default(), 0, 0);
            for gap in gaps {
                now += gap;
                taken += u64::from(rate.take(bound, now));
                // A step is a whole number of microseconds, so the rate may be slightly higher.
                let step = 1_000_000 / u64::from(per_second);
                prop_assert!(taken <= u64::from(burst) + now * 1000 / step);
            }
        }
    }
}
