//! Publishes the events of the HTTP API to the ring. One instance for each application.

use parking_lot::Mutex;
use protocol::pusher::api::{Limits, Publish};
use shared::event::{EventRef, Origin};
use shared::publisher::Publisher;

/// An application's publisher, shared by all workers.
pub struct Publishing {
    publisher: Mutex<Publisher>,
    pub limits: Limits,
}

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The event breaks the ring's rules.
    #[error("{0}")]
    Invalid(String),
    /// The ring is not available, or full of unfinished claims of its publishers.
    #[error("the event cannot be published now: {0}")]
    Unavailable(String),
}

impl Publishing {
    pub fn new(publisher: Publisher, limits: Limits) -> Self {
        Self {
            publisher: Mutex::new(publisher),
            limits,
        }
    }

    /// # Errors
    /// If the event breaks the ring's rules, or the ring cannot accept it now.
    pub fn publish(&self, event: &Publish) -> Result<(), PublishError> {
        let channels: Vec<&[u8]> = event.channels.iter().map(|c| c.as_bytes()).collect();
        let event = EventRef {
            channels: &channels,
            event: Some(event.name.as_bytes()),
            except: event.except.as_deref().map(str::as_bytes),
            key: event.key.as_deref().map(str::as_bytes),
            origin: Origin::Api,
            data: event.data.as_bytes(),
            ..EventRef::default()
        };
        let checked = event.check();
        checked.map_err(|(what, why)| PublishError::Invalid(format!("{what} {why}")))?;
        let mut publisher = self.publisher.lock();
        let published = publisher.publish(&event);
        published.map(drop).map_err(|why| {
            tracing::warn!("the HTTP API cannot publish: {why}");
            PublishError::Unavailable(why.to_string())
        })
    }
}
