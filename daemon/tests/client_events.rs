//! Client events: whichever way a subscriber sends them (Pusher's protocol, the plain one, HTTP beside a stream), the rules,
//! the budgets and who gets them are the same.

use crate::common;
use crate::common::grants::{Said, Socket as Stream, request, token, token_of};
use crate::common::ws::{Pusher, Socket, app};
use crate::common::{Client, Daemon};
use serde_json::{Value, json};

const PATH: &str = "/askr/client-event";

/// The body of a client event of this stream.
fn body(stream: &Stream, channel: &str, event: &str, data: &Value) -> Value {
    json!({"socket_id": stream.id, "secret": stream.secret, "channel": channel, "event": event, "data": data})
}

fn post(daemon: &Daemon, stream: &Stream, channel: &str, event: &str, data: &Value) -> Said {
    daemon.post(PATH, &body(stream, channel, event, data).to_string())
}

/// A stream of JSON on these channels.
fn sse(daemon: &Daemon, channels: &[&str], token: &str) -> Client {
    let names: Vec<String> = channels.iter().map(|c| format!("channel={c}")).collect();
    daemon.open_with(
        &format!("{}&format=json&token={token}", names.join("&")),
        &[],
    )
}

/// A plain WebSocket on this channel, and who it is.
fn plain(daemon: &Daemon, channel: &str, token: &str) -> (Socket, Stream) {
    let target = format!("/askr/ws?channel={channel}&token={token}");
    let mut socket = Socket::open(daemon.address, &target, &[]);
    let told = socket.until(|m| m["connected"].is_object())["connected"].clone();
    socket.until(|m| m["subscribed"].is_array());
    let text = |key: &str| told[key].as_str().unwrap().to_owned();
    let stream = Stream {
        id: text("socket_id"),
        secret: text("secret"),
    };
    (socket, stream)
}

fn of_client(socket: &mut Socket) -> Value {
    socket.until(|m| {
        m["event"]
            .as_str()
            .is_some_and(|e| e.starts_with("client-"))
    })
}

#[test]
fn a_streams_event_reaches_the_others_of_its_channel_in_every_protocol() {
    let daemon = Daemon::start(&app("server.workers = 2"));
    let all = ["private-a"];
    let (mut one, mut two) = (
        sse(&daemon, &all, &token(&all, 60)),
        sse(&daemon, &all, &token(&all, 60)),
    );
    let mut raw = daemon.open_with(&format!("channel=private-a&token={}", token(&all, 60)), &[]);
    let (mut socket, _) = plain(&daemon, "private-a", &token(&all, 60));
    let mut pusher = Pusher::connect(&daemon);
    pusher.subscribe("private-a");
    let (me, other) = (one.me(), two.me());
    raw.me();

    let data = json!({"x": [1, null, "é"]});
    let said = post(&daemon, &me, "private-a", "client-typing", &data);
    assert_eq!((said.status, said.body.as_str()), (204, ""), "{said:?}");
    let object = json!({"channel": "private-a", "event": "client-typing", "id": null, "data": data.to_string()});
    assert_eq!(two.next_json(), ("message".into(), object.clone()));
    assert_eq!(raw.next_json(), ("client-typing".into(), data.clone()));
    assert_eq!(of_client(&mut socket), object);
    let of_pusher = json!({"event": "client-typing", "channel": "private-a", "data": data});
    assert_eq!(pusher.next(), of_pusher);
    // Its sender was left out: the next that it hears is another's.
    let said = post(&daemon, &other, "private-a", "client-next", &json!(2));
    assert_eq!(said.status, 204, "{said:?}");
    assert_eq!(one.next_json().1["event"], "client-next");
    assert_eq!(daemon.metric("askr_client_events_total"), 2);
    // It is nowhere to be replayed from.
    assert_eq!(daemon.metric("askr_events_read_total"), 0);
}

