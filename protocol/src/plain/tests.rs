//! A session with a minimal engine that carries out its actions.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

struct Engine {
    limits: Limits,
    channels: BTreeSet<String>,
}

impl World for Engine {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn is_subscribed(&self, channel: &str) -> bool {
        self.channels.contains(channel)
    }

    fn channels(&self) -> usize {
        self.channels.len()
    }
}

struct Connection {
    session: Session,
    engine: Engine,
}

impl Connection {
    fn new(channels: usize) -> Self {
        Self {
            session: Session::default(),
            engine: Engine {
                limits: Limits {
                    channels,
                    ..Limits::default()
                },
                channels: BTreeSet::new(),
            },
        }
    }

    fn send(&mut self, text: &str) -> Vec<Action> {
        let actions = self.session.on_text(text, 1000, &self.engine);
        for action in &actions {
            match action {
                Action::Subscribe { channels, .. } => {
                    self.engine.channels.extend(channels.iter().cloned());
                }
                Action::Unsubscribe { channels } => {
                    for channel in channels {
                        assert!(
                            self.engine.channels.remove(channel),
                            "only subscribed channels"
                        );
                    }
                }
                _ => {}
            }
        }
        actions
    }
}

fn decoded(action: &Action) -> Value {
    match action {
        Action::Send(text) => serde_json::from_slice(text).unwrap(),
        other => panic!("{other:?} sends nothing"),
    }
}

/// The status sent to the client, the refusal counted, and the close code if there is one.
fn refusal(actions: &[Action]) -> (u64, Refusal, Option<u16>) {
    let (Action::Count(what), close) = (&actions[1], actions.get(2)) else {
        panic!("{actions:?} is not a refusal")
    };
    let code = close.map(|close| match close {
        Action::Close { code, .. } => *code,
        other => panic!("{other:?} after a refusal"),
    });
    (
        decoded(&actions[0])["error"]["code"].as_u64().unwrap(),
        *what,
        code,
    )
}

fn subscribe(channels: &[&str]) -> Action {
    Action::Subscribe {
        channels: channels.iter().map(ToString::to_string).collect(),
        since: None,
        rewind: None,
        token: None,
    }
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<Session>() <= 24, "{}", size_of::<Session>());
}

