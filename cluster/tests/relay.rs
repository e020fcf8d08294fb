//! What is appended to the log, once and again.

mod common;

use cluster::entry::{Body, Entry};
use cluster::import::Importer;
use cluster::relay::{Limits, Record, Relay};
use common::*;
use shared::cursor::Cursor;

const LIMITS: Limits = Limits {
    piece: 3,
    patience: 100,
};

/// A ring whose events are at even positions up to 40; below 16 it was overwritten; 30 is unreadable.
fn read(at: Cursor) -> Record {
    match at.seq {
        ..16 => Record::Lost { through: 15 },
        30 => Record::Lost { through: 30 },
        seq if seq % 2 == 0 => Record::Event(event(&seq.to_string())),
        seq => Record::Nothing { through: seq },
    }
}

fn piece(relay: &mut Relay, now: u64) -> Vec<(u64, u64, bool)> {
    let piece = relay.piece(now, 40, read);
    let shown = |entry: &Entry| {
        let lost = entry.body == Body::Lost;
        (entry.previous, entry.position, lost)
    };
    piece.iter().map(shown).collect()
}

/// Relays everything that there is.
fn behind() -> Relay {
    let mut relay = Relay::new(epoch(0), 10, 20, LIMITS);
    while relay.is_behind(0, 40) {
        piece(&mut relay, 0);
        relay.appended(0);
    }
    relay
}

/// One that has an event of another node, 2, which is dead.
fn dead() -> Importer {
    let mut importer = running();
    take(&mut importer, 0, event_entry(2, 10, 20));
    for now in (0..5_000).step_by(100) {
        let living = state(1, now, 10);
        importer.states(now, [living, state(2, 1, 20)], &mut Vec::new());
    }
    importer
}

/// One that knows of another node, which wants something.
fn wanted(beat: u64, wants: &[(u8, u64)]) -> Importer {
    let mut importer = running();
    let mut other = state(1, beat, 10);
    other.wants = vector(wants);
    importer.states(0, [other], &mut Vec::new());
    importer
}

#[test]
fn a_piece_is_the_same_until_the_log_has_it() {
    let mut relay = Relay::new(epoch(0), 10, 20, LIMITS);
    let first = [(20, 22, false), (22, 24, false), (24, 26, false)];
    assert_eq!(piece(&mut relay, 0), first);
    assert_eq!((relay.last(), relay.through()), (20, 20));
    assert_eq!(piece(&mut relay, 0), first);
    relay.appended(0);
    assert_eq!((relay.last(), relay.through()), (26, 26));
    assert_eq!(piece(&mut relay, 0)[0], (26, 28, false));
}

/// The log did not take it, and then somebody erased some of it.
#[test]
fn what_was_erased_meanwhile_is_not_appended_with_the_piece_that_had_it() {
    let mut relay = Relay::new(epoch(0), 10, 20, LIMITS);
    assert_eq!(piece(&mut relay, 0).len(), 3);
    let other = event("without a channel");
    let erased = |at: Cursor| match at.seq {
        22 => Record::Nothing { through: 22 },
        24 => Record::Event(other.clone()),
        // Overwritten: this is the last that has it.
        seq => Record::Lost { through: seq },
    };
    let expected = [
        entry(0, 20, 22, Body::Nothing),
        entry(0, 22, 24, Body::Event(other.clone())),
        event_entry(0, 24, 26),
    ];
    assert_eq!(relay.piece(0, 40, erased), expected);
    relay.appended(0);
    assert_eq!((relay.last(), relay.through()), (26, 26));
    assert_eq!((relay.counts.relayed, relay.counts.lost), (2, 0));
}

#[test]
fn what_cannot_be_read_is_said_and_what_is_not_there_is_not() {
    let mut relay = Relay::new(epoch(0), 10, 10, LIMITS);
    assert_eq!(
        piece(&mut relay, 0),
        [(10, 15, true), (15, 16, false), (16, 18, false)]
    );
    let relay = behind();
    assert_eq!((relay.last(), relay.through()), (40, 40));
    assert_eq!((relay.counts.relayed, relay.counts.lost), (9, 1));
    let nothing = |at: Cursor| Record::Nothing {
        through: at.seq + 1000,
    };
    let mut relay = Relay::new(epoch(0), 10, 20, LIMITS);
    assert!(relay.piece(0, 40, nothing).is_empty());
    assert_eq!((relay.last(), relay.through()), (20, 40));
}

#[test]
fn what_is_wanted_is_sent_again_a_piece_after_the_other_was_read() {
    let mut relay = behind();
    relay.look_at_wants(0, &wanted(1, &[(0, 31)]));
    assert_eq!(
        piece(&mut relay, 0),
        [(31, 32, false), (32, 34, false), (34, 36, false)]
    );
    relay.appended(0);
    assert!(!relay.is_behind(50, 40), "nobody has read it");
    assert!(relay.seen(at(0, 36)) && !relay.seen(at(1, 36)));
    assert_eq!(piece(&mut relay, 50), [(36, 38, false), (38, 40, false)]);
    relay.appended(50);
    assert!(!relay.is_behind(50, 40));
    relay.look_at_wants(160, &wanted(1, &[(0, 31)]));
    assert!(!relay.is_behind(160, 40), "it was wanted before that");
    relay.look_at_wants(160, &wanted(2, &[(0, 36)]));
    assert_eq!(piece(&mut relay, 160), [(36, 38, false), (38, 40, false)]);
}

