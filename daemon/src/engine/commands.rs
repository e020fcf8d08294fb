//! Commands to this engine's streams: other channels, a message, their end, their number.

use protocol::channel::Kind;
use protocol::close_reason::CloseReason;
use protocol::socket_id::SocketId;

use crate::engine::identity::Identity;
use crate::engine::streams::Engine;
use crate::hub::command::{Command, Denied, Target, Which};

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
            Command::End { target, answer } => {
                let _ = answer.send(self.end_all(&target));
            }
            Command::Count { which, answer } => {
                let _ = answer.send(self.count_subscribers(which));
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
        if self.leaving.is_some() || stream.is_none_or(|s| s.socket != socket) {
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
        let is = |identity: Option<&Identity>, socket| match target {
            Target::Socket(target) => socket == *target,
            Target::User(user) => identity.is_some_and(|identity| identity.is(user)),
            Target::All => true,
        };
        let streams = self.streams.iter();
        let ended: Vec<u32> = streams
            .filter(|(_, stream)| is(stream.identity.as_deref(), stream.socket))
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in &ended {
            self.retire(*slot, CloseReason::Ended);
        }
        ended.len()
    }

    /// Channels and their subscribers on this worker; not those without.
    fn count_subscribers(&self, which: Which) -> Vec<(String, usize)> {
        match which {
            Which::Prefix(prefix) => {
                let all = self.subscriptions.counts();
                let all = all.filter(|(name, _)| name.starts_with(&prefix));
                all.map(|(name, count)| (name.to_owned(), count)).collect()
            }
            Which::Names(names) => {
                let count = |name: String| {
                    let count = self.subscriptions.members(&name).len();
                    (name, count)
                };
                let all = names.into_iter().map(count);
                all.filter(|(_, count)| *count > 0).collect()
            }
        }
    }
}
