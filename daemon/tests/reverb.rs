//! What Reverb's users rely on and Pusher does not promise: where Reverb is laxer, askrd is, or says which limit and
//! which setting it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use crate::common;
use crate::common::Daemon;
use crate::common::api::{get, ok, post};
use crate::common::grants::{signature, signature_by};
use crate::common::ws::{KEY, Pusher, app, data};
use serde_json::{Value, json};

const ROOM: &str = "presence-room";

/// The answer to a subscription to the room with this `channel_data`, rightly signed.
fn enter(client: &mut Pusher, channel_data: &Value) -> Value {
    let text = channel_data.to_string();
    let more = signature(KEY, &client.id, ROOM, Some(&text));
    client.try_subscribe(ROOM, more)
}

/// The status and the reason of a refused subscription, which is no matter of the secret.
fn limit(told: &Value) -> (u64, String) {
    assert_eq!(told["event"], "pusher:subscription_error", "{told}");
    let error = data(told);
    assert_eq!(error["type"], "LimitError", "{error}");
    let reason = error["error"].as_str().unwrap().to_owned();
    (error["status"].as_u64().unwrap(), reason)
}

/// A reason names the limit and the setting.
fn names(reason: &str, limit: &str, setting: &str) {
    assert!(
        reason.contains(limit) && reason.contains(setting),
        "{limit}, {setting}: {reason}"
    );
}

fn whisper(client: &mut Pusher, data: &Value) {
    let message = json!({"event": "client-x", "channel": "private-a", "data": data});
    client.ws.say(&message);
}

/// What askrd says until it answers a ping, that is, about all messages before.
fn told(client: &mut Pusher) -> Vec<Value> {
    client.send("pusher:ping", json!({}));
    let mut all = Vec::new();
    loop {
        match client.next() {
            pong if pong["event"] == "pusher:pong" => return all,
            other => all.push(other),
        }
    }
}

#[test]
fn a_client_that_names_no_protocol_speaks_7() {
    let daemon = Daemon::start(&app(""));
    for query in ["", "client=hand-written", "protocol=&flash=false"] {
        let mut client = Pusher::with(&daemon, query);
        client.subscribe("private-a");
        daemon.publish("private-a", query);
        assert_eq!(client.take("private-a", 1), [query]);
    }
}

#[test]
fn a_users_info_has_a_limit_which_is_a_setting_and_an_error_of_its_own() {
    let daemon = Daemon::start(&app(""));
    let user = |bytes: usize| json!({"user_id": "ada", "user_info": "x".repeat(bytes - 2)});
    let mut client = Pusher::connect(&daemon);
    let (status, reason) = limit(&enter(&mut client, &user(1025)));
    assert_eq!(status, 403);
    names(&reason, "1024 bytes", "app.user_info_bytes");
    // Many times as long, it is the same.
    let (_, reason) = limit(&enter(&mut client, &user(7000)));
    names(&reason, "1024 bytes", "app.user_info_bytes");
    let told = enter(&mut client, &user(1024));
    assert_eq!(told["event"], "pusher_internal:subscription_succeeded");
    // Who signed nothing is not told of limits.
    let wrong = json!({"auth": format!("{KEY}:{}", "0".repeat(64)), "channel_data": user(2000).to_string()});
    let told = client.try_subscribe("presence-other", wrong);
    assert_eq!(data(&told)["type"], "AuthError", "{told}");

    // Over SSE: 403, and not the 401 of a wrong signature.
    let mut stream = daemon.open("a");
    let me = stream.me();
    let subscribe = |bytes| {
        let text = user(bytes).to_string();
        let auth = json!({"auth": {ROOM: signature(KEY, &me.id, ROOM, Some(&text))}});
        daemon.try_subscribe(&me, &[ROOM], auth)
    };
    let said = subscribe(2000);
    assert_eq!(said.status, 403, "{said:?}");
    names(&said.body, "1024 bytes", "app.user_info_bytes");

    // As much as Reverb's max_message_size allows, and with quotes that its JSON escapes.
    let daemon = Daemon::start(&app("app.user_info_bytes = '10000'"));
    let mut ada = Pusher::connect(&daemon);
    let info = "\"".repeat(4990);
    let told = enter(&mut ada, &json!({"user_id": "ada", "user_info": info}));
    assert_eq!(data(&told)["presence"]["hash"]["ada"], *info, "{told}");
    let mut bob = Pusher::connect(&daemon);
    let told = enter(
        &mut bob,
        &json!({"user_id": "bob", "user_info": "x".repeat(9999)}),
    );
    names(&limit(&told).1, "10000 bytes", "app.user_info_bytes");
    bob.join(ROOM, "bob");
    assert_eq!(data(&ada.next())["user_id"], "bob");
}

