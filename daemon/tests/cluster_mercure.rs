//! A Mercure hub on several hosts: topics by way of a real Redis, and the ids by which a client goes on elsewhere.

use crate::common::Client;
use crate::common::hosts::{host, meet};
use crate::common::mercure::{Hub, all, announced, encode, member, old, one, presence, until};
use crate::common::redis::Redis;
use serde_json::json;

fn hub(redis: &Redis, name: &str) -> Hub {
    Hub::by("", |settings| host(redis, name, settings))
}

fn two(redis: &Redis) -> (Hub, Hub) {
    let two = (hub(redis, "a"), hub(redis, "b"));
    meet(&[&two.0.0, &two.1.0]);
    two
}

fn private(hub: &Hub, topic: &str, data: &str) -> String {
    hub.publish(&[("topic", topic), ("data", data), ("private", "on")])
}

fn public(hub: &Hub, topic: &str, data: &str) -> String {
    hub.publish(&[("topic", topic), ("data", data)])
}

/// The updates that come next, whether or not more was lost before them.
fn updates(client: &mut Client, count: usize) -> Vec<String> {
    let updates = std::iter::repeat_with(|| client.next());
    let updates = updates.filter(|update| update.event != "askr:gap");
    updates.take(count).map(|update| update.data).collect()
}

/// What a resumed stream says of the id that it came with.
fn known(client: &Client) -> Option<String> {
    let mut lines = client.head.lines();
    let line = lines.find_map(|line| line.strip_prefix("Mercure-Last-Event-ID: "));
    line.map(str::to_owned)
}

#[test]
fn an_update_of_one_host_reaches_the_subscribers_of_the_other() {
    const BOOKS: &str = "https://x/books/:id";
    let redis = Redis::start();
    let (a, b) = two(&redis);
    let pattern = format!("match_urlpattern={}&match=end", encode(BOOKS));
    let granted = one(&["subscribe"], &[("urlpattern", BOOKS)]);
    let other = one(&["subscribe"], &[("exact", "https://x/books/2")]);
    let mut viewers: Vec<(Client, Client, Client, Client, Client)> = [&a, &b]
        .map(|hub| {
            (
                hub.subscribe("match=https://x/books/1&match=end", &granted),
                hub.subscribe(&pattern, &granted),
                hub.subscribe(
                    &format!("topic={}&topic=end", encode("https://x/books/{id}")),
                    &old(&[], &["https://x/books/{id}"]),
                ),
                hub.subscribe(&pattern, &other),
                hub.subscribe("match=b&match=end", &granted),
            )
        })
        .into();
    a.publish(&[
        ("topic", "https://x/books/1"),
        ("topic", "b"),
        ("data", "public"),
        ("type", "t"),
    ]);
    private(&a, "https://x/books/1", "private");
    private(&a, "https://x/books/2", "second");
    public(&a, "other", "other");
    public(&a, "end", "end");
    for (exact, pattern, template, other, by_second) in &mut viewers {
        let first = exact.next();
        assert_eq!((&*first.event, &*first.data), ("t", "public"));
        assert!(first.id.starts_with("#~"), "a vector: {first:?}");
        assert_eq!(until(exact, "end"), ["private"]);
        assert_eq!(until(pattern, "end"), ["public", "private", "second"]);
        assert_eq!(until(template, "end"), ["public", "private", "second"]);
        assert_eq!(until(other, "end"), ["public", "second"]);
        assert_eq!(until(by_second, "end"), ["public"]);
    }
}

