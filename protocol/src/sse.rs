//! Server-Sent Events on the wire (WHATWG HTML, "server-sent events"). Pure: values in, bytes out.
//!
//! ```text
//! event: App\Events\OrderShipped
//! retry: 3000
//! id: 3f9a1c22d07e-32768        the cursor, or the publisher's own id, then the cursor alone:
//! data: first line
//! data: second line
//!
//! id: 3f9a1c22d07e-32768        a block without data: nothing is dispatched, but the id is kept
//!
//! ```
//!
//! Nothing a publisher writes can start a line: data is split at CRLF, CR and LF, and the rules for names and
//! ids, checked when the event was decoded, allow none. One space follows each colon, since a receiver strips
//! exactly one.

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;
use shared::event::Event;

use crate::ephemeral::Ephemeral;
use crate::event_object::EventObject;
use crate::gap::Gap;
use crate::member::{Count, Joined, Left, Member, Snapshot};
use crate::socket_id::{Proof, SocketId};
use crate::wire_cursor::WireCursor;

/// An event in the raw format: the payload itself, once per event.
pub fn raw(event: &Event, cursor: WireCursor<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.data().len() + 96);
    lines(&mut out, event, Some(&cursor));
    out
}

/// The lines of an event, whose payload is its data, and its ids: its publisher's own if it has one, and the cursor.
pub(crate) fn lines(out: &mut Vec<u8>, event: &Event, cursor: Option<&impl Display>) {
    if let Some(name) = event.event() {
        line(out, "event", name);
    }
    retry_line(out, event.retry());
    if let Some(cursor) = cursor {
        id_line(out, event.id(), cursor);
    }
    data_lines(out, event.data());
    out.push(b'\n');
    if let Some(cursor) = cursor.filter(|_| event.id().is_some()) {
        write_cursor_block(out, cursor);
    }
}

/// An event in the JSON format: `{"channel","event","id","data"}` for one channel, and `at`, the cursor, if its id is the
/// publisher's own. It has no `event:` line, so
/// that one listener for messages receives all of them.
///
/// `last`: whether it is the last frame of this event for this stream. Only the last one moves the cursor: a
/// client disconnected between two of them would otherwise lose the second.
pub fn json(event: &Event, channel: &str, cursor: WireCursor<'_>, last: bool) -> Vec<u8> {
    let shown = cursor.to_string();
    let object = EventObject::new(event, channel, &shown);
    let mut out = Vec::with_capacity(event.data().len() + 160);
    retry_line(&mut out, event.retry());
    if last {
        id_line(&mut out, event.id(), &cursor);
    }
    out.extend_from_slice(b"data: ");
    // Strings only: the serializer escapes every line break, and writing to a Vec cannot fail.
    serde_json::to_writer(&mut out, &object).expect("strings serialize");
    out.extend_from_slice(b"\n\n");
    if last && event.id().is_some() {
        write_cursor_block(&mut out, &cursor);
    }
    out
}

/// A gap, up to and including `cursor`. None: the stream was already sent newer events, so its cursor must not
/// move back.
pub fn gap(gap: &Gap, cursor: Option<impl Display>) -> Vec<u8> {
    block("askr:gap", cursor, &gap.to_json())
}

/// Appends the first bytes of a stream: a comment, so that `onopen` fires, the reconnection time in milliseconds, and
/// the cursor unless a gap has yet to be reported.
pub fn hello(out: &mut Vec<u8>, retry: u32, cursor: Option<impl Display>) {
    out.extend_from_slice(b": welcome\n");
    retry_line(out, Some(retry));
    if let Some(cursor) = cursor {
        write_id(out, &cursor);
    }
    out.push(b'\n');
}

/// The heartbeat: a comment and the stream's cursor.
pub fn ping(cursor: impl Display) -> Vec<u8> {
    let mut out = b": ping\n".to_vec();
    write_cursor_block(&mut out, &cursor);
    out
}

/// The stream will end when its token expires, at `expires`, in seconds since 1970.
pub fn expiring(expires: u64) -> Vec<u8> {
    format!("event: askr:expiring\ndata: {{\"expires\":{expires}}}\n\n").into_bytes()
}

/// Appends what a stream is: the id for `except`, and the secret by which its page may change it. The
/// cursor is repeated here: many parsers keep an id only of a block that has data.
pub fn connected(
    out: &mut Vec<u8>,
    socket: SocketId,
    secret: Proof<'_>,
    cursor: Option<WireCursor<'_>>,
) {
    line(out, "event", "askr:connected");
    if let Some(cursor) = cursor {
        write_id(out, &cursor);
    }
    // Neither has a line break.
    out.extend_from_slice(b"data: {\"socket_id\":\"");
    socket.append(out);
    out.extend_from_slice(b"\",\"secret\":\"");
    secret.append(out);
    out.extend_from_slice(b"\"}\n\n");
}

