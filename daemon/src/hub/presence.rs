//! The members of presence channels. A user is one member, however many tabs and transports; joining and leaving
//! are announced once each; a user who reconnects within the grace time never left.
//!
//! A state machine without sockets and clock: calls in, announcements out. There is one for each application, so
//! none can see another's members. The cost of a call does not depend on the number of members; the members in
//! grace are a list in the order of their disconnecting, linked through the slab.
//!
//! After a start no client has reconnected yet. So during the grace time nothing is announced and `settled()` is
//! false: pages keep the list they have. Then [`Presence::tick`] returns [`Announcement::Settled`], every
//! subscriber of every presence channel is sent a snapshot, and announcements begin. So pages do not see a
//! restart of the daemon as everybody leaving and joining.

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
    /// Members of all channels, and of those, one user on so many channels.
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

/// What the channel's subscribers are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    Joined {
        channel: Arc<str>,
        user: Arc<str>,
        info: Option<Arc<str>>,
    },
    Left {
        channel: Arc<str>,
        user: Arc<str>,
    },
    /// To the subscribers of all presence channels: each is sent a snapshot now.
    Settled,
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

/// How a connection left a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It unsubscribed: if it was the last connection, the user leaves at once.
    Unsubscribed,
    /// It was lost or closed: the user may reconnect within the grace time.
    Lost,
}

#[derive(Debug)]
struct Member {
    channel: Arc<str>,
    user: Arc<str>,
    info: Option<Arc<str>>,
    connections: Vec<Connection>,
    /// When the grace time ends. Like the neighbours in the list, only used while there is no connection.
    until: u64,
    before: Option<usize>,
    after: Option<usize>,
}

/// The members of one application's presence channels.
#[derive(Debug)]
pub struct Presence {
    limits: Limits,
    members: Slab<Member>,
    channels: HashMap<Arc<str>, HashMap<Arc<str>, usize>>,
    /// Channels of each user.
    users: HashMap<Arc<str>, usize>,
    /// Those in grace, who leaves first being first.
    first: Option<usize>,
    last: Option<usize>,
    /// The latest time that was passed in: it never goes back.
    now: u64,
    /// When it will have settled; None once it has.
    settling: Option<u64>,
    /// Joins refused at a bound.
    pub refused: u64,
}

impl Presence {
    /// No members, and not settled yet. `now` and all times are milliseconds of one clock.
    pub fn new(limits: Limits, now: u64) -> Self {
        Self {
            limits,
            members: Slab::new(),
            channels: HashMap::new(),
            users: HashMap::new(),
            first: None,
            last: None,
            now,
            settling: Some(now.saturating_add(limits.grace)),
            refused: 0,
        }
    }

    /// Whether snapshots may be sent: the grace time since the start is over, so the members are known again.
    pub fn settled(&self) -> bool {
        self.settling.is_none()
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
    ) -> Result<Option<Announcement>, Refused> {
        self.now = self.now.max(now);
        let joined = self.try_join(channel, user, info, connection);
        self.refused += u64::from(joined.is_err());
        Ok(joined?.filter(|_| self.settled()))
    }

