//! askrd's own memory: a bound counts what is really held, shared bytes once, and who is slow pays for it,
//! not whoever comes next. What was held is given back.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{Daemon, publish};
use protocol::testing::sse::{Message, Parser};

const MIB: u64 = 1 << 20;
/// The last event of a test, which ends the reading.
const END: &str = "that is all";

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("room-{n}")).collect()
}

fn query(names: &[String]) -> String {
    let pairs: Vec<String> = names.iter().map(|name| format!("channel={name}")).collect();
    pairs.join("&")
}

fn publish_all(daemon: &Daemon, count: usize, names: &[String], data: &str) {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut publisher = daemon.publisher();
    for _ in 0..count {
        publish(&mut publisher, &names, None, None, data);
    }
    publish(&mut publisher, &names[..1], None, None, END);
}

/// A request, of which nothing has been read.
fn ask<S: Write>(mut socket: S, target: &str, headers: &str) -> S {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

const WEBSOCKET: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Reads to the last event, as quickly as it comes; returns how many bytes that were.
fn read_to_end(socket: impl Read) -> usize {
    read_to(END, socket)
}

fn read_to(end: &str, mut socket: impl Read) -> usize {
    let (mut all, mut tail) = (0, Vec::new());
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = socket.read(&mut buffer).expect("something arrives in time");
        assert!(n > 0, "ended before \"{end}\"");
        all += n;
        tail.extend_from_slice(&buffer[..n]);
        if tail.windows(end.len()).any(|part| part == end.as_bytes()) {
            return all;
        }
        tail.drain(..tail.len().saturating_sub(end.len()));
    }
}

fn connect(daemon: &Daemon) -> TcpStream {
    let socket = TcpStream::connect(daemon.address).unwrap();
    let patience = Some(Duration::from_secs(60));
    socket.set_read_timeout(patience).unwrap();
    socket
}

/// A client that reads nothing once it is there. The kernel takes little for it: the socket is a Unix one.
fn idle(daemon: &Daemon, target: &str) -> UnixStream {
    let socket = UnixStream::connect(daemon.directory.path().join("askrd.sock")).unwrap();
    let patience = Some(Duration::from_secs(60));
    socket.set_read_timeout(patience).unwrap();
    there(ask(socket, target, ""))
}

/// Once the answer begins, the stream is subscribed.
fn there<S: Read>(mut socket: S) -> S {
    socket.read_exact(&mut [0; 12]).unwrap();
    socket
}

/// Reads an answer whose first bytes have been read.
struct Reader {
    socket: UnixStream,
    parser: Parser,
    messages: VecDeque<Message>,
}

impl Reader {
    fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            parser: Parser::default(),
            messages: VecDeque::new(),
        }
    }

    fn next(&mut self) -> Message {
        let mut buffer = vec![0; 1 << 16];
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            let n = self.socket.read(&mut buffer).expect("something in time");
            assert!(n > 0, "the end");
            // The head has no field of an event in it.
            let messages = self.parser.feed(&buffer[..n]);
            let told = messages.into_iter().filter(|m| m.event != "askr:connected");
            self.messages.extend(told);
        }
    }
}

