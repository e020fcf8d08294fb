//! The plain WebSocket protocol, for those who want a socket without Pusher: `GET /askr/ws?channel=…`, with
//! the parameters of `GET /askr/events`. Every message is one JSON object. Pure, as the session of Pusher's
//! protocol: text in, actions out.
//!
//! | client | | answer |
//! |---|---|---|
//! | `{"subscribe":["a","b"],"since":"<cursor>","token":"…"}` | `since` and `token` may be left out | `subscribed`, and an `error` for each channel that is not allowed |
//! | `{"unsubscribe":["a"]}` | | `unsubscribed` |
//! | `{"ping":<any JSON>}` | | `{"pong":<the same>}` |
//!
//! | server | |
//! |---|---|
//! | `{"channel","event","id","data","cursor"}` | an event; `id` is the publisher's own, else the cursor; a stream that gets the event for several of its channels finds `cursor` only with the last |
//! | `{"channel","event","id":null,"data"}` | what another subscriber sent (`client-…`); `data` is its JSON as a text |
//! | `{"connected":{"socket_id","secret"}}` | first of all; as `askr:connected` over SSE |
//! | `{"subscribed":["a"],"cursor":"…"}` | events follow; the cursor is where to resume if none came |
//! | `{"unsubscribed":["a"]}` | none follow |
//! | `{"cursor":"…"}` | a heartbeat |
//! | `{"gap":{"lost","at_most"},"cursor":"…"}` | what could not be sent, up to here |
//! | `{"members":{"channel","count","members":[{"id","info"}]}}` | who is on a presence channel |
//! | `{"joined":{"channel","id","info"}}`, `{"left":{"channel","id"}}` | who came, who went |
//! | `{"count":{"channel","count"}}` | how many subscribers a channel has, where the application wants it told |
//! | `{"expiring":{"expires"}}` | seconds since 1970: the token ends, and the connection with it |
//! | `{"error":{"code","reason","channel"}}` | the code is the HTTP status that would say the same; the channel is there when it is about one |
//!
//! Whatever bears a `cursor` moves the client's: "everything up to here has been sent". With the last one it
//! saw it resumes: `since`, or `last_event_id` in the query. A message is done wholly, or refused wholly, as far as it is decided here; who may listen to
//! what is decided by the application, channel by channel.

pub mod encode;
mod message;

use std::borrow::Cow;

use message::Message;
use shared::rules;

use crate::keepalive;
use crate::keepalive::{Silence, Verdict};
use crate::pusher::channel_name;
use crate::rate_limit::{Bound, Rate};

/// Messages in a row that cannot be read.
const MAX_MALFORMED: u8 = 5;

/// Codes of closing (RFC 6455, 7.4.2, leaves 4000 to 4999 to applications). They mean to a client what
/// those of Pusher's protocol mean.
pub mod code {
    pub const UNAUTHORIZED: u16 = 4009;
    pub const NO_PONG: u16 = 4201;
    pub const OTHER: u16 = 4300;
    pub const RATE: u16 = 4301;
}

/// What an application allows each connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub channels: usize,
    /// Messages. Beyond it the connection is closed.
    pub message_rate: Bound,
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
            silence: keepalive::Limits::default(),
        }
    }
}

/// What a session asks about.
pub trait World {
    fn limits(&self) -> &Limits;
    fn is_subscribed(&self, channel: &str) -> bool;
    /// Channels of this connection.
    fn channels(&self) -> usize;
}

/// What is to be done, in this order, before the next message is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// JSON text, to be framed.
    Send(Vec<u8>),
    /// A ping frame, and the heartbeat with the connection's cursor.
    Ping,
    /// Distinct channels, some of which may be subscribed to already: those are answered, and stay. To be
    /// authorized, then answered with `subscribed` and `error`.
    Subscribe {
        channels: Vec<String>,
        /// Not checked, at most 200 bytes.
        since: Option<String>,
        token: Option<String>,
    },
    /// Those of the named channels that are subscribed to; the client has been answered.
    Unsubscribe { channels: Vec<String> },
    /// The frame of a close, then the end.
    Close {
        code: u16,
        reason: Cow<'static, str>,
    },
    /// To be counted; the client was told already.
    Count(Refusal),
}

