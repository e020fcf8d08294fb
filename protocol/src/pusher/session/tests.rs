//! A session with a minimal engine that carries out its actions.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use shared::secret::Secret;

use super::*;

const SOCKET: &str = "1234.1234";
const KEY: &str = "278d425bdf160c739803";

struct Engine {
    credentials: Credentials,
    limits: Limits,
    /// Each channel's user, on presence channels.
    channels: BTreeMap<String, Option<String>>,
    has_token: bool,
}

impl World for Engine {
    fn socket(&self) -> String {
        SOCKET.into()
    }

    fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn subscribed(&self, channel: &str) -> Subscribed<'_> {
        match self.channels.get(channel) {
            None => Subscribed::No,
            Some(None) => Subscribed::Yes,
            Some(Some(user)) => Subscribed::As(user),
        }
    }

    fn channels(&self) -> usize {
        self.channels.len()
    }

    fn has_token(&self) -> bool {
        self.has_token
    }
}

/// A client's connection: its session, and the engine that carries out the actions.
struct Connection {
    session: Session,
    engine: Engine,
    now: u64,
}

impl Connection {
    fn new() -> Self {
        Self {
            session: Session::default(),
            engine: Engine {
                credentials: Credentials {
                    key: KEY.into(),
                    secrets: vec![Secret::new("7ad3773142a6692b25b8").unwrap()],
                },
                limits: Limits::default(),
                channels: BTreeMap::new(),
                has_token: false,
            },
            now: 1_000_000,
        }
    }

    fn send(&mut self, message: Value) -> Vec<Action> {
        self.send_text(&message.to_string())
    }

    fn send_text(&mut self, text: &str) -> Vec<Action> {
        let actions = self.session.on_text(text, self.now, &self.engine);
        for action in &actions {
            match action {
                Action::Subscribe { channel, user, .. } => {
                    let user = user.as_ref().map(|user| user.id.clone());
                    self.engine.channels.insert(channel.clone(), user);
                }
                Action::Unsubscribe { channel } => {
                    let was = self.engine.channels.remove(channel);
                    assert!(was.is_some(), "only subscribed channels are unsubscribed");
                }
                _ => {}
            }
        }
        actions
    }

    fn subscribe(&mut self, channel: &str, data: Option<&str>) -> Vec<Action> {
        let signed = match data {
            Some(data) => format!("{SOCKET}:{channel}:{data}"),
            None => format!("{SOCKET}:{channel}"),
        };
        let auth = self.sign(&signed);
        self.send(
            json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth, "channel_data": data}}),
        )
    }

    fn sign(&self, text: &str) -> String {
        let code = self.engine.credentials.sign(text.as_bytes()).unwrap();
        format!("{KEY}:{code}")
    }

    fn signin(&mut self, data: &Value) -> Vec<Action> {
        let data = data.to_string();
        let auth = self.sign(&format!("{SOCKET}::user::{data}"));
        self.send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": data}}))
    }

    fn send_client_event(&mut self, channel: &str, data: Value) -> Vec<Action> {
        self.send(json!({"event": "client-x", "channel": channel, "data": data}))
    }
}

fn decoded(action: &Action) -> Value {
    match action {
        Action::Send(text) => serde_json::from_slice(text).unwrap(),
        other => panic!("{other:?} sends nothing"),
    }
}

/// The parts of a refusal: the message, the refusal counted, and the close code if there is one.
fn refusal(actions: &[Action]) -> (Value, Refusal, Option<u16>) {
    let (Action::Count(what), close) = (&actions[1], actions.get(2)) else {
        panic!("{actions:?} is not a refusal")
    };
    let code = close.map(|close| match close {
        Action::Close { code, .. } => *code,
        other => panic!("{other:?} after a refusal"),
    });
    (decoded(&actions[0]), *what, code)
}

/// Type and status of a refused subscription.
fn denied(actions: &[Action]) -> (String, u64) {
    let (message, what, close) = refusal(actions);
    assert_eq!((what, close), (Refusal::Subscription, None));
    assert_eq!(message["event"], "pusher:subscription_error");
    let data: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
    (
        data["type"].as_str().unwrap().to_owned(),
        data["status"].as_u64().unwrap(),
    )
}

