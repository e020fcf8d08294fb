//! A cursor as clients see it: "I have everything up to here". On one host it is a place in that host's ring, across
//! hosts a vector of such places. A client never looks into it.

use std::fmt;

use shared::cursor::Cursor;
use shared::vector::Vector;

/// A cursor that is sent. Where an application is on several hosts, the text of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireCursor<'a> {
    Cursor(Cursor),
    Vector(&'a str),
}

impl From<Cursor> for WireCursor<'_> {
    fn from(cursor: Cursor) -> Self {
        Self::Cursor(cursor)
    }
}

impl fmt::Display for WireCursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cursor(cursor) => cursor.fmt(f),
            Self::Vector(text) => f.write_str(text),
        }
    }
}

/// A cursor that a client came with. Both kinds are understood everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCursor {
    Cursor(Cursor),
    Vector(Vector),
}

impl ClientCursor {
    /// What a client is told that came with something else.
    pub const FORM: &str =
        "must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url";

    /// None unless `text` is exactly what was sent.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match text.first()? {
            b'~' => Vector::parse(text).map(Self::Vector),
            _ => Cursor::parse(text).map(Self::Cursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::vector::OriginId;

    use super::*;
    use crate::testing::cursor;

    #[test]
    fn both_kinds_come_back_as_they_were_sent() {
        let text = WireCursor::from(cursor(7)).to_string();
        assert_eq!(text, "0a0b0c0d0e0f-7");
        let back = ClientCursor::parse(text.as_bytes());
        assert_eq!(back, Some(ClientCursor::Cursor(cursor(7))));
        let vector: Vector = [(OriginId([1; 5]), 7)].into_iter().collect();
        let text = vector.to_string();
        assert_eq!(WireCursor::Vector(&text).to_string(), text);
        let back = ClientCursor::parse(text.as_bytes());
        assert_eq!(back, Some(ClientCursor::Vector(vector)));
        for wrong in ["", "~", "x", "~x", "0a0b0c0d0e0f-07"] {
            assert_eq!(ClientCursor::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
