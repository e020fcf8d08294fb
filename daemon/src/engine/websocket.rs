//! WebSockets: what a client sends is read, decoded, and given to the session of its protocol; what the
//! session wants done is done.
//!
//! ```text
//! socket ─► decoder ─► session (pusher, plain) ─► actions ─► subscriptions, notices, frames
//! ```

use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::read;
use protocol::channel::Kind;
use protocol::close_reason::CloseReason;
use protocol::ephemeral::Ephemeral;
use protocol::format::Format;
use protocol::pusher::signature::{Credentials, User};
use protocol::rate_limit::{Bound, Rate};
use protocol::socket_id::Place;
use protocol::ws::decoder::{Decoder, Message};
use protocol::ws::{code, frame};
use protocol::{format, plain, pusher};
use shared::cursor::{Cursor, Epoch};

use super::Engine;
use super::send::ended;
use crate::app::application::Full;
use crate::auth::authorizer::{Access, Claim, Refused};
use crate::engine::identity::Identity;
use crate::engine::lingering::Hearing;
use crate::engine::stream::Stream;
use crate::hub::command::Command;
use crate::hub::ephemeral::EncodedEphemeral;
use crate::hub::hub::Hub;
use crate::hub::watchlists::Watcher;
use crate::outbound::webhooks;
use crate::process::metrics::Metrics;

/// Bytes read at once, and how often before others have their turn.
pub const INPUT: usize = 16 << 10;
const READS: usize = 4;
/// Ping and pong frames, which no session sees.
const PINGS: Bound = Bound {
    per_second: 100,
    burst: 1000,
};

/// One WebSocket's side of the talk.
#[derive(Debug)]
pub struct WebSocketSession {
    decoder: Decoder,
    session: Session,
    /// When anything last came, in the engine's milliseconds.
    heard: u64,
    pings: Rate,
    /// It waits among those with more to read.
    queued: bool,
    /// What it showed when it came, where the application is asked with it later.
    claim: Option<Box<Claim>>,
}

#[derive(Debug)]
enum Session {
    Plain(plain::Session),
    Pusher(pusher::session::Session),
}

impl WebSocketSession {
    /// None: this format has nothing to hear. `claim`: for later channels.
    pub fn new(format: Format, claim: Option<Claim>) -> Option<Box<Self>> {
        let session = match format {
            Format::Raw | Format::Json => return None,
            Format::Plain => Session::Plain(plain::Session::default()),
            Format::Pusher | Format::Recovery => {
                Session::Pusher(pusher::session::Session::default())
            }
        };
        Some(Box::new(Self {
            decoder: Decoder::default(),
            session,
            heard: 0,
            pings: Rate::default(),
            queued: false,
            claim: claim.map(Box::new),
        }))
    }

    /// What is to be heard after the last frame has been sent.
    pub(super) fn hearing(self, most: usize) -> Option<Hearing> {
        Hearing::new(self.decoder, most)
    }

    /// It has just come.
    pub(super) fn heard_at(mut self: Box<Self>, now: u64) -> Box<Self> {
        self.heard = now;
        self
    }
}

/// Whether the stream is still there, and to be heard further.
type Goes = bool;

impl Engine {
    /// Milliseconds, from far enough above zero that nothing is ever due at once.
    pub(super) fn now_ms(&self) -> u64 {
        1000 + self.started.elapsed().as_millis() as u64
    }

    /// Its turn has come among those with more to read.
    pub(super) fn resume_input(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get_mut(slot as usize)
            && let Some(websocket) = &mut stream.websocket
        {
            websocket.queued = false;
            self.read_input(slot);
        }
    }

