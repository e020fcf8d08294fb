//! The state of one worker's streams. What happens to it is in the other files of this folder.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use protocol::rate_limit::Rate;
use shared::cursor::{Cursor, Epoch};
use slab::Slab;

use crate::app::application::{App, Reloadable};
use crate::engine::clock::Clock;
use crate::engine::lingering::Lingering;
use crate::engine::output::Output;
use crate::engine::poller::Poller;
use crate::engine::progress::Progress;
use crate::engine::replay::filter::Filter;
use crate::engine::replays::Replays;
use crate::engine::rules::Rules;
use crate::engine::slow::Slow;
use crate::engine::stream::Stream;
use crate::engine::subscribers::Subscribers;
use crate::engine::subscriptions::Subscriptions;
use crate::engine::websocket::input::Input;
use crate::hub::hub::Hub;
use crate::hub::inbox::Batch;
use crate::hub::sent_cursor::SentCursor;
use crate::process::admission;
use crate::process::jitter::Jitter;
use crate::process::reconnect::Window;

/// So many that the allocator maps a place of their own for them: what nobody has touched of it is no memory, and it grows
/// without being copied.
const STREAMS: usize = 4096;

pub struct Engine {
    pub(super) worker: usize,
    pub(super) app: Arc<App>,
    /// The application's.
    pub(super) hub: Arc<Hub>,
    pub(super) rules: Rules,
    /// The application's, as of the last reload.
    pub(super) settings: Arc<Reloadable>,
    pub(super) progress: Progress,
    pub(super) streams: Slab<Stream>,
    /// As many as there ever were at a time: no stream is in a slot past them.
    pub(super) slots: u32,
    pub(super) subscriptions: Subscriptions,
    pub(super) subscribers: Subscribers,
    pub(super) replays: Replays,
    pub(super) slow: Slow,
    /// The daemon stops: when clients are to reconnect.
    pub(super) leaving: Option<Window>,
    /// Streams whose token expires.
    pub(super) expiring: usize,
    /// Of the streams that have sent a client event.
    pub(super) client_event_rates: HashMap<u32, Rate>,
    pub(super) clock: Clock,
    pub(super) jitter: Jitter,
    pub(super) poller: Poller,
    pub(super) batch: Batch,
    pub(super) input: Input,
    pub(super) output: Output,
    /// Where connections go at their end.
    pub(super) lingering: Rc<RefCell<Lingering<admission::Place>>>,
}

impl Engine {
    /// # Errors
    /// If there is no epoll to be had, or io_uring is required and not available.
    pub fn new(worker: usize, app: Arc<App>, rules: Rules, epoch: Epoch) -> io::Result<Self> {
        let hub = app.hub.clone();
        let lingering = Lingering::new(hub.process.metrics.clone())?;
        Ok(Self {
            worker,
            settings: app.reloadable.get(),
            app,
            rules,
            progress: Progress::new(epoch, hub.watermarks.completed()),
            streams: Slab::with_capacity(STREAMS),
            slots: 0,
            subscriptions: Subscriptions::default(),
            subscribers: Subscribers::default(),
            replays: Replays::default(),
            slow: Slow::default(),
            leaving: None,
            expiring: 0,
            client_event_rates: HashMap::new(),
            clock: Clock::new(),
            jitter: Jitter::new(),
            poller: Poller::new()?,
            batch: Batch::default(),
            input: Input::default(),
            output: Output::new(rules.io)?,
            lingering: Rc::new(RefCell::new(lingering)),
            hub,
        })
    }

    /// With the lingering connections of the whole thread in place of its own.
    pub fn lingering_in(self, lingering: Rc<RefCell<Lingering<admission::Place>>>) -> Self {
        Self { lingering, ..self }
    }

    /// Takes over what has changed in the settings. Streams stay as they are; what they do next is under the new rules.
    pub fn reload(&mut self, rules: Rules) {
        self.rules = rules;
        self.settings = self.app.reloadable.get();
    }

    /// The event queue itself, to be waited on: readable when `on_ready` has something to do.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn queue(&self) -> io::Result<OwnedFd> {
        self.poller.queue()
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether chunks of replay are due, or input of WebSockets. While memory is tight replays may have to wait; they go
    /// on at the next tick when they may.
    pub fn has_more(&self) -> bool {
        self.has_turns() || !self.input.queue.is_empty()
    }

    /// The position up to which a stream has everything.
    pub(super) fn cursor_of(&self, slot: u32) -> Cursor {
        let stream = &self.streams[slot as usize];
        let next = match &stream.replay {
            Some(replay) => replay.settled(),
            None => self.progress.safe.max(stream.from),
        };
        self.progress.cursor(next - 1)
    }

    /// The same, as it is sent.
    pub(super) fn sent_cursor_of(&self, slot: u32) -> SentCursor {
        self.sent_cursor(slot, self.cursor_of(slot))
    }

    /// A stream's cursor, as it is sent: with what it has of another host already.
    pub(super) fn sent_cursor(&self, slot: u32, cursor: Cursor) -> SentCursor {
        let held = self.replays.filters.get(&slot).map(Filter::of_all);
        SentCursor::with(cursor, self.hub.origins.as_deref(), held)
    }

    /// The same, as it is sent on one of its channels.
    pub(super) fn sent_cursor_on(&self, slot: u32, channel: u32, cursor: Cursor) -> SentCursor {
        let format = self.streams[slot as usize].format;
        let held = self.replays.filters.get(&slot);
        let held = held.map(|filter| filter.beside(format, Some(channel)));
        SentCursor::with(cursor, self.hub.origins.as_deref(), held)
    }

    /// The stream's number of this channel, if it is subscribed, and where among its subscriptions that is.
    pub(super) fn find_channel(&self, slot: u32, name: &str) -> Option<(usize, u32)> {
        let all = self.streams[slot as usize].subscriptions.iter();
        let mut all = all.map(|subscription| subscription.channel).enumerate();
        all.find(|(_, channel)| &**self.subscriptions.name(*channel) == name)
    }
}
