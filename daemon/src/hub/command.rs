//! What others want of an engine: to change a stream, to end streams, to count. Answered through the
//! worker's inbox, so that only its own thread ever touches a stream.

use protocol::socket_id::SocketId;
use shared::cursor::Cursor;
use tokio::sync::oneshot;

use crate::auth::authorizer::Access;
use crate::hub::presence;

#[derive(Debug)]
pub enum Command {
    Subscribe {
        slot: u32,
        socket: SocketId,
        /// Distinct, each with what its authorizer granted.
        channels: Vec<(String, Access)>,
        /// `Authority::revocations` as it was before they were granted.
        revocations: u64,
        /// What the page has of them: later events are replayed. None: from now on.
        since: Option<Cursor>,
        /// None: the stream itself is told what comes of it.
        answer: Option<oneshot::Sender<Result<Vec<String>, Denied>>>,
    },
    /// The stream asked for something that needed time, and this is the answer.
    Tell {
        slot: u32,
        socket: SocketId,
        bytes: Vec<u8>,
    },
    Unsubscribe {
        slot: u32,
        socket: SocketId,
        channels: Vec<String>,
        answer: oneshot::Sender<Result<Vec<String>, Denied>>,
    },
    /// Answered with how many ended.
    End {
        target: Target,
        answer: oneshot::Sender<usize>,
    },
    /// Subscribers of each of these channels that has any.
    Count {
        which: Which,
        answer: oneshot::Sender<Vec<(String, usize)>>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Prefix(String),
    Names(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Socket(SocketId),
    User(String),
    All,
}

/// Why a stream is not changed. `Display` is a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It ended, or came back and has a newer secret.
    Gone,
    TooManyChannels(usize),
    /// Something was revoked while it was decided: worth another try.
    Revoked,
    /// Different channels, or a channel's subscribers, are at the limit.
    Full,
    /// The stream's client has its share of them.
    Share,
    Members(presence::Refused),
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => {
                f.write_str("there is no such stream now; use what askr:connected told last")
            }
            Self::TooManyChannels(most) => write!(f, "at most {most} channels a stream"),
            Self::Revoked => f.write_str("grants were revoked at this moment; try again"),
            Self::Full => f.write_str("there are as many channels or subscribers as are allowed"),
            Self::Share => {
                f.write_str("this address has as many channels or subscriptions as it may have")
            }
            Self::Members(why) => why.fmt(f),
        }
    }
}
