//! The segment, word by word. Writer and reader import this; nobody else counts bytes.
//!
//! All words are little-endian 64-bit, at fixed offsets, without pointers.
//!
//! ```text
//! 0x0000 ┌──────────────────────────────────────────────────────────────┐
//!        │ magic[8] "ASKRRNG2"                      (never changes)     │
//! 0x0008 │ layout | header_len (u32 each)                               │
//! 0x0010 │ total_len, bytes                                             │
//! 0x0018 │ slot_bits slot_log2 cell_bits cell_log2 writer_bits (u8) 0…  │
//! 0x0020 │ epoch[16], random                                            │
//! 0x0030 │ created, Unix ns                                             │
//! 0x0038 │ first position | (its low 63 bits)                           │
//! 0x0040 │ largest payload, bytes                                       │
//! 0x0048 │ crc32 of 0x00..0x48                                          │
//!        ├──────────────────────────────────────────────────────────────┤
//! 0x0080 │ tail: next position to claim; bit 63 = closed                │ publishers
//! 0x0100 │ arena tail: next cell to claim                               │ publishers
//! 0x0180 │ sleepers (bit 0: askrd)                                      │ readers
//! 0x0188 │ gen: the futex word is its low half                          │ publishers
//! 0x0200 │ heartbeat, Unix ns │ 0x0208 next position askrd reads      │ askrd
//! 0x0210 │ closed at: the tail when the ring was closed, else 0        │ askrd
//! 0x0218 │ features: what askrd reads, and since when (see `features`) │ askrd
//! 0x0220 │ floor: see `Segment::cursor`; else 0. In a ring that was        │ askrd
//!        │ replaced: below it nothing is held any more                  │
//! 0x0228 │ sequence of what is at 0x0300; 0: nothing                   │ askrd
//! 0x0240 │ eight consumer cursors (bridges, webhooks)                   │ askrd
//! 0x0300 │ how far askrd is with other hosts (see `published_vector`)   │ askrd
//!        ├──────────────────────────────────────────────────────────────┤
//! 0x1000 │ writer table: 2^writer_bits × 64 B {dirty, published, …}     │ its owner
//!        ├──────────────────────────────────────────────────────────────┤ page
//!        │ slots: 2^slot_bits × 2^slot_log2 B                           │
//!        ├──────────────────────────────────────────────────────────────┤
//!        │ arena stamps: 2^cell_bits × 8 B                              │
//!        ├──────────────────────────────────────────────────────────────┤ page
//!        │ arena cells: 2^cell_bits × 2^cell_log2 B                     │
//!        └──────────────────────────────────────────────────────────────┘
//!
//! slot:  0 stamp │ 8 len u32, head_len u16, flags u16 │ 16 arena position (0: inline)
//!        24 checksum │ 32 published, Unix ns │ 40 … body: head, then data
//! ```
//!
//! Words that different parties write lie in different cache lines.

/// The magic is the version: a reader of another layout does not recognise the file at all.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ASKRRNG2");
pub const LAYOUT: u32 = 2;
/// A page of its own; a model pays for each word, so loom gets only the words there are.
pub const HEADER_LEN: usize = if cfg!(loom) { 0x280 } else { 0x1000 };
pub const PAGE: usize = if cfg!(loom) { 64 } else { 4096 };

/// Word indices, from the byte offsets drawn above.
const fn word(offset: usize) -> usize {
    assert!(offset.is_multiple_of(8));
    offset / 8
}

