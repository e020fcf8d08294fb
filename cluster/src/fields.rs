//! Tagged fields, the form in which later versions add something. The same form as of events in the ring
//! (`shared::fields`): who does not know a tag that is not optional takes the whole for unsupported.
//!
//! Fields come in the order of their tags; no tag comes twice.

use shared::fields;
pub use shared::fields::{OPTIONAL, WIDE};

/// The fields at the start of `bytes`, up to a zero or the end. Check `end` when there are no more.
pub struct Fields<'a> {
    rest: &'a [u8],
    last: u8,
    broken: bool,
}

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            last: 0,
            broken: false,
        }
    }

    /// What is behind the zero that ends the fields. None: they do not have their form.
    pub fn end(self) -> Option<&'a [u8]> {
        match self.rest {
            [0, behind @ ..] if !self.broken => Some(behind),
            _ => None,
        }
    }

    fn take(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, bytes, rest) = fields::split(self.rest)?;
        self.rest = rest;
        let ascends = tag & !(OPTIONAL | WIDE) != 0 && tag > self.last;
        self.last = tag;
        ascends.then_some((tag, bytes))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.rest.first() == Some(&0) {
            return None;
        }
        let field = self.take();
        self.broken = field.is_none();
        field
    }
}

/// Whether a version that does not know `tag` has to give up on the whole.
pub fn required(tag: u8) -> bool {
    tag & OPTIONAL == 0
}

/// Appends a field. What is longer than its length can say is left out.
pub fn put(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    let Ok(len) = u16::try_from(bytes.len()) else {
        return;
    };
    let [low, high] = len.to_le_bytes();
    match tag & WIDE == 0 {
        true if high != 0 => return,
        true => out.extend([tag, low]),
        false => out.extend([tag, low, high]),
    }
    out.extend_from_slice(bytes);
}
