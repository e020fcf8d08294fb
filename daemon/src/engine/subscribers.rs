//! Subscribers of topics: what each asks for, and what it was granted. A private event is for those alone who were granted
//! one of its topics; that is found out once for an event and all streams with the same grants.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use protocol::mercure::grants::Grants;
use protocol::mercure::hub_url::HubUrl;
use protocol::mercure::matcher::Matcher;
use protocol::mercure::topic::Topic;
use shared::cursor::Cursor;
use shared::event::Event;

use crate::engine::opening::TopicOpening;
use crate::hub::active::{Presence, Telling, text_of_topic};
use crate::hub::topics::{Matched, of_subscriptions};

/// One worker's subscribers of topics, by their slots.
#[derive(Debug, Default)]
pub struct Subscribers {
    streams: HashMap<u32, Subscriber>,
    /// By their keys.
    granted: HashMap<Rc<str>, Weak<Granted>>,
}

#[derive(Debug)]
pub struct Subscriber {
    pub matched: Matched,
    /// None: it was granted nothing.
    granted: Option<Rc<Granted>>,
    /// It may have missed what the hub says itself.
    pub missed: Cell<bool>,
    /// What it is still told of that.
    pub telling: Option<Box<Telling>>,
    /// It is an active subscription as long as it is here.
    presence: Option<Presence>,
}

/// What streams were granted in common.
#[derive(Debug)]
struct Granted {
    key: Rc<str>,
    exact: HashSet<Arc<str>>,
    patterns: Vec<Matcher>,
    /// The latest verdict.
    latest: Cell<Option<(Cursor, bool)>>,
}

impl Granted {
    fn new(key: Rc<str>, grants: &Grants) -> Self {
        let matchers = grants.subscribe.iter().map(|grant| &grant.matcher);
        let (exact, patterns): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.partition(|matcher| matcher.is_exact());
        Self {
            key,
            exact: exact.iter().map(|matcher| matcher.text().clone()).collect(),
            patterns: patterns.into_iter().cloned().collect(),
            latest: Cell::new(None),
        }
    }

    fn fits(&self, topic: &Topic<'_>) -> bool {
        self.exact.contains(topic.text())
            || self.patterns.iter().any(|pattern| pattern.matches(topic))
    }

    fn fit(&self, event: &Event, hub: &HubUrl) -> bool {
        event.topics().any(|topic| self.exact.contains(topic))
            || !self.patterns.is_empty()
                && event.topics().any(|topic| {
                    let topic = Topic::new(topic, hub);
                    self.patterns.iter().any(|pattern| pattern.matches(&topic))
                })
    }
}

impl Subscriber {
    /// Whether it was granted one of the event's topics.
    pub fn was_granted(&self, event: &Event) -> bool {
        let granted = self.granted.as_ref();
        granted.is_some_and(|granted| granted.fit(event, self.matched.hub()))
    }

    pub fn presence(&self) -> Option<&Presence> {
        self.presence.as_ref()
    }

    /// The encoded texts of the only matchers whose subscriptions it was granted, `Some(None)` if they are not known. None: it
    /// was granted none.
    pub fn granted_subscriptions(&self) -> Option<Option<Vec<String>>> {
        let (granted, hub) = (self.granted.as_ref()?, self.matched.hub());
        let exact = granted.exact.iter().filter_map(|topic| {
            let rest = topic.strip_prefix(hub.path())?;
            // Of 1.0, and of 0.x.
            let parts = rest.strip_prefix("/subscriptions/")?.split('/').take(2);
            Some(parts.map(|text| Some(text.to_owned())))
        });
        let patterns = of_subscriptions(hub, granted.patterns.iter()).into_iter();
        let patterns = patterns
            .map(|pattern| text_of_topic(pattern.kind(), pattern.text(), hub).map(str::to_owned));
        let mut all = exact.flatten().chain(patterns).peekable();
        all.peek()?;
        Some(all.collect())
    }

    /// Whether it was granted this topic, and how many patterns may have been tried.
    pub fn was_granted_topic(&self, topic: &Topic<'_>) -> (bool, usize) {
        match &self.granted {
            Some(granted) => (granted.fits(topic), 1 + granted.patterns.len()),
            None => (false, 1),
        }
    }

    /// Whether it may have the event at `at`.
    pub fn may_have(&self, event: &Event, at: Cursor) -> bool {
        !event.is_private()
            || self.granted.as_ref().is_some_and(|granted| {
                if let Some((_, verdict)) = granted.latest.get().filter(|(seen, _)| *seen == at) {
                    return verdict;
                }
                let verdict = granted.fit(event, self.matched.hub());
                granted.latest.set(Some((at, verdict)));
                verdict
            })
    }
}

impl Subscribers {
    /// A stream subscribes to topics. `was_away`: it may have missed something.
    pub fn add(&mut self, slot: u32, opening: TopicOpening, was_away: bool) {
        let TopicOpening {
            matched,
            grants,
            presence,
        } = opening;
        let granted = (!grants.subscribe.is_empty()).then(|| self.granted(&grants));
        let subscriber = Subscriber {
            matched,
            granted,
            missed: Cell::new(was_away),
            telling: None,
            presence,
        };
        self.streams.insert(slot, subscriber);
    }

    fn granted(&mut self, grants: &Grants) -> Rc<Granted> {
        let key = grants.subscribe_key();
        if let Some(known) = self.granted.get(&*key).and_then(Weak::upgrade) {
            return known;
        }
        let key: Rc<str> = key.into();
        let granted = Rc::new(Granted::new(key.clone(), grants));
        self.granted.insert(key, Rc::downgrade(&granted));
        granted
    }