pub const W_MAGIC: usize = word(0x00);
pub const W_LAYOUT: usize = word(0x08);
pub const W_TOTAL: usize = word(0x10);
pub const W_SHAPE: usize = word(0x18);
pub const W_EPOCH: usize = word(0x20);
pub const W_CREATED: usize = word(0x30);
pub const W_FIRST: usize = word(0x38);
pub const W_MAX_PAYLOAD: usize = word(0x40);
pub const W_CRC: usize = word(0x48);
pub const W_TAIL: usize = word(0x80);
pub const W_ARENA_TAIL: usize = word(0x100);
pub const W_SLEEPERS: usize = word(0x180);
pub const W_GEN: usize = word(0x188);
pub const W_HEARTBEAT: usize = word(0x200);
pub const W_READ: usize = word(0x208);
pub const W_CLOSED_AT: usize = word(0x210);
pub const W_FEATURES: usize = word(0x218);
pub const W_FLOOR: usize = word(0x220);
/// Beside the floor, which the same readers look at.
pub const W_VECTOR_SEQUENCE: usize = word(0x228);
pub const W_CONSUMERS: usize = word(0x240);
/// Not in a model's header, which has no room for it.
pub const W_VECTOR: usize = word(0x300);
pub const CONSUMERS: usize = 8;

/// A claim that carries this bit found the ring closed: it was replaced by another.
/// Positions need 63 bits at most; the lap field of a stamp (44 bits) ends long before.
pub const CLOSED: u64 = 1 << 63;
/// Above this a position can only be forged; at a million events a second it is 18,000 years away.
pub const MAX_POSITION: u64 = 1 << 59;

/// Writer table entry: one cache line.
pub const WRITER_WORDS: usize = 8;
pub const WR_DIRTY: usize = 0;
pub const WR_PUBLISHED: usize = 1;
pub const WR_BYTES: usize = 2;

/// Slot words before the body.
pub const S_STAMP: usize = 0;
pub const S_LEN: usize = 1;
pub const S_ARENA: usize = 2;
pub const S_SUM: usize = 3;
pub const S_TIME: usize = 4;
pub const S_BODY: usize = 5;

const _: () = assert!(W_CRC < W_TAIL && W_CONSUMERS + CONSUMERS <= HEADER_LEN / 8);
const _: () = assert!(W_VECTOR + 4 + 2 * 64 <= 0x1000 / 8);
const _: () = assert!(WRITER_WORDS * 8 == 64 && S_BODY * 8 == 40);

/// Least exponent of a count. Models use the smallest ring that can wrap.
const SMALLEST: u8 = if cfg!(loom) { 1 } else { 4 };

/// Sizes of a segment: everything else follows from these five exponents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// log2 of the number of slots, that is, of events held at the most.
    pub slot_bits: u8,
    /// log2 of a slot's bytes.
    pub slot_log2: u8,
    /// log2 of the number of arena cells.
    pub cell_bits: u8,
    /// log2 of a cell's bytes.
    pub cell_log2: u8,
    /// log2 of the number of writer table entries.
    pub writer_bits: u8,
}

impl Geometry {
    /// 2^15 slots of 512 B, a 16 MiB arena, 4,096 writers: about 33 MiB.
    pub const DEFAULT: Self = Self {
        slot_bits: 15,
        slot_log2: 9,
        cell_bits: 14,
        cell_log2: 10,
        writer_bits: 12,
    };

    /// The bounds keep every offset below 2^40 and every product within 64 bits.
    pub const fn valid(&self) -> bool {
        self.slot_bits >= SMALLEST
            && self.slot_bits <= 26
            && self.slot_log2 >= 6
            && self.slot_log2 <= 13
            && self.cell_bits >= SMALLEST
            && self.cell_bits <= 26
            && self.cell_log2 >= 3
            && self.cell_log2 <= 14
            && self.writer_bits >= SMALLEST
            && self.writer_bits <= 16
    }

    pub const fn shape_word(&self) -> u64 {
        u64::from_le_bytes([
            self.slot_bits,
            self.slot_log2,
            self.cell_bits,
            self.cell_log2,
            self.writer_bits,
            0,
            0,
            0,
        ])
    }

    /// None for exponents outside the bounds, or bytes that this layout does not know.
    pub fn from_shape_word(word: u64) -> Option<Self> {
        let b = word.to_le_bytes();
        let shape = Self {
            slot_bits: b[0],
            slot_log2: b[1],
            cell_bits: b[2],
            cell_log2: b[3],
            writer_bits: b[4],
        };
        (b[5..] == [0, 0, 0] && shape.valid()).then_some(shape)
    }

