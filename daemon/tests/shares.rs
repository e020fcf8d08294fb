//! Pools that all clients have together: what one of them may take, and that the others get theirs.
//!
//! A client is an address. Where the test is about more than its connections, a proxy says which
//! (`X-Real-IP`): the test itself.

use std::io::Read;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::common::ws::{KEY, Pusher, Socket, app, data};
use crate::common::{Client, Daemon, grants};
use serde_json::{Value, json};

/// The test is a proxy.
const PROXY: &str = "server.trusted_proxies = ['127.0.0.0/8']\n";

const ANN: &str = "192.0.2.1";
const BEN: &str = "192.0.2.2";

fn of(address: &str) -> [(&str, &str); 1] {
    [("X-Real-IP", address)]
}

/// A stream of this client if it opens; None if it was asked to reconnect later.
fn try_open(daemon: &Daemon, query: &str, address: &str) -> Option<Client> {
    let mut client = daemon.open_with(query, &of(address));
    client.opens().then_some(client)
}

#[test]
fn whoever_was_told_to_come_back_takes_no_place_and_gives_none_away() {
    let daemon = Daemon::start("server.connections_per_address = 2");
    let open = || {
        let mut client = Client::connect_from(daemon.address, "127.0.0.2");
        client.request("/askr/events?channel=a", &[]);
        client
    };
    let mut held = [open(), open()];
    assert!(held.iter_mut().all(Client::opens));
    for _ in 0..20 {
        let mut beyond = open();
        assert!(!beyond.opens());
        drop(beyond);
        daemon.until("askr_connections", |n| n == 2);
    }
    drop(held);
    daemon.until("askr_connections", |n| n == 0);
    assert!(open().opens(), "there is room again");
}

fn query(prefix: &str, count: usize) -> String {
    let all: Vec<String> = (0..count).map(|n| format!("channel={prefix}{n}")).collect();
    all.join("&")
}

fn refused(daemon: &Daemon, limit: &str) -> u64 {
    daemon.metric(&format!("askr_refused_total{{limit=\"{limit}\"}}"))
}

#[test]
fn who_has_too_many_connections_takes_no_places_of_others_with_those_beyond() {
    let daemon = Daemon::start("server.max_connections = 20\nserver.connections_per_address = 2");
    // They say nothing, so that only time would end them.
    let flood: Vec<Client> = (0..60)
        .map(|_| Client::connect_from(daemon.address, "127.0.0.2"))
        .collect();
    daemon.until("askr_accepted_total", |n| n == 60);
    let mut other = Client::connect_from(daemon.address, "127.0.0.3");
    other.request("/askr/events?channel=a", &[]);
    daemon.publish("a", "served");
    assert_eq!(other.next().data, "served");
    assert_eq!(refused(&daemon, "address"), 58);
    assert_eq!(refused(&daemon, "connections"), 0);
    // Of those, some are heard and told when to come back.
    let told = flood.into_iter().filter_map(|mut client| {
        client.try_ask("/askr/events?channel=a").ok()?;
        client.try_read_head()
    });
    let told: Vec<Client> = told.collect();
    assert!(told.len() > 2, "{}", told.len());
    let streams = told.into_iter().filter_map(|mut client| {
        while client.parser.connected().is_empty() {
            if !client.read() {
                assert!(client.parser.retry().is_some());
                return None;
            }
        }
        Some(client)
    });
    assert_eq!(streams.count(), 2);
}

#[test]
fn one_address_takes_an_eighth_of_the_connections_unless_a_setting_says_otherwise() {
    let daemon = Daemon::start(&format!("{PROXY}server.max_connections = 16"));
    let held: Vec<Client> = (0..4)
        .filter_map(|_| try_open(&daemon, "channel=a", ANN))
        .collect();
    assert_eq!((held.len(), refused(&daemon, "address")), (2, 2));
    assert!(try_open(&daemon, "channel=a", BEN).is_some());

    let daemon = Daemon::start(&format!("{PROXY}app.max_connections = 16"));
    let held: Vec<Client> = (0..4)
        .filter_map(|_| try_open(&daemon, "channel=a", ANN))
        .collect();
    assert_eq!((held.len(), refused(&daemon, "app_address")), (2, 2));
    assert!(try_open(&daemon, "channel=a", BEN).is_some());
    drop(held);
    daemon.until("askr_streams", |n| n == 0);
    assert!(try_open(&daemon, "channel=a", ANN).is_some(), "given back");

    let bounds = "server.max_connections = 16\nserver.connections_per_address = 3";
    let daemon = Daemon::start(&format!("{PROXY}{bounds}"));
    let held: Vec<Client> = (0..4)
        .filter_map(|_| try_open(&daemon, "channel=a", ANN))
        .collect();
    assert_eq!(held.len(), 3);
}

