//! Subscriptions that look back (`rewind=`): the newest events of each channel, then live ones, once and in order, on
//! every transport.

use std::io::Read;

use crate::common::grants::{SECRET, now, signature, token, token_of};
use crate::common::pages::forget;
use crate::common::ws::{KEY, Pusher, Socket, app, data};
use crate::common::{Client, Daemon, exchange, publish};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use shared::event::EventRef;
use shared::owner::Owner;
use shared::segment::Segment;
use shared::writer::{self, Body};

/// Publishes to these channels, and waits until it has been read.
fn tell(daemon: &Daemon, channels: &[&str], data: &str) {
    let read = daemon.metric("askr_events_read_total");
    publish(&mut daemon.publisher(), channels, None, None, data);
    daemon.until("askr_events_read_total", |now| now > read);
}

fn tell_all(daemon: &Daemon, channel: &str, numbers: std::ops::RangeInclusive<u32>) {
    numbers.for_each(|n| tell(daemon, &[channel], &n.to_string()));
}

fn back(daemon: &Daemon, query: &str) -> Client {
    daemon.open_with(query, &[])
}

fn gap(lost: u64) -> String {
    format!("{{\"lost\":{lost},\"at_most\":{lost}}}")
}

/// What comes first, up to this live event.
fn until_live(daemon: &Daemon, client: &mut Client, channel: &str) -> Vec<String> {
    tell(daemon, &[channel], "live");
    let mut all = Vec::new();
    loop {
        match client.next().data {
            data if data == "live" => return all,
            data => all.push(data),
        }
    }
}

/// A publisher that says it is another time.
fn publish_at(daemon: &Daemon, channel: &str, data: &str, seconds: u64) {
    let read = daemon.metric("askr_events_read_total");
    let segment = Segment::open(&daemon.ring(), |_| true).unwrap();
    let owner = Owner::acquire(segment.ring(), &daemon.ring(), segment.inode()).unwrap();
    let event = EventRef {
        channels: &[channel.as_bytes()],
        data: data.as_bytes(),
        ..EventRef::default()
    };
    let mut head = Vec::new();
    event.encode_head(&mut head);
    let body = Body {
        head: &head,
        data: event.data,
        flags: event.flags(),
        published: seconds * 1_000_000_000,
    };
    writer::publish(segment.ring(), owner.number(), body).unwrap();
    daemon.until("askr_events_read_total", |now| now > read);
}

#[test]
fn the_newest_events_come_first_and_then_live_ones() {
    let daemon = Daemon::start("");
    tell_all(&daemon, "a", 1..=5);
    tell_all(&daemon, "b", 90..=99);
    let mut clients = Vec::new();
    for (rewind, expected) in [("2", 4..=5), ("5", 1..=5), ("9", 1..=5), ("all", 1..=5)] {
        let mut client = back(&daemon, &format!("channel=a&rewind={rewind}"));
        let expected: Vec<String> = expected.map(|n: u32| n.to_string()).collect();
        assert_eq!(client.take(expected.len()), expected, "{rewind}");
        clients.push(client);
    }
    tell_all(&daemon, "a", 6..=7);
    for client in &mut clients {
        assert_eq!(client.take(2), ["6", "7"]);
    }
    // Nobody published there.
    let mut quiet = back(&daemon, "channel=quiet&rewind=all");
    assert_eq!(until_live(&daemon, &mut quiet, "quiet"), [""; 0]);
    // Without it a subscription begins now.
    let mut plain = back(&daemon, "channel=a");
    assert_eq!(until_live(&daemon, &mut plain, "a"), [""; 0]);
    assert_eq!(daemon.metric("askr_rewinds_total"), 5);
    assert_eq!(daemon.metric("askr_rewinds_cut_total"), 0);
}

