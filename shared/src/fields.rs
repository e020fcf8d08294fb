//! Tagged fields, the form in which what is published grows: a tag, a length, bytes.
//!
//! ```text
//! tag u8 │ len u8, or u16 LE │ bytes       tag, bit 7: optional, who does not know it skips the field
//!                                          bit 6: the length is a u16       bits 0–5: number, never 0
//! ```

/// Of a tag: who does not know it skips the field.
pub const OPTIONAL: u8 = 0x80;
/// Of a tag: the length has 16 bits.
pub const WIDE: u8 = 0x40;

/// The field at the start of `bytes`, and what is behind it. None: it runs over the end.
pub fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (len, rest) = if tag & WIDE == 0 {
        let (&len, rest) = rest.split_first()?;
        (usize::from(len), rest)
    } else {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_le_bytes(*len)), rest)
    };
    let (field, rest) = rest.split_at_checked(len)?;
    Some((tag, field, rest))
}
