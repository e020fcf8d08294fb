//! Many patterns, and hostile ones: each update goes to whom it is for, and what is one too many is asked to come back.

use crate::common::Client;
use crate::common::mercure::{Hub, P, all, bearer, encode, start, until};

/// As many as one application has by default.
const MOST: usize = 10_000;
/// Of one stream, beside the topic that ends each test.
const EACH: usize = 99;

/// The query of a stream with these patterns, which gets the end, too.
fn query(patterns: impl Iterator<Item = String>) -> String {
    let patterns = patterns.map(|text| format!("match_urlpattern={}&", encode(&text)));
    patterns.collect::<String>() + "match=end"
}

/// Every second one begins with the same text as all of its kind, and is an expression.
fn pattern(n: usize) -> String {
    match n % 2 {
        0 => format!("/p/{n}/:id"),
        _ => format!("/x/:number(\\d+)-{n}"),
    }
}

/// A topic that the pattern of this number matches, and no other.
fn topic(n: usize) -> String {
    match n % 2 {
        0 => format!("https://x/p/{n}/1"),
        _ => format!("/x/12-{n}"),
    }
}

/// Streams with the patterns from 0 to [`MOST`].
fn fill(hub: &Hub) -> Vec<Client> {
    let token = all();
    let numbers: Vec<usize> = (0..MOST).collect();
    let streams = numbers.chunks(EACH);
    streams
        .map(|own| hub.subscribe(&query(own.iter().map(|n| pattern(*n))), &token))
        .collect()
}

#[test]
fn case_16_of_ten_thousand_patterns_each_gets_its_own() {
    // Each matcher counts as a channel, too.
    let hub = start(
        "server.connections_per_address = 1000\nserver.channels_per_address = 0\n\
         app.mercure_patterns_per_address = 100000\n",
    );
    let mut streams = fill(&hub);
    // The next is one too many; a known one is not.
    let refused = hub.get(
        &format!("{P}?{}", query(["/q/:id".to_owned()].into_iter())),
        &bearer(&all()),
    );
    assert!(refused.body.starts_with("retry: "), "{refused:?}");
    assert_eq!(hub.0.metric("askr_refused_total{limit=\"patterns\"}"), 1);
    let again = hub.subscribe(&query([pattern(7)].into_iter()), &all());
    drop(again);

    let published: Vec<usize> = (0..MOST).step_by(97).collect();
    for n in &published {
        hub.publish(&[
            ("topic", &topic(*n)),
            ("data", &n.to_string()),
            ("private", ""),
        ]);
    }
    // Of several topics, to the streams of all of them, once to each.
    let both = [
        ("topic", &*topic(0)),
        ("topic", &*topic(1)),
        ("topic", &*topic(MOST - 1)),
        ("data", "several"),
    ];
    hub.publish(&both);
    hub.publish(&[("topic", "/x/12-nobody"), ("data", "nobody")]);
    hub.publish(&[("topic", "end"), ("data", "end")]);
    let last = (MOST - 1) / EACH;
    for (number, stream) in streams.iter_mut().enumerate() {
        let own = published.iter().filter(|n| **n / EACH == number);
        let mut expected: Vec<String> = own.map(usize::to_string).collect();
        if number == 0 || number == last {
            expected.push("several".to_owned());
        }
        assert_eq!(until(stream, "end"), expected, "stream {number}");
    }

    // Those that nobody has make room.
    drop(streams);
    hub.0.until("askr_streams", |streams| streams == 0);
    let mut next = hub.subscribe(&query((0..EACH).map(|n| format!("/q/{n}/:id"))), &all());
    hub.publish(&[("topic", "https://x/q/5/1"), ("data", "room")]);
    assert_eq!(next.next().data, "room");
}

#[test]
fn case_16_a_hostile_pattern_takes_time_in_proportion_to_the_topic() {
    let hub = start("");
    // Each would take a backtracking matcher longer than the world is old.
    let hostile = [
        "/((?:(?:a+)+)b)",
        "/((?:a|a|aa)*c)",
        "/((?:a*)*d)",
        // Not hexadecimal, as the last letter of its own active subscription may be.
        "/(.*.*.*.*.*.*.*.*z)",
    ];
    let mut viewer = hub.subscribe(
        &query(hostile.iter().map(|text| (*text).to_owned())),
        &all(),
    );
    let topic = format!("/{}", "a".repeat(1023));
    for _ in 0..20 {
        hub.publish(&[("topic", &topic), ("data", "not for it")]);
    }
    let matched = format!("/{}b", "a".repeat(1022));
    hub.publish(&[("topic", &matched), ("data", "for it")]);
    hub.publish(&[("topic", "end"), ("data", "end")]);
    assert_eq!(until(&mut viewer, "end"), ["for it"]);
}
