//! The client's messages of the plain protocol. Pure: text in, a message or an error out.
//!
//! Strict: a message is one of four kinds and has no unknown members, so that a misspelt member is reported
//! at once.

use serde::Deserialize;
use serde_json::value::RawValue;
use shared::grant::MAX_TOKEN;
use shared::vector::Vector;

use crate::client_event::ClientEvent;
use crate::json;
use crate::rewind::Asked;

/// The most channels in a message.
const MAX_CHANNELS: usize = 1000;
/// The most bytes of a cursor, or of what the client sends as one.
const MAX_CURSOR: usize = Vector::MAX_LEN;
/// The most bytes of a ping's payload.
const MAX_PING: usize = 125;

/// A client's message.
#[derive(Debug)]
pub enum Message<'a> {
    Subscribe {
        /// Distinct, 1 to 1,000; their names are not checked.
        channels: Vec<String>,
        /// Not checked, no longer than one can be.
        since: Option<String>,
        /// Not held to the bounds yet.
        rewind: Option<Asked>,
        /// Not checked, at most 4,000 bytes.
        token: Option<String>,
    },
    /// Distinct channels, 1 to 1,000; their names are not checked.
    Unsubscribe(Vec<String>),
    ClientEvent(ClientEvent),
    /// The payload: JSON as it was written, at most 125 bytes.
    Ping(&'a RawValue),
}

/// What a message must be: one line for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    subscribe: Option<Vec<String>>,
    since: Option<String>,
    rewind: Option<Asked>,
    token: Option<String>,
    unsubscribe: Option<Vec<String>>,
    #[serde(borrow)]
    client_event: Option<WireClientEvent<'a>>,
    /// `null` is a payload too, which an Option alone could not distinguish from none.
    #[serde(borrow, default, deserialize_with = "present")]
    ping: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireClientEvent<'a> {
    channel: String,
    event: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Parses a client's message.
///
/// # Errors
/// What a message must be, if `text` is not one.
pub fn parse(text: &str) -> Result<Message<'_>, Malformed> {
    let shape = Malformed(
        "a message is a JSON object: {\"subscribe\":[…],\"since\":\"…\",\"rewind\":…,\"token\":\"…\"}, \
         {\"unsubscribe\":[…]}, {\"client_event\":{\"channel\":\"…\",\"event\":\"…\",\"data\":…}} or {\"ping\":…}",
    );
    let wire: Wire = json::object(text).map_err(|_| shape)?;
    match wire {
        Wire {
            subscribe: Some(channels),
            since,
            rewind,
            token,
            unsubscribe: None,
            client_event: None,
            ping: None,
        } => {
            if since.as_ref().is_some_and(|since| since.len() > MAX_CURSOR) {
                return Err(Malformed("since is at most 1196 bytes long"));
            }
            if token.as_ref().is_some_and(|token| token.len() > MAX_TOKEN) {
                return Err(Malformed("token is at most 4000 bytes long"));
            }
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            Ok(Message::Subscribe {
                channels: distinct(channels)?,
                since: some(since),
                rewind,
                token: some(token),
            })
        }
        Wire {
            unsubscribe: Some(channels),
            subscribe: None,
            since: None,
            rewind: None,
            token: None,
            client_event: None,
            ping: None,
        } => distinct(channels).map(Message::Unsubscribe),
        Wire {
            client_event: Some(sent),
            subscribe: None,
            since: None,
            rewind: None,
            token: None,
            unsubscribe: None,
            ping: None,
        } => Ok(Message::ClientEvent(ClientEvent {
            channel: sent.channel,
            event: sent.event,
            data: sent.data.map_or("null", RawValue::get).to_owned(),
        })),
        Wire {
            ping: Some(payload),
            subscribe: None,
            since: None,
            rewind: None,
            token: None,
            unsubscribe: None,
            client_event: None,
        } => match payload.get().len() <= MAX_PING {
            true => Ok(Message::Ping(payload)),
            false => Err(Malformed("a ping is at most 125 bytes long")),
        },
        _ => Err(shape),
    }
}