/// Waits until it has no more than this; fails if that never comes.
fn until_below(daemon: &Daemon, bytes: u64) {
    let patience = Instant::now() + Duration::from_secs(60);
    while daemon.anonymous() > bytes {
        assert!(
            Instant::now() < patience,
            "{} MiB are kept, {} of them events",
            daemon.anonymous() / MIB,
            daemon.metric("askr_held_bytes") / MIB
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn events_read_again_in_every_form_are_bounded_and_given_back() {
    let daemon = Daemon::start("");
    let rooms = names(20);
    publish_all(&daemon, 1024, &rooms, &"x".repeat(8000));
    daemon.until("askr_events_read_total", |n| n == 1025);
    let before = daemon.anonymous();
    let resume = "Last-Event-ID: x\r\n";
    let (most, ()) = daemon.peak(|| {
        for (path, headers) in [
            ("/askr/events?", resume.to_owned()),
            ("/askr/events?format=json&", resume.to_owned()),
            ("/askr/ws?last_event_id=x&", WEBSOCKET.to_owned()),
        ] {
            let target = format!("{path}{}", query(&rooms));
            read_to_end(ask(connect(&daemon), &target, &headers));
        }
    });
    assert!(most < before + 64 * MIB, "{} MiB", most / MIB);
    // Everybody has left.
    until_below(&daemon, before + 32 * MIB);
}

#[test]
fn a_replay_that_grows_sixfold_stays_within_the_address_space() {
    let daemon = Daemon::start_within(640 << 10, "");
    let rooms = names(20);
    publish_all(&daemon, 500, &rooms, &"\x01".repeat(8000));
    daemon.until("askr_events_read_total", |n| n == 501);
    let target = format!("/askr/events?format=json&{}", query(&rooms));
    let (most, read) = daemon.peak(|| {
        let socket = ask(connect(&daemon), &target, "Last-Event-ID: x\r\n");
        read_to_end(socket)
    });
    assert!(read > 500 * 20 * 48_000);
    assert!(most < 96 * MIB, "{} MiB", most / MIB);
}

#[test]
fn the_last_events_of_cache_channels_are_kept_without_their_forms() {
    let daemon = Daemon::start("");
    let rooms = names(20);
    let before = daemon.anonymous();
    let json = format!("/askr/events?format=json&{}", query(&rooms));
    let socket = there(ask(connect(&daemon), &json, ""));
    let (_, ()) = daemon.peak(|| {
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| read_to_end(&socket));
            let mut publisher = daemon.publisher();
            let data = "x".repeat(8000);
            for n in 0..1500 {
                let cache = format!("cache-{n}");
                let mut all: Vec<&str> = rooms.iter().map(String::as_str).collect();
                all.push(&cache);
                publish(&mut publisher, &all, None, None, &data);
            }
            publish(&mut publisher, &["room-0"], None, None, END);
            reading.join().unwrap();
        });
    });
    drop(socket);
    daemon.until("askr_streams", |n| n == 0);
    // 1,500 events of 8 KB are kept, within their 32 MiB.
    until_below(&daemon, before + 40 * MIB);
    assert_eq!(daemon.metric("askr_last_events_forgotten_total"), 0);
    let mut new = daemon.open("cache-0");
    assert_eq!(new.next().data.len(), 8000);
}

#[test]
fn a_large_event_of_many_channels_is_made_a_piece_at_a_time() {
    let daemon = Daemon::start("ring.arena = '64MiB'");
    let rooms = names(100);
    let data = "\x01".repeat(256 << 10);
    let before = daemon.anonymous();
    let targets = [
        (format!("/askr/events?format=json&{}", query(&rooms)), ""),
        (format!("/askr/ws?{}", query(&rooms)), WEBSOCKET),
    ];
    let sockets = targets
        .each_ref()
        .map(|(target, headers)| there(ask(connect(&daemon), target, headers)));
    let (most, read) = daemon.peak(|| {
        std::thread::scope(|scope| {
            // Live, each of the hundred frames.
            let reading = sockets
                .each_ref()
                .map(|s| scope.spawn(move || read_to_end(s)));
            publish_all(&daemon, 1, &rooms, &data);
            let live = reading.map(|reading| reading.join().unwrap());
            // And again.
            let socket = ask(connect(&daemon), &targets[0].0, "Last-Event-ID: x\r\n");
            live.into_iter().chain([read_to_end(socket)]).collect()
        })
    });
    let read: Vec<usize> = read;
    assert!(
        read.iter().all(|read| *read > 100 * 6 * data.len()),
        "{read:?}"
    );
    assert!(most < before + 80 * MIB, "{} MiB", most / MIB);
}

#[test]
fn last_events_that_a_newcomer_gets_are_made_a_piece_at_a_time() {
    let daemon = Daemon::start("ring.arena = '64MiB'");
    let rooms: Vec<String> = (0..100).map(|n| format!("cache-{n}")).collect();
    let all: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let data = "\x01".repeat(256 << 10);
    publish(&mut daemon.publisher(), &all, None, None, &data);
    daemon.until("askr_events_read_total", |n| n == 1);
    let before = daemon.anonymous();
    let target = format!("/askr/events?format=json&{}", query(&rooms));
    let (most, read) = daemon.peak(|| {
        // Some who never take theirs, and one who does.
        let never: Vec<_> = (0..5).map(|_| idle(&daemon, &target)).collect();
        let socket = there(ask(connect(&daemon), &target, ""));
        daemon.publish("cache-0", END);
        let read = read_to_end(socket);
        drop(never);
        read
    });
    assert!(read > 100 * 6 * data.len(), "{read}");
    assert!(most < before + 48 * MIB, "{} MiB", most / MIB);
}

