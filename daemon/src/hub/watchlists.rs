//! Which users are signed in, and which connections watch them (Pusher's watchlists). There is one instance for
//! each application: a user is online while any of its connections is, on whichever worker.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use protocol::socket_id::{Place, SocketId};

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
    /// The watchers of each user, online or not.
    watched: HashMap<Arc<str>, HashSet<Watcher>>,
}

impl Watchlists {
    /// A connection signed in as `user`. Returns the watchers to notify, if the user was offline before.
    pub fn user_connected(&self, user: &Arc<str>) -> Vec<Watcher> {
        let mut inner = self.lock();
        let count = inner.online.entry(user.clone()).or_default();
        *count += 1;
        match *count {
            1 => inner.watchers(user),
            _ => Vec::new(),
        }
    }

    /// A signed-in connection of `user` ended. Returns the watchers to notify, if it was the user's last.
    pub fn user_disconnected(&self, user: &str) -> Vec<Watcher> {
        let mut inner = self.lock();
        let Some(count) = inner.online.get_mut(user) else {
            return Vec::new();
        };
        *count -= 1;
        if *count > 0 {
            return Vec::new();
        }
        inner.online.remove(user);
        inner.watchers(user)
    }

    /// Watches these users from now on. Returns which of them are online and which are offline.
    pub fn watch<'a>(&self, users: &'a [String], watcher: Watcher) -> (Vec<&'a str>, Vec<&'a str>) {
        let mut inner = self.lock();
        for user in users {
            let all = inner.watched.entry(user.as_str().into()).or_default();
            all.insert(watcher);
        }
        let users = users.iter().map(String::as_str);
        users.partition(|user| inner.online.contains_key(*user))
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
    fn watchers(&self, user: &str) -> Vec<Watcher> {
        let all = self.watched.get(user).into_iter().flatten();
        all.copied().collect()
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
        assert_eq!(lists.user_connected(&a), []);
        assert_eq!(lists.watch(&users, watcher(1)), (vec!["a"], vec!["b"]));
        assert_eq!(lists.watch(&users[1..], watcher(2)), (vec![], vec!["b"]));
        let mut notified = lists.user_connected(&b);
        notified.sort_unstable_by_key(|watcher| watcher.place.slot);
        assert_eq!(notified, [watcher(1), watcher(2)]);
        assert_eq!(lists.user_connected(&b), []);
        assert_eq!(lists.user_disconnected("b"), []);
        lists.unwatch(&users, watcher(2));
        assert_eq!(lists.user_disconnected("b"), [watcher(1)]);
        assert_eq!(lists.user_disconnected("b"), []);
        lists.unwatch(&users, watcher(1));
        assert_eq!(lists.user_disconnected("a"), []);
        let inner = lists.lock();
        assert!(inner.online.is_empty() && inner.watched.is_empty());
    }
}
