//! A connection's first request is read by askrd itself or by hyper: it gets the same answer, and the same is counted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::grants::{SECRET, token};
use crate::common::{BY_HYPER, Daemon};

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The lines of a request after its first, without the empty one.
type Case = (String, String);

fn cases() -> Vec<Case> {
    let get = |target: &str, lines: &str| (format!("GET {target} HTTP/1.1"), lines.to_owned());
    let host = "Host: x\r\n";
    let with = |lines: &str| format!("{host}{lines}");
    let good = token(&["private-a", "presence-a"], 600);
    let bearer = with(&format!("Authorization: Bearer {good}\r\n"));
    let events = "/askr/events?channel=a";
    vec![
        get(events, host),
        get("/askr/events?channel=a&channel=b&format=json", host),
        get(events, &with("Last-Event-ID: elsewhere\r\n")),
        get(events, &with("Origin: https://listed.example\r\n")),
        get(events, &with("Origin: https://foreign.example\r\n")),
        get("/askr/events?channel=private-a", &bearer),
        get("/askr/events?channel=private-b", &bearer),
        get("/askr/events?channel=private-a", host),
        get("/askr/events?channel=private-a&token=forged", host),
        get(
            &format!("/askr/events?channel=private-a&token={good}"),
            host,
        ),
        get("/askr/events?channel=presence-a", &bearer),
        get("/askr/events", host),
        get("/askr/events?channel=", host),
        get("/askr/events?channel=a&app=none", host),
        get("/askr//events?channel=a", host),
        get("/elsewhere", host),
        get(events, ""),
        get(events, "Host: x\r\nHost: y\r\n"),
        get(events, &with("Content-Length: 0\r\n")),
        get(events, &with("Content-Length: 2\r\n")),
        get(events, &with("Transfer-Encoding: chunked\r\n")),
        get(events, &with("Expect: 100-continue\r\n")),
        get(events, &with(&format!("X-Large: {}\r\n", "x".repeat(9000)))),
        get(
            events,
            &with(&format!("X-Larger: {}\r\n", "x".repeat(20_000))),
        ),
        get(events, &with(&"X: y\r\n".repeat(300))),
        get(events, &with("No colon\r\n")),
        get(&format!("http://x{events}"), host),
        (format!("GET {events} HTTP/1.0"), host.to_owned()),
        (format!("HEAD {events} HTTP/1.1"), host.to_owned()),
        (format!("OPTIONS {events} HTTP/1.1"), host.to_owned()),
        get("/askr/ws?channel=a", &with(UPGRADE)),
        get("/askr/ws?channel=a", host),
        get("/app/the-key?protocol=7", &with(UPGRADE)),
        get("/app/the-key?protocol=3", &with(UPGRADE)),
        get("/app/other?protocol=7", &with(UPGRADE)),
        get("/app/the-key", host),
        get("/askr/history?channel=a", host),
        get("/up", host),
    ]
}

/// What a client reads of the answer, until it is whole or the stream is open, without what differs each time.
fn answer(daemon: &Daemon, (line, lines): &Case) -> String {
    let mut socket = TcpStream::connect(daemon.address).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(60)))
        .unwrap();
    let request = format!("{line}\r\n{lines}\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while !is_whole(&bytes) {
        match socket.read(&mut buffer) {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            // The end, or a reset behind an answer that needs no more of the request.
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let secret = |line: &str| {
        line.split("\"secret\":")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let plain: String = text.lines().map(|line| secret(line) + "\n").collect();
    let date = |line: &&str| !line.to_ascii_lowercase().starts_with("date: ");
    let lines = plain.lines().filter(date);
    lines.map(|line| shown(line) + "\n").collect()
}

/// Numbers and cursors are not compared.
fn shown(line: &str) -> String {
    if line.starts_with("id: ") {
        return "id".to_owned();
    }
    // A frame's header has its length, and so the number of digits.
    let line = match line.find('{') {
        Some(at) if line.starts_with('\u{fffd}') => &line[at..],
        _ => line,
    };
    let mut out = String::new();
    for c in line.chars() {
        match c.is_ascii_digit() && !line.starts_with("HTTP/") {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(c),
        }
    }
    out
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().unwrap())
    });
    match length {
        Some(length) => body.len() >= length || head.starts_with("HTTP/1.1 100"),
        None if head.contains("101 Switching") => {
            body.contains("socket_id") || body.contains("pusher:error")
        }
        None if head.contains("text/event-stream") => body.contains("askr:connected"),
        None => head.contains("204 No Content"),
    }
}

/// What is counted, without what depends on when it is asked.
fn counted(daemon: &Daemon) -> BTreeMap<String, u64> {
    let page = daemon.control("/metrics");
    let lines = page.lines().filter_map(|line| line.rsplit_once(' '));
    let counters = lines.filter(|(name, _)| name.starts_with("askr_") && name.contains("_total"));
    let timeless = counters.filter(|(name, _)| !name.contains("bytes") && !name.contains("cpu"));
    timeless
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

#[test]
fn whoever_reads_a_request_it_gets_the_same_answer_and_the_same_is_counted() {
    let settings = format!(
        "server.allowed_origins = ['https://listed.example']\n\
         app.key = 'the-key'\napp.secret = '{SECRET}'"
    );
    let ours = Daemon::start(&settings);
    let hypers = Daemon::start_with_fault(BY_HYPER, &settings);
    for case in cases() {
        let [first, second] = [&ours, &hypers].map(|daemon| answer(daemon, &case));
        assert!(first.starts_with("HTTP/1.1 "), "{case:?}: {first}");
        assert_eq!(first, second, "{case:?}");
    }
    for daemon in [&ours, &hypers] {
        daemon.until("askr_connections", |open| open == 0);
    }
    assert_eq!(counted(&ours), counted(&hypers));
}