    fn try_join(
        &mut self,
        channel: &str,
        user: &str,
        info: Option<&str>,
        connection: Connection,
    ) -> Result<Option<Announcement>, Refused> {
        if let Some(at) = self.find(channel, user) {
            let connections = &self.members[at].connections;
            if connections.contains(&connection) {
                return Ok(None);
            }
            if connections.len() >= self.limits.connections {
                return Err(Refused::TooManyConnections(connections.len()));
            }
            if connections.is_empty() {
                self.unlink(at);
            }
            self.members[at].connections.push(connection);
            return Ok(None);
        }
        self.limits.users.check(user, info)?;
        if self.members.len() >= self.limits.members {
            return Err(Refused::Full(self.limits.members));
        }
        if self.count(channel) >= self.limits.channel_members {
            return Err(Refused::ChannelFull(self.limits.channel_members));
        }
        let others = self.users.get(user).copied().unwrap_or(0);
        if others >= self.limits.user_channels {
            return Err(Refused::TooManyChannels(self.limits.user_channels));
        }
        let channel = match self.channels.get_key_value(channel) {
            Some((name, _)) => name.clone(),
            None => channel.into(),
        };
        let (user, info): (Arc<str>, Option<Arc<str>>) = (user.into(), info.map(Into::into));
        let at = self.members.insert(Member {
            channel: channel.clone(),
            user: user.clone(),
            info: info.clone(),
            connections: vec![connection],
            until: 0,
            before: None,
            after: None,
        });
        let users = self.channels.entry(channel.clone()).or_default();
        users.insert(user.clone(), at);
        self.users.insert(user.clone(), others + 1);
        Ok(Some(Announcement::Joined {
            channel,
            user,
            info,
        }))
    }

    /// A connection of `user` is no longer subscribed. One that never was changes nothing.
    pub fn leave(
        &mut self,
        channel: &str,
        user: &str,
        connection: Connection,
        how: Departure,
        now: u64,
    ) -> Option<Announcement> {
        self.now = self.now.max(now);
        let at = self.find(channel, user)?;
        let connections = &mut self.members[at].connections;
        let index = connections.iter().position(|one| *one == connection)?;
        connections.swap_remove(index);
        if !connections.is_empty() {
            return None;
        }
        if how == Departure::Lost && self.limits.grace > 0 {
            self.link(at);
            return None;
        }
        Some(self.remove(at)).filter(|_| self.settled())
    }

    /// Handles the passing of time; to be called at [`Self::next`] or later. Members whose grace ended before it
    /// settled are removed without an announcement; the snapshots do not contain them.
    pub fn tick(&mut self, now: u64) -> Vec<Announcement> {
        self.now = self.now.max(now);
        let mut announcements = Vec::new();
        while let Some(at) = self.first
            && self.members[at].until <= self.now
        {
            self.unlink(at);
            let left = self.remove(at);
            if self.settled() {
                announcements.push(left);
            }
        }
        if self.settling.is_some_and(|at| at <= self.now) {
            self.settling = None;
            announcements.push(Announcement::Settled);
        }
        announcements
    }

    /// When [`Self::tick`] has something to do next. None: not until a connection is lost.
    pub fn next(&self) -> Option<u64> {
        let first = self.first.map(|at| self.members[at].until);
        [first, self.settling].into_iter().flatten().min()
    }

    /// Settles at once: there were no members before the start, so there is nothing to wait for.
    pub fn settle(&mut self) {
        self.settling = None;
    }

    /// The user and info of each member, in no particular order.
    pub fn members(&self, channel: &str) -> impl Iterator<Item = (&Arc<str>, Option<&Arc<str>>)> {
        let users = self.channels.get(channel);
        users.into_iter().flat_map(HashMap::values).map(|at| {
            let member = &self.members[*at];
            (&member.user, member.info.as_ref())
        })
    }

    /// The number of members of a channel, including those in grace.
    pub fn count(&self, channel: &str) -> usize {
        self.channels.get(channel).map_or(0, HashMap::len)
    }

    /// The number of members of all channels.
    pub fn total(&self) -> usize {
        self.members.len()
    }

    fn find(&self, channel: &str, user: &str) -> Option<usize> {
        self.channels.get(channel)?.get(user).copied()
    }

