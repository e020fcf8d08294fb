//! Revocations: the tokens issued until now, of one user or of everybody, are refused.
//!
//! A token has no id by which it could be revoked, but it has the second in which it was issued (`iat`). A token
//! without one is refused if any revocation could apply to it.
//!
//! Memory is bounded. At the bound the oldest revocations of users are not forgotten, which would make their
//! tokens valid again: instead the floor for everybody is raised to theirs, and other users with tokens as old
//! have to request new ones. A revocation is dropped when no token from before it can still be valid
//! ([`grant::MAX_TTL`]).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use shared::grant;

/// The most users with a revocation at the same time.
pub const DEFAULT_USERS: usize = 100_000;

/// The revocations of one application.
#[derive(Debug)]
pub struct Revoked {
    max_users: usize,
    /// Tokens of anybody issued in this second or before are refused.
    floor: Option<u64>,
    users: HashMap<Arc<str>, u64>,
    /// The same, oldest first.
    by_age: BTreeSet<(u64, Arc<str>)>,
    /// Users folded into the floor because there were too many.
    pub folded: u64,
}

impl Revoked {
    /// No revocations; at most `max_users` users are kept.
    pub fn new(max_users: usize) -> Self {
        Self {
            max_users,
            floor: None,
            users: HashMap::new(),
            by_age: BTreeSet::new(),
            folded: 0,
        }
    }

    /// Revokes the tokens of this user issued until `now` (seconds since 1970), including this second: a token
    /// issued later in the same second is refused too, and the page has to request another one.
    pub fn revoke_user(&mut self, user: &str, now: u64) {
        self.forget(now);
        let user: Arc<str> = user.into();
        let before = self.users.get(&user).copied();
        if before.is_some_and(|at| at >= now) {
            return;
        }
        if let Some(at) = before {
            self.by_age.remove(&(at, user.clone()));
        } else if self.users.len() >= self.max_users {
            self.fold();
        }
        self.users.insert(user.clone(), now);
        self.by_age.insert((now, user));
    }

    /// Revokes the tokens of everybody issued until `now` (seconds since 1970), including this second.
    pub fn revoke_all(&mut self, now: u64) {
        self.floor = self.floor.max(Some(now));
        while let Some((at, user)) = self.by_age.first()
            && *at <= now
        {
            self.users.remove(user);
            self.by_age.pop_first();
        }
    }

    /// Whether a token of `user`, issued in the second `issued`, is refused.
    pub fn refuses(&self, user: Option<&str>, issued: Option<u64>) -> bool {
        let issued = issued.unwrap_or(0);
        let until = |at: &u64| issued <= *at;
        self.floor.as_ref().is_some_and(until)
            || user.is_some_and(|user| self.users.get(user).is_some_and(until))
    }

    /// A revocation that lies after `now`, everybody's before a user's: it was made while the clock was ahead, and
    /// refuses tokens that have not been issued yet.
    pub fn ahead(&self, now: u64) -> Option<Ahead> {
        let all = self.floor.map(|until| Ahead { user: None, until });
        let latest = self.by_age.last().map(|(until, user)| Ahead {
            user: Some(user.to_string()),
            until: *until,
        });
        let mut both = [all, latest].into_iter().flatten();
        both.find(|ahead| ahead.until > now)
    }

    /// The second up to which everybody's tokens are refused.
    pub fn floor(&self) -> Option<u64> {
        self.floor
    }

    /// Each user and the second up to which their tokens are refused, oldest first.
    pub fn users(&self) -> impl Iterator<Item = (u64, &str)> {
        self.by_age.iter().map(|(at, user)| (*at, &**user))
    }

    fn fold(&mut self) {
        if let Some((at, user)) = self.by_age.pop_first() {
            self.users.remove(&user);
            self.floor = self.floor.max(Some(at));
            self.folded += 1;
        }
    }

    /// Drops revocations that no valid token can be older than.
    fn forget(&mut self, now: u64) {
        let expired = |at: u64| at.saturating_add(grant::MAX_TTL) < now;
        self.floor = self.floor.filter(|at| !expired(*at));
        while let Some((at, user)) = self.by_age.first()
            && expired(*at)
        {
            self.users.remove(user);
            self.by_age.pop_first();
        }
    }
}

