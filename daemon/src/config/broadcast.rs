//! `[broadcast]`: how events are kept between the ring and the workers.

use protocol::rewind;
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
    /// The most events of one channel that a new subscription may look back at (`rewind=`), and their age in
    /// seconds; 0: any.
    pub rewind_events: u32,
    pub rewind_seconds: u32,
}

impl Broadcast {
    pub fn rewind(&self) -> rewind::Limits {
        rewind::Limits {
            events: self.rewind_events,
            seconds: self.rewind_seconds,
        }
    }
}

impl Default for Broadcast {
    fn default() -> Self {
        Self {
            enabled: true,
            index_entries: 0,
            index_channels: 100_000,
            queue: 16_384,
            queue_bytes: Size(16 << 20),
            rewind_events: rewind::Limits::default().events,
            rewind_seconds: rewind::Limits::default().seconds,
        }
    }
}
