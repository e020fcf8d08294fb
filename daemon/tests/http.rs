//! What requests are answered, good and bad.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::common::{Client, Daemon, exchange};

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{headers}\r\n")
}

/// Status and the body's line.
fn refused(daemon: &Daemon, request: &str) -> (u16, String) {
    let answer = exchange(daemon.address, request.as_bytes());
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: text/plain; charset=utf-8"),
        "{head}"
    );
    assert!(head.contains("cache-control: no-store"), "{head}");
    assert!(
        body.ends_with('\n') && body.lines().count() == 1,
        "{body:?}"
    );
    (head[9..12].parse().unwrap(), body.trim_end().to_owned())
}

#[test]
fn each_refusal_has_its_status_and_one_line_of_reason() {
    let daemon = Daemon::start("server.allowed_hosts = ['a.example']");
    let large = format!("X-Large: {}\r\n", "a".repeat(100_000));
    let long = format!("/askr/events?channel={}", "a".repeat(201));
    let many: String = (0..101).map(|n| format!("&channel=c{n}")).collect();
    let many = format!("/askr/events?{many}");
    for (status, target, headers, reason) in [
        (400, "/askr/events", "", "name at least one channel"),
        (
            400,
            "/askr/events?channel=",
            "",
            "channel 1 cannot be empty",
        ),
        (400, "/askr/events?channel=a%0ab", "", "control characters"),
        (400, "/askr/events?channel=%ff", "", "UTF-8"),
        (400, "/askr/events?channel=%4", "", "%"),
        (400, &long, "", "200"),
        (400, &many, "", "100"),
        (400, "/askr/events?channel=a&format=xml", "", "format"),
        (
            400,
            "/askr/events?channel=a",
            "Content-Length: 3\r\n",
            "body",
        ),
        (403, "/askr/events?channel=private-a", "", "authorization"),
        (403, "/askr/events?channel=presence-a", "", "authorization"),
        (
            403,
            "/askr/events?channel=a",
            "Origin: https://evil.example\r\n",
            "origin",
        ),
        (404, "/", "", "/askr/events"),
        (404, "/healthz", "", "/askr/events"),
        (
            413,
            "/askr/events?channel=a",
            "Content-Length: 99999999\r\n",
            "65536",
        ),
        (431, "/askr/events?channel=a", &large, "16384"),
    ] {
        let (got, line) = refused(&daemon, &get(target, headers));
        assert_eq!(got, status, "{target} {line}");
        assert!(line.contains(reason), "{target}: {line}");
    }
    let other =
        "GET /askr/events?channel=a HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n";
    assert_eq!(refused(&daemon, other).0, 403);
    let none = "GET /askr/events?channel=a HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert_eq!(refused(&daemon, none).0, 400);
    let post = "POST /askr/events HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(refused(&daemon, post).0, 405);
    let answer = exchange(daemon.address, post.as_bytes()).to_ascii_lowercase();
    assert!(answer.contains("\r\nallow: get, options\r\n"), "{answer}");
    assert_eq!(daemon.metric("askr_streams"), 0);
}

#[test]
fn listed_origins_get_credentials_and_a_preflight() {
    let daemon = Daemon::start("server.allowed_origins = ['https://app.example']");
    let origin = ("Origin", "https://app.example");
    let client = daemon.open_with("channel=a", &[origin]);
    let head = client.head.to_ascii_lowercase();
    assert!(
        head.contains("\r\naccess-control-allow-origin: https://app.example\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\naccess-control-allow-credentials: true\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nvary: origin\r\n"), "{head}");
    let own = daemon.open_with("channel=a", &[("Origin", "http://x")]);
    assert!(
        !own.head.to_ascii_lowercase().contains("access-control"),
        "{}",
        own.head
    );

    let preflight = "OPTIONS /askr/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
        Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n\r\n";
    let answer = exchange(daemon.address, preflight.as_bytes()).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 204 "), "{answer}");
    assert!(
        answer.contains("\r\naccess-control-allow-origin: https://app.example\r\n"),
        "{answer}"
    );
    assert!(answer.contains("last-event-id"), "{answer}");
    let stranger = preflight.replace("app.example", "evil.example");
    let answer = exchange(daemon.address, stranger.as_bytes()).to_ascii_lowercase();
    assert!(
        answer.starts_with("http/1.1 403 ") && !answer.contains("allow-origin"),
        "{answer}"
    );
}

#[test]
fn the_first_bytes_come_at_once_with_retry_and_cursor() {
    // No ping may be due in the same second.
    let daemon = Daemon::start("server.ping = 300");
    let mut client = daemon.open("a");
    let head = client.head.to_ascii_lowercase();
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
        "connection: close",
    ] {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {head}"
        );
    }
    let cursor = client.cursor();
    assert!(
        shared::cursor::Cursor::parse(cursor.as_bytes()).is_some(),
        "{cursor}"
    );
    assert!((1500..=2500).contains(&client.parser.retry().unwrap()));
    // The first is the greeting; a ping may have followed.
    assert!(client.parser.comments() >= 1);
}

