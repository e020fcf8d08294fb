//! Helpers for tests, also of other crates (feature `testing`): events, and a receiver of Server-Sent Events.

pub mod sse;

use shared::cursor::{Cursor, Epoch};
use shared::event::{Event, EventRef};

/// The epoch of [`cursor`].
pub const EPOCH: Epoch = Epoch([10, 11, 12, 13, 14, 15]);

/// A cursor of [`EPOCH`].
pub fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: EPOCH, seq }
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
    let source = EventRef {
        channels: &channels,
        event: name.map(str::as_bytes),
        id: id.map(str::as_bytes),
        retry,
        data: data.as_bytes(),
        ..EventRef::default()
    };
    source.check().ok()?;
    let mut body = Vec::new();
    source.encode_head(&mut body);
    let head_len = body.len() as u16;
    body.extend_from_slice(source.data);
    Some(Event::decode(body.into(), head_len, source.flags(), 0).expect("checked"))
}
