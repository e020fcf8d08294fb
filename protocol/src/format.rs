//! What a stream is told, in the form its protocol has for it: bytes to be written as they are. The texts
//! themselves are those of `sse`, `plain::encode` and `pusher::encode`.

use serde_json::value::RawValue;
use shared::cursor::Cursor;
use shared::event::Event;

use crate::close_reason::CloseReason;
use crate::ephemeral::Ephemeral;
use crate::gap::Gap;
use crate::member::Member;
use crate::plain::encode as plainly;
use crate::pusher::encode as pusherly;
use crate::socket_id::SocketId;
use crate::ws::frame;
use crate::{plain, pusher, sse};

/// The protocol, and what an event looks like in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Format {
    /// Server-Sent Events: the payload, once per event.
    #[default]
    Raw,
    /// Server-Sent Events: `{"channel","event","id","data"}`, once per matching channel.
    Json,
    /// The plain WebSocket protocol.
    Plain,
    /// Pusher's protocol.
    Pusher,
    /// Pusher's protocol with positions, for clients that asked for recovery.
    Recovery,
}

/// How many there are.
pub const FORMATS: usize = 5;

impl Format {
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Plain | Self::Pusher | Self::Recovery)
    }
}

/// What a stream begins with.
pub struct Opening<'a> {
    /// Milliseconds after which it is to come back.
    pub retry: u32,
    /// Where it may resume at once; None while it has not been told of a gap.
    pub told: Option<Cursor>,
    /// Where it will be told from.
    pub next: Cursor,
    pub socket: SocketId,
    pub secret: &'a str,
    pub channels: &'a [String],
    /// Seconds of silence after which a WebSocket's client pings.
    pub activity: u64,
}

pub fn opening(format: Format, opening: &Opening<'_>) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => {
            let mut out = sse::hello(opening.retry, opening.told);
            out.extend(sse::connected(opening.socket, opening.secret, opening.told));
            out
        }
        Format::Plain => {
            let socket = opening.socket.to_string();
            let mut out = text(plainly::connected(&socket, opening.secret));
            if !opening.channels.is_empty() {
                out.extend(all_subscribed(format, opening.channels, opening.next));
            }
            out
        }
        Format::Pusher | Format::Recovery => {
            let socket = opening.socket.to_string();
            text(pusherly::connection_established(&socket, opening.activity))
        }
    }
}

/// Channels were subscribed to together. `cursor`: from where their events follow.
pub fn all_subscribed(format: Format, channels: &[String], cursor: Cursor) -> Vec<u8> {
    match format {
        Format::Plain => text(plainly::subscribed(channels, cursor)),
        _ => Vec::new(),
    }
}

/// Channels were not subscribed to. `status`: of HTTP.
pub fn denied(format: Format, channels: &[String], status: u16, reason: &str) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => Vec::new(),
        Format::Plain => text(plainly::error(status, reason, None)),
        Format::Pusher | Format::Recovery => {
            let kind = if status == 401 {
                "AuthError"
            } else {
                "LimitError"
            };
            let told = |channel| text(pusherly::subscription_error(channel, kind, reason, status));
            channels.iter().flat_map(|channel| told(channel)).collect()
        }
    }
}

/// An event on one of its channels. `last`: whether it is the stream's last frame of this event.
pub fn event(format: Format, event: &Event, cursor: Cursor, channel: &str, last: bool) -> Vec<u8> {
    match format {
        Format::Raw => sse::raw(event, cursor),
        Format::Json => sse::json(event, channel, cursor, last),
        Format::Plain => text(plainly::event(event, channel, cursor, last)),
        Format::Pusher | Format::Recovery => {
            let id = (format == Format::Recovery).then_some(cursor);
            let (name, data) = (event.event(), event.data_str());
            text(pusherly::event(name, channel, data, id))
        }
    }
}

/// An event of `channel` that moves no cursor: it is older than what the stream has been told. (A client
/// that asked for recovery has a cursor for each channel.)
pub fn earlier(format: Format, event: &Event, cursor: Cursor, channel: &str) -> Vec<u8> {
    match format {
        Format::Raw => sse::raw_without_id(event),
        _ => self::event(format, event, cursor, channel, false),
    }
}

/// Somebody came or went, or sent something to the others.
pub fn ephemeral(format: Format, channel: &str, what: &Ephemeral) -> Vec<u8> {
    match (format, what) {
        (Format::Json, Ephemeral::Client { event, data, .. }) => {
            sse::message(&plainly::client_event(channel, event, data))
        }
        (Format::Raw | Format::Json, _) => sse::ephemeral(channel, what),
        (Format::Plain, Ephemeral::Joined { user, info, .. }) => {
            text(plainly::joined(channel, user, info.as_deref()))
        }
        (Format::Plain, Ephemeral::Count(count)) => text(plainly::count(channel, *count)),
        (Format::Plain, Ephemeral::Left { user, .. }) => text(plainly::left(channel, user)),
        (Format::Plain, Ephemeral::Client { event, data, .. }) => {
            text(plainly::client_event(channel, event, data))
        }
        (_, Ephemeral::Joined { user, info, .. }) => {
            text(pusherly::member_added(channel, user, info.as_deref()))
        }
        (_, Ephemeral::Count(count)) => {
            text(pusherly::subscription_count(channel, (*count).into()))
        }
        (_, Ephemeral::Left { user, .. }) => text(pusherly::member_removed(channel, user)),
        (
            _,
            Ephemeral::Client {
                event, data, user, ..
            },
        ) => {
            // It was checked where it came in.
            let data: &RawValue = serde_json::from_str(data).unwrap_or(RawValue::NULL);
            text(pusherly::client_event(
                event,
                channel,
                data,
                user.as_deref(),
            ))
        }
    }
}