#[test]
fn a_time_reaches_back_to_what_was_published_since() {
    let daemon = Daemon::start("");
    for (data, ago) in [("hours", 7200), ("minutes", 250), ("now", 0)] {
        publish_at(&daemon, "a", data, now() - ago);
    }
    for (rewind, expected) in [
        ("30s", &["now"][..]),
        ("200s", &["now"]),
        ("5m", &["minutes", "now"]),
        ("1h", &["minutes", "now"]),
        ("3h", &["hours", "minutes", "now"]),
    ] {
        let mut client = back(&daemon, &format!("channel=a&rewind={rewind}"));
        assert_eq!(client.take(expected.len()), expected, "{rewind}");
    }
    // A publisher whose time is wrong leaves out no other's event.
    publish_at(&daemon, "a", "1970", 0);
    publish_at(&daemon, "a", "later", now() + 100_000);
    let mut client = back(&daemon, "channel=a&rewind=5m");
    assert_eq!(client.take(4), ["minutes", "now", "1970", "later"]);
    publish_at(&daemon, "b", "1970", 0);
    let mut client = back(&daemon, "channel=b&rewind=5m");
    assert_eq!(until_live(&daemon, &mut client, "b"), [""; 0]);
}

/// The cursor that comes with `askr:connected`.
fn connected_at(daemon: &Daemon, query: &str) -> String {
    let mut client = Client::connect(daemon.address);
    client.ask(&format!("/askr/events?{query}"), &[]);
    let mut told = String::new();
    loop {
        let mut part = [0; 1024];
        let count = client.socket.read(&mut part).unwrap();
        assert!(count > 0, "it ended: {told}");
        told += std::str::from_utf8(&part[..count]).unwrap();
        let at = told.find("event: askr:connected\n");
        let block = at.and_then(|at| told[at..].split_once("\n\n"));
        if let Some((block, _)) = block {
            let id = block.lines().find_map(|line| line.strip_prefix("id: "));
            return id.expect("it has one").to_owned();
        }
    }
}

#[test]
fn a_cursor_wins_as_when_a_browser_comes_back() {
    let daemon = Daemon::start("");
    let before = daemon.open("a").cursor();
    tell_all(&daemon, "a", 1..=5);
    let url = "channel=a&rewind=2";
    let mut client = back(&daemon, url);
    assert_eq!(client.take(2), ["4", "5"]);
    // Cut before its first event, it misses nothing.
    let held = connected_at(&daemon, url);
    let last = client.parser.last_event_id().to_owned();
    tell_all(&daemon, "a", 6..=9);
    for (held, first) in [(&before, 1), (&held, 4), (&last, 6)] {
        let mut again = daemon.open_with(url, &[("Last-Event-ID", held)]);
        let expected: Vec<String> = (first..=9).map(|n: u32| n.to_string()).collect();
        assert_eq!(again.take(expected.len()), expected);
        let mut again = back(&daemon, &format!("{url}&last_event_id={held}"));
        assert_eq!(again.take(expected.len()), expected);
    }
    let mut again = daemon.open_with(url, &[("Last-Event-ID", "")]);
    assert_eq!(again.take(2), ["8", "9"], "an empty one is none");
}

#[test]
fn each_channel_has_its_own_newest_events_in_the_order_of_the_ring() {
    let daemon = Daemon::start("");
    for (channels, data) in [
        (&["a"][..], "a1"),
        (&["b"], "b2"),
        (&["a", "b"], "ab3"),
        (&["a"], "a4"),
        (&["c"], "c5"),
        (&["a"], "a6"),
    ] {
        tell(&daemon, channels, data);
    }
    let mut client = back(&daemon, "channel=a&channel=b&channel=none&rewind=2");
    // Of b the newest two, of a as well; what is on both comes once.
    assert_eq!(client.take(4), ["b2", "ab3", "a4", "a6"]);
    assert_eq!(until_live(&daemon, &mut client, "none"), [""; 0]);
    let mut client = back(&daemon, "channel=a&channel=b&rewind=2&format=json");
    let told: Vec<(String, String)> = (0..4)
        .map(|_| client.next_json().1)
        .map(|event| (event["channel"].to_string(), event["data"].to_string()))
        .collect();
    let expected = [("b", "b2"), ("b", "ab3"), ("a", "a4"), ("a", "a6")];
    let quoted = expected.map(|(channel, data)| (format!("{channel:?}"), format!("{data:?}")));
    assert_eq!(told, quoted, "on a it is the third newest");
    let mut client = back(&daemon, "channel=a&channel=b&rewind=all&format=json");
    let channels = (0..6).map(|_| client.next_json().1["channel"].as_str().unwrap().to_owned());
    assert_eq!(channels.collect::<String>(), "ababaa");
}

