//! A stream's channels change while it is open.

use std::collections::HashMap;

use protocol::channel::Kind;
use protocol::format;
use protocol::format::Format;
use protocol::gap::Gap;

use crate::auth::authorizer::Access;
use crate::engine::outbox::ReplayPosition;
use crate::engine::replay::catch_up::CatchUp;
use crate::engine::replay::state::Replay;
use crate::engine::resume::Looked;
use crate::engine::streams::Engine;
use crate::engine::subscriptions::Member;
use crate::hub::command::{Denied, Since};
use crate::hub::routes::Room;

impl Engine {
    /// Adds channels, from `since` on; those it has already are only renewed.
    ///
    /// # Errors
    /// If a limit is reached; then none of them was added.
    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        channels: Vec<(String, Access)>,
        since: Option<Since>,
    ) -> Result<(), Denied> {
        let is_new = |(name, _): &&(String, Access)| self.find_channel(slot, name).is_none();
        let new: Vec<&(String, Access)> = channels.iter().filter(is_new).collect();
        let mut room = self.check_room(slot, &new, &channels)?;
        let names: Vec<String> = new.iter().map(|(name, _)| name.clone()).collect();
        let client = self.streams[slot as usize].client;
        let counts = self.count_subscriptions(client, &names)?;
        let expires = self.expiry_with(slot, &channels);
        for (n, (name, access)) in new.into_iter().enumerate() {
            if let Err(why) = self.add_channel(slot, name, access, &mut room) {
                // All or none of them. Those after this one were only counted.
                let (added, rest) = names.split_at(n + 1);
                let _ = self.uncount_subscriptions(client, rest.iter().map(String::as_str));
                added.iter().for_each(|name| self.unsubscribe(slot, name));
                self.hub.process.metrics.over_members.add(1);
                return Err(why);
            }
        }
        drop(room);
        self.set_expiry(slot, expires);
        // Also of those that are only renewed: if any user's access is revoked, the stream ends.
        for (_, access) in &channels {
            if let Some(user) = &access.user {
                self.streams[slot as usize].identity.add(user);
            }
        }
        let all: Vec<String> = channels.into_iter().map(|(name, _)| name).collect();
        self.confirm(slot, &all, &names, since);
        self.hub.announce_counts(client, counts);
        Ok(())
    }

    /// Room for the `new` channels, if the stream may have them, and the users of `all`.
    fn check_room(
        &self,
        slot: u32,
        new: &[&(String, Access)],
        all: &[(String, Access)],
    ) -> Result<Room, Denied> {
        let stream = &self.streams[slot as usize];
        const SOCKET: &str = "server.channels_per_socket";
        let (most, setting) = match stream.format {
            Format::Raw | Format::Json => {
                (self.rules.channels_per_stream, "server.channels_per_stream")
            }
            Format::Plain => (self.rules.plain.channels, SOCKET),
            Format::Pusher | Format::Recovery => (self.rules.pusher.channels, SOCKET),
            Format::Mercure => return Err(Denied::Gone),
        };
        if stream.subscriptions.len() + new.len() > most {
            return Err(Denied::TooManyChannels(most, setting));
        }
        let room = self
            .room_for(new.iter().map(|(name, _)| name.as_str()))
            .ok_or(Denied::Full)?;
        let mut users = all.iter().filter_map(|(_, access)| access.user.as_ref());
        let identity = &stream.identity;
        if identity.others() >= most && users.any(|user| !identity.is(user)) {
            return Err(Denied::Full);
        }
        Ok(room)
    }

    /// Adds a channel that was counted.
    ///
    /// # Errors
    /// If the stream is not admitted. It is subscribed nevertheless: the caller unsubscribes it.
    fn add_channel(
        &mut self,
        slot: u32,
        name: &str,
        access: &Access,
        room: &mut Room,
    ) -> Result<(), Denied> {
        let stream = &self.streams[slot as usize];
        let (client, sub) = (stream.client, stream.subscriptions.len() as u32);
        let subscription = self.add_subscriber(client, name, Member { slot, sub }, room);
        let stream = &mut self.streams[slot as usize];
        stream.subscriptions.reserve_exact(1);
        stream.subscriptions.push(subscription);
        self.admit(slot, subscription.channel, access)
            .map_err(Denied::Members)
    }

    /// Confirms the subscriptions to `all`, of which those to `new` are new, and sends what belongs to them:
    /// snapshots of members, last events, and what the page missed since its cursor.
    fn confirm(&mut self, slot: u32, all: &[String], new: &[String], since: Option<Since>) {
        // See `open`: added to the routes first, read second.
        let here = self.hub.watermarks.started();
        let looked = self.begin(new, since.as_ref(), here);
        let cursor = match since {
            Some(Since::Cursor(cursor)) => cursor,
            _ => {
                let first = looked.since.values().copied().min().unwrap_or(here);
                self.progress.cursor(first - 1)
            }
        };
        // What it had before may not have been sent that far. A cursor that covers that too stays behind it.
        let held = self.cursor_of(slot);
        let cursor_of_all = match held.epoch == cursor.epoch && held.seq < cursor.seq {
            true => held,
            false => cursor,
        };
        self.filter(slot, new, &looked);
        let format = self.streams[slot as usize].format;
        let sent = self.sent_cursor(slot, cursor_of_all);
        let mut bytes = format::all_subscribed(format, all, sent.wire());
        for name in all {
            if Kind::of(name).is_presence() {
                self.reset_snapshot(slot, name);
            } else if let Some((_, channel)) = self.find_channel(slot, name) {
                let cursor = match new.contains(name) {
                    true => cursor,
                    false => cursor_of_all,
                };
                let cursor = self.sent_cursor_on(slot, channel, cursor);
                bytes.extend(format::subscribed(format, name, cursor.wire()));
            }
        }
        let least = match new.len() == all.len() {
            true => cursor,
            false => cursor_of_all,
        };
        bytes.extend(self.snapshots(slot, false, least));
        let fresh = self.catch_up(slot, looked, here);
        let replays = self.schedule_last_events(slot, &fresh);
        if !bytes.is_empty() {
            self.send_control(slot, bytes);
        }
        let stream = self.streams.get(slot as usize);
        if let Some(stream) = stream.filter(|stream| replays && stream.outbox.is_none()) {
            self.replays.ready.add(stream.client, slot);
        }
    }

    /// What the page has already of new channels is left out; of the others stays what it was.
    fn filter(&mut self, slot: u32, new: &[String], looked: &Looked) {
        if new.is_empty() || looked.held.is_none() && !self.replays.filters.contains_key(&slot) {
            return;
        }
        let numbers = new
            .iter()
            .filter_map(|name| self.subscriptions.number(name));
        let numbers: Vec<u32> = numbers.collect();
        let filter = self.replays.filters.entry(slot).or_default();
        match &looked.held {
            Some(held) => filter.add(numbers, held),
            None if looked.fresh.len() == numbers.len() => filter.add_from_now(numbers),
            None => {}
        }
        let subscriptions = self.streams[slot as usize].subscriptions.iter();
        filter.settle(subscriptions.map(|subscription| subscription.channel));
    }

    /// Notifies a WebSocket in its own protocol why its subscriptions were refused.
    pub(super) fn deny(&mut self, slot: u32, channels: &[String], why: &Denied) {
        let format = self.streams[slot as usize].format;
        let why = why.to_string();
        let names = channels.iter().map(String::as_str);
        self.hub.traces.refused(names, &why);
        let reply = format::denied(format, channels, format::Denied::Limit, &why);
        self.send_control(slot, reply);
    }

    /// When the stream ends once it has these channels: with the first grant that expires. The grants it had no
    /// longer count if each of its channels that needs one is among them: that is how a page renews its grants.
    fn expiry_with(&self, slot: u32, channels: &[(String, Access)]) -> Option<u64> {
        let stream = &self.streams[slot as usize];
        let renewed = stream.subscriptions.iter().all(|s| {
            let name = &**self.subscriptions.name(s.channel);
            !Kind::of(name).needs_authorization() || channels.iter().any(|(new, _)| new == name)
        });
        let old = Some(u64::from(stream.times.expires)).filter(|at| *at > 0 && !renewed);
        let new = channels.iter().filter_map(|(_, access)| access.expires);
        new.chain(old).min()
    }

    /// Removes a channel, if the stream has it.
    pub(super) fn unsubscribe(&mut self, slot: u32, name: &str) {
        let Some((at, channel)) = self.find_channel(slot, name) else {
            return;
        };
        self.leave_presence(slot, channel);
        let stream = &mut self.streams[slot as usize];
        let removed = stream.subscriptions.swap_remove(at);
        stream.subscriptions.shrink_to_fit();
        if let Some(moved) = stream.subscriptions.get(at) {
            self.subscriptions.renumber(*moved, at as u32);
        }
        let client = stream.client;
        let counts = self.uncount_subscriptions(client, std::iter::once(name));
        self.remove_subscriber(client, removed);
        // A slow client that adds and drops channels leaves nothing behind: the number may be another's next.
        if let Some(catch_up) = self.replays.catch_ups.get_mut(&slot) {
            catch_up.remove(removed.channel);
        }
        if let Some(filter) = self.replays.filters.get_mut(&slot) {
            filter.remove(removed.channel);
            let left = self.streams[slot as usize].subscriptions.iter();
            filter.settle(left.map(|subscription| subscription.channel));
        }
        self.forget_sent_last_events(slot);
        if let Some(due) = self.replays.last_events.get_mut(&slot) {
            due.retain(|(channel, _)| *channel != removed.channel);
        }
        self.hub.announce_counts(client, counts);
    }

    /// Where channels begin that are added when the tailer is at `here`. The page has everything of them up to a
    /// cursor, looks back, or gets what comes from `here` on.
    fn begin(&self, names: &[String], since: Option<&Since>, here: u64) -> Looked {
        let unknown = (self.hub.index.first(), Gap::UNKNOWN);
        let mut held = None;
        let (from, gap) = match since {
            Some(Since::Rewind(rewind)) => return self.look_back(*rewind, names, here),
            None => (here, Gap::NONE),
            Some(Since::Vector(vector)) => {
                let begun = self.begin_at(vector, here);
                begun.map_or(unknown, |begun| {
                    held = begun.held;
                    (begun.from, begun.gap)
                })
            }
            Some(Since::Cursor(since)) => match since.seq {
                _ if since.epoch != self.progress.epoch => unknown,
                // Ahead of the tailer, and not of the publishers (`askr_cursor()`). The stream's other channels are
                // where the tailer is, so some events may come that are in the page's state already.
                seq if (here..self.hub.segments.head()).contains(&seq) => (here, Gap::NONE),
                // A position that was not published yet.
                seq if seq >= here => (here, Gap::UNKNOWN),
                seq => (seq + 1, Gap::NONE),
            },
        };
        let numbers = names
            .iter()
            .filter_map(|name| self.subscriptions.number(name));
        let all = numbers.map(|channel| (channel, from));
        Looked {
            fresh: match since {
                None => all.clone().collect(),
                Some(_) => Vec::new(),
            },
            since: all.collect(),
            gap,
            held,
        }
    }

    /// Has channels that were added when the tailer was at `here` begin where they are to. Returns those whose last
    /// events are due.
    fn catch_up(&mut self, slot: u32, added: Looked, here: u64) -> Vec<(u32, u64)> {
        let Looked {
            since,
            fresh,
            gap,
            held,
        } = added;
        let from = since.values().copied().min().unwrap_or(here);
        let stream = &mut self.streams[slot as usize];
        let live = self.progress.live(stream.from);
        // What is between the two may have been delivered or not: it is replayed.
        let is_new = from == here && gap.is_none() && held.is_none();
        let is_live = stream.replay.is_none() && live >= here && is_new;
        if since.is_empty() || is_live {
            return fresh;
        }
        let mut replay = stream
            .replay
            .as_deref()
            .copied()
            .unwrap_or(Replay::new(ReplayPosition::start(live), live));
        let parts = self.parts_sent(slot, replay.at(), &since);
        let stream = &mut self.streams[slot as usize];
        let catch_up = self
            .replays
            .catch_ups
            .entry(slot)
            .or_insert_with(|| CatchUp {
                base: replay.next,
                ..CatchUp::default()
            });
        // Those added earlier may still catch up.
        for at in catch_up.since.values_mut() {
            *at = replay.next.max(*at);
        }
        catch_up.base = catch_up.base.max(replay.next);
        catch_up.keep(from.min(replay.next), parts);
        catch_up.since.extend(since);
        replay.back_to(ReplayPosition::start(from));
        replay.target = replay.target.max(here);
        replay.miss(gap);
        stream.replay = Some(Box::new(replay));
        if stream.outbox.is_none() {
            self.replays.ready.add(stream.client, slot);
        }
        fresh
    }

    /// The parts before `at` of its event, with their channels, which the stream has had: not those of channels that are `new`.
    fn parts_sent(
        &mut self,
        slot: u32,
        at: ReplayPosition,
        new: &HashMap<u32, u64>,
    ) -> Vec<(ReplayPosition, u32)> {
        if at.channel == 0 {
            return Vec::new();
        }
        let (hub, epoch) = (&self.hub, self.progress.epoch);
        let Some(encoded) = self.replays.cache.fetch(hub, epoch, at.seq) else {
            return Vec::new();
        };
        let subscribed = &self.streams[slot as usize].subscriptions;
        let names = encoded.event.channels().zip(0..at.channel);
        let parts = names.filter_map(|(name, channel)| {
            let number = self.subscriptions.number(name)?;
            let had = subscribed.iter().any(|one| one.channel == number);
            let part = ReplayPosition {
                seq: at.seq,
                channel,
            };
            (had && !new.contains_key(&number)).then_some((part, number))
        });
        parts.collect()
    }
}
