//! What is sent to a stream, encoded for its protocol: bytes to be written as they are. The texts themselves
//! come from `sse`, `plain::encode` and `pusher::encode`.

use serde_json::value::RawValue;
use shared::event::Event;

use crate::close_reason::CloseReason;
use crate::ephemeral::Ephemeral;
use crate::gap::Gap;
use crate::member::Member;
use crate::plain::encode as plain_json;
use crate::pusher::encode as pusher_json;
use crate::socket_id::{Proof, SocketId};
use crate::wire_cursor::WireCursor;
use crate::ws::frame;
use crate::{mercure, plain, pusher, sse};

/// A protocol, and what an event looks like in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    /// Pusher's protocol with cursors, for clients that asked for recovery.
    Recovery,
    /// Server-Sent Events of topics, as Mercure has them.
    Mercure,
}

/// The number of formats.
pub const FORMATS: usize = 6;

impl Format {
    /// Whether the protocol runs over a WebSocket.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Plain | Self::Pusher | Self::Recovery)
    }
}

/// What the first message of a stream contains.
pub struct Opening<'a> {
    /// Milliseconds after which an SSE client reconnects.
    pub retry: u32,
    /// The cursor that the client may resume from already; None while a gap has yet to be reported.
    pub resume_from: Option<WireCursor<'a>>,
    /// The cursor that the stream's events follow.
    pub next: WireCursor<'a>,
    pub socket: SocketId,
    /// The proof that the socket id belongs to this stream.
    pub secret: Proof<'a>,
    /// The channels subscribed to by the request.
    pub channels: &'a [String],
    /// Seconds of silence after which a Pusher client pings.
    pub activity: u64,
}

/// Appends the first message of a stream.
pub fn opening(out: &mut Vec<u8>, format: Format, opening: &Opening<'_>) {
    match format {
        Format::Raw | Format::Json => {
            let cursor = opening.resume_from;
            sse::hello(out, opening.retry, cursor);
            sse::connected(out, opening.socket, opening.secret, cursor);
        }
        Format::Mercure => mercure::stream::hello(out, opening.retry, opening.resume_from),
        Format::Plain => {
            let (socket, secret) = (opening.socket.to_string(), opening.secret.to_string());
            out.extend(text(plain_json::connected(&socket, &secret)));
            if !opening.channels.is_empty() {
                out.extend(all_subscribed(format, opening.channels, opening.next));
            }
        }
        Format::Pusher | Format::Recovery => {
            let socket = opening.socket.to_string();
            out.extend(text(pusher_json::connection_established(
                &socket,
                opening.activity,
            )));
        }
    }
}

/// Several channels were subscribed to at once. `cursor`: where their events follow. Empty in the formats that
/// answer each channel ([`subscribed`]).
pub fn all_subscribed(format: Format, channels: &[String], cursor: WireCursor<'_>) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => sse::subscribed(channels, cursor),
        Format::Plain => text(plain_json::subscribed(channels, cursor)),
        Format::Pusher | Format::Recovery | Format::Mercure => Vec::new(),
    }
}

/// Why a subscription is refused, and the HTTP status that says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// What was shown does not grant it.
    Authorization(u16),
    /// A limit is reached.
    Limit,
}

/// A subscription to `channels` was refused. Empty for SSE, where the response to the request says so.
pub fn denied(format: Format, channels: &[String], why: Denied, reason: &str) -> Vec<u8> {
    let (kind, status) = match why {
        Denied::Authorization(status) => ("AuthError", status),
        Denied::Limit => ("LimitError", 403),
    };
    match format {
        Format::Raw | Format::Json | Format::Mercure => Vec::new(),
        Format::Plain => text(plain_json::error(status, reason, None)),
        Format::Pusher | Format::Recovery => {
            let error = |channel| {
                text(pusher_json::subscription_error(
                    channel, kind, reason, status,
                ))
            };
            channels.iter().flat_map(|channel| error(channel)).collect()
        }
    }
}

/// An event on one of its channels. `last`: whether this is the last frame of the event on this stream.
pub fn event(
    format: Format,
    event: &Event,
    cursor: WireCursor<'_>,
    channel: &str,
    last: bool,
) -> Vec<u8> {
    match format {
        Format::Raw => sse::raw(event, cursor),
        Format::Mercure => mercure::stream::update(event, cursor),
        Format::Json => sse::json(event, channel, cursor, last),
        Format::Plain => text(plain_json::event(event, channel, cursor, last)),
        Format::Pusher | Format::Recovery => {
            let id = (format == Format::Recovery).then_some(cursor);
            let (name, data) = (event.event(), event.data_str());
            text(pusher_json::event(name, channel, data, id))
        }
    }
}

