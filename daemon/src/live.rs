//! An event on its way to subscribers: read once, encoded once for each form that somebody wants, by
//! whoever wants it first.

use std::sync::OnceLock;

use bytes::Bytes;
use shared::cursor::{Cursor, Epoch};
use shared::event::Event;

use crate::socket_id::SocketId;
use crate::sse;
use crate::stream::{FORMATS, Format};
use crate::wire;

#[derive(Debug)]
pub struct Live {
    pub cursor: Cursor,
    pub event: Event,
    /// Who is not to get it.
    pub except: Option<SocketId>,
    raw: OnceLock<Bytes>,
    /// The forms that are made for one channel: see `form`.
    forms: OnceLock<Box<[OnceLock<Bytes>]>>,
}

/// Forms of one channel: for each format, whether it is a stream's last frame of this event.
const PER_CHANNEL: usize = 2 * FORMATS;

impl Live {
    pub fn new(epoch: Epoch, seq: u64, event: Event) -> Self {
        let cursor = Cursor { epoch, seq };
        let except = event.except().and_then(|socket| socket.parse().ok());
        Self {
            cursor,
            event,
            except,
            raw: OnceLock::new(),
            forms: OnceLock::new(),
        }
    }

    pub fn seq(&self) -> u64 {
        self.cursor.seq
    }

    pub fn raw(&self) -> &Bytes {
        self.raw
            .get_or_init(|| sse::raw(&self.event, self.cursor).into())
    }

    /// `channel`: its index among the event's channels. `last`: whether it is the stream's last frame of
    /// this event.
    ///
    /// # Panics
    /// If the event has no such channel.
    pub fn form(&self, format: Format, channel: usize, last: bool) -> &Bytes {
        let forms = self.forms.get_or_init(|| {
            let count = PER_CHANNEL * self.event.channels().count();
            std::iter::repeat_with(OnceLock::new).take(count).collect()
        });
        let at = PER_CHANNEL * channel + 2 * (format as usize) + usize::from(last);
        forms[at].get_or_init(|| {
            let name = self.event.channels().nth(channel);
            let name = name.expect("one of the event's channels");
            wire::event(format, self, name, last).into()
        })
    }
}
