//! The session of one Pusher connection: what the engine has to do after a client's message or the passing of
//! time. Pure: it has neither socket nor clock, and the subscriptions stay in the engine ([`World`]).
//!
//! ```text
//! text ─► parse ─► names, signatures, limits ─► [Action] ─► engine
//! ```
//!
//! If one request is refused, an error is sent and the connection stays open. After repeated errors, or one that
//! the client cannot recover from, an error is sent and the connection is closed.

use std::borrow::Cow;

use super::message::{self, Message, Subscribe, is_token};
use super::{code, encode};
use crate::channel::Kind;
use crate::client_event::ClientEvent;
use crate::keepalive;
use crate::keepalive::Verdict;
use crate::pusher::channel_name;
use crate::pusher::signature::{Credentials, Refused, User};
use crate::rate_limit::Bound;
use crate::rewind;
use crate::rewind::Rewind;
use crate::session_guard::{self, Rejected, SessionGuard};
use crate::user_bounds::UserBounds;

/// The most users on a watchlist. Pusher's limit.
pub const MAX_WATCHLIST: usize = 100;

/// What an application allows each connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Channels of a connection. Default: 100.
    pub channels: usize,
    /// Messages of any kind; beyond it the connection is closed. Default: 100 a second, bursts of 1,000.
    pub message_rate: Bound,
    /// How long ids and info of users may be.
    pub users: UserBounds,
    /// How far a subscription may look back.
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
            users: UserBounds::default(),
            rewind: rewind::Limits::default(),
            silence: keepalive::Limits::default(),
        }
    }
}

/// Whether a connection is subscribed to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed<'a> {
    No,
    Yes,
    /// On a presence channel, as this user.
    As(&'a str),
}

/// The connection's state in the engine, as a session needs it.
pub trait World {
    /// The socket id as text, which is part of what is signed.
    fn socket(&self) -> String;
    fn credentials(&self) -> &Credentials;
    fn limits(&self) -> &Limits;
    fn subscribed(&self, channel: &str) -> Subscribed<'_>;
    /// The number of channels that this connection is subscribed to.
    fn channels(&self) -> usize;
    /// Whether the connection request showed a token, in a cookie or a header.
    fn has_token(&self) -> bool;
    /// A signature is refused for this reason, which the client may not show anybody.
    fn signature_refused(&self, _why: &Refused) {}
}

/// What the engine has to do, in the order of the actions, before it passes on the next message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this JSON text in a text frame.
    Send(Vec<u8>),
    /// Send `pusher:ping`, with the cursor if the connection asked for recovery.
    Ping,
    /// Subscribe to this channel: the session allows it. The engine answers with `subscription_succeeded` (again,
    /// if it is subscribed already, which changes nothing), the events missed since the cursor, and the last
    /// event of a cache channel or `cache_miss`; or with `subscription_error` at a limit of its own.
    Subscribe {
        channel: String,
        /// The signed user, on presence channels.
        user: Option<User>,
        /// Not checked, no longer than one can be.
        cursor: Option<String>,
        /// Where there is no `cursor`.
        rewind: Option<Rewind>,
    },
    /// The same if the token grants the channel, as whom the token says; else `subscription_error`.
    Authorize {
        channel: String,
        /// Not checked. None: that of the connection request, which has shown one.
        token: Option<String>,
        cursor: Option<String>,
        rewind: Option<Rewind>,
    },
    /// Unsubscribe from this channel, which is subscribed to.
    Unsubscribe { channel: String },
    /// Forward a client event to the other subscribers, or answer with an error why not. Nothing is checked but that
    /// its name begins with `client-`: its rules are the same by whichever way it comes ([`crate::client_event`]).
    ClientEvent(ClientEvent),
    /// The connection signed in as this user, with this watchlist.
    Signin(User),
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
    /// An event with an unknown name.
    Unknown,
    Subscription,
    /// More messages a second than [`Limits::message_rate`] allows.
    MessageRate,
    Signin,
    /// A watchlist longer than [`MAX_WATCHLIST`].
    Watchlist,
    /// A ping that was not answered in time.
    NoPong,
    /// A connection that did not show in time who it is.
    Unauthorized,
}

/// The protocol state of one connection: 32 bytes, and the user if one signed in.
#[derive(Debug, Default)]
pub struct Session {
    user: Option<Box<User>>,
    guard: SessionGuard,
}

