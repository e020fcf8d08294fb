//! An event on its way to subscribers: read once, encoded once for each form that somebody wants, by
//! whoever wants it first.

use std::sync::OnceLock;

use bytes::Bytes;
use shared::cursor::{Cursor, Epoch};
use shared::event::Event;

use crate::socket_id::SocketId;
use crate::sse;

#[derive(Debug)]
pub struct Live {
    pub cursor: Cursor,
    pub event: Event,
    /// Who is not to get it.
    pub except: Option<SocketId>,
    raw: OnceLock<Bytes>,
    /// One per channel and whether it is a stream's last frame of this event: `2 * channel + last`.
    json: OnceLock<Box<[OnceLock<Bytes>]>>,
}

impl Live {
    pub fn new(epoch: Epoch, seq: u64, event: Event) -> Self {
        let cursor = Cursor { epoch, seq };
        let except = event.except().and_then(|socket| socket.parse().ok());
        Self {
            cursor,
            event,
            except,
            raw: OnceLock::new(),
            json: OnceLock::new(),
        }
    }

    pub fn seq(&self) -> u64 {
        self.cursor.seq
    }

    pub fn raw(&self) -> &Bytes {
        self.raw
            .get_or_init(|| sse::raw(&self.event, self.cursor).into())
    }

    /// `channel`: its index among the event's channels.
    ///
    /// # Panics
    /// If the event has no such channel.
    pub fn json(&self, channel: usize, last: bool) -> &Bytes {
        let forms = self.json.get_or_init(|| {
            let count = 2 * self.event.channels().count();
            std::iter::repeat_with(OnceLock::new).take(count).collect()
        });
        forms[2 * channel + usize::from(last)].get_or_init(|| {
            let name = self
                .event
                .channels()
                .nth(channel)
                .expect("one of the event's channels");
            sse::json(&self.event, name, self.cursor, last).into()
        })
    }
}