/// Who is on a presence channel. `cursor`: from where a client goes on.
pub fn snapshot(format: Format, channel: &str, members: &[Member], cursor: Cursor) -> Vec<u8> {
    let each = members
        .iter()
        .map(|member| (&*member.id, member.info.as_deref()));
    match format {
        Format::Raw | Format::Json => sse::members(channel, members),
        Format::Plain => text(plainly::members(channel, each)),
        Format::Pusher => text(pusherly::presence_succeeded(channel, each, None)),
        Format::Recovery => text(pusherly::presence_succeeded(channel, each, Some(cursor))),
    }
}

/// A channel was subscribed to by itself, one without members. Nothing, where only all of them together
/// are answered.
pub fn subscribed(format: Format, channel: &str, cursor: Cursor) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json | Format::Plain => Vec::new(),
        Format::Pusher => text(pusherly::subscription_succeeded(channel, None)),
        Format::Recovery => text(pusherly::subscription_succeeded(channel, Some(cursor))),
    }
}

/// A cache channel has no last event. Only Pusher's protocol has a word for it.
pub fn cache_miss(format: Format, channel: &str) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json | Format::Plain => Vec::new(),
        Format::Pusher | Format::Recovery => text(pusherly::cache_miss(channel)),
    }
}

/// What was lost on these channels (none: on all the stream has), up to and with `cursor`. `late`: the stream was told more already.
pub fn gap(format: Format, channels: &[&str], gap: &Gap, cursor: Cursor, late: bool) -> Vec<u8> {
    let moved = (!late).then_some(cursor);
    match format {
        Format::Raw | Format::Json => sse::gap(gap, moved),
        Format::Plain => text(plainly::gap(gap, moved)),
        Format::Pusher | Format::Recovery => {
            // Of several channels nobody counted how much each lost.
            let each = match channels {
                [_] => *gap,
                _ => gap.as_bound(),
            };
            if channels.is_empty() {
                return text(pusherly::gap(None, &each, cursor));
            }
            let told = |channel: &&str| text(pusherly::gap(Some(channel), &each, cursor));
            channels.iter().flat_map(told).collect()
        }
    }
}

/// The heartbeat, with the stream's cursor.
pub fn ping(format: Format, cursor: Cursor) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => sse::ping(cursor),
        Format::Plain => [frame::ping(b""), text(plainly::cursor(cursor))].concat(),
        Format::Pusher => text(pusherly::ping(None)),
        Format::Recovery => text(pusherly::ping(Some(cursor))),
    }
}

/// It ends with its token, at `expires`, in seconds since 1970. Pusher's protocol has no such thing, nor
/// tokens.
pub fn expiring(format: Format, expires: u64) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => sse::expiring(expires),
        Format::Plain => text(plainly::expiring(expires)),
        Format::Pusher | Format::Recovery => Vec::new(),
    }
}

/// The last words to a stream that ends: when to come back, as far as the protocol can say it. `retry`:
/// milliseconds.
pub fn farewell(format: Format, end: CloseReason, retry: u32) -> Vec<u8> {
    if !format.is_websocket() {
        let why: &[u8] = match end {
            CloseReason::Input => b": nothing may follow a request for events\n",
            _ => b"",
        };
        return [why, &sse::retry(retry)].concat();
    }
    let (code, reason) = match end {
        CloseReason::Expired => (plain::code::UNAUTHORIZED, "the token has expired"),
        CloseReason::Ended => (plain::code::UNAUTHORIZED, "disconnected by the application"),
        CloseReason::Idle => (pusher::code::INACTIVE, "no event for too long"),
        CloseReason::Members => (pusher::code::OVER_CAPACITY, "the channel is full"),
        _ => (pusher::code::RECONNECT, "reconnect now"),
    };
    refusal(format, code, reason)
}

/// There is no room now. Any answer but a stream would end an EventSource for good, so it is told when to
/// come back instead. `code`: for a WebSocket.
pub fn turned_away(format: Format, code: u16, retry: u32) -> Vec<u8> {
    match format.is_websocket() {
        false => sse::retry(retry),
        true => refusal(format, code, "there are as many connections as are allowed"),
    }
}

/// An error and the close with its code.
pub fn refusal(format: Format, code: u16, reason: &str) -> Vec<u8> {
    let told = match format {
        Format::Raw | Format::Json => return Vec::new(),
        // Its errors bear a status of HTTP; the close says the rest.
        Format::Plain => Vec::new(),
        // A client that reads no closes comes back at once by itself.
        Format::Pusher | Format::Recovery if code == pusher::code::RECONNECT => Vec::new(),
        Format::Pusher | Format::Recovery => text(pusherly::error(Some(code), reason)),
    };
    [told, frame::close(code, reason)].concat()
}

/// A text frame.
pub fn text(payload: Vec<u8>) -> Vec<u8> {
    frame::text(&payload)
}
