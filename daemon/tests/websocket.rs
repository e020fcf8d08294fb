//! WebSockets against the daemon itself: the handshake, what is refused and with which code, what breaks
//! the protocol, silence, slow clients, the end; and the plain protocol at /askr/ws.

use std::time::{Duration, Instant};

use crate::common;
use crate::common::grants::token;
use crate::common::ws::{KEY, Pusher, Socket, app, data, frame};
use crate::common::{Daemon, exchange, publish};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const HANDSHAKE: &str = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn the_handshake_is_the_documented_one_and_a_bad_one_is_told_how() {
    let daemon = Daemon::start(&app(""));
    let ask = |first: &str, headers: &str| {
        exchange(
            daemon.address,
            format!("{first}\r\n{headers}\r\n").as_bytes(),
        )
    };
    let path = format!("GET /app/{KEY}?protocol=7 HTTP/1.1");
    let without = |line: &str| {
        let kept = HANDSHAKE
            .split_inclusive("\r\n")
            .filter(|have| !have.starts_with(line));
        kept.collect::<String>() + "Connection: close\r\n"
    };
    for (first, headers, status, told) in [
        (
            path.as_str(),
            without("Upgrade"),
            "426",
            "\r\nupgrade: websocket\r\n",
        ),
        (
            &path,
            without("Sec-WebSocket-Version"),
            "426",
            "\r\nsec-websocket-version: 13\r\n",
        ),
        (
            &path,
            without("Sec-WebSocket-Key"),
            "400",
            "\r\n\r\nSec-WebSocket-Key must be there once, 16 bytes in base64",
        ),
        (
            &path,
            without("Sec-WebSocket-Key") + "Sec-WebSocket-Key: short\r\n",
            "400",
            "16 bytes",
        ),
        (
            &format!("GET /app/{KEY}?protocol=7 HTTP/1.0"),
            HANDSHAKE.into(),
            "400",
            "HTTP/1.1",
        ),
        (
            &format!("POST /app/{KEY}?protocol=7 HTTP/1.1"),
            without("-") + "Content-Length: 0\r\n",
            "405",
            "GET",
        ),
        (
            "GET /askr/ws HTTP/1.1",
            without("Upgrade"),
            "426",
            "\r\nupgrade: websocket\r\n",
        ),
        (
            "GET /askr/ws?channel=%00 HTTP/1.1",
            without("-"),
            "400",
            "channel",
        ),
        ("GET /app/ HTTP/1.1", without("-"), "404", "not found"),
    ] {
        let answer = ask(first, &headers);
        let whole = answer.to_lowercase();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} "))
                || answer.starts_with(&format!("HTTP/1.0 {status} ")),
            "{first} {headers} {answer}"
        );
        assert!(
            whole.contains(&told.to_lowercase()),
            "{first} {headers} {answer}"
        );
    }
    // A good one, by the RFC's own example. A close of ours ends it.
    let answer = {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(daemon.address).unwrap();
        write!(socket, "{path}\r\n{HANDSHAKE}\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    };
    assert!(
        answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{answer}"
    );
}

/// Told by `pusher:error`, and closed with the same code; nothing else.
fn refused(
    address: std::net::SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
    code: u16,
) -> String {
    let mut socket = Socket::open(address, target, headers);
    let (told, closed, reason) = socket.end();
    assert_eq!(closed, code, "{target} {told:?} {reason}");
    assert_eq!(told.len(), 1, "{target} {told:?}");
    assert_eq!(told[0]["event"], "pusher:error", "{target}");
    assert_eq!(told[0]["data"]["code"], code, "{target}");
    assert_eq!(told[0]["data"]["message"], reason.as_str(), "{target}");
    reason
}

#[test]
fn every_refused_connect_is_told_and_closed_with_its_code() {
    let daemon = Daemon::start(&app("app.allowed_origins = ['https://ours.example']"));
    let at = daemon.address;
    refused(at, "/app/nobodys?protocol=7", &[], 4001);
    refused(at, &format!("/app/{KEY}?protocol=seven"), &[], 4006);
    refused(at, &format!("/app/{KEY}?protocol=4"), &[], 4007);
    refused(at, &format!("/app/{KEY}?protocol=8"), &[], 4007);
    let good = format!("/app/{KEY}?protocol=7");
    let reason = refused(at, &good, &[("Origin", "https://theirs.example")], 4009);
    assert!(reason.contains("allowed_origins"), "{reason}");
    let mut ours = Socket::open(at, &good, &[("Origin", "https://ours.example")]);
    assert_eq!(ours.next()["event"], "pusher:connection_established");
    // None of them became a stream.
    daemon.until("askr_streams", |n| n == 1);
    assert_eq!(daemon.metric("askr_bad_requests_total"), 5);
}

#[test]
fn a_full_application_and_a_full_daemon_say_which_and_have_room_again() {
    let daemon = Daemon::start(&app("app.max_connections = 2"));
    let good = format!("/app/{KEY}?protocol=7");
    let (one, two) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    refused(daemon.address, &good, &[], 4004);
    assert_eq!(
        daemon.metric("askr_refused_total{limit=\"app_connections\"}"),
        1
    );
    drop(one);
    daemon.until("askr_streams", |n| n == 1);
    let three = Pusher::connect(&daemon);
    drop((two, three));

    let daemon = Daemon::start(&app("server.max_connections = 2"));
    let (one, _two) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    refused(daemon.address, &good, &[], 4100);
    assert_eq!(
        daemon.metric("askr_refused_total{limit=\"connections\"}"),
        1
    );
    drop(one);
    daemon.until("askr_connections", |n| n == 1);
    Pusher::connect(&daemon);
}

#[test]
fn what_breaks_the_protocol_is_closed_with_the_code_for_it() {
    let daemon = Daemon::start(&app(""));
    let huge = frame(0x81, &[b'x'; 60_000]);
    let cases: [(&str, Vec<u8>, u16); 7] = [
        ("invalid UTF-8", frame(0x81, b"\"\xff\xfe\""), 1007),
        (
            "half a character at the end",
            frame(0x81, b"\xe2\x82"),
            1007,
        ),
        ("binary", frame(0x82, b"{}"), 1003),
        ("too large", huge, 1009),
        ("not masked", b"\x81\x02{}".to_vec(), 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002),
    ];
    for (what, bytes, code) in cases {
        let mut client = Pusher::connect(&daemon);
        client.ws.raw(&bytes);
        let (before, closed, reason) = client.ws.end();
        assert_eq!((before.len(), closed), (0, code), "{what}: {reason}");
        assert!(!reason.is_empty(), "{what}");
    }
    assert_eq!(
        daemon.metric("askr_websocket_refused_total{what=\"violation\"}"),
        6
    );
    daemon.until("askr_streams", |n| n == 0);
    // Others are served still.
    let mut client = Pusher::connect(&daemon);
    client.subscribe("a");
    daemon.publish("a", "1");
    assert_eq!(client.take("a", 1), ["1"]);
}

#[test]
fn a_message_that_is_far_too_large_is_told_though_it_is_still_on_its_way() {
    let daemon = Daemon::start(&app(""));
    let mut client = Pusher::connect(&daemon);
    let mut bytes = vec![0x81, 0xff];
    bytes.extend((8u64 << 20).to_be_bytes());
    bytes.extend([0; 4]);
    client.ws.raw(&bytes);
    // Until the server no longer takes it.
    let mut socket = client.ws.web.get_ref().try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let chunk = [b'x'; 64 << 10];
        (0..128).all(|_| socket.write_all(&chunk).is_ok())
    });
    assert_eq!(client.ws.code(), 1009);
    drop(client);
    writer.join().unwrap();
}

