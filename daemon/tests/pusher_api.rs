//! Pusher's HTTP API against the daemon: signatures, every endpoint, what it answers and what it refuses.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::Daemon;
use crate::common::api::{Call, get, ok, post};
use crate::common::grants::{Said, code, now, request};
use crate::common::ws::{KEY, Pusher, app};
use serde_json::{Value, json};

#[test]
fn events_are_published_to_one_channel_and_to_many_but_not_to_the_sender() {
    let daemon = Daemon::start(&app(""));
    let (mut one, mut two) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    for client in [&mut one, &mut two] {
        client.subscribe("a");
        client.subscribe("private-b");
    }
    let event = |name: &str, data: &str| json!({"name": name, "data": data, "channel": "a"});
    assert_eq!(
        ok(post(&daemon, "/apps/7/events", &event("e", "{\"é\":1}"))),
        "{}"
    );
    let shown = json!({"event": "e", "channel": "a", "data": "{\"é\":1}"});
    assert_eq!((one.next(), two.next()), (shown.clone(), shown));
    let toothers =
        json!({"name": "e", "data": "2", "channels": ["a", "private-b"], "socket_id": one.id});
    assert_eq!(ok(post(&daemon, "/apps/7/events", &toothers)), "{}");
    let mut got = [two.next(), two.next()].map(|message| message["channel"].to_string());
    got.sort();
    assert_eq!(got, ["\"a\"", "\"private-b\""]);
    // They are the ring's events, with a history and for every protocol.
    let mut sse = daemon.open("a");
    let batch = json!({"batch": [
        {"name": "e", "data": "3", "channel": "a"},
        {"name": "e", "data": "4", "channel": "private-b", "info": "subscription_count"},
        {"name": "e", "data": "5", "channel": "a", "socket_id": two.id},
    ]});
    let told: Value =
        serde_json::from_str(&ok(post(&daemon, "/apps/7/batch_events", &batch))).unwrap();
    assert_eq!(told, json!({"batch": [{}, {"subscription_count": 2}, {}]}));
    assert_eq!(sse.take(2), ["3", "5"]);
    let data = |client: &mut Pusher, n| {
        (0..n)
            .map(|_| client.next()["data"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(data(&mut one, 3), ["3", "4", "5"]);
    assert_eq!(data(&mut two, 2), ["3", "4"]);
    let plain = json!({"batch": [{"name": "e", "data": "6", "channel": "a"}]});
    assert_eq!(ok(post(&daemon, "/apps/7/batch_events", &plain)), "{}");
    let asked = json!({"name": "e", "data": "7", "channels": ["a", "nobody"], "info": "subscription_count"});
    let told: Value = serde_json::from_str(&ok(post(&daemon, "/apps/7/events", &asked))).unwrap();
    assert_eq!(
        told,
        json!({"channels": {"a": {"subscription_count": 3}, "nobody": {"subscription_count": 0}}})
    );
    daemon.until("askr_events_read_total", |read| read >= 7);
    assert_eq!(daemon.metric("askr_events_read_total"), 7);
}

#[test]
fn channels_users_and_connections_are_told_over_all_workers() {
    let daemon = Daemon::start(&app("server.workers = 2"));
    // An object, also when it is empty: PHP's library takes a list for an error.
    assert_eq!(
        ok(get(&daemon, "/apps/7/channels", &[])),
        r#"{"channels":{}}"#
    );
    assert_eq!(
        ok(get(&daemon, "/apps/7/channels/a", &[])),
        r#"{"occupied":false}"#
    );
    let mut clients: Vec<Pusher> = (0..4).map(|_| Pusher::connect(&daemon)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("a");
        client.join("presence-room", ["ada", "bob"][n % 2]);
    }
    clients[0].send("pusher:subscribe", json!({"channel": "cache-c"}));
    clients[0].ws.until(|m| m["event"] == "pusher:cache_miss");
    let read = |said: Said| serde_json::from_str::<Value>(&ok(said)).unwrap();
    let all = read(get(
        &daemon,
        "/apps/7/channels",
        &[("info", "subscription_count")],
    ));
    assert_eq!(
        all,
        json!({"channels": {"a": {"subscription_count": 4}, "cache-c": {"subscription_count": 1}, "presence-room": {"subscription_count": 4}}})
    );
    let query = [("filter_by_prefix", "presence-"), ("info", "user_count")];
    assert_eq!(
        read(get(&daemon, "/apps/7/channels", &query)),
        json!({"channels": {"presence-room": {"user_count": 2}}})
    );
    let query = [("info", "user_count,subscription_count")];
    assert_eq!(
        read(get(&daemon, "/apps/7/channels/presence-room", &query)),
        json!({"occupied": true, "user_count": 2, "subscription_count": 4})
    );
    assert_eq!(
        read(get(
            &daemon,
            "/apps/7/channels/a",
            &[("info", "subscription_count")]
        )),
        json!({"occupied": true, "subscription_count": 4})
    );
    let cached = || {
        read(get(
            &daemon,
            "/apps/7/channels/cache-c",
            &[("info", "cache")],
        ))
    };
    assert_eq!(cached(), json!({"occupied": true}));
    daemon.publish("cache-c", "last");
    daemon.until("askr_events_read_total", |n| n == 1);
    let cache = cached()["cache"].clone();
    assert_eq!(cache["data"], "last");
    assert!(
        (1..=1800).contains(&cache["ttl"].as_u64().unwrap()),
        "{cache}"
    );
    let mut users =
        read(get(&daemon, "/apps/7/channels/presence-room/users", &[]))["users"].clone();
    users.as_array_mut().unwrap().sort_by_key(Value::to_string);
    assert_eq!(users, json!([{"id": "ada"}, {"id": "bob"}]));
    assert_eq!(
        ok(get(&daemon, "/apps/7/connections", &[])),
        r#"{"connections":4}"#
    );
    // Asked by who watches whether it is there; not signed.
    assert_eq!(
        ok(request(daemon.address, "GET", "/up", "", "")),
        r#"{"health":"OK"}"#
    );
}

#[test]
fn a_users_connections_are_terminated_and_nobody_elses() {
    let daemon = Daemon::start(&app("server.workers = 2"));
    let mut clients: Vec<Pusher> = (0..6).map(|_| Pusher::connect(&daemon)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.sign_in(["ada", "b b", "3.17"][n % 3], &[]);
        client
            .ws
            .until(|m| m["event"] == "pusher_internal:subscription_succeeded");
        client.subscribe("a");
    }
    assert_eq!(
        ok(post(
            &daemon,
            "/apps/7/users/b%20b/terminate_connections",
            &json!({})
        )),
        "{}"
    );
    for client in [1, 4] {
        let (told, code, _) = clients[client].ws.end();
        assert_eq!(
            (
                told[0]["event"].as_str(),
                told[0]["data"]["code"].as_u64(),
                code
            ),
            (Some("pusher:error"), Some(4009), 4009)
        );
    }
    daemon.until("askr_streams", |n| n == 4);
    daemon.publish("a", "still here");
    for client in [0, 2, 3, 5] {
        assert_eq!(clients[client].take("a", 1), ["still here"]);
    }
    assert_eq!(
        daemon.metric("askr_streams_ended_total{reason=\"command\"}"),
        2
    );
    // Also one whose id looks like a socket id.
    assert_eq!(
        ok(post(
            &daemon,
            "/apps/7/users/3.17/terminate_connections",
            &json!({})
        )),
        "{}"
    );
    daemon.until("askr_streams", |n| n == 2);
    for client in [2, 5] {
        assert_eq!(clients[client].ws.end().1, 4009);
    }
    // Without a body as well, and of nobody.
    assert_eq!(
        ok(Call::new(
            "POST",
            "/apps/7/users/nobody/terminate_connections",
            &[],
            ""
        )
        .send(&daemon)),
        "{}"
    );
}

#[test]
fn what_is_not_signed_or_not_right_is_refused_with_its_status_and_a_line() {
    let daemon = Daemon::start(&app("app.api_payload = '10KiB'"));
    let body = json!({"name": "e", "data": "1", "channel": "a"}).to_string();
    let events = || Call::new("POST", "/apps/7/events", &[], &body);
    let old = (now() - 601).to_string();
    let early = (now() + 700).to_string();
    let refused = |said: Said, status: u16, part: &str| {
        assert_eq!(said.status, status, "{said:?}");
        assert!(
            said.body.contains(part) && said.body.lines().count() == 1,
            "{part}: {said:?}"
        );
    };
    refused(
        events().send_signed(&daemon, &"0".repeat(64)),
        401,
        "the signature is wrong",
    );
    refused(events().send_signed(&daemon, "x"), 401, "");
    refused(
        request(daemon.address, "POST", "/apps/7/events", "", &body),
        401,
        "",
    );
    refused(
        events().with("auth_key", "another").send(&daemon),
        401,
        "key",
    );
    refused(
        events().with("auth_version", "2.0").send(&daemon),
        401,
        "auth_version must be 1.0",
    );
    refused(
        events().with("auth_timestamp", &old).send(&daemon),
        401,
        "600 seconds",
    );
    refused(
        events().with("auth_timestamp", &early).send(&daemon),
        401,
        "600 seconds",
    );
    refused(
        events().with("body_md5", &"0".repeat(32)).send(&daemon),
        401,
        "body_md5",
    );
    let mut other = events();
    other.body = r#"{"name":"e","data":"2","channel":"a"}"#;
    refused(other.send(&daemon), 401, "body_md5");
    // The signature covers the whole query.
    let mut added = Call::new("GET", "/apps/7/channels", &[], "");
    added.query.sort();
    let joined: Vec<String> = added
        .query
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let signature = code(&format!("GET\n/apps/7/channels\n{}", joined.join("&")));
    refused(
        added
            .with("info", "subscription_count")
            .send_signed(&daemon, &signature),
        401,
        "the signature is wrong",
    );
    // Within the window it is taken.
    let near = (now() - 590).to_string();
    assert_eq!(
        events().with("auth_timestamp", &near).send(&daemon).status,
        200
    );

    let bad = |body: Value, status, part: &str| {
        refused(post(&daemon, "/apps/7/events", &body), status, part)
    };
    let big = "x".repeat(10 << 10);
    assert_eq!(
        ok(post(
            &daemon,
            "/apps/7/events",
            &json!({"name": "e", "data": big, "channel": "a"})
        )),
        "{}"
    );
    bad(
        json!({"name": "e", "data": big.clone() + "x", "channel": "a"}),
        413,
        "at most 10240 bytes",
    );
    bad(
        json!({"name": "e", "data": "x".repeat(1 << 20), "channel": "a"}),
        413,
        "longer than",
    );
    bad(
        json!({"name": "e", "data": {"a": 1}, "channel": "a"}),
        400,
        "strings name and data",
    );
    bad(
        json!({"name": "e", "data": "1"}),
        400,
        "either channels or channel",
    );
    bad(
        json!({"name": "e", "data": "1", "channels": []}),
        400,
        "1 to 100",
    );
    let many: Vec<String> = (0..101).map(|n| format!("c{n}")).collect();
    bad(
        json!({"name": "e", "data": "1", "channels": many}),
        400,
        "1 to 100",
    );
    assert_eq!(
        ok(post(
            &daemon,
            "/apps/7/events",
            &json!({"name": "e", "data": "1", "channels": many[..100]})
        )),
        "{}"
    );
    bad(
        json!({"name": "e", "data": "1", "channel": "a b"}),
        400,
        "channel 1",
    );
    bad(
        json!({"name": "", "data": "1", "channel": "a"}),
        400,
        "name",
    );
    bad(
        json!({"name": "e", "data": "1", "channel": "a", "socket_id": "x"}),
        400,
        "socket_id",
    );
    let event = json!({"name": "e", "data": "1", "channel": "a"});
    let batch = json!({"batch": vec![event.clone(); 11]});
    refused(
        post(&daemon, "/apps/7/batch_events", &batch),
        400,
        "1 to 10",
    );
    // One bad event, and none of them is published.
    let before = daemon.metric("askr_events_read_total");
    let batch = json!({"batch": [event, {"name": "e", "data": "1", "channel": "a b"}]});
    refused(
        post(&daemon, "/apps/7/batch_events", &batch),
        400,
        "event 2",
    );
    assert_eq!(daemon.metric("askr_events_read_total"), before);

    refused(
        get(&daemon, "/apps/7/channels/a/users", &[]),
        400,
        "presence channels only",
    );
    refused(get(&daemon, "/apps/7/channels/a%20b", &[]), 400, "channel");
    refused(
        get(&daemon, "/apps/7/nothing", &[]),
        404,
        "no such endpoint",
    );
    refused(get(&daemon, "/apps/8/channels", &[]), 404, "no such app");
    refused(get(&daemon, "/apps/7/events", &[]), 405, "use POST");
    refused(
        post(&daemon, "/apps/7/channels", &json!({})),
        405,
        "use GET",
    );
}

#[test]
fn bodies_of_who_cannot_sign_are_not_kept() {
    const SENDERS: usize = 200;
    let daemon = Daemon::start(&app("server.workers = 1"));
    let before = daemon.memory();
    let body = "x".repeat(800_000);
    let head = format!(
        "POST /apps/7/events?auth_key={KEY}&auth_version=1.0&auth_timestamp={}&auth_signature={} \
         HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
        now(),
        "0".repeat(64),
        body.len() + 1
    );
    // All but the last byte.
    let send = |_| {
        let mut socket = TcpStream::connect(daemon.address).unwrap();
        socket.write_all((head.clone() + &body).as_bytes()).unwrap();
        socket
    };
    let senders: Vec<TcpStream> = (0..SENDERS).map(send).collect();
    // The worker reads from each in turn while it answers others.
    for _ in 0..100 {
        get(&daemon, "/apps/7/channels", &[]);
    }
    let grown = daemon.memory().saturating_sub(before);
    // What hyper reads ahead is there.
    let bodies = (SENDERS * body.len()) as u64;
    assert!(grown < bodies, "{grown} for {bodies} of bodies");
    for mut socket in senders {
        socket.write_all(b"x").unwrap();
        let mut status = [0; 12];
        socket.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 401");
    }
}
