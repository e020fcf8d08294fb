//! One stream: what a subscriber costs while nothing happens.

use std::os::fd::OwnedFd;

use protocol::format::Format;
use protocol::socket_id::SocketId;

use crate::engine::WebSocketSession;
use crate::engine::identity::Identity;
use crate::engine::outbox::Outbox;
use crate::engine::replay::state::Replay;
use crate::engine::subscriptions::Subscription;
use crate::process::client_key::ClientKey;

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
    pub identity: Option<Box<Identity>>,
    /// Only with a WebSocket, and not while its input is dealt with.
    pub websocket: Option<Box<WebSocketSession>>,
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
    pub replay: Option<Box<Replay>>,
}

// A stream at rest is this and its subscriptions: keep it small.
const _: () = assert!(size_of::<Stream>() <= 104);
