//! What is counted for every event: each worker has its own, on cache lines that no other core writes. They are
//! added up when somebody asks for the metrics.

use crossbeam_utils::CachePadded;

use crate::process::histogram::Histogram;
use crate::process::metrics::Counter;

/// One worker's, for one application.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// From a publish to the end of the writes of its event, for each event.
    pub latency: Histogram,
    /// How long it takes for the events of one wake, for each wake.
    pub turns: Histogram,
    /// Frames sent or queued to streams.
    pub delivered: Counter,
    /// Bytes written to streams.
    pub bytes: Counter,
    /// Events read from the ring again for a replay.
    pub replayed: Counter,
    /// Positions read one by one for a replay.
    pub scanned: Counter,
    /// Turns of replays: chunks that were sent.
    pub replay_turns: Counter,
    /// Streams that waited for their turn of a replay when it was looked last.
    pub replays_due: Counter,
}

/// Those of all workers, for one application.
#[derive(Debug)]
pub struct Workers(Box<[CachePadded<WorkerCounters>]>);

impl Workers {
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| CachePadded::default()).collect())
    }

    /// # Panics
    /// If there is no such worker.
    pub fn of(&self, worker: usize) -> &WorkerCounters {
        &self.0[worker]
    }

    /// What all of them have counted.
    pub fn sum(&self, of: impl Fn(&WorkerCounters) -> &Counter) -> u64 {
        self.0.iter().map(|worker| of(worker).get()).sum()
    }

    /// What all of them have observed.
    pub fn merged(&self, of: impl Fn(&WorkerCounters) -> &Histogram) -> Histogram {
        let all = Histogram::default();
        for worker in &self.0 {
            all.add(of(worker));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::exposition::{Exposition, Syntax};

    #[test]
    fn what_each_worker_counted_is_added_up() {
        let workers = Workers::new(3);
        for n in 0..3 {
            workers.of(n).bytes.add(10 + n as u64);
            workers.of(n).turns.observe(1_000_000 * n as u64);
        }
        assert_eq!(workers.sum(|worker| &worker.bytes), 33);
        assert_eq!(workers.sum(|worker| &worker.delivered), 0);
        let turns = workers.merged(|worker| &worker.turns);
        assert_eq!(turns.count(), 3);
        let mut out = Exposition::new(Syntax::Prometheus);
        turns.write_to(&mut out, "x", &[]);
        let text = out.finish();
        assert!(text.contains("\nx_bucket{le=\"0.001\"} 2\n"), "{text}");
        assert!(text.ends_with("\nx_sum 0.003\nx_count 3\n"), "{text}");
        assert_eq!(workers.merged(|worker| &worker.latency).count(), 0);
    }

    #[test]
    fn no_two_workers_share_a_cache_line() {
        let workers = Workers::new(2);
        let at = |n| std::ptr::from_ref(workers.of(n)) as usize;
        let end = at(0) + size_of::<WorkerCounters>();
        // 64 bytes are a line, and neighbours are fetched in pairs.
        assert!(at(0).is_multiple_of(128) && at(1).is_multiple_of(128) && end <= at(1));
    }
}
