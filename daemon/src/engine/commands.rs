//! Commands to this engine's streams: other channels, a message, their end, their number.

use protocol::channel::Kind;
use protocol::client_event;
use protocol::close_reason::CloseReason;
use protocol::format::Format;
use protocol::socket_id::SocketId;

use crate::engine::identity::Identity;
use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::engine::websocket::session::Session;
use crate::hub::command::{Command, Denied, SlowStream, Target, Which};
use crate::hub::matcher_name;

impl Engine {
    /// It is carried out even if its sender no longer waits for the answer.
    pub fn command(&mut self, command: Command) {
        match command {
            Command::Subscribe {
                slot,
                socket,
                channels,
                revocations,
                since,
                answer,
            } => {
                let names: Vec<String> = channels.iter().map(|(name, _)| name.clone()).collect();
                let revoked = revocations != self.app.authority.revocations();
                let subscribe = |engine: &mut Self| {
                    // The grant may be one of those that were revoked meanwhile.
                    if revoked
                        && names
                            .iter()
                            .any(|name| Kind::of(name).needs_authorization())
                    {
                        return Err(Denied::Revoked);
                    }
                    engine.subscribe(slot, channels, since)
                };
                let changed = self.change(slot, socket, subscribe);
                if changed.is_ok()
                    && let Some(stream) = self.streams.get_mut(slot as usize)
                    && let Some(websocket) = &mut stream.websocket
                    && let Session::Pusher(session) = &mut websocket.session
                {
                    session.authorized();
                }
                match (answer, changed) {
                    (Some(answer), changed) => drop(answer.send(changed)),
                    (None, Err(why)) if why != Denied::Gone => self.deny(slot, &names, &why),
                    (None, _) => {}
                }
            }
            Command::Tell {
                slot,
                socket,
                bytes,
            } => {
                let stream = self.streams.get(slot as usize);
                if stream.is_some_and(|s| s.socket == socket) {
                    self.send_control(slot, bytes);
                }
            }
            Command::Unsubscribe {
                slot,
                socket,
                channels,
                answer,
            } => {
                let _ = answer.send(self.change(slot, socket, |engine| {
                    channels
                        .iter()
                        .for_each(|name| engine.unsubscribe(slot, name));
                    Ok(())
                }));
            }
            Command::ClientEvent {
                slot,
                socket,
                event,
                answer,
            } => {
                let stream = self.streams.get(slot as usize);
                let is_open = self.leaving.is_none() && stream.is_some_and(|s| s.socket == socket);
                let sent = match is_open {
                    true => self.client_event(slot, event),
                    false => Err(client_event::Refused::Gone),
                };
                let _ = answer.send(sent);
            }
            Command::End { target, answer } => {
                let _ = answer.send(self.end_all(&target));
            }
            Command::LetGo { one_of, window } => self.let_go(one_of, window),
            Command::Count { which, answer } => {
                let _ = answer.send(self.count_subscribers(which));
            }
            Command::Largest { most, answer } => {
                let _ = answer.send(self.largest(most));
            }
            Command::Slow { most, answer } => {
                let _ = answer.send(self.slowest(most));
            }
        }
    }

    /// Changes the stream if it is still this one; returns the channels it has after that.
    fn change(
        &mut self,
        slot: u32,
        socket: SocketId,
        change: impl FnOnce(&mut Self) -> Result<(), Denied>,
    ) -> Result<Vec<String>, Denied> {
        let stream = self.streams.get(slot as usize);
        // Topics are subscribed to once for all.
        let other = |s: &Stream| s.socket != socket || s.format == Format::Mercure;
        if self.leaving.is_some() || stream.is_none_or(other) {
            return Err(Denied::Gone);
        }
        change(self)?;
        // Sending may have found the socket broken.
        let stream = self.streams.get(slot as usize).ok_or(Denied::Gone)?;
        let name = |channel: u32| self.subscriptions.name(channel).to_string();
        Ok(stream
            .subscriptions
            .iter()
            .map(|s| name(s.channel))
            .collect())
    }

    /// Ends the streams of a target; returns how many.
    fn end_all(&mut self, target: &Target) -> usize {
        let is = |identity: &Identity, socket| match target {
            Target::Socket(target) => socket == *target,
            Target::User(user) => identity.is(user),
            Target::All => true,
        };
        let streams = self.streams.iter();
        let ended: Vec<u32> = streams
            .filter(|(_, stream)| is(&stream.identity, stream.socket))
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in &ended {
            self.retire(*slot, CloseReason::Ended);
        }
        ended.len()
    }

    /// The channels with the most subscribers on this worker.
    fn largest(&self, most: usize) -> Vec<(String, usize)> {
        let mut all: Vec<(&str, usize)> = Vec::new();
        let channels = self.subscriptions.counts();
        for one in channels.filter(|(name, _)| !matcher_name::is_matcher(name)) {
            all.push(one);
            // Now and then, so that no list of all is made.
            if all.len() >= 64 * most {
                keep_largest(&mut all, most);
            }
        }
        keep_largest(&mut all, most);
        let own = |(name, count): (&str, usize)| (name.to_owned(), count);
        all.into_iter().map(own).collect()
    }

    /// The streams for which most is waiting.
    fn slowest(&self, most: usize) -> Vec<SlowStream> {
        let slow = self.slow.blocked.iter();
        let slow = slow.filter_map(|slot| self.streams.get(*slot as usize));
        let bytes = |stream: &Stream| stream.outbox.as_ref().map_or(0, |outbox| outbox.bytes());
        let mut slow: Vec<(usize, &Stream)> = slow.map(|stream| (bytes(stream), stream)).collect();
        slow.sort_unstable_by_key(|(bytes, stream)| {
            (std::cmp::Reverse(*bytes), stream.socket.to_string())
        });
        slow.truncate(most);
        let own = |(bytes, stream): (usize, &Stream)| SlowStream {
            socket: stream.socket,
            user: stream.identity.user().map(str::to_owned),
            transport: match stream.format {
                Format::Raw | Format::Json | Format::Mercure => "sse",
                Format::Plain => "websocket",
                Format::Pusher | Format::Recovery => "pusher",
            },
            channels: stream.subscriptions.len(),
            bytes,
            replays: stream.replay.is_some(),
        };
        slow.into_iter().map(own).collect()
    }

    /// Channels and their subscribers on this worker; not those without.
    fn count_subscribers(&self, which: Which) -> Vec<(String, usize)> {
        match which {
            Which::Prefix(prefix) => {
                let all = self.subscriptions.counts();
                let all = all.filter(|(name, _)| {
                    name.starts_with(&prefix) && !matcher_name::is_matcher(name)
                });
                all.map(|(name, count)| (name.to_owned(), count)).collect()
            }
            Which::Names(names) => {
                let count = |name: String| {
                    let count = self.subscriptions.members(&name).len();
                    (name, count)
                };
                let channels = names.into_iter();
                let all = channels
                    .filter(|name| !matcher_name::is_matcher(name))
                    .map(count);
                all.filter(|(_, count)| *count > 0).collect()
            }
        }
    }
}

/// The most first, and by name.
fn keep_largest(all: &mut Vec<(&str, usize)>, most: usize) {
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    all.truncate(most);
}