#[test]
fn subscribe_and_unsubscribe() {
    let mut c = Connection::new(10);
    let actions = c.send(r#"{"subscribe":["a","é b:c"],"since":"x","token":"t"}"#);
    let expected = Action::Subscribe {
        channels: vec!["a".into(), "é b:c".into()],
        since: Some("x".into()),
        rewind: None,
        token: Some("t".into()),
    };
    assert_eq!(actions, [expected]);
    let actions = c.send(r#"{"unsubscribe":["x","a"]}"#);
    let channels = vec!["a".to_owned()];
    assert_eq!(actions[0], Action::Unsubscribe { channels });
    assert_eq!(decoded(&actions[1]), json!({"unsubscribed": ["x", "a"]}));
    let actions = c.send(r#"{"unsubscribe":["a"]}"#);
    assert_eq!(actions.len(), 1);
    assert_eq!(decoded(&actions[0]), json!({"unsubscribed": ["a"]}));
}

#[test]
fn a_ping_is_answered_with_the_same() {
    let mut c = Connection::new(10);
    let actions = c.send(r#"{"ping":{"at":[1, null]}}"#);
    assert_eq!(
        actions,
        [Action::Send(br#"{"pong":{"at":[1, null]}}"#.to_vec())]
    );
}

#[test]
fn an_invalid_name_refuses_the_whole_message() {
    let mut c = Connection::new(10);
    for (bad, status) in [
        (json!(["a", ""]), 400),
        (json!(["a", "b\u{0}"]), 400),
        (json!(["x".repeat(201)]), 400),
        (json!(["a", "#server-to-user-7"]), 403),
        (json!(["a", "askr:x"]), 400),
        (json!(["pusher:x"]), 400),
        (json!(["pusher_internal:x"]), 400),
    ] {
        let actions = c.send(&json!({"subscribe": bad}).to_string());
        assert_eq!(refusal(&actions), (status, Refusal::Subscription, None));
    }
    assert!(c.engine.channels.is_empty());
}

#[test]
fn a_rewind_is_held_to_its_bounds_and_refused_by_its_name() {
    let mut c = Connection::new(10);
    c.engine.limits.rewind = rewind::Limits {
        events: 100,
        seconds: 60,
    };
    for (asked, expected) in [
        (json!(10), Rewind::Events(10)),
        (json!("10"), Rewind::Events(10)),
        (json!("1m"), Rewind::Seconds(60)),
        (json!("all"), Rewind::All),
    ] {
        let actions = c.send(&json!({"subscribe": ["a"], "rewind": asked}).to_string());
        assert!(
            matches!(&actions[..], [Action::Subscribe { rewind: Some(rewind), .. }] if *rewind == expected),
            "{actions:?}"
        );
    }
    let actions = c.send(r#"{"subscribe":["a"],"rewind":null}"#);
    assert_eq!(actions, [subscribe(&["a"])]);
    for bad in [
        json!(101),
        json!(0),
        json!("61s"),
        json!(true),
        json!("x"),
        json!({"a": 1}),
    ] {
        let actions = c.send(&json!({"subscribe": ["b"], "rewind": bad}).to_string());
        assert_eq!(
            refusal(&actions),
            (400, Refusal::Subscription, None),
            "{bad}"
        );
        let reason = decoded(&actions[0])["error"]["reason"].to_string();
        assert!(
            reason.contains("rewind must be 1 to 100 events"),
            "{reason}"
        );
    }
    assert!(!c.engine.channels.contains("b"));
}

#[test]
fn channels_of_a_connection_are_bounded() {
    let mut c = Connection::new(3);
    assert_eq!(
        c.send(r#"{"subscribe":["a","b"]}"#),
        [subscribe(&["a", "b"])]
    );
    let actions = c.send(r#"{"subscribe":["c","d"]}"#);
    assert_eq!(refusal(&actions), (403, Refusal::Subscription, None));
    let again = c.send(r#"{"subscribe":["a","b","c"]}"#);
    assert_eq!(
        again,
        [subscribe(&["a", "b", "c"])],
        "a channel subscribed to already does not count again"
    );
    assert_eq!(refusal(&c.send(r#"{"subscribe":["d"]}"#)).0, 403);
}

#[test]
fn repeated_malformed_messages_close_the_connection() {
    let mut c = Connection::new(3);
    for _ in 0..4 {
        assert_eq!(refusal(&c.send("x")), (400, Refusal::Malformed, None));
    }
    c.send(r#"{"ping":1}"#);
    for _ in 0..4 {
        assert_eq!(refusal(&c.send("{}")).2, None);
    }
    assert_eq!(refusal(&c.send("x")), (400, Refusal::Malformed, Some(4300)));
}

#[test]
fn a_flood_of_messages_closes_the_connection() {
    let mut c = Connection::new(3);
    c.engine.limits.message_rate = Bound::per_second(5);
    for _ in 0..5 {
        assert_eq!(c.send(r#"{"ping":1}"#).len(), 1);
    }
    let actions = c.send(r#"{"ping":1}"#);
    assert_eq!(refusal(&actions), (429, Refusal::MessageRate, Some(4301)));
}

#[test]
fn a_silent_client_is_pinged_and_then_closed() {
    let (mut session, limits) = (Session::default(), Limits::default());
    assert_eq!(session.on_tick(119_999, 0, &limits), []);
    assert_eq!(session.on_tick(120_000, 0, &limits), [Action::Ping]);
    let actions = session.on_tick(150_000, 0, &limits);
    assert_eq!(refusal(&actions), (408, Refusal::NoPong, Some(4201)));
}

proptest! {
    #[test]
    fn the_bound_of_channels_holds_whatever_the_client_sends(
        steps in prop::collection::vec((prop::bool::ANY, prop::collection::vec("[a-e]|#server-to-user-1|", 0..5)), 0..40),
    ) {
        let mut c = Connection::new(3);
        for (join, names) in steps {
            let kind = if join { "subscribe" } else { "unsubscribe" };
            c.send(&json!({kind: names}).to_string());
            prop_assert!(c.engine.channels.len() <= 3);
            prop_assert!(c.engine.channels.iter().all(|name| name.len() == 1));
        }
    }
}
