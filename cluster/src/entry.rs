//! One entry of the log: everything that one ring, its *origin*, has to say of a range of its positions.
//!
//! ```text
//!  0  version u8 = 1                    an entry of another version is refused
//!  1  kind u8                           1 event   2 nothing   3 lost
//!  2  epoch [u8; 6]                     the origin
//!  8  start u64 LE                      the position before the origin's first event ever; the same in all its entries
//! 16  previous u64 LE                   start ≤ previous < position < 2^63
//! 24  position u64 LE                   the entry says everything of the positions in (previous, position]
//! 32  flags u16, head_len u16, published_ns u64 (LE)     of an event, as in its ring; else 0
//! 44  fields (see `fields`), none yet; a 0
//!     an event's head and data, as in its ring; else nothing
//! ```
//!
//! * `event`: the only event in there is the one at `position`.
//! * `nothing`: there is no event in there, or none any more.
//! * `lost`: what was in there can no longer be had.
//!
//! What an entry says stays true, so that it may be said twice, in other pieces, and be read at any time. A kind or a
//! required field that this version does not know, or an event that it cannot read, is one that is lost here
//! ([`Body::Unreadable`]), so that what comes after it can be had.

use bytes::Bytes;
use shared::cursor::{Cursor, Epoch};
use shared::event::{self, Event};
use shared::vector::OriginId;

use crate::fields::{Fields, required};

const VERSION: u8 = 1;
const HEADER: usize = 44;

const EVENT: u8 = 1;
const NOTHING: u8 = 2;
const LOST: u8 = 3;

/// Bytes of the longest entry. A larger event is not relayed: it is lost to others.
pub const MAX_LEN: usize = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub epoch: Epoch,
    /// The position before the origin's first event ever.
    pub start: u64,
    /// The entry says everything of (previous, position].
    pub previous: u64,
    pub position: u64,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The only event in there is this one, at `position`.
    Event(Event),
    /// There is no event in there, or none any more.
    Nothing,
    /// What was in there can no longer be had.
    Lost,
    /// There is something that this askrd cannot read. Never written.
    Unreadable(event::DecodeError),
}

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("an entry of the log is shorter than its header, or longer than {MAX_LEN} bytes")]
    Length,
    #[error("an entry of the log has version {0}; this askrd reads version {VERSION}")]
    Version(u8),
    #[error("an entry of the log has positions that do not go together")]
    Positions,
    #[error("an entry of the log does not have the form of tagged fields")]
    Fields,
    #[error("an entry of the log that is no event has an event's bytes")]
    Body,
}

impl Entry {
    pub fn origin(&self) -> OriginId {
        self.epoch.into()
    }

    pub fn at(&self) -> Cursor {
        Cursor {
            epoch: self.epoch,
            seq: self.position,
        }
    }

    /// Bytes that it takes in the log, and about as many in memory.
    pub fn size(&self) -> usize {
        match &self.body {
            Body::Event(event) => HEADER + 1 + event.size(),
            _ => HEADER + 1,
        }
    }

    /// Appends its bytes to `out`. What is unreadable is written as lost.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.size());
        let event = match &self.body {
            Body::Event(event) => Some(event),
            _ => None,
        };
        let kind = match self.body {
            Body::Event(_) => EVENT,
            Body::Nothing => NOTHING,
            Body::Lost | Body::Unreadable(_) => LOST,
        };
        out.extend([VERSION, kind]);
        out.extend(self.epoch.0);
        for position in [self.start, self.previous, self.position] {
            out.extend(position.to_le_bytes());
        }
        out.extend(event.map_or(0, Event::flags).to_le_bytes());
        out.extend(event.map_or(0, Event::head_len).to_le_bytes());
        out.extend(event.map_or(0, Event::published_ns).to_le_bytes());
        out.push(0);
        out.extend_from_slice(event.map_or(&[], |event| event.body()));
    }

    /// Takes an entry's bytes and checks everything. No copy: an event shares `bytes`.
    ///
    /// # Errors
    /// If `bytes` are not an entry. If they are one that this version cannot read, that is no error: it is `Unreadable`.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_LEN {
            return Err(DecodeError::Length);
        }
        match bytes.first() {
            None => return Err(DecodeError::Length),
            Some(&VERSION) => {}
            Some(&other) => return Err(DecodeError::Version(other)),
        }
        let (header, rest) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or(DecodeError::Length)?;
        let number = |at| u64::from_le_bytes(std::array::from_fn(|n| header[at + n]));
        let short = |at| u16::from_le_bytes([header[at], header[at + 1]]);
        let (start, previous, position) = (number(8), number(16), number(24));
        if start > previous || previous >= position || position >= Cursor::END {
            return Err(DecodeError::Positions);
        }
        let mut fields = Fields::new(rest);
        let unsupported = fields.by_ref().any(|(tag, _)| required(tag));
        fields.by_ref().for_each(drop);
        let body = fields.end().ok_or(DecodeError::Fields)?;
        let (flags, head_len, published_ns) = (short(32), short(34), number(36));
        let kind = header[1];
        if matches!(kind, NOTHING | LOST)
            && (flags, head_len, published_ns, body.len()) != (0, 0, 0, 0)
        {
            return Err(DecodeError::Body);
        }
        let body = match kind {
            _ if unsupported => Body::Unreadable(event::DecodeError::Unsupported),
            EVENT => read_event(bytes.slice_ref(body), head_len, flags, published_ns),
            NOTHING => Body::Nothing,
            LOST => Body::Lost,
            _ => Body::Unreadable(event::DecodeError::Unsupported),
        };
        Ok(Self {
            epoch: Epoch(std::array::from_fn(|n| header[2 + n])),
            start,
            previous,
            position,
            body,
        })
    }
}

