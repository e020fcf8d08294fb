//! How far askrd has come with other hosts, in the segment's header, so that `askr_cursor()` knows it without asking.
//!
//! ```text
//! 0x0228  sequence: odd while askrd writes, 0: the application is on one host
//! 0x0300  how many │ 0x0308 scanned: what follows holds for everything before this position
//! 0x0310  this host's last event before that │ 0x0320 … origin (its five bytes), position
//! ```
//!
//! A sequence lock: one writer, the tailer, and readers that look again. Publishers may write there too, so whatever is
//! read is checked, and what makes no sense is as if there were nothing: then a cursor is of this host alone.

use crate::cursor::Cursor;
use crate::layout::*;
use crate::prim::Ordering::*;
use crate::prim::fence;
use crate::ring::Ring;
use crate::vector::{OriginId, Vector};

/// Looks at most: askrd may have been killed in the middle.
const LOOKS: u32 = 64;

/// Writes what askrd has of all hosts, `vector`, this one's own among them, for everything before `scanned`.
pub fn publish(ring: Ring<'_>, own: OriginId, vector: &Vector, scanned: u64) {
    let word = |n: usize| ring.word(W_VECTOR + n);
    let sequence = ring.word(W_VECTOR_SEQUENCE);
    // Also after a writer that was killed in the middle.
    let began = sequence.load(Relaxed) | 1;
    sequence.store(began, Relaxed);
    fence(Release);
    let mut count = 0;
    for (origin, position) in vector.iter().filter(|(origin, _)| *origin != own) {
        word(4 + 2 * count).store(number(origin), Relaxed);
        word(5 + 2 * count).store(position, Relaxed);
        count += 1;
    }
    word(0).store(count as u64, Relaxed);
    word(1).store(scanned, Relaxed);
    word(2).store(vector.get(own).unwrap_or(0), Relaxed);
    // Never 0 again: that is one host.
    sequence.store(began.checked_add(1).unwrap_or(2), Release);
}

/// The application is on one host.
pub fn clear(ring: Ring<'_>) {
    ring.word(W_VECTOR_SEQUENCE).store(0, Release);
}

/// The cursor of all hosts for who has everything of this one up to `cursor`. None on one host.
pub fn read(ring: Ring<'_>, cursor: Cursor) -> Option<Vector> {
    let sequence = ring.word(W_VECTOR_SEQUENCE);
    if sequence.load(Relaxed) == 0 {
        return None;
    }
    for _ in 0..LOOKS {
        let began = sequence.load(Acquire);
        if began & 1 == 0 {
            let vector = look(ring, cursor);
            fence(Acquire);
            if sequence.load(Relaxed) == began {
                return vector;
            }
        }
        std::hint::spin_loop();
    }
    None
}

/// May be torn.
fn look(ring: Ring<'_>, cursor: Cursor) -> Option<Vector> {
    let word = |n: usize| ring.word(W_VECTOR + n).load(Relaxed);
    let own = OriginId::from(cursor.epoch);
    let count = usize::try_from(word(0)).ok()?;
    let (scanned, last) = (word(1), word(2));
    if count >= Vector::MAX_ORIGINS {
        return None;
    }
    // Behind the last event there are only other hosts': other hosts would wait for the place itself.
    let position = match cursor.seq + 1 == scanned {
        true => last.min(cursor.seq),
        false => cursor.seq,
    };
    let mut vector = Vector::default();
    let mut is_whole = vector.set(own, position);
    for n in 0..count {
        let (origin, position) = (origin(word(4 + 2 * n))?, word(5 + 2 * n));
        is_whole &= vector.get(origin).is_none() && position < Cursor::END;
        is_whole &= vector.set(origin, position);
    }
    is_whole.then_some(vector)
}

fn number(origin: OriginId) -> u64 {
    let [a, b, c, d, e] = origin.0;
    u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
}

fn origin(number: u64) -> Option<OriginId> {
    match number.to_le_bytes() {
        [a, b, c, d, e, 0, 0, 0] => Some(OriginId([a, b, c, d, e])),
        _ => None,
    }
}