    /// Reads what a WebSocket's client has sent, a bounded piece at a time.
    pub(super) fn read_input(&mut self, slot: u32) {
        let websocket = self
            .streams
            .get_mut(slot as usize)
            .and_then(|stream| stream.websocket.take());
        let Some(mut websocket) = websocket else {
            return;
        };
        let mut input = std::mem::take(&mut self.input);
        let more = self.read_messages(slot, &mut websocket, &mut input);
        self.input = input;
        if let Some(stream) = self.streams.get_mut(slot as usize) {
            let queues = more && !websocket.queued;
            websocket.queued |= more;
            stream.websocket = Some(websocket);
            if queues {
                self.listening.push_back(slot);
            }
        } else if let Some(mut ending) = self.parting.take() {
            ending.hearing = websocket.hearing(self.rules.message_bytes);
            self.lingering.borrow_mut().end(ending);
        }
    }

    /// Whether there may be more.
    fn read_messages(
        &mut self,
        slot: u32,
        websocket: &mut WebSocketSession,
        input: &mut [u8],
    ) -> bool {
        for _ in 0..READS {
            let Some(stream) = self.streams.get(slot as usize) else {
                return false;
            };
            match read(&stream.fd, input) {
                Ok(0) => {
                    self.close(slot, CloseReason::Peer);
                    return false;
                }
                Ok(count) => {
                    websocket.heard = self.now_ms();
                    if !self.decode(slot, websocket, &mut input[..count]) {
                        return false;
                    }
                }
                Err(Errno::EAGAIN) => return false,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    self.close(slot, ended(error));
                    return false;
                }
            }
        }
        true
    }

    fn decode(
        &mut self,
        slot: u32,
        websocket: &mut WebSocketSession,
        mut bytes: &mut [u8],
    ) -> Goes {
        loop {
            let most = self.rules.message_bytes;
            match websocket.decoder.next(&mut bytes, most) {
                Ok(None) => return true,
                Ok(Some(message)) => {
                    // The decoder's message borrows the input alone.
                    if !self.on_message(
                        slot,
                        &mut websocket.session,
                        &mut websocket.pings,
                        &websocket.claim,
                        message,
                    ) {
                        // Its close may be among what came already.
                        while let Ok(Some(_)) = websocket.decoder.next(&mut bytes, most) {}
                        return false;
                    }
                }
                Err(why) => {
                    self.hub.metrics.talk_violation.add(1);
                    return self.send_close(slot, frame::close(why.code, why.reason));
                }
            }
        }
    }

    fn on_message(
        &mut self,
        slot: u32,
        session: &mut Session,
        pings: &mut Rate,
        claim: &Option<Box<Claim>>,
        message: Message<'_>,
    ) -> Goes {
        match message {
            Message::Text(text) => self.on_text_message(slot, session, claim, &text),
            Message::Binary(_) => self.send_close(
                slot,
                frame::close(code::UNSUPPORTED, "only text is understood"),
            ),
            Message::Ping(_) | Message::Pong(_) if !pings.take(PINGS, self.now_ms()) => {
                self.hub.metrics.talk_rate.add(1);
                let reason = "there are more pings a second than are allowed";
                self.send_close(slot, frame::close(pusher::code::RATE, reason))
            }
            Message::Ping(payload) => self.send_frame(slot, frame::pong(&payload)),
            Message::Pong(_) => true,
            Message::Close { code, .. } => {
                let answer = match code {
                    Some(code) => frame::close(code, ""),
                    None => frame::close_empty(),
                };
                self.send_close(slot, answer)
            }
        }
    }

    fn on_text_message(
        &mut self,
        slot: u32,
        session: &mut Session,
        claim: &Option<Box<Claim>>,
        text: &str,
    ) -> Goes {
        let now = self.now_ms();
        let world = View { engine: self, slot };
        match session {
            Session::Pusher(session) => {
                let actions = session.on_text(text, now, &world);
                actions.into_iter().all(|action| self.apply(slot, action))
            }
            Session::Plain(session) => {
                let actions = session.on_text(text, now, &world);
                actions
                    .into_iter()
                    .all(|action| self.apply_plain(slot, claim, action))
            }
        }
    }

    /// Whether a WebSocket is still there, as far as anybody can tell. Asks it where it is silent.
    pub(super) fn is_heard(&mut self, slot: u32) -> Goes {
        let now = self.now_ms();
        let (pusher, plain) = (self.rules.pusher, self.rules.plain);
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return false;
        };
        let Some(websocket) = &mut stream.websocket else {
            return true;
        };
        let heard = websocket.heard;
        match &mut websocket.session {
            Session::Pusher(session) => {
                let actions = session.on_tick(now, heard, &pusher);
                actions.into_iter().all(|action| self.apply(slot, action))
            }
            Session::Plain(session) => {
                let actions = session.on_tick(now, heard, &plain);
                actions
                    .into_iter()
                    .all(|action| self.apply_plain(slot, &None, action))
            }
        }
    }

    fn apply(&mut self, slot: u32, action: pusher::session::Action) -> Goes {
        use pusher::session::Action;
        match action {
            Action::Send(text) => self.send_frame(slot, format::text(text)),
            Action::Ping => {
                let format = self.streams[slot as usize].format;
                self.send_frame(slot, format::ping(format, self.cursor_of(slot)))
            }
            Action::Subscribe {
                channel,
                user,
                cursor,
            } => {
                let access = Access {
                    user: user.as_ref().map(|user| user.id.as_str().into()),
                    info: user.and_then(|user| user.info).map(Into::into),
                    ..Access::default()
                };
                let since = cursor.map(|text| cursor_or_none(&text));
                let name = channel.clone();
                if let Err(why) = self.subscribe(slot, vec![(channel, access)], since) {
                    self.deny(slot, &[name], &why);
                }
                self.is_there(slot)
            }
            Action::Unsubscribe { channel } => {
                self.unsubscribe(slot, &channel);
                true
            }
            Action::ClientEvent {
                channel,
                event,
                data,
                user,
            } => self.forward_client_event(slot, channel, event, data, user),
            Action::Signin(user) => self.sign_in(slot, user),
            Action::Close { code, reason } => self.send_close(slot, frame::close(code, &reason)),
            Action::Count(what) => {
                count_pusher(&self.hub.metrics, what);
                true
            }
        }
    }

    fn apply_plain(
        &mut self,
        slot: u32,
        claim: &Option<Box<Claim>>,
        action: plain::Action,
    ) -> Goes {
        use plain::Action;
        match action {
            Action::Send(text) => self.send_frame(slot, format::text(text)),
            Action::Ping => {
                self.send_frame(slot, format::ping(Format::Plain, self.cursor_of(slot)))
            }
            Action::Subscribe {
                channels,
                since,
                token,
            } => {
                let since = since.map(|text| cursor_or_none(&text));
                self.authorize(slot, channels, since, token, claim);
                self.is_there(slot)
            }
            Action::Unsubscribe { channels } => {
                for channel in channels {
                    self.unsubscribe(slot, &channel);
                }
                true
            }
            Action::Close { code, reason } => self.send_close(slot, frame::close(code, &reason)),
            Action::Count(what) => {
                count_plain(&self.hub.metrics, what);
                true
            }
        }
    }

    /// Subscribes, once the application's authorizers have said yes: that may take time.
    fn authorize(
        &mut self,
        slot: u32,
        channels: Vec<String>,
        since: Option<Cursor>,
        token: Option<String>,
        claim: &Option<Box<Claim>>,
    ) {
        let Stream { socket, client, .. } = self.streams[slot as usize];
        if !channels
            .iter()
            .any(|name| Kind::of(name).needs_authorization())
        {
            let open = channels.into_iter().map(|name| (name, Access::default()));
            return self.command(Command::Subscribe {
                slot,
                socket,
                revocations: self.app.authority.revocations(),
                channels: open.collect(),
                since,
                answer: None,
            });
        }
        let shown = claim.as_deref();
        let claim = Claim {
            client,
            socket: Some(socket.to_string()),
            token: token.or_else(|| shown.and_then(|claim| claim.token.clone())),
            headers: shown.map(|claim| claim.headers.clone()).unwrap_or_default(),
            ..Claim::default()
        };
        let (app, worker) = (self.app.clone(), self.worker);
        tokio::task::spawn_local(async move {
            let revocations = app.authority.revocations();
            let command = match app.authority.authorize(&claim, &channels).await {
                Ok(accesses) => Command::Subscribe {
                    slot,
                    socket,
                    revocations,
                    channels: std::iter::zip(channels, accesses).collect(),
                    since,
                    answer: None,
                },
                Err(why) => {
                    app.hub.metrics.talk_subscription.add(1);
                    let status = match why {
                        Refused::Unauthorized(_) => 401,
                        Refused::Forbidden(_) => 403,
                        Refused::Away(_) => 503,
                    };
                    let bytes = format::denied(Format::Plain, &channels, status, why.reason());
                    Command::Tell {
                        slot,
                        socket,
                        bytes,
                    }
                }
            };
            app.hub.inboxes[worker].command(command);
        });
    }

    /// A client event, to the other subscribers of its channel.
    fn forward_client_event(
        &mut self,
        slot: u32,
        channel: String,
        event: String,
        data: String,
        user: Option<String>,
    ) -> Goes {
        let Stream {
            socket: from,
            client,
            ..
        } = self.streams[slot as usize];
        if let Err(full) = self.app.client_events.take(client) {
            let (counter, reason) = match full {
                Full::Application => (
                    &self.hub.metrics.talk_client_event,
                    "the application has as many client events a second as are allowed",
                ),
                Full::Client => (
                    &self.hub.metrics.talk_client_event_share,
                    "this address sends as many client events a second as are allowed",
                ),
            };
            counter.add(1);
            let told = pusher::encode::error(Some(pusher::code::RATE), reason);
            return self.send_frame(slot, format::text(told));
        }
        self.hub.metrics.client_events.add(1);
        // A text is told as it is, anything else as JSON.
        let text = serde_json::from_str::<String>(&data);
        let told = webhooks::event::What::ClientEvent {
            event: event.as_str().into(),
            data: text.as_deref().unwrap_or(&data).into(),
            socket: from.to_string().into(),
            user: user.as_deref().map(Into::into),
        };
        self.hub.hook(client, &channel, told);
        let what = Ephemeral::Client {
            event,
            data,
            user,
            from,
        };
        self.hub.tell(EncodedEphemeral::new(channel.into(), what));
        true
    }

    /// Who it is; once, and again with another watchlist.
    fn sign_in(&mut self, slot: u32, user: User) -> Goes {
        let id: Arc<str> = user.id.as_str().into();
        let watcher = self.watcher(slot);
        let stream = &mut self.streams[slot as usize];
        let identity = stream.identity.get_or_insert_with(|| {
            Box::new(Identity {
                user: id.clone(),
                others: Box::default(),
                signed_in: None,
                present: None,
            })
        });
        identity.user = id.clone();
        let before = identity.signed_in.replace(Box::new(user.watchlist));
        let lists = &self.app.watchlists;
        match &before {
            None => {
                let told = pusher::encode::watchlist_events(&[&id], &[]);
                tell_watchers(&self.hub, lists.user_connected(&id), &told);
            }
            Some(users) => lists.unwatch(users, watcher),
        }
        let users = identity.signed_in.as_deref().map_or(&[][..], Vec::as_slice);
        if users.is_empty() {
            return true;
        }
        let (online, offline) = lists.watch(users, watcher);
        let told = pusher::encode::watchlist_events(&online, &offline);
        self.send_frame(slot, format::text(told))
    }

    /// It ends: nobody is told anything there any more, and others that this user is gone.
    pub(super) fn sign_out(&self, slot: u32, stream: &Stream) {
        let Some((identity, users)) = stream
            .identity
            .as_ref()
            .and_then(|identity| Some((identity, identity.signed_in.as_ref()?)))
        else {
            return;
        };
        let watcher = Watcher {
            socket: stream.socket,
            place: Place {
                worker: self.worker,
                slot,
            },
        };
        self.app.watchlists.unwatch(users, watcher);
        let told = pusher::encode::watchlist_events(&[], &[&identity.user]);
        let watchers = self.app.watchlists.user_disconnected(&identity.user);
        if !self.leaving {
            tell_watchers(&self.hub, watchers, &told);
        }
    }

    fn watcher(&self, slot: u32) -> Watcher {
        Watcher {
            socket: self.streams[slot as usize].socket,
            place: Place {
                worker: self.worker,
                slot,
            },
        }
    }

    fn send_frame(&mut self, slot: u32, bytes: Vec<u8>) -> Goes {
        self.tell(slot, bytes);
        self.is_there(slot)
    }

    /// The last frame, and the end.
    fn send_close(&mut self, slot: u32, last: Vec<u8>) -> Goes {
        self.close_with(slot, CloseReason::Closed, last);
        false
    }

    fn is_there(&self, slot: u32) -> Goes {
        self.streams.contains(slot as usize)
    }
}