/// In the order in which they were first named.
fn distinct(channels: Vec<String>) -> Result<Vec<String>, Malformed> {
    if channels.is_empty() || channels.len() > MAX_CHANNELS {
        return Err(Malformed("a message names 1 to 1000 channels"));
    }
    let mut seen = std::collections::HashSet::new();
    let fresh: Vec<bool> = channels
        .iter()
        .map(|one| seen.insert(one.as_str()))
        .collect();
    let pairs = channels.iter().zip(&fresh);
    Ok(pairs
        .filter(|(_, fresh)| **fresh)
        .map(|(one, _)| one.clone())
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_four_kinds() {
        let text = r#" {"subscribe":["b","a","b"],"since":"0a0b0c0d0e0f-7","token":"t"}"#;
        let Ok(Message::Subscribe {
            channels,
            since,
            token,
            rewind: None,
        }) = parse(text)
        else {
            panic!()
        };
        assert_eq!(channels, ["b", "a"]);
        assert_eq!(
            (since.as_deref(), token.as_deref()),
            (Some("0a0b0c0d0e0f-7"), Some("t"))
        );
        let bare = parse(r#"{"subscribe":["a"],"since":"","token":null}"#);
        assert!(matches!(
            bare,
            Ok(Message::Subscribe {
                since: None,
                token: None,
                ..
            })
        ));
        let leave = parse(r#"{"unsubscribe":["a","a"]}"#);
        assert!(matches!(leave, Ok(Message::Unsubscribe(names)) if names == ["a"]));
        for payload in ["null", "7", r#""x""#, r#"{"a":[1]}"#] {
            let text = format!(r#"{{"ping":{payload}}}"#);
            assert!(matches!(parse(&text), Ok(Message::Ping(raw)) if raw.get() == payload));
            let event = format!(r#"{{"channel":"private-a","event":"client-x","data":{payload}}}"#);
            let sent = parse(&format!(r#"{{"client_event":{event}}}"#)).map(|message| {
                let Message::ClientEvent(sent) = message else {
                    panic!("{message:?}")
                };
                (sent.channel, sent.event, sent.data)
            });
            let expected = ["private-a", "client-x", payload].map(str::to_owned);
            assert_eq!(sent, Ok(expected.into()));
        }
        let none = parse(r#"{"client_event":{"channel":"private-a","event":"client-x"}}"#);
        assert!(matches!(none, Ok(Message::ClientEvent(sent)) if sent.data == "null"));
    }

    #[test]
    fn a_cursor_is_as_long_as_one_across_hosts_may_be() {
        let since = |bytes| format!(r#"{{"subscribe":["a"],"since":"{}"}}"#, "x".repeat(bytes));
        assert!(parse(&since(MAX_CURSOR)).is_ok());
        let why = parse(&since(MAX_CURSOR + 1)).unwrap_err();
        assert!(why.0.contains(&MAX_CURSOR.to_string()), "{why}");
    }

    #[test]
    fn anything_else_is_refused() {
        let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
        for text in [
            "",
            "{}",
            "x",
            "[]",
            r#"[["a"],null,null,null,null,null]"#,
            r#"{"subscribe":"a"}"#,
            r#"{"subscribe":[]}"#,
            r#"{"subscribe":[7]}"#,
            r#"{"subscribe":["a"],"snice":"x"}"#,
            r#"{"subscribe":["a"],"subscribe":["b"]}"#,
            r#"{"subscribe":["a"],"unsubscribe":["b"]}"#,
            r#"{"subscribe":["a"],"ping":null}"#,
            r#"{"unsubscribe":["a"],"token":"t"}"#,
            r#"{"unsubscribe":["a"],"rewind":1}"#,
            r#"{"rewind":1}"#,
            r#"{"since":"x"}"#,
            r#"{"ping":1} x"#,
            r#"{"client_event":"client-x"}"#,
            r#"{"client_event":{"event":"client-x"}}"#,
            r#"{"client_event":{"channel":"private-a","event":"client-x","to":1}}"#,
            r#"{"client_event":{"channel":"private-a","event":"client-x"},"ping":1}"#,
            r#"{"client_event":{"channel":"private-a","event":"client-x"},"token":"t"}"#,
            &format!(r#"{{"ping":"{}"}}"#, "x".repeat(124)),
            &format!(
                r#"{{"subscribe":["a"],"since":"{}"}}"#,
                "x".repeat(MAX_CURSOR + 1)
            ),
            &format!(r#"{{"subscribe":["a"],"token":"{}"}}"#, "x".repeat(4001)),
            &serde_json::json!({"subscribe": many}).to_string(),
        ] {
            let why = parse(text).unwrap_err();
            assert!(!why.0.contains('\n') && why.0.len() > 10, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,100}", inner in r#"["\[\]{},:a-z0-9\\]{0,40}"#) {
            let _ = parse(&text);
            let _ = parse(&format!(r#"{{"subscribe":{inner}}}"#));
            let _ = parse(&format!(r#"{{"ping":{inner}}}"#));
            let event = format!(r#"{{"channel":"a","event":"b","data":{inner}}}"#);
            let _ = parse(&format!(r#"{{"client_event":{event}}}"#));
        }
    }
}
