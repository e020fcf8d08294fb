//! Where durations fall: counters over fixed bounds, for the rare reader and the frequent writer.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::process::exposition::Exposition;

/// Upper bounds in microseconds; a last bucket takes the rest.
const BOUNDS: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000, 5_000_000,
];

#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_ns: AtomicU64,
}

/// How many durations are in each bucket.
#[derive(Debug, Clone, Copy)]
pub struct Counts([u64; BOUNDS.len() + 1]);

impl Counts {
    /// Those that came since.
    pub fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|n| {
            self.0[n].saturating_sub(before.0[n])
        }))
    }

    /// The upper bound in microseconds of the bucket with this quantile: infinite in the last one, -1 if there are none.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let all: u64 = self.0.iter().sum();
        let mut below = 0;
        for (n, count) in self.0.iter().enumerate() {
            below += count;
            if all > 0 && below as f64 >= all as f64 * share {
                // JSON has no infinity.
                return BOUNDS.get(n).map_or(1e9, |bound| *bound as f64);
            }
        }
        -1.0
    }
}

impl Histogram {
    pub fn observe(&self, ns: u64) {
        let bucket = BOUNDS.partition_point(|bound| bound * 1_000 < ns);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// Counts what `other` has counted as well.
    pub fn add(&self, other: &Self) {
        for (bucket, more) in self.buckets.iter().zip(&other.buckets) {
            bucket.fetch_add(more.load(Relaxed), Relaxed);
        }
        self.sum_ns.fetch_add(other.sum_ns.load(Relaxed), Relaxed);
    }

    /// How many durations were observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    pub fn counts(&self) -> Counts {
        Counts(std::array::from_fn(|n| self.buckets[n].load(Relaxed)))
    }

    /// Its samples, in seconds.
    pub fn write_to(&self, out: &mut Exposition, name: &str, labels: &[(&str, &str)]) {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(&self.buckets).map(|(bound, bucket)| {
            below += bucket.load(Relaxed);
            (*bound as f64 / 1e6, below)
        });
        let buckets: Vec<_> = buckets.collect();
        let all = below + self.buckets[BOUNDS.len()].load(Relaxed);
        let sum = self.sum_ns.load(Relaxed) as f64 / 1e9;
        out.histogram(name, labels, buckets.into_iter(), sum, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::exposition::Syntax;

    #[test]
    fn quantiles_are_upper_bounds_of_what_came_since() {
        let histogram = Histogram::default();
        assert_eq!(histogram.counts().quantile_us(0.5), -1.0);
        (0..99).for_each(|_| histogram.observe(10_000));
        let before = histogram.counts();
        histogram.observe(20_000);
        histogram.observe(6_000_000_000);
        let since = histogram.counts().since(&before);
        assert_eq!(
            (since.quantile_us(0.5), since.quantile_us(0.9)),
            (25.0, 1e9)
        );
        assert_eq!(histogram.counts().quantile_us(0.5), 10.0);
    }

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_all_above() {
        let histogram = Histogram::default();
        for ns in [10_000, 10_001, 7_000_000_000] {
            histogram.observe(ns);
        }
        let mut out = Exposition::new(Syntax::Prometheus);
        histogram.write_to(&mut out, "x", &[]);
        let text = out.finish();
        let line = |le: &str| format!("x_bucket{{le=\"{le}\"}} ");
        assert!(text.contains(&(line("0.00001") + "1\n")), "{text}");
        assert!(text.contains(&(line("0.000025") + "2\n")), "{text}");
        assert!(text.contains(&(line("5") + "2\n")), "{text}");
        assert!(text.contains(&(line("+Inf") + "3\n")), "{text}");
        assert!(text.ends_with("x_sum 7.000020001\nx_count 3\n"), "{text}");
    }
}
