//! A session against a small world that does what the actions say.

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

    fn say(&mut self, text: &str) -> Vec<Action> {
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
                            "only what is subscribed"
                        );
                    }
                }
                _ => {}
            }
        }
        actions
    }
}

fn told(action: &Action) -> Value {
    match action {
        Action::Send(text) => serde_json::from_slice(text).unwrap(),
        other => panic!("{other:?} is not told"),
    }
}

/// The status told, what is counted, the code of a close.
fn refusal(actions: &[Action]) -> (u64, Refusal, Option<u16>) {
    let (Action::Count(what), close) = (&actions[1], actions.get(2)) else {
        panic!("{actions:?} is no refusal")
    };
    let code = close.map(|close| match close {
        Action::Close { code, .. } => *code,
        other => panic!("{other:?} after a refusal"),
    });
    (
        told(&actions[0])["error"]["code"].as_u64().unwrap(),
        *what,
        code,
    )
}

fn subscribe(channels: &[&str]) -> Action {
    Action::Subscribe {
        channels: channels.iter().map(ToString::to_string).collect(),
        since: None,
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
    let said = c.say(r#"{"subscribe":["a","é b:c"],"since":"x","token":"t"}"#);
    let expected = Action::Subscribe {
        channels: vec!["a".into(), "é b:c".into()],
        since: Some("x".into()),
        token: Some("t".into()),
    };
    assert_eq!(said, [expected]);
    let said = c.say(r#"{"unsubscribe":["x","a"]}"#);
    let channels = vec!["a".to_owned()];
    assert_eq!(said[0], Action::Unsubscribe { channels });
    assert_eq!(told(&said[1]), json!({"unsubscribed": ["x", "a"]}));
    let said = c.say(r#"{"unsubscribe":["a"]}"#);
    assert_eq!(said.len(), 1);
    assert_eq!(told(&said[0]), json!({"unsubscribed": ["a"]}));
}

#[test]
fn a_ping_is_answered_with_the_same() {
    let mut c = Connection::new(10);
    let said = c.say(r#"{"ping":{"at":[1, null]}}"#);
    assert_eq!(
        said,
        [Action::Send(br#"{"pong":{"at":[1, null]}}"#.to_vec())]
    );
}

#[test]
fn names_are_checked_and_nothing_is_half_done() {
    let mut c = Connection::new(10);
    for (bad, status) in [
        (json!(["a", ""]), 400),
        (json!(["a", "b\u{0}"]), 400),
        (json!(["x".repeat(201)]), 400),
        (json!(["a", "#server-to-user-7"]), 403),
    ] {
        let said = c.say(&json!({"subscribe": bad}).to_string());
        assert_eq!(refusal(&said), (status, Refusal::Subscription, None));
    }
    assert!(c.engine.channels.is_empty());
}

#[test]
fn channels_of_a_connection_are_bounded() {
    let mut c = Connection::new(3);
    assert_eq!(
        c.say(r#"{"subscribe":["a","b"]}"#),
        [subscribe(&["a", "b"])]
    );
    let said = c.say(r#"{"subscribe":["c","d"]}"#);
    assert_eq!(refusal(&said), (403, Refusal::Subscription, None));
    let again = c.say(r#"{"subscribe":["a","b","c"]}"#);
    assert_eq!(
        again,
        [subscribe(&["a", "b", "c"])],
        "what is there is not one more"
    );
    assert_eq!(refusal(&c.say(r#"{"subscribe":["d"]}"#)).0, 403);
}

#[test]
fn what_cannot_be_read_closes_when_it_goes_on() {
    let mut c = Connection::new(3);
    for _ in 0..4 {
        assert_eq!(refusal(&c.say("x")), (400, Refusal::Malformed, None));
    }
    c.say(r#"{"ping":1}"#);
    for _ in 0..4 {
        assert_eq!(refusal(&c.say("{}")).2, None);
    }
    assert_eq!(refusal(&c.say("x")), (400, Refusal::Malformed, Some(4300)));
}

#[test]
fn a_flood_of_messages_is_closed() {
    let mut c = Connection::new(3);
    c.engine.limits.message_rate = Bound::per_second(5);
    for _ in 0..5 {
        assert_eq!(c.say(r#"{"ping":1}"#).len(), 1);
    }
    let said = c.say(r#"{"ping":1}"#);
    assert_eq!(refusal(&said), (429, Refusal::MessageRate, Some(4301)));
}

#[test]
fn silence_is_asked_about_and_then_closed() {
    let (mut session, limits) = (Session::default(), Limits::default());
    assert_eq!(session.on_tick(119_999, 0, &limits), []);
    assert_eq!(session.on_tick(120_000, 0, &limits), [Action::Ping]);
    let said = session.on_tick(150_000, 0, &limits);
    assert_eq!(refusal(&said), (408, Refusal::NoPong, Some(4201)));
}

proptest! {
    #[test]
    fn whatever_is_said_the_bound_holds(
        steps in prop::collection::vec((prop::bool::ANY, prop::collection::vec("[a-e]|#server-to-user-1|", 0..5)), 0..40),
    ) {
        let mut c = Connection::new(3);
        for (join, names) in steps {
            let kind = if join { "subscribe" } else { "unsubscribe" };
            c.say(&json!({kind: names}).to_string());
            prop_assert!(c.engine.channels.len() <= 3);
            prop_assert!(c.engine.channels.iter().all(|name| name.len() == 1));
        }
    }
}
