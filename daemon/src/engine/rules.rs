//! Settings a worker needs for its streams.

use std::time::Duration;

use protocol::{client_event, plain, pusher, rewind};

use crate::config::{Io, SlowClients};
use crate::engine::outbox::Bounds;

/// Settings a worker needs for its streams.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub io: Io,
    pub slow_clients: SlowClients,
    pub outbox: Bounds,
    /// Milliseconds after which an EventSource is to reconnect.
    pub retry: u32,
    /// Seconds a stream may last, and may be without an event; 0: no limit.
    pub max_age: u32,
    pub max_idle: u32,
    /// Seconds before its expiry at which a stream is notified.
    pub expiry_notice: u32,
    /// Seconds after which a client of Pusher's protocol must have shown who it is; 0: it need not.
    pub authorize_timeout: u32,
    /// How long a client may take nothing of what waits for it.
    pub write_timeout: Duration,
    /// Distinct channels of all workers together.
    pub max_channels: usize,
    /// Channels of one stream.
    pub channels_per_stream: usize,
    /// How far a new subscription may look back.
    pub rewind: rewind::Limits,
    /// What a WebSocket's client may do, in each protocol.
    pub pusher: pusher::session::Limits,
    pub plain: plain::Limits,
    /// What a subscriber may send to the others of its channel.
    pub client_events: client_event::Limits,
    /// The most bytes of a client's message.
    pub message_bytes: usize,
}