#[test]
fn an_id_of_one_host_goes_on_at_the_other_with_nothing_lost_and_nothing_twice() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    let mut on_a = a.subscribe("match=a", &all());
    let mut on_b = b.subscribe("match=a", &all());
    for n in 0..3 {
        private(&a, "a", &format!("a{n}"));
    }
    assert_eq!(on_b.take(3), ["a0", "a1", "a2"]);
    private(&b, "a", "b0");
    assert_eq!(on_b.take(1), ["b0"]);
    assert_eq!(on_a.take(3), ["a0", "a1", "a2"]);
    let last = on_a.next();
    assert_eq!(last.data, "b0");
    private(&a, "a", "a3");
    private(&b, "a", "b1");
    let mut after = [on_a.take(2), on_b.take(2)];
    after.iter_mut().for_each(|after| after.sort());
    assert_eq!(after, [["a3", "b1"], ["a3", "b1"]]);
    for token in [all(), one(&["subscribe"], &[("urlpattern", "*")])] {
        for at in [&a, &b] {
            let query = format!("match=a&last_event_id={}", encode(&last.id));
            let mut back = at.subscribe(&query, &token);
            assert_eq!(known(&back).as_deref(), Some(&*last.id));
            let mut rest = back.take(2);
            rest.sort();
            assert_eq!(rest, ["a3", "b1"]);
        }
    }
    // And who was not granted it does not get it there either.
    let stranger = one(&["subscribe"], &[("exact", "other")]);
    let query = format!("match=a&match=end&last_event_id={}", encode(&last.id));
    let mut stranger = b.subscribe(&query, &stranger);
    public(&a, "end", "end");
    assert_eq!(until(&mut stranger, "end"), [""; 0]);
}

#[test]
fn a_publisher_s_id_is_of_no_host_and_the_updates_come_at_least_once() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    let mut on_b = b.subscribe("match=a", &all());
    for n in 1..4 {
        let (id, data) = (format!("urn:{n}"), n.to_string());
        a.publish(&[("topic", "a"), ("id", &id), ("data", &data)]);
    }
    let first = on_b.next();
    assert_eq!((&*first.id, &*first.data), ("urn:1", "1"));
    assert_eq!(on_b.take(2), ["2", "3"]);
    for at in [&a, &b] {
        let mut back = at.subscribe("match=a&last_event_id=urn:2", &all());
        assert_eq!(known(&back).as_deref(), Some("earliest"));
        assert_eq!(updates(&mut back, 3), ["1", "2", "3"]);
        // The vector behind it is what a browser comes back with: with that nothing comes twice.
        let seen = back.cursor_after("urn:3");
        assert!(seen.starts_with("#~"), "{seen}");
        for at in [&a, &b] {
            let query = format!("match=a&match=end&last_event_id={}", encode(&seen));
            let mut back = at.subscribe(&query, &all());
            public(at, "end", "end");
            assert_eq!(until(&mut back, "end"), [""; 0]);
        }
    }
}

#[test]
fn what_a_post_is_answered_is_an_id_on_its_host_and_at_least_once_on_others() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    let mut on_b = b.subscribe("match=a", &all());
    let first = public(&a, "a", "1");
    public(&a, "a", "2");
    assert!(first.starts_with('#'), "{first}");
    assert_eq!(on_b.take(2), ["1", "2"]);
    let query = format!("match=a&last_event_id={}", encode(&first));
    let mut on_a = a.subscribe(&query, &all());
    assert_eq!(known(&on_a).as_deref(), Some(&*first));
    assert_eq!(on_a.take(1), ["2"]);
    let mut on_b = b.subscribe(&query, &all());
    assert_eq!(known(&on_b).as_deref(), Some("earliest"));
    assert_eq!(updates(&mut on_b, 2), ["1", "2"]);
}

/// They are of one host: nobody is there twice, and nobody hears of the other host's.
#[test]
fn active_subscriptions_are_of_one_host() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    let mut on_a = a.subscribe(
        &format!("{}&match=end", presence("room")),
        &member("room", "ada", 600),
    );
    assert_eq!(announced(&mut on_a).2, json!({"user_id": "ada"}), "itself");
    let _on_b = b.subscribe(&presence("room"), &member("room", "bob", 600));
    public(&b, "end", "end");
    assert_eq!(until(&mut on_a, "end"), [""; 0]);
    assert_eq!(
        (a.0.metric("askr_streams"), b.0.metric("askr_streams")),
        (1, 1)
    );
}
