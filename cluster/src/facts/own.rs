//! A node's own facts, and which changes of them the others were not told yet.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::{Change, Key, Notice, Page, Value, bytes};

/// The most changes that wait to be told. If there are more, none is told: the others see that they lack some, and read
/// all facts.
pub const WAITING: usize = 65_536;
/// Bytes of a notice or a page, about.
const MESSAGE: usize = 128 << 10;

/// A node's own facts. They are bounded by what they are about: members, channels and connections have limits.
#[derive(Debug)]
pub struct Own {
    process: u64,
    number: u64,
    settling: bool,
    facts: BTreeMap<Key, Value>,
    untold: VecDeque<Change>,
    /// Bytes of a notice or a page, about.
    pub(super) message: usize,
}

impl Own {
    /// `process`: a random number. `settling`: members that are not known may still come back.
    pub fn new(process: u64, settling: bool) -> Self {
        Self {
            process,
            number: 0,
            settling,
            facts: BTreeMap::new(),
            untold: VecDeque::new(),
            message: MESSAGE,
        }
    }

    /// It is so from now on, or with this value.
    pub fn set(&mut self, key: Key, value: Value) {
        if self.facts.get(&key) != Some(&value) {
            self.facts.insert(key.clone(), value.clone());
            self.change((key, Some(value)));
        }
    }

    /// It is so no longer.
    pub fn unset(&mut self, key: Key) {
        if self.facts.remove(&key).is_some() {
            self.change((key, None));
        }
    }

    /// Nobody is expected back any more.
    pub fn settle(&mut self) {
        self.settling = false;
    }

    fn change(&mut self, change: Change) {
        self.number += 1;
        if self.untold.len() >= WAITING {
            self.untold.clear();
        }
        self.untold.push_back(change);
    }

    /// The next changes to tell, if there are any.
    pub fn take(&mut self) -> Option<Notice> {
        let first = self.number - self.untold.len() as u64;
        let (mut changes, mut size) = (Vec::new(), 0);
        while size < self.message
            && let Some(change) = self.untold.pop_front()
        {
            size += bytes(&change.0, change.1.as_ref());
            changes.push(Some(change));
        }
        (!changes.is_empty()).then(|| Notice {
            process: self.process,
            number: first + changes.len() as u64,
            settling: self.settling || !self.untold.is_empty(),
            changes,
        })
    }

    /// How far the changes have come that were taken to be told.
    pub fn state(&self) -> Notice {
        Notice {
            process: self.process,
            number: self.number - self.untold.len() as u64,
            settling: self.settling || !self.untold.is_empty(),
            changes: Vec::new(),
        }
    }

    /// The facts behind `after`, as many as a message takes.
    pub fn page(&self, after: Option<&Key>) -> Page {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.facts.range((from, Bound::Unbounded)).peekable();
        let (mut facts, mut size) = (Vec::new(), 0);
        while size < self.message
            && let Some((key, value)) = rest.next()
        {
            size += bytes(key, Some(value));
            facts.push((key.clone(), value.clone()));
        }
        let next = rest.peek().and(facts.last()).map(|(key, _)| key.clone());
        Page {
            process: self.process,
            number: self.number,
            settling: self.settling,
            facts,
            next,
        }
    }

    pub fn len(&self) -> usize {
        self.facts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> Key {
        Key::User(n.to_string().into())
    }

    #[test]
    fn only_what_changes_is_numbered_and_told() {
        let mut own = Own::new(7, false);
        own.set(user(1), Value::Plain);
        own.set(user(1), Value::Plain);
        own.unset(user(2));
        let told = own.take().unwrap();
        assert_eq!((told.process, told.number), (7, 1));
        assert_eq!(told.changes, [Some((user(1), Some(Value::Plain)))]);
        assert_eq!(own.take(), None);
        own.unset(user(1));
        assert_eq!((own.state().number, own.len()), (1, 0), "not told yet");
        assert_eq!(own.take().unwrap().number, 2);
    }

    #[test]
    fn many_changes_are_told_in_several_messages_and_too_many_not_at_all() {
        let mut own = Own::new(7, false);
        for n in 0..WAITING {
            own.set(user(n), Value::Plain);
        }
        let told: Vec<Notice> = std::iter::from_fn(|| own.take()).collect();
        assert!(told.len() > 1 && told.iter().all(|one| one.changes.len() < WAITING));
        assert_eq!(told.last().unwrap().number, WAITING as u64);
        for n in 0..=WAITING {
            own.unset(user(n));
            own.set(user(n), Value::Plain);
        }
        let told = own.take().unwrap();
        assert!(told.number > told.changes.len() as u64 + WAITING as u64);
    }

    #[test]
    fn pages_have_every_fact_once() {
        let mut own = Own::new(7, true);
        for n in 0..5000 {
            own.set(user(n), Value::Plain);
        }
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = own.page(after.as_ref());
            assert!(page.settling && page.number == 5000);
            all.extend(page.facts);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all.len(), 5000);
        assert!(all.is_sorted_by(|a, b| a.0 < b.0));
    }
}
