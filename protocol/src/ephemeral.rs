//! What is sent beside the ring: members that come and go, and what subscribers send to one another.
//! Ephemeral: no cursor, no replay.

use std::sync::Arc;

use super::socket_id::SocketId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ephemeral {
    /// `number`: which announcement of its application it is; a snapshot as of it holds it already.
    Joined {
        number: u64,
        user: Arc<str>,
        info: Option<Arc<str>>,
    },
    Left {
        number: u64,
        user: Arc<str>,
    },
    /// How many subscribers the channel has.
    Count(u32),
    /// What a subscriber sent to the others.
    Client {
        event: String,
        /// JSON on one line.
        data: String,
        /// On presence channels.
        user: Option<String>,
        from: SocketId,
    },
}
