//! Requests in progress: what their heads and bodies hold is bounded, those that take longest give way, and
//! all of it is given back. And clients that take nothing of their answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common;
use crate::common::{Client, Daemon};
use socket2::{Domain, Socket, Type};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const USED: &str = "askr_requests_bytes";

fn connect(daemon: &Daemon) -> TcpStream {
    let socket = TcpStream::connect(daemon.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// From another address of this machine.
fn connect_from(daemon: &Daemon, address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&daemon.address.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// The beginning of a head, and of a body.
fn half_a_head(mut socket: TcpStream) -> TcpStream {
    let head = format!(
        "GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\nX-Large: {}",
        "x".repeat(14_000)
    );
    let _ = socket.write_all(head.as_bytes());
    socket
}

fn half_a_body(mut socket: TcpStream) -> TcpStream {
    let head = "POST /askr/subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 64000\r\n\r\n";
    let _ = socket.write_all(head.as_bytes());
    let _ = socket.write_all(&[b' '; 60_000]);
    socket
}

/// What came until the end; a reset is a failure.
fn rest(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn half_requests_stay_under_the_bound_and_their_memory_comes_back() {
    const TOTAL: u64 = 16 << 20;
    let daemon = Daemon::start(&format!(
        "server.requests_total = {TOTAL}\nserver.header_timeout = 60.0\nserver.workers = 2"
    ));
    let mut stream = daemon.open("a");
    let before = daemon.anonymous();
    let mut most = 0;
    let mut held = Vec::new();
    for n in 0..1500 {
        held.push(match n % 2 {
            0 => half_a_head(connect(&daemon)),
            _ => half_a_body(connect(&daemon)),
        });
        if n % 100 == 0 {
            assert!(daemon.metric(USED) <= TOTAL);
            most = most.max(daemon.anonymous());
        }
    }
    daemon.until("askr_accepted_total", |n| n > 1500);
    // A newcomer that is quick is served, whatever the crowd.
    let mut newcomer = daemon.open("a");
    daemon.publish("a", "all the same");
    assert_eq!(stream.next().data, "all the same");
    assert_eq!(newcomer.next().data, "all the same");
    most = most.max(daemon.anonymous());
    let gave_way = daemon.metric("askr_requests_given_way_total{bound=\"total\"}");
    assert!(gave_way > 500, "{gave_way}");
    // The bound, as much again for what the allocator cannot give back at once, and 1,500 connections.
    println!("{} KiB before, {} KiB at most", before >> 10, most >> 10);
    assert!(
        most < before + 2 * TOTAL + 1500 * 4000,
        "{most} after {before}"
    );
    drop(held);
    daemon.until("askr_connections", |n| n == 2);
    daemon.until(USED, |n| n == 0);
    // It is given back to the system within a moment.
    common::until(|| daemon.anonymous() <= before + (4 << 20));
}

#[test]
fn what_gives_way_is_told_so_and_it_is_what_takes_longest() {
    let daemon = Daemon::start("server.requests_total = '4MiB'\nserver.header_timeout = 60.0");
    // Idle first, though it is younger.
    let mut eldest = half_a_body(connect(&daemon));
    daemon.until(USED, |n| n > 60_000);
    // Each is held before the next one comes.
    let held = daemon.metric(USED);
    let mut events = half_a_head(connect(&daemon));
    daemon.until(USED, |n| n > held + 14_000);
    let mut idle = Client::connect(daemon.address);
    idle.request("/elsewhere", &[]);
    let given_way = "askr_requests_given_way_total{bound=\"total\"}";
    let mut crowd = Vec::new();
    while daemon.metric(given_way) < 1 {
        crowd.push(half_a_body(connect(&daemon)));
    }
    let mut bytes = Vec::new();
    idle.socket.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("HTTP/1.1"), "nothing but its answer: {text}");
    while daemon.metric(given_way) < 3 {
        crowd.push(half_a_body(connect(&daemon)));
    }
    let answer = rest(&mut eldest);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    // Any status but 200 would end an EventSource for good.
    let answer = rest(&mut events);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\nretry: "), "{answer}");
    // Who comes when there is room again is read on: those who gave way are gone a moment later.
    daemon.until(USED, |n| n < 7 << 19);
    let mut last = half_a_body(connect(&daemon));
    last.write_all(&[b' '; 4000]).unwrap();
    let mut status = [0; 12];
    last.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 400");
}

#[test]
fn an_address_has_its_share_and_others_are_not_affected() {
    let daemon = Daemon::start(
        "server.requests_total = '8MiB'\nserver.connections_per_address = 5000\nserver.header_timeout = 60.0",
    );
    let mut other = half_a_body(connect_from(&daemon, "127.0.0.2"));
    daemon.until(USED, |n| n > 60_000);
    let given_way = "askr_requests_given_way_total{bound=\"address\"}";
    let mut crowd = Vec::new();
    while daemon.metric(given_way) < 50 {
        crowd.push(half_a_body(connect_from(&daemon, "127.0.0.3")));
    }
    // Its share, what the other holds, and no more once those that gave way have gone.
    daemon.until(USED, |n| n < 5 << 18);
    assert_eq!(
        daemon.metric("askr_requests_given_way_total{bound=\"total\"}"),
        0
    );
    other.write_all(&[b' '; 4000]).unwrap();
    let mut status = [0; 12];
    other.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 400");
}

#[test]
fn a_head_without_end_is_refused_with_a_reason_and_held_no_larger_than_it_may_be() {
    let daemon = Daemon::start("server.header_bytes = '4KiB'");
    for length in [4_000, 5_000, 100_000] {
        let mut socket = connect(&daemon);
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}",
            "x".repeat(length)
        );
        socket.write_all(head.as_bytes()).unwrap();
        if length < 4096 {
            socket.write_all(b"\r\n\r\n").unwrap();
            let mut status = [0; 12];
            socket.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 404");
            continue;
        }
        let answer = rest(&mut socket);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(answer.contains("longer than 4096 bytes"), "{answer}");
    }
}

#[test]
fn a_head_that_is_not_complete_in_time_is_told_so_and_silence_is_not() {
    let daemon = Daemon::start("server.header_timeout = 0.3");
    let mut slow = half_a_head(connect(&daemon));
    let mut silent = connect(&daemon);
    let answer = rest(&mut slow);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(rest(&mut silent), "");
}

/// The kernel keeps it for that long, and hands it over then.
#[test]
fn a_tcp_connection_that_sends_nothing_takes_no_place_for_a_second() {
    let daemon = Daemon::start("server.header_timeout = 60");
    // Where the machine is slower than that, it is tried again.
    loop {
        let began = Instant::now();
        let mut silent = connect(&daemon);
        // It came later, and is served.
        let _other = daemon.open("a");
        let connections = daemon.metric("askr_connections");
        if began.elapsed() < Duration::from_millis(900) {
            assert_eq!(connections, 1);
            daemon.until("askr_connections", |n| n == 2);
            silent
                .write_all(b"GET /elsewhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .unwrap();
            let answer = rest(&mut silent);
            assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            return;
        }
        drop((silent, _other));
        daemon.until("askr_connections", |n| n == 0);
    }
}

#[test]
fn whoever_takes_no_answers_is_closed_after_the_write_timeout() {
    let daemon = Daemon::start("server.write_timeout = 0.5");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&daemon.address.into()).unwrap();
    let mut socket: TcpStream = socket.into();
    let request = "GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    // Until it is closed: nothing is ever read.
    while socket.write_all(request.as_bytes()).is_ok() {}
    daemon.until("askr_connections", |n| n == 0);
    assert_eq!(daemon.metric("askr_answers_stalled_total"), 1);
}
