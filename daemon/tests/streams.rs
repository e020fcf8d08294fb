//! What subscribers receive: live, replayed, across the seam, when slow, when there is loss.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use crate::common::{Client, Daemon, publish};
use shared::cursor::Cursor;

fn seq(cursor: &str) -> u64 {
    cursor.parse::<Cursor>().unwrap().seq
}

#[test]
fn an_event_arrives_as_it_was_published() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    let first = client.cursor();
    let mut publisher = daemon.publisher();
    publish(
        &mut publisher,
        &["a"],
        Some("App\\Shipped"),
        None,
        " one\r\ntwo\rthree\n\u{2028}\u{1f600}",
    );
    let message = client.next();
    assert_eq!(message.event, "App\\Shipped");
    assert_eq!(message.data, " one\ntwo\nthree\n\u{2028}\u{1f600}");
    assert!(seq(&message.id) > seq(&first));
    for data in ["", ":", "data: x\n\nid: 1", &"x".repeat(1 << 20)] {
        publish(&mut publisher, &["a"], None, None, data);
        assert_eq!(client.next().data, data);
    }
}

#[test]
fn several_channels_bring_an_event_once_raw_and_once_each_as_json() {
    let daemon = Daemon::start("");
    let mut raw = daemon.open_with("channel=a&channel=b", &[]);
    let mut json = daemon.open_with("channel=a&channel=b&format=json", &[]);
    let mut publisher = daemon.publisher();
    publish(
        &mut publisher,
        &["b", "x", "a"],
        Some("e"),
        Some("own"),
        "1",
    );
    publish(&mut publisher, &["x"], None, None, "not for them");
    publish(&mut publisher, &["a"], None, None, "2");
    assert_eq!(raw.take(2), ["1", "2"]);
    let read = |client: &mut Client| {
        let message = client.next();
        assert_eq!(message.event, "message");
        (
            serde_json::from_str::<serde_json::Value>(&message.data).unwrap(),
            message.id,
        )
    };
    let first = read(&mut json).0;
    // Its cursor, by which a client knows it on each channel.
    let at = first["at"].clone();
    let shown = |channel| serde_json::json!({"channel": channel, "event": "e", "id": "own", "data": "1", "at": at});
    assert_eq!(first, shown("b"));
    assert_eq!(read(&mut json).0, shown("a"));
    let (last, id) = read(&mut json);
    assert_eq!(
        last,
        serde_json::json!({"channel": "a", "event": null, "id": id, "data": "2"})
    );
    // The replay has the same.
    let mut again = daemon.open_with("channel=a&channel=b&format=json&last_event_id=own", &[]);
    assert_eq!(read(&mut again), (last, id));
}

#[test]
fn the_cursor_resumes_by_header_and_by_parameter() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    let before = client.cursor();
    for n in 0..300 {
        daemon.publish(if n % 3 == 0 { "a" } else { "b" }, &n.to_string());
    }
    let due: Vec<String> = (0..300).step_by(3).map(|n| n.to_string()).collect();
    assert_eq!(client.take(100), due);
    let middle = client.parser.last_event_id().to_owned();
    assert_eq!(daemon.resume("a", &before).take(100), due);
    let mut by_parameter = daemon.open_with(&format!("channel=a&last_event_id={before}"), &[]);
    assert_eq!(by_parameter.take(100), due);
    // The header wins: a reconnecting browser sends it while its URL stays as it was.
    let query = format!("channel=a&last_event_id={before}");
    let mut both = daemon.open_with(&query, &[("Last-Event-ID", &middle)]);
    daemon.publish("a", "new");
    assert_eq!(both.next().data, "new");
    assert_eq!(client.next().data, "new");
}

#[test]
fn a_custom_id_is_shown_and_resumes_and_so_does_the_cursor_after_it() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["a"], None, Some("order-1"), "1");
    publish(
        &mut publisher,
        &["b"],
        None,
        Some("order-2"),
        "on another channel",
    );
    publish(&mut publisher, &["a"], None, None, "2");
    assert_eq!(client.next().id, "order-1");
    assert_eq!(client.next().data, "2");
    assert_eq!(daemon.resume("a", "order-1").next().data, "2");
    // An id of another channel is nobody's here.
    let mut unknown = daemon.resume("a", "order-2");
    let gap = unknown.next();
    assert_eq!(
        (gap.event.as_str(), gap.data.as_str()),
        ("askr:gap", r#"{"lost":null,"at_most":null}"#)
    );
    assert_eq!(unknown.take(2), ["1", "2"]);
}

