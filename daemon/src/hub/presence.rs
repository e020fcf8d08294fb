//! The members of presence channels. A user is one member, however many tabs and transports; joining and leaving
//! are announced once each; a user who reconnects within the grace time never left.
//!
//! A state machine without sockets and clock: calls in, announcements out. There is one for each application, so
//! none can see another's members. The cost of a call does not depend on the number of members; the members in
//! grace are a list in the order of their disconnecting, linked through the slab.
//!
//! Pages do not see a restart of the daemon as everybody leaving and joining. Members of before ([`Before::These`])
//! are in grace at the start, *returning*: until each of a channel's is back or its grace is over, nobody is sent a
//! snapshot of this channel, and pages keep the list they have. Then its subscribers are ([`Announcement::Settled`]).
//! If it is only known that there were members, not who ([`Before::Somebody`]), no channel settles until the grace
//! time is over.
//!
//! On several hosts a member may be *here*, because of connections of this node, or *elsewhere*, because other nodes say
//! so, or both: it is announced once, and leaves when it is nowhere any more. What is here is announced too, for the others.
//!
//! A channel is occupied while it has members. This and the changes of its members are announced in one order:
//! occupied before the first one joined, vacated after the last one left.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::user_bounds::{TooLong, UserBounds};
use slab::Slab;

/// One stream, by a number that is unique within its application.
pub type Connection = u64;

/// Bounds, and the grace time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Members of a channel, including those in grace. Default: 100, as at Pusher.
    pub channel_members: usize,
    /// Members of all channels, those elsewhere included, and of those, one user on so many channels. Who is elsewhere is
    /// refused by its own node alone.
    pub members: usize,
    pub user_channels: usize,
    /// Connections of one member to one channel.
    pub connections: usize,
    /// How long ids and infos may be.
    pub users: UserBounds,
    /// Milliseconds for which a member stays after its last connection was lost. Default: 5,000.
    pub grace: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channel_members: 100,
            members: 1_000_000,
            user_channels: 10_000,
            connections: 100,
            users: UserBounds::default(),
            grace: 5_000,
        }
    }
}

/// Of so many members, those that one user may be: an eighth, and at least on the channels of one stream.
pub fn channels_of_a_user(members: usize) -> usize {
    (members / 8).max(100)
}

/// Who was a member before the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    Nobody,
    /// It is not known who.
    Somebody,
    /// Channels and users.
    These(Vec<(String, String)>),
}

/// What happened, in order. Subscribers that were not sent a snapshot yet ignore who joined and left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// The channel has its first member.
    Occupied(Arc<str>),
    Joined {
        channel: Arc<str>,
        user: Arc<str>,
        info: Option<Arc<str>>,
    },
    Left {
        channel: Arc<str>,
        user: Arc<str>,
    },
    /// The channel has no member any more.
    Vacated(Arc<str>),
    /// The channel's members are known again: its subscribers that wait for a snapshot are sent it now.
    Settled(Arc<str>),
    /// For the other nodes: the user is a member on this one now.
    Here {
        channel: Arc<str>,
        user: Arc<str>,
        info: Option<Arc<str>>,
    },
    /// For the other nodes: it no longer is.
    NotHere {
        channel: Arc<str>,
        user: Arc<str>,
    },
}

/// Why a user cannot join. `Display` is a phrase for the client that names the limit and its setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// [`Limits::channel_members`] is reached.
    #[error("the channel has as many members as are allowed, {0} (app.channel_members)")]
    ChannelFull(usize),
    /// [`Limits::members`] is reached.
    #[error("all channels together have as many members as are allowed, {0} (app.members)")]
    Full(usize),
    #[error(
        "the user is on as many presence channels as are allowed, {0} (an eighth of app.members)"
    )]
    TooManyChannels(usize),
    #[error("the user has as many connections here as are allowed, {0}")]
    TooManyConnections(usize),
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

impl Refused {
    /// The bounds, as metrics name them.
    pub const LIMITS: [&str; 5] = [
        "members_of_channel",
        "members",
        "channels_of_user",
        "connections_of_user",
        "bytes",
    ];

    fn limit(&self) -> usize {
        match self {
            Self::ChannelFull(_) => 0,
            Self::Full(_) => 1,
            Self::TooManyChannels(_) => 2,
            Self::TooManyConnections(_) => 3,
            Self::TooLong(_) => 4,
        }
    }
}

/// How a connection left a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It unsubscribed, or was closed on purpose: if it was the last connection, the user leaves at once.
    Meant,
    /// It was lost, or ended by the daemon: the user may reconnect within the grace time.
    Lost,
}

#[derive(Debug)]
struct Member {
    channel: Arc<str>,
    user: Arc<str>,
    info: Option<Arc<str>>,
    connections: Vec<Connection>,
    /// It has a connection here, or had one and is in grace.
    here: bool,
    /// The other nodes that have it, a bit each.
    elsewhere: u64,
    /// It is nowhere, and in grace: another node may be about to say that it is there. Until it is known that none is, or the
    /// grace time is over.
    lingering: bool,
    /// It was a member before the start, and is not back yet.
    returning: bool,
    /// When the grace time ends, of the last connection or of one of several that was lost.
    until: u64,
    /// Neighbours in the list, only used while it is in grace.
    before: Option<usize>,
    after: Option<usize>,
}