/// An event of `channel` that moves no cursor, because the stream has already been sent newer ones. (A client
/// that asked for recovery has a cursor for each channel.)
pub fn earlier(format: Format, event: &Event, cursor: WireCursor<'_>, channel: &str) -> Vec<u8> {
    match format {
        Format::Raw => sse::raw_without_id(event),
        _ => self::event(format, event, cursor, channel, false),
    }
}

/// An ephemeral message on `channel`.
pub fn ephemeral(format: Format, channel: &str, what: &Ephemeral) -> Vec<u8> {
    match (format, what) {
        // No channel has such subscribers.
        (Format::Mercure, _) => Vec::new(),
        (
            Format::Json,
            Ephemeral::Client {
                event, data, user, ..
            },
        ) => {
            let user = user.as_deref();
            sse::message(&plain_json::client_event(channel, event, data, user))
        }
        (Format::Raw | Format::Json, _) => sse::ephemeral(channel, what),
        (Format::Plain, Ephemeral::Joined { user, info, .. }) => {
            text(plain_json::joined(channel, user, info.as_deref()))
        }
        (Format::Plain, Ephemeral::Count(count)) => text(plain_json::count(channel, *count)),
        (Format::Plain, Ephemeral::Left { user, .. }) => text(plain_json::left(channel, user)),
        (
            Format::Plain,
            Ephemeral::Client {
                event, data, user, ..
            },
        ) => {
            let user = user.as_deref();
            text(plain_json::client_event(channel, event, data, user))
        }
        (_, Ephemeral::Joined { user, info, .. }) => {
            text(pusher_json::member_added(channel, user, info.as_deref()))
        }
        (_, Ephemeral::Count(count)) => {
            text(pusher_json::subscription_count(channel, (*count).into()))
        }
        (_, Ephemeral::Left { user, .. }) => text(pusher_json::member_removed(channel, user)),
        (
            _,
            Ephemeral::Client {
                event, data, user, ..
            },
        ) => {
            // It was checked when it was received.
            let data: &RawValue = serde_json::from_str(data).unwrap_or(RawValue::NULL);
            text(pusher_json::client_event(
                event,
                channel,
                data,
                user.as_deref(),
            ))
        }
    }
}

/// The members of a presence channel. `cursor`: where a client that asked for recovery resumes.
pub fn snapshot(
    format: Format,
    channel: &str,
    members: &[Member],
    cursor: WireCursor<'_>,
) -> Vec<u8> {
    match format {
        Format::Mercure => Vec::new(),
        Format::Raw | Format::Json => sse::members(channel, members),
        Format::Plain => text(plain_json::members(channel, members)),
        Format::Pusher => text(pusher_json::presence_succeeded(channel, members, None)),
        Format::Recovery => text(pusher_json::presence_succeeded(
            channel,
            members,
            Some(cursor),
        )),
    }
}

/// One channel without members was subscribed to. Empty in the formats that answer all channels of a request
/// together ([`all_subscribed`]). `cursor`: where its events follow.
pub fn subscribed(format: Format, channel: &str, cursor: WireCursor<'_>) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json | Format::Plain | Format::Mercure => Vec::new(),
        Format::Pusher => text(pusher_json::subscription_succeeded(channel, None)),
        Format::Recovery => text(pusher_json::subscription_succeeded(channel, Some(cursor))),
    }
}

/// A cache channel has no last event. Only Pusher's protocol has a message for this.
pub fn cache_miss(format: Format, channel: &str) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json | Format::Plain | Format::Mercure => Vec::new(),
        Format::Pusher | Format::Recovery => text(pusher_json::cache_miss(channel)),
    }
}

/// A gap on `channels` (empty: all channels of the stream), up to and including `cursor`. `late`: the stream
/// was already sent newer events, so its cursor must not move back.
pub fn gap(
    format: Format,
    channels: &[&str],
    gap: &Gap,
    cursor: WireCursor<'_>,
    late: bool,
) -> Vec<u8> {
    let moved = (!late).then_some(cursor);
    match format {
        Format::Raw | Format::Json => sse::gap(gap, moved),
        // Some of it may have been private: nobody is told how much was his.
        Format::Mercure => mercure::stream::gap(&gap.as_bound(), moved),
        Format::Plain => text(plain_json::gap(gap, moved)),
        Format::Pusher | Format::Recovery if channels.is_empty() => {
            text(pusher_json::gap(None, &gap.as_bound(), cursor))
        }
        Format::Pusher | Format::Recovery => {
            gap_of_each(channels.iter().map(|channel| (*channel, cursor)), gap)
        }
    }
}

