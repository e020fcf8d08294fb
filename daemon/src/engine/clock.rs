//! The engine's time, counted from its start.

use std::time::Instant;

#[derive(Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Whole seconds, from far enough above zero that a stream may count as older than the engine.
    pub fn seconds(&self) -> u32 {
        (1 << 30) + self.started.elapsed().as_secs() as u32
    }

    /// Milliseconds, from far enough above zero that nothing is due at once.
    pub fn millis(&self) -> u64 {
        1000 + self.started.elapsed().as_millis() as u64
    }
}
