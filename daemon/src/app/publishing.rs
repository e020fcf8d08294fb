//! Publishes the events of the HTTP API to the ring. One instance for each application.

use parking_lot::Mutex;
use protocol::mercure::id::HubId;
use protocol::mercure::publish::Update;
use protocol::pusher::api::Publish;
use shared::cursor::Cursor;
use shared::event::{EventRef, Origin};
use shared::publisher::Publisher;

use crate::process::publish_failures::PublishFailures;

/// An application's publisher, shared by all workers.
pub struct Publishing {
    publisher: Mutex<Publisher>,
    /// Events that could not be published to the application's ring, here or by any process that said so.
    pub failures: PublishFailures,
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
    pub fn new(publisher: Publisher) -> Self {
        Self {
            publisher: Mutex::new(publisher),
            failures: PublishFailures::default(),
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
        self.put(&event).map(drop)
    }

    /// Publishes an event of topics. Returns its id.
    ///
    /// # Errors
    /// As `publish`.
    pub fn publish_update(&self, update: &Update) -> Result<String, PublishError> {
        let topics: Vec<&[u8]> = update.topics.iter().map(|topic| topic.as_bytes()).collect();
        let at = self.put(&EventRef {
            topics: &topics,
            private: update.private,
            event: update.event.as_deref().map(str::as_bytes),
            id: update.id.as_deref().map(str::as_bytes),
            retry: update.retry,
            origin: Origin::Api,
            data: update.data.as_bytes(),
            ..EventRef::default()
        })?;
        Ok(match &update.id {
            Some(id) => id.clone(),
            None => HubId(at.into()).to_string(),
        })
    }

    fn put(&self, event: &EventRef<'_>) -> Result<Cursor, PublishError> {
        let checked = event.check();
        checked.map_err(|(what, why)| PublishError::Invalid(format!("{what} {why}")))?;
        let published = self.publisher.lock().publish(event);
        published.map_err(|why| {
            self.failures.count(why.failure);
            tracing::warn!("the HTTP API cannot publish: {why}");
            PublishError::Unavailable(why.to_string())
        })
    }
}
