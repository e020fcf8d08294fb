//! The server's messages of the plain protocol, as JSON text: the payload of a text frame. Pure. The shapes
//! are in the parent module's table.

use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;
use shared::event::Event;

use crate::event_object::EventObject;
use crate::gap::Gap;
use crate::member::{Count, Joined, Left, Member, Snapshot};
use crate::wire_cursor::WireCursor;

/// An event of the ring on one of its channels. `last`: whether it is the last frame of this event for this
/// stream. Only the last one moves the cursor: a client disconnected between two of them would otherwise
/// lose the second.
pub fn event(event: &Event, channel: &str, cursor: WireCursor<'_>, last: bool) -> Vec<u8> {
    let shown = cursor.to_string();
    let object = EventObject {
        cursor: last.then_some(&shown),
        ..EventObject::new(event, channel, &shown)
    };
    let mut out = Vec::with_capacity(event.data().len() + 160);
    to_writer(&mut out, &object);
    out
}

/// The stream's socket id, and the secret that lets its page change it.
pub fn connected(socket: &str, secret: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Connected<'a> {
        socket_id: &'a str,
        secret: &'a str,
    }
    let socket_id = socket;
    object("connected", &Connected { socket_id, secret }, None)
}

/// The channels are subscribed to; their events follow `cursor`.
pub fn subscribed(channels: &[impl AsRef<str>], cursor: WireCursor<'_>) -> Vec<u8> {
    object("subscribed", &names(channels), Some(cursor))
}

/// The channels are not subscribed to any more, or never were.
pub fn unsubscribed(channels: &[impl AsRef<str>]) -> Vec<u8> {
    object("unsubscribed", &names(channels), None)
}

/// The heartbeat, with the stream's cursor.
pub fn cursor(cursor: WireCursor<'_>) -> Vec<u8> {
    object("cursor", &cursor.to_string(), None)
}

/// Events that could not be sent, up to and including `cursor`. None: the stream was already sent newer events,
/// so its cursor must not move back.
pub fn gap(gap: &Gap, cursor: Option<WireCursor<'_>>) -> Vec<u8> {
    object("gap", gap, cursor)
}

/// The answer to a ping. `payload`: what the client sent, returned unchanged.
pub fn pong(payload: &RawValue) -> Vec<u8> {
    object("pong", payload, None)
}

/// An error. `status`: an HTTP status code. `channel`: the channel that it is about, if it is about one.
pub fn error(status: u16, reason: &str, channel: Option<&str>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: u16,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
    }
    let error = Error {
        code: status,
        reason,
        channel,
    };
    object("error", &error, None)
}

/// The members of a presence channel, each user once.
pub fn members(channel: &str, members: &[Member]) -> Vec<u8> {
    object("members", &Snapshot::new(channel, members), None)
}

/// A user joined a presence channel. `info`: JSON.
pub fn joined(channel: &str, user: &str, info: Option<&str>) -> Vec<u8> {
    let id = user;
    object("joined", &Joined { channel, id, info }, None)
}

/// The number of the channel's subscribers.
pub fn count(channel: &str, count: u32) -> Vec<u8> {
    object("count", &Count { channel, count }, None)
}

/// A user left a presence channel.
pub fn left(channel: &str, user: &str) -> Vec<u8> {
    object("left", &Left { channel, id: user }, None)
}

/// A client event, sent by another subscriber. `data`: JSON. `user`: the sender's id, on presence channels. It is not
/// in the ring, so it has neither id nor cursor.
pub fn client_event(channel: &str, event: &str, data: &str, user: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let object = EventObject {
        channel,
        event: Some(event),
        id: None,
        data,
        at: None,
        cursor: None,
        user,
    };
    to_writer(&mut out, &object);
    out
}

/// The stream's token will expire. `expires`: seconds since 1970.
pub fn expiring(expires: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Expiring {
        expires: u64,
    }
    object("expiring", &Expiring { expires }, None)
}

/// The connection is closed; its client is to reconnect after `retry` milliseconds.
pub fn retry(retry: u32) -> Vec<u8> {
    object("retry", &retry, None)
}

