//! One stream: what an idle subscriber costs.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use protocol::close_reason::CloseReason;
use protocol::format::Format;
use protocol::socket_id::SocketId;
use smallvec::SmallVec;

use crate::engine::identity::Identity;
use crate::engine::outbox::Outbox;
use crate::engine::replay::state::Replay;
use crate::engine::subscriptions::Subscription;
use crate::engine::websocket::session::WebSocketSession;
use crate::process::client_key::ClientKey;

/// No link: the end of a chain.
pub const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub struct Stream {
    pub fd: OwnedFd,
    pub format: Format,
    /// Something was sent since the last ping: the client has a recent cursor.
    pub fresh: bool,
    /// Whose limits it counts in.
    pub client: ClientKey,
    /// Its socket id, which `except` names.
    pub socket: SocketId,
    pub identity: Identity,
    /// Only for a WebSocket, and not while its input is dealt with.
    pub websocket: Option<Box<WebSocketSession>>,
    /// It was notified that its token expires soon.
    pub warned: bool,
    pub times: Times,
    /// Deliveries below are not for it: they came before it opened, or were replayed.
    pub from: u64,
    pub chain: Chain,
    /// Two in place: most streams have one.
    pub subscriptions: SmallVec<[Subscription; 2]>,
    /// Only while the socket is full.
    pub outbox: Option<Box<Outbox>>,
    /// Only until the stream is live.
    pub replay: Option<Box<Replay>>,
}

/// When a stream began, was last active, and ends.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it was opened, or up to a tenth of `stream_max_age` before that; and when it last had an event. In the
    /// engine's seconds.
    pub born: u32,
    pub active: u32,
    /// When its token expires, in seconds since 1970; 0: it does not.
    pub expires: u32,
}

/// Frames gathered for the stream in this wake: a chain of the fan-out's links.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    pub first: u32,
    pub last: u32,
}

impl Chain {
    pub const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };
}

// An idle stream is this: keep it small.
const _: () = assert!(size_of::<Stream>() <= 128);

/// Why a stream ends whose socket reports an error.
pub fn close_reason(error: Errno) -> CloseReason {
    match error {
        Errno::EPIPE | Errno::ECONNRESET => CloseReason::Peer,
        _ => CloseReason::Error,
    }
}