#[test]
fn on_a_presence_channel_the_sender_is_named() {
    let daemon = Daemon::start(&app(""));
    let of = |user: &str| token_of(user, &["presence-a"], 60);
    let mut ada = sse(&daemon, &["presence-a"], &of("ada"));
    let me = ada.me();
    let (mut bob, bobs) = plain(&daemon, "presence-a", &of("bob"));
    let mut cyd = Pusher::connect(&daemon);
    cyd.join("presence-a", "cyd");

    assert_eq!(
        post(&daemon, &me, "presence-a", "client-hi", &json!(1)).status,
        204
    );
    let hi = of_client(&mut bob);
    assert_eq!(
        hi,
        json!({"channel": "presence-a", "event": "client-hi", "id": null, "data": "1", "user": "ada"})
    );
    let hi = cyd.ws.until(|m| m["event"] == "client-hi");
    assert_eq!((&hi["user_id"], &hi["data"]), (&json!("ada"), &json!(1)));

    // The plain WebSocket may send it either way.
    bob.say(
        &json!({"client_event": {"channel": "presence-a", "event": "client-one", "data": [1]}}),
    );
    let hi = cyd.ws.until(|m| m["event"] == "client-one");
    assert_eq!((&hi["user_id"], &hi["data"]), (&json!("bob"), &json!([1])));
    assert_eq!(
        post(&daemon, &bobs, "presence-a", "client-two", &Value::Null).status,
        204
    );
    let hi = cyd.ws.until(|m| m["event"] == "client-two");
    assert_eq!((&hi["user_id"], &hi["data"]), (&json!("bob"), &Value::Null));
}