#[test]
fn a_users_id_has_a_limit_which_is_a_setting_and_an_error_of_its_own() {
    let id = |bytes| "i".repeat(bytes);
    let daemon = Daemon::start(&app(""));
    let mut client = Pusher::connect(&daemon);
    let (status, reason) = limit(&enter(&mut client, &json!({"user_id": id(129)})));
    assert_eq!(status, 403);
    names(&reason, "128 bytes", "app.user_id_bytes");
    client.sign_in(&id(129), &[]);
    let (told, code, _) = client.ws.end();
    assert_eq!(code, 4009);
    let reason = told[0]["data"]["message"].as_str().unwrap();
    names(reason, "128 bytes", "app.user_id_bytes");

    let daemon = Daemon::start(&app("app.user_id_bytes = 184"));
    let mut client = Pusher::connect(&daemon);
    client.join(ROOM, &id(184));
    client.sign_in(&id(184), &[]);
    let own = format!("#server-to-user-{}", id(184));
    client.ws.until(|message| {
        message["event"] == "pusher_internal:subscription_succeeded" && message["channel"] == *own
    });
    daemon.publish(&own, "for him");
    assert_eq!(client.take(&own, 1), ["for him"]);
    let path = format!("/apps/7/users/{}/terminate_connections", id(184));
    assert_eq!(ok(post(&daemon, &path, &json!({}))), "{}");
    assert_eq!(client.ws.code(), 4009);
}

#[test]
fn members_of_a_channel_have_a_limit_that_is_named_or_none() {
    let daemon = Daemon::start(&app("app.channel_members = 2"));
    let mut clients: Vec<Pusher> = (0..3).map(|_| Pusher::connect(&daemon)).collect();
    clients[0].join(ROOM, "u0");
    clients[1].join(ROOM, "u1");
    let (status, reason) = limit(&enter(&mut clients[2], &json!({"user_id": "u2"})));
    assert_eq!(status, 403);
    names(&reason, "2", "app.channel_members");

    // Pusher's 100 are no limit where it is off; those of all channels are.
    let daemon = Daemon::start(&app("app.channel_members = 0\napp.members = 102"));
    let mut clients: Vec<Pusher> = (0..103).map(|_| Pusher::connect(&daemon)).collect();
    for (n, client) in clients[..102].iter_mut().enumerate() {
        let told = client.join(ROOM, &format!("u{n}"));
        assert_eq!(data(&told)["presence"]["count"], n + 1);
    }
    let (_, reason) = limit(&enter(&mut clients[102], &json!({"user_id": "u102"})));
    names(&reason, "102", "app.members");
}

#[test]
fn channels_of_a_socket_have_a_limit_that_is_named() {
    let daemon = Daemon::start(&app("server.channels_per_socket = 2"));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("a");
    client.subscribe("b");
    let (status, reason) = limit(&client.try_subscribe("c", json!({})));
    assert_eq!(status, 403);
    names(&reason, "2 channels", "server.channels_per_socket");
}

