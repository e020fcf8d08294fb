//! What can be asked of the HTTP API, and the bounds of one request.

use super::refusal::{Refusal, bad};

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of an event's data. Pusher allows 10 KB.
    pub payload: usize,
    /// Channels of an event. Pusher allows 100, and so does the ring.
    pub channels: usize,
    /// Events in a batch. Pusher allows 10.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload: 10 << 10,
            channels: 100,
            batch: 10,
        }
    }
}

/// Where a request goes, before anything of it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `GET /up`
    Up,
    /// To the application with this id.
    App(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Publish(Publish),
    Batch(Vec<Publish>),
    Channels {
        prefix: Option<String>,
        info: Info,
    },
    Channel {
        channel: String,
        info: Info,
    },
    /// Of a presence channel.
    Users {
        channel: String,
    },
    Terminate {
        user: String,
    },
    Connections,
}

/// An event, checked by the ring's rules and Pusher's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub name: String,
    pub data: String,
    /// Distinct, at least one; exactly one in a batch.
    pub channels: Vec<String>,
    /// Who is not to get it.
    pub except: Option<String>,
    /// What the answer is to tell of each channel.
    pub info: Info,
}

/// What is to be told of a channel beside that it is occupied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Info {
    /// Of presence channels only.
    pub user_count: bool,
    pub subscription_count: bool,
    /// The last event of a cache channel.
    pub cache: bool,
}

impl Info {
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Names separated by commas.
pub fn info(text: Option<&str>) -> Result<Info, Refusal> {
    let mut info = Info::default();
    let names = text.into_iter().flat_map(|text| text.split(','));
    for name in names.map(str::trim).filter(|name| !name.is_empty()) {
        *match name {
            "user_count" => &mut info.user_count,
            "subscription_count" => &mut info.subscription_count,
            "cache" => &mut info.cache,
            _ => {
                let reason = "info may have user_count, subscription_count and cache";
                return Err(bad(reason));
            }
        } = true;
    }
    Ok(info)
}
