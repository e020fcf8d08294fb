//! Streams that change: who they are, who may change them, what they receive after it, and that they
//! stay who they are across reconnects.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use crate::common::grants::{SECRET, Socket, body, now, request, signature, token, token_by};
use crate::common::{Client, Daemon, exchange, publish};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use shared::cursor::Cursor;
use shared::event::EventRef;

/// One application with a key and a secret.
fn daemon(settings: &str) -> Daemon {
    Daemon::start(&format!(
        "app.key = 'public'\napp.secret = '{SECRET}'\n{settings}"
    ))
}

const NOTHING: Value = Value::Null;

#[test]
fn every_stream_is_told_who_it_is() {
    let daemon = daemon("");
    let mut ids = std::collections::HashSet::new();
    for query in ["channel=a", "channel=a&format=json", "channel=a&channel=b"] {
        let Socket { id, secret } = daemon.open_with(query, &[]).me();
        let (left, right) = id.split_once('.').unwrap();
        // Laravel takes nothing else.
        assert!(
            left.parse::<u32>().is_ok() && right.parse::<u32>().is_ok(),
            "{id}"
        );
        assert!(secret.len() > 40, "{secret}");
        assert!(ids.insert(id));
    }
    let mut one = daemon.open("a");
    let known = one.cursor();
    daemon.publish("a", "x");
    assert_eq!(one.next().data, "x");
    assert_eq!(one.parser.connected().len(), 1, "told once a connection");
    let mut back = daemon.resume("a", &known);
    assert_eq!(back.next().data, "x");
    assert_ne!(back.me(), one.me());
}

#[test]
fn channels_come_and_go_without_a_new_connection() {
    let daemon = daemon("");
    let mut client = daemon.open("a");
    let me = client.me();
    assert_eq!(
        daemon.subscribe(&me, &["b", "c", "b"], NOTHING),
        ["a", "b", "c"]
    );
    assert_eq!(daemon.channels(), json!({"a": 1, "b": 1, "c": 1}));
    for channel in ["a", "b", "c", "d"] {
        daemon.publish(channel, channel);
    }
    assert_eq!(client.take(3), ["a", "b", "c"]);
    assert_eq!(daemon.unsubscribe(&me, &["a", "c", "unknown"]), ["b"]);
    assert_eq!(daemon.channels(), json!({"b": 1}));
    for channel in ["a", "c", "b"] {
        daemon.publish(channel, "later");
    }
    assert_eq!(client.next().data, "later");
    // Nothing of the others was in between: the next one is the next of its channel.
    daemon.publish("b", "last");
    assert_eq!(client.next().data, "last");
    // A stream without channels stays: its page may want others.
    assert!(daemon.unsubscribe(&me, &["b"]).is_empty());
    assert_eq!(daemon.metric("askr_subscriptions"), 0);
    assert_eq!(daemon.subscribe(&me, &["e"], NOTHING), ["e"]);
    daemon.publish("b", "not heard");
    daemon.publish("e", "heard");
    assert_eq!(client.next().data, "heard");
    drop(client);
    daemon.until("askr_streams", |n| n == 0);
    assert_eq!(daemon.channels(), json!({}));
    assert_eq!(daemon.metric("askr_subscriptions"), 0);
}

#[test]
fn what_is_added_is_confirmed_on_the_stream_before_its_events() {
    let daemon = daemon("server.ping = 0.2");
    let missed = publish(&mut daemon.publisher(), &["a"], None, None, "missed");
    // A page that adds its channels later begins without any.
    let mut client = daemon.open_with("session=0123456789abcdef", &[]);
    let me = client.me();
    let begin = client.cursor();
    let (epoch, _) = begin.split_once('-').unwrap();
    let before = format!("{epoch}-{}", missed - 1);
    let since = json!({"last_event_id": before});
    assert_eq!(daemon.subscribe(&me, &["a", "b"], since), ["a", "b"]);
    assert_eq!(client.next().data, "missed");
    let told: Value = serde_json::from_str(&client.parser.subscribed()[0]).unwrap();
    assert_eq!(told, json!({"channels": ["a", "b"], "cursor": before}));
    // The first cursor after it covers all of them.
    daemon.publish("b", "new");
    assert_eq!(client.next().data, "new");
    let mut back = daemon.resume("a&channel=b", &client.cursor_after(&begin));
    daemon.publish("a", "last");
    assert_eq!(back.next().data, "last");
}

