//! Topics: events that are not published to channels, and the matchers by which they are subscribed to.
//!
//! A matcher is a channel with a name that no channel of a client can have (`matcher_name.rs`). So routes, index, replay
//! and limits know nothing of topics. Where an event of topics comes in, its names are those of its topics, and of all
//! known patterns that match one of them (`table.rs`).
//!
//! A pattern is known while it has subscribers and for some time after that, so that who comes back finds its history.
//! What was published before it was known is not in its index: a replay reads that from the ring.
//!
//! What subscribers were granted is held beside the table (`granted.rs`), for who is subscribed alone.

pub mod granted;
pub mod ids;
pub mod table;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use protocol::mercure::grants::Grants;
use protocol::mercure::hub_url::HubUrl;
use protocol::mercure::matcher::{Matcher, Prefix};
use protocol::mercure::topic::Topic;
use shared::event::Event;

use crate::hub::channel_index::ChannelIndex;
use crate::hub::matcher_name;
use crate::hub::topics::granted::Granted;
use crate::hub::topics::ids::Ids;
use crate::hub::topics::table::Table;
use crate::process::client_key::ClientKey;
use crate::process::holdings;
use crate::process::holdings::Holdings;
use crate::process::shares::ANY;

/// How long a pattern that nobody subscribes to any more is known.
const LINGERS: Duration = Duration::from_secs(300);

/// The bounds of an application's patterns.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Different patterns that are known.
    pub patterns: usize,
    /// Different patterns of one address.
    pub per_address: u32,
    /// Bytes of the patterns that subscribers were granted.
    pub grants: usize,
}

/// Why a subscriber's patterns were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many are known as may be.
    Application,
    /// Its address has its share.
    Address,
    /// All that subscribers were granted takes as much as it may.
    Grants,
}

/// The topics of one application.
#[derive(Debug)]
pub struct Topics {
    /// What relative topics are relative to.
    hub: HubUrl,
    /// The ids that publishers gave.
    pub ids: Ids,
    table: RwLock<Table>,
    granted: Mutex<Granted>,
    shares: Holdings,
    swept: Mutex<Instant>,
}

/// A subscriber's matchers; its patterns are known, and those that it was granted are held, as long as this is.
#[derive(Debug)]
pub struct Matched {
    topics: Arc<Topics>,
    client: ClientKey,
    /// The names of all matchers, distinct.
    pub names: Vec<String>,
    patterns: Vec<(String, Matcher)>,
    granted: Vec<Arc<str>>,
}

impl Matched {
    /// The patterns of these grants are those that are held for all.
    ///
    /// # Errors
    /// If there is no room for them.
    pub fn hold(&mut self, grants: &mut Grants) -> Result<(), Full> {
        let matchers = grants.subscribe.iter_mut().map(|grant| &mut grant.matcher);
        let mut granted = self.topics.granted.lock();
        for pattern in matchers.filter(|matcher| !matcher.is_exact()) {
            let name = matcher_name::pattern(&pattern.key());
            let held = granted.hold(&name, pattern);
            self.granted.push(held.ok_or(Full::Grants)?);
        }
        Ok(())
    }

    /// What relative topics are relative to.
    pub fn hub(&self) -> &HubUrl {
        &self.topics.hub
    }

    /// The patterns that may match topics of active subscriptions.
    pub fn of_subscriptions(&self) -> Vec<&Matcher> {
        let patterns = self.patterns.iter().map(|(_, pattern)| pattern);
        of_subscriptions(&self.topics.hub, patterns)
    }

    /// How many ordinary patterns its own count as.
    pub fn weight(&self) -> usize {
        let patterns = self.patterns.iter();
        patterns.map(|(_, pattern)| pattern.weight()).sum()
    }

    /// Whether one of the matchers matches one of the topics of this event.
    pub fn matches(&self, event: &Event) -> bool {
        if self.topics.is_forged(event) {
            return false;
        }
        event.topics().any(|topic| {
            let name = matcher_name::exact(topic);
            let parts = Topic::new(topic, &self.topics.hub);
            let by_pattern = |(_, pattern): &(String, Matcher)| pattern.matches(&parts);
            self.names.contains(&name) || self.patterns.iter().any(by_pattern)
        })
    }
}

impl Drop for Matched {
    fn drop(&mut self) {
        if !self.granted.is_empty() {
            let mut granted = self.topics.granted.lock();
            self.granted.iter().for_each(|name| granted.release(name));
        }
        if self.patterns.is_empty() {
            return;
        }
        self.topics.leave(self.client, &self.patterns);
        let now = Instant::now();
        let mut table = self.topics.table.write();
        let names = self.patterns.iter().map(|(name, _)| name);
        names.for_each(|name| table.release(name, now));
    }
}

/// While this is held no pattern comes to be known.
pub struct Known<'a> {
    hub: &'a HubUrl,
    table: RwLockReadGuard<'a, Table>,
}

impl Known<'_> {
    /// The names by which an event of these topics is found.
    pub fn names<'t>(&self, topics: impl Iterator<Item = &'t str> + Clone) -> Box<[Arc<str>]> {
        let exact = topics.clone();
        let exact = exact.map(|topic| matcher_name::exact(topic).into());
        let topics: Vec<_> = topics.map(|topic| Topic::new(topic, self.hub)).collect();
        exact.chain(self.table.matching(&topics)).collect()
    }
}

