//! An application's presence: the state machine behind a lock, its announcements numbered under the lock and sent
//! to the workers that have a subscriber.
//!
//! The lock orders everything: a snapshot with number `n` includes the announcements up to `n`, and those after
//! it reach the worker's inbox.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use cluster::facts::{Key, Value};
use parking_lot::{Mutex, MutexGuard};
use protocol::ephemeral::Ephemeral;
use protocol::member::Member;
use tokio::sync::Notify;

use crate::hub::ephemeral::EncodedEphemeral;
use crate::hub::hub::Hub;
use crate::hub::presence::{
    Announcement, Before, Connection, Departure, Limits, Presence, Refused,
};
use crate::hub::presence_note::{self, Note};
use crate::outbound::webhooks;
use crate::process::client_key::ClientKey;

/// The members of one application's presence channels, shared by all workers.
pub struct Roster {
    inner: Mutex<Inner>,
    started: Instant,
    /// Wakes [`Roster::run`]: a member may have entered its grace time.
    due: Notify,
    connections: AtomicU64,
}

struct Inner {
    presence: Presence,
    /// The number of the last announcement.
    number: u64,
    /// For the next start. None: there is none.
    note: Option<Note>,
}

/// The members of a channel at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Ordered by id.
    pub members: Vec<Member>,
    /// It includes the announcements up to this number.
    pub number: u64,
}

/// What another node says of a member.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    pub node: u8,
    /// Whether nothing that other nodes may have said of it is lacking.
    pub sure: bool,
    pub channel: Arc<str>,
    pub user: Arc<str>,
    /// None: it is there no longer.
    pub info: Option<Option<Arc<str>>>,
}