#[test]
fn an_event_with_an_id_of_its_own_says_where_it_is_on_each_channel() {
    let daemon = daemon("");
    let mut client = daemon.open_with("channel=a&channel=b&format=json", &[]);
    let begin = client.cursor();
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["a", "b"], None, Some("own"), "x");
    publish(&mut publisher, &["a"], None, None, "y");
    let (first, second, third) = (
        client.next_json().1,
        client.next_json().1,
        client.next_json().1,
    );
    assert_eq!(
        (&first["channel"], &second["channel"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!((&first["id"], &first["at"]), (&json!("own"), &second["at"]));
    let at = Cursor::parse(first["at"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(at.seq, Cursor::parse(begin.as_bytes()).unwrap().seq + 1);
    assert_eq!(third.get("at"), None, "its id is its cursor");
}

#[test]
fn many_streams_change_and_each_has_what_it_wants() {
    let daemon = daemon("");
    let mut clients: Vec<Client> = (0..40).map(|_| daemon.open("all")).collect();
    let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let me = client.me();
        daemon.subscribe(&me, &all, NOTHING);
        // Others keep other places in each channel's list, and in their own.
        daemon.unsubscribe(&me, &[all[n % 10], all[(n + 3) % 10], "all"]);
    }
    let mut publisher = daemon.publisher();
    for name in &all {
        publish(&mut publisher, &[name, "all"], None, None, name);
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let due: Vec<&str> = (0..10)
            .filter(|c| *c != n % 10 && *c != (n + 3) % 10)
            .map(|c| all[c])
            .collect();
        assert_eq!(client.take(8), due, "{n}");
    }
    assert_eq!(daemon.metric("askr_subscriptions"), 40 * 8);
}

#[test]
fn who_may_not_change_a_stream_is_told_why() {
    let daemon = daemon("server.body_bytes = 2000\nserver.header_timeout = 0.5");
    let (mut one, mut other) = (daemon.open("a"), daemon.open("a"));
    let (me, you) = (one.me(), other.me());
    let mixed = |id: &Socket, secret: &str| Socket {
        id: id.id.clone(),
        secret: secret.to_owned(),
    };
    let said = |socket: &Socket, wanted: u16, reason: &str| {
        for path in ["/askr/subscribe", "/askr/unsubscribe"] {
            let said = daemon.post(path, &body(socket, &["b"], NOTHING));
            assert_eq!(said.status, wanted, "{path} {said:?}");
            assert!(said.body.contains(reason), "{said:?}");
            assert!(!said.body.contains(&socket.secret), "{said:?}");
        }
    };
    said(&mixed(&me, &you.secret), 403, "not this socket's");
    said(&mixed(&you, &me.secret), 403, "not this socket's");
    said(&mixed(&me, "nonsense"), 403, "not this socket's");
    let shorter = &me.secret[..me.secret.len() - 1];
    said(&mixed(&me, shorter), 403, "not this socket's");

    let bad = |path: &str, body: &str, wanted: u16, reason: &str| {
        let said = daemon.post(path, body);
        assert_eq!(said.status, wanted, "{body}: {said:?}");
        assert!(said.body.contains(reason), "{said:?}");
        assert_eq!(said.body.lines().count(), 1, "{said:?}");
    };
    let subscribe = "/askr/subscribe";
    bad(subscribe, "{", 400, "the body must be");
    bad(subscribe, "", 400, "the body must be");
    bad(
        subscribe,
        &body(&me, &[], NOTHING),
        400,
        "at least one channel",
    );
    bad(subscribe, &body(&me, &["a\n"], NOTHING), 400, "channel 1");
    bad(
        subscribe,
        &body(&me, &["b"], json!({"more": 1})),
        400,
        "must be",
    );
    let since = json!({"last_event_id": "yesterday"});
    bad(subscribe, &body(&me, &["b"], since), 400, "last_event_id");
    let large = "x".repeat(3000);
    bad(subscribe, &large, 413, "longer than 2000 bytes");
    bad("/askr/unsubscribe", &large, 413, "longer than 2000 bytes");
    // Without a length told before it.
    let chunked = format!(
        "POST {subscribe} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nBB8\r\n{large}\r\n0\r\n\r\n"
    );
    let answer = exchange(daemon.address, chunked.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let slow = format!(
        "POST {subscribe} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{{"
    );
    let answer = exchange(daemon.address, slow.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let wrong = request(daemon.address, "GET", subscribe, "", "");
    assert_eq!(wrong.status, 405);
    assert!(
        wrong.head.to_lowercase().contains("allow: post, options"),
        "{wrong:?}"
    );
    assert_eq!(daemon.post("/askr/events?channel=a", "").status, 405);

    // Nothing of all that changed a stream, and both are still there.
    assert_eq!(daemon.channels(), json!({"a": 2}));
    daemon.publish("a", "x");
    assert_eq!(
        (one.next().data, other.next().data),
        ("x".into(), "x".into())
    );

    drop(one);
    daemon.until("askr_streams", |n| n == 1);
    said(&me, 404, "no such stream");
    // Nor does it open the one that has its place now.
    let mut third = daemon.open("a");
    assert!(third.me().secret != me.secret);
    said(&me, 404, "no such stream");
    assert_eq!(daemon.channels(), json!({"a": 2}));
}

#[test]
fn a_stream_has_so_many_channels_and_all_or_none_are_added() {
    let daemon = daemon("server.channels_per_stream = 5\nserver.max_channels = 6");
    let mut client = daemon.open_with("channel=a&channel=b&channel=c", &[]);
    let me = client.me();
    let said = daemon.try_subscribe(&me, &["d", "e", "f"], NOTHING);
    assert_eq!(said.status, 409, "{said:?}");
    assert!(said.body.contains("at most 5 channels"), "{said:?}");
    let said = daemon.try_subscribe(&me, &["d", "e", "f", "g", "h", "i"], NOTHING);
    assert_eq!(said.status, 400, "{said:?}");
    assert_eq!(daemon.channels(), json!({"a": 1, "b": 1, "c": 1}));
    // Those it has count once.
    assert_eq!(
        daemon.subscribe(&me, &["a", "b", "d", "e"], NOTHING).len(),
        5
    );
    let mut other = daemon.open("f");
    let said = daemon.try_subscribe(&other.me(), &["a", "g"], NOTHING);
    assert_eq!(said.status, 409, "{said:?}");
    assert_eq!(daemon.metric("askr_refused_total{limit=\"channels\"}"), 1);
    assert_eq!(daemon.subscribe(&other.me(), &["a"], NOTHING), ["a", "f"]);
    // One that stays closed keeps the others closed too.
    let said = daemon.try_subscribe(&other.me(), &["b", "private-x"], NOTHING);
    assert_eq!(said.status, 401, "{said:?}");
    daemon.publish("b", "one");
    daemon.publish("a", "two");
    assert_eq!(client.take(2), ["one", "two"]);
    assert_eq!(other.next().data, "two");
}

#[test]
fn pages_of_other_sites_may_not_and_listed_ones_may() {
    let daemon = daemon("server.allowed_origins = ['https://app.example']");
    let mut client = daemon.open("a");
    let me = client.me();
    let ask = |method: &str, path: &str, origin: &str| {
        let headers = format!("Origin: {origin}\r\nContent-Type: application/json\r\n");
        let body = body(&me, &["b"], NOTHING);
        request(daemon.address, method, path, &headers, &body)
    };
    for path in ["/askr/subscribe", "/askr/unsubscribe"] {
        assert_eq!(ask("POST", path, "https://evil.example").status, 403);
        let said = ask("POST", path, "https://app.example");
        let head = said.head.to_lowercase();
        assert_eq!(said.status, 200, "{said:?}");
        assert!(
            head.contains("access-control-allow-origin: https://app.example"),
            "{head}"
        );
        assert!(
            head.contains("access-control-allow-credentials: true"),
            "{head}"
        );
        assert!(head.contains("vary: origin"), "{head}");
        let said = request(
            daemon.address,
            "OPTIONS",
            path,
            "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: content-type, authorization\r\n",
            "",
        );
        let head = said.head.to_lowercase();
        assert_eq!(said.status, 204, "{said:?}");
        assert!(
            head.contains("access-control-allow-methods: get, post"),
            "{head}"
        );
        assert!(
            head.contains("access-control-allow-headers: authorization, content-type"),
            "{head}"
        );
        let foreign = request(
            daemon.address,
            "OPTIONS",
            path,
            "Origin: https://evil.example\r\n",
            "",
        );
        assert_eq!(foreign.status, 403);
        assert!(
            !foreign.head.to_lowercase().contains("access-control"),
            "{foreign:?}"
        );
    }
}

#[test]
fn private_channels_are_added_by_token_and_by_signature_for_this_socket_alone() {
    let daemon = daemon("");
    let (mut client, mut other) = (daemon.open("a"), daemon.open("a"));
    let (me, you) = (client.me(), other.me());
    let good = token(&["private-b", "private-c"], 60);
    let by_body = daemon.subscribe(&me, &["private-b"], json!({"token": good}));
    assert_eq!(by_body, ["a", "private-b"]);
    let header = format!("Authorization: Bearer {good}\r\n");
    let said = request(
        daemon.address,
        "POST",
        "/askr/subscribe",
        &header,
        &body(&me, &["private-c"], NOTHING),
    );
    assert_eq!(said.status, 200, "{said:?}");
    let cookie = format!("Cookie: askr_token={}\r\n", token(&["private-d"], 60));
    let said = request(
        daemon.address,
        "POST",
        "/askr/subscribe",
        &cookie,
        &body(&me, &["private-d"], NOTHING),
    );
    assert_eq!(said.status, 200, "{said:?}");
    let foreign = format!("{cookie}Sec-Fetch-Site: cross-site\r\n");
    let said = request(
        daemon.address,
        "POST",
        "/askr/subscribe",
        &foreign,
        &body(&me, &["private-d"], NOTHING),
    );
    assert_eq!(said.status, 401, "{said:?}");

    let signed = |socket: &Socket, channel: &str| signature("public", &socket.id, channel, None);
    let auth = json!({"auth": {"private-e": signed(&me, "private-e")}});
    assert_eq!(daemon.subscribe(&me, &["private-e"], auth.clone()).len(), 5);
    for (socket, channels, more, wanted, reason) in [
        (
            &you,
            "private-e",
            auth.clone(),
            401,
            "the signature is wrong",
        ),
        (&me, "private-f", auth.clone(), 401, "signature"),
        (
            &me,
            "private-f",
            json!({"auth": {"private-f": signed(&me, "private-e")}}),
            401,
            "the signature is wrong",
        ),
        (
            &me,
            "private-f",
            json!({"auth": {"private-f": signature("other", &me.id, "private-f", None)}}),
            401,
            "the key is not",
        ),
        (
            &me,
            "private-f",
            json!({"token": good}),
            403,
            "does not grant channel 1",
        ),
        (&me, "private-f", NOTHING, 401, "needs a token"),
        (
            &me,
            "private-f",
            json!({"token": token_by("another secret of the same length", &json!({"channels": ["*"], "exp": now() + 60}))}),
            401,
            "signature",
        ),
        (
            &me,
            "private-f",
            json!({"token": token(&["private-f"], 0)}),
            401,
            "expired",
        ),
    ] {
        let said = daemon.try_subscribe(socket, &[channels], more);
        assert_eq!(said.status, wanted, "{said:?}");
        assert!(said.body.contains(reason), "{reason}: {said:?}");
    }
    let private = [
        "private-b",
        "private-c",
        "private-d",
        "private-e",
        "private-f",
        "a",
    ];
    private
        .iter()
        .for_each(|channel| daemon.publish(channel, channel));
    assert_eq!(
        client.take(5),
        ["private-b", "private-c", "private-d", "private-e", "a"]
    );
    assert_eq!(other.next().data, "a", "and nothing before it");
}

#[test]
fn an_added_channel_is_replayed_from_its_cursor_and_the_others_are_left_alone() {
    let daemon = daemon("server.ping = 0.2");
    let before = daemon.open("x").cursor();
    for n in 0..200 {
        daemon.publish(if n % 2 == 0 { "a" } else { "b" }, &n.to_string());
    }
    daemon.until("askr_events_read_total", |n| n == 200);
    let mut client = daemon.open("a");
    daemon.publish("a", "live");
    assert_eq!(client.next().data, "live");
    let held = client.parser.last_event_id().to_owned();
    let me = client.me();
    daemon.subscribe(&me, &["b"], json!({"last_event_id": before}));
    daemon.publish("b", "new b");
    daemon.publish("a", "new a");
    let mut late = Vec::new();
    loop {
        let message = client.next();
        if message.data == "new b" {
            break;
        }
        // Older than what it has been told: an id would take its page back.
        assert_eq!(message.id, held, "{}", message.data);
        late.push(message.data);
    }
    let due: Vec<String> = (1..200).step_by(2).map(|n| n.to_string()).collect();
    assert_eq!(late, due);
    assert_eq!(client.next().data, "new a");
    // From an unknown place it is told that it may have lost something.
    let mut other = daemon.open("a");
    other.cursor();
    let unknown = json!({"last_event_id": "0123456789ab-7"});
    daemon.subscribe(&other.me(), &["b"], unknown);
    let gap = other.next();
    assert_eq!(
        (gap.event.as_str(), gap.data.as_str()),
        ("askr:gap", r#"{"lost":null,"at_most":null}"#)
    );
    assert_eq!(other.take(100), due);
    assert_eq!(other.next().data, "new b");
    // What both bring as JSON is told for each, whichever came late.
    let mut json = daemon.open_with(&format!("channel=a&format=json&last_event_id={held}"), &[]);
    assert_eq!(json.next_json().1["data"], "new a");
    daemon.subscribe(&json.me(), &["b"], json!({"last_event_id": held}));
    let (_, data) = json.next_json();
    assert_eq!(
        (&data["channel"], &data["data"]),
        (&json!("b"), &json!("new b"))
    );
}

fn seq(cursor: &str) -> u64 {
    cursor.parse::<Cursor>().unwrap().seq
}

/// Splits "channel number" and counts up each channel.
fn follow(counts: &mut [usize; 2], data: &str) {
    let (channel, number) = data.split_once(' ').unwrap();
    let count = &mut counts[usize::from(channel == "b")];
    assert_eq!(number, count.to_string(), "{channel}: once and in order");
    *count += 1;
}

#[test]
fn under_publishing_an_added_channel_and_the_others_lose_nothing_and_nothing_comes_twice() {
    const EACH: usize = 4000;
    const PAGES: usize = 6;
    let daemon = daemon("server.workers = 2");
    let start = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    // The last events come when all have asked, so that each is told a cursor after that.
    let (asked, cuts) = (Barrier::new(PAGES + 1), AtomicUsize::new(0));
    thread::scope(|scope| {
        let asked = &asked;
        scope.spawn(move || {
            for n in 0..EACH {
                if n == EACH - 10 {
                    asked.wait();
                }
                publish(&mut publisher, &["a"], None, None, &format!("a {n}"));
                publish(&mut publisher, &["b"], None, None, &format!("b {n}"));
            }
        });
        for turn in 0..PAGES {
            let (daemon, start, cuts) = (&daemon, start.clone(), &cuts);
            scope.spawn(move || {
                let mut counts = [0, 0];
                let mut client = daemon.resume("a", &start);
                for _ in 0..turn * 50 {
                    follow(&mut counts, &client.next().data);
                }
                // Added while events come, replayed from the beginning.
                daemon.subscribe(&client.me(), &["b"], json!({"last_event_id": start}));
                let covered = seq(&daemon.open("x").cursor());
                asked.wait();
                let (mut held, mut cut) = (0, false);
                while counts != [EACH, EACH] {
                    follow(&mut counts, &client.next().data);
                    let told = client.parser.last_event_id().to_owned();
                    assert!(seq(&told) >= held);
                    held = seq(&told);
                    // A cursor from after the change holds for both: it may come back with it.
                    if held > covered && !cut {
                        (cut, _) = (true, cuts.fetch_add(1, Relaxed));
                        let unread = client.arrived();
                        let unread = unread.iter().map(|message| &*message.data);
                        unread.for_each(|data| follow(&mut counts, data));
                        let told = client.parser.last_event_id().to_owned();
                        let query = "channel=a&channel=b";
                        client = daemon.open_with(query, &[("Last-Event-ID", &told)]);
                    }
                }
            });
        }
    });
    assert_eq!(cuts.into_inner(), PAGES);
    assert_eq!(daemon.metric("askr_gaps_told_total"), 0);
}

#[test]
fn a_renewed_stream_goes_on_and_one_renewed_in_part_ends_with_the_shorter_grant() {
    let daemon = daemon("server.workers = 1\nauth.expiry_notice = 0");
    let open = |channels: &[&str]| {
        let short = token(channels, 4);
        let names: Vec<String> = channels.iter().map(|c| format!("channel={c}")).collect();
        daemon.open_with(&format!("{}&token={short}", names.join("&")), &[])
    };
    let both = ["private-a", "private-b"];
    let (mut renewed, mut part, mut left) = (open(&both), open(&both), open(&both));
    let long = |channels: &[&str]| json!({"token": token(channels, 600)});
    daemon.subscribe(&renewed.me(), &both, long(&both));
    daemon.subscribe(&part.me(), &both[..1], long(&both));
    // A longer one by a later POST for a public channel changes nothing.
    daemon.subscribe(&left.me(), &["public"], long(&both));
    assert!(left.end().is_empty());
    assert!(part.end().is_empty());
    let ended = "askr_streams_ended_total{reason=\"token\"}";
    assert_eq!(daemon.metric(ended), 2);
    daemon.publish("private-b", "still here");
    assert_eq!(renewed.next().data, "still here");
    // And it ends with the newer one, if that is shorter.
    daemon.subscribe(&renewed.me(), &both, json!({"token": token(&both, 1)}));
    assert!(renewed.end().is_empty());
    assert_eq!(daemon.metric(ended), 3);
}

/// An event that the socket with this id is not to get.
fn publish_except(daemon: &Daemon, socket: &str, channel: &str, data: &str) {
    let event = EventRef {
        channels: &[channel.as_bytes()],
        except: Some(socket.as_bytes()),
        data: data.as_bytes(),
        ..EventRef::default()
    };
    event.check().unwrap();
    daemon.publisher().publish(&event).unwrap();
}

#[test]
fn except_leaves_out_whoever_bears_the_id_live_and_on_replay() {
    let daemon = daemon("");
    let session = "session=0b4f6f0e-5f0c-4f57-9c9e-2f7d9f6f9a11";
    let open = |query: &str| daemon.open_with(&format!("channel=a&{query}"), &[]);
    // Two connections of one session, as when a page came back before its old connection ended.
    let (mut one, mut two, mut other) = (open(session), open(session), open("format=json"));
    let me = one.me();
    assert_eq!(me.id, two.me().id);
    assert_ne!(me.id, other.me().id);
    let before = one.cursor();
    publish_except(&daemon, &me.id, "a", "not to me");
    daemon.publish("a", "to all");
    publish_except(&daemon, "1.2", "a", "not to somebody else");
    assert_eq!(one.take(2), ["to all", "not to somebody else"]);
    assert_eq!(two.take(2), ["to all", "not to somebody else"]);
    let shown = |client: &mut Client| client.next_json().1["data"].clone();
    assert_eq!(shown(&mut other), "not to me");
    assert_eq!(shown(&mut other), "to all");
    // On replay, as the same and as another.
    let resume = format!("{session}&last_event_id={before}");
    assert_eq!(open(&resume).take(2), ["to all", "not to somebody else"]);
    let resume = format!("last_event_id={before}");
    assert_eq!(
        open(&resume).take(3),
        ["not to me", "to all", "not to somebody else"]
    );
    // On a channel that is added late.
    publish_except(&daemon, &me.id, "b", "not to me either");
    daemon.publish("b", "b to all");
    daemon.subscribe(&me, &["b"], json!({"last_event_id": before}));
    assert_eq!(one.next().data, "b to all");
    // A cache channel's last event.
    publish_except(&daemon, &me.id, "cache-a", "kept");
    daemon.until("askr_events_read_total", |n| n == 6);
    daemon.subscribe(&me, &["cache-a"], NOTHING);
    daemon.publish("cache-a", "newer");
    assert_eq!(one.next().data, "newer");
}

#[test]
fn a_session_has_one_id_across_reconnects_and_a_killed_daemon() {
    let mut daemon = daemon("");
    let open = |daemon: &Daemon, session: &str| {
        let mut client = daemon.open_with(&format!("channel=a&session={session}"), &[]);
        (client.me(), client)
    };
    let page = "0b4f6f0e-5f0c-4f57-9c9e-2f7d9f6f9a11";
    let (first, client) = open(&daemon, page);
    drop(client);
    let (again, mut client) = open(&daemon, page);
    assert_eq!(again.id, first.id);
    assert_ne!(open(&daemon, &page.replace('0', "1")).0.id, first.id);
    let cursor = client.cursor();
    daemon.signal(Signal::SIGKILL);
    publish_except(&daemon, &first.id, "a", "not to me");
    daemon.publish("a", "meanwhile");
    daemon.restart();
    let query = format!("channel=a&session={page}&last_event_id={cursor}");
    let mut client = daemon.open_with(&query, &[]);
    assert_eq!(client.me().id, first.id);
    assert_eq!(client.next().data, "meanwhile");
    assert_eq!(daemon.subscribe(&client.me(), &["b"], NOTHING), ["a", "b"]);
}

#[test]
fn who_proves_an_earlier_id_has_it_again_and_nobody_else() {
    let mut daemon = daemon("");
    let mut client = daemon.open("a");
    let me = client.me();
    drop(client);
    let back = |daemon: &Daemon, socket: &Socket| {
        let Socket { id, secret } = socket;
        let query = format!("channel=a&socket_id={id}&secret={secret}");
        daemon.open_with(&query, &[]).me()
    };
    let again = back(&daemon, &me);
    assert_eq!(again.id, me.id);
    for secret in ["", "x", &me.secret[1..], &again.secret.replace('-', "-0")] {
        let forged = Socket {
            id: me.id.clone(),
            secret: secret.to_owned(),
        };
        assert_ne!(back(&daemon, &forged).id, me.id, "{secret}");
    }
    let stolen = Socket {
        id: "1.2".to_owned(),
        secret: me.secret.clone(),
    };
    assert_ne!(back(&daemon, &stolen).id, "1.2");
    daemon.signal(Signal::SIGKILL);
    daemon.restart();
    assert_eq!(back(&daemon, &again).id, me.id, "both are of one secret");
    let bad = "GET /askr/events?channel=a&socket_id=x&secret=y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = exchange(daemon.address, bad.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
