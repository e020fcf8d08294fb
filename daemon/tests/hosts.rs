//! Viewers who go from one host to another, with real askrds and a real Redis: what each comes with, and what it gets.

use crate::common::hosts::{imported, publish_numbers, two};
use crate::common::redis::Redis;
use crate::common::ws::{Pusher, Socket};
use crate::common::{Client, Daemon, pages};
use serde_json::{Value, json};
use shared::publisher::Place;

fn publish(host: &Daemon, range: std::ops::Range<u64>) {
    publish_numbers(host, "c", range);
}

/// The next events, none of which is a gap, in order of their numbers.
fn sorted(client: &mut Client, count: usize) -> Vec<u64> {
    let taken = client.take(count);
    let mut numbers: Vec<u64> = taken.iter().map(|n| n.parse().expect("no gap")).collect();
    numbers.sort_unstable();
    numbers
}

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn a_viewer_goes_on_at_another_host_with_the_cursor_that_it_has() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    let mut viewer = a.open("c");
    publish(&a, 0..10);
    assert_eq!(sorted(&mut viewer, 10), numbers(0..10));
    let cursor = viewer.cursor();
    assert!(cursor.starts_with('~'), "{cursor}");
    drop(viewer);
    publish(&a, 10..20);
    publish(&b, 20..30);
    imported(&a, 10);
    imported(&b, 20);
    let mut viewer = b.resume("c", &cursor);
    assert_eq!(sorted(&mut viewer, 20), numbers(10..30));
    // And back, from where it was.
    let mut viewer = a.resume("c", &cursor);
    assert_eq!(sorted(&mut viewer, 20), numbers(10..30));
    publish(&b, 30..31);
    assert_eq!(viewer.take(1), ["30"]);
    assert_eq!(a.metric("askr_gaps_told_total"), 0);
    assert_eq!(b.metric("askr_gaps_told_total"), 0);
}

#[test]
fn a_viewer_that_is_ahead_of_its_new_host_gets_what_is_new_and_nothing_twice() {
    let mut redis = Redis::start();
    let (a, b) = two(&redis);
    redis.kill();
    let mut viewer = a.open("c");
    publish(&a, 0..5);
    assert_eq!(sorted(&mut viewer, 5), numbers(0..5));
    let cursor = viewer.cursor();
    drop(viewer);
    let mut viewer = b.resume("c", &cursor);
    publish(&b, 5..6);
    assert_eq!(viewer.take(1), ["5"]);
    // It goes back with what it has of both.
    let of_both = viewer.cursor_after(&cursor);
    redis.restart();
    imported(&b, 5);
    publish(&a, 6..7);
    assert_eq!(viewer.take(1), ["6"]);
    imported(&a, 1);
    let mut viewer = a.resume("c", &of_both);
    assert_eq!(viewer.take(1), ["6"]);
    assert_eq!(b.metric("askr_gaps_told_total"), 0);
}

#[test]
fn a_page_of_one_host_begins_its_stream_at_another() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    publish(&a, 0..3);
    imported(&b, 3);
    let Place::Vector(place) = b.publisher().place().unwrap() else {
        panic!("of one host")
    };
    publish(&b, 3..5);
    imported(&a, 2);
    let mut viewer = a.resume("c", &place.to_string());
    assert_eq!(sorted(&mut viewer, 2), numbers(3..5));
    assert_eq!(a.metric("askr_gaps_told_total"), 0);
}

#[test]
fn pages_of_a_history_from_host_to_host_have_each_event_once() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    publish(&a, 0..10);
    imported(&b, 10);
    publish(&b, 10..20);
    imported(&a, 10);
    let hosts = [&a, &b];
    let follow = |parameter: &str, first: &str| {
        let (mut all, mut query) = (Vec::new(), format!("limit=3{first}"));
        for host in hosts.iter().cycle() {
            let page = pages::page(host, "c", &query);
            assert!(page["gap"].is_null(), "{page}");
            all.extend(pages::data(&page));
            match page["next"].as_str() {
                Some(next) => query = format!("limit=3&{parameter}={next}"),
                None => break,
            }
        }
        let mut all: Vec<u64> = all.iter().map(|n| n.parse().unwrap()).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(follow("before", ""), numbers(0..20));
    let oldest = pages::rows(&pages::page(&a, "c", "limit=20"))[0].0.clone();
    let since = format!("&since={oldest}");
    assert_eq!(follow("since", &since), numbers(1..20));
}

#[test]
fn websockets_go_on_at_another_host_by_each_channels_cursor() {
    let mut redis = Redis::start();
    let (a, b) = two(&redis);
    let mut pusher = Pusher::recovering(&a);
    pusher.subscribe("c");
    publish(&a, 0..1);
    let cursor = pusher.next()["id"].as_str().unwrap().to_owned();
    assert!(cursor.starts_with('~'), "{cursor}");
    imported(&b, 1);
    // What comes on A now is ahead of B.
    redis.kill();
    publish(&a, 1..2);
    let ahead = pusher.next()["id"].as_str().unwrap().to_owned();
    let mut pusher = Pusher::recovering(&b);
    pusher.subscribe_since("c", Some(&ahead));
    let mut plain = Socket::open(b.address, "/askr/ws", &[]);
    plain.say(&json!({"subscribe": ["c"], "since": cursor}));
    let is_event = |message: &Value| message["channel"] == "c";
    publish(&b, 2..3);
    assert_eq!(pusher.take("c", 1), ["2"]);
    assert_eq!(plain.until(is_event)["data"], "2");
    redis.restart();
    imported(&b, 2);
    publish(&b, 3..4);
    assert_eq!(pusher.take("c", 1), ["3"], "1 is not new to it");
    assert_eq!(plain.until(is_event)["data"], "1", "but to this one");
    assert_eq!(plain.until(is_event)["data"], "3");
    assert_eq!(b.metric("askr_gaps_told_total"), 0);
}

#[test]
fn a_stream_adds_a_channel_with_a_cursor_of_another_host() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    publish(&a, 0..2);
    imported(&b, 2);
    let mut on_b = b.open("other");
    let me = on_b.me();
    let cursor = pages::rows(&pages::page(&a, "c", ""))[0].0.clone();
    let since = json!({"last_event_id": cursor});
    assert_eq!(b.subscribe(&me, &["c"], since), ["c", "other"]);
    assert_eq!(on_b.take(1), ["1"]);
}

#[test]
fn a_viewer_of_a_host_that_is_drained_goes_on_at_the_other() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    let mut viewer = a.open("c");
    publish(&a, 0..5);
    assert_eq!(sorted(&mut viewer, 5), numbers(0..5));
    let order = r#"{"over":0}"#;
    assert_eq!(a.ask("POST", "/drain", order).status, 200);
    assert_eq!(viewer.end(), []);
    // It is out of the way of viewers, and publishes as before.
    publish(&a, 5..10);
    publish(&b, 10..15);
    assert!(!a.open("c").opens());
    let mut again = b.resume("c", viewer.parser.last_event_id());
    assert_eq!(sorted(&mut again, 10), numbers(5..15));
}
