//! Helpers for tests, also of other crates (feature `testing`): events, and a receiver of Server-Sent Events.

pub mod sse;

use shared::cursor::{Cursor, Epoch};
use shared::event::{Event, EventRef};

use crate::wire_cursor::WireCursor;

/// The epoch of [`cursor`].
pub const EPOCH: Epoch = Epoch([10, 11, 12, 13, 14, 15]);

/// A cursor of [`EPOCH`].
pub fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: EPOCH, seq }
}

/// The same, to be sent.
pub fn wire_cursor(seq: u64) -> WireCursor<'static> {
    cursor(seq).into()
}

/// An event as it is read from the ring. None if it breaks the ring's rules.
pub fn event(
    channels: &[&str],
    name: Option<&str>,
    id: Option<&str>,
    retry: Option<u32>,
    data: &str,
) -> Option<Event> {
    let channels: Vec<&[u8]> = channels.iter().map(|c| c.as_bytes()).collect();
    read(EventRef {
        channels: &channels,
        event: name.map(str::as_bytes),
        id: id.map(str::as_bytes),
        retry,
        data: data.as_bytes(),
        ..EventRef::default()
    })
}

/// The same of an event of topics.
pub fn topics_event(
    topics: &[&str],
    name: Option<&str>,
    id: Option<&str>,
    retry: Option<u32>,
    data: &str,
) -> Option<Event> {
    let topics: Vec<&[u8]> = topics.iter().map(|topic| topic.as_bytes()).collect();
    read(EventRef {
        topics: &topics,
        event: name.map(str::as_bytes),
        id: id.map(str::as_bytes),
        retry,
        data: data.as_bytes(),
        ..EventRef::default()
    })
}

/// The same that only those get who were granted one of the topics.
pub fn private_event(topics: &[&str], data: &str) -> Option<Event> {
    let topics: Vec<&[u8]> = topics.iter().map(|topic| topic.as_bytes()).collect();
    read(EventRef {
        topics: &topics,
        private: true,
        data: data.as_bytes(),
        ..EventRef::default()
    })
}

fn read(source: EventRef<'_>) -> Option<Event> {
    source.check().ok()?;
    Some(source.to_event(0).expect("checked"))
}