#[test]
fn client_events_have_a_rate_and_a_size_that_are_named_or_no_rate() {
    let start = |more: &str| {
        let daemon = Daemon::start(&app(more));
        let mut client = Pusher::connect(&daemon);
        client.subscribe("private-a");
        (daemon, client)
    };
    let (_daemon, mut client) = start("app.client_event_rate = 3\napp.client_event_bytes = '50'");
    (0..9).for_each(|n| whisper(&mut client, &json!(n)));
    let refused = told(&mut client);
    assert!(!refused.is_empty());
    for error in refused {
        assert_eq!(error["data"]["code"], 4301, "{error}");
        let reason = error["data"]["message"].as_str().unwrap();
        names(reason, "3 client events", "app.client_event_rate");
    }
    whisper(&mut client, &json!("x".repeat(49)));
    let error = told(&mut client).remove(0);
    let reason = error["data"]["message"].as_str().unwrap();
    names(reason, "50 bytes", "app.client_event_bytes");

    let (_daemon, mut client) = start("app.client_events_total = 2\napp.client_event_rate = 1000");
    (0..9).for_each(|n| whisper(&mut client, &json!(n)));
    let error = told(&mut client).remove(0);
    let reason = error["data"]["message"].as_str().unwrap();
    names(reason, "2 client events", "app.client_events_total");

    // As many as messages of any kind, and a rate above that of messages holds, too.
    for (rate, events) in [("0", 900), ("3000", 2900)] {
        let (daemon, mut client) = start(&format!("app.client_event_rate = {rate}"));
        (0..events).for_each(|n| whisper(&mut client, &json!(n)));
        assert_eq!(told(&mut client), [] as [Value; 0], "{rate}");
        assert_eq!(daemon.metric("askr_client_events_total"), events);
    }
}

#[test]
fn a_batch_has_a_limit_that_is_named_or_none() {
    let batch = |size: usize| {
        let event = |n| json!({"name": "e", "data": format!("{n}"), "channel": "a"});
        json!({"batch": (0..size).map(event).collect::<Vec<_>>()})
    };
    let daemon = Daemon::start(&app(""));
    let said = post(&daemon, "/apps/7/batch_events", &batch(11));
    assert_eq!(said.status, 400, "{said:?}");
    names(&said.body, "1 to 10 events", "app.api_batch");
    let daemon = Daemon::start(&app("app.api_batch = 0"));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("a");
    ok(post(&daemon, "/apps/7/batch_events", &batch(500)));
    let all: Vec<String> = (0..500).map(|n: u32| n.to_string()).collect();
    assert_eq!(client.take("a", 500), all);
    // None at all is still no batch.
    assert_eq!(post(&daemon, "/apps/7/batch_events", &batch(0)).status, 400);
}

#[test]
fn data_of_an_event_has_a_limit_that_is_named() {
    let daemon = Daemon::start(&app("app.api_payload = '100'"));
    let event = json!({"name": "e", "data": "x".repeat(101), "channel": "a"});
    let said = post(&daemon, "/apps/7/events", &event);
    assert_eq!(said.status, 413, "{said:?}");
    names(&said.body, "100 bytes", "app.api_payload");
}

