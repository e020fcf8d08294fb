//! The cursor a browser holds: `epoch-sequence`, "I have everything up to here".
//!
//! ```text
//! 3f9a1c22d07e-32768
//! └─ 12 hex ─┘ └ position, decimal, no leading zero
//! ```
//!
//! The epoch is the first six bytes of the ring's random epoch: enough that a stale browser of a
//! former ring is recognised (a collision needs 2^48 rings), and short, because every event bears it.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub [u8; 6]);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        write!(f, "{number:012x}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub epoch: Epoch,
    pub seq: u64,
}

impl Cursor {
    /// The longest text a cursor can have: 12 + 1 + 19.
    pub const MAX_LEN: usize = 32;
    /// No position is as large as this.
    pub const END: u64 = 1 << 63;

    /// None unless `text` is exactly what `Display` writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > Self::MAX_LEN || text.len() < 14 || text[12] != b'-' {
            return None;
        }
        let mut epoch = [0; 6];
        for (byte, pair) in epoch.iter_mut().zip(text[..12].chunks_exact(2)) {
            *byte = hex(pair[0])? << 4 | hex(pair[1])?;
        }
        let digits = &text[13..];
        if !digits.iter().all(u8::is_ascii_digit) || (digits[0] == b'0' && digits.len() > 1) {
            return None;
        }
        let seq = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
        (seq < Self::END).then_some(Self {
            epoch: Epoch(epoch),
            seq,
        })
    }
}

/// The text of one cursor after another: what is the same in most of them, the epoch, is made once.
#[derive(Clone, Copy)]
pub struct CursorText {
    epoch: Epoch,
    text: [u8; Cursor::MAX_LEN],
}

impl CursorText {
    pub const fn new() -> Self {
        Self {
            epoch: Epoch([0; 6]),
            text: *b"000000000000-0000000000000000000",
        }
    }

    /// ASCII: 12 hexadecimal digits, a dash, a number.
    #[inline]
    pub fn of(&mut self, cursor: Cursor) -> &[u8] {
        if self.epoch != cursor.epoch {
            self.epoch = cursor.epoch;
            for (two, byte) in self.text.chunks_exact_mut(2).zip(cursor.epoch.0) {
                two.copy_from_slice(&HEX[usize::from(byte)]);
            }
        }
        // Positions stay below `END`, whose digits fit.
        let mut rest = cursor.seq.min(Cursor::END - 1);
        let end = 14 + rest.checked_ilog10().unwrap_or(0) as usize;
        let mut at = end;
        while rest >= 10 {
            at -= 2;
            self.text[at..at + 2].copy_from_slice(&DECIMAL[(rest % 100) as usize]);
            rest /= 100;
        }
        if at > 13 {
            self.text[13] = b'0' + rest as u8;
        }
        &self.text[..end]
    }
}

impl Default for CursorText {
    fn default() -> Self {
        Self::new()
    }
}

/// Two digits at a time.
const HEX: [[u8; 2]; 256] = pairs(16);
const DECIMAL: [[u8; 2]; 100] = pairs(10);

const fn pairs<const N: usize>(base: usize) -> [[u8; 2]; N] {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; N];
    let mut n = 0;
    while n < N {
        pairs[n] = [digits[n / base], digits[n % base]];
        n += 1;
    }
    pairs
}

/// Only lower case: one position has one text.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Each event and each stream bears it: written in one piece. There is no position from `Cursor::END` on.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = CursorText::new();
        f.write_str(str::from_utf8(text.of(*self)).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes()).ok_or("must be 12 hexadecimal digits, a dash, and a number")
    }
}

/// Whether a publisher's own id would be taken for a cursor on resume: 12 hexadecimal digits of
/// either case, a dash, digits. Wider than `parse`, so that the border is easy to state.
pub fn looks_like_cursor(id: &[u8]) -> bool {
    id.len() >= 14
        && id[..12].iter().all(u8::is_ascii_hexdigit)
        && id[12] == b'-'
        && id[13..].iter().all(u8::is_ascii_digit)
}

/// The form that is kept free for cursors across hosts: a tilde, then 8 or more characters of base64url. None has
/// a dot, a space or another tilde, so publishers' own ids hardly ever meet it.
pub fn looks_like_cluster_cursor(id: &[u8]) -> bool {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    matches!(id, [b'~', rest @ ..] if rest.len() >= 8 && rest.iter().all(base64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_cursor_round_trips(epoch: [u8; 6], seq in 0..1u64 << 63) {
            let cursor = Cursor { epoch: Epoch(epoch), seq };
            let text = cursor.to_string();
            prop_assert!(text.len() <= Cursor::MAX_LEN);
            prop_assert_eq!(Cursor::parse(text.as_bytes()), Some(cursor));
            prop_assert!(looks_like_cursor(text.as_bytes()));
        }

        /// Of several epochs in turns, positions short and long.
        #[test]
        fn a_text_is_the_epoch_a_dash_and_the_number(
            cursors in prop::collection::vec((any::<[u8; 6]>(), 0..63u32, any::<u64>()), 1..20)
        ) {
            let mut text = CursorText::new();
            for (epoch, bits, seq) in cursors {
                let cursor = Cursor { epoch: Epoch(epoch), seq: seq & ((1 << bits) - 1) };
                for cursor in [cursor, Cursor { seq: 0, ..cursor }] {
                    let expected = format!("{}-{}", cursor.epoch, cursor.seq);
                    prop_assert_eq!(text.of(cursor), expected.as_bytes());
                    prop_assert_eq!(cursor.to_string(), expected);
                }
            }
        }
    }

    #[test]
    fn other_texts_are_not_cursors() {
        for text in [
            "",
            "-",
            "0123456789ab-",
            "0123456789AB-1",
            "0123456789ab-01",
            "order-17",
        ] {
            assert_eq!(Cursor::parse(text.as_bytes()), None, "{text}");
        }
        assert!(!looks_like_cursor(b"order-17"));
    }
}
