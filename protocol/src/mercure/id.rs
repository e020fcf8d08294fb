//! Ids of updates. One that the hub makes is `#` and the cursor; publishers cannot use that form. A client asks for what
//! came after an id, or, with `earliest`, for all that is held.

use std::fmt;

use shared::mercure::update::{EARLIEST, OWN_ID};

use crate::wire_cursor::{ClientCursor, WireCursor};

/// An id that the hub makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubId<'a>(pub WireCursor<'a>);

impl fmt::Display for HubId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OWN_ID}{}", self.0)
    }
}

/// What a subscriber has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Earliest,
    Cursor(ClientCursor),
    /// An id of a publisher's, or text that is none.
    Id(String),
}

impl After {
    pub fn parse(text: &str) -> Self {
        let cursor = text.strip_prefix(OWN_ID);
        match cursor.and_then(|cursor| ClientCursor::parse(cursor.as_bytes())) {
            Some(cursor) => Self::Cursor(cursor),
            None if text == EARLIEST => Self::Earliest,
            None => Self::Id(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::mercure::update;

    use super::*;
    use crate::testing::wire_cursor;

    #[test]
    fn the_hub_s_ids_are_cursors_and_no_publisher_s() {
        let id = HubId(wire_cursor(42)).to_string();
        for own in [&*id, "#x", "earliest"] {
            assert!(update::id(own).is_err(), "{own}");
        }
        for publishers in ["urn:uuid:1", "Earliest"] {
            assert_eq!(update::id(publishers), Ok(()));
        }
        let WireCursor::Cursor(cursor) = wire_cursor(42) else {
            unreachable!("of one host");
        };
        let own = After::Cursor(ClientCursor::Cursor(cursor));
        assert_eq!(After::parse(&id), own);
        assert!(matches!(
            After::parse("#~AAAAAAA"),
            After::Cursor(_) | After::Id(_)
        ));
        assert_eq!(After::parse("earliest"), After::Earliest);
        for other in ["", "#", "#x", &id[1..], "urn:uuid:1"] {
            assert_eq!(After::parse(other), After::Id(other.to_owned()));
        }
    }
}
