//! Why a stream ended: it decides the final message in the stream's protocol, and is counted in the metrics.

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed the connection.
    Peer,
    /// The client sent data where its protocol allows none.
    Input,
    /// The socket failed.
    Error,
    /// The stream's outbox was full.
    Slow,
    /// The memory budget of all outboxes was used up.
    Memory,
    /// The client read nothing for too long.
    Stalled,
    /// The daemon is stopping.
    Drain,
    /// The stream reached the maximum age.
    Aged,
    /// The stream's token expired.
    Expired,
    /// The stream had no event for the maximum idle time.
    Idle,
    /// An operator or the application disconnected it.
    Ended,
    /// A WebSocket ended with a closing handshake: the client's, or the server's after a protocol error.
    Closed,
    /// A WebSocket's client closed it on purpose: with code 1000, or without one.
    Left,
    /// A presence channel refused the member.
    Members,
}