#[derive(Debug, Default)]
struct Channel {
    users: HashMap<Arc<str>, usize>,
    /// How many of them are returning.
    returning: usize,
}

/// The members of one application's presence channels.
#[derive(Debug)]
pub struct Presence {
    limits: Limits,
    members: Slab<Member>,
    channels: HashMap<Arc<str>, Channel>,
    /// Channels of each user.
    users: HashMap<Arc<str>, usize>,
    /// Those in grace, who leaves first being first.
    first: Option<usize>,
    last: Option<usize>,
    /// The latest time that was passed in: it never goes back.
    now: u64,
    /// Until when nobody knows who was there before the start.
    settling: Option<u64>,
    /// There are other nodes.
    clustered: bool,
    /// Until when it is waited for what the other nodes have.
    others: Option<u64>,
    /// Nothing is lacking of what the other nodes said.
    sure: bool,
    /// Members that are here, those of them that are returning, and those that are nowhere and in grace.
    here: usize,
    returning: usize,
    lingering: usize,
    /// Joins refused at each bound of [`Refused::LIMITS`].
    pub refused: [u64; Refused::LIMITS.len()],
}

impl Presence {
    /// With the members of before, as many as are allowed. `now` and all times are milliseconds of one clock.
    pub fn new(limits: Limits, before: Before, now: u64) -> Self {
        let unknown = before == Before::Somebody;
        let mut presence = Self {
            limits,
            members: Slab::new(),
            channels: HashMap::new(),
            users: HashMap::new(),
            first: None,
            last: None,
            now,
            settling: unknown.then(|| now.saturating_add(limits.grace)),
            clustered: false,
            others: None,
            sure: true,
            here: 0,
            returning: 0,
            lingering: 0,
            refused: Default::default(),
        };
        if let Before::These(members) = before {
            for (channel, user) in members {
                presence.expect(&channel, &user);
            }
        }
        presence
    }

