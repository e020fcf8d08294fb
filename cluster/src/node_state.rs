//! What a node says of itself for all others to read, over and over: one value for each origin, the last one counts.
//!
//! ```text
//!  0  version u8 = 1
//!  1  epoch [u8; 6]                     the origin
//!  7  beat, start, last, through u64 LE
//! 39  fields (see `fields`), a 0, nothing more
//!     0x81 name            UTF-8, 1 to 255 bytes
//!     0x82 askrd           its version, ASCII, 1 to 64 bytes
//!     0xc3 have            a vector's text: how far this node has come with other origins
//!     0xc4 wants           a vector's text: after which positions it asks their origins to send again
//! ```
//!
//! An empty name, version or vector is left out. Everything but the header is optional, and what a version does not know
//! it skips, so that nodes of several versions go together; a required field is for what would harm who does not know it.

use shared::cursor::{Cursor, Epoch};
use shared::vector::{OriginId, Vector};

use crate::fields::{Fields, OPTIONAL, WIDE, put, required};

const VERSION: u8 = 1;
const HEADER: usize = 39;

const NAME: u8 = OPTIONAL | 1;
const ASKRD: u8 = OPTIONAL | 2;
const HAVE: u8 = OPTIONAL | WIDE | 3;
const WANTS: u8 = OPTIONAL | WIDE | 4;

/// Bytes of the longest state that is read: later versions may say more than this one.
pub const MAX_LEN: usize = 64 << 10;
/// Bytes of the longest name.
pub const MAX_NAME: usize = 255;
/// Bytes of the longest version.
pub const MAX_ASKRD: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    pub epoch: Epoch,
    /// The host's name, for people.
    pub name: String,
    /// The version of its askrd, for people.
    pub askrd: String,
    /// Another number each time it is written.
    pub beat: u64,
    /// The position before the origin's first event ever.
    pub start: u64,
    /// The last position that was relayed.
    pub last: u64,
    /// There is nothing of this origin after `last` up to there; `last` if nothing is known.
    pub through: u64,
    /// How far this node has come with the others' events.
    pub have: Vector,
    /// After which positions it asks their origins to send again.
    pub wants: Vector,
}

/// Why bytes are not a node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a node's state is shorter than its header, or longer than {MAX_LEN} bytes")]
    Length,
    #[error("a node's state has version {0}; this askrd reads version {VERSION}")]
    Version(u8),
    #[error("a node's state has positions that do not go together")]
    Positions,
    #[error("a node's state does not have the form of tagged fields")]
    Fields,
    #[error("a node's name or version is empty, or has characters that are not allowed")]
    Name,
    #[error("a node's state has a vector that is none")]
    Vector,
    #[error("a node's state needs a newer askrd")]
    Unsupported,
}

impl NodeState {
    pub fn origin(&self) -> OriginId {
        self.epoch.into()
    }

    /// A name or version that is too long is cut.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.push(VERSION);
        out.extend(self.epoch.0);
        for number in [self.beat, self.start, self.last, self.through] {
            out.extend(number.to_le_bytes());
        }
        let name = &self.name[..self.name.floor_char_boundary(MAX_NAME)];
        let askrd = &self.askrd[..self.askrd.floor_char_boundary(MAX_ASKRD)];
        let (have, wants) = (self.have.to_string(), self.wants.to_string());
        let fields = [(NAME, name), (ASKRD, askrd), (HAVE, &have), (WANTS, &wants)];
        for (tag, text) in fields {
            if !text.is_empty() {
                put(&mut out, tag, text.as_bytes());
            }
        }
        out.push(0);
        out
    }

    /// # Errors
    /// If `bytes` are not what some version's `encode` makes, or if it takes a newer version to read them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
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
        let mut state = Self {
            epoch: Epoch(std::array::from_fn(|n| header[1 + n])),
            name: String::new(),
            askrd: String::new(),
            beat: number(7),
            start: number(15),
            last: number(23),
            through: number(31),
            have: Vector::default(),
            wants: Vector::default(),
        };
        let positions = [state.start, state.last, state.through];
        if !positions.is_sorted() || state.through >= Cursor::END {
            return Err(DecodeError::Positions);
        }
        let mut fields = Fields::new(rest);
        let mut unsupported = false;
        for (tag, bytes) in fields.by_ref() {
            match tag {
                NAME => state.name = text(bytes, MAX_NAME)?,
                ASKRD => state.askrd = text(bytes, MAX_ASKRD)?,
                HAVE => state.have = vector(bytes)?,
                WANTS => state.wants = vector(bytes)?,
                _ => unsupported |= required(tag),
            }
        }
        match fields.end() {
            Some([]) if unsupported => Err(DecodeError::Unsupported),
            Some([]) => Ok(state),
            _ => Err(DecodeError::Fields),
        }
    }
}

