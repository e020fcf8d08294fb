//! What the sessions want done, carried out. `ControlFlow::Break`: the stream is closed.

use std::ops::ControlFlow;

use protocol::format::Format;
use protocol::wire_cursor::ClientCursor;
use protocol::ws::frame;
use protocol::{format, plain, pusher};
use shared::cursor::{Cursor, Epoch};

use crate::auth::authorizer::{Access, Claim};
use crate::engine::streams::Engine;
use crate::hub::command::Since;
use crate::process::metrics::Metrics;

impl Engine {
    /// Carries out the actions of a session of Pusher's protocol, until the stream is closed.
    pub(in crate::engine) fn apply_pusher(
        &mut self,
        slot: u32,
        claim: &Option<Box<Claim>>,
        actions: impl IntoIterator<Item = pusher::session::Action>,
    ) -> ControlFlow<()> {
        let mut actions = actions.into_iter();
        actions.try_for_each(|action| self.apply_pusher_action(slot, claim, action))
    }

    fn apply_pusher_action(
        &mut self,
        slot: u32,
        claim: &Option<Box<Claim>>,
        action: pusher::session::Action,
    ) -> ControlFlow<()> {
        use pusher::session::Action;
        match action {
            Action::Send(text) => self.reply(slot, format::text(text)),
            Action::Ping => self.reply(slot, self.own_ping(slot)),
            Action::Subscribe {
                channel,
                user,
                cursor,
                rewind,
            } => {
                let access = Access {
                    user: user.as_ref().map(|user| user.id.as_str().into()),
                    info: user.and_then(|user| user.info).map(Into::into),
                    ..Access::default()
                };
                let cursor = cursor.map(|text| cursor_or_unknown(&text));
                let since = Since::of(cursor, rewind);
                let name = channel.clone();
                if let Err(why) = self.subscribe(slot, vec![(channel, access)], since) {
                    self.deny(slot, &[name], &why);
                }
                self.if_open(slot)
            }
            Action::Authorize {
                channel,
                token,
                cursor,
                rewind,
            } => {
                let cursor = cursor.map(|text| cursor_or_unknown(&text));
                let since = Since::of(cursor, rewind);
                self.authorize(slot, vec![channel], since, token, claim);
                self.if_open(slot)
            }
            Action::Unsubscribe { channel } => {
                self.unsubscribe(slot, &channel);
                ControlFlow::Continue(())
            }
            Action::ClientEvent(event) => match self.client_event(slot, event) {
                Ok(()) => ControlFlow::Continue(()),
                Err(why) => {
                    let message = pusher::encode::error(why.pusher_code(), &why.to_string());
                    self.reply(slot, format::text(message))
                }
            },
            Action::Signin(user) => self.sign_in(slot, user),
            Action::Close { code, reason } => self.send_close(slot, frame::close(code, &reason)),
            Action::Count(what) => {
                count_pusher(&self.hub.process.metrics, what);
                ControlFlow::Continue(())
            }
        }
    }

    /// Carries out the actions of a session of the plain protocol, until the stream is closed.
    pub(super) fn apply_plain(
        &mut self,
        slot: u32,
        claim: &Option<Box<Claim>>,
        actions: impl IntoIterator<Item = plain::Action>,
    ) -> ControlFlow<()> {
        let mut actions = actions.into_iter();
        actions.try_for_each(|action| self.apply_plain_action(slot, claim, action))
    }

    fn apply_plain_action(
        &mut self,
        slot: u32,
        claim: &Option<Box<Claim>>,
        action: plain::Action,
    ) -> ControlFlow<()> {
        use plain::Action;
        match action {
            Action::Send(text) => self.reply(slot, format::text(text)),
            Action::Ping => self.reply(
                slot,
                format::ping(Format::Plain, self.sent_cursor_of(slot).wire()),
            ),
            Action::Subscribe {
                channels,
                since,
                rewind,
                token,
            } => {
                let cursor = since.map(|text| cursor_or_unknown(&text));
                let since = Since::of(cursor, rewind);
                self.authorize(slot, channels, since, token, claim);
                self.if_open(slot)
            }
            Action::Unsubscribe { channels } => {
                for channel in channels {
                    self.unsubscribe(slot, &channel);
                }
                ControlFlow::Continue(())
            }
            Action::ClientEvent(event) => {
                let channel = event.channel.clone();
                match self.client_event(slot, event) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(why) => {
                        let reason = why.to_string();
                        let message = plain::encode::error(why.status(), &reason, Some(&channel));
                        self.reply(slot, format::text(message))
                    }
                }
            }
            Action::Close { code, reason } => self.send_close(slot, frame::close(code, &reason)),
            Action::Count(what) => {
                count_plain(&self.hub.process.metrics, what);
                ControlFlow::Continue(())
            }
        }
    }
}

/// A text that is no cursor is of an unknown ring: a gap of unknown size is reported, as over SSE.
fn cursor_or_unknown(text: &str) -> ClientCursor {
    let unknown = Cursor {
        epoch: Epoch([0; 6]),
        seq: 0,
    };
    ClientCursor::parse(text.as_bytes()).unwrap_or(ClientCursor::Cursor(unknown))
}

fn count_pusher(metrics: &Metrics, what: pusher::session::Refusal) {
    use pusher::session::Refusal;
    let counter = match what {
        Refusal::Malformed | Refusal::Unknown => &metrics.talk_malformed,
        Refusal::Subscription => &metrics.talk_subscription,
        Refusal::MessageRate => &metrics.talk_rate,
        Refusal::Signin | Refusal::Watchlist => &metrics.talk_signin,
        Refusal::NoPong => &metrics.talk_silent,
        Refusal::Unauthorized => &metrics.talk_unauthorized,
    };
    counter.add(1);
}

fn count_plain(metrics: &Metrics, what: plain::Refusal) {
    use plain::Refusal;
    let counter = match what {
        Refusal::Malformed => &metrics.talk_malformed,
        Refusal::Subscription => &metrics.talk_subscription,
        Refusal::MessageRate => &metrics.talk_rate,
        Refusal::NoPong => &metrics.talk_silent,
    };
    counter.add(1);
}
