//! One Pusher connection: what a client's message or the passing of time asks of the engine. Pure: it has
//! neither socket nor clock, and leaves what is subscribed where it is kept, in the engine ([`World`]).
//!
//! ```text
//! text ─► parse ─► names, signatures, limits ─► [Action] ─► engine
//! ```
//!
//! A refusal of one thing is told and the connection goes on. What a client does wrong over and over, or
//! what it cannot go on from, is told and closed: an error that leaves the connection open and served
//! would be no error.

use std::borrow::Cow;

use shared::rules;

use super::message::{self, ClientEvent, Message, Subscribe};
use super::{code, encode};
use crate::channel::Kind;
use crate::info::one_line;
use crate::keepalive;
use crate::keepalive::{Silence, Verdict};
use crate::pusher::channel_name;
use crate::pusher::signature::{Credentials, User};
use crate::rate_limit::{Bound, Rate};

/// Users on a watchlist. Pusher's bound.
pub const MAX_WATCHLIST: usize = 100;
/// Messages in a row that cannot be read.
const MAX_MALFORMED: u8 = 5;

/// What an application allows each connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Channels.
    pub channels: usize,
    /// Whether clients may send to one another at all.
    pub client_events: bool,
    pub client_event_rate: Bound,
    /// Bytes of a client event's data.
    pub client_event_bytes: usize,
    /// Messages of any kind. Beyond it the connection is closed.
    pub message_rate: Bound,
    pub silence: keepalive::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 100,
            client_events: false,
            client_event_rate: Bound::per_second(10),
            client_event_bytes: 10 << 10,
            message_rate: Bound {
                per_second: 100,
                burst: 1000,
            },
            silence: keepalive::Limits::default(),
        }
    }
}

/// What a connection is subscribed to, as the engine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed<'a> {
    No,
    Yes,
    /// On a presence channel, as this user.
    As(&'a str),
}

/// What a session asks about.
pub trait World {
    /// The text of the socket id, which is what is signed.
    fn socket(&self) -> String;
    fn credentials(&self) -> &Credentials;
    fn limits(&self) -> &Limits;
    fn subscribed(&self, channel: &str) -> Subscribed<'_>;
    /// Channels of this connection.
    fn channels(&self) -> usize;
}

/// What is to be done, in this order, before the next message is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// JSON text, to be framed.
    Send(Vec<u8>),
    /// `pusher:ping`, with the position where the connection asked for recovery.
    Ping,
    /// Allowed, by what this session knows. The engine answers: `subscription_succeeded` (again, if it is
    /// subscribed already, which changes nothing), what was missed since the cursor, the last event of a
    /// cache channel or `cache_miss`; or `subscription_error` at a limit of its own.
    Subscribe {
        channel: String,
        user: Option<User>,
        cursor: Option<String>,
    },
    Unsubscribe {
        channel: String,
    },
    /// To the other subscribers. `data`: JSON on one line.
    ClientEvent {
        channel: String,
        event: String,
        data: String,
        user: Option<String>,
    },
    /// Who it is, and whose coming and going it wants to hear of.
    Signin(User),
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
    /// An event of a name that means nothing.
    Unknown,
    Subscription,
    ClientEvent,
    ClientEventRate,
    MessageRate,
    Signin,
    Watchlist,
    NoPong,
}

/// A connection's own state: 40 bytes, and a user where one signed in.
#[derive(Debug, Default)]
pub struct Session {
    user: Option<Box<User>>,
    messages: Rate,
    events: Rate,
    silence: Silence,
    malformed: u8,
}

impl Session {
    /// Who signed in.
    pub fn user(&self) -> Option<&User> {
        self.user.as_deref()
    }

