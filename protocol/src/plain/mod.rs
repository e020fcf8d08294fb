//! The plain WebSocket protocol, for clients that use a WebSocket without Pusher's protocol:
//! `GET /askr/ws?channel=…`, with the parameters of `GET /askr/events`. Every message is one JSON object.
//! Pure, like the session of Pusher's protocol: text in, actions out.
//!
//! | client | | answer |
//! |---|---|---|
//! | `{"subscribe":["a","b"],"since":"<cursor>","rewind":10,"token":"…"}` | all but the channels may be left out | `subscribed`, and an `error` for each channel that is not allowed |
//! | `{"unsubscribe":["a"]}` | | `unsubscribed` |
//! | `{"client_event":{"channel":"private-a","event":"client-x","data":<any JSON>}}` | sent to the other subscribers | an `error` if it is refused |
//! | `{"ping":<any JSON>}` | | `{"pong":<the same>}` |
//!
//! | server | |
//! |---|---|
//! | `{"channel","event","id","data","at","cursor"}` | an event; `id` is the publisher's own, and `at` the cursor then, else the cursor; a stream that receives the event for several of its channels has `cursor` only with the last |
//! | `{"channel","event","id":null,"data","user"}` | a client event (`client-…`); `data` is its JSON as a string; `user` is its sender's id, on presence channels only |
//! | `{"connected":{"socket_id","secret"}}` | the first message; like `askr:connected` over SSE |
//! | `{"subscribed":["a"],"cursor":"…"}` | events follow; the cursor is where to resume if none came |
//! | `{"unsubscribed":["a"]}` | no more events follow |
//! | `{"cursor":"…"}` | a heartbeat |
//! | `{"gap":{"lost","at_most"},"cursor":"…"}` | what could not be sent, up to here |
//! | `{"members":{"channel","count","members":[{"id","info"}]}}` | the members of a presence channel |
//! | `{"joined":{"channel","id","info"}}`, `{"left":{"channel","id"}}` | a member joined, a member left |
//! | `{"count":{"channel","count"}}` | how many subscribers a channel has, if the application enables it |
//! | `{"expiring":{"expires"}}` | seconds since 1970: the token expires, and the connection ends with it |
//! | `{"retry":250}` | milliseconds after which to connect again; the connection is closed with 4200 |
//! | `{"error":{"code","reason","channel"}}` | the code is the HTTP status with the same meaning; the channel is present if the error is about one |
//!
//! Every message with a `cursor` moves the client's cursor: "everything up to here has been sent". The client
//! resumes from the last one it received: `since`, or `last_event_id` in the query. As far as this module
//! decides, a message takes effect as a whole or is refused as a whole; who may subscribe to what is then
//! decided channel by channel.

pub mod encode;
mod message;

use std::borrow::Cow;

use message::Message;
use shared::rules;

use crate::client_event::ClientEvent;
use crate::keepalive;
use crate::keepalive::Verdict;
use crate::pusher::channel_name;
use crate::rate_limit::Bound;
use crate::rewind;
use crate::rewind::{Asked, Rewind};
use crate::session_guard::{self, Rejected, SessionGuard};

/// Close codes (RFC 6455, section 7.4.2, leaves 4000 to 4999 to applications). They have the meaning of the same
/// codes in Pusher's protocol.
pub mod code {
    /// The token expired, or the application disconnected the client.
    pub const UNAUTHORIZED: u16 = 4009;
    /// A ping was not answered in time.
    pub const NO_PONG: u16 = 4201;
    /// Any other error: malformed messages.
    pub const OTHER: u16 = 4300;
    /// Too many messages a second.
    pub const RATE: u16 = 4301;
}

/// What an application allows each connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Channels of a connection. Default: 100.
    pub channels: usize,
    /// Messages from the client; beyond it the connection is closed. Default: 100 a second, bursts of 1,000.
    pub message_rate: Bound,
    /// How far it may look back.
    pub rewind: rewind::Limits,
    /// How long the client may be silent.
    pub silence: keepalive::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 100,
            message_rate: Bound {
                per_second: 100,
                burst: 1000,
            },
            rewind: rewind::Limits::default(),
            silence: keepalive::Limits::default(),
        }
    }
}

/// The connection's state in the engine, as a session needs it.
pub trait World {
    fn limits(&self) -> &Limits;
    fn is_subscribed(&self, channel: &str) -> bool;
    /// The number of channels that this connection is subscribed to.
    fn channels(&self) -> usize;
}

