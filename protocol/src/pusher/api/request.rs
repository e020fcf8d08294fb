//! The calls of the HTTP API, and the bounds of one request.

use crate::history::Window;

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of an event's data. Default: 10,240, as Pusher allows.
    pub payload: usize,
    /// Channels of an event. Default: 100, as Pusher and the ring allow.
    pub channels: usize,
    /// Events in a batch; 0: as many as the body has room for. Default: 10, as Pusher allows.
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

/// Which application a request addresses, before it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `GET /up`
    Up,
    /// The application with this id, percent-decoded.
    App(String),
}

/// What an authenticated request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `POST events`
    Publish(Publish),
    /// `POST batch_events`
    Batch(Vec<Publish>),
    /// `GET channels`. `prefix`: only channels whose name begins with it.
    Channels { prefix: Option<String>, info: Info },
    /// `GET channels/{name}`
    Channel { channel: String, info: Info },
    /// `GET channels/{name}/users`, for presence channels only.
    Users { channel: String },
    /// `GET channels/{name}/events`
    Events { channel: String, window: Window },
    /// `POST users/{user}/terminate_connections`
    Terminate { user: String },
    /// `GET connections`
    Connections,
}

/// An event, checked by the ring's rules and Pusher's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub name: String,
    pub data: String,
    /// Distinct, at least one; exactly one in a batch.
    pub channels: Vec<String>,
    /// The socket id of the connection that must not receive it.
    pub except: Option<String>,
    /// Of the events with one key the first counts.
    pub key: Option<String>,
    /// The attributes of each channel that the response includes.
    pub info: Info,
}

/// The attributes of a channel that the response includes, where they apply to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Info {
    /// Of presence channels.
    pub user_count: bool,
    pub subscription_count: bool,
    /// The last event of a cache channel.
    pub cache: bool,
    /// Where the response does not say it anyway (Reverb).
    pub occupied: bool,
}

impl Info {
    /// Whether no attribute is requested.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// What can be requested of several channels: last events, of up to as many bytes as an event may have, are
    /// for one channel (Pusher's rule).
    pub fn of_many(self) -> Self {
        Self {
            cache: false,
            ..self
        }
    }
}

/// Parses attribute names separated by commas. Unknown ones are left out, as by Reverb.
pub fn info(text: Option<&str>) -> Info {
    let mut info = Info::default();
    let names = text.into_iter().flat_map(|text| text.split(','));
    for name in names.map(str::trim) {
        match name {
            "user_count" => info.user_count = true,
            "subscription_count" => info.subscription_count = true,
            "cache" => info.cache = true,
            "occupied" => info.occupied = true,
            _ => {}
        }
    }
    info
}
