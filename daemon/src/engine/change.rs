//! What others want of this engine's streams: other channels, their end, their number.

use protocol::channel::Kind;
use protocol::close_reason::CloseReason;
use protocol::format;
use protocol::gap::Gap;
use protocol::socket_id::SocketId;
use shared::cursor::Cursor;

use super::Engine;
use crate::auth::authorizer::Access;
use crate::engine::outbox::At;
use crate::engine::replay::catch_up::CatchUp;
use crate::engine::replay::state::Replay;
use crate::engine::subscriptions::Member;
use crate::hub::command::{Command, Denied, Target, Which};

impl Engine {
    /// Whoever asked may have given up waiting; it is done all the same.
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
                // Who was ended meanwhile must not come in behind.
                let stale = revocations != self.app.authority.revocations();
                let closed = stale
                    && names
                        .iter()
                        .any(|name| Kind::of(name).needs_authorization());
                let subscribe = |engine: &mut Self| match closed {
                    true => Err(Denied::Revoked),
                    false => engine.subscribe(slot, channels, since),
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
                if stream.is_some_and(|s| s.socket == socket && !s.leaving) {
                    self.tell(slot, bytes);
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
                let owned = |(name, count): (&str, usize)| (name.to_owned(), count);
                let counts = match which {
                    Which::Prefix(prefix) => {
                        let all = self.subscriptions.counts();
                        all.filter(|(name, _)| name.starts_with(&prefix))
                            .map(owned)
                            .collect()
                    }
                    Which::Names(names) => {
                        let count = |name: String| {
                            let count = self.subscriptions.members(&name).len();
                            (name, count)
                        };
                        let all = names.into_iter().map(count);
                        all.filter(|(_, count)| *count > 0).collect()
                    }
                };
                let _ = answer.send(counts);
            }
        }
    }

    /// Changes the stream if it is still this one; returns the channels it has then.
    fn change(
        &mut self,
        slot: u32,
        socket: SocketId,
        change: impl FnOnce(&mut Self) -> Result<(), Denied>,
    ) -> Result<Vec<String>, Denied> {
        let stream = self.streams.get(slot as usize);
        if self.leaving || stream.is_none_or(|s| s.socket != socket || s.leaving) {
            return Err(Denied::Gone);
        }
        change(self)?;
        // What it was told at once may have found the socket broken.
        let stream = self.streams.get(slot as usize).ok_or(Denied::Gone)?;
        let name = |channel: u32| self.subscriptions.name(channel).to_string();
        Ok(stream
            .subscriptions
            .iter()
            .map(|s| name(s.channel))
            .collect())
    }

    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        channels: Vec<(String, Access)>,
        since: Option<Cursor>,
    ) -> Result<(), Denied> {
        let stream = &self.streams[slot as usize];
        let has = |name: &str| {
            let mut all = stream.subscriptions.iter();
            all.any(|s| &**self.subscriptions.name(s.channel) == name)
        };
        let new: Vec<&(String, Access)> = channels.iter().filter(|(name, _)| !has(name)).collect();
        let most = match stream.format.is_websocket() {
            true => self.rules.plain.channels,
            false => self.rules.channels_per_stream,
        };
        if stream.subscriptions.len() + new.len() > most {
            return Err(Denied::TooManyChannels(most));
        }
        if !self.has_room(new.iter().map(|(name, _)| name.as_str())) {
            return Err(Denied::Full);
        }
        let mut users = channels
            .iter()
            .filter_map(|(_, access)| access.user.as_ref());
        let full = stream
            .identity
            .as_ref()
            .filter(|identity| identity.others.len() >= most);
        if full.is_some_and(|identity| users.any(|user| !identity.is(user))) {
            return Err(Denied::Full);
        }
        let names: Vec<String> = new.iter().map(|(name, _)| name.clone()).collect();
        let client = stream.client;
        let counts = self.count(client, &names)?;
        let expires = self.expiry_with(slot, &channels);
        for (name, access) in new {
            let stream = &self.streams[slot as usize];
            let sub = stream.subscriptions.len() as u32;
            let subscription = self.enter(client, name, Member { slot, sub });
            let stream = &mut self.streams[slot as usize];
            let all = std::mem::take(&mut stream.subscriptions);
            stream.subscriptions = all.into_iter().chain([subscription]).collect();
            if let Err(why) = self.admit(slot, subscription.channel, access) {
                // All or none of them. Those after this one were only counted.
                let entered = 1 + names.iter().position(|other| other == name).unwrap_or(0);
                let (entered, rest) = names.split_at(entered);
                let _ = self.discount(client, rest.iter().map(String::as_str));
                entered.iter().for_each(|name| self.unsubscribe(slot, name));
                self.hub.metrics.over_members.add(1);
                return Err(Denied::Members(why));
            }
        }
        self.set_expiry(slot, expires);
        // Also of those that are only renewed: whoever is put out, the stream ends.
        for (_, access) in &channels {
            if let Some(user) = &access.user {
                self.know(slot, user).add(user);
            }
        }
        // See `open`: entered first, read second.
        let here = self.hub.watermarks.started();
        let cursor = since.unwrap_or_else(|| self.cursor(here - 1));
        // What it had before may not have been sent as far: where a cursor speaks for that too, it does not
        // jump.
        let held = self.cursor_of(slot);
        let of_all = match held.epoch == cursor.epoch && held.seq < cursor.seq {
            true => held,
            false => cursor,
        };
        let of = |name: &String| match names.contains(name) {
            true => cursor,
            false => of_all,
        };
        let format = self.streams[slot as usize].format;
        let all: Vec<String> = channels.into_iter().map(|(name, _)| name).collect();
        let mut bytes = format::all_subscribed(format, &all, of_all);
        for name in &all {
            if Kind::of(name).is_presence() {
                self.untell(slot, name);
            } else {
                bytes.extend(format::subscribed(format, name, of(name)));
            }
        }
        let least = match names.len() == all.len() {
            true => cursor,
            false => of_all,
        };
        bytes.extend(self.snapshots(slot, false, least));
        self.join_in(slot, &names, since, here);
        let owed = since.is_none() && self.owe(slot, &names, here);
        if !bytes.is_empty() {
            self.tell(slot, bytes);
        }
        let stream = self.streams.get(slot as usize);
        if owed && stream.is_some_and(|stream| stream.outbox.is_none()) {
            self.replaying.push_back(slot);
        }
        self.hub.tell_counts(client, counts);
        Ok(())
    }

    /// Tells a WebSocket in its own protocol what did not come of its wish.
    pub(super) fn deny(&mut self, slot: u32, channels: &[String], why: &Denied) {
        let format = self.streams[slot as usize].format;
        let told = format::denied(format, channels, 403, &why.to_string());
        self.tell(slot, told);
    }

    /// When the stream ends once it has these: with the first grant that ends. If each of its channels
    /// that needs one is among them, the grants it had count no more: that is how a page renews.
    fn expiry_with(&self, slot: u32, channels: &[(String, Access)]) -> Option<u64> {
        let stream = &self.streams[slot as usize];
        let renewed = stream.subscriptions.iter().all(|s| {
            let name = &**self.subscriptions.name(s.channel);
            !Kind::of(name).needs_authorization() || channels.iter().any(|(new, _)| new == name)
        });
        let old = Some(u64::from(stream.expires)).filter(|at| *at > 0 && !renewed);
        let new = channels.iter().filter_map(|(_, access)| access.expires);
        new.chain(old).min()
    }

    pub(super) fn unsubscribe(&mut self, slot: u32, name: &str) {
        let stream = &self.streams[slot as usize];
        let mut all = stream.subscriptions.iter();
        let Some(at) = all.position(|s| &**self.subscriptions.name(s.channel) == name) else {
            return;
        };
        self.leave_presence(slot, self.streams[slot as usize].subscriptions[at].channel);
        let stream = &mut self.streams[slot as usize];
        let mut all = std::mem::take(&mut stream.subscriptions).into_vec();
        let gone = all.swap_remove(at);
        stream.subscriptions = all.into();
        if let Some(moved) = stream.subscriptions.get(at) {
            self.subscriptions.renumber(*moved, at as u32);
        }
        let client = self.streams[slot as usize].client;
        let counts = self.discount(client, std::iter::once(name));
        self.forget(client, gone);
        // Who adds and drops channels while it is slow leaves nothing behind.
        if let Some(late) = self.catch_ups.get_mut(&slot) {
            late.since.remove(name);
        }
        self.hub.tell_counts(client, counts);
    }

    fn end_all(&mut self, target: &Target) -> usize {
        let is = |identity: Option<&crate::engine::identity::Identity>, socket| match target {
            Target::Socket(wanted) => socket == *wanted,
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
}

impl Engine {
    /// Channels were added when the tailer was at `here`, of which the page has everything up to `since`,
    /// or wants what comes from here on.
    fn join_in(&mut self, slot: u32, names: &[String], since: Option<Cursor>, here: u64) {
        let (from, gap) = match since {
            None => (here, Gap::NONE),
            Some(since) if since.epoch != self.epoch => (self.hub.index.first(), Gap::UNKNOWN),
            // A position nobody has published yet.
            Some(since) if since.seq >= here => (here, Gap::UNKNOWN),
            Some(since) => (since.seq + 1, Gap::NONE),
        };
        let stream = &mut self.streams[slot as usize];
        let live = self.safe.max(self.processed).max(stream.from);
        // What is between the two may have been handed over or not: it is pulled.
        let there = stream.replay.is_none() && live >= here && from == here && gap.is_none();
        if names.is_empty() || there {
            return;
        }
        let mut replay = stream
            .replay
            .as_deref()
            .copied()
            .unwrap_or(Replay::new(At::start(live), live));
        let late = self.catch_ups.entry(slot).or_insert_with(|| CatchUp {
            base: replay.next,
            ..CatchUp::default()
        });
        // Earlier ones may be on their way still.
        for at in late.since.values_mut() {
            *at = replay.next.max(*at);
        }
        late.base = late.base.max(replay.next);
        for name in names {
            late.since.insert(name.as_str().into(), from);
        }
        replay.back_to(At::start(from));
        replay.target = replay.target.max(here);
        replay.gap.add(gap);
        stream.replay = Some(Box::new(replay));
        if stream.outbox.is_none() {
            self.replaying.push_back(slot);
        }
    }
}
