//! A channel's history: over the control socket, by HTTP with the access of a subscription, by the signed HTTP API,
//! on the command line. What pages give together is what a replay gives.

use crate::common;
use crate::common::api::Call;
use crate::common::grants;
use crate::common::pages::{ask, backward, data, forward, page, replay, rows};
use crate::common::{Daemon, askrd, publish};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use shared::cursor::Cursor;
use shared::event::EventRef;

fn cursor(base: &str, seq: u64) -> String {
    let base: Cursor = base.parse().unwrap();
    Cursor { seq, ..base }.to_string()
}

fn seq(cursor: &str) -> u64 {
    cursor.parse::<Cursor>().unwrap().seq
}

/// Publishes `count` events, every third of another channel and every fifth of both; returns the last position.
fn mixture(daemon: &Daemon, count: u64) -> u64 {
    let mut publisher = daemon.publisher();
    let mut last = 0;
    for n in 0..count {
        let channels: &[&str] = match n {
            n if n % 5 == 0 => &["b", "a"],
            n if n % 3 == 0 => &["b"],
            _ => &["a"],
        };
        let read = daemon.metric("askr_events_read_total");
        last = publish(&mut publisher, channels, None, None, &n.to_string());
        daemon.until("askr_events_read_total", |now| now > read);
    }
    last
}

/// Pages of any size, forward and back, are what a replay gives.
fn pages_equal_the_replay(daemon: &Daemon, channel: &str, since: &str, limits: &[usize]) {
    let pages: Vec<_> = limits
        .iter()
        .map(|limit| forward(daemon, channel, since, *limit))
        .collect();
    let back: Vec<_> = limits
        .iter()
        .map(|limit| backward(daemon, channel, *limit))
        .collect();
    let replay = replay(daemon, channel, since);
    for (whole, limit) in pages.iter().zip(limits) {
        assert_eq!(
            (&whole.rows, whole.gap),
            (&replay.rows, replay.gap),
            "forward by {limit}"
        );
        assert!(whole.pages >= whole.rows.len().div_ceil(*limit));
    }
    for (whole, limit) in back.iter().zip(limits) {
        assert!(
            whole.rows.ends_with(&replay.rows),
            "back by {limit}: {:?}",
            whole.rows
        );
    }
}