/// Goes into logs and onto terminals, so without control characters.
fn text(bytes: &[u8], most: usize) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Name)?;
    let fits = (1..=most).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or(DecodeError::Name)
}

fn vector(bytes: &[u8]) -> Result<Vector, DecodeError> {
    Vector::parse(bytes).ok_or(DecodeError::Vector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vectors() -> impl Strategy<Value = Vector> {
        let part = (any::<[u8; 5]>().prop_map(OriginId), 0..Cursor::END);
        prop::collection::vec(part, 0..=64).prop_map(|parts| parts.into_iter().collect())
    }

    fn state() -> NodeState {
        NodeState {
            epoch: Epoch([1, 2, 3, 4, 5, 6]),
            name: "web-1".into(),
            askrd: "0.1.0".into(),
            beat: 4,
            start: 5,
            last: 6,
            through: 7,
            have: [(OriginId([1; 5]), 8)].into_iter().collect(),
            wants: Vector::default(),
        }
    }

    proptest! {
        #[test]
        fn every_state_round_trips(
            epoch: [u8; 6],
            name in "[a-zé.-]{0,100}",
            beat: u64,
            positions in prop::array::uniform3(0..Cursor::END),
            have in vectors(),
            wants in vectors(),
        ) {
            let mut positions = positions;
            positions.sort_unstable();
            let [start, last, through] = positions;
            let epoch = Epoch(epoch);
            let state = NodeState { epoch, name, beat, start, last, through, have, wants, ..state() };
            let bytes = state.encode();
            prop_assert!(bytes.len() <= MAX_LEN);
            prop_assert_eq!(NodeState::decode(&bytes), Ok(state));
        }

        /// Whole states of which some bytes are others.
        #[test]
        fn what_is_decoded_is_encoded_alike(
            changes in prop::collection::vec((0..90usize, any::<u8>()), 0..4),
        ) {
            let mut bytes = state().encode();
            for (at, byte) in changes {
                let len = bytes.len();
                bytes[at % len] = byte;
            }
            if let Ok(state) = NodeState::decode(&bytes) {
                prop_assert_eq!(NodeState::decode(&state.encode()), Ok(state));
            }
        }
    }

    #[test]
    fn a_later_version_may_add_what_can_be_skipped() {
        let with = |field: &[u8]| {
            let mut bytes = state().encode();
            let end = bytes.len() - 1;
            bytes.splice(end..end, field.iter().copied());
            NodeState::decode(&bytes)
        };
        assert_eq!(with(&[0xdf, 2, 0, 7, 7]), Ok(state()));
        assert_eq!(
            with(&[0xc3, 0, 0]),
            Err(DecodeError::Fields),
            "out of order"
        );
        let mut first = state().encode();
        first.splice(HEADER..HEADER, [0x01, 0]);
        assert_eq!(NodeState::decode(&first), Err(DecodeError::Unsupported));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let decode = NodeState::decode;
        assert_eq!(decode(&[]), Err(DecodeError::Length));
        assert_eq!(decode(&[1; HEADER - 1]), Err(DecodeError::Length));
        assert_eq!(decode(&[7; HEADER]), Err(DecodeError::Version(7)));
        assert_eq!(decode(&vec![1; MAX_LEN + 1]), Err(DecodeError::Length));
        let refused = |state: NodeState| NodeState::decode(&state.encode()).unwrap_err();
        let (start, through) = (7, Cursor::END);
        assert_eq!(
            refused(NodeState { start, ..state() }),
            DecodeError::Positions
        );
        assert_eq!(
            refused(NodeState { through, ..state() }),
            DecodeError::Positions
        );
        let name = "a\nb".into();
        assert_eq!(refused(NodeState { name, ..state() }), DecodeError::Name);
        let mut longer = state().encode();
        longer.push(0);
        assert_eq!(decode(&longer), Err(DecodeError::Fields));
        let mut vector = state().encode();
        let at = vector.len() - 2;
        vector[at] = b'!';
        assert_eq!(decode(&vector), Err(DecodeError::Vector));
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_between_characters() {
        let name = "é".repeat(200);
        let long = NodeState { name, ..state() };
        let read = NodeState::decode(&long.encode()).unwrap();
        assert_eq!(read.name, "é".repeat(127));
    }
}