#[test]
fn messages_in_pieces_and_pings_between_them_are_read() {
    let daemon = Daemon::start(&app(""));
    let mut client = Pusher::connect(&daemon);
    let message = json!({"event": "pusher:subscribe", "data": {"channel": "a"}}).to_string();
    let (one, two) = message.as_bytes().split_at(17);
    let mut bytes = frame(0x01, one);
    bytes.extend(frame(0x89, b"are you there"));
    bytes.extend(frame(0x80, two));
    for byte in bytes {
        client.ws.raw(&[byte]);
    }
    let pong = client.ws.web.read().unwrap();
    assert_eq!(pong.into_data().as_ref(), b"are you there");
    assert_eq!(
        client.next()["event"],
        "pusher_internal:subscription_succeeded"
    );
    // A close is answered with its code.
    client
        .ws
        .web
        .close(Some(tungstenite::protocol::CloseFrame {
            code: 4999.into(),
            reason: "bye".into(),
        }))
        .unwrap();
    assert_eq!(client.ws.code(), 4999);
}

#[test]
fn a_connection_that_never_subscribes_is_counted_pinged_and_pruned() {
    let daemon = Daemon::start(&app(
        "server.activity_timeout = 1.0\nserver.pong_timeout = 1.0\nserver.ping = 0.1",
    ));
    let mut idle = Pusher::connect(&daemon);
    let mut plain = Socket::open(daemon.address, "/askr/ws", &[]);
    let mut alive = Pusher::connect(&daemon);
    daemon.until("askr_streams", |n| n == 3);
    // It answers, and stays until the others are gone.
    let gone = "askr_websocket_refused_total{what=\"no_pong\"}";
    let mut asked = 0;
    while daemon.metric(gone) < 2 || asked < 3 {
        let ping = alive.ws.next();
        assert_eq!(ping, json!({"event": "pusher:ping", "data": "{}"}));
        alive.send("pusher:pong", json!({}));
        asked += 1;
    }
    let (told, code, _) = idle.ws.end();
    assert_eq!(code, 4201);
    let events: Vec<&Value> = told.iter().map(|message| &message["event"]).collect();
    assert_eq!(events, ["pusher:ping", "pusher:error"], "{told:?}");
    // The library would answer ping frames: what came is looked at without it.
    let bytes = plain.bytes();
    let has = |part: &[u8]| bytes.windows(part.len()).any(|at| at == part);
    assert!(has(b"\x89\x00"), "a ping frame");
    assert!(has(&4201u16.to_be_bytes()), "a close with its code");
    daemon.until("askr_streams", |n| n == 1);
}