impl Topics {
    /// `hub`: what relative topics are relative to. `ids`: how many ids of publishers are remembered.
    pub fn new(hub: HubUrl, limits: Limits, ids: usize) -> Self {
        Self {
            hub,
            ids: Ids::new(ids),
            table: RwLock::new(Table::new(limits.patterns)),
            granted: Mutex::new(Granted::new(limits.grants)),
            shares: Holdings::new(shares(limits)),
            swept: Mutex::new(Instant::now()),
        }
    }

    pub fn hub(&self) -> &HubUrl {
        &self.hub
    }

    /// Whether an event of the ring has a topic that only the hub itself publishes to. Who may write to the ring is asked
    /// by nobody, so such an event is nobody's.
    pub fn is_forged(&self, event: &Event) -> bool {
        event.topics().any(|topic| self.hub.is_own(topic))
    }

    /// The limits from now on. Who has more keeps it.
    pub fn set(&self, limits: Limits) {
        self.table.write().set_most(limits.patterns);
        self.granted.lock().set_most(limits.grants);
        self.shares.set(shares(limits));
    }

    pub fn known(&self) -> Known<'_> {
        Known {
            hub: &self.hub,
            table: self.table.read(),
        }
    }

    /// The number of patterns that are known.
    pub fn patterns(&self) -> usize {
        self.table.read().count()
    }

    /// Makes a subscriber's patterns known.
    ///
    /// # Errors
    /// If there are too many; none of them is held then.
    pub fn subscribe(
        self: &Arc<Self>,
        index: &ChannelIndex,
        client: ClientKey,
        matchers: impl IntoIterator<Item = Matcher>,
    ) -> Result<Matched, Full> {
        let mut matched = Matched {
            topics: self.clone(),
            client,
            names: Vec::new(),
            patterns: Vec::new(),
            granted: Vec::new(),
        };
        let mut seen = HashSet::new();
        let mut patterns = Vec::new();
        for matcher in matchers {
            let name = match matcher.is_exact() {
                true => matcher_name::exact(matcher.text()),
                false => matcher_name::pattern(&matcher.key()),
            };
            if !seen.insert(name.clone()) {
                continue;
            }
            matched.names.push(name.clone());
            if !matcher.is_exact() {
                patterns.push((name, matcher));
            }
        }
        if patterns.is_empty() {
            return Ok(matched);
        }
        if self.shares.enter(client, &places(&patterns)).is_err() {
            return Err(Full::Address);
        }
        // The known ones are held first, so that they are not forgotten to make room for the others.
        let mut table = self.table.write();
        let (known, new): (Vec<_>, Vec<_>) = patterns
            .into_iter()
            .partition(|(name, _)| table.knows(name));
        for (name, pattern) in known {
            let pattern = table.hold(&name, pattern, index);
            matched.patterns.push((name, pattern));
        }
        let weight = new.iter().map(|(_, pattern)| pattern.weight()).sum();
        if !table.make_room(weight, index) {
            drop(table);
            self.leave(client, &new);
            return Err(Full::Application);
        }
        for (name, pattern) in new {
            let pattern = table.hold(&name, pattern, index);
            matched.patterns.push((name, pattern));
        }
        drop(table);
        Ok(matched)
    }

    fn leave(&self, client: ClientKey, patterns: &[(String, Matcher)]) {
        let places = places(patterns);
        self.shares.leave(client, places.iter().map(String::as_str));
    }

    /// From time to time: patterns that nobody has subscribed to for long are forgotten.
    pub fn sweep(&self, index: &ChannelIndex) {
        let now = Instant::now();
        let mut swept = self.swept.lock();
        if now.duration_since(*swept) >= LINGERS / 10 {
            *swept = now;
            self.table.write().sweep(now, LINGERS, index);
        }
    }

    /// The ring was replaced: the index was begun anew, and knows all of what comes.
    pub fn restart(&self, index: &ChannelIndex) {
        self.table.read().adopt_all(index);
        self.ids.clear();
    }
}

/// Of these patterns, those that may match topics of active subscriptions.
pub fn of_subscriptions<'m>(
    hub: &HubUrl,
    patterns: impl Iterator<Item = &'m Matcher>,
) -> Vec<&'m Matcher> {
    let own = Topic::new(hub.as_str(), hub);
    let both = |prefix: &str, own: &str| prefix.starts_with(own) || own.starts_with(prefix);
    let may_be = |pattern: &&Matcher| match pattern.literal_prefix() {
        Prefix::Whole(_) => false,
        Prefix::Text(prefix) => both(prefix, hub.path()),
        Prefix::Place(prefix) => own.place().is_some_and(|own| both(prefix, own)),
    };
    patterns.filter(may_be).collect()
}

/// What these patterns take of their subscriber's share: each as many places as it counts as patterns.
fn places(patterns: &[(String, Matcher)]) -> Vec<String> {
    let of_one = |(name, pattern): &(String, Matcher)| {
        let more = (1..pattern.weight()).map(|n| format!("{name}\n{n}"));
        std::iter::once(name.clone())
            .chain(more)
            .collect::<Vec<_>>()
    };
    patterns.iter().flat_map(of_one).collect()
}

fn shares(limits: Limits) -> holdings::Limits {
    holdings::Limits {
        channels: limits.per_address,
        subscriptions: ANY,
    }
}