/// The reason that each of the three ways tells for a client event: the HTTP status, the plain protocol's code, and the
/// three texts.
fn refused(
    daemon: &Daemon,
    channels: &[&str],
    channel: &str,
    event: &str,
    data: &Value,
) -> (u16, u64, [String; 3]) {
    let token = token(channels, 60);
    let me = sse(daemon, channels, &token).me_kept();
    let said = post(daemon, &me.1, channel, event, data);
    let (mut socket, _) = plain(daemon, channels[0], &token);
    socket.say(&json!({"client_event": {"channel": channel, "event": event, "data": data}}));
    let error = socket.until(|m| m["error"].is_object())["error"].clone();
    assert_eq!(error["channel"], channel, "{error}");
    let mut pusher = Pusher::connect(daemon);
    pusher.subscribe(channels[0]);
    pusher
        .ws
        .say(&json!({"event": event, "channel": channel, "data": data}));
    let told = pusher.next()["data"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    let reason = error["reason"].as_str().unwrap().to_owned();
    (
        said.status,
        error["code"].as_u64().unwrap(),
        [said.body.trim_end().into(), reason, told],
    )
}

trait Kept {
    fn me_kept(self) -> (Client, Stream);
}

impl Kept for Client {
    /// With the stream, which has to stay open.
    fn me_kept(mut self) -> (Client, Stream) {
        let me = self.me();
        (self, me)
    }
}

#[test]
fn whichever_way_it_comes_it_is_refused_for_the_same_reason() {
    let strict =
        "app.strict = true\napp.events = ['client-typing']\napp.client_event_bytes = '100'";
    let daemon = Daemon::start(&app(strict));
    let long = json!("x".repeat(99));
    let cases = [
        ("private-b", "client-typing", json!(1), 403, "subscription"),
        (
            "open",
            "client-typing",
            json!(1),
            403,
            "private and presence",
        ),
        ("private-a", "client-typing", long, 413, "at most 100 bytes"),
        (
            "private-a",
            "client-a\nb",
            json!(1),
            400,
            "a client event's name",
        ),
        (
            "private-a",
            "client-typos",
            json!(1),
            400,
            "did you mean \"client-typing\"?",
        ),
    ];
    let counted = cases.len() as u64 * 3;
    for (channel, event, data, status, why) in cases {
        let channels = if channel == "open" {
            ["open"]
        } else {
            ["private-a"]
        };
        let (http, plain, reasons) = refused(&daemon, &channels, channel, event, &data);
        assert_eq!((http, plain), (status, u64::from(status)), "{reasons:?}");
        assert!(reasons[0].contains(why), "{reasons:?}");
        assert!(
            reasons.iter().all(|reason| *reason == reasons[0]),
            "{reasons:?}"
        );
    }
    let metric =
        |what: &str| daemon.metric(&format!("askr_websocket_refused_total{{what=\"{what}\"}}"));
    assert_eq!(
        (
            metric("client_event") + metric("event_name"),
            metric("event_name")
        ),
        (counted, 3)
    );
    assert_eq!(daemon.metric("askr_client_events_total"), 0);

    let daemon = Daemon::start(&app("app.client_events = false"));
    let (http, plain, reasons) =
        refused(&daemon, &["private-a"], "private-a", "client-x", &json!(1));
    assert_eq!((http, plain), (403, 403));
    assert!(
        reasons.iter().all(|reason| reason.contains("not enabled")),
        "{reasons:?}"
    );
    // Of Pusher's protocol it would be another message; here it has to be said.
    let (_open, me) = sse(&daemon, &["private-a"], &token(&["private-a"], 60)).me_kept();
    assert_eq!(
        post(&daemon, &me, "private-a", "typing", &json!(1)).status,
        403
    );
    let daemon = Daemon::start(&app(""));
    let (_open, me) = sse(&daemon, &["private-a"], &token(&["private-a"], 60)).me_kept();
    let said = post(&daemon, &me, "private-a", "typing", &json!(1));
    assert_eq!(
        (said.status, said.body.contains("begins with client-")),
        (400, true),
        "{said:?}"
    );
}

#[test]
fn the_rate_of_a_connection_counts_whichever_way_it_sends() {
    let daemon = Daemon::start(&app("app.client_event_rate = 4"));
    let (mut socket, me) = plain(&daemon, "private-a", &token(&["private-a"], 60));
    let event = json!({"client_event": {"channel": "private-a", "event": "client-n", "data": 1}});
    let mut sent = 0;
    // However slow this machine is: those of the WebSocket come together.
    let refused = loop {
        (0..4).for_each(|_| socket.say(&event));
        let said = post(&daemon, &me, "private-a", "client-n", &json!(1));
        sent += 5;
        match said.status {
            204 => {}
            _ => break said,
        }
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    let reason = "at most 4 client events a second (app.client_event_rate)";
    assert_eq!(refused.body.trim_end(), reason);
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    socket.say(&json!({"ping": 1}));
    socket.until(|m| m["pong"] == 1);
    let limited = daemon.metric("askr_websocket_refused_total{what=\"rate\"}");
    assert_eq!(daemon.metric("askr_client_events_total"), sent - limited);
    // Another connection has its own.
    let (_open, other) = sse(&daemon, &["private-a"], &token(&["private-a"], 60)).me_kept();
    assert_eq!(
        post(&daemon, &other, "private-a", "client-n", &json!(1)).status,
        204
    );
}

#[test]
fn the_applications_budget_and_the_share_of_an_address_are_the_same_as_pushers() {
    // An eighth of eight is one a second, whoever of the address sends it.
    let daemon = Daemon::start(&app(
        "app.client_events_total = 8\nserver.trusted_proxies = ['127.0.0.1']",
    ));
    let token = token(&["private-a"], 60);
    let from = |address: &str| {
        let query = format!("channel=private-a&token={token}");
        daemon
            .open_with(&query, &[("X-Real-IP", address)])
            .me_kept()
    };
    let (_one, one) = from("10.0.0.1");
    let (_two, two) = from("10.0.0.1");
    let (_other, other) = from("10.0.0.2");
    let mut pusher = Pusher {
        ws: Socket::open(
            daemon.address,
            "/app/app-key?protocol=7",
            &[("X-Real-IP", "10.0.0.1")],
        ),
        id: String::new(),
    };
    let hello = pusher.next();
    pusher.id = common::ws::data(&hello)["socket_id"]
        .as_str()
        .unwrap()
        .to_owned();
    pusher.subscribe("private-a");
    let mut senders = [&one, &two].into_iter().cycle();
    let first = post(
        &daemon,
        senders.next().unwrap(),
        "private-a",
        "client-n",
        &json!(1),
    );
    assert_eq!(first.status, 204, "{first:?}");
    let late = senders
        .map(|one| post(&daemon, one, "private-a", "client-n", &json!(1)))
        .find(|said| said.status != 204)
        .expect("the share is spent");
    assert_eq!(late.status, 429, "{late:?}");
    assert!(
        late.body
            .contains("this address sends as many as are allowed, 1 client events"),
        "{late:?}"
    );
    assert!(late.head.contains("retry-after: 1"), "{late:?}");
    // A client of Pusher's protocol from there has a part of the same share.
    for _ in 0..5 {
        let event = json!({"event": "client-n", "channel": "private-a", "data": 1});
        pusher.ws.say(&event);
    }
    let told = pusher.ws.until(|m| m["event"] == "pusher:error")["data"].clone();
    assert_eq!(
        (&told["code"], told["message"].as_str()),
        (&json!(4301), Some(late.body.trim_end()))
    );
    assert!(daemon.metric("askr_websocket_refused_total{what=\"client_event_address\"}") > 0);
    assert_eq!(
        post(&daemon, &other, "private-a", "client-n", &json!(1)).status,
        204
    );
}

#[test]
fn who_may_not_send_for_a_stream_is_told_why() {
    let daemon = Daemon::start(&app(
        "server.body_bytes = 2000\napp.client_event_bytes = '20 KiB'",
    ));
    let token = token(&["private-a"], 60);
    let (open, me) = sse(&daemon, &["private-a"], &token).me_kept();
    let (_other, other) = sse(&daemon, &["private-a"], &token).me_kept();
    let mixed = Stream {
        id: me.id.clone(),
        secret: other.secret.clone(),
    };
    let said = post(&daemon, &mixed, "private-a", "client-x", &json!(1));
    assert_eq!(said.status, 403, "{said:?}");
    assert!(said.body.contains("not this socket's") && !said.body.contains(&mixed.secret));
    for (body, status) in [
        ("{}".to_owned(), 400),
        ("x".to_owned(), 400),
        ("x".repeat(60_000), 413),
    ] {
        assert_eq!(daemon.post(PATH, &body).status, status);
    }
    // A client event may be as long as it may be, whatever other bodies may.
    let long = json!("x".repeat(20_000));
    assert_eq!(
        post(&daemon, &me, "private-a", "client-x", &long).status,
        204
    );
    assert_eq!(request(daemon.address, "GET", PATH, "", "").status, 405);

    // Pages: as for the other requests beside a stream.
    let foreign = |headers: &str, method: &str| {
        let body = body(&me, "private-a", "client-x", &json!(1)).to_string();
        let body = if method == "POST" {
            body
        } else {
            String::new()
        };
        request(daemon.address, method, PATH, headers, &body).status
    };
    assert_eq!(foreign("Origin: https://evil.example\r\n", "POST"), 403);
    assert_eq!(foreign("Origin: https://evil.example\r\n", "OPTIONS"), 403);
    assert_eq!(foreign("Origin: http://x\r\n", "OPTIONS"), 204);

    drop(open);
    daemon.until("askr_streams", |n| n == 1);
    let said = post(&daemon, &me, "private-a", "client-x", &json!(1));
    assert_eq!(said.status, 404, "{said:?}");
    // Nothing is left of a stream that has ended: the next one in its place begins anew.
    let (_again, again) = sse(&daemon, &["private-a"], &token).me_kept();
    assert_eq!(
        post(&daemon, &again, "private-a", "client-x", &json!(1)).status,
        204
    );
}

#[test]
fn a_page_of_a_listed_origin_may_read_the_answer() {
    let daemon = Daemon::start(&app("app.allowed_origins = ['https://shop.example']"));
    let (_open, me) = sse(&daemon, &["private-a"], &token(&["private-a"], 60)).me_kept();
    let origin = "Origin: https://shop.example\r\n";
    for (event, status) in [("client-x", 204), ("typing", 400)] {
        let body = body(&me, "private-a", event, &json!(1)).to_string();
        let said = request(daemon.address, "POST", PATH, origin, &body);
        assert_eq!(said.status, status, "{said:?}");
        let head = said.head.to_lowercase();
        assert!(
            head.contains("access-control-allow-origin: https://shop.example"),
            "{head}"
        );
        assert!(
            head.contains("access-control-allow-credentials: true"),
            "{head}"
        );
    }
}