fn subscribed(channel: &str) -> Vec<Action> {
    vec![Action::Subscribe {
        channel: channel.into(),
        user: None,
        cursor: None,
        rewind: None,
    }]
}

fn user(id: &str, info: Option<&str>) -> User {
    User {
        id: id.into(),
        info: info.map(Into::into),
        watchlist: vec![],
    }
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<Session>() <= 32, "{}", size_of::<Session>());
}

#[test]
fn a_public_channel_needs_no_signature() {
    let mut c = Connection::new();
    let message = json!({"event": "pusher:subscribe", "data": {"channel": "orders"}});
    assert_eq!(c.send(message.clone()), subscribed("orders"));
    // Again: the engine answers again.
    assert_eq!(c.send(message), subscribed("orders"));
    let leave = json!({"event": "pusher:unsubscribe", "data": {"channel": "orders"}});
    let channel = "orders".to_owned();
    assert_eq!(c.send(leave.clone()), [Action::Unsubscribe { channel }]);
    assert_eq!(c.send(leave), []);
}

#[test]
fn a_cursor_is_passed_to_the_engine() {
    let mut c = Connection::new();
    let message = json!({"event": "pusher:subscribe", "data": {"channel": "a", "askr": {"cursor": "0a0b0c0d0e0f-7"}}});
    let [Action::Subscribe { cursor, .. }] = &c.send(message)[..] else {
        panic!()
    };
    assert_eq!(cursor.as_deref(), Some("0a0b0c0d0e0f-7"));
}

#[test]
fn private_channels_need_a_signature() {
    let mut c = Connection::new();
    // The test vectors of Pusher's documentation.
    let auth = format!("{KEY}:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4");
    let message = |channel: &str, auth: &str| {
        let data = json!({"channel": channel, "auth": auth});
        json!({"event": "pusher:subscribe", "data": data})
    };
    assert_eq!(
        c.send(message("private-foobar", &auth)),
        subscribed("private-foobar")
    );
    for (channel, auth) in [
        ("private-other", auth.as_str()),
        ("private-foobar2", ""),
        ("private-foobar2", "x"),
        ("presence-foobar", &auth),
        ("private-encrypted-foobar", &auth),
    ] {
        let actions = c.send(message(channel, auth));
        assert_eq!(
            denied(&actions),
            ("AuthError".into(), 401),
            "{channel} {auth}"
        );
        assert_eq!(decoded(&actions[0])["channel"], channel);
    }
    assert_eq!(c.engine.channels.len(), 1);
}

#[test]
fn a_token_is_for_the_engine_to_judge() {
    let mut c = Connection::new();
    let subscribe = |channel: &str, auth: Value| json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth, "channel_data": "{}"}});
    let asked = |channel: &str, token: Option<&str>| Action::Authorize {
        channel: channel.into(),
        token: token.map(Into::into),
        cursor: None,
        rewind: None,
    };
    for channel in ["private-a", "presence-a", "private-encrypted-a"] {
        let actions = c.send(subscribe(channel, json!("a.b.c")));
        assert_eq!(actions, [asked(channel, Some("a.b.c"))]);
        assert!(!c.session.is_authorized(), "it is not judged yet");
        let none = denied(&c.send(subscribe(channel, json!(""))));
        assert_eq!(none, ("AuthError".into(), 401));
    }
    // A public channel needs none, and a user's own channel no token opens.
    assert_eq!(
        c.send(subscribe("open", json!("a.b.c"))),
        subscribed("open")
    );
    let own = denied(&c.send(subscribe("#server-to-user-7", json!("a.b.c"))));
    assert_eq!(own, ("AuthError".into(), 401));
    // The connection request has shown one: nothing more is needed, but a signature still is one.
    c.engine.has_token = true;
    for auth in [json!(""), Value::Null] {
        assert_eq!(
            c.send(subscribe("private-a", auth)),
            [asked("private-a", None)]
        );
    }
    let wrong = denied(&c.send(subscribe("private-a", json!("key:code"))));
    assert_eq!(wrong, ("AuthError".into(), 401));
    c.session.authorized();
    assert!(c.session.is_authorized());
}

