//! Whether every thread still goes round: each beats about once a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A thread that has not beaten for this long hangs. Far above any pause a busy machine makes.
const LATE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Beats {
    start: Instant,
    /// Milliseconds since the start. The tailers' first, then the workers'.
    last: Vec<AtomicU64>,
    tailers: usize,
    /// The history has been read and requests are accepted.
    ready: AtomicBool,
}

impl Beats {
    pub fn new(tailers: usize, workers: usize) -> Self {
        let last = (0..tailers + workers).map(|_| AtomicU64::new(0));
        Self {
            start: Instant::now(),
            last: last.collect(),
            tailers,
            ready: AtomicBool::new(false),
        }
    }

    /// Of tailer number `thread`, or of worker number `thread - tailers`.
    pub fn beat(&self, thread: usize) {
        self.last[thread].store(self.start.elapsed().as_millis() as u64, Relaxed);
    }

    /// The first thread that hangs.
    pub fn hanging(&self) -> Option<String> {
        let now = self.start.elapsed();
        let late =
            |last: &AtomicU64| now.saturating_sub(Duration::from_millis(last.load(Relaxed))) > LATE;
        self.last.iter().position(late).map(|thread| match thread {
            n if n < self.tailers => "a thread that reads a ring hangs".to_owned(),
            n => format!("worker {} hangs", n - self.tailers),
        })
    }

    pub fn worker(&self, number: usize) {
        self.beat(self.tailers + number);
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Relaxed) && self.hanging().is_none()
    }
}
