//! What is so on a node, as the others need it: who is on a presence channel there, how many subscribers a channel has
//! there, who is signed in there. Each node owns its facts ([`own`]), numbers its changes and tells them to all; each
//! keeps a copy of the others' ([`others`]).
//!
//! A change may be lost on the way. Whoever sees a number missing reads that node's facts again, from the node itself,
//! page by page: the store that carries the messages holds no copy, which could be older than the messages, be flushed,
//! or outlive its node.

pub mod others;
pub mod own;
mod text;

#[cfg(test)]
mod sim;

use std::sync::Arc;

/// What a fact is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A user is on a presence channel.
    Member { channel: Arc<str>, user: Arc<str> },
    /// A channel has subscribers.
    Subscribers(Arc<str>),
    /// A user is signed in.
    User(Arc<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// There is no more to say.
    Plain,
    /// A member's info: JSON on one line.
    Info(Arc<str>),
    /// How many subscribers; at least one.
    Count(u32),
}

/// None: it is so no longer.
pub type Change = (Key, Option<Value>);

/// What a node tells all others: its newest changes, or, without any, how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The process that numbers the changes: a random number.
    pub process: u64,
    /// Of the last change.
    pub number: u64,
    /// The node was restarted, and members that it does not know may still come back to it.
    pub settling: bool,
    /// In order. None: of a kind that is not known here.
    pub changes: Vec<Option<Change>>,
}

/// A part of a node's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub process: u64,
    /// Of the last change that is in it.
    pub number: u64,
    pub settling: bool,
    pub facts: Vec<(Key, Value)>,
    /// There are more: the next page is asked for with this. None: this was the last.
    pub next: Option<Key>,
}

impl Key {
    /// Bytes of its names.
    fn bytes(&self) -> usize {
        match self {
            Self::Member { channel, user } => channel.len() + user.len(),
            Self::Subscribers(name) | Self::User(name) => name.len(),
        }
    }
}

/// Bytes of a fact or a change.
fn bytes(key: &Key, value: Option<&Value>) -> usize {
    let info = match value {
        Some(Value::Info(info)) => info.len(),
        _ => 0,
    };
    64 + key.bytes() + info
}
