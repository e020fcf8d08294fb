//! What the daemon says last arrives, whatever the other side is still sending when it is said: a refusal's
//! status, a WebSocket's close code, when to come back. And nobody can hold an ended connection for long.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::ws::{KEY, app, frame};
use crate::common::{Client, Daemon};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

trait Stream: Read + Write {
    fn half_close(&self);
}

impl Stream for TcpStream {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Stream for UnixStream {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

fn tcp(daemon: &Daemon) -> Box<dyn Stream> {
    let socket = TcpStream::connect(daemon.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Box::new(socket)
}

/// A connection through each door.
fn doors(daemon: &Daemon) -> impl Iterator<Item = Box<dyn Stream>> {
    // Each when it is its turn: one that says nothing for long is closed.
    let tcp = std::iter::once_with(|| tcp(daemon));
    tcp.chain(std::iter::once_with(|| unix(daemon)))
}

fn unix(daemon: &Daemon) -> Box<dyn Stream> {
    let unix = UnixStream::connect(daemon.directory.path().join("askrd.sock")).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    Box::new(unix)
}

/// Everything until the end, which must be an end and no reset.
fn rest(socket: &mut dyn Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(why) = socket.read_to_end(&mut bytes) {
        panic!("{why} after {:?}", String::from_utf8_lossy(&bytes));
    }
    bytes
}

fn text(socket: &mut dyn Stream) -> String {
    String::from_utf8(rest(socket)).unwrap()
}

/// Reads up to and with the empty line.
fn head(socket: &mut dyn Stream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// An open WebSocket of Pusher's protocol.
fn websocket(socket: &mut dyn Stream) {
    write!(
        socket,
        "GET /app/{KEY}?protocol=7 HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n"
    )
    .unwrap();
    assert!(head(socket).starts_with("HTTP/1.1 101 "));
}

/// The code of the close that `bytes` end with.
fn code(bytes: &[u8]) -> Option<u16> {
    let at = (0..bytes.len().saturating_sub(3))
        .rev()
        .find(|at| bytes[*at] == 0x88 && usize::from(bytes[at + 1]) == bytes.len() - at - 2)?;
    Some(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))
}

#[test]
fn whoever_is_refused_while_it_still_sends_reads_the_status() {
    let daemon = Daemon::start("app.api_payload = '10KiB'");
    for (target, length, status) in [
        ("/askr/subscribe", 1 << 20, "413"),
        ("/apps/askr/events", 8 << 20, "413"),
        ("/nowhere", 40_000, "404"),
        ("/askr/events?channel=a", 1 << 20, "413"),
    ] {
        for mut socket in doors(&daemon) {
            let head =
                format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            socket.write_all(head.as_bytes()).unwrap();
            for _ in 0..length / 10_000 {
                socket.write_all(&[b'x'; 10_000]).unwrap();
            }
            let answer = text(&mut *socket).to_lowercase();
            assert!(
                answer.starts_with(&format!("http/1.1 {status} ")),
                "{target} {answer}"
            );
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        }
    }
    daemon.until("askr_connections", |n| n == 0);
}

#[test]
fn a_refused_body_in_chunks_is_told_too() {
    let daemon = Daemon::start("");
    for mut socket in doors(&daemon) {
        let head = "POST /askr/subscribe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        for _ in 0..100 {
            socket.write_all(b"2710\r\n").unwrap();
            socket.write_all(&[b'x'; 10_000]).unwrap();
            socket.write_all(b"\r\n").unwrap();
        }
        let answer = text(&mut *socket);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[test]
fn a_refused_question_to_the_control_socket_is_told_too() {
    let daemon = Daemon::start("");
    let mut socket = UnixStream::connect(daemon.directory.path().join("control.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    for _ in 0..100 {
        socket.write_all(&[b'x'; 10_000]).unwrap();
    }
    let answer = text(&mut socket);
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[test]
fn a_websocket_that_floods_reads_its_code_though_it_goes_on_sending() {
    let daemon = Daemon::start(&app(""));
    let ping = frame(0x89, b"are you there");
    let message = frame(0x81, br#"{"event":"pusher:ping","data":{}}"#);
    let broken = frame(0x81, b"{");
    let mut large = vec![0x81, 0xff];
    large.extend((8u64 << 20).to_be_bytes());
    large.extend([0; 4]);
    large.extend(vec![b'x'; 8 << 20]);
    for (what, bytes, expected) in [
        ("pings", ping.repeat(1500), 4301),
        ("messages", message.repeat(3000), 4301),
        ("what is no message", broken.repeat(1500), 4300),
        ("a message that is too large", large, 1009),
        ("binary", frame(0x82, &[0; 100]).repeat(1000), 1003),
    ] {
        for mut socket in doors(&daemon) {
            websocket(&mut *socket);
            socket.write_all(&bytes).unwrap();
            let said = rest(&mut *socket);
            assert_eq!(code(&said), Some(expected), "{what}");
            if what == "pings" {
                let pong = [b"\x8a\x0d", &b"are you there"[..]].concat();
                assert!(said.windows(pong.len()).any(|at| at == pong));
            }
        }
    }
    daemon.until("askr_connections", |n| n == 0);
}

#[test]
fn a_frame_that_came_with_the_handshake_is_refused_with_a_reason() {
    let daemon = Daemon::start(&app(""));
    let early = frame(0x81, br#"{"event":"pusher:ping","data":{}}"#);
    for target in [&format!("/app/{KEY}?protocol=7"), "/askr/ws"] {
        for mut socket in doors(&daemon) {
            let mut bytes =
                format!("GET {target} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n").into_bytes();
            bytes.extend(&early);
            socket.write_all(&bytes).unwrap();
            let answer = text(&mut *socket).to_lowercase();
            assert!(answer.starts_with("http/1.1 400 "), "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
            assert!(answer.contains("before the handshake"), "{answer}");
        }
    }
    // A handshake that is refused anyway gets the reason that it would get without the frame.
    for mut socket in doors(&daemon) {
        let mut bytes =
            format!("GET /app/nobodys HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n").into_bytes();
        bytes.extend(early.repeat(100));
        socket.write_all(&bytes).unwrap();
        assert_eq!(code(&rest(&mut *socket)), Some(4001));
    }
    assert_eq!(daemon.metric("askr_streams"), 0);
    assert_eq!(
        daemon.metric("askr_streams_ended_total{reason=\"input\"}"),
        4
    );
}

#[test]
fn bytes_behind_a_request_for_events_are_refused_with_a_reason() {
    let daemon = Daemon::start("");
    for mut socket in doors(&daemon) {
        let request = "GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\n\r\n";
        socket.write_all(request.repeat(2).as_bytes()).unwrap();
        let answer = text(&mut *socket);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("nothing may follow"), "{answer}");
    }
    // Behind the beginning of the stream it is a comment that says so.
    for mut socket in doors(&daemon) {
        let request = "GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\n\r\n";
        socket.write_all(request.as_bytes()).unwrap();
        head(&mut *socket);
        socket.write_all(&[b'x'; 100_000]).unwrap();
        let stream = text(&mut *socket);
        let (_, last) = stream.trim_end().rsplit_once("\n: ").unwrap();
        assert!(last.contains("nothing may follow"), "{stream}");
    }
}

#[test]
fn over_the_limit_it_is_told_when_to_come_back_though_it_sends_more() {
    let daemon = Daemon::start("server.max_connections = 1");
    let _there = daemon.open("a");
    for mut socket in doors(&daemon) {
        let request = "GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\n\r\n";
        socket.write_all(request.repeat(200).as_bytes()).unwrap();
        let answer = text(&mut *socket);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("\nretry: "), "{answer}");
    }
}

#[test]
fn an_ended_connection_is_counted_until_its_client_has_gone() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    client.socket.write_all(b"x").unwrap();
    client.end();
    // It has read the end and keeps its own side open.
    daemon.until("askr_connections_ending", |n| n == 1);
    assert_eq!(daemon.metric("askr_streams"), 0);
    assert_eq!(daemon.metric("askr_connections"), 1);
    drop(client);
    daemon.until("askr_connections", |n| n == 0);
    // The control socket's connections end so too: those that asked may be counted a moment longer.
    daemon.until("askr_connections_ending", |n| n == 0);
    assert_eq!(daemon.metric("askr_endings_cut_total{limit=\"time\"}"), 0);
}

#[test]
fn whoever_neither_reads_nor_closes_is_cut_in_time() {
    let daemon = Daemon::start(&app(""));
    let mut idle = Client::connect(daemon.address);
    idle.request("/askr/events?channel=a", &[]);
    idle.socket.write_all(b"x").unwrap();
    let mut quiet = tcp(&daemon);
    websocket(&mut *quiet);
    quiet.write_all(&frame(0x82, b"binary")).unwrap();
    daemon.until("askr_endings_cut_total{limit=\"time\"}", |n| n == 2);
    daemon.until("askr_connections", |n| n == 0);
}

#[test]
fn whoever_sends_without_end_is_cut_after_so_many_bytes() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    let chunk = [b'x'; 64 << 10];
    let why = loop {
        if let Err(why) = client.socket.write_all(&chunk) {
            break why.kind();
        }
    };
    assert!(
        matches!(why, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{why}"
    );
    daemon.until("askr_endings_cut_total{limit=\"bytes\"}", |n| n == 1);
    daemon.until("askr_connections", |n| n == 0);
}

#[test]
fn a_client_that_half_closed_reads_all_the_same() {
    let daemon = Daemon::start("");
    for mut socket in doors(&daemon) {
        let head = "POST /askr/subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&[b'x'; 300_000]).unwrap();
        socket.half_close();
        let answer = text(&mut *socket);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}
