//! Webhooks end to end: an endpoint that is told what happens on the channels, one that fails at first,
//! and one that never answers and is in nobody's way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::common;
use crate::common::Daemon;
use crate::common::grants::{code, token};
use crate::common::redis::Redis;
use crate::common::ws::{KEY, Pusher, app};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Long enough that only a missing webhook reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What answers the requests, each on a connection of its own or not.
struct Endpoint {
    url: String,
    /// Status that was answered, and the events.
    asked: Receiver<(u16, Vec<Value>)>,
    events: Vec<Value>,
}

impl Endpoint {
    /// `statuses`: of the first answers; 200 after them. A status of 0: no answer at all, ever.
    fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks?from=askr", listener.local_addr().unwrap());
        let (tell, asked) = channel();
        let mut statuses = statuses.iter().copied();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for socket in listener.incoming() {
                // One after the other: batches come in order.
                let mut socket = socket.unwrap();
                while serve(&mut socket, &mut statuses, &tell) {}
                kept.push(socket);
            }
        });
        let events = Vec::new();
        Self { url, asked, events }
    }

    fn settings(&self, more: &str) -> String {
        app(&format!("app.webhook_url = '{}'\n{more}", self.url))
    }

    fn request(&self) -> (u16, Vec<Value>) {
        self.asked.recv_timeout(PATIENCE).expect("a webhook comes")
    }

    /// The next event that was taken.
    fn next(&mut self) -> Value {
        while self.events.is_empty() {
            let (status, events) = self.request();
            if status == 200 {
                self.events = events;
            }
        }
        self.events.remove(0)
    }

    fn take(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// One request; false at the end of the connection.
fn serve(
    socket: &mut TcpStream,
    statuses: &mut impl Iterator<Item = u16>,
    tell: &Sender<(u16, Vec<Value>)>,
) -> bool {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return false;
        }
    }
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    };
    assert!(
        head.starts_with("POST /hooks?from=askr HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    assert_eq!(header("x-pusher-key").as_deref(), Some(KEY));
    assert_eq!(
        header("x-pusher-signature"),
        Some(code(&body)),
        "signed as a whole"
    );
    let read: Value = serde_json::from_str(&body).unwrap();
    assert!(
        read["time_ms"].as_u64().unwrap() > 1_600_000_000_000,
        "{body}"
    );
    let events = read["events"].as_array().unwrap().clone();
    assert!(!events.is_empty());
    let status = statuses.next().unwrap_or(200);
    // The test may be over.
    let _ = tell.send((status, events));
    if status == 0 {
        return false;
    }
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
    socket.write_all(answer.as_bytes()).is_ok()
}

fn event(name: &str, channel: &str) -> Value {
    json!({"name": name, "channel": channel})
}

fn of_user(name: &str, user: &str) -> Value {
    json!({"name": name, "channel": "presence-a", "user_id": user})
}

#[test]
fn what_happens_on_the_channels_is_told_in_order() {
    let mut endpoint = Endpoint::start(&[]);
    let daemon = Daemon::start(&endpoint.settings("app.presence_grace = 0.0\nserver.workers = 2"));
    let mut one = Pusher::connect(&daemon);
    one.subscribe("private-a");
    assert_eq!(endpoint.next(), event("channel_occupied", "private-a"));
    // Others who come are no news.
    let (mut two, sse) = (Pusher::connect(&daemon), daemon.open("b"));
    two.subscribe("private-a");
    assert_eq!(endpoint.next(), event("channel_occupied", "b"));
    one.ws
        .say(&json!({"event": "client-hi", "channel": "private-a", "data": {"n": 1}}));
    let told = json!({"name": "client_event", "channel": "private-a", "event": "client-hi",
        "data": "{\"n\":1}", "socket_id": one.id});
    assert_eq!(endpoint.next(), told);
    assert_eq!(two.next()["event"], "client-hi");
    // The same of a stream, which sends it by HTTP.
    let query = format!("channel=private-a&token={}", token(&["private-a"], 60));
    let mut stream = daemon.open_with(&query, &[]);
    let me = stream.me();
    let body = json!({"socket_id": me.id, "secret": me.secret, "channel": "private-a",
        "event": "client-hi", "data": {"n": 1}});
    let said = daemon.post("/askr/client-event", &body.to_string());
    assert_eq!(said.status, 204, "{said:?}");
    let told = json!({"name": "client_event", "channel": "private-a", "event": "client-hi",
        "data": "{\"n\":1}", "socket_id": me.id});
    assert_eq!(endpoint.next(), told);
    assert_eq!(two.next()["event"], "client-hi");
    drop(stream);
    two.subscribe("cache-c");
    let mut both = endpoint.take(2);
    both.sort_by_key(|event| event["name"].to_string());
    assert_eq!(
        both,
        [
            event("cache_miss", "cache-c"),
            event("channel_occupied", "cache-c")
        ]
    );
    two.ws.until(|m| m["event"] == "pusher:cache_miss");

    two.join("presence-a", "ada");
    let mut both = endpoint.take(2);
    both.sort_by_key(|event| event["name"].to_string());
    assert_eq!(
        both,
        [
            event("channel_occupied", "presence-a"),
            of_user("member_added", "ada")
        ]
    );
    // A second connection of the same user is not a member more.
    let mut again = Pusher::connect(&daemon);
    again.join("presence-a", "ada");
    let mut bob = Pusher::connect(&daemon);
    bob.join("presence-a", "bob");
    assert_eq!(endpoint.next(), of_user("member_added", "bob"));
    bob.ws
        .say(&json!({"event": "client-hi", "channel": "presence-a", "data": "x"}));
    let told = endpoint.next();
    assert_eq!(
        (&told["user_id"], &told["data"]),
        (&json!("bob"), &json!("x"))
    );

    // Held back for a while, and told then.
    drop((one, two, again, bob, sse));
    let mut rest = endpoint.take(6);
    rest.sort_by_key(Value::to_string);
    let mut expected = vec![
        event("channel_vacated", "b"),
        event("channel_vacated", "cache-c"),
        event("channel_vacated", "presence-a"),
        event("channel_vacated", "private-a"),
        of_user("member_removed", "ada"),
        of_user("member_removed", "bob"),
    ];
    expected.sort_by_key(Value::to_string);
    assert_eq!(rest, expected);
    daemon.until("askr_webhooks_waiting", |n| n == 0);
    assert_eq!(
        daemon.metric("askr_webhooks_total{result=\"delivered\"}"),
        16
    );
    assert_eq!(
        daemon.metric("askr_webhooks_total{result=\"failed_request\"}"),
        0
    );
}

#[test]
fn who_is_back_within_the_hold_was_not_gone() {
    let mut endpoint = Endpoint::start(&[]);
    let daemon = Daemon::start(&endpoint.settings("app.presence_grace = 0.0"));
    let mut one = Pusher::connect(&daemon);
    one.join("presence-a", "ada");
    let first = endpoint.take(2);
    assert!(first.contains(&of_user("member_added", "ada")));
    drop(one);
    daemon.until("askr_streams", |n| n == 0);
    let mut one = Pusher::connect(&daemon);
    one.join("presence-a", "ada");
    // What comes next is of another channel, so nothing was told of this one before it; what was called
    // off never comes, also when its time is over, as the next one that is held shows.
    one.subscribe("b");
    assert_eq!(endpoint.next(), event("channel_occupied", "b"));
    one.send("pusher:unsubscribe", json!({"channel": "b"}));
    assert_eq!(endpoint.next(), event("channel_vacated", "b"));
}

#[test]
fn only_what_is_asked_for_is_told_and_counts_come_together() {
    let mut endpoint = Endpoint::start(&[]);
    let more = "app.webhook_events = ['subscription_count', 'channel_vacated']\n\
                app.webhook_prefix = 'room'\napp.subscription_counts = true";
    let daemon = Daemon::start(&endpoint.settings(more));
    let mut clients: Vec<Pusher> = (0..5).map(|_| Pusher::connect(&daemon)).collect();
    for client in &mut clients {
        client.send("pusher:subscribe", json!({"channel": "room"}));
        client.send("pusher:subscribe", json!({"channel": "other"}));
    }
    // The newest count alone, after the hold.
    let told = endpoint.next();
    assert_eq!(
        told,
        json!({"name": "subscription_count", "channel": "room", "subscription_count": 5})
    );
    drop(clients);
    let mut told = endpoint.next();
    while told["name"] == "subscription_count" {
        told = endpoint.next();
    }
    assert_eq!(told, event("channel_vacated", "room"));
}

#[test]
fn an_endpoint_that_fails_at_first_gets_the_same_again() {
    let endpoint = Endpoint::start(&[500, 404, 302]);
    let daemon = Daemon::start(&endpoint.settings(""));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("a");
    let tries: Vec<_> = (0..4).map(|_| endpoint.request()).collect();
    let statuses: Vec<u16> = tries.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [500, 404, 302, 200]);
    assert!(
        tries
            .iter()
            .all(|(_, events)| *events == [event("channel_occupied", "a")])
    );
    daemon.until("askr_webhooks_total{result=\"delivered\"}", |n| n == 1);
    assert_eq!(
        daemon.metric("askr_webhooks_total{result=\"failed_request\"}"),
        3
    );
    daemon.until("askr_webhooks_waiting", |n| n == 0);
}