    /// The limits from now on, for who joins. The grace time stays: those in grace are in the order of its end.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = Limits {
            grace: self.limits.grace,
            ..limits
        };
    }

    /// Whether the members of a channel are known, so that a snapshot of them may be sent.
    pub fn settled(&self, channel: &str) -> bool {
        let channel = self.channels.get(channel);
        self.all_known() && channel.is_none_or(|channel| channel.returning == 0)
    }

    fn all_known(&self) -> bool {
        self.settling.is_none() && self.others.is_none()
    }

    /// There are other nodes, and no snapshot is sent before it is known what they have ([`Self::others_known`]), up to
    /// `until`.
    pub fn expect_others(&mut self, until: u64) {
        self.clustered = true;
        self.others = Some(until);
    }

    /// All that the other nodes have was said.
    pub fn others_known(&mut self) -> Vec<Announcement> {
        match self.others.take() {
            Some(_) => self.settled_now(),
            None => Vec::new(),
        }
    }

    /// Of the channels that nobody is expected back to, unless all are unknown.
    fn settled_now(&self) -> Vec<Announcement> {
        if !self.all_known() {
            return Vec::new();
        }
        let channels = self.channels.iter();
        let settled = channels.filter(|(_, channel)| channel.returning == 0);
        settled
            .map(|(name, _)| Announcement::Settled(name.clone()))
            .collect()
    }

    /// Another node has a member. `node`: below 64. `info`: JSON on one line.
    pub fn set_elsewhere(
        &mut self,
        channel: &str,
        user: &str,
        info: Option<&Arc<str>>,
        node: u8,
    ) -> Vec<Announcement> {
        // What could not be one here is none.
        let fits = self.limits.users.check(user, info.map(|info| &**info));
        if fits.is_err() {
            return Vec::new();
        }
        if let Some(at) = self.find(channel, user) {
            self.members[at].elsewhere |= 1 << node;
            self.linger_no_more(at);
            return Vec::new();
        }
        let (at, others) = self.add(channel, user);
        let member = &mut self.members[at];
        member.elsewhere = 1 << node;
        member.info = info.cloned();
        self.joined(at, others)
    }

    /// That node has it no longer. `sure`: nor is any other about to say that it has it; else it may be said within the
    /// grace time.
    pub fn unset_elsewhere(
        &mut self,
        channel: &str,
        user: &str,
        (node, sure): (u8, bool),
        now: u64,
    ) -> Vec<Announcement> {
        self.now = self.now.max(now);
        let Some(at) = self.find(channel, user) else {
            return Vec::new();
        };
        let member = &mut self.members[at];
        if member.elsewhere & 1 << node == 0 {
            return Vec::new();
        }
        member.elsewhere &= !(1 << node);
        match member.here || member.elsewhere != 0 {
            true => Vec::new(),
            false if (sure && self.sure) || self.limits.grace == 0 => self.remove(at),
            false => {
                self.linger(at);
                Vec::new()
            }
        }
    }

    /// Whether nothing is lacking of what the other nodes said. If so, nobody may be about to say of somebody who is
    /// nowhere that he is there: he leaves.
    pub fn set_sure(&mut self, sure: bool) -> Vec<Announcement> {
        self.sure = sure;
        let mut announcements = Vec::new();
        let mut next = self.first.filter(|_| sure && self.lingering > 0);
        while let Some(at) = next {
            next = self.members[at].after;
            if self.members[at].lingering {
                self.linger_no_more(at);
                announcements.extend(self.remove(at));
            }
        }
        announcements
    }

    fn linger(&mut self, at: usize) {
        self.members[at].lingering = true;
        self.lingering += 1;
        self.link(at);
    }

    fn linger_no_more(&mut self, at: usize) {
        if std::mem::take(&mut self.members[at].lingering) {
            self.lingering -= 1;
            self.unlink(at);
        }
    }

    /// Whether somebody of before may come back.
    pub fn expects_anybody(&self) -> bool {
        self.settling.is_some() || self.returning > 0
    }

    /// Whether somebody of before may come back of whom nothing is known.
    pub fn expects_somebody(&self) -> bool {
        self.settling.is_some()
    }

    /// A connection of `user` subscribed. The member keeps the info of its first connection. `info`: JSON.
    ///
    /// # Errors
    /// If a bound is reached.
    pub fn join(
        &mut self,
        channel: &str,
        user: &str,
        info: Option<&str>,
        connection: Connection,
        now: u64,
    ) -> Result<Vec<Announcement>, Refused> {
        self.now = self.now.max(now);
        let joined = self.try_join(channel, user, info, connection);
        if let Err(why) = &joined {
            self.refused[why.limit()] += 1;
        }
        joined
    }

    fn try_join(
        &mut self,
        channel: &str,
        user: &str,
        info: Option<&str>,
        connection: Connection,
    ) -> Result<Vec<Announcement>, Refused> {
        self.limits.users.check(user, info)?;
        if let Some(at) = self.find(channel, user) {
            let connections = &self.members[at].connections;
            if connections.contains(&connection) {
                return Ok(Vec::new());
            }
            if connections.len() >= self.limits.connections {
                return Err(Refused::TooManyConnections(connections.len()));
            }
            let was_here = self.members[at].here;
            self.linger_no_more(at);
            if self.members[at].connections.is_empty() && was_here {
                self.unlink(at);
            }
            let member = &mut self.members[at];
            member.connections.push(connection);
            member.until = 0;
            if !was_here {
                return Ok(self.comes(at, info).into_iter().collect());
            }
            if !member.returning {
                return Ok(Vec::new());
            }
            member.info = info.map(Into::into);
            let mut announcements = self.returned(at);
            announcements.extend(self.say_here(at, info));
            return Ok(announcements);
        }
        let (at, others) = self.insert(channel, user)?;
        let member = &mut self.members[at];
        member.connections.push(connection);
        member.info = info.map(Into::into);
        let mut announcements = self.joined(at, others);
        announcements.extend(self.comes(at, info));
        Ok(announcements)
    }

    /// A new member. `others`: of its channel.
    fn joined(&self, at: usize, others: usize) -> Vec<Announcement> {
        let member = &self.members[at];
        let joined = Announcement::Joined {
            channel: member.channel.clone(),
            user: member.user.clone(),
            info: member.info.clone(),
        };
        match others {
            0 => vec![Announcement::Occupied(member.channel.clone()), joined],
            _ => vec![joined],
        }
    }

    /// The member is here from now on.
    fn comes(&mut self, at: usize, info: Option<&str>) -> Option<Announcement> {
        self.members[at].here = true;
        self.here += 1;
        self.say_here(at, info)
    }

    /// For the other nodes. Not before it is back: as long as this node has not settled, they keep whom they knew.
    fn say_here(&self, at: usize, info: Option<&str>) -> Option<Announcement> {
        let member = &self.members[at];
        self.clustered.then(|| Announcement::Here {
            channel: member.channel.clone(),
            user: member.user.clone(),
            info: info.map(Into::into),
        })
    }

    /// The member is no longer here. It leaves, unless it is elsewhere. `lingers`: unless another node may be about to say
    /// that it is there.
    fn goes(&mut self, at: usize, lingers: bool) -> Vec<Announcement> {
        let member = &mut self.members[at];
        member.here = false;
        self.here -= 1;
        let mut announcements = Vec::new();
        if self.clustered {
            announcements.push(Announcement::NotHere {
                channel: member.channel.clone(),
                user: member.user.clone(),
            });
        }
        if member.elsewhere == 0 && lingers && self.limits.grace > 0 {
            self.linger(at);
        } else if member.elsewhere == 0 {
            announcements.extend(self.remove(at));
        }
        announcements
    }

    /// A member of before is expected back.
    fn expect(&mut self, channel: &str, user: &str) {
        if self.find(channel, user).is_none()
            && let Ok((at, _)) = self.insert(channel, user)
        {
            self.members[at].here = true;
            self.here += 1;
            self.members[at].returning = true;
            self.returning += 1;
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.returning += 1;
            }
            self.link(at);
        }
    }

    /// A member that was returning no longer is: it is back, or its grace is over.
    fn returned(&mut self, at: usize) -> Vec<Announcement> {
        let member = &mut self.members[at];
        member.returning = false;
        self.returning -= 1;
        let name = &member.channel;
        let Some(channel) = self.channels.get_mut(name) else {
            return Vec::new();
        };
        channel.returning -= 1;
        let settled = channel.returning == 0 && self.settling.is_none() && self.others.is_none();
        match settled {
            true => vec![Announcement::Settled(name.clone())],
            false => Vec::new(),
        }
    }

    /// [`Self::add`], if there is room.
    fn insert(&mut self, channel: &str, user: &str) -> Result<(usize, usize), Refused> {
        if self.members.len() >= self.limits.members {
            return Err(Refused::Full(self.limits.members));
        }
        if self.count(channel) >= self.limits.channel_members {
            return Err(Refused::ChannelFull(self.limits.channel_members));
        }
        let channels = self.users.get(user).copied().unwrap_or(0);
        if channels >= self.limits.user_channels {
            return Err(Refused::TooManyChannels(self.limits.user_channels));
        }
        Ok(self.add(channel, user))
    }

    /// Adds a member that is nowhere yet. Also returns how many others the channel has.
    fn add(&mut self, channel: &str, user: &str) -> (usize, usize) {
        let others = self.count(channel);
        let channel: Arc<str> = match self.channels.get_key_value(channel) {
            Some((name, _)) => name.clone(),
            None => channel.into(),
        };
        let user: Arc<str> = user.into();
        let at = self.members.insert(Member {
            channel: channel.clone(),
            user: user.clone(),
            info: None,
            connections: Vec::new(),
            here: false,
            elsewhere: 0,
            lingering: false,
            returning: false,
            until: 0,
            before: None,
            after: None,
        });
        let users = &mut self.channels.entry(channel).or_default().users;
        users.insert(user.clone(), at);
        *self.users.entry(user).or_default() += 1;
        (at, others)
    }

    /// A connection of `user` is no longer subscribed. One that never was changes nothing.
    pub fn leave(
        &mut self,
        channel: &str,
        user: &str,
        connection: Connection,
        how: Departure,
        now: u64,
    ) -> Vec<Announcement> {
        self.now = self.now.max(now);
        let Some(at) = self.find(channel, user) else {
            return Vec::new();
        };
        let connections = &mut self.members[at].connections;
        let Some(index) = connections.iter().position(|one| *one == connection) else {
            return Vec::new();
        };
        connections.swap_remove(index);
        let last = connections.is_empty();
        let member = &mut self.members[at];
        if how == Departure::Lost {
            member.until = self.now.saturating_add(self.limits.grace);
        }
        if !last {
            return Vec::new();
        }
        // Another one that was lost before may still come back.
        if member.until > self.now {
            self.link(at);
            return Vec::new();
        }
        // Another tab may be at a node that was not heard yet.
        self.goes(at, !self.sure)
    }

    /// Handles the passing of time; to be called at [`Self::next`] or later.
    pub fn tick(&mut self, now: u64) -> Vec<Announcement> {
        self.now = self.now.max(now);
        let (mut announcements, mut settled) = (Vec::new(), Vec::new());
        while let Some(at) = self.first
            && self.members[at].until <= self.now
        {
            if self.members[at].lingering {
                self.linger_no_more(at);
                announcements.extend(self.remove(at));
                continue;
            }
            self.unlink(at);
            let returning = self.members[at].returning;
            if returning {
                settled.extend(self.returned(at));
            }
            announcements.extend(self.goes(at, !self.sure && !returning));
        }
        // Once all that is over is over.
        announcements.extend(settled);
        let over = |at: &mut Option<u64>| at.take_if(|at| *at <= self.now).is_some();
        if over(&mut self.settling) | over(&mut self.others) {
            announcements.extend(self.settled_now());
        }
        announcements
    }

    /// When [`Self::tick`] has something to do next. None: not until a connection is lost.
    pub fn next(&self) -> Option<u64> {
        let first = self.first.map(|at| self.members[at].until);
        let all = [first, self.settling, self.others];
        all.into_iter().flatten().min()
    }

    /// The user and info of each member, in no particular order.
    pub fn members(&self, channel: &str) -> impl Iterator<Item = (&Arc<str>, Option<&Arc<str>>)> {
        let channel = self.channels.get(channel).into_iter();
        channel
            .flat_map(|channel| channel.users.values())
            .map(|at| {
                let member = &self.members[*at];
                (&member.user, member.info.as_ref())
            })
    }

    /// Channels with members, and how many each has, including those in grace.
    pub fn channels(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        let channels = self.channels.iter();
        channels.map(|(name, channel)| (name, channel.users.len()))
    }

    /// The channel and the user of each member that is here.
    pub fn all_here(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let all = self.members.iter();
        let here = all.filter(|(_, member)| member.here);
        here.map(|(_, member)| (&member.channel, &member.user))
    }

    /// The number of members that are here, those in grace included.
    pub fn here(&self) -> usize {
        self.here
    }

    /// The number of members of a channel, including those in grace.
    pub fn count(&self, channel: &str) -> usize {
        let channel = self.channels.get(channel);
        channel.map_or(0, |channel| channel.users.len())
    }

    /// The number of members of all channels.
    pub fn total(&self) -> usize {
        self.members.len()
    }

    fn find(&self, channel: &str, user: &str) -> Option<usize> {
        self.channels.get(channel)?.users.get(user).copied()
    }

    /// Removes a member that is nowhere and not in the list.
    fn remove(&mut self, at: usize) -> Vec<Announcement> {
        let Member { channel, user, .. } = self.members.remove(at);
        let mut vacated = None;
        if let Some(entry) = self.channels.get_mut(&channel) {
            entry.users.remove(&user);
            if entry.users.is_empty() {
                self.channels.remove(&channel);
                vacated = Some(Announcement::Vacated(channel.clone()));
            }
        }
        if let Some(count) = self.users.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user);
            }
        }
        let left = Announcement::Left { channel, user };
        [left].into_iter().chain(vacated).collect()
    }

    /// Appends a member to the list: the grace time is the same for all and time does not go back, so the list
    /// stays in order.
    fn link(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.until = self.now.saturating_add(self.limits.grace);
        (member.before, member.after) = (self.last, None);
        match self.last.replace(at) {
            Some(last) => self.members[last].after = Some(at),
            None => self.first = Some(at),
        }
    }

    fn unlink(&mut self, at: usize) {
        let (before, after) = (self.members[at].before, self.members[at].after);
        match before {
            Some(before) => self.members[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.members[after].before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const ROOM: &str = "presence-room";

    fn fresh(limits: Limits) -> Presence {
        Presence::new(limits, Before::Nobody, 0)
    }

    fn these(members: &[(&str, &str)]) -> Before {
        let own = |(channel, user): &(&str, &str)| ((*channel).to_owned(), (*user).to_owned());
        Before::These(members.iter().map(own).collect())
    }

    fn occupied() -> Announcement {
        Announcement::Occupied(ROOM.into())
    }

    fn vacated() -> Announcement {
        Announcement::Vacated(ROOM.into())
    }

    fn settled() -> Announcement {
        Announcement::Settled(ROOM.into())
    }

    fn joined(user: &str) -> Announcement {
        Announcement::Joined {
            channel: ROOM.into(),
            user: user.into(),
            info: None,
        }
    }

    const NONE: [Announcement; 0] = [];

    fn left(user: &str) -> Announcement {
        Announcement::Left {
            channel: ROOM.into(),
            user: user.into(),
        }
    }

    #[test]
    fn three_tabs_are_one_member() {
        let mut p = fresh(Limits::default());
        assert_eq!(
            p.join(ROOM, "7", None, 1, 10_000).unwrap(),
            [occupied(), joined("7")]
        );
        assert_eq!(p.join(ROOM, "7", None, 2, 10_000).unwrap(), NONE);
        assert_eq!(p.join(ROOM, "7", None, 2, 10_000).unwrap(), NONE, "again");
        assert_eq!(p.leave(ROOM, "7", 2, Departure::Meant, 10_000), NONE);
        assert_eq!(p.leave(ROOM, "7", 2, Departure::Meant, 10_000), NONE);
        assert_eq!(p.leave(ROOM, "8", 1, Departure::Meant, 10_000), NONE);
        assert_eq!(p.count(ROOM), 1);
        let last = p.leave(ROOM, "7", 1, Departure::Meant, 10_000);
        assert_eq!(last, [left("7"), vacated()]);
        assert_eq!((p.count(ROOM), p.total(), p.channels.len()), (0, 0, 0));
    }

    #[test]
    fn a_reconnect_within_the_grace_time_is_not_seen() {
        let mut p = fresh(Limits::default());
        p.join(ROOM, "7", Some("1"), 1, 10_000).unwrap();
        assert_eq!(p.leave(ROOM, "7", 1, Departure::Lost, 10_000), NONE);
        assert_eq!(p.next(), Some(15_000));
        assert_eq!(p.tick(14_999), []);
        assert_eq!(p.join(ROOM, "7", Some("2"), 2, 14_999).unwrap(), NONE);
        assert_eq!((p.tick(20_000), p.next()), (vec![], None));
        let members: Vec<_> = p.members(ROOM).collect();
        assert_eq!(members, [(&"7".into(), Some(&"1".into()))]);
        p.leave(ROOM, "7", 2, Departure::Lost, 30_000);
        assert_eq!(p.count(ROOM), 1, "occupied during the grace time");
        assert_eq!(p.tick(35_000), [left("7"), vacated()]);
        assert_eq!(p.tick(99_000), []);
    }

    #[test]
    fn a_channel_is_vacated_after_its_last_member_only() {
        let mut p = fresh(Limits::default());
        p.join(ROOM, "7", None, 1, 1000).unwrap();
        p.join(ROOM, "8", None, 2, 1000).unwrap();
        p.leave(ROOM, "8", 2, Departure::Lost, 1000);
        // The last connection is gone on purpose, and somebody may still be back.
        assert_eq!(p.leave(ROOM, "7", 1, Departure::Meant, 2000), [left("7")]);
        assert_eq!(p.tick(6000), [left("8"), vacated()]);
    }

    #[test]
    fn where_it_is_not_known_who_was_there_a_snapshot_waits_for_the_grace_time() {
        let mut p = Presence::new(Limits::default(), Before::Somebody, 1000);
        p.join(ROOM, "7", None, 1, 1500).unwrap();
        p.join(ROOM, "8", None, 2, 1600).unwrap();
        p.leave(ROOM, "8", 2, Departure::Meant, 1700);
        assert!(!p.settled(ROOM) && p.expects_somebody());
        assert_eq!((p.next(), p.tick(5999)), (Some(6000), vec![]));
        assert_eq!(p.tick(6000), [settled()]);
        assert!(p.settled(ROOM) && !p.expects_somebody() && p.count(ROOM) == 1);
        assert_eq!(p.join(ROOM, "8", None, 2, 6000).unwrap(), [joined("8")]);
    }

    #[test]
    fn a_channel_settles_when_the_last_of_those_of_before_is_back() {
        let before = these(&[(ROOM, "7"), (ROOM, "8"), (ROOM, "7"), ("presence-b", "7")]);
        let mut p = Presence::new(Limits::default(), before, 1000);
        assert_eq!((p.count(ROOM), p.total()), (2, 3));
        assert!(p.settled("presence-new") && !p.settled(ROOM));
        // Who returns has not been away; its info is what it shows now.
        assert_eq!(p.join(ROOM, "7", Some("1"), 1, 1500).unwrap(), NONE);
        assert_eq!(p.join(ROOM, "9", None, 3, 1500).unwrap(), [joined("9")]);
        assert!(!p.settled(ROOM));
        assert_eq!(p.join(ROOM, "8", None, 2, 1600).unwrap(), [settled()]);
        assert!(p.settled(ROOM) && !p.settled("presence-b"));
        let mut members: Vec<_> = p
            .members(ROOM)
            .map(|(user, info)| (&**user, info.cloned()))
            .collect();
        members.sort();
        assert_eq!(members, [("7", Some("1".into())), ("8", None), ("9", None)]);
        let not_back = Announcement::Left {
            channel: "presence-b".into(),
            user: "7".into(),
        };
        let vacated = Announcement::Vacated("presence-b".into());
        assert_eq!(p.tick(6000)[..2], [not_back, vacated]);
        assert_eq!((p.count("presence-b"), p.next()), (0, None));
    }

    #[test]
    fn a_channel_settles_when_the_grace_of_those_of_before_is_over() {
        let before = these(&[(ROOM, "7"), (ROOM, "8")]);
        let mut p = Presence::new(Limits::default(), before, 1000);
        p.join(ROOM, "7", None, 1, 1500).unwrap();
        assert_eq!((p.next(), p.tick(5999)), (Some(6000), vec![]));
        assert_eq!(p.tick(6000), [left("8"), settled()]);
        assert!(p.settled(ROOM));
    }

    #[test]
    fn joins_beyond_a_bound_are_refused_and_counted() {
        let limits = Limits {
            channel_members: 2,
            members: 3,
            user_channels: 3,
            connections: 2,
            users: UserBounds { id: 2, info: 9 },
            grace: 0,
        };
        let mut p = fresh(limits);
        let mut join =
            |channel, user, connection| p.join(channel, user, None, connection, 0).map(|_| ());
        assert_eq!((join("a", "1", 1), join("a", "2", 2)), (Ok(()), Ok(())));
        assert_eq!(join("a", "3", 3), Err(Refused::ChannelFull(2)));
        assert_eq!(join("a", "1", 4), Ok(()), "a member already");
        assert_eq!(join("a", "1", 5), Err(Refused::TooManyConnections(2)));
        assert_eq!(join("b", "1", 1), Ok(()));
        assert_eq!(join("c", "1", 1), Err(Refused::Full(3)));
        assert_eq!(p.refused, [1, 1, 0, 1, 0]);
        assert_eq!(p.leave("b", "1", 1, Departure::Lost, 0).len(), 2);
        let long = p.join("b", "1", Some("0123456789"), 1, 0);
        assert_eq!(long, Err(TooLong::Info(9).into()));
        assert_eq!(p.join("b", "123", None, 1, 0), Err(TooLong::Id(2).into()));
        assert_eq!(
            (p.total(), p.channels.len()),
            (2, 1),
            "refused joins leave nothing behind"
        );
    }

    #[test]
    fn a_user_takes_its_share_of_the_members_and_no_more() {
        let limits = Limits {
            user_channels: 2,
            grace: 50,
            ..Limits::default()
        };
        let mut p = fresh(limits);
        let join = |p: &mut Presence, channel, user| p.join(channel, user, None, 1, 100).map(drop);
        assert_eq!(
            (join(&mut p, "a", "1"), join(&mut p, "b", "1")),
            (Ok(()), Ok(()))
        );
        assert_eq!(join(&mut p, "c", "1"), Err(Refused::TooManyChannels(2)));
        assert_eq!(join(&mut p, "b", "1"), Ok(()), "there already");
        assert_eq!(join(&mut p, "c", "2"), Ok(()), "another");
        p.leave("a", "1", 1, Departure::Lost, 100);
        assert_eq!(
            join(&mut p, "c", "1"),
            Err(Refused::TooManyChannels(2)),
            "in grace"
        );
        p.tick(150);
        assert_eq!(join(&mut p, "c", "1"), Ok(()));
        for (channel, user) in [("b", "1"), ("c", "1"), ("c", "2")] {
            p.leave(channel, user, 1, Departure::Meant, 150);
        }
        assert!(p.users.is_empty() && p.total() == 0);
    }

    /// One node of several, which has heard of all others.
    fn among_others() -> Presence {
        let mut p = fresh(Limits::default());
        p.expect_others(5_000);
        assert_eq!(p.others_known(), []);
        p
    }

    fn not_here(user: &str) -> Announcement {
        Announcement::NotHere {
            channel: ROOM.into(),
            user: user.into(),
        }
    }

    #[test]
    fn who_may_be_elsewhere_leaves_when_it_is_known_that_it_is_not_and_at_the_latest_after_another_grace_time()
     {
        let lost = || {
            let mut p = among_others();
            p.join(ROOM, "7", None, 1, 1_000).unwrap();
            p.leave(ROOM, "7", 1, Departure::Lost, 1_000);
            assert_eq!(p.set_sure(false), []);
            assert_eq!(p.tick(6_000), [not_here("7")]);
            p
        };
        let mut p = lost();
        assert_eq!(p.set_sure(false), []);
        assert_eq!(p.set_sure(true), [left("7"), vacated()]);
        assert_eq!((p.next(), p.total(), p.set_sure(true)), (None, 0, vec![]));

        let mut p = lost();
        assert_eq!(p.tick(10_999), []);
        assert_eq!(p.tick(11_000), [left("7"), vacated()]);

        let mut p = lost();
        assert_eq!(p.set_elsewhere(ROOM, "7", None, 3), []);
        assert_eq!((p.set_sure(true), p.tick(99_000)), (vec![], vec![]));
        assert_eq!(p.count(ROOM), 1, "it had gone there");
    }

    #[test]
    fn who_ended_on_one_node_and_may_be_on_another_one_leaves_when_it_is_known_that_it_is_not() {
        let mut p = among_others();
        p.join(ROOM, "8", None, 1, 1_000).unwrap();
        p.leave(ROOM, "8", 1, Departure::Lost, 1_000);
        assert_eq!(p.set_elsewhere(ROOM, "7", None, 3), [joined("7")]);
        assert_eq!(p.set_sure(true), []);
        // It was known a moment ago.
        assert_eq!(p.unset_elsewhere(ROOM, "7", (3, false), 2_000), []);
        assert_eq!(p.set_sure(true), [left("7")]);
        assert_eq!(p.tick(6_000)[1..], [left("8"), vacated()], "in its time");
    }

    #[test]
    fn who_leaves_on_purpose_may_have_another_tab_at_a_node_that_was_not_heard() {
        let ends = |sure: bool| {
            let mut p = among_others();
            p.join(ROOM, "7", None, 1, 1_000).unwrap();
            p.set_sure(sure);
            let announced = p.leave(ROOM, "7", 1, Departure::Meant, 1_000);
            (p, announced)
        };
        assert_eq!(ends(true).1, [not_here("7"), left("7"), vacated()]);

        let (mut p, announced) = ends(false);
        assert_eq!((announced, p.next()), (vec![not_here("7")], Some(6_000)));
        assert_eq!(p.set_elsewhere(ROOM, "7", None, 3), []);
        assert_eq!((p.set_sure(true), p.tick(99_000)), (vec![], vec![]));

        let (mut p, _) = ends(false);
        assert_eq!(p.set_sure(true), [left("7"), vacated()]);
    }

    /// Connection `n` is of user `n % 3` and of channel `n % 2`.
    #[derive(Debug, Clone)]
    enum Step {
        Join(u64),
        Leave(u64),
        Lose(u64),
        /// The daemon is killed: only that there were members is known.
        Kill,
        /// It is restarted, and knows who was there.
        Restart,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0..12u64).prop_map(Step::Join),
            4 => (0..12u64).prop_map(Step::Leave),
            8 => (0..12u64).prop_map(Step::Lose),
            1 => Just(Step::Kill),
            2 => Just(Step::Restart),
            8 => (0..60u64).prop_map(Step::Wait),
        ]
    }

    type Members = BTreeSet<(String, String)>;

    fn listed(p: &Presence) -> Members {
        let own = |(channel, user): (&Arc<str>, &Arc<str>)| (channel.to_string(), user.to_string());
        p.all_here().map(own).collect()
    }

    fn on(members: &Members, channel: &str) -> Members {
        members
            .iter()
            .filter(|(on, _)| on == channel)
            .cloned()
            .collect()
    }

    /// The application and a page that is subscribed to everything: they keep what is announced to them, and fail on what
    /// contradicts it.
    #[derive(Default)]
    struct Told {
        by_webhook: Members,
        occupied: BTreeSet<String>,
        /// Of each channel that the page was sent a snapshot of.
        page: BTreeMap<String, Members>,
    }

    impl Told {
        fn receive(&mut self, presence: &Presence, announced: Vec<Announcement>) {
            for one in announced {
                match one {
                    Announcement::Occupied(channel) => {
                        assert!(on(&self.by_webhook, &channel).is_empty());
                        assert!(self.occupied.insert(channel.to_string()));
                    }
                    Announcement::Vacated(channel) => {
                        assert!(on(&self.by_webhook, &channel).is_empty(), "too early");
                        assert!(self.occupied.remove(&*channel));
                    }
                    Announcement::Joined { channel, user, .. } => {
                        assert!(self.occupied.contains(&*channel), "too early");
                        let member = (channel.to_string(), user.to_string());
                        if let Some(page) = self.page.get_mut(&*channel) {
                            assert!(page.insert(member.clone()), "joined twice");
                        }
                        assert!(self.by_webhook.insert(member), "joined twice");
                    }
                    Announcement::Left { channel, user } => {
                        let member = (channel.to_string(), user.to_string());
                        if let Some(page) = self.page.get_mut(&*channel) {
                            assert!(page.remove(&member), "left twice");
                        }
                        assert!(self.by_webhook.remove(&member), "left twice");
                    }
                    Announcement::Settled(channel) => {
                        let members = on(&listed(presence), &channel);
                        self.page.insert(channel.to_string(), members);
                    }
                    Announcement::Here { .. } | Announcement::NotHere { .. } => {
                        panic!("there are no other nodes")
                    }
                }
            }
        }

        /// Snapshots of what is known at once.
        fn subscribe(&mut self, presence: &Presence) {
            self.page.clear();
            for channel in ["a", "b"] {
                if presence.settled(channel) {
                    let members = on(&listed(presence), channel);
                    self.page.insert(channel.to_owned(), members);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn members_are_exactly_the_connected_and_those_in_grace(steps in prop::collection::vec(step(), 0..80)) {
            const GRACE: u64 = 50;
            let limits = Limits { grace: GRACE, ..Limits::default() };
            let mut now = 0;
            let mut p = Presence::new(limits, Before::Nobody, now);
            let mut told = Told::default();
            told.subscribe(&p);
            let mut open: BTreeSet<u64> = BTreeSet::new();
            // Of members with several connections: since when one of them is lost.
            let mut missing: BTreeMap<(String, String), u64> = BTreeMap::new();
            // Members whose last connection was lost, or who were there before a restart, and since when.
            let mut lost: BTreeMap<(String, String), u64> = BTreeMap::new();
            let name = |n: u64| (["a", "b"][n as usize % 2], (n % 3).to_string());
            let key = |n: u64| (name(n).0.to_owned(), name(n).1);
            for step in steps {
                match step {
                    Step::Join(n) => {
                        let announced = p.join(name(n).0, &name(n).1, None, n, now).unwrap();
                        if open.insert(n) {
                            missing.remove(&key(n));
                        }
                        lost.remove(&key(n));
                        told.receive(&p, announced);
                    }
                    Step::Leave(n) | Step::Lose(n) => {
                        let gone = matches!(step, Step::Leave(_));
                        let how = if gone { Departure::Meant } else { Departure::Lost };
                        let announced = p.leave(name(n).0, &name(n).1, n, how, now);
                        let was = open.remove(&n);
                        if was && !gone {
                            missing.insert(key(n), now);
                        }
                        let last = !open.iter().any(|other| key(*other) == key(n));
                        if was && last && missing.remove(&key(n)).is_some_and(|at| at + GRACE > now) {
                            lost.insert(key(n), now);
                        }
                        told.receive(&p, announced);
                    }
                    Step::Restart if !p.expects_somebody() => {
                        lost = listed(&p).into_iter().map(|member| (member, now)).collect();
                        open.clear();
                        missing.clear();
                        p = Presence::new(limits, Before::These(listed(&p).into_iter().collect()), now);
                        told.subscribe(&p);
                    }
                    // Everything is announced to the application again.
                    Step::Restart | Step::Kill => {
                        open.clear();
                        missing.clear();
                        lost.clear();
                        p = Presence::new(limits, Before::Somebody, now);
                        told = Told::default();
                    }
                    Step::Wait(time) => {
                        now += time;
                        lost.retain(|_, at| *at + GRACE > now);
                        let announced = p.tick(now);
                        told.receive(&p, announced);
                        // Who subscribes to a channel that is settled is sent a snapshot at once.
                        for channel in ["a", "b"] {
                            if p.settled(channel) && !told.page.contains_key(channel) {
                                prop_assert_eq!(p.count(channel), 0, "it has been settled");
                                told.page.insert(channel.to_owned(), Members::new());
                            }
                        }
                    }
                }
                let expected: Members = open.iter().map(|n| key(*n)).chain(lost.keys().cloned()).collect();
                prop_assert_eq!(&listed(&p), &expected);
                prop_assert_eq!(p.total(), expected.len());
                prop_assert_eq!(&told.by_webhook, &expected);
                for channel in ["a", "b"] {
                    prop_assert_eq!(told.occupied.contains(channel), p.count(channel) > 0);
                    let page = told.page.get(channel);
                    prop_assert_eq!(page.is_some(), p.settled(channel));
                    if let Some(page) = page {
                        prop_assert_eq!(page, &on(&expected, channel));
                    }
                }
                prop_assert_eq!(p.next().is_some(), p.expects_somebody() || !lost.is_empty());
            }
        }
    }
}