#[test]
fn a_restart_closes_with_4200_after_everything_was_delivered() {
    let mut daemon = Daemon::start(&app(""));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("a");
    let mut plain = Socket::open(daemon.address, "/askr/ws?channel=a", &[]);
    plain.until(|message| message["subscribed"].is_array());
    let mut publisher = daemon.publisher();
    for n in 0..100 {
        publish(&mut publisher, &["a"], None, None, &n.to_string());
    }
    daemon.until("askr_events_read_total", |n| n == 100);
    daemon.signal(Signal::SIGTERM);
    let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let (told, code, _) = client.ws.end();
    assert_eq!(code, 4200);
    let got: Vec<&str> = told
        .iter()
        .map(|message| message["data"].as_str().unwrap())
        .collect();
    assert_eq!(got, all);
    let (told, code, _) = plain.end();
    assert_eq!(code, 4200);
    let retry = told.last().unwrap()["retry"].as_u64();
    assert!(
        retry.is_some_and(|ms| (200..=400).contains(&ms)),
        "{told:?}"
    );
    let got: Vec<&str> = told
        .iter()
        .filter_map(|message| message["data"].as_str())
        .collect();
    assert_eq!(got, all);
    assert!(daemon.wait().success());
}

#[test]
fn pusher_subscribers_get_what_is_published_and_no_position_unasked() {
    let daemon = Daemon::start(&app(""));
    let (mut stock, mut asks) = (Pusher::connect(&daemon), Pusher::recovering(&daemon));
    assert!(stock.subscribe("a").get("id").is_none());
    assert!(asks.subscribe("a")["id"].is_string());
    let mut publisher = daemon.publisher();
    publish(
        &mut publisher,
        &["a"],
        Some("App\\Events\\Paid"),
        None,
        r#"{"n":1}"#,
    );
    publish(&mut publisher, &["a"], None, Some("own"), "plain");
    let paid = json!({"event": "App\\Events\\Paid", "channel": "a", "data": "{\"n\":1}"});
    let unnamed = json!({"event": "message", "channel": "a", "data": "plain"});
    assert_eq!(stock.next(), paid);
    assert_eq!(stock.next(), unnamed);
    for expected in [paid, unnamed] {
        let mut message = asks.next();
        let id = message.as_object_mut().unwrap().remove("id").unwrap();
        assert!(id.as_str().unwrap().contains('-'), "{id}");
        assert_eq!(message, expected);
    }
    // An event of two channels comes once for each.
    stock.subscribe("b");
    publish(&mut publisher, &["b", "c", "a"], Some("e"), None, "x");
    let mut both = [stock.next(), stock.next()].map(|message| message["channel"].clone());
    both.sort_by_key(Value::to_string);
    assert_eq!(both, ["a", "b"]);
    // Unsubscribed is unsubscribed.
    stock.send("pusher:unsubscribe", json!({"channel": "a"}));
    stock.send("pusher:ping", json!({}));
    assert_eq!(stock.next()["event"], "pusher:pong");
    publish(&mut publisher, &["a"], Some("e"), None, "not for it");
    publish(&mut publisher, &["b"], Some("e"), None, "y");
    assert_eq!(stock.take("b", 1), ["y"]);
}

