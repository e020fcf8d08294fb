//! What an importer lets out, when it asks, and what it gives up.

mod common;

use cluster::entry::{Body, Entry};
use cluster::import::{Import, Importer, Known, Limits, RETIRE_AFTER, Why};
use cluster::nodes::Standing;
use common::*;
use shared::cursor::{Cursor, Epoch};
use shared::event::DecodeError;
use shared::vector::Vector;

#[test]
fn an_origin_is_taken_without_holes_and_once() {
    let mut importer = running();
    let mut told_of = |previous, position| {
        let out = take(&mut importer, 0, event_entry(1, previous, position));
        told(&out)
    };
    assert_eq!(told_of(10, 12), [("event", 10, 12)]);
    assert_eq!(told_of(14, 15), [], "ahead of a hole");
    assert_eq!(told_of(15, 18), []);
    assert_eq!(told_of(10, 12), [], "a duplicate");
    let joined = [("event", 12, 14), ("event", 14, 15), ("event", 15, 18)];
    assert_eq!(told_of(12, 14), joined);
    assert_eq!(told_of(14, 15), []);
    assert_eq!(
        told_of(11, 20),
        [("event", 18, 20)],
        "said in another piece"
    );
    assert_eq!(importer.have(), vector(&[(1, 20)]));
    assert_eq!(importer.counts.duplicates, 2);
}

#[test]
fn a_node_that_starts_takes_an_origin_from_the_first_entry_and_later_from_its_start() {
    let mut importer = Importer::new(epoch(0), [], TIMES, Limits::default(), 0);
    let out = take(&mut importer, 0, event_entry(1, 50, 51));
    let met = |n, base| Import::Met {
        epoch: epoch(n),
        start: 10,
        base,
    };
    assert_eq!(out[0], met(1, 50));
    let mut out = Vec::new();
    importer.states(0, [state(2, 1, 70)], &mut out);
    assert_eq!(out, []);
    importer.end_of_log(0, &mut out);
    assert_eq!(out, [met(2, 70)], "the log has nothing of it");
    let out = take(&mut importer, 0, event_entry(3, 50, 51));
    assert_eq!(out, [met(3, 10)]);
    assert_eq!(importer.have(), vector(&[(1, 51), (2, 70), (3, 10)]));
}

#[test]
fn what_was_before_is_a_gap_for_viewers_who_are_there_already() {
    let mut importer = Importer::new(epoch(0), [], TIMES, Limits::default(), 0);
    importer.serves();
    let out = take(&mut importer, 0, event_entry(1, 50, 51));
    assert_eq!(told(&out), [("gap", 10, 50), ("event", 50, 51)]);
    let before = |import: &Import| {
        matches!(
            import,
            Import::Gap {
                why: Why::Before,
                ..
            }
        )
    };
    assert!(out.iter().any(before));
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let known = Known {
        epoch: epoch(1),
        start: 10,
        have: 30,
    };
    let mut importer = Importer::new(epoch(0), [known], TIMES, Limits::default(), 0);
    assert_eq!(told(&take(&mut importer, 0, event_entry(1, 50, 51))), []);
    assert_eq!(told(&take(&mut importer, 0, event_entry(1, 29, 30))), []);
    assert_eq!(importer.have(), vector(&[(1, 30)]));
}

#[test]
fn what_cannot_be_had_is_a_gap_around_what_is_held_back() {
    let mut importer = running();
    take(&mut importer, 0, event_entry(1, 14, 15));
    let out = take(&mut importer, 0, entry(1, 10, 20, Body::Lost));
    assert_eq!(
        told(&out),
        [("gap", 10, 14), ("event", 14, 15), ("gap", 15, 20)]
    );
    let unreadable = Body::Unreadable(DecodeError::Unsupported);
    let out = take(&mut importer, 0, entry(1, 20, 22, unreadable));
    assert_eq!(told(&out), [("gap", 20, 22)]);
    let out = take(&mut importer, 0, entry(1, 22, 25, Body::Nothing));
    assert_eq!(told(&out), [("nothing", 0, 25)]);
}

