//! What is told beside the ring: members that come and go, and what subscribers send to one another.
//! Ephemeral: no cursor, no replay. Encoded once for each form that somebody wants.

use std::sync::{Arc, OnceLock};

use crate::engine::stream::{FORMATS, Format};
use crate::process::budget::{Budget, Held};
use crate::protocol::format;
use crate::protocol::socket_id::SocketId;

#[derive(Debug)]
pub struct Notice {
    pub channel: Arc<str>,
    pub what: What,
    forms: [OnceLock<Held>; FORMATS],
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

    pub fn form(&self, format: Format, budget: &Arc<Budget>) -> Held {
        let make = || budget.hold(format::notice(format, self));
        let place = &self.forms[format as usize];
        match place.get() {
            None if !budget.is_roomy() => make(),
            _ => place.get_or_init(make).clone(),
        }
    }

    /// Bytes it holds itself, without its forms.
    pub fn size(&self) -> usize {
        let told = match &self.what {
            What::Joined { user, info, .. } => user.len() + info.as_ref().map_or(0, |i| i.len()),
            What::Left { user, .. } => user.len(),
            What::Count(_) => 0,
            What::Client {
                event, data, user, ..
            } => event.len() + data.len() + user.as_ref().map_or(0, String::len),
        };
        size_of::<Self>() + self.channel.len() + told
    }
}