#[test]
fn one_address_has_its_share_of_the_channels_and_others_have_theirs() {
    let daemon = Daemon::start(&app(&format!("{PROXY}server.max_channels = 80")));
    let mut ann = try_open(&daemon, &query("ann", 10), ANN).unwrap();
    // Over SSE, by POST, over both protocols of WebSockets.
    assert!(try_open(&daemon, "channel=more", ANN).is_none());
    assert_eq!(refused(&daemon, "channels_per_address"), 1);
    let said = daemon.try_subscribe(&ann.me(), &["more"], Value::Null);
    assert_eq!(said.status, 409, "{said:?}");
    assert!(said.body.contains("address"), "{said:?}");
    let mut plain = Socket::open(daemon.address, "/askr/ws?channel=more", &of(ANN));
    assert_eq!(plain.code(), 4100);
    let mut plain = Socket::open(daemon.address, "/askr/ws", &of(ANN));
    plain.next();
    plain.say(&json!({"subscribe": ["more"]}));
    assert_eq!(plain.next()["error"]["code"], 403);
    let path = format!("/app/{KEY}?protocol=7");
    let mut pusher = Socket::open(daemon.address, &path, &of(ANN));
    let id = data(&pusher.next())["socket_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut pusher = Pusher { ws: pusher, id };
    let told = pusher.try_subscribe("more", Value::Null);
    assert_eq!(told["event"], "pusher:subscription_error", "{told}");
    assert_eq!(data(&told)["status"], 403, "{told}");
    assert_eq!(refused(&daemon, "channels_per_address"), 5);

    // A channel counts once, however many of its connections have it.
    pusher.subscribe("ann3");
    let mut again = try_open(&daemon, &query("ann", 10), ANN).unwrap();
    // What it has, others may have as well: to each it counts as one of its own.
    let mut ben = try_open(&daemon, &format!("{}&channel=ann3", query("ben", 9)), BEN).unwrap();
    assert!(try_open(&daemon, "channel=ann4", BEN).is_none());
    daemon.publish("ann3", "for all");
    for client in [&mut ann, &mut again, &mut ben] {
        assert_eq!(client.next().data, "for all");
    }
    assert_eq!(pusher.take("ann3", 1), ["for all"]);

    // Held until its last connection has left it.
    drop(ann);
    daemon.until("askr_streams", |n| n == 4);
    assert!(try_open(&daemon, "channel=more", ANN).is_none());
    daemon.unsubscribe(&again.me(), &["ann0", "ann3"]);
    let more = try_open(&daemon, "channel=more", ANN).unwrap();
    assert!(
        try_open(&daemon, "channel=much-more", ANN).is_none(),
        "ann3 is Pusher's still"
    );
    drop((again, more, pusher, plain));
    daemon.until("askr_streams", |n| n == 1);
    assert!(try_open(&daemon, &query("anew", 10), ANN).is_some());
}

#[test]
fn a_refused_stream_leaves_nothing_on_its_address() {
    let bounds = "server.channels_per_address = 3\nserver.subscribers_per_channel = 1";
    let daemon = Daemon::start(&format!("{PROXY}{bounds}"));
    let _ben = try_open(&daemon, "channel=taken", BEN).unwrap();
    for _ in 0..5 {
        assert!(try_open(&daemon, "channel=a&channel=b&channel=taken", ANN).is_none());
    }
    let mut ann = try_open(&daemon, "channel=a&channel=b", ANN).unwrap();
    for _ in 0..5 {
        let said = daemon.try_subscribe(&ann.me(), &["taken"], Value::Null);
        assert_eq!(said.status, 409, "{said:?}");
    }
    daemon.subscribe(&ann.me(), &["c"], Value::Null);
}

#[test]
fn one_address_has_its_share_of_a_channels_subscribers() {
    let daemon = Daemon::start(&format!("{PROXY}server.subscribers_per_channel = 16"));
    let held: Vec<Client> = (0..4)
        .filter_map(|_| try_open(&daemon, "channel=a", ANN))
        .collect();
    assert_eq!(held.len(), 2);
    assert_eq!(refused(&daemon, "subscribers_per_address"), 2);
    assert!(try_open(&daemon, "channel=a", BEN).is_some());
    assert!(try_open(&daemon, "channel=b", ANN).is_some());
}

/// An application that takes questions and answers none.
struct Hanging {
    url: String,
    /// The questions.
    asked: Receiver<String>,
}

impl Hanging {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/askr", listener.local_addr().unwrap());
        let (tell, asked) = channel();
        thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || {
                    let mut buffer = [0; 16384];
                    while let Ok(n @ 1..) = socket.read(&mut buffer) {
                        let _ = tell.send(String::from_utf8_lossy(&buffer[..n]).into_owned());
                    }
                });
            }
        });
        Self { url, asked }
    }
}