#[test]
fn what_is_not_allowed_is_told_and_the_connection_goes_on() {
    let daemon = Daemon::start(&app("server.channels_per_socket = 2"));
    let mut client = Pusher::connect(&daemon);
    let error = |told: Value| {
        assert_eq!(told["event"], "pusher:subscription_error", "{told}");
        let data = data(&told);
        (
            data["type"].as_str().unwrap().to_owned(),
            data["status"].as_u64().unwrap(),
        )
    };
    let auth = |status| ("AuthError".to_owned(), status);
    assert_eq!(
        error(client.try_subscribe("private-a", json!({}))),
        auth(401)
    );
    let forged = json!({"auth": format!("{KEY}:{}", "0".repeat(64))});
    assert_eq!(error(client.try_subscribe("private-a", forged)), auth(401));
    let other = common::grants::signature(KEY, "1.2", "private-a", None);
    assert_eq!(error(client.try_subscribe("private-a", other)), auth(401));
    assert_eq!(
        error(client.try_subscribe("a b", json!({}))),
        ("ChannelError".into(), 400)
    );
    assert_eq!(
        error(client.try_subscribe("#server-to-user-7", json!({}))),
        auth(401)
    );
    client.subscribe("private-a");
    client.subscribe("b");
    assert_eq!(
        error(client.try_subscribe("c", json!({}))),
        ("LimitError".into(), 403)
    );
    // Again is no more than once.
    client.subscribe("b");
    daemon.publish("b", "1");
    daemon.publish("private-a", "2");
    assert_eq!(client.take("b", 1), ["1"]);
    assert_eq!(client.take("private-a", 1), ["2"]);
    assert_eq!(
        daemon.metric("askr_websocket_refused_total{what=\"subscription\"}"),
        6
    );
    // What cannot be read is told, and at last ends it.
    for text in ["", "[]", "{\"event\":7}", "null"] {
        client.ws.text(text);
        assert_eq!(client.next()["event"], "pusher:error", "{text}");
    }
    client.ws.text("{");
    let (told, code, _) = client.ws.end();
    assert_eq!((told.len(), code), (1, 4300));
}

/// A WebSocket that is not read until the daemon has counted `metric`, beside one that is.
fn fall_behind(policy: &str, metric: &str) -> (Daemon, Pusher, Pusher, Vec<String>) {
    let daemon = Daemon::start(&app(&format!(
        "server.slow_clients = '{policy}'\nserver.outbox_bytes = '64KiB'\nring.arena = '64MiB'\nserver.ping = 0.1"
    )));
    let (mut slow, mut other) = (Pusher::recovering(&daemon), Pusher::connect(&daemon));
    slow.subscribe("a");
    other.subscribe("a");
    let mut sent = Vec::new();
    while daemon.metric(metric) == 0 {
        assert!(sent.len() < 200, "{metric} never moved");
        more(&daemon, &mut other, &mut sent);
    }
    (daemon, slow, other, sent)
}