/// What a session may know of the engine.
struct View<'a> {
    engine: &'a Engine,
    slot: u32,
}

impl View<'_> {
    /// The stream's number of this channel, if it is subscribed.
    fn channel(&self, name: &str) -> Option<u32> {
        let engine = self.engine;
        let all = &engine.streams[self.slot as usize].subscriptions;
        let is = |number: &u32| &**engine.subscriptions.name(*number) == name;
        all.iter().map(|s| s.channel).find(is)
    }

    fn count(&self) -> usize {
        self.engine.streams[self.slot as usize].subscriptions.len()
    }
}

impl pusher::session::World for View<'_> {
    fn socket(&self) -> String {
        self.engine.streams[self.slot as usize].socket.to_string()
    }

    fn credentials(&self) -> &Credentials {
        &self.engine.app.credentials
    }

    fn limits(&self) -> &pusher::session::Limits {
        &self.engine.rules.pusher
    }

    fn subscribed(&self, channel: &str) -> pusher::session::Subscribed<'_> {
        use pusher::session::Subscribed;
        let Some(number) = self.channel(channel) else {
            return Subscribed::No;
        };
        let identity = self.engine.streams[self.slot as usize].identity.as_deref();
        let mut rows = identity.map_or(&[][..], Identity::rows).iter();
        match rows.find(|row| row.channel == number) {
            Some(row) => Subscribed::As(&row.user),
            None => Subscribed::Yes,
        }
    }

    fn channels(&self) -> usize {
        self.count()
    }
}

