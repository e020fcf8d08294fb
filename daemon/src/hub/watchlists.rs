//! Which users are signed in, and which connections watch them (Pusher's watchlists). There is one instance for
//! each application: a user is online while any of its connections is, on whichever worker of whichever host.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use protocol::format;
use protocol::socket_id::{Place, SocketId};

use crate::hub::command::Command;
use crate::hub::hub::Hub;

/// A connection that watches users, and where to reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watcher {
    pub place: Place,
    pub socket: SocketId,
}

/// The watchlists of one application.
#[derive(Debug, Default)]
pub struct Watchlists(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The number of signed-in connections of each user who is online.
    online: HashMap<Arc<str>, usize>,
    /// The other hosts on which each user is online, a bit each.
    elsewhere: HashMap<Arc<str>, u64>,
    /// The watchers of each user, online or not.
    watched: HashMap<Arc<str>, HashSet<Watcher>>,
}

impl Watchlists {
    /// A connection signed in as `user`. Returns the watchers to notify, if the user was offline before. `tell`: the other
    /// hosts that it is online here now, or no longer; in the order in which that changes.
    pub fn user_connected(&self, user: &Arc<str>, tell: impl FnOnce(bool)) -> Vec<Watcher> {
        let mut inner = self.lock();
        let count = inner.online.entry(user.clone()).or_default();
        *count += 1;
        match *count {
            1 => {
                tell(true);
                inner.watchers_unless_elsewhere(user)
            }
            _ => Vec::new(),
        }
    }

    /// A signed-in connection of `user` ended. Returns the watchers to notify, if it was the user's last.
    pub fn user_disconnected(&self, user: &str, tell: impl FnOnce(bool)) -> Vec<Watcher> {
        let mut inner = self.lock();
        let Some(count) = inner.online.get_mut(user) else {
            return Vec::new();
        };
        *count -= 1;
        if *count > 0 {
            return Vec::new();
        }
        inner.online.remove(user);
        tell(false);
        inner.watchers_unless_elsewhere(user)
    }

    /// The user is online on another host, or no longer. Returns the watchers to notify, if that changes whether it is
    /// online.
    pub fn set_elsewhere(&self, user: &Arc<str>, host: u8, online: bool) -> Vec<Watcher> {
        let mut inner = self.lock();
        let hosts = inner.elsewhere.get(user).copied().unwrap_or(0);
        let now = match online {
            true => hosts | 1 << host,
            false => hosts & !(1 << host),
        };
        match now {
            0 => drop(inner.elsewhere.remove(user)),
            _ => drop(inner.elsewhere.insert(user.clone(), now)),
        }
        let changes = (hosts == 0) != (now == 0) && !inner.online.contains_key(user);
        match changes {
            true => inner.watchers(user),
            false => Vec::new(),
        }
    }

    /// Watches these users from now on. Returns which of them are online and which are offline.
    pub fn watch<'a>(&self, users: &'a [String], watcher: Watcher) -> (Vec<&'a str>, Vec<&'a str>) {
        let mut inner = self.lock();
        for user in users {
            let all = inner.watched.entry(user.as_str().into()).or_default();
            all.insert(watcher);
        }
        let users = users.iter().map(String::as_str);
        users.partition(|user| inner.is_online(user))
    }

    /// Stops watching these users.
    pub fn unwatch(&self, users: &[String], watcher: Watcher) {
        let mut inner = self.lock();
        for user in users {
            if let Some(all) = inner.watched.get_mut(user.as_str()) {
                all.remove(&watcher);
                if all.is_empty() {
                    inner.watched.remove(user.as_str());
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl Inner {
    fn is_online(&self, user: &str) -> bool {
        self.online.contains_key(user) || self.elsewhere.contains_key(user)
    }

    fn watchers_unless_elsewhere(&self, user: &str) -> Vec<Watcher> {
        match self.elsewhere.contains_key(user) {
            true => Vec::new(),
            false => self.watchers(user),
        }
    }

    fn watchers(&self, user: &str) -> Vec<Watcher> {
        let all = self.watched.get(user).into_iter().flatten();
        all.copied().collect()
    }
}

/// Sends them a message, through their workers' inboxes.
pub fn notify_watchers(hub: &Hub, watchers: Vec<Watcher>, text: &[u8]) {
    for Watcher { place, socket } in watchers {
        hub.inboxes[place.worker].command(Command::Tell {
            slot: place.slot,
            socket,
            bytes: format::text(text.to_vec()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher(slot: u32) -> Watcher {
        Watcher {
            place: Place { worker: 0, slot },
            socket: "1.2".parse().unwrap(),
        }
    }

    #[test]
    fn watchers_are_notified_of_the_first_and_the_last_connection() {
        let lists = Watchlists::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let users = ["a".to_owned(), "b".to_owned()];
        assert_eq!(lists.user_connected(&a, |_| {}), []);
        assert_eq!(lists.watch(&users, watcher(1)), (vec!["a"], vec!["b"]));
        assert_eq!(lists.watch(&users[1..], watcher(2)), (vec![], vec!["b"]));
        let mut notified = lists.user_connected(&b, |_| {});
        notified.sort_unstable_by_key(|watcher| watcher.place.slot);
        assert_eq!(notified, [watcher(1), watcher(2)]);
        assert_eq!(lists.user_connected(&b, |_| {}), []);
        assert_eq!(lists.user_disconnected("b", |_| {}), []);
        lists.unwatch(&users, watcher(2));
        assert_eq!(lists.user_disconnected("b", |_| {}), [watcher(1)]);
        assert_eq!(lists.user_disconnected("b", |_| {}), []);
        lists.unwatch(&users, watcher(1));
        assert_eq!(lists.user_disconnected("a", |_| {}), []);
        let inner = lists.lock();
        assert!(inner.online.is_empty() && inner.watched.is_empty());
    }
    #[test]
    fn a_user_of_another_host_is_online_until_it_is_on_none() {
        let lists = Watchlists::default();
        let a: Arc<str> = "a".into();
        let users = ["a".to_owned()];
        lists.watch(&users, watcher(1));
        assert_eq!(lists.set_elsewhere(&a, 3, true), [watcher(1)]);
        assert_eq!(lists.set_elsewhere(&a, 63, true), []);
        assert_eq!(lists.watch(&users, watcher(1)).0, ["a"]);
        let mut told = Vec::new();
        assert_eq!(lists.user_connected(&a, |online| told.push(online)), []);
        assert_eq!(lists.set_elsewhere(&a, 3, false), []);
        assert_eq!(lists.set_elsewhere(&a, 63, false), []);
        assert_eq!(
            lists.user_disconnected("a", |online| told.push(online)),
            [watcher(1)]
        );
        assert_eq!(told, [true, false]);
        assert!(lists.lock().elsewhere.is_empty());
    }
}