fn more(daemon: &Daemon, reader: &mut Pusher, sent: &mut Vec<String>) {
    let data = format!("{} {}", sent.len(), "x".repeat(200_000));
    daemon.publish("a", &data);
    assert!(reader.take("a", 1) == [data.as_str()], "others are served");
    sent.push(data);
}

#[test]
fn a_slow_websocket_gets_every_event_once_and_in_order() {
    let metric = "askr_slow_clients_total{action=\"replay\"}";
    let (daemon, mut slow, mut other, mut sent) = fall_behind("replay", metric);
    for _ in 0..5 {
        more(&daemon, &mut other, &mut sent);
    }
    assert!(slow.take("a", sent.len()) == sent);
    more(&daemon, &mut other, &mut sent);
    assert!(&slow.take("a", 1)[0] == sent.last().unwrap());
    assert_eq!(daemon.metric("askr_outbox_bytes"), 0);
    assert_eq!(daemon.metric("askr_gaps_told_total"), 0);
}

#[test]
fn a_slow_websocket_skips_if_it_is_set_so_and_is_told_how_much() {
    let metric = "askr_slow_clients_total{action=\"skip\"}";
    let (daemon, mut slow, mut other, mut sent) = fall_behind("skip", metric);
    for _ in 0..5 {
        more(&daemon, &mut other, &mut sent);
    }
    let (mut got, mut gap) = (Vec::new(), None);
    while gap.is_none() {
        let message = slow.next();
        match message["event"].as_str() {
            Some("askr:gap") => gap = Some(data(&message)),
            _ => got.push(message["data"].as_str().unwrap().to_owned()),
        }
    }
    more(&daemon, &mut other, &mut sent);
    while got.last() != sent.last() {
        got.extend(slow.take("a", 1));
    }
    let lost = sent.len() - got.len();
    assert!(lost > 0);
    assert_eq!(gap.unwrap(), json!({"lost": lost, "at_most": lost}));
    let places: Vec<_> = got
        .iter()
        .map(|data| sent.iter().position(|s| s == data))
        .collect();
    assert!(places.is_sorted_by(|a, b| a.is_some() && a < b));
}

#[test]
fn a_slow_websocket_is_cut_if_it_is_set_so_and_resumes_by_its_cursor() {
    let metric = "askr_streams_ended_total{reason=\"slow\"}";
    let (daemon, mut slow, _other, sent) = fall_behind("close", metric);
    let (mut got, mut cursor) = (Vec::new(), String::new());
    // Cut in the midst of a frame: there is no close to be read.
    while let Ok(tungstenite::Message::Text(text)) = slow.ws.web.read() {
        let message: Value = serde_json::from_str(&text).unwrap();
        cursor = message["id"].as_str().unwrap().to_owned();
        if message["event"] != "pusher:ping" {
            got.push(message["data"].as_str().unwrap().to_owned());
        }
    }
    assert!(got.len() < sent.len());
    let mut again = Pusher::recovering(&daemon);
    again.subscribe_since("a", Some(&cursor));
    got.extend(again.take("a", sent.len() - got.len()));
    let numbers: Vec<&str> = got.iter().map(|d| d.split(' ').next().unwrap()).collect();
    assert!(got == sent, "{numbers:?} of {}", sent.len());
}

/// The plain protocol: messages that are no heartbeat.
struct Plain {
    ws: Socket,
    cursor: String,
}

impl Plain {
    fn open(daemon: &Daemon, query: &str) -> (Self, Value) {
        let ws = Socket::open(daemon.address, &format!("/askr/ws{query}"), &[]);
        let cursor = String::new();
        let mut plain = Self { ws, cursor };
        let connected = plain.next()["connected"].clone();
        assert!(connected["socket_id"].is_string() && connected["secret"].is_string());
        (plain, connected)
    }

