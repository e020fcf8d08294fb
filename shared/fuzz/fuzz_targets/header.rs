//! Any header with any file length: accepted, or refused. What is accepted describes areas that lie
//! within the file, one after another, and a ring that can be walked from end to end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::layout::*;
use shared::prim::{AtomicU64, Ordering::*};
use shared::ring::{Ring, Shape};
use shared::segment::validate;

/// Larger segments are checked by their numbers alone.
const WALKED: usize = 1 << 17;

fuzz_target!(|data: &[u8]| {
    let mut words = data.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let mut next = || words.next().unwrap_or(0);
    let (modes, len) = (next(), next());
    let mut header = [0; W_TAIL];
    header.iter_mut().for_each(|word| *word = next());
    // No fuzzer guesses these; each is right unless a bit says to take what it made.
    if modes & 1 == 0 {
        header[W_MAGIC] = MAGIC;
        header[W_LAYOUT] = u64::from(LAYOUT) | (HEADER_LEN as u64) << 32;
    }
    let shape = Geometry::from_shape_word(header[W_SHAPE]);
    let mut file_len = len;
    if let Some(geometry) = shape
        && modes & 2 == 0
    {
        header[W_TOTAL] = geometry.total_len() as u64;
        file_len = header[W_TOTAL];
        if modes & 4 == 0 {
            header[W_FIRST] = (header[W_FIRST] % (MAX_POSITION * 2)) & !(geometry.slots() - 1);
            header[W_MAX_PAYLOAD] %= geometry.hard_max_body() * 2;
        }
    }
    if modes & 8 == 0 {
        let mut crc = crc32fast::Hasher::new();
        header[..W_CRC]
            .iter()
            .for_each(|word| crc.update(&word.to_le_bytes()));
        header[W_CRC] = u64::from(crc.finalize());
    }
    let Ok((geometry, max_payload)) = validate(&header, file_len) else {
        return;
    };
    assert!(geometry.valid());
    assert!(max_payload >= 1 && max_payload <= geometry.hard_max_body());
    assert!(header[W_FIRST] >= geometry.slots() && header[W_FIRST] < MAX_POSITION);
    let areas = [
        HEADER_LEN as u64,
        geometry.slots_at() as u64,
        geometry.stamps_at() as u64,
        geometry.cells_at() as u64,
        file_len,
    ];
    assert!(areas.is_sorted());
    assert!(geometry.cells_at() as u64 + geometry.arena_len() <= file_len);
    if geometry.total_len() <= WALKED {
        walk(geometry, max_payload);
    }
});

fn walk(geometry: Geometry, max_payload: u64) {
    let words: Vec<_> = (0..geometry.total_len() / 8)
        .map(|_| AtomicU64::new(0))
        .collect();
    let shape = Shape::new(geometry, max_payload);
    let ring = Ring::new(&words, &shape);
    assert_eq!(
        ring.all_stamps().count() as u64,
        geometry.slots() + geometry.cells()
    );
    for n in [0, 1, geometry.slots() - 1, u64::MAX] {
        ring.slot(n)[geometry.slot_words() - 1].store(1, Relaxed);
    }
    for n in [0, geometry.cells() - 1, u64::MAX] {
        ring.cell_stamp(n).store(1, Relaxed);
        let (cells, at) = ring.cells_from(n);
        assert!(at + geometry.cell_len() / 8 <= cells.len());
    }
    for owner in [0, 1, u16::MAX] {
        ring.writer(owner)[WRITER_WORDS - 1].store(1, Relaxed);
    }
}