impl Session {
    /// The user that the connection signed in as.
    pub fn user(&self) -> Option<&User> {
        self.user.as_deref()
    }

    /// Whether the connection has signed in, or shown a valid signature or token for a private or presence channel.
    pub fn is_authorized(&self) -> bool {
        self.guard.authorized
    }

    /// A token has opened a private or presence channel.
    pub fn authorized(&mut self) {
        self.guard.authorized = true;
    }

    /// Ends a connection that is not authorized when it must be.
    pub fn end_unauthorized(&self) -> Vec<Action> {
        let reason = "nobody signed in or authorized in time";
        closing(Refusal::Unauthorized, code::UNAUTHORIZED, reason)
    }

    /// Handles a text message received at `now`, in milliseconds of a monotonic clock.
    pub fn on_text(&mut self, text: &str, now: u64, world: &impl World) -> Vec<Action> {
        let rate = world.limits().message_rate;
        let message = match self.guard.receive(rate, now, || message::parse(text)) {
            Ok(message) => message,
            Err(Rejected::Rate) => {
                return closing(Refusal::MessageRate, code::RATE, session_guard::TOO_FAST);
            }
            Err(Rejected::Malformed(why)) => return malformed(&why),
            Err(Rejected::LastMalformed(why)) => {
                let mut actions = malformed(&why);
                actions.push(Action::Close {
                    code: code::OTHER,
                    reason: "too many messages that cannot be read".into(),
                });
                return actions;
            }
        };
        match message {
            Message::Subscribe(request) => self.subscribe(request, world),
            Message::Unsubscribe { channel } => match world.subscribed(&channel) {
                // As at Pusher, unsubscribing twice is not an error.
                Subscribed::No => Vec::new(),
                _ => vec![Action::Unsubscribe { channel }],
            },
            Message::Ping => vec![Action::Send(encode::pong())],
            // The engine has already noted that something was received.
            Message::Pong => Vec::new(),
            Message::Signin {
                auth,
                user_data,
                cursor,
            } => self.signin(&auth, &user_data, cursor, world),
            Message::Client(event) => vec![Action::ClientEvent(event)],
            Message::Unknown => {
                let reason = "this event is not known: pusher:subscribe, pusher:unsubscribe, \
                              pusher:signin, pusher:ping, pusher:pong and client-… are";
                refuse(Refusal::Unknown, encode::error(None, reason))
            }
        }
    }

    /// Handles the passing of time. `last_received`: when anything was last received from the client. Both times
    /// are milliseconds of a monotonic clock.
    pub fn on_tick(&mut self, now: u64, last_received: u64, limits: &Limits) -> Vec<Action> {
        match self.guard.on_tick(now, last_received, &limits.silence) {
            Verdict::Fine => Vec::new(),
            Verdict::Ask => vec![Action::Ping],
            Verdict::Gone => closing(Refusal::NoPong, code::NO_PONG, session_guard::NO_PONG),
        }
    }

    fn subscribe(&mut self, request: Subscribe, world: &impl World) -> Vec<Action> {
        match self.admit(&request, world) {
            Ok((Admitted::Signed(user), rewind)) => {
                self.guard.authorized |= Kind::of(&request.channel).needs_authorization();
                vec![Action::Subscribe {
                    channel: request.channel,
                    user,
                    cursor: request.cursor,
                    rewind,
                }]
            }
            Ok((Admitted::ByToken, rewind)) => vec![Action::Authorize {
                channel: request.channel,
                token: request.auth,
                cursor: request.cursor,
                rewind,
            }],
            Err(Denied(kind, status, reason)) => {
                let message = encode::subscription_error(&request.channel, kind, &reason, status);
                refuse(Refusal::Subscription, message)
            }
        }
    }

    /// Whether the channel may be subscribed to, and how far back.
    fn admit(
        &self,
        request: &Subscribe,
        world: &impl World,
    ) -> Result<(Admitted, Option<Rewind>), Denied> {
        let admitted = self.admit_to_channel(request, world)?;
        let rewind = request
            .rewind
            .map(|asked| asked.within(world.limits().rewind));
        match rewind.transpose() {
            Ok(rewind) => Ok((admitted, rewind)),
            Err(why) => Err(Denied("ChannelError", 400, why.to_string().into())),
        }
    }

