//! Gives memory of a replaced ring back to the system: what lies in the file beside the events that still count. Other
//! processes may have the file mapped for as long as they like, and find zeros there, as in memory that was never used.

use std::fs::File;
use std::ops::Range;

use nix::fcntl::{FallocateFlags, fallocate};

use crate::fetch;
use crate::layout::{HEADER_LEN, PAGE};
use crate::segment::Segment;

/// All but the events from position `from` on. Where the file system cannot do it, nothing happens.
pub fn all_before(file: &File, segment: &Segment, from: u64) {
    slots(segment, from)
        .into_iter()
        .chain(arena(segment, from))
        .for_each(|bytes| punch(file, bytes));
}

/// All of it but the header, which tells publishers that the ring is closed.
pub fn everything(file: &File, segment: &Segment) {
    punch(file, HEADER_LEN..segment.geometry().total_len());
}

/// The slots of no event from `from` on; either part may be empty.
fn slots(segment: &Segment, from: u64) -> [Range<usize>; 2] {
    let (geometry, head) = (segment.geometry(), segment.head());
    let slot = 1 << geometry.slot_log2;
    let at = |position: u64| {
        let index = (position & (geometry.slots() - 1)) as usize;
        geometry.slots_at() + index * slot
    };
    let area = geometry.slots_at()..geometry.stamps_at();
    match head.saturating_sub(from) {
        0 => [area, 0..0],
        n if n >= geometry.slots() => [0..0, 0..0],
        _ if at(head) < at(from) => [at(head)..at(from), 0..0],
        _ => [at(head)..area.end, area.start..at(from)],
    }
}

/// The pages of the arena that no event from `from` on has part of its body in.
fn arena(segment: &Segment, from: u64) -> Vec<Range<usize>> {
    let (geometry, ring) = (segment.geometry(), segment.ring());
    let pages = (geometry.total_len() - geometry.cells_at()) / PAGE;
    // How many more bodies touch this page than the one before. Runs are whatever a publisher wrote, so no page is
    // looked at once for each of them.
    let mut more = vec![0i32; pages + 1];
    let mut touch = |bytes: Range<usize>| {
        more[bytes.start / PAGE] += 1;
        more[(bytes.end.div_ceil(PAGE)).min(pages)] -= 1;
    };
    let len = geometry.arena_len() as usize;
    for position in from..segment.head() {
        let Some((cell, cells)) = fetch::run(ring, position) else {
            continue;
        };
        let start = ((cell & (geometry.cells() - 1)) as usize) << geometry.cell_log2;
        let end = start + ((cells as usize) << geometry.cell_log2);
        touch(start..end.min(len));
        if end > len {
            touch(0..(end - len).min(len));
        }
    }
    let mut free: Vec<Range<usize>> = Vec::new();
    let mut bodies = 0;
    for (page, more) in more[..pages].iter().enumerate() {
        bodies += more;
        let at = geometry.cells_at() + page * PAGE;
        match free.last_mut() {
            _ if bodies > 0 => {}
            Some(last) if last.end == at => last.end += PAGE,
            _ => free.push(at..at + PAGE),
        }
    }
    free
}

/// Whole pages only: the kernel would clear the parts of the others.
fn punch(file: &File, bytes: Range<usize>) {
    let (start, end) = (bytes.start.next_multiple_of(PAGE), bytes.end / PAGE * PAGE);
    if start < end {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let _ = fallocate(file, flags, start as i64, (end - start) as i64);
    }
}
