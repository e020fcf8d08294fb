//! Large events among stopped publishers: what those pin must not cost the history of the others.
//!
//! Publishers are stopped in the middle of copying a large body, so each holds a run of arena cells.
//! Others then publish large events for several laps; the history that remains readable must be
//! all that the unpinned cells can hold, but for a fragment beside each pin.

use std::sync::atomic::Ordering::Acquire;

use shared::fetch::Fetch;
use shared::layout::{Geometry, W_ARENA_TAIL};
use shared::stamp::Stamp;

use crate::payload::Sender;
use crate::stage::{Stage, publisher};
use crate::trace::{Child, Stop, mark};

/// 256 cells of 1 KiB.
const GEOMETRY: Geometry = Geometry {
    slot_bits: 10,
    slot_log2: 9,
    cell_bits: 8,
    cell_log2: 10,
    writer_bits: 4,
};
const STOPPED: usize = 6;
/// 8 cells with its head.
const LARGE: usize = 7 << 10;
const CELLS: u64 = 8;
const EVENTS: u64 = 400;

/// Prints what remained; false when it is less than it must be.
pub fn run() -> std::io::Result<bool> {
    let mut stage = Stage::new(GEOMETRY, 60 << 10)?;
    let mut other = (stage.publisher(), Sender::new(1, 0, LARGE));
    let mut stopped = Vec::new();
    for n in 0..STOPPED {
        stopped.push(stop_in_copy(&stage, n as u32 + 1)?);
        // The next one's run lies elsewhere.
        for counter in 0..4 {
            publish(&mut other, counter)?;
        }
    }
    let pinned = pinned_cells(&stage);
    let begun = stage.ring().word(W_ARENA_TAIL).load(Acquire);
    let mut positions = Vec::new();
    for counter in 0..EVENTS {
        positions.push(publish(&mut other, 10 + counter)?);
    }
    let read = stage.drain();
    let moved = stage.ring().word(W_ARENA_TAIL).load(Acquire) - begun;
    let held = positions
        .iter()
        .filter(|at| matches!(stage.segment.read(**at), Fetch::Event(_)))
        .count() as u64;
    // Beside each pin up to a run less one cell may be too short, and one run is being replaced.
    let least = (GEOMETRY.cells() - pinned) / CELLS - STOPPED as u64 - 1;
    println!(
        "torture: {STOPPED} publishers stopped in large events pin {pinned} of {} cells; {EVENTS} \
         events of {CELLS} cells moved the arena by {moved}; the last {held} are readable (at least \
         {least} must be), {} unreadable",
        GEOMETRY.cells(),
        read.wrong.len()
    );
    let mut whole = pinned >= STOPPED as u64 * CELLS && held >= least && read.wrong.is_empty();
    for mut child in stopped {
        whole &= child.resume()? == Stop::Exited(0);
    }
    stage.drain();
    Ok(whole && stage.pins() == 0)
}

fn publish(
    other: &mut (shared::publisher::Publisher, Sender),
    counter: u64,
) -> std::io::Result<u64> {
    let (publisher, sender) = other;
    sender
        .publish(publisher, counter, LARGE)
        .map_err(std::io::Error::other)
}

/// A publisher stopped while it holds its cells.
fn stop_in_copy(stage: &Stage, number: u32) -> std::io::Result<Child> {
    let before = pinned_cells(stage);
    let name = stage.name.clone();
    let mut child = Child::spawn(|| {
        let mut publisher = publisher(&name);
        let mut sender = Sender::new(1, number, LARGE);
        if sender.publish(&mut publisher, 0, 5).is_err() {
            return 1;
        }
        sender.prepare(1, LARGE);
        mark();
        i32::from(publisher.publish(&sender.event(1, LARGE)).is_err())
    })?;
    if child.wait()? != Stop::Trap {
        return Err(std::io::Error::other("a publisher could not start"));
    }
    child.bind()?;
    while pinned_cells(stage) < before + CELLS {
        if child.step()? != Stop::Trap {
            return Err(std::io::Error::other(
                "a publisher ended before it held its cells",
            ));
        }
    }
    Ok(child)
}

fn pinned_cells(stage: &Stage) -> u64 {
    let cells = 0..GEOMETRY.cells();
    cells
        .filter(|cell| Stamp(stage.ring().cell_stamp(*cell).load(Acquire)).pinned())
        .count() as u64
}