/// What an origin relays was published there, so it does not say that it is from elsewhere.
fn read_event(body: Bytes, head_len: u16, flags: u16, published_ns: u64) -> Body {
    match Event::decode(body, head_len, flags, published_ns) {
        Ok(event) if event.imported().is_some() => {
            Body::Unreadable(event::DecodeError::Unsupported)
        }
        Ok(event) => Body::Event(event),
        Err(why) => Body::Unreadable(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::event::EventRef;

    pub fn event(channel: &str, data: &str) -> Event {
        let source = EventRef {
            channels: &[channel.as_bytes()],
            data: data.as_bytes(),
            ..EventRef::default()
        };
        source.to_event(17).unwrap()
    }

    fn bytes(entry: &Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        bytes
    }

    fn decode(bytes: Vec<u8>) -> Result<Entry, DecodeError> {
        Entry::decode(&Bytes::from(bytes))
    }

    fn lost() -> Entry {
        Entry {
            epoch: Epoch([1, 2, 3, 4, 5, 6]),
            start: 7,
            previous: 8,
            position: 9,
            body: Body::Lost,
        }
    }

    fn of_event() -> Entry {
        Entry {
            body: Body::Event(event("orders", "{}")),
            ..lost()
        }
    }

    proptest! {
        #[test]
        fn every_entry_round_trips(
            epoch: [u8; 6],
            positions in prop::array::uniform3(0..Cursor::END - 1),
            channel in "[a-z]{1,20}",
            data: String,
            kind in 0..3u8,
        ) {
            let mut positions = positions;
            positions.sort_unstable();
            let [start, previous, position] = positions;
            let body = match kind {
                0 => Body::Event(event(&channel, &data)),
                1 => Body::Nothing,
                _ => Body::Lost,
            };
            let entry = Entry { epoch: Epoch(epoch), start, previous, position: position + 1, body };
            let bytes = bytes(&entry);
            prop_assert_eq!(bytes.len(), entry.size());
            prop_assert_eq!(decode(bytes), Ok(entry));
        }

        /// Whole entries of which some bytes are others, so that they get past the first checks.
        #[test]
        fn what_is_decoded_has_positions_that_go_together(
            changes in prop::collection::vec((0..80usize, any::<u8>()), 0..4),
            cut in 0..80usize,
        ) {
            let mut bytes = bytes(&of_event());
            for (at, byte) in changes {
                let len = bytes.len();
                bytes[at % len] = byte;
            }
            bytes.truncate(bytes.len().max(cut));
            if let Ok(entry) = decode(bytes) {
                prop_assert!(entry.start <= entry.previous && entry.previous < entry.position);
                prop_assert!(entry.position < Cursor::END);
            }
        }
    }

    #[test]
    fn a_later_version_may_add_what_can_be_skipped() {
        let mut optional = bytes(&of_event());
        optional.splice(HEADER..HEADER, [0x8f, 2, 7, 7]);
        assert_eq!(decode(optional), Ok(of_event()));
    }

    /// Its place is known, so that what comes after it can be had.
    #[test]
    fn what_this_version_cannot_read_is_lost_alone() {
        let unreadable = |bytes| match decode(bytes) {
            Ok(Entry {
                previous: 8,
                position: 9,
                body: Body::Unreadable(why),
                ..
            }) => why,
            other => panic!("{other:?}"),
        };
        let unsupported = event::DecodeError::Unsupported;
        let mut required = bytes(&of_event());
        required.splice(HEADER..HEADER, [0x0f, 1, 7]);
        assert_eq!(unreadable(required), unsupported, "a required field");
        let mut kind = bytes(&lost());
        kind[1] = 9;
        assert_eq!(unreadable(kind), unsupported, "another kind");
        let mut flags = bytes(&of_event());
        flags[33] = 2;
        assert_eq!(unreadable(flags), unsupported, "an event's required flag");
        let mut data = bytes(&of_event());
        *data.last_mut().unwrap() = 0xff;
        assert_eq!(unreadable(data), event::DecodeError::Data);
    }

    #[test]
    fn an_event_that_says_that_it_is_from_elsewhere_is_not_its_origins() {
        let source = EventRef {
            channels: &[b"a"],
            imported: Some(lost().at()),
            ..EventRef::default()
        };
        let event = source.to_event(0).unwrap();
        let entry = Entry {
            body: Body::Event(event),
            ..lost()
        };
        assert!(matches!(
            decode(bytes(&entry)).unwrap().body,
            Body::Unreadable(_)
        ));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        assert_eq!(decode(vec![]), Err(DecodeError::Length));
        assert_eq!(decode(vec![1; HEADER - 1]), Err(DecodeError::Length));
        assert_eq!(decode(vec![2]), Err(DecodeError::Version(2)));
        assert_eq!(decode(vec![0; MAX_LEN + 1]), Err(DecodeError::Length));
        let refused = |entry: Entry| decode(bytes(&entry)).unwrap_err();
        let position = Cursor::END;
        for positions in [
            Entry { start: 9, ..lost() },
            Entry {
                previous: 9,
                ..lost()
            },
            Entry { position, ..lost() },
        ] {
            assert_eq!(refused(positions), DecodeError::Positions);
        }
        let with = |at: usize, byte| {
            let mut bytes = bytes(&lost());
            bytes[at] = byte;
            decode(bytes).unwrap_err()
        };
        assert_eq!(with(HEADER, 0x81), DecodeError::Fields);
        assert_eq!(with(32, 1), DecodeError::Body);
        let mut longer = bytes(&lost());
        longer.push(b'x');
        assert_eq!(decode(longer), Err(DecodeError::Body));
    }
}