/// Channels were added to the stream, or renewed: what follows `cursor` of them comes, first without ids, then with the
/// others' events. The first id after this covers them too. This has none, as it would have the others go back.
pub fn subscribed(channels: &[String], cursor: WireCursor<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Subscribed<'a> {
        channels: &'a [String],
        cursor: &'a str,
    }
    let cursor = &cursor.to_string();
    named(
        "askr:subscribed",
        &json_text(&Subscribed { channels, cursor }),
    )
}

/// The members of a presence channel, each user once.
pub fn members(channel: &str, members: &[Member]) -> Vec<u8> {
    named("askr:members", &json_text(&Snapshot::new(channel, members)))
}

/// An ephemeral message on `channel`, as a named event.
pub fn ephemeral(channel: &str, what: &Ephemeral) -> Vec<u8> {
    match what {
        Ephemeral::Joined { user: id, info, .. } => {
            let info = info.as_deref();
            named("askr:joined", &json_text(&Joined { channel, id, info }))
        }
        Ephemeral::Left { user: id, .. } => named("askr:left", &json_text(&Left { channel, id })),
        Ephemeral::Count(count) => {
            let count = *count;
            named("askr:count", &json_text(&Count { channel, count }))
        }
        Ephemeral::Client { event, data, .. } => named(event, data),
    }
}

/// A message without a name, like the events of [`json`].
pub fn message(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 16);
    data_lines(&mut out, data);
    out.push(b'\n');
    out
}

/// An event in the raw format that moves no cursor, because the stream was already sent newer ones.
pub fn raw_without_id(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.data().len() + 64);
    lines(&mut out, event, None::<&WireCursor<'_>>);
    out
}

/// A named message without a cursor.
pub fn named(event: &str, data: &str) -> Vec<u8> {
    block(event, None::<WireCursor<'_>>, data)
}

fn block(event: &str, cursor: Option<impl Display>, data: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.len() + data.len() + 64);
    line(&mut out, "event", event);
    if let Some(cursor) = cursor {
        write_id(&mut out, &cursor);
    }
    data_lines(&mut out, data.as_bytes());
    out.push(b'\n');
    out
}

fn json_text(value: &impl Serialize) -> String {
    // Strings, numbers and text that is JSON already: this cannot fail.
    serde_json::to_string(value).expect("strings serialize")
}

/// The reconnection time in milliseconds: the final message on shutdown, the only one on overload.
pub fn retry(milliseconds: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    retry_line(&mut out, Some(milliseconds));
    out.push(b'\n');
    out
}

/// A block with the cursor alone.
fn write_cursor_block(out: &mut Vec<u8>, cursor: &impl Display) {
    write_id(out, cursor);
    out.push(b'\n');
}

fn id_line(out: &mut Vec<u8>, custom: Option<&str>, cursor: &impl Display) {
    match custom {
        Some(id) => line(out, "id", id),
        None => write_id(out, cursor),
    }
}

pub(crate) fn write_id(out: &mut Vec<u8>, cursor: &impl Display) {
    writeln!(out, "id: {cursor}").expect("writing to a Vec cannot fail");
}

fn retry_line(out: &mut Vec<u8>, milliseconds: Option<u32>) {
    if let Some(milliseconds) = milliseconds {
        line(out, "retry", itoa::Buffer::new().format(milliseconds));
    }
}

