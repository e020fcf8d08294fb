//! What a gap says. Exactly how many events of the stream's channels were lost, wherever that is known; a bound
//! in the situations that docs/LOSS.md lists, here one by one; and nothing to a quiet channel outside of them.

use std::os::unix::fs::FileExt;

use crate::common::{Client, Daemon, publish};
use nix::sys::signal::Signal;
use shared::cursor::Cursor;
use shared::prim::Ordering::AcqRel;
use shared::segment::Segment;

const SLOTS: u64 = 64;

fn seq(cursor: &str) -> u64 {
    cursor.parse::<Cursor>().unwrap().seq
}

/// Publishes to `channel` as fast as the daemon reads, so that it loses nothing itself; returns the last position.
fn fill(daemon: &Daemon, channel: &str, count: u64) -> u64 {
    let mut publisher = daemon.publisher();
    let publish = |n: u64| {
        let read = daemon.metric("askr_events_read_total");
        let seq = publish(&mut publisher, &[channel], None, None, &n.to_string());
        daemon.until("askr_events_read_total", |now| now > read);
        seq
    };
    (0..count).map(publish).last().unwrap()
}

/// The same while nobody reads; returns the last position.
fn fill_unread(daemon: &Daemon, channel: &str, count: u64) -> u64 {
    let mut publisher = daemon.publisher();
    let publish = |n: u64| publish(&mut publisher, &[channel], None, None, &n.to_string());
    (0..count).map(publish).last().unwrap()
}

fn bound(n: u64) -> String {
    format!("{{\"lost\":null,\"at_most\":{n}}}")
}

fn exactly(n: u64) -> String {
    format!("{{\"lost\":{n},\"at_most\":{n}}}")
}

const UNKNOWN: &str = r#"{"lost":null,"at_most":null}"#;

/// It is reported this gap first of all.
fn assert_gap(client: &mut Client, gap: &str) {
    let message = client.next();
    assert_eq!(
        (message.event.as_str(), message.data.as_str()),
        ("askr:gap", gap)
    );
}

/// It is reported none: the next event is the first thing it hears.
fn assert_none(daemon: &Daemon, client: &mut Client, channel: &str) {
    daemon.publish(channel, "first");
    let message = client.next();
    assert_eq!(
        (message.event.as_str(), message.data.as_str()),
        ("message", "first")
    );
}

/// Resuming "quiet" at position `seq` of the ring that `cursor` is of gives no gap.
fn assert_none_since(daemon: &Daemon, cursor: &str, seq: u64) {
    let cursor = Cursor {
        seq,
        ..cursor.parse().unwrap()
    };
    let mut quiet = daemon.resume("quiet", &cursor.to_string());
    assert_none(daemon, &mut quiet, "quiet");
}

fn with_slots(more: &str) -> Daemon {
    Daemon::start(&format!("ring.slots = {SLOTS}\n{more}"))
}

#[test]
fn known_positions_are_counted_exactly_and_a_quiet_channel_has_none() {
    let daemon = with_slots("");
    let before = daemon.open("a").cursor();
    fill(&daemon, "a", 10);
    fill(&daemon, "b", 100);
    assert_gap(&mut daemon.resume("a", &before), &exactly(10));
    assert_none(&daemon, &mut daemon.resume("quiet", &before), "quiet");
}

#[test]
fn overwritten_while_no_askrd_was_running_is_a_bound() {
    let mut daemon = with_slots("");
    let before = daemon.open("a").cursor();
    daemon.signal(Signal::SIGKILL);
    let last = fill_unread(&daemon, "b", 3 * SLOTS);
    daemon.restart();
    // From the cursor to the oldest position that was held at the start.
    let lost = last + 1 - SLOTS - (seq(&before) + 1);
    assert_gap(&mut daemon.resume("quiet", &before), &bound(lost));
    // Who had all that was overwritten is reported nothing.
    assert_none_since(&daemon, &before, last - SLOTS);
}

#[test]
fn a_restart_within_the_ring_is_no_gap() {
    let mut daemon = with_slots("");
    let before = daemon.open("a").cursor();
    fill(&daemon, "b", SLOTS / 2);
    daemon.signal(Signal::SIGKILL);
    fill_unread(&daemon, "b", SLOTS / 4);
    daemon.restart();
    assert_none(&daemon, &mut daemon.resume("quiet", &before), "quiet");
}

/// A page may be quicker than askrd: its cursor is then of what askrd has not read yet.
#[test]
fn a_cursor_that_is_ahead_of_askrd_is_no_gap() {
    let daemon = Daemon::start("");
    let ring = Segment::open(&daemon.ring(), |_| true).unwrap();
    let mut publisher = daemon.publisher();
    for _ in 0..100 {
        let mut client = Client::connect(daemon.address);
        // The claim of a publisher that was killed: askrd waits for it for some milliseconds.
        ring.ring().tail().fetch_add(1, AcqRel);
        publish(&mut publisher, &["quiet"], None, None, "in the state");
        let cursor = publisher.cursor().unwrap();
        let query = format!("/askr/events?channel=quiet&last_event_id={cursor}");
        client.request(&query, &[]);
        publish(&mut publisher, &["quiet"], None, None, "after it");
        let message = client.next();
        assert_eq!(
            (message.event.as_str(), message.data.as_str()),
            ("message", "after it")
        );
    }
}