#[test]
fn an_endpoint_that_never_answers_is_in_nobodys_way() {
    let endpoint = Endpoint::start(&[0; 1000]);
    let mut daemon = Daemon::start(&endpoint.settings("app.webhook_timeout = 0.5"));
    let (mut one, mut two) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    one.subscribe("private-a");
    two.subscribe("private-a");
    let (_, asked) = endpoint.request();
    assert_eq!(asked, [event("channel_occupied", "private-a")]);
    // It hangs; meanwhile everybody gets everything, and subscribes as ever.
    for n in 0..200 {
        daemon.publish("private-a", &n.to_string());
        assert_eq!(one.take("private-a", 1), [n.to_string()]);
        assert_eq!(two.take("private-a", 1), [n.to_string()]);
        two.subscribe(&format!("c{}", n % 50));
    }
    assert!(daemon.metric("askr_webhooks_waiting") > 0);
    daemon.until("askr_webhooks_total{result=\"failed_request\"}", |n| n >= 2);
    assert_eq!(
        daemon.metric("askr_webhooks_total{result=\"delivered\"}"),
        0
    );
    // Nor of the end.
    daemon.signal(Signal::SIGTERM);
    assert_eq!(one.ws.code(), 4200);
    assert!(daemon.wait().success());
}

#[test]
fn what_waits_at_the_end_is_told_before_it() {
    let mut endpoint = Endpoint::start(&[]);
    let mut daemon = Daemon::start(&endpoint.settings(""));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("a");
    assert_eq!(endpoint.next(), event("channel_occupied", "a"));
    client.send("pusher:unsubscribe", json!({"channel": "a"}));
    daemon.until("askr_channels", |n| n == 0);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert_eq!(endpoint.next(), event("channel_vacated", "a"));
}

