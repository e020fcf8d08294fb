//! What subscribers of topics take of askrd's memory: a pattern is compiled once however many ask for it or are granted it,
//! and takes no more than is counted for it, whatever it is.

use crate::common::Client;
use crate::common::mercure::{P, all, bearer, encode, member, one, presence, start};

const KIB: u64 = 1 << 10;

/// A pattern as Echo asks for it, of the subscriptions of a channel of its own.
fn watched(n: usize) -> String {
    let channel = encode(&format!(
        "https://laravel.alt/echo/channel/presence-room.{n}"
    ));
    format!("{P}/subscriptions/:match_type/{channel}/:subscriber")
}

#[test]
fn a_pattern_takes_as_much_as_it_says_and_not_what_matching_it_takes() {
    const PATTERNS: usize = 500;
    let hub = start("server.workers = 1\n");
    let token = one(&["subscribe"], &[("exact", "*")]);
    let held = |from: usize| {
        let texts = (from..from + 20).map(|n| format!("match_urlpattern={}", encode(&watched(n))));
        hub.subscribe(&texts.collect::<Vec<_>>().join("&"), &token)
    };
    let _first = held(PATTERNS);
    let before = hub.0.anonymous();
    let _held: Vec<_> = (0..PATTERNS).step_by(20).map(held).collect();
    // Each is tried on this one's announcement.
    let _watched = hub.subscribe(
        "match=https://laravel.alt/echo/channel/presence-room.1",
        &token,
    );
    let each = hub.0.anonymous().saturating_sub(before) / PATTERNS as u64;
    assert!(each < 24 * KIB, "{each} bytes for each pattern");
}

#[test]
fn a_pattern_is_held_once_for_all_who_ask_for_it_and_were_granted_it() {
    const SUBSCRIBERS: usize = 300;
    let hub = start("server.workers = 1\nserver.connections_per_address = 1000\n");
    // Grants of their own, with patterns that all have.
    let token = |n: usize| member("presence-room", &format!("{n}"), 600);
    let open = |n: usize| hub.subscribe(&presence("presence-room"), &token(n));
    let _first = open(0);
    let before = hub.0.anonymous();
    let _all: Vec<_> = (1..=SUBSCRIBERS).map(open).collect();
    let each = hub.0.anonymous().saturating_sub(before) / SUBSCRIBERS as u64;
    assert!(each < 12 * KIB, "{each} bytes for each subscriber");
}

/// A pattern that takes a few thousand bytes once it is compiled.
fn large(n: usize) -> String {
    format!("/{n}/({})", "ab|cd|".repeat(20) + "ef")
}

fn granting(actions: &[&str], patterns: std::ops::Range<usize>) -> String {
    let texts: Vec<String> = patterns.map(large).collect();
    let topics: Vec<_> = texts
        .iter()
        .map(|text| ("urlpattern", text.as_str()))
        .collect();
    one(actions, &topics)
}

#[test]
fn a_token_of_many_patterns_publishes_and_one_of_too_many_is_none() {
    let hub = start("");
    let many = bearer(&granting(&["publish"], 0..40));
    let post = |topic: &str| hub.post(&many, &[("topic", topic)]).status;
    assert_eq!(
        (post("/39/cd"), post("/40/cd"), post("/39/x")),
        (200, 403, 403)
    );
    let larger = "/([ab]{400})";
    let topics = vec![("urlpattern", larger); 30];
    let refused = hub.post(&bearer(&one(&["publish"], &topics)), &[("topic", "/x")]);
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(refused.body.contains("too much memory"), "{refused:?}");
}

#[test]
fn grants_are_bounded_and_their_room_is_given_back() {
    let hub = start("app.mercure_grants = \"512KiB\"\nserver.connections_per_address = 1000\n");
    let token = |n: usize| granting(&["subscribe"], 40 * n..40 * (n + 1));
    let mut held = Vec::new();
    let refused = (0..50).find(|n| {
        let authorization = format!("Bearer {}", token(*n));
        let mut client = Client::connect(hub.0.address);
        let headers = [("Authorization", &*authorization)];
        client.request(&format!("{P}?match=a"), &headers);
        while client.parser.comments() == 0 {
            if !client.read() {
                return true;
            }
        }
        held.push(client);
        false
    });
    let refused = refused.expect("it is full at some time");
    assert!(refused > 1, "{refused}");
    assert_eq!(hub.0.metric("askr_refused_total{limit=\"grants\"}"), 1);
    // What is granted already takes no more room, and nobody is refused who was granted no pattern.
    let _same = hub.subscribe("match=a", &token(0));
    let _exact = hub.subscribe("match=a", &all());
    drop(held);
    hub.0.until("askr_streams", |streams| streams == 2);
    let _next = hub.subscribe("match=a", &token(refused));
}
