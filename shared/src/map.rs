//! Maps a segment and hands it out as atomic words: the only place that knows its address.
//!
//! Other processes write this memory at any time, so nobody ever forms a `&[u8]` over it; a word is
//! read and written through `AtomicU64`, bulk data through `copy`.

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// A shared, read-write mapping of a whole file.
pub struct Map {
    raw: MmapRaw,
    words: usize,
}

impl Map {
    /// Maps `len` bytes (a multiple of 8) from the start of `file`.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        let raw = MmapOptions::new().len(len).map_raw(file)?;
        Ok(Self {
            raw,
            words: len / 8,
        })
    }

    #[inline(always)]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `words * 8` bytes long and lives as long as `self`;
        // `AtomicU64` has the layout of `u64`, any bit pattern is valid, and it tolerates concurrent
        // writers. A file truncated by a peer raises SIGBUS, which `sigbus` answers.
        unsafe { std::slice::from_raw_parts(self.raw.as_mut_ptr().cast::<AtomicU64>(), self.words) }
    }

    /// Address range, for the SIGBUS handler.
    pub fn range(&self) -> (usize, usize) {
        (self.raw.as_ptr() as usize, self.words * 8)
    }
}
