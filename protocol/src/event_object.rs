//! An event as JSON with its names: `{"channel","event","id","data"}` and what may be left out, which SSE's JSON format and the plain
//! protocol share.

use serde::Serialize;
use shared::event::Event;

/// Serialized with the members in this order.
#[derive(Debug, Clone, Serialize)]
pub struct EventObject<'a> {
    pub channel: &'a str,
    pub event: Option<&'a str>,
    /// The publisher's own id, else the cursor; None for client events, which are not in the ring.
    pub id: Option<&'a str>,
    pub data: &'a str,
    /// The cursor of an event with an id of its own, on every channel: by it a client knows what it has already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<&'a str>,
    /// The cursor that the client may move to, where the protocol has it in the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<&'a str>,
    /// The sender's user id, of a client event on a presence channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
}

impl<'a> EventObject<'a> {
    /// An event of the ring on one of its channels, without [`Self::cursor`]. `cursor`: the event's.
    pub fn new(event: &'a Event, channel: &'a str, cursor: &'a str) -> Self {
        Self {
            channel,
            event: event.event(),
            id: Some(event.id().unwrap_or(cursor)),
            data: event.data_str(),
            at: event.id().map(|_| cursor),
            cursor: None,
            user: None,
        }
    }
}