#[test]
fn a_request_on_a_kept_connection_becomes_a_stream_too() {
    let daemon = Daemon::start("");
    let mut client = Client::connect(daemon.address);
    client.request("/elsewhere", &[]);
    assert!(client.head.starts_with("HTTP/1.1 404 "));
    // The reason is one line of text, which is no field of an event stream.
    client.request("/askr/events?channel=a", &[]);
    assert!(client.head.starts_with("HTTP/1.1 200 "), "{}", client.head);
    daemon.publish("a", "x");
    assert_eq!(client.next().data, "x");
}

#[test]
fn bytes_after_the_request_end_the_stream() {
    let daemon = Daemon::start("");
    let request = "GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = exchange(daemon.address, format!("{request}{request}").as_bytes());
    assert!(answer.matches("HTTP/1.1 200").count() <= 1, "{answer}");
    let mut client = daemon.open("a");
    client.socket.write_all(b"x").unwrap();
    client.end();
    daemon.until("askr_streams_ended_total{reason=\"input\"}", |n| n == 2);
    daemon.until("askr_connections", |n| n == 0);
}

#[test]
fn half_close_and_disappearance_end_the_stream() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    client.half_close();
    client.end();
    drop(daemon.open("a"));
    daemon.until("askr_streams_ended_total{reason=\"peer\"}", |n| n == 2);
    for gauge in [
        "askr_connections",
        "askr_streams",
        "askr_subscriptions",
        "askr_channels",
    ] {
        daemon.until(gauge, |n| n == 0);
    }
}

#[test]
fn slow_and_silent_requests_are_cut_while_others_are_served() {
    let daemon = Daemon::start("server.header_timeout = 0.3");
    let mut stream = daemon.open("a");
    let mut silent = TcpStream::connect(daemon.address).unwrap();
    let mut slow = TcpStream::connect(daemon.address).unwrap();
    slow.write_all(b"GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\n")
        .unwrap();
    let mut kept = Client::connect(daemon.address);
    kept.request("/elsewhere", &[]);
    for socket in [&mut silent, &mut slow, &mut kept.socket] {
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
    daemon.publish("a", "still here");
    assert_eq!(stream.next().data, "still here");
}

#[test]
fn over_the_limit_a_client_is_told_to_come_back_and_served_when_there_is_room() {
    let daemon = Daemon::start("server.max_connections = 2");
    let first = daemon.open("a");
    let _second = daemon.open("a");
    let mut third = daemon.open("a");
    assert!(third.head.contains("text/event-stream"), "{}", third.head);
    assert_eq!(third.end(), []);
    assert!(third.parser.retry().is_some());
    assert_eq!(
        daemon.metric("askr_refused_total{limit=\"connections\"}"),
        1
    );
    drop(first);
    daemon.until("askr_connections", |n| n == 1);
    let mut fourth = daemon.open("a");
    daemon.publish("a", "x");
    assert_eq!(fourth.next().data, "x");
}

#[test]
fn an_address_has_its_limit_and_only_a_proxy_says_whose_it_is() {
    let daemon = Daemon::start("server.connections_per_address = 1");
    let through_proxy = |address: &str| {
        let mut socket = UnixStream::connect(daemon.directory.path().join("askrd.sock")).unwrap();
        write!(
            socket,
            "GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\nX-Real-IP: {address}\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.contains("retry: ") {
            let n = socket.read(&mut buffer).unwrap();
            text += std::str::from_utf8(&buffer[..n]).unwrap();
        }
        (socket, text)
    };
    let is_stream = |text: &str| text.contains(": welcome");
    let one = through_proxy("192.0.2.1");
    assert!(is_stream(&one.1));
    assert!(!is_stream(&through_proxy("192.0.2.1").1), "its second");
    assert!(is_stream(&through_proxy("192.0.2.2").1), "another's first");
    // By TCP the header is anybody's claim.
    let direct = daemon.open_with("channel=a", &[("X-Real-IP", "192.0.2.3")]);
    let mut second = daemon.open_with("channel=a", &[("X-Real-IP", "192.0.2.4")]);
    assert_eq!(second.end(), []);
    drop((one, direct));
    daemon.until("askr_streams", |n| n == 0);
    assert!(
        is_stream(&through_proxy("192.0.2.1").1),
        "the place was given back"
    );
}

#[test]
fn too_many_channels_in_all_are_told_to_come_back() {
    let daemon = Daemon::start("server.max_channels = 2");
    let _open = daemon.open_with("channel=a&channel=b", &[]);
    let mut known = daemon.open("b");
    let mut new = daemon.open("c");
    assert_eq!(new.end(), []);
    assert!(new.parser.retry().is_some());
    daemon.publish("b", "x");
    assert_eq!(known.next().data, "x");
}

#[test]
fn who_sends_a_body_that_is_far_too_long_reads_why_it_is_refused() {
    let daemon = Daemon::start("");
    let body = "x".repeat(8 << 20);
    let mut socket = TcpStream::connect(daemon.address).unwrap();
    let head = format!(
        "POST /apps/askr/events HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // All of it: nothing is cut while it is sent.
    socket.write_all((head + &body).as_bytes()).unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}