    fn next(&mut self) -> Value {
        loop {
            let message = self.ws.next();
            if let Some(cursor) = message["cursor"].as_str() {
                self.cursor = cursor.to_owned();
            }
            if message
                .as_object()
                .unwrap()
                .keys()
                .any(|key| key != "cursor")
            {
                return message;
            }
        }
    }

    fn ask(&mut self, message: Value) -> Value {
        self.ws.say(&message);
        self.next()
    }

    fn data(&mut self) -> String {
        self.next()["data"].as_str().unwrap().to_owned()
    }
}

#[test]
fn the_plain_protocol_subscribes_unsubscribes_and_pings() {
    let daemon = Daemon::start(&app(""));
    let (mut client, _) = Plain::open(&daemon, "?channel=a&channel=b");
    let subscribed = client.next();
    assert_eq!(subscribed["subscribed"], json!(["a", "b"]));
    assert!(subscribed["cursor"].is_string());
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["a"], Some("e"), Some("own"), "1");
    let event = client.next();
    let cursor = event["cursor"].clone();
    assert_eq!(
        event,
        json!({"channel": "a", "event": "e", "id": "own", "data": "1", "at": cursor, "cursor": cursor})
    );
    publish(&mut publisher, &["a"], None, None, "2");
    let event = client.next();
    assert_eq!(
        (&event["id"], &event["event"]),
        (&event["cursor"], &Value::Null)
    );

    assert_eq!(
        client.ask(json!({"ping": {"n": [1, null]}})),
        json!({"pong": {"n": [1, null]}})
    );
    assert_eq!(
        client.ask(json!({"unsubscribe": ["a", "never"]})),
        json!({"unsubscribed": ["a", "never"]})
    );
    publish(&mut publisher, &["a"], None, None, "not for it");
    publish(&mut publisher, &["b"], None, None, "3");
    assert_eq!(client.data(), "3");

    // A private channel: with a token, not without.
    let refused = client.ask(json!({"subscribe": ["private-a"]}));
    assert_eq!(refused["error"]["code"], 401, "{refused}");
    let grant = token(&["private-a"], 60);
    let told = client.ask(json!({"subscribe": ["private-a"], "token": grant}));
    assert_eq!(told["subscribed"], json!(["private-a"]));
    publish(&mut publisher, &["private-a"], None, None, "4");
    assert_eq!(client.data(), "4");
    // With the connection's own token, too.
    let (mut other, _) = Plain::open(&daemon, &format!("?channel=private-a&token={grant}"));
    assert_eq!(other.next()["subscribed"], json!(["private-a"]));

    let wrong = client.ask(json!({"subscribe": ["a"], "sinse": "x"}));
    assert_eq!(wrong["error"]["code"], 400, "{wrong}");
    let wrong = client.ask(json!({"subscribe": ["#server-to-user-7"]}));
    assert_eq!(wrong["error"]["code"], 403, "{wrong}");
    let other = Socket::open(daemon.address, "/askr/ws", &[]).next();
    assert!(
        other["connected"].is_object(),
        "no channel is needed to begin with: {other}"
    );
}