    pub const fn slots(&self) -> u64 {
        1 << self.slot_bits
    }
    /// Positions from here on can only be forged. In a ring of fewer than 2^15 slots their lap would not
    /// fit a stamp, which would then compare as older for ever.
    pub const fn max_position(&self) -> u64 {
        largest(self.slot_bits)
    }
    pub const fn slot_words(&self) -> usize {
        1 << (self.slot_log2 - 3)
    }
    /// Bytes of body that fit into a slot.
    pub const fn inline_len(&self) -> usize {
        (self.slot_words() - S_BODY) * 8
    }
    pub const fn cells(&self) -> u64 {
        1 << self.cell_bits
    }
    /// As `max_position`, for the arena's tail.
    pub const fn max_cell(&self) -> u64 {
        largest(self.cell_bits)
    }
    pub const fn cell_len(&self) -> usize {
        1 << self.cell_log2
    }
    pub const fn arena_len(&self) -> u64 {
        self.cells() << self.cell_log2
    }
    pub const fn writers(&self) -> u32 {
        1 << self.writer_bits
    }
    /// Largest event, head and data: a quarter of the arena, so that the three others can be read.
    pub const fn hard_max_body(&self) -> u64 {
        let quarter = self.arena_len() / 4;
        if quarter < u32::MAX as u64 {
            quarter
        } else {
            u32::MAX as u64
        }
    }

    pub const fn writers_at(&self) -> usize {
        HEADER_LEN
    }
    pub const fn slots_at(&self) -> usize {
        (self.writers_at() + self.writers() as usize * WRITER_WORDS * 8).next_multiple_of(PAGE)
    }
    pub const fn stamps_at(&self) -> usize {
        self.slots_at() + ((self.slots() as usize) << self.slot_log2)
    }
    pub const fn cells_at(&self) -> usize {
        (self.stamps_at() + self.cells() as usize * 8).next_multiple_of(PAGE)
    }
    pub const fn total_len(&self) -> usize {
        (self.cells_at() + self.arena_len() as usize).next_multiple_of(PAGE)
    }
}

const fn largest(bits: u8) -> u64 {
    let fits = crate::stamp::Stamp::LAP_BITS + bits as u32;
    if fits < MAX_POSITION.trailing_zeros() {
        1 << fits
    } else {
        MAX_POSITION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_fits_a_containers_shm() {
        let total = Geometry::DEFAULT.total_len();
        assert!(Geometry::DEFAULT.valid());
        assert!((32 << 20..36 << 20).contains(&total), "{total}");
        assert_eq!(Geometry::DEFAULT.inline_len(), 472);
    }

    #[test]
    fn areas_follow_one_another_without_overlap() {
        for slot_bits in [4, 10, 15] {
            for cell_bits in [4, 14] {
                let g = Geometry {
                    slot_bits,
                    cell_bits,
                    ..Geometry::DEFAULT
                };
                assert!(g.writers_at() + g.writers() as usize * 64 <= g.slots_at());
                assert!(g.slots_at() + ((g.slots() as usize) << g.slot_log2) <= g.stamps_at());
                assert!(g.stamps_at() + g.cells() as usize * 8 <= g.cells_at());
                assert_eq!(g.slots_at() % PAGE + g.cells_at() % PAGE, 0);
            }
        }
    }

    #[test]
    fn the_shape_word_round_trips_and_refuses_the_rest() {
        let g = Geometry::DEFAULT;
        assert_eq!(Geometry::from_shape_word(g.shape_word()), Some(g));
        assert_eq!(Geometry::from_shape_word(g.shape_word() | 1 << 63), None);
        assert_eq!(Geometry::from_shape_word(u64::MAX >> 24), None);
        assert_eq!(Geometry::from_shape_word(0), None);
    }
}
