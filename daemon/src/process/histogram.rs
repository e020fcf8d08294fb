//! Where durations fall: counters over fixed bounds, for the rare reader and the frequent writer.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

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

    /// Appends it in the Prometheus text format, in seconds.
    pub fn write_to(&self, out: &mut String, name: &str, help: &str) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut below = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            below += bucket.load(Relaxed);
            let bound = *bound as f64 / 1e6;
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        below += self.buckets[BOUNDS.len()].load(Relaxed);
        let sum = self.sum_ns.load(Relaxed) as f64 / 1e9;
        let _ = writeln!(
            out,
            "{name}_bucket{{le=\"+Inf\"}} {below}\n{name}_sum {sum}\n{name}_count {below}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_all_above() {
        let histogram = Histogram::default();
        for ns in [10_000, 10_001, 7_000_000_000] {
            histogram.observe(ns);
        }
        let mut text = String::new();
        histogram.write_to(&mut text, "x", "Help.");
        let line = |le: &str| format!("\nx_bucket{{le=\"{le}\"}} ");
        assert!(text.starts_with("# HELP x Help.\n# TYPE x histogram\n"));
        assert!(text.contains(&(line("0.00001") + "1\n")), "{text}");
        assert!(text.contains(&(line("0.000025") + "2\n")), "{text}");
        assert!(text.contains(&(line("5") + "2\n")), "{text}");
        assert!(text.contains(&(line("+Inf") + "3\n")), "{text}");
        assert!(text.ends_with("x_sum 7.000020001\nx_count 3\n"), "{text}");
    }
}