/// What a client did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A message that could not be read.
    Malformed,
    Subscription,
    MessageRate,
    NoPong,
}

/// A connection's own state: 24 bytes.
#[derive(Debug, Default)]
pub struct Session {
    messages: Rate,
    silence: Silence,
    malformed: u8,
}

impl Session {
    /// A text message, at `now` in milliseconds of a clock that does not go back.
    pub fn on_text(&mut self, text: &str, now: u64, world: &impl World) -> Vec<Action> {
        if !self.messages.take(world.limits().message_rate, now) {
            let reason = "there are more messages a second than are allowed";
            return closing(Refusal::MessageRate, 429, code::RATE, reason);
        }
        let message = match message::parse(text) {
            Ok(message) => message,
            Err(why) => return self.malformed(why.0),
        };
        self.malformed = 0;
        match message {
            Message::Ping(payload) => vec![Action::Send(encode::pong(payload))],
            Message::Unsubscribe(named) => unsubscribe(named, world),
            Message::Subscribe {
                channels,
                since,
                token,
            } => match admit(&channels, world) {
                Ok(()) => vec![Action::Subscribe {
                    channels,
                    since,
                    token,
                }],
                Err((status, reason)) => {
                    refuse(Refusal::Subscription, encode::error(status, &reason, None))
                }
            },
        }
    }

    /// What time brings. `heard`: when anything last came from the client.
    pub fn on_tick(&mut self, now: u64, heard: u64, limits: &Limits) -> Vec<Action> {
        match self.silence.judge(now, heard, &limits.silence) {
            Verdict::Fine => Vec::new(),
            Verdict::Ask => vec![Action::Ping],
            Verdict::Gone => {
                let reason = "no pong came in time";
                closing(Refusal::NoPong, 408, code::NO_PONG, reason)
            }
        }
    }

    fn malformed(&mut self, reason: &'static str) -> Vec<Action> {
        self.malformed += 1;
        if self.malformed >= MAX_MALFORMED {
            return closing(Refusal::Malformed, 400, code::OTHER, reason);
        }
        refuse(Refusal::Malformed, encode::error(400, reason, None))
    }
}

/// Whether a subscription may be asked for at all: status and reason.
fn admit(channels: &[String], world: &impl World) -> Result<(), (u16, String)> {
    for (number, channel) in channels.iter().enumerate() {
        let number = number + 1;
        rules::channel_syntax(channel.as_bytes())
            .map_err(|why| (400, format!("channel {number} {why}")))?;
        // Who signs in over Pusher's protocol has such a channel; nobody else.
        if channel_name::is_of_user(channel) {
            return Err((403, format!("channel {number} is a user's own")));
        }
    }
    let fresh = |channel: &&String| !world.is_subscribed(channel);
    let max = world.limits().channels;
    if world.channels() + channels.iter().filter(fresh).count() > max {
        return Err((403, format!("a connection has at most {max} channels")));
    }
    Ok(())
}

/// Leaving what one is not in is no mistake, and answered as well.
fn unsubscribe(named: Vec<String>, world: &impl World) -> Vec<Action> {
    let answer = Action::Send(encode::unsubscribed(&named));
    let mut channels = named;
    channels.retain(|channel| world.is_subscribed(channel));
    match channels.is_empty() {
        true => vec![answer],
        false => vec![Action::Unsubscribe { channels }, answer],
    }
}

fn refuse(what: Refusal, told: Vec<u8>) -> Vec<Action> {
    vec![Action::Send(told), Action::Count(what)]
}

fn closing(what: Refusal, status: u16, code: u16, reason: &'static str) -> Vec<Action> {
    let mut actions = refuse(what, encode::error(status, reason, None));
    let reason = reason.into();
    actions.push(Action::Close { code, reason });
    actions
}

#[cfg(test)]
mod tests;