#[test]
fn overwritten_while_askrd_was_held_up_is_a_bound_to_everybody() {
    let daemon = with_slots("");
    let mut live = daemon.open("quiet");
    let before = live.cursor();
    daemon.hold_up();
    fill_unread(&daemon, "b", 3 * SLOTS);
    daemon.signal(Signal::SIGCONT);
    daemon.publish("quiet", "after that");
    let mut reported = 0;
    let after = loop {
        let message = live.next();
        if message.event == "message" {
            break message;
        }
        let gap: serde_json::Value = serde_json::from_str(&message.data).unwrap();
        assert!(
            message.event == "askr:gap" && gap["lost"].is_null(),
            "{message:?}"
        );
        reported += gap["at_most"].as_u64().unwrap();
    };
    let lost = daemon.metric("askr_positions_lost_total{reason=\"lapped\"}");
    assert!(lost > 0);
    assert_eq!(reported, lost);
    let mut back = daemon.resume("quiet", &before);
    assert_gap(&mut back, &bound(lost));
    assert_eq!(back.next().data, "after that");
    assert_none(&daemon, &mut daemon.resume("quiet", &after.id), "quiet");
}

#[test]
fn a_record_that_cannot_be_read_is_a_bound_of_one_to_everybody() {
    let daemon = with_slots("");
    let mut live = daemon.open("quiet");
    let before = live.cursor();
    daemon.hold_up();
    daemon.publish("b", "what a hostile publisher overwrites");
    let ring = std::fs::read(daemon.ring()).unwrap();
    let at = ring
        .windows(9)
        .position(|nine| nine == b"a hostile")
        .unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(daemon.ring())
        .unwrap();
    file.write_all_at(b"X", at as u64).unwrap();
    daemon.signal(Signal::SIGCONT);
    assert_gap(&mut live, &bound(1));
    assert_gap(&mut daemon.resume("quiet", &before), &bound(1));
}

#[test]
fn an_index_that_forgot_positions_has_a_bound_for_what_was_overwritten_too() {
    let daemon = with_slots("broadcast.index_entries = 100");
    let before = daemon.open("a").cursor();
    fill(&daemon, "a", 10);
    // Forgotten, but held: everything is there.
    fill(&daemon, "b", SLOTS / 4);
    let mut back = daemon.resume("a", &before);
    assert_eq!(back.take(10).len(), 10);
    fill(&daemon, "b", 200);
    // Overwritten as well: no more than were on the channel.
    assert_gap(&mut daemon.resume("a", &before), &bound(10));
    // A channel that never had an event has none to forget.
    assert_none(&daemon, &mut daemon.resume("quiet", &before), "quiet");
}

#[test]
fn an_index_that_forgot_channels_has_a_bound_for_what_was_overwritten_too() {
    let daemon = with_slots("broadcast.index_channels = 2");
    let before = daemon.open("a").cursor();
    fill(&daemon, "a", 10);
    for n in 0..10 {
        fill(&daemon, &format!("c{n}"), 1);
    }
    // Forgotten, but held: everything is there, and a quiet channel has no gap.
    assert_eq!(daemon.resume("a", &before).take(10).len(), 10);
    assert_none(&daemon, &mut daemon.resume("quiet", &before), "quiet");
    let mut last = 0;
    for n in 0..2 * SLOTS {
        last = fill(&daemon, &format!("d{n}"), 1);
    }
    // Nobody knows whose the overwritten ones were: one that never had an event could have been among them.
    let lost = last + 1 - SLOTS - (seq(&before) + 1);
    assert_gap(&mut daemon.resume("never-heard-of", &before), &bound(lost));
    assert_none_since(&daemon, &before, last - SLOTS);
}

#[test]
fn large_events_of_others_that_were_overwritten_and_forgotten_are_no_gap_of_a_quiet_channel() {
    // Their slots are there, their bodies are not.
    let daemon =
        Daemon::start("ring.slots = 1024\nring.arena = '1MiB'\nbroadcast.index_channels = 2");
    let before = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    for n in 0..100u64 {
        publish(
            &mut publisher,
            &[&format!("c{n}")],
            None,
            None,
            &"x".repeat(50_000),
        );
        daemon.until("askr_events_read_total", |read| read > n);
    }
    let mut quiet = daemon.resume("quiet", &before);
    assert_none(&daemon, &mut quiet, "quiet");
    // A gap in its own channel is reported.
    let mut own = daemon.resume("c0", &before);
    assert_gap(&mut own, &bound(1));
}

#[test]
fn an_id_that_several_events_had_is_a_bound() {
    let daemon = with_slots("");
    let mut publisher = daemon.publisher();
    let first = publish(&mut publisher, &["a"], None, Some("order-7"), "1");
    publish(&mut publisher, &["a"], None, None, "2");
    let newest = publish(&mut publisher, &["a"], None, Some("order-7"), "3");
    publish(&mut publisher, &["a"], None, Some("order-8"), "4");
    daemon.until("askr_events_read_total", |n| n == 4);
    let mut client = daemon.resume("a", "order-7");
    assert_gap(&mut client, &bound(newest - first));
    assert_eq!(client.next().data, "4");
    assert_none(&daemon, &mut daemon.resume("a", "order-8"), "a");
}

#[test]
fn what_is_not_of_this_ring_has_no_bound() {
    let daemon = with_slots("");
    let here = daemon.open("a").cursor();
    let unknown = ["0123456789ab-1", "what nobody ever published"];
    let future = Cursor {
        seq: seq(&here) + 1000,
        ..here.parse().unwrap()
    };
    for cursor in unknown
        .map(str::to_owned)
        .into_iter()
        .chain([future.to_string()])
    {
        assert_gap(&mut daemon.resume("quiet", &cursor), UNKNOWN);
    }
}

#[test]
fn a_ring_that_is_replaced_has_no_bound() {
    let daemon = with_slots("");
    let mut live = daemon.open("quiet");
    let before = live.cursor();
    // Cut short by whoever may write it.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(daemon.ring())
        .unwrap();
    file.set_len(4096).unwrap();
    assert_gap(&mut live, UNKNOWN);
    assert_gap(&mut daemon.resume("quiet", &before), UNKNOWN);
}