#[test]
fn what_another_log_may_lack_is_sent_at_once_and_owed_until_then() {
    let mut relay = behind();
    assert!(!relay.owes(40));
    assert!(relay.owes(41), "it was not read yet");
    relay.log_changed(31, 100);
    assert_eq!(
        piece(&mut relay, 0),
        [(31, 32, false), (32, 34, false), (34, 36, false)]
    );
    relay.appended(0);
    assert!(relay.owes(40));
    // Nobody has read the first piece.
    assert_eq!(piece(&mut relay, 0), [(36, 38, false), (38, 40, false)]);
    relay.appended(0);
    assert!(!relay.owes(40) && !relay.is_behind(0, 40));
    // No more than the log has room for; the rest is sent when it is wanted.
    relay.log_changed(31, 5);
    assert_eq!(piece(&mut relay, 0).last(), Some(&(34, 36, false)));
    relay.appended(0);
    assert!(!relay.owes(40) && !relay.is_behind(0, 40));
    relay.look_at_wants(200, &wanted(1, &[(0, 36)]));
    relay.look_at_wants(200, &wanted(2, &[(0, 36)]));
    assert_eq!(piece(&mut relay, 200), [(36, 38, false), (38, 40, false)]);
}

/// Whoever waits for something of a dead origin gives it up after a while, and what else is sent again may take longer.
#[test]
fn what_is_wanted_is_sent_while_something_else_is_sent_again() {
    let mut relay = behind();
    let sent = |relay: &mut Relay, now| {
        let first = piece(relay, now).first().map(|(previous, ..)| *previous);
        relay.appended(now);
        first
    };
    relay.look_at_wants(0, &wanted(1, &[(0, 31)]));
    assert_eq!(sent(&mut relay, 0), Some(31));
    // Of the same origin, what is before that: up to there.
    relay.look_at_wants(10, &wanted(2, &[(0, 22)]));
    assert_eq!(sent(&mut relay, 10), Some(22));
    relay.look_at_wants(20, &wanted(3, &[(0, 22)]));
    assert_eq!(sent(&mut relay, 20), None, "it is under way");
    assert!(relay.seen(at(0, 28)));
    assert_eq!(
        piece(&mut relay, 20),
        [(28, 30, true), (30, 31, false)],
        "the rest was sent before"
    );
    relay.appended(20);
    // Of another one, which is dead.
    let mut importer = dead();
    let mut other = state(1, 5_000, 10);
    other.wants = vector(&[(0, 31), (2, 12)]);
    importer.states(5_000, [other], &mut Vec::new());
    relay.look_at_wants(30, &importer);
    assert_eq!(sent(&mut relay, 30), Some(15), "what is here of it");
}

#[test]
fn what_was_read_by_nobody_is_followed_by_the_next_piece_after_a_while() {
    let mut relay = behind();
    relay.look_at_wants(0, &wanted(1, &[(0, 31)]));
    piece(&mut relay, 0);
    relay.appended(0);
    assert!(piece(&mut relay, 99).is_empty());
    assert_eq!(piece(&mut relay, 100)[0], (36, 38, false));
}

#[test]
fn where_everything_was_erased_whoever_wants_it_is_told() {
    let mut relay = behind();
    relay.look_at_wants(0, &wanted(1, &[(0, 37)]));
    let erased = |at: Cursor| Record::Nothing { through: at.seq };
    let piece = relay.piece(0, 40, erased).to_vec();
    assert_eq!(piece, [entry(0, 37, 40, Body::Nothing)]);
}

#[test]
fn of_a_dead_origin_what_is_here_is_sent_and_what_is_not_stays_open() {
    let mut relay = behind();
    let mut importer = running();
    take(&mut importer, 0, event_entry(2, 10, 20));
    let mut other = state(1, 0, 10);
    other.wants = vector(&[(2, 12)]);
    for now in (0..5_000).step_by(100) {
        other.beat = now;
        importer.states(now, [other.clone(), state(2, 1, 20)], &mut Vec::new());
        relay.look_at_wants(now, &importer);
        assert_eq!(relay.is_behind(now, 40), now >= 2_000, "at {now}");
    }
    let of_the_dead = |at: Cursor| match at.seq {
        _ if at.epoch != epoch(2) => panic!("{at} is not wanted"),
        ..17 => Record::Lost { through: 16 },
        17..20 => Record::Nothing { through: 19 },
        seq => Record::Event(event(&seq.to_string())),
    };
    let piece = relay.piece(5_000, 40, of_the_dead).to_vec();
    assert_eq!(piece, [event_entry(2, 16, 20)]);
}