fn auth_calls(daemon: &Daemon, result: &str) -> u64 {
    daemon.metric(&format!("askr_auth_calls_total{{result=\"{result}\"}}"))
}

#[test]
fn who_shows_no_credential_takes_no_call_from_those_who_do() {
    let application = Hanging::start();
    let settings = format!(
        "{PROXY}app.auth_url = '{}'\napp.auth_calls = 2\napp.auth_timeout = 60.0\n",
        application.url
    );
    let daemon = Daemon::start(&app(&settings));
    let get = |query: &str, headers: &str| {
        let target = format!("/askr/events?{query}");
        grants::request(daemon.address, "GET", &target, headers, "")
    };
    for n in 0..70 {
        let said = get(
            "channel=private-a",
            &format!("X-Real-IP: 198.51.100.{n}\r\n"),
        );
        assert_eq!(said.status, 401, "{said:?}");
        assert!(said.body.contains("cookie"), "{said:?}");
    }
    // Another site's page, whose cookie does not count.
    let foreign = "Cookie: session=1\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(get("channel=private-a", foreign).status, 401);
    // By POST and over a WebSocket it is the same.
    let mut stream = daemon.open("a");
    let said = daemon.try_subscribe(&stream.me(), &["private-a"], Value::Null);
    assert_eq!(said.status, 401, "{said:?}");
    let mut plain = Socket::open(daemon.address, "/askr/ws", &of(ANN));
    plain.next();
    plain.say(&json!({"subscribe": ["private-a"]}));
    assert_eq!(plain.next()["error"]["code"], 401);
    assert_eq!(
        (
            auth_calls(&daemon, "asked"),
            auth_calls(&daemon, "anonymous")
        ),
        (0, 73)
    );
    for user in ["1", "2"] {
        let mut client = Client::connect(daemon.address);
        client.ask("/askr/events?channel=private-a", &[("Cookie", user)]);
        let question = application.asked.recv().unwrap();
        assert!(
            question
                .to_lowercase()
                .contains(&format!("cookie: {user}\r\n"))
        );
    }
}

#[test]
fn an_application_that_admits_by_address_is_asked_about_anybody() {
    let application = Hanging::start();
    let settings = format!(
        "{PROXY}app.auth_url = '{}'\napp.auth_anonymous = true\n",
        application.url
    );
    let daemon = Daemon::start(&settings);
    let mut client = Client::connect(daemon.address);
    client.ask("/askr/events?channel=private-a", &of(ANN));
    let question = application.asked.recv().unwrap();
    assert!(
        question
            .to_lowercase()
            .contains(&format!("x-forwarded-for: {ANN}\r\n"))
    );
}

#[test]
fn one_address_has_its_share_of_the_calls_and_others_have_theirs() {
    let application = Hanging::start();
    let settings = format!(
        "{PROXY}app.auth_url = '{}'\napp.auth_calls = 16\napp.auth_timeout = 60.0\n",
        application.url
    );
    let daemon = Daemon::start(&settings);
    let ask = |n: usize, address: &str| {
        let mut client = Client::connect(daemon.address);
        let cookie = format!("made_up={n}");
        let headers = [("Cookie", cookie.as_str()), ("X-Real-IP", address)];
        client.ask("/askr/events?channel=private-a", &headers);
        client
    };
    let waiting = [ask(0, ANN), ask(1, ANN)];
    daemon.until("askr_auth_calls_total{result=\"asked\"}", |n| n == 2);
    for n in 2..30 {
        let mut client = ask(n, ANN);
        client.read_head();
        assert!(
            client.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            client.head
        );
        assert!(client.end().is_empty() && client.parser.retry().is_some());
    }
    // A stream's changes are of its share, too, and what a WebSocket asks for later.
    let mut stream = try_open(&daemon, "channel=a", ANN).unwrap();
    let headers = format!("Cookie: x\r\nX-Real-IP: {ANN}\r\n");
    let body = grants::body(&stream.me(), &["private-a"], Value::Null);
    let said = grants::request(daemon.address, "POST", "/askr/subscribe", &headers, &body);
    assert_eq!(said.status, 503, "{said:?}");
    let headers = [("Cookie", "x"), ("X-Real-IP", ANN)];
    let mut plain = Socket::open(daemon.address, "/askr/ws", &headers);
    plain.next();
    plain.say(&json!({"subscribe": ["private-a"]}));
    assert_eq!(plain.next()["error"]["code"], 503);
    assert_eq!(auth_calls(&daemon, "address"), 30);
    let others: Vec<Client> = (0..14)
        .map(|n| ask(n, &format!("192.0.2.{}", 2 + n / 2)))
        .collect();
    daemon.until("askr_auth_calls_total{result=\"asked\"}", |n| n == 16);
    assert_eq!(auth_calls(&daemon, "full"), 0);
    drop((waiting, others));
    daemon.until("askr_connections", |n| n == 2);
    let _again = ask(0, ANN);
    daemon.until("askr_auth_calls_total{result=\"asked\"}", |n| n == 17);
}