#[test]
fn info_is_answered_as_far_as_it_applies() {
    let daemon = Daemon::start(&app(""));
    let read = |path: &str, info: &str| -> Value {
        serde_json::from_str(&ok(get(&daemon, path, &[("info", info)]))).unwrap()
    };
    let mut clients: Vec<Pusher> = (0..3).map(|_| Pusher::connect(&daemon)).collect();
    for (client, user) in clients.iter_mut().zip(["ada", "ada", "bob"]) {
        client.join(ROOM, user);
        client.subscribe("a");
    }
    const ALL: &str = "user_count,subscription_count,cache,occupied,more";
    // Connections are counted on presence channels, too.
    assert_eq!(
        read("/apps/7/channels/presence-room", ALL),
        json!({"occupied": true, "user_count": 2, "subscription_count": 3})
    );
    assert_eq!(
        read("/apps/7/channels/a", ALL),
        json!({"occupied": true, "subscription_count": 3})
    );
    assert_eq!(
        read("/apps/7/channels/a", "everything"),
        json!({"occupied": true})
    );
    let all = json!({
        "a": {"occupied": true, "subscription_count": 3},
        ROOM: {"occupied": true, "user_count": 2, "subscription_count": 3},
    });
    assert_eq!(read("/apps/7/channels", ALL), json!({"channels": all}));
    assert_eq!(
        read("/apps/7/channels", "user_count"),
        json!({"channels": {"a": {}, ROOM: {"user_count": 2}}})
    );
    let event = json!({"name": "e", "data": "1", "channels": ["a", ROOM], "info": ALL});
    let told: Value = serde_json::from_str(&ok(post(&daemon, "/apps/7/events", &event))).unwrap();
    assert_eq!(told, json!({"channels": all}));
    let event = json!({"name": "e", "data": "1", "channel": ROOM, "info": "subscription_count,x"});
    let batch = json!({"batch": [event, {"name": "e", "data": "1", "channel": "a", "info": "x"}]});
    let told: Value =
        serde_json::from_str(&ok(post(&daemon, "/apps/7/batch_events", &batch))).unwrap();
    assert_eq!(told, json!({"batch": [{"subscription_count": 3}, {}]}));
}

#[test]
fn users_channels_and_connections_are_answered_as_by_reverb() {
    let daemon = Daemon::start(&app(""));
    let users = "/apps/7/channels/presence-room/users";
    // Nobody is on it: there is no such channel.
    let said = get(&daemon, users, &[]);
    assert_eq!(said.status, 404, "{said:?}");
    let said = get(&daemon, "/apps/7/channels/a/users", &[]);
    assert_eq!(said.status, 400, "{said:?}");
    assert_eq!(
        ok(get(&daemon, "/apps/7/channels", &[])),
        r#"{"channels":{}}"#
    );
    assert_eq!(
        ok(get(&daemon, "/apps/7/connections", &[])),
        r#"{"connections":0}"#
    );
    let mut clients: Vec<Pusher> = (0..3).map(|_| Pusher::connect(&daemon)).collect();
    for (client, user) in clients.iter_mut().zip(["ada", "ada", "bob"]) {
        client.join(ROOM, user);
    }
    assert_eq!(
        ok(get(&daemon, users, &[])),
        r#"{"users":[{"id":"ada"},{"id":"bob"}]}"#
    );
    assert_eq!(
        ok(get(&daemon, "/apps/7/channels", &[])),
        r#"{"channels":{"presence-room":{}}}"#
    );
    assert_eq!(
        ok(get(&daemon, "/apps/7/connections", &[])),
        r#"{"connections":3}"#
    );
}

#[test]
fn webhooks_have_the_header_names_that_pusher_writes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    let daemon = Daemon::start(&app(&format!("app.webhook_url = '{url}'")));
    Pusher::connect(&daemon).subscribe("a");
    let (socket, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(socket);
    let mut names = Vec::new();
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "POST /hooks HTTP/1.1\r\n");
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        match line.split_once(": ") {
            Some((name, _)) => names.push(name.to_owned()),
            None => break,
        }
    }
    for name in ["X-Pusher-Key", "X-Pusher-Signature", "Content-Type"] {
        assert!(names.iter().any(|one| one == name), "{name}: {names:?}");
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    reader.get_mut().write_all(answer).unwrap();
    let _ = reader.read(&mut [0; 1]);
}

#[test]
fn a_cache_miss_has_no_data() {
    let daemon = Daemon::start(&app(""));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("cache-a");
    assert_eq!(
        client.next(),
        json!({"event": "pusher:cache_miss", "channel": "cache-a"})
    );
    // A presence channel as well.
    let channel = "presence-cache-a";
    let user = json!({"user_id": "ada"}).to_string();
    let more = signature_by(
        common::grants::SECRET,
        KEY,
        &client.id,
        channel,
        Some(&user),
    );
    client.try_subscribe(channel, more);
    assert_eq!(
        client.next(),
        json!({"event": "pusher:cache_miss", "channel": channel})
    );
}