#[test]
fn an_unknown_cursor_is_told_as_a_gap_and_gets_what_is_held() {
    let daemon = Daemon::start("");
    daemon.publish("a", "1");
    daemon.publish("b", "2");
    daemon.publish("a", "3");
    daemon.until("askr_events_read_total", |n| n == 3);
    let mut client = daemon.resume("a", "0123456789ab-77");
    // No cursor before the gap: a client cut here would never hear of it.
    let gap = client.next();
    assert_eq!(
        (gap.event.as_str(), gap.data.as_str()),
        ("askr:gap", r#"{"lost":null,"at_most":null}"#)
    );
    assert_eq!(client.take(2), ["1", "3"]);
    // A position that nobody has published yet is just as unknown.
    let mut cursor: Cursor = client.parser.last_event_id().parse().unwrap();
    cursor.seq += 1000;
    let mut client = daemon.resume("a", &cursor.to_string());
    assert_eq!(client.next().event, "askr:gap");
    daemon.publish("a", "4");
    assert_eq!(client.next().data, "4");
}

#[test]
fn what_was_overwritten_is_counted_exactly_and_a_quiet_channel_has_no_gap() {
    let daemon = Daemon::start("ring.slots = 64");
    let before = daemon.open_with("channel=a&channel=quiet", &[]).cursor();
    let mut publisher = daemon.publisher();
    for n in 0..210u64 {
        publish(
            &mut publisher,
            &[if n % 21 == 0 { "a" } else { "b" }],
            None,
            None,
            &n.to_string(),
        );
        // At the reader's pace, so that the reader itself loses nothing.
        daemon.until("askr_events_read_total", |read| read == n + 1);
    }
    let mut client = daemon.resume("a", &before);
    let gap = client.next();
    // Ten on the channel, the last three of them among the 64 positions that are left.
    assert_eq!(
        (gap.event.as_str(), gap.data.as_str()),
        ("askr:gap", r#"{"lost":7,"at_most":7}"#)
    );
    assert_eq!(client.take(3), ["147", "168", "189"]);
    assert!(seq(&gap.id) > seq(&before));

    let mut quiet = daemon.resume("quiet", &before);
    daemon.publish("quiet", "x");
    let first = quiet.next();
    assert_eq!(
        (first.event.as_str(), first.data.as_str()),
        ("message", "x")
    );
}

#[test]
fn pings_tell_a_quiet_stream_how_far_the_ring_is() {
    let daemon = Daemon::start("server.ping = 0.2");
    let mut client = daemon.open("quiet");
    let first = client.cursor();
    daemon.publish("busy", "x");
    let told = client.cursor_after(&first);
    assert_eq!(seq(&told), seq(&first) + 1);
    assert!(client.parser.comments() >= 2);
    daemon.publish("quiet", "y");
    assert_eq!(client.next().data, "y");
    // Nothing is lost to who comes back with a cursor from a ping.
    assert_eq!(daemon.resume("quiet", &told).next().data, "y");
}

/// A client that is not read until the daemon has counted `metric`, beside one that is.
fn fall_behind(policy: &str, metric: &str) -> (Daemon, Client, Client, Vec<String>) {
    fall_behind_with(policy, metric, "")
}

fn fall_behind_with(
    policy: &str,
    metric: &str,
    settings: &str,
) -> (Daemon, Client, Client, Vec<String>) {
    let daemon = Daemon::start(&format!(
        "server.slow_clients = '{policy}'\nserver.outbox_bytes = '64KiB'\nring.arena = '64MiB'\n{settings}"
    ));
    let slow = daemon.open("a");
    let mut other = daemon.open("a");
    let mut publisher = daemon.publisher();
    let mut sent = Vec::new();
    // More than the kernel takes for a socket that is not read.
    while daemon.metric(metric) == 0 {
        assert!(sent.len() < 200, "{metric} never moved");
        sent.push(more(&mut publisher, &mut other, sent.len()));
    }
    (daemon, slow, other, sent)
}

fn more(publisher: &mut shared::publisher::Publisher, reader: &mut Client, n: usize) -> String {
    let data = format!("{n} {}", "x".repeat(200_000));
    publish(publisher, &["a"], None, None, &data);
    assert_eq!(reader.next().data, data, "others are served");
    data
}

#[test]
fn a_slow_client_gets_the_rest_from_the_ring_without_a_new_connection() {
    let metric = "askr_slow_clients_total{action=\"replay\"}";
    let (daemon, mut slow, mut other, mut sent) = fall_behind("replay", metric);
    let mut publisher = daemon.publisher();
    for _ in 0..5 {
        sent.push(more(&mut publisher, &mut other, sent.len()));
    }
    assert!(slow.take(sent.len()) == sent);
    // And it is live again.
    sent.push(more(&mut publisher, &mut other, sent.len()));
    assert_eq!(&slow.next().data, sent.last().unwrap());
    assert_eq!(daemon.metric("askr_outbox_bytes"), 0);
    assert_eq!(daemon.metric("askr_gaps_told_total"), 0);
}

#[test]
fn a_slow_client_skips_if_it_is_set_so_and_is_told_how_much() {
    let metric = "askr_slow_clients_total{action=\"skip\"}";
    let (daemon, mut slow, mut other, mut sent) = fall_behind("skip", metric);
    let mut publisher = daemon.publisher();
    for _ in 0..5 {
        sent.push(more(&mut publisher, &mut other, sent.len()));
    }
    let mut got = Vec::new();
    let gap = loop {
        let message = slow.next();
        match message.event.as_str() {
            "askr:gap" => break message.data,
            _ => got.push(message.data),
        }
    };
    sent.push(more(&mut publisher, &mut other, sent.len()));
    while got.last() != sent.last() {
        got.push(slow.next().data);
    }
    let lost = sent.len() - got.len();
    assert!(lost > 0);
    assert_eq!(gap, format!("{{\"lost\":{lost},\"at_most\":{lost}}}"));
    assert_eq!(daemon.metric("askr_events_skipped_total"), lost as u64);
    // What it got is in order, and each event once.
    let places: Vec<_> = got
        .iter()
        .map(|data| sent.iter().position(|s| s == data))
        .collect();
    assert!(places.is_sorted_by(|a, b| a.is_some() && a < b));
}

#[test]
fn a_slow_client_that_skips_what_the_index_forgot_is_told_a_bound() {
    let metric = "askr_slow_clients_total{action=\"skip\"}";
    let (daemon, mut slow, mut other, mut sent) =
        fall_behind_with("skip", metric, "broadcast.index_entries = 2");
    let mut publisher = daemon.publisher();
    for _ in 0..5 {
        sent.push(more(&mut publisher, &mut other, sent.len()));
    }
    let (mut got, mut gaps) = (Vec::new(), Vec::new());
    while got.last() != sent.last() {
        let message = slow.next();
        match message.event.as_str() {
            "askr:gap" => {
                gaps.push(serde_json::from_str::<serde_json::Value>(&message.data).unwrap());
                sent.push(more(&mut publisher, &mut other, sent.len()));
            }
            _ => got.push(message.data),
        }
    }
    let bound: u64 = gaps
        .iter()
        .map(|gap| gap["at_most"].as_u64().unwrap())
        .sum();
    assert!(gaps[0]["lost"].is_null(), "{gaps:?}");
    assert!(bound >= (sent.len() - got.len()) as u64, "{gaps:?}");
}

#[test]
fn a_slow_client_is_cut_if_it_is_set_so_and_resumes_by_its_cursor() {
    let metric = "askr_streams_ended_total{reason=\"slow\"}";
    let (daemon, mut slow, _other, sent) = fall_behind("close", metric);
    let mut got: Vec<String> = slow.end().into_iter().map(|message| message.data).collect();
    assert!(got.len() < sent.len());
    let cursor = slow.parser.last_event_id().to_owned();
    got.extend(daemon.resume("a", &cursor).take(sent.len() - got.len()));
    assert!(got == sent);
    assert_eq!(daemon.metric("askr_outbox_bytes"), 0);
}

#[test]
fn a_client_that_takes_nothing_is_cut_in_time_even_while_it_pulls() {
    let daemon = Daemon::start("server.write_timeout = 0.5\nring.arena = '64MiB'");
    let before = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    for _ in 0..60 {
        publish(&mut publisher, &["a"], None, None, &"x".repeat(500_000));
    }
    daemon.until("askr_events_read_total", |n| n == 60);
    let client = daemon.resume("a", &before);
    daemon.until("askr_streams_ended_total{reason=\"stalled\"}", |n| n == 1);
    daemon.until("askr_outbox_bytes", |n| n == 0);
    drop(client);
    // One that reads gets all of it.
    assert!(
        daemon
            .resume("a", &before)
            .take(60)
            .iter()
            .all(|data| data.len() == 500_000)
    );
}

#[test]
fn nothing_is_lost_or_doubled_where_replay_meets_live_events() {
    let daemon = Daemon::start("ring.slots = 131072");
    let before = daemon.open("a").cursor();
    const EVENTS: u64 = 30_000;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = daemon.publisher();
            for n in 0..EVENTS {
                publish(&mut publisher, &["a"], None, None, &n.to_string());
                if n % 64 == 0 {
                    // Not so fast that it is over before anybody came.
                    daemon.until("askr_events_read_total", |read| read + 1024 > n);
                }
            }
            done.store(true, Relaxed);
        });
        for reader in 0..4u64 {
            let (daemon, before, done) = (&daemon, &before, &done);
            scope.spawn(move || {
                let (mut cursor, mut next, mut connects) = (before.clone(), 0u64, 0u64);
                while next < EVENTS {
                    let mut client = daemon.resume("a", &cursor);
                    connects += 1;
                    // Leaves after a while, in the midst of things, and comes back.
                    let stay = 100 + (connects * 977 + reader * 131) % 1500;
                    for _ in 0..stay.min(EVENTS - next) {
                        assert_eq!(client.next().data, next.to_string());
                        next += 1;
                    }
                    // What was read ahead has moved the cursor: go on where it stands. Not by counting
                    // positions: one whose publisher was held up for too long has no event.
                    for message in client.arrived() {
                        assert_eq!(message.data, next.to_string());
                        next += 1;
                    }
                    cursor = client.parser.last_event_id().to_owned();
                }
                assert!(connects > 3 || done.load(Relaxed));
            });
        }
    });
    assert_eq!(daemon.metric("askr_gaps_told_total"), 0);
}