#[test]
fn what_is_not_for_it_counts_and_what_was_never_delivered_does_not() {
    let daemon = Daemon::start("");
    let session = "session=0123456789abcdef";
    let me = back(&daemon, &format!("channel=x&{session}")).me();
    tell_all(&daemon, "a", 1..=2);
    let mut publisher = daemon.publisher();
    let except = |except: &str, data: &str| EventRef {
        channels: &[b"a"],
        except: Some(Box::leak(except.to_owned().into_boxed_str()).as_bytes()),
        data: Box::leak(data.to_owned().into_boxed_str()).as_bytes(),
        ..EventRef::default()
    };
    publisher.publish(&except(&me.id, "mine")).unwrap();
    daemon.until("askr_events_read_total", |read| read == 3);
    let mut client = back(&daemon, &format!("channel=a&rewind=2&{session}"));
    assert_eq!(client.next().data, "2");
    assert_eq!(until_live(&daemon, &mut client, "a"), [""; 0]);
    let mut other = back(&daemon, "channel=a&rewind=3");
    assert_eq!(other.take(3), ["2", "mine", "live"]);

    let keyed = |data: &'static str| EventRef {
        channels: &[b"k"],
        key: Some(b"order-7"),
        data: data.as_bytes(),
        ..EventRef::default()
    };
    tell(&daemon, &["k"], "one");
    for data in ["two", "again", "and again"] {
        publisher.publish(&keyed(data)).unwrap();
    }
    daemon.until("askr_events_repeated_total", |repeated| repeated == 2);
    tell(&daemon, &["k"], "three");
    let mut client = back(&daemon, "channel=k&rewind=3");
    assert_eq!(client.take(3), ["one", "two", "three"]);
}

