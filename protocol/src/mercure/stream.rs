//! What subscribers of topics are sent: Server-Sent Events as Mercure has them.
//!
//! ```text
//! event: OrderShipped
//! retry: 3000
//! id: #3f9a1c22d07e-32768       the cursor, or the publisher's own id, then the cursor alone:
//! data: first line
//!
//! id: #3f9a1c22d07e-32768       a block without data: nothing is dispatched, but the id is kept
//!
//! ```
//!
//! No id of a publisher begins with `#`, so none is taken for a cursor.

use shared::event::Event;

use super::id::HubId;
use crate::gap::Gap;
use crate::sse;
use crate::wire_cursor::WireCursor;

/// An event of topics.
pub fn update(event: &Event, cursor: WireCursor<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.data().len() + 96);
    sse::lines(&mut out, event, Some(&HubId(cursor)));
    out
}

/// The first bytes of a stream: a comment, the reconnection time in milliseconds, and the id that it goes on from.
pub fn hello(out: &mut Vec<u8>, retry: u32, cursor: Option<WireCursor<'_>>) {
    sse::hello(out, retry, cursor.map(HubId));
}

/// The heartbeat: a comment and the stream's cursor.
pub fn ping(cursor: WireCursor<'_>) -> Vec<u8> {
    sse::ping(HubId(cursor))
}

/// Something was lost, up to and including `cursor`. A listener for this type is told; no other message is like it.
pub fn gap(gap: &Gap, cursor: Option<WireCursor<'_>>) -> Vec<u8> {
    sse::gap(gap, cursor.map(HubId))
}

/// What the hub says itself, as [`Subscription::event`](super::subscription::Subscription::event) has it, for who was sent
/// everything up to `cursor`. Its id is that of the place: many parsers keep an id only of a block that has data, and would
/// come back without one.
pub fn notice(out: &mut Vec<u8>, event: &[u8], cursor: WireCursor<'_>) {
    sse::write_id(out, &HubId(cursor));
    out.extend_from_slice(event);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{topics_event, wire_cursor};

    #[test]
    fn an_update_has_the_id_of_its_place_or_its_publishers_own() {
        let event = |id| topics_event(&["https://example.com/1"], Some("t"), id, Some(5), "a\r\nb");
        let text = |id| String::from_utf8(update(&event(id).unwrap(), wire_cursor(7))).unwrap();
        assert_eq!(
            text(None),
            "event: t\nretry: 5\nid: #0a0b0c0d0e0f-7\ndata: a\ndata: b\n\n"
        );
        assert_eq!(
            text(Some("urn:1")),
            "event: t\nretry: 5\nid: urn:1\ndata: a\ndata: b\n\nid: #0a0b0c0d0e0f-7\n\n"
        );
    }
}
