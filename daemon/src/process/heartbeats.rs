//! Liveness and readiness: whether every thread's loop still runs (each beats about once a second), and whether
//! publishers can reach each ring. (`parts.rs` deals with a thread that has died.)

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A thread that has not beaten for this long hangs. Far above any pause a busy machine makes.
const LATE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Heartbeats {
    start: Instant,
    threads: Mutex<Vec<(String, Beat)>>,
    /// The history has been read and requests are accepted.
    ready: AtomicBool,
}

/// One thread's heartbeat.
#[derive(Debug, Clone)]
pub struct Beat {
    start: Instant,
    /// Milliseconds since the start.
    last: Arc<AtomicU64>,
    /// Why it cannot do its work although its loop runs.
    trouble: Arc<Mutex<Option<String>>>,
}

impl Beat {
    fn since(start: Instant) -> Self {
        let beat = Self {
            start,
            last: Arc::default(),
            trouble: Arc::default(),
        };
        beat.beat();
        beat
    }

    #[cfg(test)]
    pub fn unwatched() -> Self {
        Self::since(Instant::now())
    }

    /// Why it cannot do its work; None once it can again.
    pub fn set_trouble(&self, why: Option<String>) {
        *self.trouble.lock() = why;
    }

    fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.clone()
    }

    pub fn beat(&self) {
        let now = self.start.elapsed().as_millis() as u64;
        self.last.store(now, Relaxed);
    }
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            threads: Mutex::default(),
            ready: AtomicBool::new(false),
        }
    }
}

impl Heartbeats {
    /// The heartbeat of a thread that starts now. `name` is reported when it hangs.
    pub fn of(&self, name: String) -> Beat {
        let beat = Beat::since(self.start);
        let mut threads = self.threads.lock();
        threads.push((name, beat.clone()));
        beat
    }

    /// The first thread that hangs.
    pub fn hanging(&self) -> Option<String> {
        let now = self.start.elapsed();
        let threads = self.threads.lock();
        let late = |(_, beat): &&(String, Beat)| {
            now.saturating_sub(Duration::from_millis(beat.last.load(Relaxed))) > LATE
        };
        let found = threads.iter().find(late);
        found.map(|(name, _)| format!("{name} hangs"))
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Relaxed);
    }

    /// Why askrd is not ready.
    pub fn unready(&self) -> Option<String> {
        if !self.ready.load(Relaxed) {
            return Some("not ready".to_owned());
        }
        let trouble = || {
            let threads = self.threads.lock();
            threads.iter().find_map(|(_, beat)| beat.trouble())
        };
        self.hanging().or_else(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_beat_hangs_and_is_named() {
        let mut heartbeats = Heartbeats::default();
        let (one, other) = (heartbeats.of("one".into()), heartbeats.of("other".into()));
        assert_eq!(heartbeats.hanging(), None);
        let past = 1000 + LATE.as_millis() as u64;
        for beat in [&one, &other] {
            beat.last.store(past, Relaxed);
        }
        heartbeats.start -= 2 * LATE + Duration::from_secs(2);
        one.last.store(u64::MAX, Relaxed);
        assert_eq!(heartbeats.hanging().as_deref(), Some("other hangs"));
        other.last.store(u64::MAX, Relaxed);
        assert_eq!(heartbeats.hanging(), None);
    }
}
