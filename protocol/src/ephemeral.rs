//! What is sent beside the ring: members joining and leaving, subscriber counts, and client events. It has no
//! cursor and is never replayed.

use std::sync::Arc;

use super::socket_id::SocketId;

/// A message to a channel's subscribers that is not an event of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ephemeral {
    /// A user joined a presence channel. `number`: of the announcement, within its application; a snapshot
    /// of the same or a later number includes it. `info`: JSON on one line.
    Joined {
        number: u64,
        user: Arc<str>,
        info: Option<Arc<str>>,
    },
    /// A user left a presence channel. `number`: as with [`Self::Joined`].
    Left { number: u64, user: Arc<str> },
    /// How many subscribers the channel has.
    Count(u32),
    /// A client event: one subscriber's message to the others.
    Client {
        event: String,
        /// JSON on one line.
        data: String,
        /// The sender's user id, on presence channels.
        user: Option<String>,
        /// The sender's socket, which does not receive it.
        from: SocketId,
    },
}