    /// A text message, at `now` in milliseconds of a clock that does not go back.
    pub fn on_text(&mut self, text: &str, now: u64, world: &impl World) -> Vec<Action> {
        if !self.messages.take(world.limits().message_rate, now) {
            let reason = "there are more messages a second than are allowed";
            return closing(Refusal::MessageRate, code::RATE, reason);
        }
        let message = match message::parse(text) {
            Ok(message) => message,
            Err(why) => return self.malformed(&why),
        };
        self.malformed = 0;
        match message {
            Message::Subscribe(wanted) => self.subscribe(wanted, world),
            Message::Unsubscribe { channel } => match world.subscribed(&channel) {
                // As Pusher does: a page that leaves twice has left.
                Subscribed::No => Vec::new(),
                _ => vec![Action::Unsubscribe { channel }],
            },
            Message::Ping => vec![Action::Send(encode::pong())],
            // That something came is what counts.
            Message::Pong => Vec::new(),
            Message::Signin {
                auth,
                user_data,
                cursor,
            } => self.signin(&auth, &user_data, cursor, world),
            Message::Client(event) => self.client_event(event, now, world),
            Message::Unknown => {
                let reason = "this event is not known: pusher:subscribe, pusher:unsubscribe, \
                              pusher:signin, pusher:ping, pusher:pong and client-… are";
                refuse(Refusal::Unknown, encode::error(None, reason))
            }
        }
    }

    /// What time brings. `heard`: when anything last came from the client.
    pub fn on_tick(&mut self, now: u64, heard: u64, limits: &Limits) -> Vec<Action> {
        match self.silence.judge(now, heard, &limits.silence) {
            Verdict::Fine => Vec::new(),
            Verdict::Ask => vec![Action::Ping],
            Verdict::Gone => closing(Refusal::NoPong, code::NO_PONG, "no pong came in time"),
        }
    }

    fn malformed(&mut self, why: &message::Malformed) -> Vec<Action> {
        self.malformed += 1;
        let mut actions = refuse(Refusal::Malformed, encode::error(None, why.0));
        if self.malformed >= MAX_MALFORMED {
            actions.push(Action::Close {
                code: code::OTHER,
                reason: "too many messages that cannot be read".into(),
            });
        }
        actions
    }

    fn subscribe(&self, wanted: Subscribe, world: &impl World) -> Vec<Action> {
        match self.admit(&wanted, world) {
            Ok(user) => vec![Action::Subscribe {
                channel: wanted.channel,
                user,
                cursor: wanted.cursor,
            }],
            Err(Denied(kind, status, reason)) => {
                let told = encode::subscription_error(&wanted.channel, kind, &reason, status);
                refuse(Refusal::Subscription, told)
            }
        }
    }

    /// Whether a channel may be subscribed to, and on a presence channel as whom.
    fn admit(&self, wanted: &Subscribe, world: &impl World) -> Result<Option<User>, Denied> {
        let channel = wanted.channel.as_str();
        let own = channel_name::user(channel);
        if own.is_none() {
            channel_name::channel(channel)
                .map_err(|why| Denied("ChannelError", 400, why.to_string().into()))?;
        }
        let subscribed = world.subscribed(channel);
        if subscribed == Subscribed::No && world.channels() >= world.limits().channels {
            let reason = format!(
                "a connection has at most {} channels",
                world.limits().channels
            );
            return Err(Denied("LimitError", 403, reason.into()));
        }
        if let Some(own) = own {
            let signed_in = self.user().is_some_and(|user| user.id == own);
            return match signed_in {
                true => Ok(None),
                false => Err(unauthorized("sign in as this user first")),
            };
        }
        if !Kind::of(channel).needs_authorization() {
            return Ok(None);
        }
        let auth = wanted.auth.as_deref();
        let auth = auth.ok_or_else(|| unauthorized("this channel needs auth, a signature"))?;
        let data = wanted.channel_data.as_deref();
        let user = world
            .credentials()
            .channel(&world.socket(), channel, data, auth)
            .map_err(|why| unauthorized(why.to_string()))?;
        match (&user, subscribed) {
            (Some(user), Subscribed::As(other)) if user.id != other => {
                let reason = "subscribed as another user already: unsubscribe first";
                Err(Denied("AuthError", 409, reason.into()))
            }
            _ => Ok(user),
        }
    }