#[test]
fn a_plain_client_that_was_away_misses_nothing_and_is_told_what_is_gone() {
    let mut daemon = Daemon::start(&app("server.ping = 0.2\nring.slots = 64"));
    let (mut client, _) = Plain::open(&daemon, "?channel=a");
    client.next();
    let first = client.cursor.clone();
    daemon.publish("other", "moves the ring on");
    // A heartbeat tells a quiet client how far it is.
    while client.cursor == first {
        let message = client.ws.next();
        client.cursor = message["cursor"].as_str().unwrap().to_owned();
        assert_eq!(message, json!({"cursor": client.cursor}));
    }
    let cursor = client.cursor.clone();
    drop(client);
    daemon.publish("a", "1");
    daemon.signal(Signal::SIGKILL);
    daemon.restart();
    daemon.publish("a", "2");
    // By the address, and by a subscription.
    let (mut client, _) = Plain::open(&daemon, &format!("?channel=a&last_event_id={cursor}"));
    assert_eq!(client.next()["subscribed"], json!(["a"]));
    assert_eq!([client.data(), client.data()], ["1", "2"]);
    let (mut late, _) = Plain::open(&daemon, "?channel=b");
    late.next();
    let told = late.ask(json!({"subscribe": ["a"], "since": cursor}));
    assert_eq!(told["subscribed"], json!(["a"]));
    assert_eq!([late.data(), late.data()], ["1", "2"]);
    // The channel it had is not disturbed.
    daemon.publish("b", "3");
    assert_eq!(late.data(), "3");

    // Gone is gone, and counted.
    let before = daemon.metric("askr_events_read_total");
    let mut publisher = daemon.publisher();
    for n in 0..200u64 {
        let channel = if n % 20 == 0 { "a" } else { "b" };
        publish(&mut publisher, &[channel], None, None, &n.to_string());
        daemon.until("askr_events_read_total", |read| read > before + n);
    }
    let (mut away, _) = Plain::open(
        &daemon,
        &format!("?channel=a&last_event_id={}", client.cursor),
    );
    away.next();
    let gap = away.next();
    let lost = gap["gap"]["lost"].as_u64().unwrap();
    assert_eq!(gap["gap"], json!({"lost": lost, "at_most": lost}));
    assert!(gap["cursor"].is_string() && lost > 0);
    let rest: Vec<String> = (lost..10).map(|_| away.data()).collect();
    assert_eq!(
        rest,
        (lost..10).map(|n| (n * 20).to_string()).collect::<Vec<_>>()
    );
    // A cursor of another ring.
    let (mut foreign, _) = Plain::open(&daemon, "?channel=b&last_event_id=0123456789ab-77");
    foreign.next();
    assert_eq!(
        foreign.next()["gap"],
        json!({"lost": null, "at_most": null})
    );
}

#[test]
fn three_protocols_on_one_channel_see_the_same_in_the_same_order() {
    let daemon = Daemon::start(&app("server.workers = 2"));
    let mut pushers: Vec<Pusher> = (0..3).map(|_| Pusher::connect(&daemon)).collect();
    pushers
        .iter_mut()
        .for_each(|client| drop(client.subscribe("a")));
    let mut plain: Vec<Plain> = (0..3)
        .map(|_| Plain::open(&daemon, "?channel=a").0)
        .collect();
    plain.iter_mut().for_each(|client| drop(client.next()));
    let mut sse: Vec<_> = (0..3).map(|_| daemon.open("a")).collect();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut publisher = daemon.publisher();
                for n in 0..500 {
                    publish(&mut publisher, &["a"], None, None, &format!("{writer} {n}"));
                }
            });
        }
    });
    let seen = sse[0].take(2000);
    assert!(sse[1..].iter_mut().all(|client| client.take(2000) == seen));
    assert!(
        pushers
            .iter_mut()
            .all(|client| client.take("a", 2000) == seen)
    );
    assert!(
        plain
            .iter_mut()
            .all(|client| (0..2000).all(|n| client.data() == seen[n]))
    );
}