/// A revocation in the future. `Display`: whose tokens it refuses, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// None: everybody.
    pub user: Option<String>,
    pub until: u64,
}

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "tokens of user {user:?}")?,
            None => write!(f, "everybody's tokens")?,
        }
        // The year 9999 ends.
        let until = Duration::from_secs(self.until.min(253_402_300_799));
        let date = httpdate::fmt_http_date(UNIX_EPOCH + until);
        write!(
            f,
            " issued until {date} are revoked, which is in the future"
        )
    }
}

impl Default for Revoked {
    fn default() -> Self {
        Self::new(DEFAULT_USERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_older_tokens_are_refused_and_nobody_elses() {
        let mut revoked = Revoked::default();
        assert!(!revoked.refuses(Some("7"), None));
        revoked.revoke_user("7", 100);
        assert!(revoked.refuses(Some("7"), Some(99)));
        assert!(revoked.refuses(Some("7"), Some(100)));
        assert!(
            revoked.refuses(Some("7"), None),
            "issued at an unknown time"
        );
        assert!(!revoked.refuses(Some("7"), Some(101)));
        assert!(!revoked.refuses(Some("8"), Some(1)));
        assert!(!revoked.refuses(None, Some(1)));
        revoked.revoke_user("7", 50);
        assert!(
            revoked.refuses(Some("7"), Some(100)),
            "a revocation never moves back"
        );
    }

    #[test]
    fn a_revocation_in_the_future_is_told_with_its_user_and_time() {
        let mut revoked = Revoked::default();
        revoked.revoke_user("7", 1_800_000_000);
        assert_eq!(revoked.ahead(1_800_000_000), None);
        let ahead = revoked.ahead(1_799_999_999).unwrap();
        assert_eq!(
            ahead.to_string(),
            "tokens of user \"7\" issued until Fri, 15 Jan 2027 08:00:00 GMT are revoked, which is in the future"
        );
        revoked.revoke_all(u64::MAX);
        let ahead = revoked.ahead(1_800_000_000).unwrap();
        assert_eq!(
            ahead.to_string(),
            "everybody's tokens issued until Fri, 31 Dec 9999 23:59:59 GMT are revoked, which is in the future"
        );
    }

    #[test]
    fn everybodys_older_tokens_are_refused() {
        let mut revoked = Revoked::default();
        revoked.revoke_user("7", 100);
        revoked.revoke_user("8", 300);
        revoked.revoke_all(200);
        assert!(revoked.refuses(None, Some(200)) && !revoked.refuses(None, Some(201)));
        assert!(revoked.refuses(Some("8"), Some(300)) && !revoked.refuses(Some("7"), Some(201)));
        assert_eq!(revoked.users.len(), 1, "the floor covers the first");
    }

    #[test]
    fn at_the_bound_no_revoked_token_becomes_valid_again() {
        let mut revoked = Revoked::new(2);
        for (user, at) in [("a", 10), ("b", 20), ("c", 30)] {
            revoked.revoke_user(user, at);
        }
        assert!(revoked.refuses(Some("a"), Some(10)));
        assert!(revoked.refuses(Some("z"), Some(10)) && !revoked.refuses(Some("z"), Some(11)));
        assert!(revoked.refuses(Some("b"), Some(20)) && !revoked.refuses(Some("b"), Some(21)));
        assert_eq!((revoked.users.len(), revoked.by_age.len()), (2, 2));
        assert_eq!(revoked.folded, 1);
        revoked.revoke_user("c", 40);
        assert_eq!(revoked.folded, 1, "a known user takes no new place");
    }

    #[test]
    fn a_revocation_older_than_any_valid_token_is_dropped() {
        let mut revoked = Revoked::default();
        revoked.revoke_all(5);
        revoked.revoke_user("a", 10);
        revoked.revoke_user("b", 11 + grant::MAX_TTL);
        assert_eq!((revoked.users.len(), revoked.floor), (1, None));
        assert_eq!(revoked.by_age.len(), 1);
    }
}
