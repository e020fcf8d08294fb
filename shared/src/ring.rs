//! A ring: the words of a segment, cut into the parts that `layout` draws. Safe code from here on.
//!
//! A `Ring` is a view: it borrows the words and the shape that was validated once, so that nothing read
//! later from the (hostile) header decides an index.

use crate::layout::*;
use crate::prim::AtomicU64;
use crate::stamp::Stamp;

#[derive(Clone, Copy)]
pub struct Ring<'m> {
    words: &'m [AtomicU64],
    shape: &'m Shape,
}

/// A validated geometry with everything worked out that a publish needs, offsets in words, and the limit on
/// payloads.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    geometry: Geometry,
    max_payload: u64,
    max_position: u64,
    max_cell: u64,
    hard_max_body: u64,
    inline_len: usize,
    slot_mask: u64,
    slot_words: usize,
    cell_mask: u64,
    arena_words: usize,
    writer_mask: usize,
    writers: usize,
    slots: usize,
    stamps: usize,
    cells: usize,
    total: usize,
}

impl Shape {
    pub fn new(geometry: Geometry, max_payload: u64) -> Self {
        Self {
            geometry,
            max_payload,
            max_position: geometry.max_position(),
            max_cell: geometry.max_cell(),
            hard_max_body: geometry.hard_max_body(),
            inline_len: geometry.inline_len(),
            slot_mask: geometry.slots() - 1,
            slot_words: geometry.slot_words(),
            cell_mask: geometry.cells() - 1,
            arena_words: geometry.arena_len() as usize / 8,
            writer_mask: geometry.writers() as usize - 1,
            writers: geometry.writers_at() / 8,
            slots: geometry.slots_at() / 8,
            stamps: geometry.stamps_at() / 8,
            cells: geometry.cells_at() / 8,
            total: geometry.total_len() / 8,
        }
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub fn max_payload(&self) -> u64 {
        self.max_payload
    }
}

impl<'m> Ring<'m> {
    /// # Panics
    /// If `words` is shorter than the geometry says; `segment` compares them before.
    #[inline(always)]
    pub fn new(words: &'m [AtomicU64], shape: &'m Shape) -> Self {
        assert!(words.len() >= shape.total);
        Self { words, shape }
    }

    #[inline(always)]
    pub fn geometry(&self) -> &'m Geometry {
        &self.shape.geometry
    }

    /// Largest payload a publisher may send, bytes.
    #[inline(always)]
    pub fn max_payload(&self) -> u64 {
        self.shape.max_payload
    }

    /// See `Geometry::max_position`.
    #[inline(always)]
    pub fn max_position(&self) -> u64 {
        self.shape.max_position
    }

    /// See `Geometry::max_cell`.
    #[inline(always)]
    pub fn max_cell(&self) -> u64 {
        self.shape.max_cell
    }

    /// See `Geometry::hard_max_body`.
    #[inline(always)]
    pub fn hard_max_body(&self) -> u64 {
        self.shape.hard_max_body
    }

    /// See `Geometry::inline_len`.
    #[inline(always)]
    pub fn inline_len(&self) -> usize {
        self.shape.inline_len
    }

    /// A word of the header, by its index in `layout`.
    #[inline(always)]
    pub fn word(&self, index: usize) -> &'m AtomicU64 {
        &self.words[index]
    }

    #[inline(always)]
    pub fn tail(&self) -> &'m AtomicU64 {
        self.word(W_TAIL)
    }

    /// The writer table entry of `owner`; numbers over the table's end wrap, they can only be forged.
    #[inline(always)]
    pub fn writer(&self, owner: u16) -> &'m [AtomicU64] {
        let index = owner as usize & self.shape.writer_mask;
        &self.words[self.shape.writers + index * WRITER_WORDS..][..WRITER_WORDS]
    }

    /// The slot of a position.
    #[inline(always)]
    pub fn slot(&self, position: u64) -> &'m [AtomicU64] {
        let index = (position & self.shape.slot_mask) as usize;
        let words = self.shape.slot_words;
        &self.words[self.shape.slots + index * words..][..words]
    }

    #[inline(always)]
    pub fn slot_lap(&self, position: u64) -> u64 {
        position >> self.geometry().slot_bits
    }

    #[inline(always)]
    pub fn cell_stamp(&self, cell: u64) -> &'m AtomicU64 {
        &self.words[self.shape.stamps + (cell & self.shape.cell_mask) as usize]
    }

    #[inline(always)]
    pub fn cell_lap(&self, cell: u64) -> u64 {
        cell >> self.geometry().cell_bits
    }

    /// The arena's bytes, and the word at which `cell` begins.
    #[inline(always)]
    pub fn cells_from(&self, cell: u64) -> (&'m [AtomicU64], usize) {
        let index = (cell & self.shape.cell_mask) as usize;
        let arena = &self.words[self.shape.cells..][..self.shape.arena_words];
        (arena, index << (self.geometry().cell_log2 - 3))
    }

    /// How many cells hold `len` bytes.
    #[inline(always)]
    pub fn cells_for(&self, len: usize) -> u64 {
        (len as u64).div_ceil(1 << self.geometry().cell_log2)
    }

    /// Every slot's and cell's stamp, for the reaper.
    pub fn all_stamps(&self) -> impl Iterator<Item = &'m AtomicU64> {
        let slots = &self.words[self.shape.slots..self.shape.stamps];
        let stamps = &self.words[self.shape.stamps..][..self.geometry().cells() as usize];
        slots
            .iter()
            .step_by(self.geometry().slot_words())
            .chain(stamps)
    }
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