#[test]
fn what_is_lacking_is_wanted_when_nothing_comes_any_more() {
    let mut importer = running();
    let mut out = Vec::new();
    importer.states(0, [state(1, 1, 20)], &mut out);
    take(&mut importer, 0, event_entry(1, 10, 12));
    assert_eq!(
        importer.wants(500),
        Vector::default(),
        "the log was not read to its end"
    );
    importer.end_of_log(500, &mut out);
    assert_eq!(importer.wants(599), Vector::default());
    assert_eq!(importer.wants(600), vector(&[(1, 12)]));
    take(&mut importer, 610, event_entry(1, 12, 13));
    assert_eq!(importer.wants(700), Vector::default(), "something came");
    importer.end_of_log(700, &mut out);
    assert_eq!(importer.wants(800), vector(&[(1, 13)]));
    importer.store_back(800);
    assert_eq!(
        importer.wants(900),
        Vector::default(),
        "the log has to be read again"
    );
}

/// Time passes for a node by reading the states.
fn look(
    importer: &mut Importer,
    from: u64,
    to: u64,
    states: &[cluster::node_state::NodeState],
) -> Vec<Import> {
    let mut out = Vec::new();
    for now in (from..=to).step_by(100) {
        importer.end_of_log(now, &mut out);
        importer.states(now, states.to_vec(), &mut out);
        importer.tick(&mut out);
    }
    out
}

#[test]
fn the_hole_of_a_dead_origin_becomes_a_gap_and_a_late_copy_a_duplicate() {
    let mut importer = running();
    let out = look(&mut importer, 0, 1_900, &[state(1, 1, 20)]);
    assert_eq!(told(&out), [], "it may be alive");
    let out = look(&mut importer, 2_000, 3_000, &[state(1, 1, 20)]);
    assert_eq!(told(&out), [("gap", 10, 20)]);
    assert_eq!(
        told(&take(&mut importer, 3_000, event_entry(1, 10, 12))),
        []
    );
}

#[test]
fn a_node_that_did_not_look_takes_nobody_for_dead() {
    let mut importer = running();
    look(&mut importer, 0, 0, &[state(1, 1, 20)]);
    let out = look(&mut importer, 60_000, 60_500, &[state(1, 1, 20)]);
    assert_eq!(told(&out), []);
    assert_eq!(importer.nodes().standing(id(1)), Standing::Living);
}

#[test]
fn what_others_have_of_a_dead_origin_is_wanted_before_it_is_given_up() {
    let mut importer = running();
    take(&mut importer, 0, event_entry(1, 10, 12));
    let mut other = state(2, 0, 10);
    other.have = vector(&[(1, 30)]);
    let mut out = Vec::new();
    let mut gave_up = 0;
    for now in (0..10_000).step_by(100) {
        other.beat += 1;
        importer.end_of_log(now, &mut out);
        importer.states(now, [state(1, 1, 12), other.clone()], &mut out);
        importer.tick(&mut out);
        if importer.nodes().standing(id(1)) == Standing::Living {
            assert_eq!(importer.wants(now), Vector::default());
        } else if told(&out).is_empty() {
            assert_eq!(importer.wants(now), vector(&[(1, 12)]));
        } else if gave_up == 0 {
            gave_up = now;
        }
    }
    assert_eq!(told(&out), [("gap", 12, 30)]);
    assert!(gave_up >= 2 * (TIMES.lease + TIMES.grace));
}

#[test]
fn nothing_after_the_last_event_raises_who_has_that() {
    let mut importer = running();
    let mut out = Vec::new();
    let mut said = state(1, 1, 12);
    said.through = 19;
    importer.states(0, [said.clone()], &mut out);
    assert_eq!(told(&out), []);
    take(&mut importer, 0, event_entry(1, 10, 12));
    importer.states(0, [said], &mut out);
    assert_eq!(told(&out), [("nothing", 0, 19)]);
    assert_eq!(
        told(&take(&mut importer, 0, event_entry(1, 12, 20))),
        [("event", 19, 20)]
    );
}

