//! What is told beside the ring: members that come and go, and what subscribers send to one another.
//! Ephemeral: no cursor, no replay. Encoded once for each form that somebody wants.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::socket_id::SocketId;
use crate::stream::{FORMATS, Format};
use crate::wire;

#[derive(Debug)]
pub struct Notice {
    pub channel: Arc<str>,
    pub what: What,
    forms: [OnceLock<Bytes>; FORMATS],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
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

impl Notice {
    pub fn new(channel: Arc<str>, what: What) -> Self {
        Self {
            channel,
            what,
            forms: Default::default(),
        }
    }

    pub fn form(&self, format: Format) -> &Bytes {
        self.forms[format as usize].get_or_init(|| wire::notice(format, self).into())
    }
}
