//! Words that several processes see, and a few calls that every driver needs.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// A shared array of words: anonymous, for forked children, or a file's, for anybody. What is stored
/// stays when the process that stored it is killed.
pub struct Words {
    raw: MmapRaw,
    count: usize,
}

impl Words {
    pub fn anonymous(count: usize) -> io::Result<Self> {
        // Nameless, yet a file: `map_anon` would be private to each side of a fork.
        let file = tempfile::tempfile_in("/dev/shm")?;
        file.set_len(count as u64 * 8)?;
        let raw = MmapOptions::new().len(count * 8).map_raw(&file)?;
        Ok(Self { raw, count })
    }

    /// Maps `path`, which is created with `count` zero words if it is not there.
    pub fn file(path: &Path, count: usize) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let len = count as u64 * 8;
        if file.metadata()?.len() < len {
            file.set_len(len)?;
        }
        let raw = MmapOptions::new().len(count * 8).map_raw(&file)?;
        Ok(Self { raw, count })
    }
}

impl std::ops::Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `count * 8` bytes long and lives as long as `self`;
        // any bits are an AtomicU64, and the drivers only touch it through atomics.
        unsafe { std::slice::from_raw_parts(self.raw.as_mut_ptr().cast(), self.count) }
    }
}

/// Runs on one processor from here on, the `n`-th of those allowed: a debugger and its child change
/// hands much faster when they share one.
pub fn pin_to_cpu(n: usize) -> nix::Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let usable: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    let mut one = CpuSet::new();
    one.set(usable[n % usable.len()])?;
    sched_setaffinity(Pid::from_raw(0), &one)
}
