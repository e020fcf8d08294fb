//! What the nodes of all applications have in common.

use std::sync::Arc;
use std::time::Duration;

use crate::outbound::redis::connection::Options;

pub struct Settings {
    pub redis: Arc<Options>,
    /// What this host is called.
    pub node: String,
    pub stream_length: u64,
    pub lease: Duration,
    pub grace: Duration,
    /// How long viewers wait at the start.
    pub catch_up: Duration,
    /// Bytes.
    pub held_back: usize,
    /// Of a ring.
    pub slots: u64,
}