#[test]
fn names_that_are_not_for_subscribers_are_refused_at_every_door() {
    let daemon = Daemon::start(&app(""));
    let mut stream = daemon.open("a");
    let me = stream.me();
    let mut pusher = Pusher::connect(&daemon);
    for name in [
        "askr:x",
        "pusher:x",
        "pusher_internal:x",
        "#server-to-user-7",
    ] {
        let get = |path: &str, headers: &str| {
            let query = name.replace('#', "%23");
            let request = format!("GET {path}?channel={query} HTTP/1.1\r\n{headers}\r\n");
            exchange(daemon.address, request.as_bytes())
        };
        let refused = |answer: &str| {
            let (bad, denied) = ("HTTP/1.1 400 ", "HTTP/1.1 403 ");
            assert!(
                answer.starts_with(bad) || answer.starts_with(denied),
                "{name}: {answer}"
            );
        };
        refused(&get("/askr/events", "Host: x\r\nConnection: close\r\n"));
        let once = format!("{HANDSHAKE}Connection: close\r\n");
        refused(&get("/askr/ws", &once));
        let said = daemon.try_subscribe(&me, &[name], Value::Null);
        assert!([400, 403].contains(&said.status), "{name}: {said:?}");
        let mut plain = Socket::open(daemon.address, "/askr/ws?channel=a", &[]);
        plain.say(&json!({"subscribe": ["b", name]}));
        let error = plain.until(|message| !message["error"].is_null());
        assert!(
            [json!(400), json!(403)].contains(&error["error"]["code"]),
            "{error}"
        );
        let error = pusher.try_subscribe(name, Value::Null);
        assert_eq!(error["event"], "pusher:subscription_error", "{error}");
    }
    // Nobody is on a channel by such a name, or on one that was asked for together with it. The sockets that were
    // dropped may be noticed a moment later.
    while daemon.channels() != json!({"a": 1}) {
        let channels = daemon.channels();
        let names = channels.as_object().map_or(0, |all| all.len());
        assert_eq!(names, 1, "{channels}");
    }
}

/// Neither whole seconds nor the spread of `stream_max_age` take from the time.
#[test]
fn a_pusher_connection_has_all_of_the_time_in_which_it_must_authorize() {
    for age in [0, 36_000] {
        let daemon = Daemon::start(&app(&format!(
            "app.authorize_timeout = 1\nserver.stream_max_age = {age}\n"
        )));
        let before = Instant::now();
        let mut nobody = Pusher::connect(&daemon);
        assert_eq!(nobody.ws.code(), 4009);
        assert!(before.elapsed() >= Duration::from_secs(1), "{age}");
    }
}

#[test]
fn a_pusher_connection_that_does_not_authorize_in_time_is_ended() {
    let daemon = Daemon::start(&app("app.authorize_timeout = 1\n"));
    let mut nobody = Pusher::connect(&daemon);
    let mut public = Pusher::connect(&daemon);
    public.subscribe("a");
    let mut forged = Pusher::connect(&daemon);
    let wrong = json!({"auth": format!("{KEY}:{}", "0".repeat(64))});
    let told = forged.try_subscribe("private-a", wrong);
    assert_eq!(told["event"], "pusher:subscription_error", "{told}");
    // Whoever showed once who it is stays, whatever it is subscribed to later.
    let mut private = Pusher::connect(&daemon);
    private.subscribe("private-a");
    private.send("pusher:unsubscribe", json!({"channel": "private-a"}));
    private.subscribe("a");
    let mut member = Pusher::recovering(&daemon);
    member.join("presence-a", "7");
    let mut user = Pusher::connect(&daemon);
    user.sign_in("8", &[]);
    assert_eq!(user.next()["event"], "pusher:signin_success");
    let mut plain = Socket::open(daemon.address, "/askr/ws?channel=a", &[]);
    let mut stream = daemon.open("a");

    for unknown in [&mut nobody, &mut public, &mut forged] {
        let (before, code, reason) = unknown.ws.end();
        let error = before.last().unwrap();
        assert_eq!(error["event"], "pusher:error", "{error}");
        assert_eq!((&error["data"]["code"], code), (&json!(4009), 4009));
        assert_eq!(reason, "nobody signed in or authorized in time");
    }
    let counted = "askr_websocket_refused_total{what=\"unauthorized\"}";
    assert_eq!(daemon.metric(counted), 3);
    // Ended at the same tick as those, had they been meant.
    daemon.publish("a", "hello");
    private.ws.until(|message| message["data"] == "hello");
    plain.until(|message| message["data"] == "hello");
    assert_eq!(stream.next().data, "hello");
    for known in [&mut member, &mut user] {
        known.send("pusher:ping", json!({}));
        known.ws.until(|message| message["event"] == "pusher:pong");
    }
}
