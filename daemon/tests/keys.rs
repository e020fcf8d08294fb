//! Keys: of the events with one key the first counts, whoever publishes them, on every transport and after a restart.

use crate::common::Daemon;
use crate::common::api::{ok, post};
use crate::common::ws::{Pusher, app};
use nix::sys::signal::Signal;
use serde_json::json;
use shared::event::EventRef;
use shared::segment::{Segment, now_ns};
use shared::writer::{self, Body};

fn publish(daemon: &Daemon, key: &str, data: &str) {
    let event = EventRef {
        channels: &[b"a"],
        key: Some(key.as_bytes()),
        data: data.as_bytes(),
        ..EventRef::default()
    };
    daemon.publisher().publish(&event).unwrap();
}

const REPEATED: &str = "askr_events_repeated_total";

#[test]
fn an_event_that_php_and_the_http_api_publish_with_one_key_arrives_once() {
    let mut daemon = Daemon::start(&app(""));
    let before = daemon.publisher().cursor().unwrap();
    let mut sse = daemon.open("a");
    let mut pusher = Pusher::connect(&daemon);
    pusher.subscribe("a");
    publish(&daemon, "job-1", "of PHP");
    let again =
        json!({"name": "e", "data": "of the API", "channel": "a", "idempotency_key": "job-1"});
    assert_eq!(ok(post(&daemon, "/apps/7/events", &again)), "{}");
    let batch = json!({"batch": [
        {"name": "e", "data": "first of two", "channel": "a", "idempotency_key": "job-2"},
        {"name": "e", "data": "second of two", "channel": "a", "idempotency_key": "job-2"},
        {"name": "e", "data": "without", "channel": "a"},
    ]});
    ok(post(&daemon, "/apps/7/batch_events", &batch));
    publish(&daemon, "job-2", "a third");
    daemon.publish("a", "last");
    let all = ["of PHP", "first of two", "without", "last"];
    assert_eq!(sse.take(4), all);
    for data in all {
        assert_eq!(pusher.next()["data"], data);
    }
    daemon.until(REPEATED, |count| count == 3);

    // Nor does anybody who comes later find the others, also after a kill.
    let cursor = format!("channel=a&last_event_id={before}");
    let replay = |daemon: &Daemon| daemon.open_with(&cursor, &[]).take(4);
    assert_eq!(replay(&daemon), all);
    daemon.signal(Signal::SIGKILL);
    publish(&daemon, "job-1", "while askrd is away");
    daemon.restart();
    assert_eq!(replay(&daemon), all);
    publish(&daemon, "job-2", "after the restart");
    daemon.publish("a", "live");
    let mut more = daemon.open_with(&cursor, &[]);
    assert_eq!(more.take(5)[4], "live");
    daemon.until(REPEATED, |count| count == 2);
}

#[test]
fn a_key_is_one_line_of_two_hundred_bytes() {
    let daemon = Daemon::start(&app(""));
    for (key, why) in [
        (String::new(), "cannot be empty"),
        ("a\nb".into(), "must not contain CR, LF or NUL bytes"),
        ("k".repeat(201), "must be at most 200 bytes long"),
    ] {
        let event = json!({"name": "e", "data": "", "channel": "a", "idempotency_key": key});
        let said = post(&daemon, "/apps/7/events", &event);
        assert_eq!(
            (said.status, said.body),
            (400, format!("idempotency_key {why}\n"))
        );
    }
}

#[test]
fn an_event_of_topics_reaches_no_channel_and_harms_nobody() {
    let mut daemon = Daemon::start(&app(""));
    let before = daemon.publisher().cursor().unwrap();
    let mut sse = daemon.open("a");
    // As a publisher may write it that does not ask what askrd reads.
    let event = EventRef {
        topics: &[b"https://example.com/a"],
        private: true,
        data: b"of topics",
        ..EventRef::default()
    };
    let mut head = Vec::new();
    event.encode_head(&mut head);
    let segment = Segment::open(&daemon.ring(), |_| true).unwrap();
    let body = Body {
        head: &head,
        data: event.data,
        flags: event.flags(),
        published: now_ns(),
    };
    writer::publish(segment.ring(), 9, body).unwrap();
    daemon.publish("a", "after");
    assert_eq!(sse.take(1), ["after"]);
    // Nor does it in a replay, of a channel that is known or not, before and after a restart.
    for _ in 0..2 {
        let query = format!("channel=a&channel=https://example.com/a&last_event_id={before}");
        assert_eq!(daemon.open_with(&query, &[]).take(1), ["after"]);
        daemon.signal(Signal::SIGKILL);
        daemon.restart();
    }
}