    /// Removes a member without connections that is not in the list.
    fn remove(&mut self, at: usize) -> Announcement {
        let Member { channel, user, .. } = self.members.remove(at);
        if let Some(users) = self.channels.get_mut(&channel) {
            users.remove(&user);
            if users.is_empty() {
                self.channels.remove(&channel);
            }
        }
        if let Some(count) = self.users.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user);
            }
        }
        Announcement::Left { channel, user }
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

    fn settled(limits: Limits) -> Presence {
        let mut presence = Presence::new(limits, 0);
        assert_eq!(presence.tick(limits.grace), [Announcement::Settled]);
        presence
    }

    fn joined(user: &str) -> Result<Option<Announcement>, Refused> {
        Ok(Some(Announcement::Joined {
            channel: ROOM.into(),
            user: user.into(),
            info: None,
        }))
    }

    fn left(user: &str) -> Announcement {
        Announcement::Left {
            channel: ROOM.into(),
            user: user.into(),
        }
    }

    #[test]
    fn three_tabs_are_one_member() {
        let mut p = settled(Limits::default());
        assert_eq!(p.join(ROOM, "7", None, 1, 10_000), joined("7"));
        assert_eq!(p.join(ROOM, "7", None, 2, 10_000), Ok(None));
        assert_eq!(p.join(ROOM, "7", None, 2, 10_000), Ok(None), "again");
        assert_eq!(p.leave(ROOM, "7", 2, Departure::Unsubscribed, 10_000), None);
        assert_eq!(p.leave(ROOM, "7", 2, Departure::Unsubscribed, 10_000), None);
        assert_eq!(p.leave(ROOM, "8", 1, Departure::Unsubscribed, 10_000), None);
        assert_eq!(p.count(ROOM), 1);
        let last = p.leave(ROOM, "7", 1, Departure::Unsubscribed, 10_000);
        assert_eq!(last, Some(left("7")));
        assert_eq!((p.count(ROOM), p.total(), p.channels.len()), (0, 0, 0));
    }

    #[test]
    fn a_reconnect_within_the_grace_time_is_not_seen() {
        let mut p = settled(Limits::default());
        p.join(ROOM, "7", Some("1"), 1, 10_000).unwrap();
        assert_eq!(p.leave(ROOM, "7", 1, Departure::Lost, 10_000), None);
        assert_eq!(p.next(), Some(15_000));
        assert_eq!(p.tick(14_999), []);
        assert_eq!(p.join(ROOM, "7", Some("2"), 2, 14_999), Ok(None));
        assert_eq!((p.tick(20_000), p.next()), (vec![], None));
        let members: Vec<_> = p.members(ROOM).collect();
        assert_eq!(members, [(&"7".into(), Some(&"1".into()))]);
        p.leave(ROOM, "7", 2, Departure::Lost, 30_000);
        assert_eq!(p.tick(35_000), [left("7")]);
        assert_eq!(p.tick(99_000), []);
    }

    #[test]
    fn after_a_start_there_is_one_snapshot_and_no_flicker() {
        let mut p = Presence::new(Limits::default(), 1000);
        assert_eq!(p.join(ROOM, "7", None, 1, 1500), Ok(None));
        p.join(ROOM, "8", None, 2, 1600).unwrap();
        assert_eq!(p.leave(ROOM, "8", 2, Departure::Unsubscribed, 1700), None);
        assert!(!p.settled());
        assert_eq!((p.next(), p.tick(5999)), (Some(6000), vec![]));
        assert_eq!(p.tick(6000), [Announcement::Settled]);
        assert!(p.settled() && p.count(ROOM) == 1);
        assert_eq!(p.join(ROOM, "8", None, 2, 6000), joined("8"));
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
        let mut p = settled(limits);
        let mut join =
            |channel, user, connection| p.join(channel, user, None, connection, 0).map(|_| ());
        assert_eq!((join("a", "1", 1), join("a", "2", 2)), (Ok(()), Ok(())));
        assert_eq!(join("a", "3", 3), Err(Refused::ChannelFull(2)));
        assert_eq!(join("a", "1", 4), Ok(()), "a member already");
        assert_eq!(join("a", "1", 5), Err(Refused::TooManyConnections(2)));
        assert_eq!(join("b", "1", 1), Ok(()));
        assert_eq!(join("c", "1", 1), Err(Refused::Full(3)));
        assert_eq!(p.refused, 3);
        p.leave("b", "1", 1, Departure::Lost, 0).unwrap();
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
        let mut p = settled(limits);
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
            p.leave(channel, user, 1, Departure::Unsubscribed, 150);
        }
        assert!(p.users.is_empty() && p.total() == 0);
    }

    /// Connection `n` is of user `n % 3` and of channel `n % 2`.
    #[derive(Debug, Clone)]
    enum Step {
        Join(u64),
        Leave(u64),
        Lose(u64),
        Crash,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..12u64).prop_map(Step::Join),
            2 => (0..12u64).prop_map(Step::Leave),
            4 => (0..12u64).prop_map(Step::Lose),
            1 => Just(Step::Crash),
            4 => (0..60u64).prop_map(Step::Wait),
        ]
    }

    /// A page that keeps its list by snapshots and announcements, and fails on any repeated one.
    #[derive(Default)]
    struct Page(BTreeSet<(String, String)>);

    impl Page {
        fn receive(
            &mut self,
            presence: &Presence,
            announced: impl IntoIterator<Item = Announcement>,
        ) {
            for one in announced {
                match one {
                    Announcement::Joined { channel, user, .. } => {
                        assert!(
                            self.0.insert((channel.to_string(), user.to_string())),
                            "joined twice"
                        );
                    }
                    Announcement::Left { channel, user } => {
                        assert!(
                            self.0.remove(&(channel.to_string(), user.to_string())),
                            "left twice"
                        );
                    }
                    Announcement::Settled => self.0 = listed(presence),
                }
            }
        }
    }

    fn listed(p: &Presence) -> BTreeSet<(String, String)> {
        let of = |channel: &'static str| {
            p.members(channel)
                .map(move |(user, _)| (channel.to_owned(), user.to_string()))
        };
        of("a").chain(of("b")).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn members_are_exactly_the_connected_and_those_in_grace(steps in prop::collection::vec(step(), 0..80)) {
            const GRACE: u64 = 50;
            let limits = Limits { grace: GRACE, ..Limits::default() };
            let mut now = 0;
            let mut p = Presence::new(limits, now);
            let mut page = Page::default();
            let mut open: BTreeSet<u64> = BTreeSet::new();
            // Members whose last connection was lost, and when.
            let mut lost: BTreeMap<(String, String), u64> = BTreeMap::new();
            let name = |n: u64| (["a", "b"][n as usize % 2], (n % 3).to_string());
            let key = |n: u64| (name(n).0.to_owned(), name(n).1);
            for step in steps {
                match step {
                    Step::Join(n) => {
                        let announced = p.join(name(n).0, &name(n).1, None, n, now).unwrap();
                        open.insert(n);
                        lost.remove(&key(n));
                        page.receive(&p, announced);
                    }
                    Step::Leave(n) | Step::Lose(n) => {
                        let gone = matches!(step, Step::Leave(_));
                        let how = if gone { Departure::Unsubscribed } else { Departure::Lost };
                        let announced = p.leave(name(n).0, &name(n).1, n, how, now);
                        let was = open.remove(&n);
                        if was && !gone && !open.iter().any(|other| key(*other) == key(n)) {
                            lost.insert(key(n), now);
                        }
                        page.receive(&p, announced);
                    }
                    // The daemon is killed: no connection is left, and the page keeps its list.
                    Step::Crash => {
                        open.clear();
                        lost.clear();
                        p = Presence::new(limits, now);
                    }
                    Step::Wait(time) => {
                        now += time;
                        lost.retain(|_, at| *at + GRACE > now);
                        let announced = p.tick(now);
                        page.receive(&p, announced);
                    }
                }
                let expected: BTreeSet<_> = open.iter().map(|n| key(*n)).chain(lost.keys().cloned()).collect();
                prop_assert_eq!(&listed(&p), &expected);
                prop_assert_eq!(p.total(), expected.len());
                if p.settled() {
                    prop_assert_eq!(&page.0, &expected);
                }
                prop_assert_eq!(p.next().is_some(), !p.settled() || !lost.is_empty());
            }
        }
    }
}