/// A client of Pusher's protocol that comes from this address.
fn pusher(daemon: &Daemon, address: &str) -> Pusher {
    let path = format!("/app/{KEY}?protocol=7");
    let mut ws = Socket::open(daemon.address, &path, &of(address));
    let id = data(&ws.next())["socket_id"].as_str().unwrap().to_owned();
    Pusher { ws, id }
}

#[test]
fn one_address_has_its_share_of_the_client_events_and_others_have_theirs() {
    let rates = "app.client_events_total = 8\napp.client_event_rate = 10000";
    let daemon = Daemon::start(&app(&format!("{PROXY}{rates}")));
    let mut ann = pusher(&daemon, ANN);
    let mut ben = pusher(&daemon, BEN);
    ann.subscribe("private-a");
    ben.subscribe("private-a");
    let event = |n: u32| json!({"event": "client-x", "channel": "private-a", "data": n});
    for n in 0..200 {
        ann.ws.say(&event(n));
    }
    // Each refusal is reported to it; the pong shows that all were looked at.
    ann.send("pusher:ping", json!({}));
    let mut refused: u64 = 0;
    loop {
        let message = ann.ws.next();
        match message["event"].as_str() {
            Some("pusher:error") => refused += 1,
            Some("pusher:pong") => break,
            _ => panic!("{message}"),
        }
    }
    let counted = "askr_websocket_refused_total{what=\"client_event_address\"}";
    assert_eq!(daemon.metric(counted), refused);
    assert_eq!(daemon.metric("askr_client_events_total"), 200 - refused);
    // Seven of eight a second are not its own.
    ben.ws.say(&event(1000));
    let came = ann.ws.next();
    assert_eq!(
        (&came["event"], &came["data"]),
        (&json!("client-x"), &json!(1000))
    );
}

#[test]
fn one_address_has_its_share_of_the_webhooks_that_wait_and_others_have_theirs() {
    let application = Hanging::start();
    let daemon = Daemon::start(&app(&format!(
        "{PROXY}app.webhook_url = '{}'\napp.webhook_timeout = 60.0",
        application.url
    )));
    let dropped =
        |result: &str| daemon.metric(&format!("askr_webhooks_total{{result=\"{result}\"}}"));
    // Each stream is 200 events: channels that come to be, of which nobody knows the last event.
    let held: Vec<Client> = (0..60)
        .map(|n| try_open(&daemon, &query(&format!("cache-{n}."), 100), ANN).unwrap())
        .collect();
    let waits = daemon.metric("askr_webhooks_waiting");
    assert_eq!((dropped("dropped_address"), waits), (12_000 - 1250, 1250));
    let _ben = try_open(&daemon, &query("cache-ben.", 100), BEN).unwrap();
    assert_eq!(daemon.metric("askr_webhooks_waiting"), 1450);
    assert_eq!(dropped("dropped"), 0);
    drop(held);
}

#[test]
fn a_user_is_on_so_many_presence_channels_and_others_have_places() {
    let daemon = Daemon::start(&app("app.members = 1600"));
    let enter = |user: &str, prefix: &str, count| {
        let token = grants::token_of(user, &["presence-*"], 600);
        let query = format!("{}&token={token}", query(prefix, count));
        try_open(&daemon, &query, ANN)
    };
    let ann = [
        enter("ann", "presence-a", 100),
        enter("ann", "presence-b", 100),
    ];
    assert!(ann.iter().all(Option::is_some));
    assert!(enter("ann", "presence-c", 1).is_none());
    assert!(enter("ann", "presence-a", 100).is_some(), "another tab");
    assert!(enter("ben", "presence-c", 100).is_some());
    assert_eq!(refused(&daemon, "members"), 1);
}
