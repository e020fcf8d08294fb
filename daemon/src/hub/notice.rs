//! What the hub itself says on topics: it is in no ring, has no place, and cannot be replayed.

use std::sync::Arc;

use shared::event::{DecodeError, Event, EventRef};

use crate::process::budget::{Budget, Held};

#[derive(Debug)]
pub struct Notice {
    /// Its topics, and whether it is private.
    pub event: Event,
    /// As it is sent, without an id.
    pub frame: Held,
    names: Box<[Arc<str>]>,
}

impl Notice {
    /// A private notice on one topic, by the names under which it is found.
    ///
    /// # Errors
    /// If that is no topic.
    pub fn private(
        topic: &str,
        names: Box<[Arc<str>]>,
        frame: Vec<u8>,
        memory: &Arc<Budget>,
    ) -> Result<Self, DecodeError> {
        let event = EventRef {
            topics: &[topic.as_bytes()],
            private: true,
            ..EventRef::default()
        };
        Ok(Self {
            event: event.to_event(0)?,
            frame: memory.hold(frame),
            names,
        })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        self.event.size() + self.frame.len()
    }
}
