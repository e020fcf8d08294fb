//! Connections over the Unix socket whose request comes when they have been accepted already: nothing that happens to them is
//! missed.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::{Client, Daemon, publish};
use nix::sys::signal::Signal;
use shared::publisher::{AttachOptions, Publisher};

const PATIENCE: Duration = Duration::from_secs(60);
/// No ping finds out what was to be reported.
const QUIET: &str = "server.ping = 600.0";
const EVENTS: &str = "/askr/events?channel=a";

/// A connection that was accepted before anything was sent on it.
fn silent(daemon: &Daemon) -> Client<UnixStream> {
    let accepted = daemon.metric("askr_accepted_total");
    let socket = UnixStream::connect(daemon.directory.path().join("askrd.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    daemon.until("askr_accepted_total", |n| n > accepted);
    Client::on(socket)
}

fn is_over(daemon: &Daemon) {
    daemon.until("askr_streams", |n| n == 0);
    daemon.until("askr_connections", |n| n == 0);
}

#[test]
fn a_late_request_is_served_and_the_end_of_its_stream_is_seen() {
    let daemon = Daemon::start(QUIET);
    let mut held: Vec<_> = (0..200).map(|_| silent(&daemon)).collect();
    for client in &mut held {
        client.ask(EVENTS, &[]);
    }
    for client in &mut held {
        client.read_head();
        assert!(client.opens());
    }
    daemon.publish("a", "x");
    assert!(held.iter_mut().all(|client| client.next().data == "x"));
    drop(held);
    is_over(&daemon);
}

#[test]
fn an_end_that_comes_with_a_late_request_is_seen() {
    let daemon = Daemon::start(QUIET);
    let mut held: Vec<_> = (0..50).map(|_| silent(&daemon)).collect();
    // Both are there when it looks.
    daemon.signal(Signal::SIGSTOP);
    for client in &mut held {
        client.ask(EVENTS, &[]);
        client.socket.shutdown(Shutdown::Write).unwrap();
    }
    daemon.signal(Signal::SIGCONT);
    is_over(&daemon);
}

#[test]
fn what_follows_a_late_request_ends_it() {
    let daemon = Daemon::start(QUIET);
    let mut at_once = silent(&daemon);
    let two = format!("GET {EVENTS} HTTP/1.1\r\nHost: x\r\n\r\nmore");
    at_once.socket.write_all(two.as_bytes()).unwrap();
    at_once.read_head();
    assert!(
        at_once.head.starts_with("HTTP/1.1 400 "),
        "{}",
        at_once.head
    );
    let mut later = silent(&daemon);
    later.request(EVENTS, &[]);
    assert!(later.opens());
    later.socket.write_all(b"more").unwrap();
    let _ = later.end();
    drop((at_once, later));
    is_over(&daemon);
}

#[test]
fn a_late_request_in_pieces_and_one_that_is_answered_go_to_hyper() {
    let daemon = Daemon::start(QUIET);
    let mut pieces = silent(&daemon);
    let head = format!("GET {EVENTS} HTTP/1.1\r\nHost: x\r\n\r\n");
    let (first, rest) = head.split_at(10);
    pieces.socket.write_all(first.as_bytes()).unwrap();
    let mut other = silent(&daemon);
    for _ in 0..3 {
        // On a connection that is kept.
        let get = b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n";
        other.socket.write_all(get).unwrap();
        let mut answer = [0; 4096];
        let n = other.socket.read(&mut answer).unwrap();
        assert!(answer[..n].starts_with(b"HTTP/1.1 404 "));
    }
    pieces.socket.write_all(rest.as_bytes()).unwrap();
    pieces.read_head();
    assert!(pieces.opens());
    daemon.publish("a", "x");
    assert_eq!(pieces.next().data, "x");
    drop((pieces, other));
    is_over(&daemon);
}

#[test]
fn a_late_request_may_be_for_any_application() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let ring = directory.path().join("ring");
    let daemon = Daemon::start(&format!(
        "{QUIET}\n[[app]]\nid = 'shop'\nkey = 'shop-key'\nsecret = 'the-secret-of-the-shop-long-enough'\n\
         [[app]]\nid = 'blog'\nkey = 'blog-key'\nsecret = 'the-secret-of-the-blog-long-enough'\nring = '{}'\n",
        ring.display()
    ));
    let mut shop = silent(&daemon);
    let mut blog = silent(&daemon);
    blog.request(&format!("{EVENTS}&app=blog"), &[]);
    shop.request(&format!("{EVENTS}&app=shop"), &[]);
    assert!(blog.opens() && shop.opens());
    daemon.publish("a", "of the shop");
    assert_eq!(shop.next().data, "of the shop");
    let mut publisher = Publisher::new();
    publisher.configure(AttachOptions {
        name: ring.to_str().unwrap().parse().unwrap(),
        ..AttachOptions::default()
    });
    publish(&mut publisher, &["a"], None, None, "of the blog");
    assert_eq!(blog.next().data, "of the blog");
    drop(blog);
    daemon.until("askr_connections", |n| n == 1);
    drop(shop);
    is_over(&daemon);
}

#[test]
fn who_is_turned_away_late_gives_its_place_back() {
    let daemon = Daemon::start(&format!("{QUIET}\nserver.max_channels = 1"));
    let mut known = silent(&daemon);
    known.request(EVENTS, &[]);
    let mut refused = silent(&daemon);
    refused.request("/askr/events?channel=b", &[]);
    assert_eq!(refused.end(), []);
    assert!(refused.parser.retry().is_some());
    drop(refused);
    daemon.until("askr_connections", |n| n == 1);
    daemon.publish("a", "x");
    assert_eq!(known.next().data, "x");
    drop(known);
    is_over(&daemon);
}

#[test]
fn what_did_not_fit_into_the_first_read_is_seen() {
    let daemon = Daemon::start(&format!("{QUIET}\nserver.header_bytes = 16384"));
    // As much as is read at once, and more behind it.
    let mut head = format!("GET {EVENTS} HTTP/1.1\r\nHost: x\r\nX: ");
    head += &"x".repeat(8192 - head.len() - 4);
    head += "\r\n\r\n";
    let mut client = silent(&daemon);
    let all = head + "more";
    client.socket.write_all(all.as_bytes()).unwrap();
    // A refusal, or a stream that ends: askrd does not wait for more.
    client.read_head();
    let _ = client.end();
    drop(client);
    is_over(&daemon);
}

#[test]
fn a_late_websocket_is_heard_and_its_end_is_seen() {
    let daemon = Daemon::start(QUIET);
    let mut client = silent(&daemon);
    let upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    client.ask("/askr/ws?channel=a", &upgrade);
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !got.windows(9).any(|nine| nine == b"connected") {
        let n = client.socket.read(&mut buffer).unwrap();
        got.extend_from_slice(&buffer[..n]);
    }
    // A ping, masked with zeros (RFC 6455, section 5.5.2), which is answered.
    client.socket.write_all(b"\x89\x82\0\0\0\0hi").unwrap();
    while !got.windows(4).any(|four| four == b"\x8a\x02hi") {
        let n = client.socket.read(&mut buffer).unwrap();
        got.extend_from_slice(&buffer[..n]);
    }
    drop(client);
    is_over(&daemon);
}

#[test]
fn who_comes_after_one_that_said_nothing_in_time_is_served() {
    let daemon = Daemon::start(&format!("{QUIET}\nserver.header_timeout = 0.2"));
    for _ in 0..3 {
        let mut mute = silent(&daemon);
        assert_eq!(mute.socket.read(&mut [0]).unwrap(), 0);
        let mut client = silent(&daemon);
        client.request(EVENTS, &[]);
        assert!(client.opens());
        daemon.publish("a", "x");
        assert_eq!(client.next().data, "x");
    }
    is_over(&daemon);
}
