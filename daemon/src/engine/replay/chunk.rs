//! One turn's frames of a replay, and where the stream is after each of them.

use crate::engine::replay::state::Replay;
use crate::process::budget::Held;

/// Bytes after which a turn ends. More than a socket takes at once as a rule.
const TURN_BYTES: usize = 64 << 10;

/// Bytes of room that are kept for the next chunk.
pub const KEPT: usize = 4 * TURN_BYTES;

/// Frames that are written at once: small ones together, and at most one large one behind them, whose bytes are
/// shared with the other streams that are sent it.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    large: Held,
    /// Where frames end, and where the stream is once that much was written.
    marks: Vec<(usize, Replay)>,
}

/// What is left of a chunk that a socket did not take whole.
#[derive(Debug)]
pub struct Remainder {
    /// What is left of the frame that was written in part.
    pub rest: Rest,
    /// Where the stream is once that is written too.
    pub after: Replay,
}

#[derive(Debug)]
pub enum Rest {
    /// No frame was written in part.
    None,
    Copied(Vec<u8>),
    Shared(Held),
}

impl Chunk {
    /// Begins a chunk with `bytes`, after which the stream is at `replay`.
    pub fn begin(&mut self, bytes: Vec<u8>, replay: Replay) {
        match bytes.is_empty() && self.bytes.capacity() <= KEPT {
            true => self.bytes.clear(),
            false => self.bytes = bytes,
        }
        self.large = Held::default();
        self.marks.clear();
        self.mark(replay);
    }

    /// Appends a small frame that is this stream's alone.
    pub fn append(&mut self, frame: &[u8]) {
        debug_assert!(self.large.is_empty());
        self.bytes.extend_from_slice(frame);
    }

    pub fn size(&self) -> usize {
        self.bytes.len() + self.large.len()
    }

    /// The bytes, in the order in which they are to be written.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.bytes, &self.large]
    }

    pub fn is_full(&self) -> bool {
        self.size() >= TURN_BYTES
    }

    /// The next frame. Nothing follows a large one: `is_full`.
    pub fn push(&mut self, frame: Held) {
        debug_assert!(self.large.is_empty());
        match frame.len() < TURN_BYTES {
            true => self.bytes.extend_from_slice(&frame),
            false => self.large = frame,
        }
    }

    /// Where the stream is after what there is so far.
    pub fn mark(&mut self, replay: Replay) {
        match self.marks.last_mut() {
            Some((end, state)) if *end == self.bytes.len() + self.large.len() => *state = replay,
            _ => self.marks.push((self.size(), replay)),
        }
    }

    /// What is left after `written` bytes, which are fewer than all.
    pub fn remainder(&self, written: usize) -> Remainder {
        let at = self.marks.partition_point(|(end, _)| *end <= written);
        let before = at.checked_sub(1).map(|at| self.marks[at]);
        if let Some((_, after)) = before.filter(|(end, _)| *end == written) {
            let rest = Rest::None;
            return Remainder { rest, after };
        }
        let (end, after) = self.marks[at];
        let rest = match written.checked_sub(self.bytes.len()) {
            Some(part) => Rest::Shared(self.large.after(part)),
            None => Rest::Copied(self.bytes[written..end].to_vec()),
        };
        Remainder { rest, after }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::outbox::ReplayPosition;
    use crate::process::budget::Budget;

    fn replay(next: u64) -> Replay {
        Replay::new(ReplayPosition::start(next), 100)
    }

    #[test]
    fn only_a_frame_written_in_part_is_left_of_a_chunk() {
        let budget = Arc::new(Budget::new(1 << 30));
        let mut chunk = Chunk::default();
        chunk.begin(vec![b'o'; 10], replay(1));
        chunk.push(budget.hold(vec![b'a'; 5]));
        chunk.mark(replay(2));
        let large = budget.hold(vec![b'b'; TURN_BYTES]);
        chunk.push(large.clone());
        chunk.mark(replay(3));
        assert!(chunk.is_full() && chunk.size() == 15 + TURN_BYTES);
        let remainder = |written| {
            let remainder = chunk.remainder(written);
            let rest = match remainder.rest {
                Rest::None => (false, Vec::new()),
                Rest::Copied(bytes) => (false, bytes),
                Rest::Shared(held) => (true, held.to_vec()),
            };
            (rest, remainder.after.next)
        };
        assert_eq!(remainder(0), ((false, vec![b'o'; 10]), 1), "the opening");
        assert_eq!(remainder(10), ((false, vec![]), 1), "between two frames");
        assert_eq!(remainder(12), ((false, vec![b'a'; 3]), 2));
        assert_eq!(remainder(15), ((false, vec![]), 2));
        let rest = vec![b'b'; TURN_BYTES - 1];
        assert_eq!(remainder(16), ((true, rest), 3), "shared, not copied");
        let used = budget.used();
        drop(large);
        assert_eq!(budget.used(), used);
        chunk.begin(Vec::new(), replay(7));
        assert_eq!((budget.used(), chunk.size()), (0, 0));
    }
}
