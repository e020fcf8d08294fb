//! The next chunk of a replay: what the channel index plans is read and appended.

use protocol::gap::Gap;

use crate::engine::replay::cache::ReplayCache;
use crate::engine::replay::chunk::Chunk;
use crate::engine::replay::query::{PLAN, ReplayQuery, Turn, append_event, append_gap};
use crate::engine::replay::scan::scan;
use crate::engine::replay::state::Replay;

/// How often a turn looks positions up: bounds the time of a turn that finds nothing.
const PLANS: usize = 16;

/// Appends to `chunk` what comes next for a stream; returns its state after that.
pub fn fill(
    query: &ReplayQuery<'_>,
    cache: &mut ReplayCache,
    mut replay: Replay,
    chunk: &mut Chunk,
) -> (Replay, Turn) {
    let (hub, target) = (query.hub, replay.target);
    if std::mem::take(&mut replay.skips) {
        skip(query, &mut replay);
        chunk.mark(replay);
    }
    for _ in 0..PLANS {
        if chunk.is_full() {
            return (replay, Turn::More);
        }
        let end = stretch(query, &mut replay);
        let held = hub.store.held_from(replay.next);
        let plan = hub.index.plan(query.names, replay.next, end, PLAN, held);
        replay.miss(query.lost_at(replay.next, plan.gap));
        if plan.scan.0 < plan.scan.1 {
            if !query.scans {
                // What was missed up to there is counted.
                replay.go_to(plan.scan.0);
                return (replay, Turn::Scans);
            }
            // Once a turn: other streams have their turns.
            let turn = scan(query, cache, plan.scan, &mut replay, chunk);
            return (replay, turn);
        }
        for seq in plan.seqs {
            match cache.fetch(hub, query.epoch, seq) {
                // A hole since it was planned: it was erased, which is nobody's loss.
                None if hub.store.is_hole(query.epoch, seq) => {}
                None => replay.miss(query.lost_at(seq, Gap::exact(1))),
                Some(encoded) => {
                    if append_event(query, &encoded, cache, &mut replay, chunk).is_break() {
                        return (replay, Turn::More);
                    }
                }
            }
            replay.go_to(seq + 1);
            if chunk.is_full() {
                return (replay, Turn::More);
            }
        }
        replay.go_to(replay.next.max(plan.next));
        if replay.next >= target {
            append_gap(query, target - 1, &mut replay, chunk);
            return (replay, Turn::Reached);
        }
    }
    (replay, Turn::More)
}

/// Up to where the next plan may go. What a stream from another host has is apart from the rest, and so are gap
/// records: it may have what is missing here.
fn stretch(query: &ReplayQuery<'_>, replay: &mut Replay) -> u64 {
    while let Some(filter) = query.filter_at(replay.next) {
        let end = replay.target.min(filter.end());
        let origins = query.hub.origins.as_ref();
        let gap = origins.and_then(|origins| origins.next_gap(replay.next, end));
        match gap {
            None => return end,
            Some(gap) if gap.local > replay.next => return gap.local,
            Some(gap) if filter.has_all_of(query.channels, &gap) => replay.go_to(gap.local + 1),
            Some(gap) => return gap.local + 1,
        }
    }
    replay.target
}

/// Jumps to the target. Not bounded by a turn: it only counts, and the index is bounded.
fn skip(query: &ReplayQuery<'_>, replay: &mut Replay) {
    while replay.next < replay.target {
        // Nothing is read: no position counts as held, and what the index has forgotten counts as a bound.
        let plan = query
            .hub
            .index
            .plan(query.names, replay.next, replay.target, PLAN, u64::MAX);
        let at = replay.next;
        replay.miss(query.lost_at(at, plan.gap));
        replay.miss(query.lost_at(at, Gap::exact(plan.seqs.len() as u64)));
        query
            .hub
            .process
            .metrics
            .skipped
            .add(plan.seqs.len() as u64);
        replay.go_to(plan.next.max(replay.next + 1));
    }
}
