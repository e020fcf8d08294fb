//! The client's messages of Pusher's protocol. Pure: text in, a message or an error out.
//!
//! Strict about what matters, tolerant where real clients differ: `data` may be an object or a string that
//! contains one, unknown members are ignored, and an empty `auth` or `channel_data` counts as none.

use serde::Deserialize;
use serde_json::value::RawValue;
use shared::vector::Vector;

use crate::client_event::ClientEvent;
use crate::json;
use crate::rewind::Asked;

/// The most bytes of a cursor, or of what the client sends as one.
const MAX_CURSOR: usize = Vector::MAX_LEN;

/// Whether what is shown for a channel is a token, three parts with dots between them (RFC 7515, section 7.1), rather than a
/// signature, `KEY:CODE`.
pub fn is_token(auth: &str) -> bool {
    !auth.contains(':') && auth.bytes().filter(|b| *b == b'.').count() == 2
}

/// A client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Subscribe(Subscribe),
    Unsubscribe {
        channel: String,
    },
    Ping,
    Pong,
    Signin {
        auth: String,
        user_data: String,
        /// Where to resume the user's own channel: as in [`Subscribe`].
        cursor: Option<String>,
    },
    /// `client-…`
    Client(ClientEvent),
    /// Well formed, but the event's name is unknown.
    Unknown,
}

/// The data of `pusher:subscribe`. Nothing is checked but the shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    pub channel: String,
    /// The signature, or Askr's own: a token. For channels that need one.
    pub auth: Option<String>,
    /// The signed user, on presence channels.
    pub channel_data: Option<String>,
    /// Where to resume, from a client that asked for recovery. Not checked, no longer than one can be.
    pub cursor: Option<String>,
    /// How far to look back: Askr's own, stock clients do not send it. Not held to the bounds yet.
    pub rewind: Option<Asked>,
}

/// What a message must be. `Display` is one line for the client, and repeats nothing that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

#[derive(Deserialize)]
struct Envelope<'a> {
    event: String,
    channel: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SubscribeData {
    channel: String,
    auth: Option<String>,
    channel_data: Option<String>,
    askr: Option<Recovery>,
    rewind: Option<Asked>,
}