#[test]
fn the_newest_events_are_given_oldest_first_with_all_that_is_known_of_them() {
    let daemon = Daemon::start("");
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["a"], None, None, "0");
    publish(&mut publisher, &["b"], None, None, "other");
    publish(
        &mut publisher,
        &["a", "b"],
        Some("order"),
        Some("order-7"),
        "{\"é\":\"\\u0000\"}",
    );
    let at = publish(&mut publisher, &["a"], None, None, "2");
    // What was published before is there, however far askrd has read.
    let all = page(&daemon, "a", "limit=2");
    assert_eq!(data(&all), ["{\"é\":\"\\u0000\"}", "2"]);
    let event = &all["events"][0];
    assert_eq!(
        (&event["event"], &event["id"]),
        (&json!("order"), &json!("order-7"))
    );
    assert_eq!(
        (&all["events"][1]["event"], &all["events"][1]["id"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(seq(all["events"][1]["cursor"].as_str().unwrap()), at);
    let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 5, "{keys:?}");
    let time = event["time"].as_f64().unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!((now.as_secs_f64() - time).abs() < 600.0, "{time}");
    assert_eq!(all["gap"], Value::Null);

    let next = all["next"].as_str().unwrap();
    let older = page(&daemon, "a", &format!("limit=2&before={next}"));
    assert_eq!(
        (data(&older), &older["next"]),
        (vec!["0".to_owned()], &Value::Null)
    );
    let nothing = page(&daemon, "quiet", "");
    assert_eq!(nothing, json!({ "events": [], "gap": null, "next": null }));
    daemon.until("askr_history_pages_total", |pages| pages == 3);
    daemon.until("askr_history_events_total", |events| events == 3);
}

#[test]
fn a_window_has_what_lies_between_its_cursors_from_the_oldest_on() {
    let daemon = Daemon::start("");
    let mut publisher = daemon.publisher();
    let seqs: Vec<u64> = (0..10)
        .map(|n| publish(&mut publisher, &["a"], None, None, &n.to_string()))
        .collect();
    let all = page(&daemon, "a", "");
    let base = all["events"][0]["cursor"].as_str().unwrap();
    let (since, before) = (cursor(base, seqs[2]), cursor(base, seqs[7]));
    let between = page(&daemon, "a", &format!("since={since}&before={before}"));
    assert_eq!(data(&between), ["3", "4", "5", "6"]);
    assert_eq!(between["next"], Value::Null);
    let first = page(
        &daemon,
        "a",
        &format!("since={since}&before={before}&limit=3"),
    );
    assert_eq!(data(&first), ["3", "4", "5"]);
    let next = first["next"].as_str().unwrap();
    assert_eq!(
        data(&page(
            &daemon,
            "a",
            &format!("since={next}&before={before}")
        )),
        ["6"]
    );
    let before = page(&daemon, "a", &format!("before={before}&limit=2"));
    assert_eq!(data(&before), ["5", "6"]);
    // A full page that is the last one says so.
    let last = page(&daemon, "a", &format!("since={since}&limit=7"));
    assert_eq!((data(&last).len(), &last["next"]), (7, &Value::Null));
    let all = page(&daemon, "a", "limit=10");
    assert_eq!((data(&all).len(), &all["next"]), (10, &Value::Null));
}

#[test]
fn page_by_page_is_what_a_replay_gives() {
    let mut daemon = Daemon::start("");
    let since = daemon.open("a").cursor();
    mixture(&daemon, 150);
    pages_equal_the_replay(&daemon, "a", &since, &[1, 7, 100, 1000]);
    daemon.signal(Signal::SIGKILL);
    daemon.restart();
    pages_equal_the_replay(&daemon, "a", &since, &[13]);
}

#[test]
fn pages_of_a_lapped_ring_report_what_a_replay_reports() {
    let daemon = Daemon::start("ring.slots = 64");
    let since = daemon.open("a").cursor();
    mixture(&daemon, 150);
    pages_equal_the_replay(&daemon, "a", &since, &[1, 7, 1000]);
    let first = page(&daemon, "a", &format!("since={since}&limit=1"));
    assert!(first["gap"]["lost"].as_u64().unwrap() > 10, "{first}");
    // Who asks for the newest is not told of what nobody asked for.
    assert_eq!(page(&daemon, "a", "")["gap"], Value::Null);
}

#[test]
fn what_the_index_forgot_is_found_in_the_ring() {
    let daemon = Daemon::start(
        "ring.slots = 256\nbroadcast.index_entries = 100\nbroadcast.index_channels = 100",
    );
    let since = daemon.open("a").cursor();
    mixture(&daemon, 240);
    let scanned = daemon.metric("askr_positions_scanned_total");
    pages_equal_the_replay(&daemon, "a", &since, &[1, 7, 1000]);
    daemon.until("askr_positions_scanned_total", |now| now > scanned);
    // Over what is held no more as well.
    mixture(&daemon, 100);
    pages_equal_the_replay(&daemon, "a", &since, &[7, 1000]);
}

#[test]
fn a_channel_that_the_index_forgot_is_found_in_the_ring() {
    let daemon = Daemon::start("ring.slots = 256\nbroadcast.index_channels = 2");
    let since = daemon.open("a").cursor();
    daemon.publish("a", "1");
    daemon.publish("a", "2");
    for n in 0..20 {
        daemon.publish(&format!("c{n}"), "");
    }
    daemon.until("askr_events_read_total", |read| read == 22);
    assert_eq!(data(&page(&daemon, "a", "limit=1")), ["2"]);
    pages_equal_the_replay(&daemon, "a", &since, &[1, 2]);
}

#[test]
fn positions_that_nobody_read_are_a_bound_where_the_page_covers_them() {
    let daemon = Daemon::start("ring.slots = 64");
    let since = daemon.open("a").cursor();
    daemon.publish("a", "before");
    daemon.until("askr_events_read_total", |read| read == 1);
    daemon.hold_up();
    let mut publisher = daemon.publisher();
    for _ in 0..200 {
        publish(&mut publisher, &["b"], None, None, "");
    }
    daemon.signal(Signal::SIGCONT);
    daemon.publish("a", "after");
    assert_eq!(data(&page(&daemon, "a", "")), ["after"]);
    pages_equal_the_replay(&daemon, "a", &since, &[1, 10]);
    let lapped = daemon.metric("askr_positions_lost_total{reason=\"lapped\"}");
    let gap = &page(&daemon, "a", &format!("since={since}"))["gap"];
    assert!(
        gap["lost"].is_null() && gap["at_most"].as_u64().unwrap() >= lapped,
        "{gap}"
    );
}

#[test]
fn a_cursor_that_is_not_of_this_ring_has_no_bound_and_what_is_held_follows() {
    let daemon = Daemon::start("");
    daemon.publish("a", "1");
    let unknown = json!({ "lost": null, "at_most": null });
    let foreign = page(&daemon, "a", "since=0123456789ab-7");
    assert_eq!(
        (data(&foreign), &foreign["gap"]),
        (vec!["1".to_owned()], &unknown)
    );
    let foreign = page(&daemon, "a", "before=0123456789ab-7");
    assert_eq!((data(&foreign), &foreign["gap"]), (vec![], &unknown));
    let here = &rows(&page(&daemon, "a", ""))[0].0;
    let newest = page(&daemon, "a", &format!("since={here}"));
    assert_eq!(newest, json!({ "events": [], "gap": null, "next": null }));
    let future = page(
        &daemon,
        "a",
        &format!("since={}", cursor(here, seq(here) + 1000)),
    );
    assert_eq!((data(&future), &future["gap"]), (vec![], &unknown));
    let future = page(
        &daemon,
        "a",
        &format!("before={}", cursor(here, seq(here) + 1000)),
    );
    assert_eq!(
        (data(&future), &future["gap"]),
        (vec!["1".to_owned()], &Value::Null)
    );
}

#[test]
fn a_page_is_within_its_bytes_and_the_next_goes_on() {
    let daemon = Daemon::start("server.history_bytes = '1KiB'");
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    for n in 0..20 {
        publish(
            &mut publisher,
            &["a"],
            None,
            None,
            &format!("{n}{}", "x".repeat(200)),
        );
    }
    publish(&mut publisher, &["a"], None, None, &"\u{1}".repeat(5000));
    publish(&mut publisher, &["a"], None, None, "last");
    let ring = daemon.ring();
    let target = format!(
        "/history?ring={}&channel=a&limit=20&since={since}",
        ring.display()
    );
    let (_, body) = ask(&daemon, "GET", &target);
    assert!(body.len() <= 1024, "{}", body.len());
    // An event that is larger alone is on a page of its own.
    let newest = page(&daemon, "a", "");
    assert_eq!(data(&newest), ["last"]);
    let next = newest["next"].as_str().unwrap();
    assert_eq!(
        data(&page(&daemon, "a", &format!("before={next}")))[0].len(),
        5000
    );
    pages_equal_the_replay(&daemon, "a", &since, &[1000]);
}

#[test]
fn an_event_that_repeats_a_key_is_not_in_the_history_and_its_place_is_no_gap() {
    let daemon = Daemon::start("");
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    let mut last = None;
    for data in ["first", "again"] {
        let event = EventRef {
            channels: &[b"a"],
            key: Some(b"k"),
            data: data.as_bytes(),
            ..EventRef::default()
        };
        last = Some(publisher.publish(&event).unwrap());
    }
    daemon.until("askr_events_repeated_total", |repeated| repeated == 1);
    assert_eq!(data(&page(&daemon, "a", "")), ["first"]);
    // A cursor behind the hole is none of the future.
    let after = page(&daemon, "a", &format!("since={}", last.unwrap()));
    assert_eq!(after, json!({ "events": [], "gap": null, "next": null }));
    pages_equal_the_replay(&daemon, "a", &since, &[5]);
}

#[test]
fn the_command_prints_a_line_for_each_event() {
    let daemon = Daemon::start("");
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    for n in 0..3 {
        publish(&mut publisher, &["a"], None, None, &n.to_string());
    }
    let run = |more: &[&str]| {
        let mut command = askrd();
        command
            .args(["history", "a", "--config"])
            .arg(daemon.config())
            .args(more);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, said, _) = run(&["--limit", "2"]);
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((code, lines.len()), (0, 3), "{said}");
    assert_eq!(
        (&lines[0]["data"], &lines[1]["data"]),
        (&json!("1"), &json!("2"))
    );
    assert_eq!(lines[2]["next"], lines[0]["cursor"]);
    let next = lines[2]["next"].as_str().unwrap();
    let (_, said, _) = run(&["--since", &since, "--before", next]);
    assert!(
        said.contains("\"data\":\"0\"") && said.lines().count() == 1,
        "{said}"
    );
    let (code, _, why) = run(&["--limit", "1001"]);
    assert!(
        code == 1 && why.contains("limit must be a number from 1 to 1000"),
        "{why}"
    );
}

/// A daemon that knows the secret of tokens, with two events on each of these channels.
fn with_secret(settings: &str, channels: &[&str]) -> (Daemon, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    common::write_settings(&path, &format!("{}\n", grants::SECRET));
    let at = path.display();
    let daemon = Daemon::start(&format!("auth.secret_file = '{at}'\n{settings}"));
    for channel in channels {
        daemon.publish(channel, "1");
        daemon.publish(channel, "2");
    }
    (daemon, directory)
}

/// Status, head and body of a page that somebody in a browser asks for.
fn get(daemon: &Daemon, query: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let headers: String = headers
        .iter()
        .map(|(key, value)| format!("{key}: {value}\r\n"))
        .collect();
    let request = format!(
        "GET /askr/history?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
    );
    let answer = common::exchange(daemon.address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

fn got(daemon: &Daemon, query: &str, headers: &[(&str, &str)]) -> Vec<String> {
    let (status, _, body) = get(daemon, query, headers);
    assert_eq!(status, 200, "{body}");
    data(&serde_json::from_str(&body).unwrap())
}

#[test]
fn over_http_it_is_for_whoever_may_subscribe_and_for_as_long() {
    let channels = ["a", "private-b", "presence-c"];
    let (daemon, _directory) = with_secret("", &channels);
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(got(&daemon, "channel=a", &[]), ["1", "2"]);
    let newest = page(&daemon, "a", "limit=1");
    let (_, head, body) = get(&daemon, "channel=a&limit=1", &[]);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), newest);
    assert!(
        head.contains("content-type: application/json") && head.contains("cache-control: no-store")
    );

    let (status, head, _) = get(&daemon, "channel=private-b", &[]);
    assert!(
        status == 401 && head.contains("www-authenticate: bearer"),
        "{head}"
    );
    let token = grants::token(&["private-b"], 60);
    let with = [("Authorization", &*bearer(&token))];
    assert_eq!(got(&daemon, "channel=private-b", &with), ["1", "2"]);
    assert_eq!(
        got(&daemon, &format!("channel=private-b&token={token}"), &[]),
        ["1", "2"]
    );
    let other = grants::token(&["private-other"], 60);
    assert_eq!(
        get(
            &daemon,
            "channel=private-b",
            &[("Authorization", &bearer(&other))]
        )
        .0,
        403
    );
    // Members have ids.
    let nobody = bearer(&grants::token(&["presence-c"], 60));
    assert_eq!(
        get(&daemon, "channel=presence-c", &[("Authorization", &nobody)]).0,
        403
    );
    let user = bearer(&grants::token_of("7", &["presence-c"], 60));
    let with = [("Authorization", &*user)];
    assert_eq!(got(&daemon, "channel=presence-c", &with), ["1", "2"]);
    assert_eq!(daemon.members("presence-c"), [] as [&str; 0], "nobody came");
    // Lost: the user's tokens are refused from now on.
    daemon.disconnect(&json!({ "user": "7" }));
    assert_eq!(get(&daemon, "channel=presence-c", &with).0, 401);
    let expired = bearer(&grants::token_by(
        grants::SECRET,
        &json!({ "channels": ["private-b"], "exp": grants::now() - 100 }),
    ));
    assert_eq!(
        get(&daemon, "channel=private-b", &[("Authorization", &expired)]).0,
        401
    );
}

#[test]
fn over_http_origins_and_parameters_are_checked_as_those_of_a_stream() {
    let (daemon, _directory) =
        with_secret("server.allowed_origins = ['https://app.example']", &["a"]);
    let foreign = [("Origin", "https://evil.example")];
    assert_eq!(get(&daemon, "channel=a", &foreign).0, 403);
    let (status, head, _) = get(&daemon, "channel=a", &[("Origin", "https://app.example")]);
    assert_eq!(status, 200);
    assert!(
        head.contains("access-control-allow-origin: https://app.example"),
        "{head}"
    );
    for (query, reason) in [
        ("", "name one channel: ?channel=NAME"),
        ("channel=a&channel=b", "name one channel: ?channel=NAME"),
        ("channel=askr:x", "channel 1 must not start with \"askr:\""),
        (
            "channel=a&limit=5000",
            "limit must be a number from 1 to 1000",
        ),
        (
            "channel=a&since=x",
            "since must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url",
        ),
    ] {
        let (status, _, body) = get(&daemon, query, &[]);
        assert_eq!((status, body), (400, format!("{reason}\n")), "{query}");
    }
    assert_eq!(get(&daemon, "channel=%23server-to-user-7", &[]).0, 403);
    let post = common::exchange(
        daemon.address,
        b"POST /askr/history?channel=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
}

#[test]
fn one_address_has_so_many_pages_a_second_and_others_have_theirs() {
    let (daemon, _directory) = with_secret(
        "server.connections_per_address = 100\nserver.history_rate = 2",
        &["a"],
    );
    let mut client = common::Client::connect_from(daemon.address, "127.0.0.9");
    let mut refused = None;
    // More than the rate allows in whatever time it takes.
    for _ in 0..10_000 {
        client.request("/askr/history?channel=a&limit=1", &[]);
        if client.head.starts_with("HTTP/1.1 429 ") {
            refused = Some(client.head.to_lowercase());
            break;
        }
    }
    let refused = refused.expect("refused at some point");
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    daemon.until("askr_history_refused_total{reason=\"rate\"}", |n| n == 1);
    let mut other = common::Client::connect_from(daemon.address, "127.0.0.10");
    other.request("/askr/history?channel=a&limit=1", &[]);
    assert!(other.head.starts_with("HTTP/1.1 200 "), "{}", other.head);
    // PHP and servers are not one address of many.
    (0..20).for_each(|_| drop(page(&daemon, "a", "limit=1")));
}

#[test]
fn the_signed_api_gives_the_same_page_to_who_has_the_secret() {
    let daemon = Daemon::start(&format!(
        "[app]\nid = '7'\nkey = '{}'\nsecret = '{}'",
        common::ws::KEY,
        grants::SECRET
    ));
    daemon.publish("private-a", "1");
    daemon.publish("private-a", "2");
    let path = "/apps/7/channels/private-a/events";
    let said = Call::new("GET", path, &[("limit", "1")], "").send(&daemon);
    assert_eq!(said.status, 200, "{said:?}");
    assert_eq!(said.json(), page(&daemon, "private-a", "limit=1"));
    let said = Call::new("GET", path, &[], "").send_signed(&daemon, "00");
    assert_eq!(said.status, 401, "{said:?}");
    let said = Call::new("GET", path, &[("limit", "0")], "").send(&daemon);
    assert_eq!(said.status, 400, "{said:?}");
    let said = Call::new("POST", path, &[], "").send(&daemon);
    assert_eq!(said.status, 405, "{said:?}");
}

#[test]
fn what_is_asked_wrongly_is_refused_by_its_name() {
    let daemon = Daemon::start("");
    let ring = daemon.ring();
    let ring = ring.display();
    for (query, reason) in [
        ("", "channel is missing"),
        ("channel=", "channel cannot be empty"),
        ("channel=askr:x", "channel must not start with \"askr:\""),
        ("channel=a&channel=b", "channel must be given once"),
        ("channel=a&limit=0", "limit must be a number from 1 to 1000"),
        (
            "channel=a&limit=1001",
            "limit must be a number from 1 to 1000",
        ),
        (
            "channel=a&since=7",
            "since must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url",
        ),
        (
            "channel=a&before=%zz",
            "before has a % without two hexadecimal digits",
        ),
    ] {
        let answer = ask(&daemon, "GET", &format!("/history?ring={ring}&{query}"));
        assert_eq!(answer, (400, format!("{reason}\n")), "{query}");
    }
    let post = ask(&daemon, "POST", &format!("/history?ring={ring}&channel=a"));
    assert_eq!(post, (405, "use GET\n".to_owned()));
}
