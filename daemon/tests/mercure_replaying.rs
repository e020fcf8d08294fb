//! What happens to a subscriber of topics while it is still given what it missed: its token ends, somebody comes or leaves.

use serde_json::json;

use crate::common::Client;
use crate::common::mercure::{Hub, announced, member, presence, start};

const ROOM: &str = "room";

/// More than any socket holds, so that who does not read is in the middle of it.
fn much(hub: &Hub) {
    let data = "x".repeat(200 << 10);
    for _ in 0..80 {
        hub.publish(&[("topic", ROOM), ("data", &data)]);
    }
    // Past, for whoever subscribes from here on.
    hub.0.until("askr_ring_lag_positions", |lag| lag == 0);
}

fn resumed(hub: &Hub, token: &str) -> Client {
    let query = format!("{}&last_event_id=earliest", presence(ROOM));
    hub.subscribe(&query, token)
}

#[test]
fn a_token_that_ends_during_a_replay_ends_the_stream() {
    let hub = start("server.write_timeout = 1\n");
    much(&hub);
    let mut short = resumed(&hub, &member(ROOM, "ada", 3));
    hub.0.until("askr_streams", |streams| streams == 0);
    // What was on its way is all that it gets, and no more of what it may no longer have.
    hub.publish(&[("topic", ROOM), ("data", "after"), ("private", "on")]);
    let got = short.end();
    assert!(got.iter().all(|update| update.data != "after"));
    assert!(
        got.iter()
            .filter(|update| update.event.is_empty() || update.event == "message")
            .count()
            < 80
    );
}

#[test]
fn who_comes_and_leaves_during_a_replay_is_told_after_it() {
    let hub = start("");
    let about = |user: &str, active| (ROOM.to_owned(), active, json!({"user_id": user}));
    let _bob = hub.subscribe(&presence(ROOM), &member(ROOM, "bob", 600));
    much(&hub);
    let mut ada = resumed(&hub, &member(ROOM, "ada", 600));
    let carol = hub.subscribe(&presence(ROOM), &member(ROOM, "carol", 600));
    let mut watcher = hub.subscribe(&presence(ROOM), &member(ROOM, "dan", 600));
    drop(carol);
    while announced(&mut watcher) != about("carol", false) {}
    let updates = ada.take(80);
    assert!(
        updates.iter().all(|data| data.starts_with('x')),
        "the past comes first"
    );
    let mut told = Vec::new();
    while !told.contains(&about("dan", true)) {
        told.push(announced(&mut ada));
    }
    assert!(told.contains(&about("carol", false)), "{told:?}");
    assert!(told.contains(&about("bob", true)), "{told:?}");
    assert!(!told.contains(&about("carol", true)), "{told:?}");
    assert!(!told.contains(&about("bob", false)), "{told:?}");
}
