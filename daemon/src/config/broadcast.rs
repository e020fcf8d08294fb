//! `[broadcast]`: how events are kept between the ring and the workers.

use serde::{Deserialize, Serialize};

use super::units::Size;

/// How events are kept between the ring and the workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Broadcast {
    /// Whether `askrd serve` serves at all.
    pub enabled: bool,
    /// Positions the index remembers, also of overwritten events, so that gaps are exact.
    /// 0: four for each slot.
    pub index_entries: usize,
    /// Channels the index remembers.
    pub index_channels: usize,
    /// Events kept for a worker that is behind, and their bytes; past that its streams read them from the
    /// ring. One event always fits.
    pub queue: usize,
    pub queue_bytes: Size,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self {
            enabled: true,
            index_entries: 0,
            index_channels: 100_000,
            queue: 16_384,
            queue_bytes: Size(16 << 20),
        }
    }
}
