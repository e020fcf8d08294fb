//! A tiny segment image, filled with what the fuzzer says.
//!
//! Input: `modes` u8 | `signed` u16 | tail, arena tail, closed at (u64 each) | then 64-bit words for the
//! slots, the cells' stamps and the cells. Words that decide much are folded into the small range in
//! which they matter, unless a mode bit asks for them raw; and slots named in `signed` get a right
//! checksum, since no fuzzer guesses one.

use shared::fetch::{self, Look};
use shared::layout::*;
use shared::prim::{AtomicU64, Ordering::*};
use shared::checksum;
use shared::ring::{Ring, Shape, unpack_len};

/// 16 slots of 64 bytes (24 inline), 16 cells of 16 bytes: an event is 64 bytes at the most.
pub const GEOMETRY: Geometry = Geometry {
    slot_bits: 4,
    slot_log2: 6,
    cell_bits: 4,
    cell_log2: 4,
    writer_bits: 4,
};

const WORDS: usize = GEOMETRY.total_len() / 8;
static MEMORY: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// One image at a time: all of them are made in the same memory, which is much faster than fresh pages.
pub struct Image {
    shape: Shape,
    pub modes: u8,
}

pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let n = N.min(self.0.len());
        taken[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        taken
    }

    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}

impl Image {
    pub fn new(input: &mut Input<'_>) -> Self {
        let [modes] = input.bytes();
        let mut image = Self {
            shape: Shape::new(GEOMETRY, GEOMETRY.hard_max_body()),
            modes,
        };
        let signed = u16::from_le_bytes(input.bytes());
        image.fill(input);
        for n in 0..16 {
            if signed & 1 << n != 0 {
                image.sign(n);
            }
        }
        image
    }

    pub fn ring(&self) -> Ring<'_> {
        Ring::new(&MEMORY, &self.shape)
    }

    fn fill(&mut self, input: &mut Input<'_>) {
        let raw = self.modes & 1 != 0;
        let ring = self.ring();
        let fold = |word: u64, range: u64| if raw { word } else { word % range };
        let closed = if self.modes & 2 != 0 { CLOSED } else { 0 };
        ring.tail().store(fold(input.word(), 128) | closed, Relaxed);
        ring.word(W_ARENA_TAIL)
            .store(fold(input.word(), 128), Relaxed);
        ring.word(W_CLOSED_AT)
            .store(fold(input.word(), 128), Relaxed);
        // Laps up to 7, owners up to 15, every state: what can be met within a few laps.
        let stamp = |word: u64| if raw { word } else { word & 0x7000ff };
        for n in 0..GEOMETRY.writers() {
            ring.writer(n as u16)[WR_DIRTY].store(u64::from(self.modes >> 5), Relaxed);
        }
        for n in 0..GEOMETRY.slots() {
            let slot = ring.slot(n);
            slot[S_STAMP].store(stamp(input.word()), Relaxed);
            let len = input.word();
            let len = if raw {
                len
            } else {
                len & 0x0003_007f_0000_007f
            };
            slot[S_LEN].store(len, Relaxed);
            slot[S_ARENA].store(fold(input.word(), 128), Relaxed);
            slot[S_SUM].store(input.word(), Relaxed);
            for word in &slot[S_TIME..] {
                word.store(input.word(), Relaxed);
            }
        }
        for n in 0..GEOMETRY.cells() {
            ring.cell_stamp(n).store(stamp(input.word()), Relaxed);
        }
        for word in ring.cells_from(0).0 {
            word.store(input.word(), Relaxed);
        }
    }

    /// Gives the slot the checksum that its publisher would have given it.
    fn sign(&self, n: u64) {
        let ring = self.ring();
        let slot = ring.slot(n);
        let lap = slot[S_STAMP].load(Relaxed) >> 20;
        let position = lap << GEOMETRY.slot_bits | n;
        if !matches!(fetch::look(ring, position, Relaxed), Look::Done(_)) {
            return;
        }
        let (len_word, run) = (slot[S_LEN].load(Relaxed), slot[S_ARENA].load(Relaxed));
        let (len, head_len, _) = unpack_len(len_word);
        let len = len as usize;
        let mut body = Vec::new();
        if run != 0 && len as u64 <= GEOMETRY.hard_max_body() {
            shared::arena::load(ring, run, len, &mut body);
        } else if run == 0 && len <= GEOMETRY.inline_len() {
            shared::copy::load(&slot[S_BODY..], len, &mut body);
        }
        let time = slot[S_TIME].load(Relaxed);
        let (head, data) = body.split_at(body.len().min(head_len as usize));
        let sum = checksum::bind(checksum::of(head, data), position, len_word, run, time);
        slot[S_SUM].store(sum, Relaxed);
    }
}