fn line(out: &mut Vec<u8>, field: &str, value: &str) {
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

fn data_lines(out: &mut Vec<u8>, mut data: &[u8]) {
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = memchr::memchr2(b'\r', b'\n', data) else {
            out.extend_from_slice(data);
            out.push(b'\n');
            return;
        };
        out.extend_from_slice(&data[..end]);
        out.push(b'\n');
        let pair = data[end] == b'\r' && data.get(end + 1) == Some(&b'\n');
        data = &data[end + if pair { 2 } else { 1 }..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::socket_id::{Place, Prover};
    use crate::testing::sse::{Message, Parser};
    use crate::testing::{event, wire_cursor as cursor};

    /// The text as a receiver sees it, which joins the lines with LF.
    fn rejoined(text: &str) -> String {
        text.replace("\r\n", "\n").replace('\r', "\n")
    }

    /// Text that tries to start a line of its own.
    fn hostile() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            Just("\r\n".to_owned()),
            Just("id: 1".to_owned()),
            Just("event: x".to_owned()),
            Just(":".to_owned()),
            Just(" ".to_owned()),
            Just("\u{2028}\u{feff}".to_owned()),
            ".{0,5}",
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn every_event_round_trips_and_injects_nothing(
            data in hostile(),
            name in prop::option::of("[^\r\n\0]{1,20}"),
            id in prop::option::of("[^\r\n\0]{1,20}"),
            retry: Option<u32>,
            seq in 1..u64::MAX >> 1,
        ) {
            let Some(event) = event(&["c"], name.as_deref(), id.as_deref(), retry, &data) else {
                return Ok(()); // a reserved name
            };
            let mut parser = Parser::default();
            let messages = parser.feed(&raw(&event, cursor(seq)));
            let shown = cursor(seq).to_string();
            prop_assert_eq!(messages, vec![Message {
                event: name.unwrap_or_else(|| "message".to_owned()),
                data: rejoined(&data),
                id: id.unwrap_or_else(|| shown.clone()),
            }]);
            prop_assert_eq!(parser.last_event_id(), shown.as_str());
            prop_assert_eq!(parser.retry(), retry);
        }

        #[test]
        fn json_carries_the_same_text_in_one_line(
            data in hostile(), id in prop::option::of("[^\r\n\0]{1,20}"), last: bool,
        ) {
            let Some(event) = event(&["ü \"x\""], Some("n"), id.as_deref(), None, &data) else {
                return Ok(());
            };
            let mut parser = Parser::default();
            let messages = parser.feed(&json(&event, "ü \"x\"", cursor(9), last));
            prop_assert_eq!(messages.len(), 1);
            let value: serde_json::Value = serde_json::from_str(&messages[0].data).unwrap();
            let shown = cursor(9).to_string();
            let mut expected = serde_json::json!({
                "channel": "ü \"x\"", "event": "n", "data": data,
                "id": id.as_deref().unwrap_or(&shown),
            });
            if id.is_some() {
                expected["at"] = shown.clone().into();
            }
            prop_assert_eq!(value, expected);
            let moved = if last { shown.as_str() } else { "" };
            prop_assert_eq!(parser.last_event_id(), moved);
        }
    }

    #[test]
    fn an_empty_payload_is_still_dispatched() {
        let event = event(&["c"], None, None, None, "").unwrap();
        assert_eq!(raw(&event, cursor(7)), b"id: 0a0b0c0d0e0f-7\ndata: \n\n");
    }

    #[test]
    fn a_custom_id_is_followed_by_the_cursor_alone() {
        let event = event(&["c"], Some("e"), Some("order-1"), Some(50), "a\r\n\rb").unwrap();
        assert_eq!(
            String::from_utf8(raw(&event, cursor(7))).unwrap(),
            "event: e\nretry: 50\nid: order-1\ndata: a\ndata: \ndata: b\n\nid: 0a0b0c0d0e0f-7\n\n"
        );
    }

    #[test]
    fn hello_ping_and_retry_dispatch_nothing() {
        let mut first = Vec::new();
        hello(&mut first, 2000, Some(cursor(3)));
        for bytes in [first, ping(cursor(3))] {
            let mut parser = Parser::default();
            assert_eq!(parser.feed(&bytes), vec![]);
            assert_eq!(
                (parser.last_event_id(), parser.comments()),
                ("0a0b0c0d0e0f-3", 1)
            );
        }
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&retry(1234)), vec![]);
        assert_eq!((parser.retry(), parser.last_event_id()), (Some(1234), ""));
        assert_eq!(parser.retries(), 1);
    }

    #[test]
    fn what_tells_a_stream_who_it_is_has_the_cursor_for_its_id() {
        let socket = "1.2".parse().unwrap();
        let (mut with, mut without) = (Vec::new(), Vec::new());
        let prover = Prover::new("shop", &[]).unwrap();
        let secret = prover.prove(socket, Place { worker: 0, slot: 7 }, 1000);
        connected(&mut with, socket, secret, Some(cursor(3)));
        connected(&mut without, socket, secret, None);
        assert_eq!(
            String::from_utf8(with).unwrap(),
            format!(
                "event: askr:connected\nid: 0a0b0c0d0e0f-3\n\
                 data: {{\"socket_id\":\"1.2\",\"secret\":\"{secret}\"}}\n\n"
            )
        );
        assert!(!String::from_utf8(without).unwrap().contains("id: "));
    }

    #[test]
    fn a_gap_is_an_event_with_the_cursor_it_reaches_to() {
        let mut parser = Parser::default();
        let messages = parser.feed(&gap(&Gap::exact(3), Some(cursor(8))));
        assert_eq!(messages[0].event, "askr:gap");
        assert_eq!(messages[0].data, r#"{"lost":3,"at_most":3}"#);
        assert_eq!(messages[0].id, "0a0b0c0d0e0f-8");
    }
}