#[test]
fn a_presence_channel_is_vacated_after_its_member_is_removed() {
    let mut endpoint = Endpoint::start(&[]);
    let more = "app.presence_grace = 0.5\nserver.workers = 2";
    let mut daemon = Daemon::start(&endpoint.settings(more));
    let came = [
        event("channel_occupied", "presence-a"),
        of_user("member_added", "ada"),
    ];
    let went = [
        of_user("member_removed", "ada"),
        event("channel_vacated", "presence-a"),
    ];
    // Lost, and gone once the grace time is over.
    let mut client = Pusher::connect(&daemon);
    client.join("presence-a", "ada");
    assert_eq!(endpoint.take(2), came);
    drop(client);
    assert_eq!(endpoint.take(2), went);
    // On purpose.
    let mut client = Pusher::connect(&daemon);
    client.join("presence-a", "ada");
    assert_eq!(endpoint.take(2), came);
    client.ws.raw(&common::ws::frame(0x88, &[]));
    assert_eq!(endpoint.take(2), went);
    // A planned restart is no news; who does not come back after it has left.
    let mut client = Pusher::connect(&daemon);
    client.join("presence-a", "ada");
    assert_eq!(endpoint.take(2), came);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(client.ws.code(), 4200);
    assert!(daemon.wait().success());
    daemon.restart();
    assert_eq!(endpoint.take(2), went);
}

/// Each has an endpoint of its own here, so that it shows who sends.
#[test]
fn of_several_hosts_one_sends_what_is_so_on_all_and_another_goes_on_when_it_dies() {
    let redis = Redis::start();
    let (mut of_a, mut of_b) = (Endpoint::start(&[]), Endpoint::start(&[]));
    let host = |endpoint: &Endpoint| {
        let cluster = format!(
            "app.presence_grace = 0.0\ncluster.url = '{}'\ncluster.lease = 1.0\ncluster.grace = 1.0",
            redis.url()
        );
        Daemon::start(&endpoint.settings(&cluster))
    };
    let mut a = host(&of_a);
    a.until("askr_cluster_nodes", |nodes| nodes == 1);
    let b = host(&of_b);
    for host in [&a, &b] {
        host.until("askr_cluster_nodes", |nodes| nodes == 2);
    }
    let name = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap_or("").to_owned();
        format!("{} {} {}", text("name"), text("channel"), text("user_id"))
    };
    let mut ann = Pusher::connect(&a);
    ann.join("presence-room", "ann");
    let mut bob = Pusher::connect(&b);
    bob.join("presence-room", "bob");
    assert_eq!(ann.next()["event"], "pusher_internal:member_added");
    bob.subscribe("news");
    let mut told: Vec<String> = of_a.take(4).iter().map(name).collect();
    assert_eq!(told.remove(0), "channel_occupied presence-room ");
    assert_eq!(told.remove(0), "member_added presence-room ann");
    told.sort();
    assert_eq!(
        told,
        ["channel_occupied news ", "member_added presence-room bob"]
    );
    // A second subscriber, on another host, occupies nothing; and the first one to go vacates nothing.
    ann.subscribe("news");
    ann.subscribe("more");
    assert_eq!(name(&of_a.next()), "channel_occupied more ");
    // A member and two channels, which it was told of.
    b.until("askr_cluster_facts", |facts| facts == 3);
    a.signal(Signal::SIGKILL);
    a.wait();
    // What was sent just before may be sent again.
    let mut told = Vec::new();
    let gone = "member_removed presence-room ann";
    let vacated = "channel_vacated more ";
    while !(told.iter().any(|one| one == gone) && told.iter().any(|one| one == vacated)) {
        told.push(name(&of_b.next()));
        assert!(told.last().unwrap() != "channel_vacated news ", "{told:?}");
    }
}
