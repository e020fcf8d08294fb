//! One stream: what a subscriber costs while nothing happens.

use std::os::fd::OwnedFd;

use crate::engine::Talk;
use crate::engine::identity::Who;
use crate::engine::outbox::Outbox;
use crate::engine::replay::Pull;
use crate::engine::subscriptions::Subscription;
use crate::process::admission::ClientKey;
use crate::protocol::socket_id::SocketId;

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

/// No link: the end of a chain.
pub const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub struct Stream {
    pub fd: OwnedFd,
    pub format: Format,
    /// Something was sent since the last ping: the client has a recent cursor.
    pub fresh: bool,
    /// It has been told good-bye and ends when its outbox is empty.
    pub leaving: bool,
    pub client: ClientKey,
    /// What `except` calls it.
    pub socket: SocketId,
    /// Only with a user.
    pub who: Option<Box<Who>>,
    /// Only with a WebSocket, and not while its input is dealt with.
    pub talk: Option<Box<Talk>>,
    /// When it ends with its token, in seconds since 1970; 0: it does not. And whether it was told.
    pub expires: u32,
    pub warned: bool,
    /// When it came, and when it last had an event, in the engine's seconds.
    pub born: u32,
    pub active: u32,
    /// Hand-offs below are not for it: they came before it did, or were pulled.
    pub from: u64,
    /// Frames gathered in this wake: a chain in the dispatcher's links.
    pub first: u32,
    pub last: u32,
    pub subscriptions: Box<[Subscription]>,
    /// Only while the socket is full.
    pub outbox: Option<Box<Outbox>>,
    /// Only until the stream is live.
    pub pull: Option<Box<Pull>>,
}

// A stream at rest is this and its subscriptions: keep it small.
const _: () = assert!(size_of::<Stream>() <= 104);

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client closed.
    Peer,
    /// The client sent something.
    Input,
    /// The socket failed.
    Error,
    /// Its outbox was full.
    Slow,
    /// All outboxes together were.
    Memory,
    /// It took nothing for too long.
    Stalled,
    /// The daemon stops.
    Drain,
    /// It has been there for as long as a stream may.
    Aged,
    /// Its token did.
    Expired,
    /// It had no event for as long as a stream may.
    Idle,
    /// An operator or the application wanted it.
    Ended,
    /// A WebSocket was closed in due form: by the client, or because of what it did.
    Closed,
    /// It could not become a member of a presence channel.
    Members,
}
