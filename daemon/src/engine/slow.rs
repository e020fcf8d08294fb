//! Which streams are slow, and since when that matters.

use std::collections::HashSet;
use std::time::Instant;

#[derive(Debug, Default)]
pub struct Slow {
    /// Streams with an outbox.
    pub blocked: HashSet<u32>,
    /// Since when memory for events has been tight, whatever was given back here.
    pub tight_since: Option<Instant>,
}
