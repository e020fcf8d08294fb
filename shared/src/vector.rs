//! A cursor across hosts: how far a viewer has come with each host's ring.
//!
//! ```text
//! ~ base64url( origin[5] position … )      origins ascending; positions LEB128, shortest form
//! ```
//!
//! An *origin* is one host's ring, named by the first five bytes of its epoch, so that no one has to give out numbers. A
//! vector says "I have everything of these origins up to these positions". 3 hosts take about 40 bytes, 16 about 200.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cursor::{Cursor, Epoch, hex};

/// One host's ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginId(pub [u8; 5]);

impl OriginId {
    /// None unless `text` is exactly what `Display` writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; 10] = text.try_into().ok()?;
        let mut origin = [0; 5];
        for (byte, pair) in origin.iter_mut().zip(text.chunks_exact(2)) {
            *byte = hex(pair[0])? << 4 | hex(pair[1])?;
        }
        Some(Self(origin))
    }
}

impl From<Epoch> for OriginId {
    fn from(epoch: Epoch) -> Self {
        let [a, b, c, d, e, _] = epoch.0;
        Self([a, b, c, d, e])
    }
}

impl fmt::Display for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Origins with their positions, each origin once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vector {
    /// Ascending.
    parts: Vec<(OriginId, u64)>,
}

impl Vector {
    /// The most origins a vector can have.
    pub const MAX_ORIGINS: usize = 64;
    /// The longest text: each origin with a position of nine bytes.
    pub const MAX_LEN: usize = 1 + (Self::MAX_ORIGINS * 14 * 4).div_ceil(3);

    pub fn get(&self, origin: OriginId) -> Option<u64> {
        let at = self.place(origin).ok()?;
        Some(self.parts[at].1)
    }

    /// Sets an origin's position. False, and nothing is changed, if it would be one origin too many.
    #[must_use]
    pub fn set(&mut self, origin: OriginId, position: u64) -> bool {
        match self.place(origin) {
            Ok(at) => self.parts[at].1 = position,
            Err(_) if self.parts.len() >= Self::MAX_ORIGINS => return false,
            Err(at) => self.parts.insert(at, (origin, position)),
        }
        true
    }

    pub fn remove(&mut self, origin: OriginId) {
        if let Ok(at) = self.place(origin) {
            self.parts.remove(at);
        }
    }

    fn place(&self, origin: OriginId) -> Result<usize, usize> {
        self.parts.binary_search_by_key(&origin, |part| part.0)
    }

    /// Ascending by origin.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (OriginId, u64)> + '_ {
        self.parts.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.parts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether who has this has all that `other` says, origins that are not in `self` included.
    pub fn covers(&self, other: &Self) -> bool {
        let has = |&(origin, position): &(OriginId, u64)| {
            self.get(origin).is_some_and(|mine| mine >= position)
        };
        other.parts.iter().all(has)
    }

    /// Raises each position to that of `other`. What has no room is left out, which errs on the side of having less.
    pub fn merge(&mut self, other: &Self) {
        for &(origin, position) in &other.parts {
            let mine = self.get(origin);
            if mine.is_none_or(|mine| mine < position) {
                let _ = self.set(origin, position);
            }
        }
    }

    /// What both have.
    pub fn least(&self, other: &Self) -> Self {
        let both = |&(origin, position): &(OriginId, u64)| {
            let other = other.get(origin)?;
            Some((origin, position.min(other)))
        };
        let parts = self.parts.iter().filter_map(both).collect();
        Self { parts }
    }

    /// None unless `text` is exactly what `Display` writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (b'~', encoded) = text.split_first()? else {
            return None;
        };
        if text.len() > Self::MAX_LEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let mut rest = bytes.as_slice();
        let mut parts: Vec<(OriginId, u64)> = Vec::new();
        while let Some((origin, behind)) = rest.split_first_chunk::<5>() {
            let origin = OriginId(*origin);
            let (position, behind) = take_varint(behind)?;
            let ascends = parts.last().is_none_or(|last| last.0 < origin);
            if !ascends || position >= Cursor::END || parts.len() >= Self::MAX_ORIGINS {
                return None;
            }
            parts.push((origin, position));
            rest = behind;
        }
        (rest.is_empty() && !parts.is_empty()).then_some(Self { parts })
    }
}

