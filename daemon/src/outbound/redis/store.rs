//! What nodes share, as few verbs: a log that all read, hashes, one mark, and messages. Redis and Valkey have it all.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::outbound::redis::trouble::Trouble;

/// A piece's place in the log: later ones have larger ones, as long as it is the same log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId {
    pub ms: u64,
    pub seq: u64,
}

impl LogId {
    /// Before the first piece.
    pub const START: Self = Self { ms: 0, seq: 0 };

    /// So much earlier, by the clock of the server that gave it.
    pub fn back(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self {
            ms: self.ms.saturating_sub(by),
            seq: 0,
        }
    }

    pub fn parse(text: &[u8]) -> Option<Self> {
        let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self {
            ms: ms.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What an application's keys begin with: `askr:{NAME}`. The braces keep them together in a server that has slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(String);

impl Keys {
    pub fn of(name: &str) -> Self {
        Self(format!("askr:{{{name}}}"))
    }

    /// `askr:{NAME}:what`
    pub fn key(&self, what: &str) -> String {
        format!("{}:{what}", self.0)
    }
}

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub version: String,
    /// Names the log's history: another one after a failover, or after a restart without a saved state.
    pub replication: String,
    /// What is better changed there, as a sentence.
    pub warning: Option<String>,
}

/// What was read of the log: of each piece its place, and the entries that were appended together. None: it is none of ours.
pub type Read = Vec<(LogId, Option<Vec<Bytes>>)>;

/// The store of one application. After an error it is given up, and a new connection made.
#[expect(async_fn_in_trait, reason = "one thread uses it")]
pub trait Store {
    fn server(&self) -> &Server;

    /// Appends a piece to the log: these entries, in this order. After an error all of them may be there, or none.
    async fn append(&self, entries: &[Bytes]) -> Result<(), Trouble>;

    /// The next pieces after a place, at most `most`; waits for the first up to `wait`.
    async fn read(&self, after: LogId, most: usize, wait: Duration) -> Result<Read, Trouble>;

    /// About how many entries the log has.
    async fn length(&self) -> Result<u64, Trouble>;

    /// Sets the mark if there is none; returns the one that there is.
    async fn mark(&self, proposed: &str) -> Result<Bytes, Trouble>;

    /// Takes a key for a time, if nobody has it, or keeps it, if it is held for the same; returns for whom it is held.
    async fn lease(&self, key: &str, holder: &[u8], time: Duration) -> Result<Bytes, Trouble>;

    async fn put(&self, hash: &str, field: &[u8], value: &[u8]) -> Result<(), Trouble>;

    async fn take(&self, hash: &str, field: &[u8]) -> Result<(), Trouble>;

    async fn all(&self, hash: &str) -> Result<Vec<(Bytes, Bytes)>, Trouble>;

    async fn delete(&self, key: &str) -> Result<(), Trouble>;

    /// Sends to who listens to this name now.
    async fn publish(&self, to: &str, text: &str) -> Result<(), Trouble>;

    /// The next message to one of the names that were listened to from the start.
    async fn hear(&self) -> Result<Bytes, Trouble>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_and_round_trip() {
        let id = LogId { ms: 17, seq: 3 };
        assert_eq!(id.to_string(), "17-3");
        assert_eq!(LogId::parse(b"17-3"), Some(id));
        for bad in [
            "",
            "17",
            "-",
            "17-",
            "x-1",
            "17-3-1",
            "99999999999999999999-0",
        ] {
            assert_eq!(LogId::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(LogId { ms: 18, seq: 0 } > id && id > LogId::START);
        assert_eq!(id.back(Duration::from_secs(1)), LogId::START);
    }

    #[test]
    fn keys_of_an_application_lie_in_one_slot() {
        assert_eq!(Keys::of("shop").key("log"), "askr:{shop}:log");
    }
}
