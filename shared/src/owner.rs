//! Writer identity: an entry of the writer table, held by a lock (see `lock`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::fork;
use crate::layout::*;
use crate::lock::{try_lock, unlock};
use crate::prim::Ordering::*;
use crate::ring::Ring;

/// The right to publish as one entry of the writer table, until dropped.
#[derive(Debug)]
pub struct Owner {
    number: u16,
    slot: usize,
    generation: u64,
}

#[derive(Debug)]
pub enum NoOwner {
    /// Every entry is taken, or waits for its dead owner to be reaped.
    TableFull,
    /// This process has `fork::MAX_LOCKS` publishing threads.
    TooManyThreads,
    /// The name leads to another file than the one that was mapped: attach again.
    Replaced,
    Io(io::Error),
}

impl Owner {
    /// Takes a free entry of the segment at `path`, which was mapped as inode `(dev, ino)`.
    pub fn acquire(ring: Ring<'_>, path: &Path, inode: (u64, u64)) -> Result<Self, NoOwner> {
        let file = open_again(path, inode)?;
        let writers = ring.geometry().writers();
        // Entry 0 belongs to nobody: stamps of owner 0 are holes made by readers. Starting at a
        // place that differs per process keeps the search short in a crowded table.
        let start = std::process::id().wrapping_mul(0x9E37_79B9);
        for n in 0..writers {
            let number = (start.wrapping_add(n) & (writers - 1)) as u16;
            if number == 0 || ring.writer(number)[WR_DIRTY].load(Acquire) != 0 {
                continue;
            }
            if !try_lock(&file, number).map_err(NoOwner::Io)? {
                continue;
            }
            // A dirty entry whose lock is free belongs to a dead writer; only the reaper, after
            // taking back what it pinned, makes it clean.
            if ring.writer(number)[WR_DIRTY].load(Acquire) != 0 {
                unlock(&file, number).map_err(NoOwner::Io)?;
                continue;
            }
            let generation = fork::generation();
            let slot = fork::keep(file).ok_or(NoOwner::TooManyThreads)?;
            return Ok(Self {
                number,
                slot,
                generation,
            });
        }
        Err(NoOwner::TableFull)
    }

    #[inline(always)]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// False in a forked child: the entry is its parent's.
    #[inline(always)]
    pub fn is_mine(&self) -> bool {
        self.generation == fork::generation()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        fork::release(self.slot, self.generation);
    }
}

/// Opens `path` a second time and makes sure that it is the same file.
pub fn open_again(path: &Path, inode: (u64, u64)) -> Result<File, NoOwner> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .map_err(NoOwner::Io)?;
    let meta = file.metadata().map_err(NoOwner::Io)?;
    if (meta.dev(), meta.ino()) == inode {
        Ok(file)
    } else {
        Err(NoOwner::Replaced)
    }
}
