//! The users a stream was authorized as, and what it was sent about members.

use std::sync::Arc;

use ecow::EcoString;

use crate::hub::presence::Connection;

/// Nobody, unless a grant or a sign-in named a user. A short id, up to 15 bytes, is kept in place: most streams with a user
/// have nothing on the heap for it.
#[derive(Debug, Default)]
pub struct Identity {
    /// The id of the user whose stream it is; empty, as no id is: nobody's.
    user: EcoString,
    more: Option<Box<More>>,
}

/// What most streams with a user have none of.
#[derive(Debug, Default)]
struct More {
    /// Other users that it has shown grants of.
    others: Vec<EcoString>,
    /// Its watchlist. Only if it signed in, over Pusher's protocol.
    watchlist: Option<Vec<String>>,
    /// Only on presence channels.
    present: Option<Present>,
}

#[derive(Debug)]
pub struct Present {
    /// Its number for `Presence`.
    pub connection: Connection,
    /// It missed a change of members: a snapshot is due.
    pub stale: bool,
    pub rows: Vec<Row>,
}

/// A membership.
#[derive(Debug)]
pub struct Row {
    /// The engine's number of the channel.
    pub channel: u32,
    pub user: Arc<str>,
    /// Changes of members up to this one have been sent. `UNSENT`: it waits for its first snapshot.
    pub sent: u64,
}

pub const UNSENT: u64 = u64::MAX;

impl Identity {
    /// Whose it is.
    pub fn user(&self) -> Option<&str> {
        Some(&*self.user).filter(|user| !user.is_empty())
    }

    /// How many other users it has shown grants of.
    pub fn others(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.others.len())
    }

    /// The stream has shown a grant of this user. It is this user's, unless another was known before.
    pub fn add(&mut self, user: &str) {
        if self.user.is_empty() {
            self.user = user.into();
        } else if !self.is(user) {
            self.more().others.push(user.into());
        }
    }

    /// Whether it has shown a grant of this user, or signed in as them.
    pub fn is(&self, user: &str) -> bool {
        let more = self.more.as_ref();
        self.user() == Some(user)
            || more.is_some_and(|more| more.others.iter().any(|other| other == user))
    }

    /// The stream is this user's, who signed in. Returns the watchlist of the time before.
    pub fn sign_in(&mut self, user: &str, watchlist: Vec<String>) -> Option<Vec<String>> {
        let before = std::mem::replace(&mut self.user, user.into());
        let more = self.more();
        more.others.retain(|other| other != user);
        if !before.is_empty() && before != user {
            more.others.push(before);
        }
        more.watchlist.replace(watchlist)
    }

    /// Who signed in, and whom they watch.
    pub fn signed_in(&self) -> Option<(&str, &[String])> {
        let watchlist = self.more.as_ref()?.watchlist.as_deref()?;
        Some((&self.user, watchlist))
    }

    /// What it has of presence, from now on. Whom a row names was added.
    pub fn presence(&mut self, connection: impl FnOnce() -> Connection) -> &mut Present {
        self.more().present.get_or_insert_with(|| Present {
            connection: connection(),
            stale: false,
            rows: Vec::with_capacity(1),
        })
    }

    pub fn present(&self) -> Option<&Present> {
        self.more.as_ref()?.present.as_ref()
    }

    pub fn present_mut(&mut self) -> Option<&mut Present> {
        self.more.as_mut()?.present.as_mut()
    }

    pub fn rows(&self) -> &[Row] {
        self.present().map_or(&[], |present| &present.rows)
    }

    /// As whom the stream is on this presence channel.
    pub fn member_of(&self, channel: u32) -> Option<&str> {
        let row = self.rows().iter().find(|row| row.channel == channel)?;
        Some(&row.user)
    }

    /// A change of members could not be sent.
    pub fn miss(&mut self) {
        if let Some(present) = self.present_mut() {
            present.stale = true;
        }
    }

    /// Whether change `number` of the members of `channel` is to be sent. Not to a stream that missed one: a
    /// snapshot will have it.
    pub fn lacks(&self, channel: u32, number: u64) -> bool {
        let row = self.rows().iter().find(|row| row.channel == channel);
        let stale = self.present().is_some_and(|present| present.stale);
        !stale && row.is_some_and(|row| row.sent < number)
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_costs_nothing_more_than_its_place() {
        let mut identity = Identity::default();
        assert_eq!(identity.user(), None);
        assert!(!identity.is(""));
        identity.add("7");
        assert!(identity.is("7") && identity.more.is_none());
        identity.add("7");
        assert!(identity.more.is_none());
    }

    #[test]
    fn every_user_that_was_shown_counts() {
        let mut identity = Identity::default();
        identity.add("7");
        identity.add("8");
        identity.add("9");
        assert!(identity.sign_in("9", vec![]).is_none());
        assert_eq!(identity.user(), Some("9"));
        assert!(["7", "8", "9"].iter().all(|user| identity.is(user)));
        assert_eq!(identity.others(), 2);
        assert_eq!(identity.sign_in("9", vec!["1".into()]), Some(vec![]));
        assert_eq!(identity.others(), 2);
    }
}
