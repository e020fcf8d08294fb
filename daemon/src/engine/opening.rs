//! A request for a stream, as it is handed to the engine.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use protocol::format::Format;
use protocol::mercure::grants::Grants;
use protocol::rewind::Rewind;
use protocol::socket_id::SocketId;
use shared::cursor::Cursor;
use shared::vector::Vector;

use crate::auth::authorizer::Access;
use crate::engine::websocket::session::WebSocketSession;
use crate::hub::active::Presence;
use crate::hub::topics::Matched;
use crate::process::client_key::ClientKey;

/// From where a client asks to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    Cursor(Cursor),
    /// It comes from another host, or from this one.
    Vector(Vector),
    /// The id of an event, which its publisher gave; or anything else, as it is the client's.
    Id(String),
    /// It has nothing yet, and looks back.
    Rewind(Rewind),
    /// It has nothing, and gets all that is held.
    Earliest,
    /// It has something, and it is not known what.
    Unknown,
}

/// What a subscriber of topics has.
#[derive(Debug)]
pub struct TopicOpening {
    pub matched: Matched,
    /// What it was granted: which private events it may have.
    pub grants: Arc<Grants>,
    /// While it is held, others see an active subscription.
    pub presence: Option<Presence>,
}

/// An accepted request for a stream. The socket is non-blocking.
#[derive(Debug)]
pub struct Opening {
    pub fd: OwnedFd,
    pub client: ClientKey,
    /// The encoded head of the response.
    pub head: Vec<u8>,
    /// Distinct.
    pub channels: Vec<String>,
    /// What was granted for each of the channels, in their order.
    pub accesses: Vec<Access>,
    pub format: Format,
    pub resume: Option<Resume>,
    pub socket: SocketId,
    /// Only for `Format::Mercure`. Then the channels are the matchers' names.
    pub topics: Option<Box<TopicOpening>>,
    /// Only for a WebSocket.
    pub websocket: Option<Box<WebSocketSession>>,
}