#[test]
fn two_thousand_subscribers_are_served_at_once() {
    let daemon = Daemon::start("");
    let mut clients: Vec<Client> = (0..2000)
        .map(|n| daemon.open_with(&format!("channel=all&channel=own{n}"), &[]))
        .collect();
    daemon.until("askr_streams", |n| n == 2000);
    assert_eq!(daemon.metric("askr_channels"), 2001);
    daemon.publish("all", "everybody");
    let mut publisher = daemon.publisher();
    for n in 0..2000 {
        publish(
            &mut publisher,
            &[&format!("own{n}")],
            None,
            None,
            &n.to_string(),
        );
    }
    let mut ids = HashSet::new();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.take(2), ["everybody".to_owned(), n.to_string()]);
        ids.insert(client.parser.last_event_id().to_owned());
    }
    assert_eq!(ids.len(), 2000);
    drop(clients);
    daemon.until("askr_channels", |n| n == 0);
}

#[test]
fn a_worker_that_is_far_behind_turns_to_the_ring_and_loses_nothing() {
    // A queue of 16 with bursts of hundreds: it runs over again and again.
    let daemon = Daemon::start("broadcast.queue = 16\nserver.workers = 1");
    let mut clients: Vec<Client> = (0..20).map(|_| daemon.open("a")).collect();
    let mut publisher = daemon.publisher();
    let all: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    for data in &all {
        publish(&mut publisher, &["a"], None, None, data);
    }
    for client in &mut clients {
        assert!(client.take(all.len()) == all);
    }
    assert!(daemon.metric("askr_worker_overruns_total") > 0);
}

