//! Why a connection ended: for the last words in its protocol, and for the metrics.

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
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