#[test]
fn idle_readers_of_the_same_events_cost_nobody_else_anything() {
    let settings = "server.outbox_total = '32MiB'\nring.arena = '64MiB'";
    let daemon = Daemon::start(settings);
    let target = "/askr/events?channel=news";
    let healthy = idle(&daemon, target);
    let idle: Vec<UnixStream> = (0..60).map(|_| idle(&daemon, target)).collect();
    // Each of them is more than a socket takes at once.
    for n in 0..20 {
        let end = format!("the end of {n}");
        daemon.publish("news", &format!("{}{end}", "x".repeat(3 << 20)));
        read_to(&end, &healthy);
        if n == 10 {
            let resume = "Last-Event-ID: x\r\n";
            read_to(&end, ask(connect(&daemon), target, resume));
        }
    }
    for reason in ["memory", "slow"] {
        let ended = format!("askr_streams_ended_total{{reason=\"{reason}\"}}");
        assert_eq!(daemon.metric(&ended), 0, "{reason}");
    }
    drop(idle);
}

/// Streams whose frames differ hold them all: those that hold the most for the longest give way.
#[test]
fn who_is_slow_gives_way_and_gets_the_rest_from_the_ring() {
    const EACH: usize = 60;
    let settings = "server.outbox_total = '8MiB'\nring.arena = '64MiB'";
    let daemon = Daemon::start(settings);
    let mut healthy = daemon.open("news");
    let before = daemon.anonymous();
    let rooms = names(40);
    let open = |room: &String| {
        let socket = idle(&daemon, &format!("/askr/events?channel={room}"));
        (Reader::new(socket), room.clone())
    };
    let mut slow: Vec<(Reader, String)> = rooms.iter().map(open).collect();
    let mut publisher = daemon.publisher();
    let (most, ()) = daemon.peak(|| {
        // Until the kernel takes no more for any of them, and then what they may hold, each of its own.
        let data = "x".repeat(60_000);
        for n in 0..EACH {
            for room in &rooms {
                let data = format!("{n} {room} {data}");
                publish(&mut publisher, &[room], None, None, &data);
            }
            publish(&mut publisher, &["news"], None, None, "goes on");
            assert_eq!(healthy.next().data, "goes on");
        }
    });
    assert!(most < before + 40 * MIB, "{} MiB", most / MIB);
    let relieved = "askr_memory_relief_total{what=\"stream\"}";
    let ended = "askr_streams_ended_total{reason=\"memory\"}";
    assert_eq!(daemon.metric(ended), 0);
    assert!(daemon.metric(relieved) > 0);
    // They read again: in order, nothing twice, nothing left out that the ring has.
    for (client, room) in &mut slow {
        let mut due = 0;
        while due < EACH as u64 {
            let message = client.next();
            if message.event == "askr:gap" {
                let gap: serde_json::Value = serde_json::from_str(&message.data).unwrap();
                due += gap["lost"].as_u64().expect("counted");
                continue;
            }
            let start = format!("{due} {room} ");
            assert!(message.data.starts_with(&start), "{}", &message.data[..20]);
            due += 1;
        }
    }
    drop(slow);
    drop(healthy);
    daemon.until("askr_held_bytes", |n| n == 0);
}

/// What was begun cannot be dropped, nor read again: there the connection gives way.
#[test]
fn frames_that_were_begun_and_are_never_taken_do_not_add_up() {
    let settings = "server.outbox_total = '16MiB'\nring.arena = '64MiB'\nserver.workers = 2";
    let daemon = Daemon::start(settings);
    let mut healthy = daemon.open("news");
    healthy.cursor();
    let before = daemon.anonymous();
    let (most, held) = daemon.peak(|| {
        let mut held = Vec::new();
        for n in 0..60 {
            let room = format!("room-{n}");
            held.push(idle(&daemon, &format!("/askr/events?channel={room}")));
            daemon.publish(&room, &"x".repeat(1 << 20));
            daemon.publish("news", "goes on");
            assert_eq!(healthy.next().data, "goes on");
        }
        held
    });
    assert!(most < before + 48 * MIB, "{} MiB", most / MIB);
    // The newcomers are served all the while.
    let mut new = daemon.open("news");
    daemon.publish("news", "to both");
    assert_eq!(
        (healthy.next().data, new.next().data),
        ("to both".into(), "to both".into())
    );
    drop(held);
    drop((healthy, new));
    daemon.until("askr_held_bytes", |n| n == 0);
}
