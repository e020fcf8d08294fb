//! What one wake writes, and the buffers for it.

use std::io;
use std::sync::Arc;

use nix::errno::Errno;
use shared::cursor::Cursor;
use shared::segment::now_ns;

use crate::config::Io;
use crate::engine::fanout::{Fanout, WriteBatch};
use crate::engine::transmit::Transmit;
use crate::process::worker_counters::WorkerCounters;

pub struct Output {
    pub fanout: Fanout,
    /// When the gathered events were published, in nanoseconds since 1970.
    pub published: Vec<u64>,
    /// Those of them that are traced, each with the channel.
    pub traced: Vec<(Arc<str>, Cursor)>,
    pub transmit: Transmit,
    /// Streams that are written to together, and how each write ended.
    pub writes: Vec<(u32, WriteBatch)>,
    pub results: Vec<Result<usize, Errno>>,
}

impl Output {
    /// # Errors
    /// If io_uring is required and not available.
    pub fn new(io: Io) -> io::Result<Self> {
        Ok(Self {
            fanout: Fanout::default(),
            published: Vec::new(),
            traced: Vec::new(),
            transmit: Transmit::new(io)?,
            writes: Vec::new(),
            results: Vec::new(),
        })
    }

    /// The gathered events have been written.
    pub fn observe_latency(&mut self, counters: &WorkerCounters) {
        if self.published.is_empty() {
            return;
        }
        let now = now_ns();
        for published in self.published.drain(..) {
            // The publisher's clock may be ahead, or wrong.
            counters.latency.observe(now.saturating_sub(published));
        }
    }
}