#[test]
fn a_bound_refuses_more_and_cuts_all_with_a_gap() {
    let daemon = Daemon::start("broadcast.rewind_events = 3\nbroadcast.rewind_seconds = 600");
    publish_at(&daemon, "old", "too old", now() - 700);
    publish_at(&daemon, "old", "young", now() - 500);
    tell_all(&daemon, "a", 1..=10);
    let mut client = back(&daemon, "channel=a&rewind=all");
    let told = client.next();
    assert_eq!((told.event.as_str(), told.data), ("askr:gap", gap(7)));
    assert_eq!(client.take(3), ["8", "9", "10"]);
    assert_eq!(daemon.metric("askr_rewinds_cut_total"), 1);
    // Nobody looked how old the others are.
    let mut client = back(&daemon, "channel=a&rewind=10m");
    assert_eq!(client.next().data, r#"{"lost":null,"at_most":7}"#);
    assert_eq!(client.take(3), ["8", "9", "10"]);
    for rewind in ["all", "3"] {
        let mut client = back(&daemon, &format!("channel=old&rewind={rewind}"));
        assert_eq!(client.take(2), [gap(1), "young".into()]);
    }
    let mut client = back(&daemon, "channel=old&rewind=10m");
    assert_eq!(client.next().data, "young");
    assert_eq!(daemon.metric("askr_rewinds_cut_total"), 4);
    let mut client = back(&daemon, "channel=a&rewind=3");
    assert_eq!(client.take(3), ["8", "9", "10"]);
    assert_eq!(daemon.metric("askr_rewinds_cut_total"), 4);
}

const BAD: [&str; 9] = ["", "0", "4", "601s", "11m", "x", "-1", "1.0", "2%20"];

#[test]
fn a_bad_value_is_refused_by_its_name_on_every_transport() {
    let daemon = Daemon::start(&app(
        "broadcast.rewind_events = 3\nbroadcast.rewind_seconds = 600",
    ));
    let reason = "rewind must be 1 to 3 events (10), a time (30s, 5m, 2h; at most 600s) or all";
    for bad in BAD {
        for path in ["events", "ws"] {
            let request = format!(
                "GET /askr/{path}?channel=a&rewind={bad} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            );
            let answer = exchange(daemon.address, request.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 400 "), "{bad}: {answer}");
            assert!(answer.contains(reason), "{bad}: {answer}");
        }
    }
    let twice = exchange(
        daemon.address,
        b"GET /askr/events?channel=a&rewind=1&rewind=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(twice.contains("rewind must be given once"), "{twice}");
    let mut stream = daemon.open("x");
    let me = stream.me();
    let mut plain = Socket::open(daemon.address, "/askr/ws", &[]);
    plain.next();
    let mut pusher = Pusher::connect(&daemon);
    let bad = BAD.iter().map(|bad| json!(bad));
    for bad in bad.chain([
        json!(0),
        json!(4),
        json!(-1),
        json!(1.5),
        json!([]),
        json!(true),
    ]) {
        let said = daemon.try_subscribe(&me, &["a"], json!({"rewind": bad}));
        assert_eq!(said.status, 400, "{bad}: {said:?}");
        assert!(said.body.contains(reason), "{bad}: {said:?}");
        plain.say(&json!({"subscribe": ["a"], "rewind": bad}));
        assert_eq!(
            plain.next(),
            json!({"error": {"code": 400, "reason": reason}}),
            "{bad}"
        );
        let told = pusher.try_subscribe("a", json!({"rewind": bad}));
        assert_eq!(told["event"], "pusher:subscription_error", "{told}");
        assert_eq!(told["channel"], "a");
        let told = data(&told);
        assert_eq!(
            (&told["type"], &told["status"]),
            (&json!("ChannelError"), &json!(400))
        );
        assert_eq!(told["error"], reason);
    }
    assert_eq!(daemon.channels(), json!({"x": 1}), "nothing was subscribed");
}

#[test]
fn it_needs_the_same_access_as_a_subscription() {
    let daemon = Daemon::start(&app("server.outbox_frames = 16"));
    tell(&daemon, &["private-a"], "secret");
    let ask = |query: &str| {
        let request = format!(
            "GET /askr/events?channel=private-a&rewind=all{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        exchange(daemon.address, request.as_bytes())
    };
    for (query, status) in [
        (String::new(), 401),
        (format!("&token={}", token(&["private-b"], 60)), 403),
    ] {
        let answer = ask(&query);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(!answer.contains("secret"));
    }
    let mut stream = daemon.open("x");
    let said = daemon.try_subscribe(&stream.me(), &["private-a"], json!({"rewind": "all"}));
    assert_eq!(said.status, 401, "{said:?}");
    let mut plain = Socket::open(daemon.address, "/askr/ws", &[]);
    plain.next();
    plain.say(&json!({"subscribe": ["private-a"], "rewind": "all"}));
    assert_eq!(plain.next()["error"]["code"], 401);
    let mut pusher = Pusher::connect(&daemon);
    let told = pusher.try_subscribe("private-a", json!({"rewind": "all"}));
    assert_eq!(data(&told)["type"], "AuthError");

    let may = format!("&token={}", token(&["private-a"], 60));
    let mut client = back(&daemon, &format!("channel=private-a&rewind=all{may}"));
    assert_eq!(client.next().data, "secret");
    let mut more = signature(KEY, &pusher.id, "private-a", None);
    more["rewind"] = json!(1);
    let told = pusher.try_subscribe("private-a", more);
    assert_eq!(told["event"], "pusher_internal:subscription_succeeded");
    assert_eq!(pusher.take("private-a", 1), ["secret"]);
}

#[test]
fn an_access_that_is_lost_in_between_ends_it() {
    let daemon = Daemon::start(&format!("app.secret = '{SECRET}'\nring.arena = '64MiB'"));
    for n in 0..40 {
        tell(
            &daemon,
            &["private-a"],
            &format!("{n} {}", "x".repeat(1 << 20)),
        );
    }
    let query = format!(
        "channel=private-a&rewind=all&token={}",
        token_of("7", &["private-a"], 600)
    );
    // It reads nothing, so that most of it waits.
    let mut client = back(&daemon, &query);
    assert_eq!(daemon.disconnect(&json!({"user": "7"})), 1);
    let got = client.end().len();
    assert!(got < 40, "{got}");
    let request =
        format!("GET /askr/events?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = exchange(daemon.address, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[test]
fn what_the_ring_no_longer_holds_is_not_looked_back_at() {
    let daemon = Daemon::start("ring.slots = 64");
    tell_all(&daemon, "a", 1..=100);
    for rewind in ["80", "all", "1h"] {
        let mut client = back(&daemon, &format!("channel=a&rewind={rewind}"));
        let told = until_live(&daemon, &mut client, "a");
        let newest = told.iter().filter(|data| *data != "live");
        let newest: Vec<u32> = newest.map(|data| data.parse().unwrap()).collect();
        let first = newest[0];
        assert!(
            first > 30 && newest == (first..=100).collect::<Vec<_>>(),
            "{told:?}"
        );
    }
    // All of it is gone.
    tell_all(&daemon, "b", 1..=64);
    let mut client = back(&daemon, "channel=a&rewind=10");
    assert_eq!(until_live(&daemon, &mut client, "a"), [""; 0]);
}

#[test]
fn what_is_overwritten_on_the_way_is_reported() {
    let daemon = Daemon::start("ring.slots = 64\nring.arena = '64MiB'");
    for n in 1..=40 {
        tell(&daemon, &["a"], &format!("{n} {}", "x".repeat(1 << 20)));
    }
    // It reads nothing until the ring was filled by others.
    let mut client = back(&daemon, "channel=a&rewind=30");
    tell_all(&daemon, "b", 1..=64);
    let (mut got, mut lost) = (0, 0);
    while got + lost < 30 {
        let message = client.next();
        match message.event.as_str() {
            "askr:gap" => {
                let gap: Value = serde_json::from_str(&message.data).unwrap();
                lost += gap["lost"].as_u64().expect("it is known whose they were");
            }
            _ => {
                got += 1;
                let number = message.data.split(' ').next().unwrap();
                assert_eq!(number, (10 + got).to_string(), "the oldest of them first");
            }
        }
    }
    assert!(lost > 0 && got + lost == 30, "{got} and {lost}");
    assert_eq!(until_live(&daemon, &mut client, "a"), [""; 0]);
}

#[test]
fn after_a_restart_it_is_the_same() {
    let mut daemon = Daemon::start("");
    publish_at(&daemon, "a", "0", now() - 7200);
    tell_all(&daemon, "a", 1..=5);
    daemon.signal(Signal::SIGKILL);
    // While nobody reads.
    daemon.publish("a", "6");
    daemon.restart();
    for (rewind, first) in [("2", 5), ("all", 0), ("1h", 1)] {
        let mut client = back(&daemon, &format!("channel=a&rewind={rewind}"));
        let expected: Vec<String> = (first..=6).map(|n: u32| n.to_string()).collect();
        assert_eq!(client.take(expected.len()), expected, "{rewind}");
    }
}

#[test]
fn what_the_index_forgot_is_looked_for_if_all_of_it_is_wanted_and_a_gap_otherwise() {
    let daemon = Daemon::start("ring.slots = 64\nbroadcast.index_channels = 2");
    tell_all(&daemon, "a", 1..=5);
    for n in 0..4 {
        tell(&daemon, &[&format!("c{n}")], "x");
    }
    let mut client = back(&daemon, "channel=a&rewind=all");
    assert_eq!(client.take(5), ["1", "2", "3", "4", "5"]);
    let mut client = back(&daemon, "channel=a&rewind=3");
    let told = client.next();
    // Nobody knows which of them are the newest three.
    assert_eq!(
        (told.event.as_str(), told.data.as_str()),
        ("askr:gap", r#"{"lost":null,"at_most":3}"#)
    );
    assert_eq!(until_live(&daemon, &mut client, "a"), [""; 0]);
}

#[test]
fn what_was_erased_is_not_looked_back_at_and_is_no_gap() {
    let mut daemon = Daemon::start("broadcast.rewind_events = 3");
    tell_all(&daemon, "a", 1..=5);
    tell(&daemon, &["a", "b"], "both");
    assert_eq!(forget(&daemon, "a"), 6);
    tell_all(&daemon, "a", 7..=8);
    for _ in 0..2 {
        for rewind in ["all", "3"] {
            let mut client = back(&daemon, &format!("channel=a&rewind={rewind}"));
            assert_eq!(client.take(2), ["7", "8"]);
            let mut client = back(&daemon, &format!("channel=b&rewind={rewind}"));
            assert_eq!(client.next().data, "both");
        }
        daemon.signal(Signal::SIGKILL);
        daemon.restart();
    }
}

#[test]
fn a_presence_channel_shows_its_members_and_its_newest_events() {
    let daemon = Daemon::start(&app(""));
    tell_all(&daemon, "presence-room", 1..=3);
    let query = format!(
        "channel=presence-room&rewind=2&token={}",
        token_of("ann", &["presence-room"], 600)
    );
    let mut ann = back(&daemon, &query);
    assert_eq!(ann.next_json().1["count"], 1);
    assert_eq!(ann.take(2), ["2", "3"]);
    let mut pusher = Pusher::recovering(&daemon);
    let user = json!({"user_id": "bob"}).to_string();
    let mut more = signature(KEY, &pusher.id, "presence-room", Some(&user));
    more["rewind"] = json!("all");
    let told = pusher.try_subscribe("presence-room", more);
    assert_eq!(data(&told)["presence"]["count"], 2, "{told}");
    assert_eq!(pusher.take("presence-room", 3), ["1", "2", "3"]);
    assert_eq!(ann.next().event, "askr:joined");
    tell(&daemon, &["presence-room"], "live");
    assert_eq!(pusher.take("presence-room", 1), ["live"]);
    assert_eq!(ann.next().data, "live");
}

#[test]
fn a_channel_that_is_added_to_a_stream_looks_back_alone() {
    let daemon = Daemon::start("");
    tell_all(&daemon, "a", 1..=5);
    tell_all(&daemon, "b", 11..=15);
    let mut client = daemon.open("a");
    let me = client.me();
    daemon.subscribe(&me, &["b"], json!({"rewind": 2}));
    assert_eq!(client.take(2), ["14", "15"]);
    // It has it already: nothing comes twice.
    daemon.subscribe(&me, &["b"], json!({"rewind": "all"}));
    tell_all(&daemon, "a", 6..=6);
    assert_eq!(client.next().data, "6");
    let held = client.parser.last_event_id().to_owned();
    tell_all(&daemon, "c", 21..=25);
    let both = json!({"rewind": 4, "last_event_id": held});
    daemon.subscribe(&me, &["c"], both);
    assert_eq!(
        client.take(5),
        ["21", "22", "23", "24", "25"],
        "the cursor wins"
    );
    tell(&daemon, &["a", "b", "c"], "live");
    assert_eq!(client.next().data, "live");
}

#[test]
fn a_plain_websocket_looks_back_from_its_url_and_by_message() {
    let daemon = Daemon::start("");
    publish_at(&daemon, "a", "0", now() - 7200);
    tell_all(&daemon, "a", 1..=5);
    let numbers = |socket: &mut Socket, count: usize| -> Vec<String> {
        let next = |_| socket.until(|message| message["data"].is_string())["data"].clone();
        let all = (0..count).map(next);
        all.map(|data| data.as_str().unwrap().to_owned()).collect()
    };
    let mut socket = Socket::open(daemon.address, "/askr/ws?channel=a&rewind=2", &[]);
    let told = socket.until(|message| message["subscribed"].is_array());
    let cursor = told["cursor"].as_str().unwrap().to_owned();
    assert_eq!(numbers(&mut socket, 2), ["4", "5"]);
    // With the cursor of the confirmation it would get the same.
    let target = format!("/askr/ws?channel=a&rewind=2&last_event_id={cursor}");
    let mut again = Socket::open(daemon.address, &target, &[]);
    assert_eq!(numbers(&mut again, 2), ["4", "5"]);
    let open = || {
        let mut socket = Socket::open(daemon.address, "/askr/ws?channel=x", &[]);
        socket.until(|message| message["subscribed"].is_array());
        socket
    };
    for (rewind, first) in [
        (json!(2), 4),
        (json!("3"), 3),
        (json!("1h"), 1),
        (json!("all"), 0),
    ] {
        let mut socket = open();
        socket.say(&json!({"subscribe": ["a"], "rewind": rewind}));
        let told = socket.until(|message| message["subscribed"].is_array());
        let since = told["cursor"].as_str().unwrap().to_owned();
        let expected: Vec<String> = (first..=5).map(|n: u32| n.to_string()).collect();
        assert_eq!(numbers(&mut socket, expected.len()), expected, "{rewind}");
        let mut socket = open();
        socket.say(&json!({"subscribe": ["a"], "rewind": 1, "since": since}));
        assert_eq!(
            numbers(&mut socket, expected.len()),
            expected,
            "the cursor wins"
        );
    }
    let mut live = open();
    live.say(&json!({"subscribe": ["a", "b"], "rewind": 1}));
    assert_eq!(numbers(&mut live, 1), ["5"]);
    tell(&daemon, &["a"], "live");
    assert_eq!(numbers(&mut live, 1), ["live"]);
}

#[test]
fn a_pusher_client_looks_back_with_or_without_recovery() {
    let daemon = Daemon::start(&app(""));
    publish_at(&daemon, "a", "0", now() - 7200);
    tell_all(&daemon, "a", 1..=5);
    for (rewind, first) in [
        (json!(2), 4),
        (json!("3"), 3),
        (json!("1h"), 1),
        (json!("all"), 0),
    ] {
        let expected: Vec<String> = (first..=5).map(|n: u32| n.to_string()).collect();
        let mut stock = Pusher::connect(&daemon);
        let told = stock.try_subscribe("a", json!({"rewind": rewind}));
        assert_eq!(told["event"], "pusher_internal:subscription_succeeded");
        assert!(told.get("id").is_none());
        assert_eq!(stock.take("a", expected.len()), expected, "{rewind}");
        let mut client = Pusher::recovering(&daemon);
        let told = client.try_subscribe("a", json!({"rewind": rewind}));
        let before = told["id"].as_str().unwrap().to_owned();
        assert_eq!(client.take("a", expected.len()), expected, "{rewind}");
        // It comes back with a cursor, which wins.
        let mut client = Pusher::recovering(&daemon);
        let more = json!({"rewind": 1, "askr": {"cursor": before}});
        client.try_subscribe("a", more);
        assert_eq!(client.take("a", expected.len()), expected, "{rewind}");
    }
    let mut client = Pusher::connect(&daemon);
    client.try_subscribe("a", json!({"rewind": 1}));
    assert_eq!(client.take("a", 1), ["5"]);
    client.try_subscribe("b", json!({"rewind": 1}));
    tell(&daemon, &["b"], "live");
    assert_eq!(client.take("b", 1), ["live"]);
    tell(&daemon, &["a"], "live");
    assert_eq!(client.take("a", 1), ["live"]);
}

#[test]
fn the_last_event_of_a_cache_channel_comes_once() {
    let daemon = Daemon::start(&app("ring.slots = 64"));
    tell_all(&daemon, "cache-a", 1..=3);
    let mut client = back(&daemon, "channel=cache-a&rewind=2");
    assert_eq!(client.take(2), ["2", "3"]);
    assert_eq!(until_live(&daemon, &mut client, "cache-a"), [""; 0]);
    let mut pusher = Pusher::connect(&daemon);
    pusher.try_subscribe("cache-a", json!({"rewind": 2}));
    assert_eq!(pusher.take("cache-a", 2), ["3", "live"]);
    // Nothing was ever published there: as without a rewind.
    let told = pusher.try_subscribe("cache-none", json!({"rewind": 2}));
    assert_eq!(told["event"], "pusher_internal:subscription_succeeded");
    assert_eq!(pusher.next()["event"], "pusher:cache_miss");
    let me = client.me();
    publish_at(&daemon, "cache-b", "minutes", now() - 600);
    // What a rewind does not reach comes as the last event, once.
    daemon.subscribe(&me, &["cache-b"], json!({"rewind": "30s"}));
    assert_eq!(client.next().data, "minutes");
    tell_all(&daemon, "b", 1..=64);
    // Also if the ring no longer holds it.
    let mut client = back(&daemon, "channel=cache-a&channel=cache-b&rewind=5");
    let mut both = client.take(2);
    both.sort();
    assert_eq!(both, ["live", "minutes"]);
    tell(&daemon, &["cache-a", "cache-b"], "last");
    assert_eq!(client.next().data, "last");
}
