//! The cursor of a place in the ring, as it is sent: on one host that place itself, across hosts its vector's text.

use protocol::wire_cursor::WireCursor;
use shared::cursor::Cursor;
use shared::vector::Vector;

use crate::hub::origins::Origins;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentCursor {
    Cursor(Cursor),
    Vector(Box<str>),
}

impl From<&Vector> for SentCursor {
    fn from(vector: &Vector) -> Self {
        Self::Vector(vector.to_string().into())
    }
}

impl SentCursor {
    /// `origins`: None on one host. A place that they do not remember is sent as on one host, and is understood here.
    pub fn at(cursor: Cursor, origins: Option<&Origins>) -> Self {
        Self::with(cursor, origins, None)
    }

    /// For who has what `held` says already.
    pub fn with(cursor: Cursor, origins: Option<&Origins>, held: Option<&Vector>) -> Self {
        let vector = origins.and_then(|origins| origins.vector_at(cursor.seq));
        let Some(mut vector) = vector else {
            return Self::Cursor(cursor);
        };
        #[cfg(test)]
        let held = held.filter(|_| !ONLY_OF_THE_PLACE.get());
        if let Some(held) = held {
            vector.merge(held);
        }
        Self::from(&vector)
    }

    pub fn wire(&self) -> WireCursor<'_> {
        match self {
            Self::Cursor(cursor) => WireCursor::Cursor(*cursor),
            Self::Vector(text) => WireCursor::Vector(text),
        }
    }

    /// Bytes beside it.
    pub fn size(&self) -> usize {
        match self {
            Self::Cursor(_) => 0,
            Self::Vector(text) => text.len(),
        }
    }
}

#[cfg(test)]
thread_local! {
    static ONLY_OF_THE_PLACE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs something that is wrong then: all are sent the cursor of the place, whatever they have already.
#[cfg(test)]
pub fn only_of_the_place<T>(run: impl FnOnce() -> T) -> T {
    ONLY_OF_THE_PLACE.set(true);
    let ran = run();
    ONLY_OF_THE_PLACE.set(false);
    ran
}