    /// The stream is closed.
    pub fn remove(&mut self, slot: u32) {
        let Some(Subscriber { granted, .. }) = self.streams.remove(&slot) else {
            return;
        };
        if let Some(granted) = granted.filter(|granted| Rc::strong_count(granted) == 1) {
            self.granted.remove(&granted.key);
        }
    }

    /// All of them may have missed something.
    pub fn miss(&self) {
        self.streams
            .values()
            .for_each(|subscriber| subscriber.missed.set(true));
    }

    pub fn of_mut(&mut self, slot: u32) -> Option<&mut Subscriber> {
        self.streams.get_mut(&slot)
    }

    pub fn of(&self, slot: u32) -> Option<&Subscriber> {
        self.streams.get(&slot)
    }

    /// Whether the stream may have the event at `at`.
    pub fn may_have(&self, slot: u32, event: &Event, at: Cursor) -> bool {
        self.of(slot)
            .is_some_and(|subscriber| subscriber.may_have(event, at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::mercure::Version;
    use protocol::mercure::grants::Grant;
    use protocol::mercure::matcher::Kind;
    use protocol::testing::{cursor, private_event, topics_event};

    use super::*;
    use crate::engine::seam;
    use crate::hub::channel_index::{Bounds, ChannelIndex};
    use crate::process::client_key::ClientKey;

    fn hub() -> HubUrl {
        HubUrl::parse("https://example.com/.well-known/mercure").unwrap()
    }

    fn grants(texts: &[&str]) -> Arc<Grants> {
        let grant = |text: &&str| Grant {
            matcher: Matcher::parse(Kind::UrlPattern, text, &hub()).unwrap(),
            payload: None,
        };
        Arc::new(Grants {
            version: Version::One,
            publish: Vec::new(),
            subscribe: texts.iter().map(grant).collect(),
            expires: None,
        })
    }

    /// Streams with these grants, in the slots 0 and on.
    fn subscribers(all: &[&[&str]]) -> Subscribers {
        let topics = seam::topics();
        let bounds = Bounds {
            entries: 10,
            channels: 10,
            marks: 10,
        };
        let index = ChannelIndex::new(bounds, 1);
        let mut subscribers = Subscribers::default();
        for (slot, texts) in (0..).zip(all) {
            let everything = Matcher::parse(Kind::Exact, "*", &hub()).unwrap();
            let matched = topics
                .subscribe(&index, ClientKey::NONE, [everything])
                .unwrap();
            let grants = grants(texts);
            let opening = TopicOpening {
                matched,
                grants,
                presence: None,
            };
            subscribers.add(slot, opening, false);
        }
        subscribers
    }

    #[test]
    fn a_private_event_is_for_who_was_granted_one_of_its_topics() {
        let all: [&[&str]; 5] = [&[], &["/a/1"], &["/a/:x"], &["*"], &["/b"]];
        let subscribers = subscribers(&all);
        let who = |topics: &[&str], seq: u64| -> Vec<u32> {
            let event = private_event(topics, "").unwrap();
            (0..5)
                .filter(|slot| subscribers.may_have(*slot, &event, cursor(seq)))
                .collect()
        };
        assert_eq!(who(&["/a/1"], 1), [1, 2, 3]);
        assert_eq!(who(&["https://example.com/a/1"], 2), [1, 2, 3]);
        assert_eq!(who(&["/c", "/b"], 3), [3, 4]);
        assert_eq!(who(&["/c"], 4), [3]);
        assert_eq!(who(&["/a/1?q", "/a/1/2"], 5), [1, 2, 3]);
        let public = topics_event(&["/c"], None, None, None, "").unwrap();
        assert!((0..5).all(|slot| subscribers.may_have(slot, &public, cursor(6))));
        assert!(
            !subscribers.may_have(5, &public, cursor(6)),
            "no subscriber"
        );
    }

    #[test]
    fn streams_with_the_same_grants_have_one_verdict_and_nothing_stays() {
        let mut subscribers = subscribers(&[&["/a/1", "/b"], &["/b", "/a/1", "/b"], &["/a/1"]]);
        assert_eq!(subscribers.granted.len(), 2);
        let event = private_event(&["/b"], "").unwrap();
        assert!(subscribers.may_have(0, &event, cursor(1)));
        let latest = |slot: u32| {
            subscribers
                .of(slot)
                .unwrap()
                .granted
                .as_ref()
                .unwrap()
                .latest
                .get()
        };
        assert_eq!(latest(1), Some((cursor(1), true)));
        assert_eq!(latest(2), None);
        for slot in 0..3 {
            subscribers.remove(slot);
        }
        assert!(subscribers.streams.is_empty() && subscribers.granted.is_empty());
    }

    proptest! {
        /// Whatever the order in which streams and events are asked about.
        #[test]
        fn a_verdict_is_what_the_grants_say(
            asked in prop::collection::vec((0..4u32, 0..6usize), 1..50),
        ) {
            let all: [&[&str]; 4] = [&["/a/1"], &["/a/:x", "/b"], &["/b"], &["/b", "/a/:x"]];
            let events: [&[&str]; 6] = [
                &["/a/1"], &["https://example.com/a/1"], &["/b"], &["https://example.com/b", "/c"], &["/c"],
                &["/a/1/2", "/a/3"],
            ];
            let (subscribers, hub) = (subscribers(&all), hub());
            for (slot, n) in asked {
                let event = private_event(events[n], "").unwrap();
                let topics: Vec<Topic<'_>> = events[n].iter().map(|text| Topic::new(text, &hub)).collect();
                let due = grants(all[slot as usize]).can_subscribe(&topics);
                prop_assert_eq!(subscribers.may_have(slot, &event, cursor(n as u64)), due, "{} {:?}", slot, events[n]);
            }
        }
    }
}
