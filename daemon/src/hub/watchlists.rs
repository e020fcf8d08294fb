//! Who signed in, and who wants to hear of it (Pusher's watchlists). One of it an application: a user is
//! online while one of its connections is, whichever worker has it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use protocol::socket_id::{Place, SocketId};

/// Where a watcher is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watcher {
    pub place: Place,
    pub socket: SocketId,
}

#[derive(Debug, Default)]
pub struct Watchlists(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Connections of each user who signed in.
    online: HashMap<Arc<str>, usize>,
    /// Who watches each user, there or not.
    watched: HashMap<Arc<str>, HashSet<Watcher>>,
}

impl Watchlists {
    /// A connection signed in as `user`. Returns who is to be told, if the user was not there before.
    pub fn user_connected(&self, user: &Arc<str>) -> Vec<Watcher> {
        let mut inner = self.lock();
        let count = inner.online.entry(user.clone()).or_default();
        *count += 1;
        match *count {
            1 => inner.watchers(user),
            _ => Vec::new(),
        }
    }

    /// It ended. Returns who is to be told, if it was the user's last.
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

    /// Watches these users from now on. Returns which of them are there and which are not.
    pub fn watch<'a>(&self, users: &'a [String], watcher: Watcher) -> (Vec<&'a str>, Vec<&'a str>) {
        let mut inner = self.lock();
        for user in users {
            let all = inner.watched.entry(user.as_str().into()).or_default();
            all.insert(watcher);
        }
        let users = users.iter().map(String::as_str);
        users.partition(|user| inner.online.contains_key(*user))
    }

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
    fn the_first_and_the_last_connection_are_told_to_who_watches() {
        let lists = Watchlists::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let users = ["a".to_owned(), "b".to_owned()];
        assert_eq!(lists.user_connected(&a), []);
        assert_eq!(lists.watch(&users, watcher(1)), (vec!["a"], vec!["b"]));
        assert_eq!(lists.watch(&users[1..], watcher(2)), (vec![], vec!["b"]));
        let mut told = lists.user_connected(&b);
        told.sort_unstable_by_key(|watcher| watcher.place.slot);
        assert_eq!(told, [watcher(1), watcher(2)]);
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