/// The same for clients that asked for recovery, on channels that have a cursor each.
pub fn gap_of_each<'a>(
    channels: impl ExactSizeIterator<Item = (&'a str, WireCursor<'a>)>,
    gap: &Gap,
) -> Vec<u8> {
    // The loss of several channels is counted together, so it is only a bound for each.
    let each = match channels.len() {
        1 => *gap,
        _ => gap.as_bound(),
    };
    let report = |(channel, cursor)| text(pusher_json::gap(Some(channel), &each, cursor));
    channels.flat_map(report).collect()
}

/// The heartbeat, with the stream's cursor.
pub fn ping(format: Format, cursor: WireCursor<'_>) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => sse::ping(cursor),
        Format::Mercure => mercure::stream::ping(cursor),
        Format::Plain => [frame::ping(b""), text(plain_json::cursor(cursor))].concat(),
        Format::Pusher => text(pusher_json::ping(None)),
        Format::Recovery => text(pusher_json::ping(Some(cursor))),
    }
}

/// The stream will end when its token expires, at `expires`, in seconds since 1970.
pub fn expiring(format: Format, expires: u64) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => sse::expiring(expires),
        // Its client knows when its token expires.
        Format::Mercure => Vec::new(),
        Format::Plain => text(plain_json::expiring(expires)),
        Format::Pusher | Format::Recovery => text(pusher_json::expiring(expires)),
    }
}

/// The final message to a stream: when to reconnect, as far as the protocol can express it. `retry`:
/// milliseconds, for SSE and the plain protocol; a client of Pusher's reconnects at once.
pub fn farewell(format: Format, end: CloseReason, retry: u32) -> Vec<u8> {
    if !format.is_websocket() {
        let why: &[u8] = match end {
            CloseReason::Input => b": nothing may follow a request for events\n",
            _ => b"",
        };
        return [why, &sse::retry(retry)].concat();
    }
    let (code, reason) = match end {
        // A client that shows tokens comes back with a newer one; at 4009 pusher-js would stay away.
        CloseReason::Expired if format != Format::Plain => {
            (pusher::code::RECONNECT, "the token has expired")
        }
        CloseReason::Expired => (plain::code::UNAUTHORIZED, "the token has expired"),
        CloseReason::Ended => (plain::code::UNAUTHORIZED, "disconnected by the application"),
        CloseReason::Idle => (pusher::code::INACTIVE, "no event for too long"),
        CloseReason::Members => (pusher::code::OVER_CAPACITY, "the channel is full"),
        _ => (pusher::code::RECONNECT, "reconnect now"),
    };
    let told = format == Format::Plain && code == pusher::code::RECONNECT;
    let when = match told {
        true => text(plain_json::retry(retry)),
        false => Vec::new(),
    };
    [when, refusal(format, code, reason)].concat()
}

/// Why a client is turned away.
pub const FULL: &str = "there are as many connections as are allowed";
pub const DRAINS: &str = "this server is being drained, try another one";

/// The only message to a client that is refused because a connection limit is reached, or the server drained. Anything
/// but a stream would make an EventSource give up for good, so it is sent a reconnection time. `code` and `why`: of
/// the close of a WebSocket. `retry`: milliseconds, for SSE.
pub fn turned_away(format: Format, code: u16, why: &str, retry: u32) -> Vec<u8> {
    match format.is_websocket() {
        false => sse::retry(retry),
        true => refusal(format, code, why),
    }
}

/// An error message and a close frame with its code. Empty for SSE.
pub fn refusal(format: Format, code: u16, reason: &str) -> Vec<u8> {
    let error = match format {
        Format::Raw | Format::Json | Format::Mercure => return Vec::new(),
        // Its errors carry an HTTP status; the close frame has the code.
        Format::Plain => Vec::new(),
        // A client that ignores close codes reconnects at once anyway.
        Format::Pusher | Format::Recovery if code == pusher::code::RECONNECT => Vec::new(),
        Format::Pusher | Format::Recovery => text(pusher_json::error(Some(code), reason)),
    };
    [error, frame::close(code, reason)].concat()
}

/// A WebSocket text frame. `payload` must be UTF-8.
pub fn text(payload: Vec<u8>) -> Vec<u8> {
    frame::text(&payload)
}
