//! A request for a stream, as it is handed to the engine.

use std::os::fd::OwnedFd;

use protocol::format::Format;
use protocol::rewind::Rewind;
use protocol::socket_id::SocketId;
use shared::cursor::Cursor;

use crate::auth::authorizer::Access;
use crate::engine::websocket::session::WebSocketSession;
use crate::process::client_key::ClientKey;

/// From where a client asks to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    Cursor(Cursor),
    /// The id of an event, which its publisher gave; or anything else, as it is the client's.
    Id(String),
    /// It has nothing yet, and looks back.
    Rewind(Rewind),
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
    /// Only for a WebSocket.
    pub websocket: Option<Box<WebSocketSession>>,
}