impl Roster {
    /// With those who were there before. `note`: for the next start.
    pub fn new(limits: Limits, before: Before, note: Option<Note>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                presence: Presence::new(limits, before, 0),
                number: 0,
                note,
            }),
            started: Instant::now(),
            due: Notify::new(),
            connections: AtomicU64::new(0),
        }
    }

    /// The limits from now on, for who joins.
    pub fn set_limits(&self, limits: Limits) {
        self.lock().presence.set_limits(limits);
    }

    /// A new number for one stream.
    pub fn connection(&self) -> Connection {
        self.connections.fetch_add(1, Relaxed)
    }

    /// A connection of `user` subscribed. `info`: JSON.
    ///
    /// # Errors
    /// If a bound is reached.
    pub fn join(
        &self,
        hub: &Hub,
        channel: &str,
        user: &str,
        info: Option<&str>,
        (client, connection): (ClientKey, Connection),
    ) -> Result<(), Refused> {
        let now = self.now();
        let mut inner = self.lock();
        let announcements = inner.presence.join(channel, user, info, connection, now)?;
        // Before the change is announced: after a SIGKILL nothing else may know of the member.
        inner.note_whether_somebody();
        inner.announce(hub, client, announcements);
        Ok(())
    }

    /// A connection of `user` is no longer subscribed. One that never was changes nothing.
    pub fn leave(
        &self,
        hub: &Hub,
        channel: &str,
        user: &str,
        (client, connection): (ClientKey, Connection),
        how: Departure,
    ) {
        let now = self.now();
        let mut inner = self.lock();
        let announcements = inner.presence.leave(channel, user, connection, how, now);
        inner.announce(hub, client, announcements);
        drop(inner);
        self.due.notify_one();
    }

    /// The members of a channel. None while they are not known again after a start; when they are, its subscribers
    /// are sent it.
    pub fn snapshot(&self, channel: &str) -> Option<Snapshot> {
        let inner = self.lock();
        let presence = &inner.presence;
        presence.settled(channel).then(|| Snapshot {
            members: list(presence, channel),
            number: inner.number,
        })
    }

    /// The members known so far, whether or not it has settled. Ordered by id.
    pub fn list(&self, channel: &str) -> Vec<Member> {
        list(&self.lock().presence, channel)
    }

    /// The number of members of one channel.
    pub fn count(&self, channel: &str) -> usize {
        self.lock().presence.count(channel)
    }

    /// The channels with members whose name begins with `prefix`, and the number of members of each.
    pub fn channels(&self, prefix: &str) -> Vec<(String, usize)> {
        let inner = self.lock();
        let all = inner.presence.channels();
        let all = all.filter(|(name, _)| name.starts_with(prefix));
        all.map(|(name, count)| (name.to_string(), count)).collect()
    }

    /// There are other nodes: who is here is said to them, and nobody is sent a snapshot before it is known whom they
    /// have, or `patience` is over.
    pub fn expect_others(&self, hub: &Hub, patience: Duration) {
        let inner = &mut *self.lock();
        let until = self.now() + patience.as_millis() as u64;
        inner.presence.expect_others(until);
        inner.say_whether_settled(hub);
    }

    /// Whether nothing is lacking of what the other nodes said.
    pub fn set_sure(&self, hub: &Hub, sure: bool) {
        let mut inner = self.lock();
        let announcements = inner.presence.set_sure(sure);
        inner.announce(hub, ClientKey::NONE, announcements);
    }

    /// All that the other nodes have was said.
    pub fn others_known(&self, hub: &Hub) {
        let mut inner = self.lock();
        let announcements = inner.presence.others_known();
        inner.announce(hub, ClientKey::NONE, announcements);
    }

    /// Another node has these members now, or has them no longer. `node`: below 64.
    pub fn on_elsewhere(&self, hub: &Hub, changes: &[Elsewhere]) {
        let now = self.now();
        let mut inner = self.lock();
        for change in changes {
            let (channel, user) = (&change.channel, &change.user);
            let presence = &mut inner.presence;
            let announcements = match &change.info {
                Some(info) => presence.set_elsewhere(channel, user, info.as_ref(), change.node),
                None => presence.unset_elsewhere(channel, user, (change.node, change.sure), now),
            };
            inner.announce(hub, ClientKey::NONE, announcements);
        }
        drop(inner);
        self.due.notify_one();
    }

    /// Notes who is there, for the next start; nobody joins or leaves any more.
    pub fn leave_note(&self) {
        let inner = &mut *self.lock();
        let Some(note) = &mut inner.note else { return };
        let own = |(channel, user): (&Arc<str>, &Arc<str>)| (channel.to_string(), user.to_string());
        note.leave(&match inner.presence.here() {
            _ if inner.presence.expects_somebody() => Before::Somebody,
            0 => Before::Nobody,
            // One more says that it is too long.
            _ => Before::These(
                inner
                    .presence
                    .all_here()
                    .take(presence_note::MOST + 1)
                    .map(own)
                    .collect(),
            ),
        });
    }

    /// The number of members of all channels, and of joins refused at each bound of `Refused::LIMITS`.
    pub fn counts(&self) -> (usize, [u64; Refused::LIMITS.len()]) {
        let inner = self.lock();
        (inner.presence.total(), inner.presence.refused)
    }

    /// The timer: removes the members who do not reconnect in time, and notes that nobody is left. Runs until it is
    /// dropped.
    pub async fn run(&self, hub: &Hub) -> Infallible {
        loop {
            let next = self.lock().presence.next();
            let wait = next.map(|at| Duration::from_millis(at.saturating_sub(self.now())));
            match wait {
                // Nothing earlier can be added: the grace time is the same for all.
                Some(wait) => tokio::time::sleep(wait).await,
                None => self.due.notified().await,
            }
            self.tick(hub, self.now());
        }
    }

    /// Handles the passing of time. `now`: milliseconds since this roster was created.
    pub fn tick(&self, hub: &Hub, now: u64) {
        let mut inner = self.lock();
        let announcements = inner.presence.tick(now);
        // Whose it was is not known any more.
        inner.announce(hub, ClientKey::NONE, announcements);
        inner.note_whether_somebody();
        inner.say_whether_settled(hub);
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

fn list(presence: &Presence, channel: &str) -> Vec<Member> {
    let member = |(user, info): (&Arc<str>, Option<&Arc<str>>)| Member {
        id: user.clone(),
        info: info.cloned(),
    };
    let mut members: Vec<Member> = presence.members(channel).map(member).collect();
    members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    members
}

impl Inner {
    /// So that the other nodes no longer wait for members of before.
    fn say_whether_settled(&self, hub: &Hub) {
        if !self.presence.expects_anybody() {
            hub.say_settled();
        }
    }

    fn note_whether_somebody(&mut self) {
        let somebody = self.presence.here() > 0 || self.presence.expects_somebody();
        if let Some(note) = &mut self.note {
            note.set(somebody);
        }
    }

    /// To the application by webhook, and to the subscribers, in this order.
    fn announce(&mut self, hub: &Hub, client: ClientKey, announcements: Vec<Announcement>) {
        use webhooks::event::What;
        for announcement in announcements {
            match announcement {
                Announcement::Occupied(channel) => {
                    hub.hook_once(client, &channel, What::ChannelOccupied);
                }
                Announcement::Vacated(channel) => {
                    hub.hook_once(client, &channel, What::ChannelVacated)
                }
                Announcement::Settled(channel) => hub.settle(channel),
                Announcement::Joined {
                    channel,
                    user,
                    info,
                } => {
                    self.number += 1;
                    let number = self.number;
                    hub.hook_once(client, &channel, What::MemberAdded { user: user.clone() });
                    let joined = Ephemeral::Joined { number, user, info };
                    hub.send_ephemeral(EncodedEphemeral::new(channel, joined));
                }
                Announcement::Left { channel, user } => {
                    self.number += 1;
                    let number = self.number;
                    hub.hook_once(client, &channel, What::MemberRemoved { user: user.clone() });
                    let left = Ephemeral::Left { number, user };
                    hub.send_ephemeral(EncodedEphemeral::new(channel, left));
                }
                Announcement::Here {
                    channel,
                    user,
                    info,
                } => {
                    let value = info.map_or(Value::Plain, Value::Info);
                    hub.say(Key::Member { channel, user }, Some(value));
                }
                Announcement::NotHere { channel, user } => {
                    hub.say(Key::Member { channel, user }, None);
                }
            }
        }
    }
}