    fn signin(
        &mut self,
        auth: &str,
        user_data: &str,
        cursor: Option<String>,
        world: &impl World,
    ) -> Vec<Action> {
        let mut user = match world.credentials().user(&world.socket(), user_data, auth) {
            Ok(user) => user,
            Err(why) => return closing(Refusal::Signin, code::UNAUTHORIZED, why.to_string()),
        };
        if self.user().is_some_and(|other| other.id != user.id) {
            let reason = "signed in as another user already: connect anew";
            return refuse(Refusal::Signin, encode::error(None, reason));
        }
        let mut actions = vec![Action::Send(encode::signin_success(user_data))];
        if user.watchlist.len() > MAX_WATCHLIST {
            user.watchlist = Vec::new();
            let reason = "a watchlist has at most 100 users: none of them is watched";
            let told = encode::error(Some(code::WATCHLIST), reason);
            actions.extend(refuse(Refusal::Watchlist, told));
        }
        self.user = Some(Box::new(user.clone()));
        let channel = channel_name::of_user(&user.id);
        actions.push(Action::Signin(user));
        actions.push(Action::Subscribe {
            channel,
            user: None,
            cursor,
        });
        actions
    }

    fn client_event(&mut self, event: ClientEvent, now: u64, world: &impl World) -> Vec<Action> {
        let subscribed = world.subscribed(&event.channel);
        if let Err(reason) = may_send(&event, subscribed, world.limits()) {
            return refuse(Refusal::ClientEvent, encode::error(None, &reason));
        }
        let bound = world.limits().client_event_rate;
        if !self.events.take(bound, now) {
            let reason = format!("at most {} client events a second", bound.per_second);
            let told = encode::error(Some(code::RATE), &reason);
            return refuse(Refusal::ClientEventRate, told);
        }
        let user = match subscribed {
            Subscribed::As(user) => Some(user.to_owned()),
            Subscribed::No | Subscribed::Yes => None,
        };
        vec![Action::ClientEvent {
            data: one_line(&event.data),
            channel: event.channel,
            event: event.event,
            user,
        }]
    }
}

/// Type, status and reason.
struct Denied(&'static str, u16, Cow<'static, str>);

fn unauthorized(reason: impl Into<Cow<'static, str>>) -> Denied {
    Denied("AuthError", 401, reason.into())
}

fn may_send(
    event: &ClientEvent,
    subscribed: Subscribed,
    limits: &Limits,
) -> Result<(), Cow<'static, str>> {
    if !limits.client_events {
        return Err("client events are not enabled for this application".into());
    }
    if subscribed == Subscribed::No {
        return Err("client events need a subscription to their channel".into());
    }
    if !Kind::of(&event.channel).allows_client_events() {
        return Err("client events are for private and presence channels".into());
    }
    rules::event(event.event.as_bytes()).map_err(|why| format!("a client event's name {why}"))?;
    if event.data.len() > limits.client_event_bytes {
        let max = limits.client_event_bytes;
        return Err(format!("a client event's data is at most {max} bytes long").into());
    }
    // It is passed on as it is, to webhooks too: PHP takes all of a body for broken where one text in it
    // has half a surrogate pair.
    if serde_json::from_str::<serde_json::Value>(&event.data).is_err() {
        return Err("a client event's data must be JSON that every reader takes".into());
    }
    Ok(())
}

fn refuse(what: Refusal, told: Vec<u8>) -> Vec<Action> {
    vec![Action::Send(told), Action::Count(what)]
}

fn closing(what: Refusal, code: u16, reason: impl Into<Cow<'static, str>>) -> Vec<Action> {
    let reason = reason.into();
    let mut actions = refuse(what, encode::error(Some(code), &reason));
    actions.push(Action::Close { code, reason });
    actions
}

#[cfg(test)]
mod tests;
