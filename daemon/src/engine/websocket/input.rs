//! WebSockets with more to read, and the buffer for it.

use std::collections::VecDeque;

use crate::engine::lingering::Ending;
use crate::process::admission;

/// Bytes read at once.
const BYTES: usize = 16 << 10;

pub struct Input {
    /// WebSockets with more to read, each in turn.
    pub queue: VecDeque<u32>,
    /// What is read, of one WebSocket at a time.
    pub buffer: Vec<u8>,
    /// A connection that ended while its input was read.
    pub parting: Option<Ending<admission::Place>>,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            buffer: vec![0; BYTES],
            parting: None,
        }
    }
}
