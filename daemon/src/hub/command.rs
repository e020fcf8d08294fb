//! Commands to an engine: change a stream, end streams, count subscribers. They are delivered through the
//! worker's inbox, so that only its own thread ever accesses a stream.

use protocol::client_event;
use protocol::client_event::ClientEvent;
use protocol::rewind::Rewind;
use protocol::socket_id::SocketId;
use protocol::wire_cursor::ClientCursor;
use shared::cursor::Cursor;
use shared::vector::Vector;
use tokio::sync::oneshot;

use crate::auth::authorizer::Access;
use crate::hub::presence;
use crate::process::reconnect::Window;

/// A command to one worker's engine of an application.
#[derive(Debug)]
pub enum Command {
    /// Subscribe a stream to channels.
    Subscribe {
        /// The stream's slot on the worker.
        slot: u32,
        /// The stream's socket id, since the slot may have a new stream by now.
        socket: SocketId,
        /// Distinct, each with the access that was granted.
        channels: Vec<(String, Access)>,
        /// The value of `Authority::revocations` before they were granted.
        revocations: u64,
        /// From where on these channels are replayed. None: from now on.
        since: Option<Since>,
        /// Receives the channels subscribed to. None: the result is sent to the stream itself.
        answer: Option<oneshot::Sender<Result<Vec<String>, Denied>>>,
    },
    /// Send a message to a stream: the answer to a request of its client that took time.
    Tell {
        slot: u32,
        socket: SocketId,
        bytes: Vec<u8>,
    },
    /// Unsubscribe a stream from channels.
    Unsubscribe {
        slot: u32,
        socket: SocketId,
        channels: Vec<String>,
        answer: oneshot::Sender<Result<Vec<String>, Denied>>,
    },
    /// Send a stream's client event to the other subscribers of its channel.
    ClientEvent {
        slot: u32,
        socket: SocketId,
        event: ClientEvent,
        answer: oneshot::Sender<Result<(), client_event::Refused>>,
    },
    /// End streams; answered with how many ended.
    End {
        target: Target,
        answer: oneshot::Sender<usize>,
    },
    /// Let one of so many streams go: its client is to reconnect within the window.
    LetGo { one_of: u32, window: Window },
    /// Count the subscribers of each of these channels that has any.
    Count {
        which: Which,
        answer: oneshot::Sender<Vec<(String, usize)>>,
    },
    /// The channels with the most subscribers here, so many at most.
    Largest {
        most: usize,
        answer: oneshot::Sender<Vec<(String, usize)>>,
    },
    /// The streams for which most is waiting, so many at most.
    Slow {
        most: usize,
        answer: oneshot::Sender<Vec<SlowStream>>,
    },
}

/// A stream whose socket is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowStream {
    pub socket: SocketId,
    pub user: Option<String>,
    pub transport: &'static str,
    pub channels: usize,
    /// Bytes that wait for it.
    pub bytes: usize,
    pub replays: bool,
}

/// From where on a channel is wanted that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// The page has all its events up to here.
    Cursor(Cursor),
    /// The same, of several hosts.
    Vector(Vector),
    Rewind(Rewind),
}

impl Since {
    /// A cursor wins: who comes back may still ask for the rewind that it began with.
    pub fn of(cursor: Option<ClientCursor>, rewind: Option<Rewind>) -> Option<Self> {
        let cursor = cursor.map(|cursor| match cursor {
            ClientCursor::Cursor(cursor) => Self::Cursor(cursor),
            ClientCursor::Vector(vector) => Self::Vector(vector),
        });
        cursor.or(rewind.map(Self::Rewind))
    }
}

/// Which channels to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Those whose name begins with this.
    Prefix(String),
    Names(Vec<String>),
}

/// Which streams to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Socket(SocketId),
    User(String),
    All,
}

/// Why a stream was not changed. `Display` is a phrase for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The stream ended, or reconnected and has a newer secret.
    Gone,
    /// The stream would have more channels than this limit, of this setting.
    TooManyChannels(usize, &'static str),
    /// An access was revoked while the request was authorized; it may be retried.
    Revoked,
    /// The number of distinct channels, or of a channel's subscribers, is at its limit.
    Full,
    /// The stream's client has its share of them.
    Share,
    Members(presence::Refused),
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => client_event::Refused::Gone.fmt(f),
            Self::TooManyChannels(most, setting) => {
                write!(f, "at most {most} channels a stream ({setting})")
            }
            Self::Revoked => f.write_str("grants were revoked at this moment; try again"),
            Self::Full => f.write_str(
                "there are as many channels or subscribers as are allowed (max_channels, \
                 server.subscribers_per_channel)",
            ),
            Self::Share => f.write_str(
                "this address has as many channels or subscriptions as it may have \
                 (server.channels_per_address, server.subscribers_per_channel)",
            ),
            Self::Members(why) => why.fmt(f),
        }
    }
}
