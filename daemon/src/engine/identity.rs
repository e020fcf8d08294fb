//! The users a stream was authorized as, and what it was sent about members. Only streams with a user have one.

use std::sync::Arc;

use crate::hub::presence::Connection;

#[derive(Debug)]
pub struct Identity {
    pub user: Arc<str>,
    /// Other users that it has shown grants of: as a rule none.
    pub others: Box<[Arc<str>]>,
    /// Its watchlist. Only if it signed in, over Pusher's protocol. Boxed, as most have none: 8 bytes,
    /// not 24.
    pub signed_in: Option<Box<Vec<String>>>,
    /// Only on presence channels.
    pub present: Option<Box<Present>>,
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
    /// The identity of a stream: this user's, unless another was known before.
    pub fn of<'a>(identity: &'a mut Option<Box<Self>>, user: &Arc<str>) -> &'a mut Self {
        identity.get_or_insert_with(|| {
            Box::new(Self {
                user: user.clone(),
                others: Box::default(),
                signed_in: None,
                present: None,
            })
        })
    }

    /// What a stream has of presence. Not a method of the stream, whose other fields are borrowed beside it.
    pub fn present_of(identity: &mut Option<Box<Self>>) -> Option<&mut Present> {
        identity.as_mut()?.present.as_deref_mut()
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.user
    }

    pub fn rows(&self) -> &[Row] {
        self.present.as_ref().map_or(&[], |present| &present.rows)
    }

    /// As whom a stream is on this presence channel. Not a method of the stream either.
    pub fn member_of(identity: &Option<Box<Self>>, channel: u32) -> Option<&str> {
        let mut rows = identity.as_deref()?.rows().iter();
        let row = rows.find(|row| row.channel == channel)?;
        Some(&row.user)
    }

    /// The stream has shown a grant of this user.
    pub fn add(&mut self, user: &Arc<str>) {
        if !self.is(user) {
            let others = std::mem::take(&mut self.others).into_iter();
            self.others = others.chain([user.clone()]).collect();
        }
    }

    pub fn is(&self, user: &str) -> bool {
        let others = self.others.iter().any(|other| &**other == user);
        &*self.user == user || others || self.rows().iter().any(|row| &*row.user == user)
    }

    /// A change of members could not be sent.
    pub fn miss(&mut self) {
        if let Some(present) = &mut self.present {
            present.stale = true;
        }
    }

    /// Whether change `number` of the members of `channel` is to be sent. Not to a stream that missed one: a
    /// snapshot will have it.
    pub fn lacks(&self, channel: u32, number: u64) -> bool {
        if self.present.as_ref().is_some_and(|present| present.stale) {
            return false;
        }
        let row = self.rows().iter().find(|row| row.channel == channel);
        row.is_some_and(|row| row.sent < number)
    }
}
