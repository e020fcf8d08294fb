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
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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

/// Only lower case: one position has one text.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
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

        #[test]
        fn whatever_parses_is_canonical(text in "[0-9a-f]{11,13}-?[0-9]{0,20}") {
            if let Some(cursor) = Cursor::parse(text.as_bytes()) {
                prop_assert_eq!(cursor.to_string(), text);
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
