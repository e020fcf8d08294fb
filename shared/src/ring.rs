//! A ring: the words of a segment, cut into the parts that `layout` draws. Safe code from here on.
//!
//! A `Ring` is a view: it borrows the words and remembers the geometry that was validated once, so
//! that nothing read later from the (hostile) header decides an index.

use crate::layout::*;
use crate::prim::AtomicU64;
use crate::stamp::Stamp;

#[derive(Clone, Copy)]
pub struct Ring<'m> {
    header: &'m [AtomicU64],
    writers: &'m [AtomicU64],
    slots: &'m [AtomicU64],
    stamps: &'m [AtomicU64],
    cells: &'m [AtomicU64],
    geometry: Geometry,
    max_payload: u64,
}

impl<'m> Ring<'m> {
    /// # Panics
    /// If `words` is shorter than the geometry says; `segment` compares them before.
    #[inline]
    pub fn new(words: &'m [AtomicU64], geometry: Geometry, max_payload: u64) -> Self {
        let part = |from: usize, bytes: usize| &words[from / 8..(from + bytes) / 8];
        Self {
            header: part(0, HEADER_LEN),
            writers: part(
                geometry.writers_at(),
                geometry.writers() as usize * WRITER_WORDS * 8,
            ),
            slots: part(
                geometry.slots_at(),
                (geometry.slots() as usize) << geometry.slot_log2,
            ),
            stamps: part(geometry.stamps_at(), geometry.cells() as usize * 8),
            cells: part(geometry.cells_at(), geometry.arena_len() as usize),
            geometry,
            max_payload,
        }
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Largest payload a publisher may send, bytes.
    pub fn max_payload(&self) -> u64 {
        self.max_payload
    }

    /// A word of the header, by its index in `layout`.
    #[inline(always)]
    pub fn word(&self, index: usize) -> &'m AtomicU64 {
        &self.header[index]
    }

    #[inline(always)]
    pub fn tail(&self) -> &'m AtomicU64 {
        self.word(W_TAIL)
    }

    /// The writer table entry of `owner`; numbers over the table's end wrap, they can only be forged.
    #[inline(always)]
    pub fn writer(&self, owner: u16) -> &'m [AtomicU64] {
        let at = (owner as usize & (self.geometry.writers() as usize - 1)) * WRITER_WORDS;
        &self.writers[at..at + WRITER_WORDS]
    }

    /// The slot of a position.
    #[inline(always)]
    pub fn slot(&self, position: u64) -> &'m [AtomicU64] {
        let index = (position & (self.geometry.slots() - 1)) as usize;
        let words = self.geometry.slot_words();
        &self.slots[index * words..(index + 1) * words]
    }

    #[inline(always)]
    pub fn slot_lap(&self, position: u64) -> u64 {
        position >> self.geometry.slot_bits
    }

    #[inline(always)]
    pub fn cell_stamp(&self, cell: u64) -> &'m AtomicU64 {
        &self.stamps[(cell & (self.geometry.cells() - 1)) as usize]
    }

    #[inline(always)]
    pub fn cell_lap(&self, cell: u64) -> u64 {
        cell >> self.geometry.cell_bits
    }

    /// The arena's bytes, and the word at which `cell` begins.
    #[inline(always)]
    pub fn cells_from(&self, cell: u64) -> (&'m [AtomicU64], usize) {
        let index = (cell & (self.geometry.cells() - 1)) as usize;
        (self.cells, index << (self.geometry.cell_log2 - 3))
    }

    /// How many cells hold `len` bytes.
    #[inline(always)]
    pub fn cells_for(&self, len: usize) -> u64 {
        len.div_ceil(self.geometry.cell_len()) as u64
    }

    /// Every slot's and cell's stamp, for the reaper.
    pub fn all_stamps(&self) -> impl Iterator<Item = &'m AtomicU64> {
        self.slots
            .iter()
            .step_by(self.geometry.slot_words())
            .chain(self.stamps)
    }
}

/// Binds a body's checksum to the position and to the header words, so that an old body under a new
/// header, or a header moved to another slot, is not accepted. Multiplicative mixing is enough: it
/// guards against damage, not against forgery.
#[inline]
pub fn bind_checksum(body: u32, position: u64, len: u64, arena: u64, published: u64) -> u32 {
    const A: u64 = 0x9E37_79B9_7F4A_7C15;
    const B: u64 = 0xC2B2_AE3D_27D4_EB4F;
    let fixed = len.wrapping_mul(B) ^ arena.rotate_left(32) ^ published.wrapping_mul(A);
    let mixed = (fixed ^ u64::from(body) ^ position.wrapping_mul(B)).wrapping_mul(A);
    (mixed >> 32) as u32 ^ mixed as u32
}

/// The word at `W_LEN` of a slot, and back.
#[inline(always)]
pub fn pack_len(len: u32, head_len: u16, flags: u16) -> u64 {
    u64::from(len) | u64::from(head_len) << 32 | u64::from(flags) << 48
}

#[inline(always)]
pub fn unpack_len(word: u64) -> (u32, u16, u16) {
    (word as u32, (word >> 32) as u16, (word >> 48) as u16)
}

#[inline(always)]
pub fn stamp(word: &AtomicU64, order: crate::prim::Ordering) -> Stamp {
    Stamp(word.load(order))
}