    /// Whether the channel may be subscribed to.
    fn admit_to_channel(
        &self,
        request: &Subscribe,
        world: &impl World,
    ) -> Result<Admitted, Denied> {
        let channel = request.channel.as_str();
        let own = channel_name::user(channel);
        if own.is_none() {
            channel_name::channel(channel)
                .map_err(|why| Denied("ChannelError", 400, why.to_string().into()))?;
        }
        let subscribed = world.subscribed(channel);
        if subscribed == Subscribed::No && world.channels() >= world.limits().channels {
            let most = world.limits().channels;
            return Err(limit(format!(
                "a connection has at most {most} channels (server.channels_per_socket)"
            )));
        }
        if let Some(own) = own {
            let signed_in = self.user().is_some_and(|user| user.id == own);
            return match signed_in {
                true => Ok(Admitted::Signed(None)),
                false => Err(unauthorized("sign in as this user first")),
            };
        }
        if !Kind::of(channel).needs_authorization() {
            return Ok(Admitted::Signed(None));
        }
        let auth = match request.auth.as_deref() {
            Some(auth) if is_token(auth) => return Ok(Admitted::ByToken),
            Some(auth) => auth,
            None if world.has_token() => return Ok(Admitted::ByToken),
            None => {
                return Err(unauthorized(
                    "this channel needs auth, a signature or a token",
                ));
            }
        };
        let data = request.channel_data.as_deref();
        let user = world
            .credentials()
            .verify_subscription(&world.socket(), channel, data, auth, world.limits().users)
            .map_err(|why| {
                world.signature_refused(&why);
                match why {
                    Refused::TooLong(what) => limit(what.to_string()),
                    _ => unauthorized(why.to_string()),
                }
            })?;
        match (&user, subscribed) {
            (Some(user), Subscribed::As(other)) if user.id != other => {
                let reason = "subscribed as another user already: unsubscribe first";
                Err(Denied("AuthError", 409, reason.into()))
            }
            _ => Ok(Admitted::Signed(user)),
        }
    }

    fn signin(
        &mut self,
        auth: &str,
        user_data: &str,
        cursor: Option<String>,
        world: &impl World,
    ) -> Vec<Action> {
        let mut user = match world.credentials().verify_signin(
            &world.socket(),
            user_data,
            auth,
            world.limits().users,
        ) {
            Ok(user) => user,
            Err(why) => {
                world.signature_refused(&why);
                return closing(Refusal::Signin, code::UNAUTHORIZED, why.to_string());
            }
        };
        if self.user().is_some_and(|other| other.id != user.id) {
            let reason = "signed in as another user already: connect anew";
            return refuse(Refusal::Signin, encode::error(None, reason));
        }
        let mut actions = vec![Action::Send(encode::signin_success(user_data))];
        if user.watchlist.len() > MAX_WATCHLIST {
            user.watchlist = Vec::new();
            let reason = "a watchlist has at most 100 users: none of them is watched";
            let message = encode::error(Some(code::WATCHLIST), reason);
            actions.extend(refuse(Refusal::Watchlist, message));
        }
        self.user = Some(Box::new(user.clone()));
        self.guard.authorized = true;
        let channel = channel_name::of_user(&user.id);
        actions.push(Action::Signin(user));
        actions.push(Action::Subscribe {
            channel,
            user: None,
            cursor,
            rewind: None,
        });
        actions
    }
}

/// Whether a channel may be subscribed to.
enum Admitted {
    /// It may, on presence channels as this user.
    Signed(Option<User>),
    /// That is for the application's authorizer of tokens to say.
    ByToken,
}

/// A refused subscription: type, HTTP status and reason.
struct Denied(&'static str, u16, Cow<'static, str>);

fn limit(reason: String) -> Denied {
    Denied("LimitError", 403, reason.into())
}

fn unauthorized(reason: impl Into<Cow<'static, str>>) -> Denied {
    Denied("AuthError", 401, reason.into())
}

fn malformed(why: &message::Malformed) -> Vec<Action> {
    refuse(Refusal::Malformed, encode::error(None, why.0))
}

fn refuse(what: Refusal, message: Vec<u8>) -> Vec<Action> {
    vec![Action::Send(message), Action::Count(what)]
}

fn closing(what: Refusal, code: u16, reason: impl Into<Cow<'static, str>>) -> Vec<Action> {
    let reason = reason.into();
    let mut actions = refuse(what, encode::error(Some(code), &reason));
    actions.push(Action::Close { code, reason });
    actions
}

#[cfg(test)]
mod tests;