#[test]
fn what_is_held_back_is_bounded_and_what_comes_first_is_kept() {
    let mut importer = running();
    for n in (20..60).rev() {
        take(&mut importer, 0, event_entry(1, n, n + 1));
    }
    let held = |importer: &Importer| importer.lags().map(|(_, _, held)| held).sum::<usize>();
    assert!(held(&importer) <= 400 && held(&importer) > 300);
    assert!(importer.counts.not_held > 0);
    let out = take(&mut importer, 0, event_entry(1, 10, 20));
    assert!(told(&out).starts_with(&[("event", 10, 20), ("event", 20, 21), ("event", 21, 22)]));
    assert_eq!(held(&importer), 0);
}

#[test]
fn two_rings_that_cannot_be_told_apart_are_one_origin_too_many() {
    let mut importer = running();
    take(&mut importer, 0, event_entry(1, 10, 12));
    let twin = Entry {
        epoch: Epoch([1, 0, 0, 0, 0, 9]),
        ..event_entry(1, 12, 13)
    };
    assert_eq!(take(&mut importer, 0, twin), []);
    let mine = Entry {
        epoch: Epoch([0, 0, 0, 0, 0, 9]),
        ..event_entry(0, 12, 13)
    };
    assert_eq!(take(&mut importer, 0, mine), []);
    assert_eq!(importer.counts.refused, 2);
    let position = 13;
    assert_eq!(
        take(&mut importer, 0, event_entry(0, 12, 13)),
        [Import::Own { position }]
    );
}

#[test]
fn where_there_are_too_many_the_longest_dead_leaves() {
    let mut importer = running();
    for n in 1..=63 {
        take(&mut importer, 0, event_entry(n, 10, 11));
    }
    let newcomer = event_entry(100, 10, 11);
    assert_eq!(
        take(&mut importer, 0, newcomer.clone()),
        [],
        "all may be alive"
    );
    let living: Vec<_> = (2..=63).map(|n| state(n, 0, 11)).collect();
    for now in (0..3_000).step_by(100) {
        let beats = living.iter().cloned().map(|mut state| {
            state.beat = now;
            state
        });
        importer.states(now, beats, &mut Vec::new());
    }
    let out = take(&mut importer, 3_000, newcomer);
    assert_eq!(out[0], Import::Retired { origin: id(1) });
    assert_eq!(told(&out), [("event", 10, 11)]);
}

#[test]
fn an_origin_that_left_comes_back_with_a_new_beat_and_goes_on_where_it_was() {
    let mut importer = running();
    take(&mut importer, 0, event_entry(1, 10, 30));
    look(&mut importer, 0, 3_000, &[state(1, 1, 30)]);
    assert_eq!(importer.retirable(RETIRE_AFTER - 1).count(), 0);
    let gone: Vec<_> = importer.retirable(RETIRE_AFTER).collect();
    assert_eq!(gone, [id(1)]);
    importer.retire(id(1));
    let mut out = Vec::new();
    importer.states(4_000, [state(1, 1, 30)], &mut out);
    assert_eq!(out, []);
    assert_eq!(take(&mut importer, 4_000, event_entry(1, 10, 30)), []);
    assert_eq!(importer.have(), Vector::default());
    importer.states(4_000, [state(1, 2, 35)], &mut out);
    assert_eq!(importer.have(), vector(&[(1, 30)]));
}

/// This host's ring was taken away: nobody knows what was published there that was never relayed.
#[test]
fn the_end_of_a_ring_that_this_host_had_is_given_up_when_it_is_dead() {
    let mut importer = running();
    importer.had_ring(Known {
        epoch: epoch(1),
        start: 10,
        have: 12,
    });
    take(&mut importer, 0, event_entry(1, 10, 12));
    let out = look(&mut importer, 0, 3_000, &[]);
    assert_eq!(told(&out), [("gap", 12, Cursor::END - 1)]);
    let out = look(&mut importer, 3_100, 9_000, &[]);
    assert_eq!(told(&out), [], "once");
}