/// What the engine has to do, in the order of the actions, before it passes on the next message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this JSON text in a text frame.
    Send(Vec<u8>),
    /// Send a ping frame, and the heartbeat with the connection's cursor.
    Ping,
    /// Authorize and subscribe to these channels, then answer with `subscribed` and `error`. They are distinct;
    /// some may be subscribed to already: those are answered too, and stay.
    Subscribe {
        channels: Vec<String>,
        /// Not checked, no longer than one can be.
        since: Option<String>,
        /// Where there is no `since`.
        rewind: Option<Rewind>,
        token: Option<String>,
    },
    /// Unsubscribe from these channels, all of which are subscribed to. The answer is an action of its own.
    Unsubscribe { channels: Vec<String> },
    /// Forward a client event to the other subscribers, or answer with an error why not. Nothing is checked: its rules
    /// are the same by whichever way it comes ([`crate::client_event`]).
    ClientEvent(ClientEvent),
    /// Send a close frame and end the connection.
    Close {
        code: u16,
        reason: Cow<'static, str>,
    },
    /// Count this refusal; the error message is an action of its own.
    Count(Refusal),
}

/// What a client was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A message that could not be parsed.
    Malformed,
    Subscription,
    /// More messages a second than [`Limits::message_rate`] allows.
    MessageRate,
    /// A ping that was not answered in time.
    NoPong,
}

/// The protocol state of one connection: 24 bytes.
#[derive(Debug, Default)]
pub struct Session {
    guard: SessionGuard,
}

impl Session {
    /// Handles a text message received at `now`, in milliseconds of a monotonic clock.
    pub fn on_text(&mut self, text: &str, now: u64, world: &impl World) -> Vec<Action> {
        let rate = world.limits().message_rate;
        let message = match self.guard.receive(rate, now, || message::parse(text)) {
            Ok(message) => message,
            Err(Rejected::Rate) => {
                let reason = session_guard::TOO_FAST;
                return closing(Refusal::MessageRate, 429, code::RATE, reason);
            }
            Err(Rejected::Malformed(why)) => {
                return refuse(Refusal::Malformed, encode::error(400, why.0, None));
            }
            Err(Rejected::LastMalformed(why)) => {
                return closing(Refusal::Malformed, 400, code::OTHER, why.0);
            }
        };
        match message {
            Message::Ping(payload) => vec![Action::Send(encode::pong(payload))],
            Message::Unsubscribe(named) => unsubscribe(named, world),
            Message::ClientEvent(event) => vec![Action::ClientEvent(event)],
            Message::Subscribe {
                channels,
                since,
                rewind,
                token,
            } => match admit(&channels, rewind, world) {
                Ok(rewind) => vec![Action::Subscribe {
                    channels,
                    since,
                    rewind,
                    token,
                }],
                Err((status, reason)) => {
                    refuse(Refusal::Subscription, encode::error(status, &reason, None))
                }
            },
        }
    }

    /// Handles the passing of time. `last_received`: when anything was last received from the client. Both times
    /// are milliseconds of a monotonic clock.
    pub fn on_tick(&mut self, now: u64, last_received: u64, limits: &Limits) -> Vec<Action> {
        match self.guard.on_tick(now, last_received, &limits.silence) {
            Verdict::Fine => Vec::new(),
            Verdict::Ask => vec![Action::Ping],
            Verdict::Gone => {
                let reason = session_guard::NO_PONG;
                closing(Refusal::NoPong, 408, code::NO_PONG, reason)
            }
        }
    }
}

/// Whether a subscription may be requested at all, before it is authorized. Fails with an HTTP status and a
/// reason.
fn admit(
    channels: &[String],
    rewind: Option<Asked>,
    world: &impl World,
) -> Result<Option<Rewind>, (u16, String)> {
    let rewind = rewind.map(|asked| asked.within(world.limits().rewind));
    let rewind = rewind.transpose().map_err(|why| (400, why.to_string()))?;
    for (number, channel) in channels.iter().enumerate() {
        let number = number + 1;
        rules::channel(channel.as_bytes())
            .map_err(|why| (400, format!("channel {number} {why}")))?;
        // Only a user who signed in over Pusher's protocol has such a channel.
        if channel_name::is_of_user(channel) {
            return Err((403, format!("channel {number} is a user's own")));
        }
    }
    let fresh = |channel: &&String| !world.is_subscribed(channel);
    let max = world.limits().channels;
    if world.channels() + channels.iter().filter(fresh).count() > max {
        return Err((403, format!("a connection has at most {max} channels")));
    }
    Ok(rewind)
}

/// Unsubscribing from a channel that is not subscribed to is not an error, and is answered too.
fn unsubscribe(named: Vec<String>, world: &impl World) -> Vec<Action> {
    let answer = Action::Send(encode::unsubscribed(&named));
    let mut channels = named;
    channels.retain(|channel| world.is_subscribed(channel));
    match channels.is_empty() {
        true => vec![answer],
        false => vec![Action::Unsubscribe { channels }, answer],
    }
}

fn refuse(what: Refusal, message: Vec<u8>) -> Vec<Action> {
    vec![Action::Send(message), Action::Count(what)]
}

fn closing(what: Refusal, status: u16, code: u16, reason: &'static str) -> Vec<Action> {
    let mut actions = refuse(what, encode::error(status, reason, None));
    let reason = reason.into();
    actions.push(Action::Close { code, reason });
    actions
}

#[cfg(test)]
mod tests;
