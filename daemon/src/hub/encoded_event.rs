//! An event on its way to subscribers: read once, and encoded once in each form that is needed, by the worker that
//! needs it first.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use protocol::format::{FORMATS, Format};
use protocol::socket_id::SocketId;
use protocol::wire_cursor::WireCursor;
use protocol::{format, mercure, sse};
use shared::cursor::{Cursor, Epoch};
use shared::event::Event;

use crate::hub::sent_cursor::SentCursor;
use crate::process::budget::{Budget, Charge, Held};

#[derive(Debug)]
pub struct EncodedEvent {
    pub cursor: Cursor,
    /// The cursor as it is sent, made once.
    sent: SentCursor,
    pub event: Event,
    /// Of an event of topics that is live: what it is found by.
    names: Box<[Arc<str>]>,
    /// The connection that must not get it.
    pub except: Option<SocketId>,
    /// Those of its channels of which somebody asks what happens.
    pub traced: Box<[Arc<str>]>,
    body: Charge,
    /// Bytes of the forms that are kept.
    kept: AtomicUsize,
    raw: OnceLock<Held>,
    /// For subscribers of topics.
    update: OnceLock<Held>,
    /// The forms that are made for one channel: see `form`.
    forms: OnceLock<Forms>,
}

#[derive(Debug)]
struct Forms {
    places: Box<[OnceLock<Held>]>,
    _charge: Charge,
}

/// Bytes of a name beside its text.
const NAME: usize = 32;

/// Forms of one channel: for each format, whether it is a stream's last frame of this event.
const PER_CHANNEL: usize = 2 * FORMATS;

impl EncodedEvent {
    pub fn new(epoch: Epoch, seq: u64, event: Event, budget: &Arc<Budget>) -> Self {
        let cursor = Cursor { epoch, seq };
        let except = event.except().and_then(|socket| socket.parse().ok());
        Self {
            cursor,
            sent: SentCursor::Cursor(cursor),
            except,
            traced: Box::default(),
            body: budget.charge(event.size() + size_of::<Self>()),
            event,
            names: Box::default(),
            kept: AtomicUsize::new(0),
            raw: OnceLock::new(),
            update: OnceLock::new(),
            forms: OnceLock::new(),
        }
    }

    /// The budget that it counts in.
    pub fn budget(&self) -> &Arc<Budget> {
        self.body.budget()
    }

    /// With this cursor on the wire.
    pub fn sent_as(mut self, sent: SentCursor) -> Self {
        self.sent = sent;
        self.body.set(self.own_size());
        self
    }

    /// With the names by which an event of topics is found.
    pub fn found_by(mut self, names: Box<[Arc<str>]>) -> Self {
        self.names = names;
        self.body.set(self.own_size());
        self
    }

    /// What it is found by: its channels, or the matchers that are known to match its topics.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.event
            .channels()
            .chain(self.names.iter().map(|name| &**name))
    }

    /// The cursor as it is sent.
    pub fn wire_cursor(&self) -> WireCursor<'_> {
        self.sent.wire()
    }

    pub fn seq(&self) -> u64 {
        self.cursor.seq
    }

    /// Bytes it holds now: the event, and the forms made so far.
    pub fn size(&self) -> usize {
        self.own_size() + self.kept.load(Relaxed)
    }

    fn own_size(&self) -> usize {
        let names = self.names.iter().map(|name| name.len() + NAME);
        self.event.size() + size_of::<Self>() + self.sent.size() + names.sum::<usize>()
    }

    pub fn raw(&self) -> Held {
        self.kept_at(Some(&self.raw), || {
            sse::raw(&self.event, self.wire_cursor())
        })
    }

    /// An event of topics, as all their subscribers get it.
    pub fn update(&self) -> Held {
        self.kept_at(Some(&self.update), || {
            mercure::stream::update(&self.event, self.wire_cursor())
        })
    }

    /// `channel`: its index among the event's channels. `last`: whether it is the stream's last frame of
    /// this event.
    ///
    /// # Panics
    /// If the event has no such channel.
    pub fn form(&self, format: Format, channel: usize, last: bool) -> Held {
        let at = PER_CHANNEL * channel + 2 * (format as usize) + usize::from(last);
        self.kept_at(self.places().map(|places| &places[at]), || {
            let name = self.event.channels().nth(channel);
            let name = name.expect("one of the event's channels");
            format::event(format, &self.event, self.wire_cursor(), name, last)
        })
    }

    /// None: there is no memory to keep forms in.
    fn places(&self) -> Option<&[OnceLock<Held>]> {
        if self.forms.get().is_none() && !self.body.budget().is_roomy() {
            return None;
        }
        let forms = self.forms.get_or_init(|| {
            let count = PER_CHANNEL * self.event.channels().count();
            let places: Box<[_]> = std::iter::repeat_with(OnceLock::new).take(count).collect();
            let size = size_of_val(&*places);
            self.kept.fetch_add(size, Relaxed);
            Forms {
                places,
                _charge: self.body.budget().charge(size),
            }
        });
        Some(&forms.places)
    }

    /// The form at `place`, encoded if there is none yet. Where memory is short it is encoded and not kept.
    fn kept_at(&self, place: Option<&OnceLock<Held>>, make: impl Fn() -> Vec<u8>) -> Held {
        let budget = self.body.budget();
        if let Some(held) = place.and_then(OnceLock::get) {
            return held.clone();
        }
        let Some(place) = place.filter(|_| budget.is_roomy()) else {
            return budget.hold(make());
        };
        let keep = || {
            let held = budget.hold(make());
            self.kept.fetch_add(held.len() + Held::OVERHEAD, Relaxed);
            held
        };
        place.get_or_init(keep).clone()
    }
}

#[cfg(test)]
mod tests {
    use protocol::testing::{EPOCH, event};

    use super::*;

    fn live(channels: usize, budget: &Arc<Budget>) -> EncodedEvent {
        let names: Vec<String> = (0..channels).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let event = event(&names, None, None, None, &"\x01".repeat(1000)).unwrap();
        EncodedEvent::new(EPOCH, 7, event, budget)
    }

    #[test]
    fn each_form_counts_as_it_is_made_and_once() {
        let budget = Arc::new(Budget::new(1 << 30));
        let live = live(20, &budget);
        let (body, size) = (budget.used(), live.size());
        assert!(body > 1000 && body == size as u64);
        let raw = live.raw();
        assert_eq!(raw.as_ptr(), live.raw().as_ptr(), "the same bytes");
        let mut forms = Vec::new();
        for channel in 0..20 {
            forms.push(live.form(Format::Json, channel, false));
        }
        assert!(
            budget.used() > 20 * 6000,
            "sixfold by escapes, for each channel"
        );
        assert_eq!(budget.used(), live.size() as u64);
        let before = budget.used();
        assert_eq!(
            live.form(Format::Json, 3, false).as_ptr(),
            forms[3].as_ptr()
        );
        assert_eq!(budget.used(), before);
        drop(live);
        let held = forms
            .iter()
            .chain([&raw])
            .map(|form| form.len() + Held::OVERHEAD);
        assert_eq!(budget.used(), held.sum::<usize>() as u64, "those in use");
        drop((forms, raw));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn where_memory_is_short_it_is_encoded_and_not_kept() {
        let budget = Arc::new(Budget::new(10_000));
        let live = live(20, &budget);
        let other = budget.charge(6000);
        let size = live.size();
        let form = live.form(Format::Plain, 19, true);
        assert!(form.len() > 6000 && live.raw().len() > 1000);
        assert_eq!(live.size(), size);
        drop((form, other));
        assert_eq!(budget.used(), size as u64);
    }
}