#[test]
fn presence_channels_name_the_user() {
    let mut c = Connection::new();
    let alice = r#"{"user_id":"alice","user_info":{"name":"A"}}"#;
    let expected = Action::Subscribe {
        channel: "presence-room".into(),
        user: Some(user("alice", Some(r#"{"name":"A"}"#))),
        cursor: None,
        rewind: None,
    };
    assert_eq!(
        c.subscribe("presence-room", Some(alice)),
        std::slice::from_ref(&expected)
    );
    assert_eq!(c.subscribe("presence-room", Some(alice)), [expected]);
    let bob = c.subscribe("presence-room", Some(r#"{"user_id":"bob"}"#));
    assert_eq!(denied(&bob), ("AuthError".into(), 409));
    let none = c.subscribe("presence-else", None);
    assert_eq!(denied(&none), ("AuthError".into(), 401));
}

#[test]
fn a_rewind_needs_the_same_signature_and_is_held_to_its_bounds() {
    let mut c = Connection::new();
    let message = |channel: &str, rewind: Value| json!({"event": "pusher:subscribe", "data": {"channel": channel, "rewind": rewind}});
    let actions = c.send(message("a", json!("30s")));
    assert!(
        matches!(
            &actions[..],
            [Action::Subscribe {
                rewind: Some(Rewind::Seconds(30)),
                ..
            }]
        ),
        "{actions:?}"
    );
    assert_eq!(c.send(message("b", Value::Null)), subscribed("b"));
    for bad in [json!(0), json!("x"), json!(10_001), json!([]), json!(true)] {
        let actions = c.send(message("c", bad));
        assert_eq!(denied(&actions), ("ChannelError".into(), 400));
        let data = decoded(&actions[0])["data"].to_string();
        assert!(data.contains("rewind must be 1 to 10000 events"), "{data}");
    }
    for rewind in [json!(10), json!("x")] {
        let actions = c.send(message("private-c", rewind));
        assert_eq!(denied(&actions), ("AuthError".into(), 401));
    }
}

#[test]
fn channel_names_follow_pushers_rules() {
    let mut c = Connection::new();
    for bad in ["", "a b", "a:b", "ü", "#x", "a\u{0}", &"x".repeat(165)] {
        let message = json!({"event": "pusher:subscribe", "data": {"channel": bad}});
        let actions = c.send(message);
        assert_eq!(denied(&actions), ("ChannelError".into(), 400), "{bad}");
        assert!(
            decoded(&actions[0])["data"]
                .as_str()
                .unwrap()
                .contains("A-Z a-z 0-9")
        );
    }
}

#[test]
fn channels_of_a_connection_are_bounded() {
    let mut c = Connection::new();
    c.engine.limits.channels = 2;
    let join = |c: &mut Connection, name: &str| {
        c.send(json!({"event": "pusher:subscribe", "data": {"channel": name}}))
    };
    assert_eq!(join(&mut c, "a"), subscribed("a"));
    assert_eq!(join(&mut c, "b"), subscribed("b"));
    assert_eq!(denied(&join(&mut c, "c")), ("LimitError".into(), 403));
    assert_eq!(
        join(&mut c, "b"),
        subscribed("b"),
        "a repeated subscription does not count again"
    );
    c.send(json!({"event": "pusher:unsubscribe", "data": {"channel": "a"}}));
    assert_eq!(join(&mut c, "c"), subscribed("c"));
}

#[test]
fn a_signin_opens_the_users_own_channel() {
    let mut c = Connection::new();
    let own =
        json!({"event": "pusher:subscribe", "data": {"channel": "#server-to-user-7", "auth": ""}});
    assert_eq!(denied(&c.send(own.clone())), ("AuthError".into(), 401));

    let data = json!({"id": "7", "user_info": {"n": 1}, "watchlist": ["8", 9]});
    let actions = c.signin(&data);
    let inner: Value =
        serde_json::from_str(decoded(&actions[0])["data"].as_str().unwrap()).unwrap();
    assert_eq!(decoded(&actions[0])["event"], "pusher:signin_success");
    assert_eq!(inner["user_data"], data.to_string());
    let expected = User {
        watchlist: vec!["8".into(), "9".into()],
        ..user("7", Some(r#"{"n":1}"#))
    };
    assert_eq!(actions[1], Action::Signin(expected.clone()));
    assert_eq!(actions[2..], subscribed("#server-to-user-7"));
    assert_eq!(c.session.user(), Some(&expected));

    // pusher-js subscribes to it explicitly as well; only the user's own is allowed.
    assert_eq!(c.send(own), subscribed("#server-to-user-7"));
    let other = json!({"event": "pusher:subscribe", "data": {"channel": "#server-to-user-70"}});
    assert_eq!(denied(&c.send(other)), ("AuthError".into(), 401));
    // Signing in again, also with other info, is allowed; as another user it is not.
    assert_eq!(c.signin(&json!({"id": "7"})).len(), 3);
    let (message, what, close) = refusal(&c.signin(&json!({"id": "8"})));
    assert_eq!((what, close), (Refusal::Signin, None));
    assert_eq!(message["event"], "pusher:error");
    assert_eq!(c.session.user().map(|user| user.id.as_str()), Some("7"));
}

#[test]
fn a_wrong_signin_closes_the_connection_with_an_error() {
    let mut c = Connection::new();
    let actions = c.send(
        json!({"event": "pusher:signin", "data": {"auth": format!("{KEY}:{}", "0".repeat(64)), "user_data": "{\"id\":\"7\"}"}}),
    );
    let (message, what, close) = refusal(&actions);
    assert_eq!((what, close), (Refusal::Signin, Some(4009)));
    assert_eq!(message["data"]["code"], 4009);
    assert_eq!(c.session.user(), None);
}

#[test]
fn a_watchlist_too_long_is_ignored_with_an_error() {
    let mut c = Connection::new();
    // As long as ids may be.
    let list = |n: usize| (0..n).map(|n| format!("{n:0>128}")).collect::<Vec<_>>();
    assert_eq!(
        c.signin(&json!({"id": "7", "watchlist": list(100)})).len(),
        3
    );
    assert_eq!(c.session.user().map(|user| user.watchlist.len()), Some(100));
    let actions = c.signin(&json!({"id": "7", "watchlist": list(101)}));
    assert_eq!(decoded(&actions[1])["data"]["code"], 4302);
    assert_eq!(actions[2], Action::Count(Refusal::Watchlist));
    assert_eq!(actions[3], Action::Signin(user("7", None)));
}

#[test]
fn a_client_event_is_passed_to_the_engine() {
    let mut c = Connection::new();
    let expected = ClientEvent {
        channel: "private-a".into(),
        event: "client-x".into(),
        data: r#"{"a":1}"#.into(),
    };
    assert_eq!(
        c.send_client_event("private-a", json!({"a": 1})),
        [Action::ClientEvent(expected)]
    );
}

#[test]
fn repeated_malformed_messages_close_the_connection() {
    let mut c = Connection::new();
    let ping = json!({"event": "pusher:ping", "data": {}});
    for _ in 0..4 {
        let (message, what, close) = refusal(&c.send_text("{"));
        assert_eq!((what, close), (Refusal::Malformed, None));
        assert_eq!(message["event"], "pusher:error");
    }
    assert_eq!(c.send(ping), [Action::Send(encode::pong())]);
    for _ in 0..4 {
        assert_eq!(refusal(&c.send_text("x")).2, None);
    }
    assert_eq!(refusal(&c.send_text("x")).2, Some(4300));
}

#[test]
fn an_unknown_event_is_answered_with_an_error_only() {
    let mut c = Connection::new();
    for _ in 0..20 {
        let (message, what, close) = refusal(&c.send(json!({"event": "pusher:x", "data": {}})));
        assert_eq!((what, close), (Refusal::Unknown, None));
        assert_eq!(message["event"], "pusher:error");
    }
    assert_eq!(c.send(json!({"event": "pusher:pong", "data": {}})), []);
}

#[test]
fn a_flood_of_messages_closes_the_connection() {
    let mut c = Connection::new();
    c.engine.limits.message_rate = Bound {
        per_second: 10,
        burst: 20,
    };
    let ping = json!({"event": "pusher:ping"});
    for _ in 0..20 {
        assert_eq!(c.send(ping.clone()).len(), 1);
    }
    let (message, what, close) = refusal(&c.send(ping));
    assert_eq!((what, close), (Refusal::MessageRate, Some(4301)));
    assert_eq!(message["data"]["code"], 4301);
}

#[test]
fn a_silent_client_is_pinged_and_then_closed() {
    let limits = Limits::default();
    let mut session = Session::default();
    let last_received = 5_000;
    assert_eq!(session.on_tick(124_999, last_received, &limits), []);
    assert_eq!(
        session.on_tick(125_000, last_received, &limits),
        [Action::Ping]
    );
    assert_eq!(session.on_tick(154_999, last_received, &limits), []);
    // Anything that comes is an answer.
    assert_eq!(session.on_tick(155_000, 130_000, &limits), []);
    assert_eq!(session.on_tick(250_000, 130_000, &limits), [Action::Ping]);
    let actions = session.on_tick(280_000, 130_000, &limits);
    let (message, what, close) = refusal(&actions);
    assert_eq!((what, close), (Refusal::NoPong, Some(4201)));
    assert_eq!(message["data"]["code"], 4201);
}

/// Steps that a client, honest or not, may take.
fn step() -> impl Strategy<Value = Value> {
    let channel = prop::sample::select(vec![
        "a",
        "private-a",
        "presence-a",
        "private-encrypted-a",
        "cache-a",
        "#server-to-user-7",
        "a b",
        "",
    ]);
    let event = prop::sample::select(vec![
        "pusher:subscribe",
        "pusher:unsubscribe",
        "pusher:ping",
        "pusher:signin",
        "client-x",
        "x",
    ]);
    let user = prop::sample::select(vec![
        r#"{"user_id":"1","id":"1"}"#,
        r#"{"user_id":"2","id":"7"}"#,
    ]);
    (event, channel, user, 0u8..4).prop_map(|(event, channel, user, right)| {
        let signer = Connection::new();
        let signed = match event {
            "pusher:signin" => format!("{SOCKET}::user::{user}"),
            _ if channel.starts_with("presence-") => format!("{SOCKET}:{channel}:{user}"),
            _ => format!("{SOCKET}:{channel}"),
        };
        let auth = signer.sign(&if right > 0 { signed } else { "else".into() });
        let mut data = json!({"channel": channel, "auth": auth, "user_data": user});
        if channel.starts_with("presence-") {
            data["channel_data"] = user.into();
        }
        json!({"event": event, "channel": channel, "data": data})
    })
}

proptest! {
    /// Whatever the client sends: the bounds hold, and nobody gets in without the signature needed.
    #[test]
    fn no_sequence_of_messages_bypasses_bounds_or_signatures(steps in prop::collection::vec(step(), 0..60)) {
        let mut c = Connection::new();
        c.engine.limits.channels = 3;
        for step in steps {
            c.now += 30;
            for action in c.send(step.clone()) {
                match action {
                    Action::Subscribe { channel, user, .. } => {
                        prop_assert_eq!(channel.starts_with("presence-"), user.is_some());
                        prop_assert!(!channel.contains(' ') && !channel.is_empty());
                        if let Some(own) = channel_name::user(&channel) {
                            prop_assert_eq!(c.session.user().map(|user| user.id.as_str()), Some(own));
                        }
                    }
                    Action::ClientEvent(event) => prop_assert!(event.event.starts_with("client-")),
                    Action::Send(text) => {
                        let text: Value = serde_json::from_slice(&text).unwrap();
                        prop_assert!(text["event"].is_string());
                    }
                    Action::Close { code, .. } => prop_assert!((4000..4400).contains(&code)),
                    _ => {}
                }
            }
            // The user's own channel is subscribed to beyond the three.
            prop_assert!(c.engine.channels.len() <= 4);
        }
    }

    #[test]
    fn no_text_panics(texts in prop::collection::vec(".{0,80}", 0..12)) {
        let mut c = Connection::new();
        for text in texts {
            c.send_text(&text);
        }
    }
}
