//! `app.strict`: only events whose names are listed are published over the HTTP API or sent by clients.

use crate::common::api::{ok, post};
use crate::common::ws::{Pusher, app};
use crate::common::{Daemon, refused};
use serde_json::{Value, json};

const STRICT: &str = "app.strict = true\napp.events = ['OrderShipped', 'client-typing']";

fn event(name: &str) -> Value {
    json!({"name": name, "data": "1", "channel": "a"})
}

#[test]
fn a_name_that_is_not_listed_is_refused_with_the_nearest_one() {
    let daemon = Daemon::start(&app(STRICT));
    let mut sse = daemon.open("a");
    let refused = post(&daemon, "/apps/7/events", &event("OrderShiped"));
    let why = "name \"OrderShiped\" is not in app.events; did you mean \"OrderShipped\"?";
    assert_eq!((refused.status, refused.body.trim()), (400, why));
    // Of a batch nothing is published.
    let batch = json!({"batch": [event("OrderShipped"), event("Other")]});
    let refused = post(&daemon, "/apps/7/batch_events", &batch);
    assert_eq!(
        (refused.status, refused.body.trim()),
        (400, "name \"Other\" is not in app.events")
    );
    ok(post(&daemon, "/apps/7/events", &event("OrderShipped")));
    assert_eq!(sse.take(1), ["1"]);
    assert_eq!(daemon.metric("askr_refusals_total{reason=\"event\"}"), 2);
}

#[test]
fn a_client_event_that_is_not_listed_is_refused_and_the_connection_stays() {
    let daemon = Daemon::start(&app(STRICT));
    let (mut ada, mut bob) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    for client in [&mut ada, &mut bob] {
        client.subscribe("private-a");
    }
    for name in ["client-typo", "client-typing"] {
        let message = json!({"event": name, "channel": "private-a", "data": {}});
        ada.ws.say(&message);
    }
    let told = ada.next();
    assert_eq!(
        (&told["event"], &told["data"]["code"]),
        (&json!("pusher:error"), &Value::Null)
    );
    let why = "event \"client-typo\" is not in app.events; did you mean \"client-typing\"?";
    assert_eq!(told["data"]["message"], why);
    assert_eq!(bob.next()["event"], "client-typing");
    assert_eq!(
        daemon.metric("askr_websocket_refused_total{what=\"event_name\"}"),
        1
    );
}

#[test]
fn looking_for_the_nearest_name_costs_a_share_of_the_rate() {
    let rates = "app.client_events_total = 2\napp.client_event_rate = 1000";
    let daemon = Daemon::start(&app(&format!("{STRICT}\n{rates}")));
    let mut ada = Pusher::connect(&daemon);
    ada.subscribe("private-a");
    let message = json!({"event": "client-typo", "channel": "private-a", "data": {}});
    let mut codes = Vec::new();
    for _ in 0..20 {
        ada.ws.say(&message);
        codes.push(ada.next()["data"]["code"].clone());
    }
    assert_eq!(codes[0], Value::Null);
    assert!(codes.contains(&json!(4301)), "{codes:?}");
}

#[test]
fn without_strict_any_name_will_do() {
    let daemon = Daemon::start(&app("app.events = ['OrderShipped']"));
    ok(post(&daemon, "/apps/7/events", &event("whatever")));
}

#[test]
fn what_cannot_be_is_told_by_file_key_and_reason() {
    for (settings, why) in [
        (
            "strict = true",
            "app.strict: needs the names that events may have, in events",
        ),
        (
            "events = ['pusher:x']",
            "app.events: \"pusher:x\" must not start with \"pusher:\"",
        ),
    ] {
        refused(&format!("[app]\n{settings}\n"), why);
    }
}
