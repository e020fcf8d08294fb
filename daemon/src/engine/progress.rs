//! How far a worker has come with its application's ring.

use shared::cursor::{Cursor, Epoch};

#[derive(Debug)]
pub struct Progress {
    pub epoch: Epoch,
    /// Deliveries below have been dealt with.
    pub processed: u64,
    /// Live streams have been sent everything below.
    pub safe: u64,
}

impl Progress {
    pub fn new(epoch: Epoch, next: u64) -> Self {
        Self {
            epoch,
            processed: next,
            safe: next,
        }
    }

    pub fn cursor(&self, seq: u64) -> Cursor {
        Cursor {
            epoch: self.epoch,
            seq,
        }
    }

    /// Where a live stream is that gets deliveries from `from` on.
    pub fn live(&self, from: u64) -> u64 {
        self.safe.max(self.processed).max(from)
    }
}
