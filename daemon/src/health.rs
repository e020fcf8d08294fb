//! Whether every thread still goes round: each beats about once a second; and whether publishers can reach
//! each ring.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A thread that has not beaten for this long hangs. Far above any pause a busy machine makes.
const LATE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Beats {
    start: Instant,
    /// Milliseconds since the start. The tailers' first, then the workers'.
    last: Vec<AtomicU64>,
    tailers: usize,
    /// Each tailer's: why its ring cannot be replaced, although it must.
    troubles: Mutex<Vec<Option<String>>>,
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
            troubles: Mutex::new(vec![None; tailers]),
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

    /// Of tailer number `tailer`.
    pub fn set_trouble(&self, tailer: usize, why: Option<String>) {
        self.troubles()[tailer] = why;
    }

    /// Why askrd is not ready.
    pub fn unready(&self) -> Option<String> {
        if !self.ready.load(Relaxed) {
            return Some("not ready".to_owned());
        }
        let trouble = || self.troubles().iter().flatten().next().cloned();
        self.hanging().or_else(trouble)
    }

    fn troubles(&self) -> MutexGuard<'_, Vec<Option<String>>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
