//! More publishers than entries, at one time and one after another.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use shared::layout::Geometry;
use shared::publisher::Failure;

use super::children::{Verdict, await_that, child, done};
use crate::common::Words;
use crate::payload::{Sender, verify};
use crate::stage::{Stage, publisher};

/// 15 usable entries in the writer table.
const GEOMETRY: Geometry = Geometry {
    slot_bits: 12,
    slot_log2: 7,
    cell_bits: 4,
    cell_log2: 10,
    writer_bits: 4,
};
const ENTRIES: usize = 15;
const WORKERS: u32 = 4000;
const AT_ONCE: usize = 8;
const KEY: u64 = 6;

/// Every entry taken by a process: the next is refused and told why, until one goes.
pub fn full_table() -> Verdict {
    let stage = Stage::new(GEOMETRY, 4000)?;
    let words = Words::anonymous(2)?;
    let mut crowd = Vec::new();
    for id in 0..ENTRIES {
        let (words, stage) = (&words, &stage);
        crowd.push(child(move || {
            let mut publisher = publisher(&stage.name);
            Sender::new(KEY, id as u32, 9).publish(&mut publisher, 0, 9)?;
            words[0].fetch_add(1, AcqRel);
            // The first ones are let go one by one.
            await_that("leave to go", || words[1].load(Acquire) > id as u64)?;
            Ok(())
        })?);
    }
    await_that("everybody", || words[0].load(Acquire) == ENTRIES as u64)?;
    let mut late = (stage.publisher(), Sender::new(KEY, 99, 9));
    let error = match late.1.publish(&mut late.0, 0, 9) {
        Err(error) if error.failure == Failure::TableFull => error,
        other => return Err(format!("one too many was not refused: {other:?}").into()),
    };
    if !error.message.contains("ring.writers") {
        return Err(format!("an unclear refusal: {error}").into());
    }
    words[1].store(1, Release);
    done(crowd.remove(0))?;
    // It looks again once a second.
    await_that("an entry that came free", || {
        late.1.publish(&mut late.0, 1, 9).is_ok()
    })?;
    words[1].store(u64::MAX, Release);
    for one in crowd {
        done(one)?;
    }
    Ok(format!(
        "{ENTRIES} of {ENTRIES} entries taken: refused with a sentence, served when one came free"
    ))
}

/// Workers that publish once and end: every event arrives, and every entry comes back.
pub fn recycled() -> Verdict {
    let mut stage = Stage::new(GEOMETRY, 4000)?;
    let mut alive = std::collections::VecDeque::new();
    let mut read = Vec::new();
    for id in 0..WORKERS {
        if alive.len() == AT_ONCE
            && let Some(oldest) = alive.pop_front()
        {
            done(oldest)?;
        }
        let name = stage.name.clone();
        alive.push_back(child(move || {
            Sender::new(KEY, id, 9).publish(&mut publisher(&name), 0, 9)?;
            Ok(())
        })?);
        if id % 256 == 0 {
            stage.beat();
            read.extend(stage.drain().events);
        }
    }
    for one in alive {
        done(one)?;
    }
    read.extend(stage.drain().events);
    let mut ids: Vec<u32> = read
        .iter()
        .filter_map(|(_, event)| Some(verify(KEY, event).ok()?.publisher))
        .collect();
    ids.sort_unstable();
    if ids != (0..WORKERS).collect::<Vec<_>>() {
        return Err(format!("{} of {WORKERS} events arrived", ids.len()).into());
    }
    let mut all: Vec<_> = (0..ENTRIES).map(|_| stage.publisher()).collect();
    let taken = all.iter_mut().enumerate().all(|(n, publisher)| {
        Sender::new(KEY, n as u32, 9)
            .publish(publisher, 1, 9)
            .is_ok()
    });
    if !taken || stage.pins() + stage.dirty() > 0 {
        return Err("entries of ended workers did not come back".into());
    }
    Ok(format!(
        "{WORKERS} workers, {AT_ONCE} at a time, {ENTRIES} entries: all back, all events read"
    ))
}
