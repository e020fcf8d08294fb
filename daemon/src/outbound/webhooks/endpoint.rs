//! The configuration of one receiver of webhooks, its bounds and times, and its counters.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::event::NAMES;
use crate::outbound::http_client::Target;

/// The configuration of one receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// `http://host:port/path` or `unix:/socket:/path`.
    pub url: String,
    /// Names of the events to send ([`NAMES`]). Empty: all. Default: empty.
    pub events: Vec<String>,
    /// Only events of channels whose name begins with this. Default: empty, all channels.
    pub channel_prefix: String,
    /// How long the receiver may take to answer a request. Default: 5 s.
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
    /// Checks the configuration.
    ///
    /// # Errors
    /// The name of the first invalid field, and why it is invalid.
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

/// Bounds and times of each endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events waiting. Default: 10,000.
    pub events: usize,
    /// Bytes of the events waiting. Default: 16 MiB.
    pub bytes: usize,
    /// Events of one request. Default: 100.
    pub batch: usize,
    /// Bytes of the events of one request; one event always fits. Default: 1 MiB.
    pub batch_bytes: usize,
    /// How long an event may wait for others. Default: 50 ms.
    pub gather: Duration,
    /// How long `channel_vacated`, `member_removed` and `subscription_count` are held back. Default: 3 s.
    pub hold: Duration,
    /// The pause before the second attempt; it doubles each time, and varies by a quarter. Default: 1 s.
    pub pause: Duration,
    /// The longest pause between attempts. Default: 30 s.
    pub longest_pause: Duration,
    /// How long a batch is retried. Default: 300 s.
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

/// Counters since the start: of events, unless stated otherwise. An event counts once for each endpoint.
#[derive(Debug, Default)]
pub struct Counts {
    /// Accepted by the endpoint.
    pub delivered: AtomicU64,
    /// For want of room: of all, of the client whose doing they were.
    pub dropped: AtomicU64,
    pub share: AtomicU64,
    /// Not taken by the endpoint for five minutes, or not before the daemon's end.
    pub given_up: AtomicU64,
    /// Not sent because the opposite happened, or replaced by a newer count.
    pub cancelled: AtomicU64,
    /// Requests made.
    pub requests: AtomicU64,
    /// Requests that were not answered with success.
    pub failed: AtomicU64,
}