impl FromIterator<(OriginId, u64)> for Vector {
    /// What comes after the 64th origin is left out.
    fn from_iter<T: IntoIterator<Item = (OriginId, u64)>>(parts: T) -> Self {
        let mut vector = Self::default();
        for (origin, position) in parts {
            let _ = vector.set(origin, position);
        }
        vector
    }
}

/// Empty for an empty vector.
impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.parts.len() * 10);
        for (origin, position) in &self.parts {
            bytes.extend_from_slice(&origin.0);
            put_varint(&mut bytes, *position);
        }
        write!(f, "~{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// LEB128: seven bits a byte, the low ones first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number in its shortest form, and what is behind it.
pub fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (n, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if n == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * n);
        if byte & 0x80 == 0 {
            return (*byte != 0 || n == 0).then_some((value, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vectors() -> impl Strategy<Value = Vector> {
        let part = (any::<[u8; 5]>(), 0..63u32, any::<u64>());
        prop::collection::vec(part, 1..70).prop_map(|parts| {
            let parts = parts.into_iter();
            parts
                .map(|(origin, bits, position)| (OriginId(origin), position & ((1 << bits) - 1)))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn every_origin_round_trips(id: [u8; 5]) {
            let text = OriginId(id).to_string();
            prop_assert_eq!(OriginId::parse(text.as_bytes()), Some(OriginId(id)));
            prop_assert_eq!(OriginId::parse(&text.as_bytes()[1..]), None);
        }

        #[test]
        fn every_vector_round_trips(vector in vectors()) {
            let text = vector.to_string();
            prop_assert!(text.len() <= Vector::MAX_LEN);
            prop_assert_eq!(Vector::parse(text.as_bytes()), Some(vector));
            prop_assert!(crate::cursor::looks_like_cluster_cursor(text.as_bytes()));
        }

        /// Whatever is accepted is what would be written.
        #[test]
        fn one_vector_has_one_text(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let text = format!("~{}", URL_SAFE_NO_PAD.encode(bytes));
            if let Some(vector) = Vector::parse(text.as_bytes()) {
                prop_assert_eq!(vector.to_string(), text);
            }
        }

        #[test]
        fn a_merged_vector_covers_both(mut a in vectors(), b in vectors()) {
            let first = a.clone();
            a.merge(&b);
            prop_assert!(a.covers(&first));
            if a.len() < Vector::MAX_ORIGINS {
                prop_assert!(a.covers(&b));
            }
        }

        #[test]
        fn numbers_round_trip(value: u64, behind: Vec<u8>) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(take_varint(&bytes), Some((value, behind.as_slice())));
        }
    }

    /// The lengths that are promised, with positions as they are after 30 billion events.
    #[test]
    fn texts_are_short() {
        let text = |hosts: u8| {
            let part = |n| (OriginId([n, 1, 2, 3, 4]), (1u64 << 35) - 1);
            (0..hosts).map(part).collect::<Vector>().to_string()
        };
        assert!(text(3).len() <= 60, "{}", text(3).len());
        assert!(text(16).len() <= 220, "{}", text(16).len());
    }

    #[test]
    fn what_is_not_there_is_not_covered() {
        let (a, b) = (OriginId([1; 5]), OriginId([2; 5]));
        let one: Vector = [(a, 7)].into_iter().collect();
        let two: Vector = [(a, 7), (b, 0)].into_iter().collect();
        assert!(two.covers(&one) && !one.covers(&two));
        assert!(!one.covers(&[(a, 8)].into_iter().collect()));
        assert_eq!(Vector::default().to_string(), "");
        assert_eq!(Vector::parse(b"~"), None);
    }
}
