//! Channels of one stream that catch up with its others.

use std::collections::HashMap;

/// Channels that begin at positions of their own, because they were added with a cursor or look back: the replay
/// begins at the first of these, while the stream's other channels are further already, or join in later.
#[derive(Debug, Default)]
pub struct CatchUp {
    /// Where the other channels go on.
    pub base: u64,
    /// Where each of these channels does, by its number.
    pub since: HashMap<u32, u64>,
}

impl CatchUp {
    fn since(&self, channel: u32) -> u64 {
        self.since.get(&channel).copied().unwrap_or(self.base)
    }

    /// Whether a channel takes part in the replay at `next`.
    pub fn takes(&self, channel: u32, next: u64) -> bool {
        self.since(channel) <= next
    }

    /// Where the next of them joins in; None once all have.
    pub fn joins(&self, next: u64) -> Option<u64> {
        let all = self.since.values().chain([&self.base]);
        all.copied().filter(|at| *at > next).min()
    }
}
