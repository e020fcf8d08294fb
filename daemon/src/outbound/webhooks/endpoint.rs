//! One receiver of webhooks as it is set up, its bounds and times, and what is counted of it.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::event::NAMES;
use crate::outbound::http_client::Target;

/// One receiver, as it is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// `http://host:port/path` or `unix:/socket:/path`.
    pub url: String,
    /// Names of the events it wants ([`NAMES`]). Empty: all.
    pub events: Vec<String>,
    /// Only of channels whose name begins so.
    pub channel_prefix: String,
    /// Until it must have answered.
    pub timeout: Duration,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: String::new(),
            events: Vec::new(),
            channel_prefix: String::new(),
            timeout: Duration::from_secs(5),
        }
    }
}

impl Endpoint {
    /// # Errors
    /// The first field that cannot be used, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        self.url.parse::<Target>().map_err(|why| ("url", why))?;
        match self
            .events
            .iter()
            .find(|name| !NAMES.contains(&name.as_str()))
        {
            Some(name) => Err((
                "events",
                format!("\"{name}\" must be one of {}", NAMES.join(", ")),
            )),
            None => Ok(()),
        }
    }
}

/// Bounds and times, of each endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events waiting, and their bytes.
    pub events: usize,
    pub bytes: usize,
    /// Events of one request, and their bytes; one event always fits.
    pub batch: usize,
    pub batch_bytes: usize,
    /// How long an event may wait for others.
    pub gather: Duration,
    /// How long `channel_vacated`, `member_removed` and `subscription_count` are held back.
    pub hold: Duration,
    /// Pauses between attempts: the first, doubled each time, and the longest; a quarter more or less.
    pub pause: Duration,
    pub longest_pause: Duration,
    /// How long a batch is tried.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 10_000,
            bytes: 16 << 20,
            batch: 100,
            batch_bytes: 1 << 20,
            gather: Duration::from_millis(50),
            hold: Duration::from_secs(3),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            patience: Duration::from_secs(300),
        }
    }
}

/// What happened since the start, to events unless it says otherwise. An event is counted for each
/// endpoint.
#[derive(Debug, Default)]
pub struct Counts {
    pub delivered: AtomicU64,
    /// For want of room: of all, of the client whose doing they were.
    pub dropped: AtomicU64,
    pub share: AtomicU64,
    /// Not taken by the endpoint for five minutes, or not before the daemon's end.
    pub given_up: AtomicU64,
    /// Not told, because the opposite happened or a newer count came.
    pub cancelled: AtomicU64,
    /// Requests made, and those that were not answered with success.
    pub requests: AtomicU64,
    pub failed: AtomicU64,
}