/// An object with one member, named by the kind of message, and with the cursor if the message moves it.
fn object(
    kind: &str,
    value: &(impl Serialize + ?Sized),
    cursor: Option<WireCursor<'_>>,
) -> Vec<u8> {
    let mut out = format!("{{\"{kind}\":").into_bytes();
    to_writer(&mut out, value);
    if let Some(cursor) = cursor {
        write!(out, ",\"cursor\":\"{cursor}\"").expect("writing to a Vec cannot fail");
    }
    out.push(b'}');
    out
}

fn to_writer(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Strings, numbers and text that is JSON already.
    serde_json::to_writer(out, value).expect("strings serialize");
}

fn names(channels: &[impl AsRef<str>]) -> Vec<&str> {
    channels.iter().map(AsRef::as_ref).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{event as made, wire_cursor as at};

    fn read(text: Vec<u8>) -> Value {
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn an_event_moves_the_cursor_with_its_last_frame() {
        let plain = made(&["a"], None, None, None, "x\n\"").unwrap();
        assert_eq!(
            event(&plain, "a", at(7), true),
            br#"{"channel":"a","event":null,"id":"0a0b0c0d0e0f-7","data":"x\n\"","cursor":"0a0b0c0d0e0f-7"}"#
        );
        let custom = made(&["a", "b"], Some("E"), Some("order-1"), None, "").unwrap();
        assert_eq!(
            read(event(&custom, "a", at(7), false)),
            json!({"channel": "a", "event": "E", "id": "order-1", "data": "", "at": "0a0b0c0d0e0f-7"})
        );
        assert_eq!(
            read(event(&custom, "b", at(7), true))["cursor"],
            "0a0b0c0d0e0f-7"
        );
    }

    #[test]
    fn the_other_messages() {
        let c = "0a0b0c0d0e0f-7";
        let payload = RawValue::from_string(r#"{"a": 1e400}"#.into()).unwrap();
        assert_eq!(pong(&payload), br#"{"pong":{"a": 1e400}}"#);
        for (text, expected) in [
            (
                connected("1.2", "s"),
                json!({"connected": {"socket_id": "1.2", "secret": "s"}}),
            ),
            (
                subscribed(&["a", "ü\""], at(7)),
                json!({"subscribed": ["a", "ü\""], "cursor": c}),
            ),
            (unsubscribed(&["a"]), json!({"unsubscribed": ["a"]})),
            (cursor(at(7)), json!({"cursor": c})),
            (
                gap(&Gap::exact(3), Some(at(7))),
                json!({"gap": {"lost": 3, "at_most": 3}, "cursor": c}),
            ),
            (
                gap(&Gap::UNKNOWN, None),
                json!({"gap": {"lost": null, "at_most": null}}),
            ),
            (
                error(400, "no", None),
                json!({"error": {"code": 400, "reason": "no"}}),
            ),
            (
                error(403, "no", Some("c")),
                json!({"error": {"code": 403, "reason": "no", "channel": "c"}}),
            ),
            (expiring(9), json!({"expiring": {"expires": 9}})),
            (retry(250), json!({"retry": 250})),
        ] {
            assert_eq!(read(text), expected);
        }
    }

    #[test]
    fn messages_about_members() {
        let two = [("a", Some(r#"{"n":1}"#)), ("b", None)].map(|(id, info)| Member {
            id: id.into(),
            info: info.map(Into::into),
        });
        assert_eq!(
            read(members("presence-c", &two)),
            json!({"members": {"channel": "presence-c", "count": 2,
                   "members": [{"id": "a", "info": {"n": 1}}, {"id": "b", "info": null}]}})
        );
        assert_eq!(
            read(joined("presence-c", "a", Some("[1]"))),
            json!({"joined": {"channel": "presence-c", "id": "a", "info": [1]}})
        );
        assert_eq!(
            read(left("presence-c", "a")),
            json!({"left": {"channel": "presence-c", "id": "a"}})
        );
    }

    proptest! {
        #[test]
        fn no_text_escapes_its_json_string(text in ".{0,40}", info in ".{0,20}") {
            let got = read(error(400, &text, Some(&text)));
            prop_assert_eq!(got, json!({"error": {"code": 400, "reason": text, "channel": text}}));
            let got = read(joined(&text, &text, Some(&info)));
            prop_assert_eq!(&got["joined"]["id"], &json!(text));
        }
    }
}