#[test]
fn a_stream_ends_at_its_age_and_comes_back_without_loss() {
    let daemon = Daemon::start("server.stream_max_age = 1\nserver.ping = 0.2");
    let mut client = daemon.open("a");
    daemon.publish("a", "before");
    assert_eq!(client.next().data, "before");
    let rest = client.end();
    assert!(rest.is_empty());
    assert!(client.parser.retries() >= 2, "it is told when to come back");
    assert_eq!(daemon.metric("askr_streams_ended_total{reason=\"age\"}"), 1);
    let cursor = client.parser.last_event_id().to_owned();
    daemon.publish("a", "after");
    assert_eq!(daemon.resume("a", &cursor).next().data, "after");
}

#[test]
fn a_stream_without_events_ends_and_one_with_events_does_not() {
    let daemon = Daemon::start("server.stream_max_idle = 1\nserver.ping = 0.2");
    let (mut idle, mut busy) = (daemon.open("idle"), daemon.open("busy"));
    let ended = "askr_streams_ended_total{reason=\"idle\"}";
    let mut n = 0;
    while daemon.metric(ended) == 0 {
        daemon.publish("busy", &n.to_string());
        assert_eq!(busy.next().data, n.to_string());
        n += 1;
    }
    assert!(idle.end().is_empty());
    daemon.publish("busy", "still here");
    assert_eq!(busy.next().data, "still here");
}

#[test]
fn a_channel_has_so_many_subscribers_and_the_next_is_told_to_come_back() {
    let daemon = Daemon::start("server.subscribers_per_channel = 2");
    let one = daemon.open("a");
    let mut two = daemon.open_with("channel=a&channel=b", &[]);
    let mut third = daemon.open_with("channel=b&channel=a", &[]);
    assert!(third.end().is_empty() && third.parser.retry().is_some());
    let refused = "askr_refused_total{limit=\"subscribers_per_channel\"}";
    assert_eq!(daemon.metric(refused), 1);
    drop(one);
    daemon.until("askr_streams", |n| n == 1);
    let mut third = daemon.open_with("channel=b&channel=a", &[]);
    daemon.publish("a", "x");
    assert_eq!(
        (two.next().data, third.next().data),
        ("x".into(), "x".into())
    );
}