impl plain::World for View<'_> {
    fn limits(&self) -> &plain::Limits {
        &self.engine.rules.plain
    }

    fn is_subscribed(&self, channel: &str) -> bool {
        self.channel(channel).is_some()
    }

    fn channels(&self) -> usize {
        self.count()
    }
}

/// What is no cursor of this ring is told as a gap of unknown size, as over SSE.
fn cursor_or_none(text: &str) -> Cursor {
    Cursor::parse(text.as_bytes()).unwrap_or(Cursor {
        epoch: Epoch([0; 6]),
        seq: 0,
    })
}

/// Through their workers' inboxes, also where that is this one.
fn tell_watchers(hub: &Hub, watchers: Vec<Watcher>, text: &[u8]) {
    for Watcher { place, socket } in watchers {
        hub.inboxes[place.worker].command(Command::Tell {
            slot: place.slot,
            socket,
            bytes: format::text(text.to_vec()),
        });
    }
}

fn count_pusher(metrics: &Metrics, what: pusher::session::Refusal) {
    use pusher::session::Refusal;
    let counter = match what {
        Refusal::Malformed | Refusal::Unknown => &metrics.talk_malformed,
        Refusal::Subscription => &metrics.talk_subscription,
        Refusal::ClientEvent => &metrics.talk_client_event,
        Refusal::ClientEventRate | Refusal::MessageRate => &metrics.talk_rate,
        Refusal::Signin | Refusal::Watchlist => &metrics.talk_signin,
        Refusal::NoPong => &metrics.talk_silent,
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
