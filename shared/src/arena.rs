//! The arena: contiguous runs of cells for bodies that do not fit into a slot.
//!
//! A run is found first and claimed afterwards: the stamps ahead of the arena's tail are read, and
//! the tail moves by one CAS to just past the run. So a large event among stopped writers skips only
//! the cells in front of a pin, and a claim for which there is no free run moves nothing and burns no
//! history.

use crate::copy;
use crate::layout::W_ARENA_TAIL;
use crate::prim::{AtomicU64, Ordering::*, fence};
use crate::ring::{Ring, stamp};
use crate::stamp::{Stamp, State};

/// Claims lost to others before giving up. Each lost claim means that another publisher got on.
const ATTEMPTS: usize = 256;

/// Why there is no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRun {
    /// Unfinished writers pin so many cells that no run of this length is left.
    Pinned,
    Contended,
}

/// Claims `count` cells and pins them for `owner`; returns the first one's number.
pub fn claim(ring: Ring<'_>, owner: u16, count: u64) -> Result<u64, NoRun> {
    let tail = ring.word(W_ARENA_TAIL);
    for _ in 0..ATTEMPTS {
        let seen = tail.load(Relaxed);
        if seen >= ring.max_cell() {
            return Err(NoRun::Pinned); // forged
        }
        let start = free_run(ring, seen, count).ok_or(NoRun::Pinned)?;
        if tail
            .compare_exchange(seen, start + count, Relaxed, Relaxed)
            .is_err()
        {
            continue;
        }
        match pin(ring, owner, start, count) {
            Ok(()) => return Ok(start),
            // Somebody older pinned one of them between the look and the claim.
            Err(taken) => abandon(ring, owner, start, taken),
        }
    }
    Err(NoRun::Contended)
}

/// The first run of `count` unpinned cells at or after `from`, within one lap.
fn free_run(ring: Ring<'_>, from: u64, count: u64) -> Option<u64> {
    let end = from + ring.geometry().cells();
    let mut start = from;
    let mut cell = from;
    while cell < start + count {
        if start + count > end {
            return None;
        }
        cell += 1;
        if stamp(ring.cell_stamp(cell - 1), Relaxed).pinned() {
            start = cell;
        }
    }
    Some(start)
}

/// Pins the cells of a claim. Err carries how many were pinned before one was lost: to a later lap, or
/// to a writer that still pins it.
pub fn pin(ring: Ring<'_>, owner: u16, start: u64, count: u64) -> Result<(), u64> {
    for taken in 0..count {
        let cell = start + taken;
        let lap = ring.cell_lap(cell);
        let word = ring.cell_stamp(cell);
        let mut old = stamp(word, Relaxed);
        loop {
            if old.lap() >= lap || old.pinned() {
                return Err(taken);
            }
            let busy = Stamp::new(lap, owner, State::Busy);
            // AcqRel: pairs with the previous owner's unpin, whose stores must be over before ours.
            match word.compare_exchange(old.0, busy.0, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(now) => old = Stamp(now),
            }
        }
    }
    Ok(())
}

/// Gives a run back without an event.
pub fn abandon(ring: Ring<'_>, owner: u16, start: u64, count: u64) {
    set(ring, owner, start, count, State::Hole);
}

/// Unpins after the commit; the cells stay readable until a later lap claims them.
pub fn unpin(ring: Ring<'_>, owner: u16, start: u64, count: u64) {
    set(ring, owner, start, count, State::Done);
}

fn set(ring: Ring<'_>, owner: u16, start: u64, count: u64, state: State) {
    for cell in start..start + count {
        // A plain store: while we live nobody else changes a cell that we pin. Release: pairs with
        // the next owner's pin.
        ring.cell_stamp(cell)
            .store(Stamp::new(ring.cell_lap(cell), owner, state).0, Release);
    }
}

/// How much of a run is asked for at once. More would wait for the processor's fill buffers.
const PREFETCH: usize = 2048;

/// Asks for the first part of a claimed run to be brought near.
pub fn prefetch(ring: Ring<'_>, start: u64, len: usize) {
    let (cells, at) = ring.cells_from(start);
    copy::prefetch_for_write(&cells[at..], len.min(PREFETCH));
}

/// Stores a body into a claimed run. `head` is a multiple of 8 bytes.
pub fn store(ring: Ring<'_>, start: u64, head: &[u8], data: &[u8]) {
    // Pairs with the readers' acquire fence: who sees one of these stores sees the BUSY stamps too.
    fence(Release);
    let (cells, at) = ring.cells_from(start);
    store_wrapping(cells, at, head);
    store_wrapping(cells, (at + head.len() / 8) % cells.len(), data);
}

fn store_wrapping(cells: &[AtomicU64], at: usize, bytes: &[u8]) {
    let first = bytes.len().min((cells.len() - at) * 8);
    copy::store(&cells[at..], &bytes[..first]);
    copy::store(cells, &bytes[first..]);
}

/// Copies `len` bytes of a run into `out`.
pub fn load(ring: Ring<'_>, start: u64, len: usize, out: &mut Vec<u8>) {
    let (cells, at) = ring.cells_from(start);
    let first = len.min((cells.len() - at) * 8);
    copy::load(&cells[at..], first, out);
    copy::load(cells, len - first, out);
}

/// Whether a run still holds what `owner` stored into it at that lap. The state does not matter: a
/// committed event is readable before its cells are unpinned, and after its owner's death.
pub fn holds(ring: Ring<'_>, owner: u16, start: u64, count: u64) -> bool {
    (start..start + count).all(|cell| {
        let stamp = stamp(ring.cell_stamp(cell), Relaxed);
        stamp.lap() == ring.cell_lap(cell) && stamp.owner() == owner
    })
}

/// Whether a run has aged so far, before its event was committed, that it would be overwritten early:
/// its writer was away for more than a quarter of a lap.
pub fn aged(ring: Ring<'_>, start: u64, count: u64) -> bool {
    let tail = ring.word(W_ARENA_TAIL).load(Relaxed);
    tail.wrapping_sub(start + count) > ring.geometry().cells() / 4
}
