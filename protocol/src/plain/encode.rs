//! The server's messages of the plain protocol, as JSON text: the payload of a text frame. Pure. The shapes
//! are in the parent module's table.

use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;
use shared::cursor::Cursor;
use shared::event::Event;

use crate::gap::Gap;

/// An event of the ring on one of its channels. `last`: whether it is the last frame of this event for this
/// stream. Only the last one moves the cursor: a client disconnected between two of them would otherwise
/// lose the second.
pub fn event(event: &Event, channel: &str, cursor: Cursor, last: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a> {
        channel: &'a str,
        event: Option<&'a str>,
        id: &'a str,
        data: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    }
    let shown = cursor.to_string();
    let message = Message {
        channel,
        event: event.event(),
        id: event.id().unwrap_or(&shown),
        data: event.data_str(),
        cursor: last.then_some(&shown),
    };
    let mut out = Vec::with_capacity(event.data().len() + 160);
    to_writer(&mut out, &message);
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
pub fn subscribed(channels: &[impl AsRef<str>], cursor: Cursor) -> Vec<u8> {
    object("subscribed", &names(channels), Some(cursor))
}

/// The channels are not subscribed to any more, or never were.
pub fn unsubscribed(channels: &[impl AsRef<str>]) -> Vec<u8> {
    object("unsubscribed", &names(channels), None)
}

/// The heartbeat, with the stream's cursor.
pub fn cursor(cursor: Cursor) -> Vec<u8> {
    object("cursor", &cursor.to_string(), None)
}

/// Events that could not be sent, up to and including `cursor`. None: the stream was already sent newer events,
/// so its cursor must not move back.
pub fn gap(gap: &Gap, cursor: Option<Cursor>) -> Vec<u8> {
    object("gap", &raw(&gap.to_json()), cursor)
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

/// The members of a presence channel, each user once, as id and info. Info is JSON.
pub fn members<'a>(
    channel: &str,
    members: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Member<'a> {
        id: &'a str,
        info: Option<&'a RawValue>,
    }
    #[derive(Serialize)]
    struct Members<'a> {
        channel: &'a str,
        count: usize,
        members: Vec<Member<'a>>,
    }
    let members: Vec<_> = members
        .map(|(id, info)| Member {
            id,
            info: info.and_then(raw),
        })
        .collect();
    let members = Members {
        channel,
        count: members.len(),
        members,
    };
    object("members", &members, None)
}

/// A user joined a presence channel. `info`: JSON.
pub fn joined(channel: &str, user: &str, info: Option<&str>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Joined<'a> {
        channel: &'a str,
        id: &'a str,
        info: Option<&'a RawValue>,
    }
    let info = info.and_then(raw);
    let id = user;
    object("joined", &Joined { channel, id, info }, None)
}

/// The number of the channel's subscribers.
pub fn count(channel: &str, count: u32) -> Vec<u8> {
    #[derive(Serialize)]
    struct Count<'a> {
        channel: &'a str,
        count: u32,
    }
    object("count", &Count { channel, count }, None)
}

/// A user left a presence channel.
pub fn left(channel: &str, user: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Left<'a> {
        channel: &'a str,
        id: &'a str,
    }
    object("left", &Left { channel, id: user }, None)
}

/// A client event, sent by a subscriber of another protocol. `data`: JSON. It is not in the ring, so it has
/// neither id nor cursor.
pub fn client_event(channel: &str, event: &str, data: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a> {
        channel: &'a str,
        event: &'a str,
        id: (),
        data: &'a str,
    }
    let mut out = Vec::new();
    let message = Message {
        channel,
        event,
        id: (),
        data,
    };
    to_writer(&mut out, &message);
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

/// An object with one member, named by the kind of message, and with the cursor if the message moves it.
fn object(kind: &str, value: &(impl Serialize + ?Sized), cursor: Option<Cursor>) -> Vec<u8> {
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

/// It was checked when it was received; should it not be JSON after all, it is sent as null.
fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}

fn names(channels: &[impl AsRef<str>]) -> Vec<&str> {
    channels.iter().map(AsRef::as_ref).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{cursor as at, event as made};

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
            json!({"channel": "a", "event": "E", "id": "order-1", "data": ""})
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
        ] {
            assert_eq!(read(text), expected);
        }
    }

    #[test]
    fn messages_about_members() {
        let two = [("a", Some(r#"{"n":1}"#)), ("b", None)].into_iter();
        assert_eq!(
            read(members("presence-c", two)),
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