#[derive(Deserialize)]
struct Recovery {
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct UnsubscribeData {
    channel: String,
}

#[derive(Deserialize)]
struct SigninData {
    auth: String,
    user_data: String,
    askr: Option<Recovery>,
}

/// Parses a client's message.
///
/// # Errors
/// What a message must be, if `text` is not one.
pub fn parse(text: &str) -> Result<Message, Malformed> {
    let shape = "a message is a JSON object with a string \"event\"";
    let message: Envelope = json::object(text).map_err(|_| Malformed(shape))?;
    match message.event.as_str() {
        "pusher:subscribe" => {
            let shape = "the data of pusher:subscribe is an object with a string \"channel\", and \"auth\" \
                         and \"channel_data\" are strings";
            let data: SubscribeData = inner(message.data).ok_or(Malformed(shape))?;
            let cursor = cursor(data.askr)?;
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            Ok(Message::Subscribe(Subscribe {
                channel: data.channel,
                auth: some(data.auth),
                channel_data: some(data.channel_data),
                cursor,
                rewind: data.rewind,
            }))
        }
        "pusher:unsubscribe" => {
            let shape = "the data of pusher:unsubscribe is an object with a string \"channel\"";
            let data: UnsubscribeData = inner(message.data).ok_or(Malformed(shape))?;
            let channel = data.channel;
            Ok(Message::Unsubscribe { channel })
        }
        "pusher:ping" => Ok(Message::Ping),
        "pusher:pong" => Ok(Message::Pong),
        "pusher:signin" => {
            let shape = "the data of pusher:signin is an object with the strings \"auth\" and \"user_data\"";
            let data: SigninData = inner(message.data).ok_or(Malformed(shape))?;
            Ok(Message::Signin {
                auth: data.auth,
                user_data: data.user_data,
                cursor: cursor(data.askr)?,
            })
        }
        event if event.starts_with("client-") => Ok(Message::Client(ClientEvent {
            channel: message
                .channel
                .ok_or(Malformed("a client event has a string \"channel\""))?,
            data: message.data.map_or("null", RawValue::get).to_owned(),
            event: message.event,
        })),
        _ => Ok(Message::Unknown),
    }
}

fn cursor(askr: Option<Recovery>) -> Result<Option<String>, Malformed> {
    let cursor = askr.and_then(|askr| askr.cursor);
    match cursor.as_ref().is_some_and(|c| c.len() > MAX_CURSOR) {
        true => Err(Malformed("a cursor is at most 1196 bytes long")),
        false => Ok(cursor.filter(|cursor| !cursor.is_empty())),
    }
}

fn inner<T: for<'a> Deserialize<'a>>(data: Option<&RawValue>) -> Option<T> {
    let data = data?.get();
    if !data.starts_with('"') {
        return json::object(data).ok();
    }
    json::object(&serde_json::from_str::<String>(data).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn subscribe(channel: &str) -> Subscribe {
        Subscribe {
            channel: channel.into(),
            auth: None,
            channel_data: None,
            cursor: None,
            rewind: None,
        }
    }

    #[test]
    fn data_may_be_an_object_or_a_string_that_contains_one() {
        let data = json!({"channel": "presence-x", "auth": "k:1", "channel_data": "{}"});
        let expected = Subscribe {
            auth: Some("k:1".into()),
            channel_data: Some("{}".into()),
            ..subscribe("presence-x")
        };
        for data in [data.clone(), json!(data.to_string())] {
            let text = json!({"event": "pusher:subscribe", "data": data}).to_string();
            assert_eq!(parse(&text), Ok(Message::Subscribe(expected.clone())));
        }
    }

    #[test]
    fn empty_members_count_as_none() {
        for text in [
            // pusher-js, pysher, and what a careless client might send
            r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"x"}}"#,
            r#"{"event":"pusher:subscribe","data":{"auth":null,"channel":"x","channel_data":""}}"#,
            r#" {"data":{"channel":"x","more":[1]},"event":"pusher:subscribe","id":7} "#,
            r#"{"event":"pusher:subscribe","data":{"channel":"x","askr":{"cursor":""}}}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":"x","askr":{},"rewind":null}}"#,
        ] {
            assert_eq!(
                parse(text),
                Ok(Message::Subscribe(subscribe("x"))),
                "{text}"
            );
        }
        for data in ["{}", r#""""#, "null", r#""x""#] {
            let ping = format!(r#"{{"event":"pusher:ping","data":{data}}}"#);
            assert_eq!(parse(&ping), Ok(Message::Ping));
        }
        assert_eq!(parse(r#"{"event":"pusher:pong"}"#), Ok(Message::Pong));
    }

    #[test]
    fn a_token_has_no_form_of_a_signature() {
        for token in [
            "a.b.c",
            "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln",
            "..",
            "ü.b.c",
        ] {
            assert!(is_token(token), "{token}");
        }
        for other in [
            "",
            "key:code",
            "key.with.dots:code",
            "a.b",
            "a.b.c.d",
            "a:b.c.d",
        ] {
            assert!(!is_token(other), "{other}");
        }
    }

    #[test]
    fn a_cursor_is_passed_on() {
        let text = r#"{"event":"pusher:subscribe","data":{"channel":"x","askr":{"cursor":"0a0b0c0d0e0f-7"}}}"#;
        let Ok(Message::Subscribe(got)) = parse(text) else {
            panic!("{:?}", parse(text))
        };
        assert_eq!(got.cursor.as_deref(), Some("0a0b0c0d0e0f-7"));
        // As long as one across hosts may be.
        let longest = text.replace("0a0b0c0d0e0f-7", &"a".repeat(MAX_CURSOR));
        assert!(parse(&longest).is_ok());
        let why = parse(&text.replace("0a0b", &"a".repeat(MAX_CURSOR))).unwrap_err();
        assert!(why.0.contains(&MAX_CURSOR.to_string()), "{why}");
    }

    #[test]
    fn a_rewind_is_passed_on_whatever_it_is() {
        for (json, text) in [("10", "10"), (r#""30s""#, "30s"), ("-1", ""), ("[]", "")] {
            let text = Asked::parse(text);
            let data = format!(r#"{{"channel":"x","rewind":{json}}}"#);
            for data in [json!(data), serde_json::from_str(&data).unwrap()] {
                let message = json!({"event": "pusher:subscribe", "data": data}).to_string();
                let expected = Subscribe {
                    rewind: Some(text),
                    ..subscribe("x")
                };
                assert_eq!(parse(&message), Ok(Message::Subscribe(expected)));
            }
        }
    }

    #[test]
    fn the_data_of_a_client_event_is_kept_unchanged() {
        for data in [r#"{"a" : [1.0,  "ü\u0041"]}"#, r#""text""#, "1e400", "null"] {
            let text = format!(r#"{{"event":"client-x","channel":"private-c","data":{data}}}"#);
            let expected = ClientEvent {
                channel: "private-c".into(),
                event: "client-x".into(),
                data: data.into(),
            };
            assert_eq!(parse(&text), Ok(Message::Client(expected)));
        }
        let none = parse(r#"{"event":"client-x","channel":"private-c"}"#);
        assert!(matches!(none, Ok(Message::Client(event)) if event.data == "null"));
    }

    #[test]
    fn a_malformed_message_is_answered_with_what_it_must_be() {
        for text in [
            "",
            "x",
            "[]",
            r#"["pusher:ping",null,null]"#,
            "{}",
            r#"{"event":7}"#,
            r#"{"event":"pusher:ping"} x"#,
            r#"{"event":"pusher:ping","event":"pusher:ping"}"#,
            r#"{"event":"pusher:subscribe"}"#,
            r#"{"event":"pusher:subscribe","data":{}}"#,
            r#"{"event":"pusher:subscribe","data":["x","k:1","{}",null]}"#,
            r#"{"event":"pusher:subscribe","data":"[]"}"#,
            r#"{"event":"pusher:subscribe","data":"x"}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":7}}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":"x","channel_data":{}}}"#,
            r#"{"event":"pusher:unsubscribe","data":null}"#,
            r#"{"event":"pusher:signin","data":{"auth":"k:1"}}"#,
            r#"{"event":"client-x","data":{}}"#,
            r#"{"event":"client-x","channel":7,"data":{}}"#,
            "{\"event\":\"client-\u{0}\"}",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() > 10, "{text}");
        }
        let deep = format!(
            r#"{{"event":"pusher:subscribe","data":{}}}"#,
            "[".repeat(100_000)
        );
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn other_events_are_unknown() {
        for event in [
            "pusher:nothing",
            "",
            "x",
            "Client-x",
            "pusher_internal:member_added",
        ] {
            let text = json!({"event": event, "data": {}}).to_string();
            assert_eq!(parse(&text), Ok(Message::Unknown));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}", data in ".{0,60}") {
            let _ = parse(&text);
            for event in ["pusher:subscribe", "pusher:signin", "client-a"] {
                let _ = parse(&format!(r#"{{"event":"{event}","channel":"c","data":{data}}}"#));
            }
        }
    }
}
