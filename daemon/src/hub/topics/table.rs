//! The known patterns, found by the literal text that each topic they match begins with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::mercure::matcher::{Matcher, Prefix};
use protocol::mercure::topic::Topic;

use crate::hub::channel_index::ChannelIndex;

/// Bytes of a literal prefix that are looked at, which bounds how often a topic is looked up.
const PREFIX: usize = 128;

#[derive(Debug)]
pub struct Table {
    /// The most patterns. One that is large counts as several, here as in `weight`.
    most: usize,
    weight: usize,
    by_name: HashMap<Arc<str>, Entry>,
    /// By the text of topics, and by their places as URLs.
    by_text: Prefixes,
    by_place: Prefixes,
    /// Patterns without a subscriber, and since when, in the order in which the last ones left.
    idle: BTreeMap<u64, (Arc<str>, Instant)>,
    /// How often a last one left.
    left: u64,
}

#[derive(Debug)]
struct Entry {
    pattern: Matcher,
    subscribers: usize,
    /// Its place in `Table::idle`.
    idle: Option<u64>,
}

impl Table {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            weight: 0,
            by_name: HashMap::new(),
            by_text: Prefixes::default(),
            by_place: Prefixes::default(),
            idle: BTreeMap::new(),
            left: 0,
        }
    }

    pub fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// How many patterns are known.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    pub fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// One more subscriber of a pattern; returns the one that is known.
    pub fn hold(&mut self, name: &str, pattern: Matcher, index: &ChannelIndex) -> Matcher {
        if let Some(entry) = self.by_name.get_mut(name) {
            entry.subscribers += 1;
            if let Some(place) = entry.idle.take() {
                self.idle.remove(&place);
            }
            return entry.pattern.clone();
        }
        let name: Arc<str> = name.into();
        let (prefixes, prefix) = self.prefixes(&pattern);
        prefixes.add(prefix, (name.clone(), pattern.clone()));
        let entry = Entry {
            pattern: pattern.clone(),
            subscribers: 1,
            idle: None,
        };
        index.adopt(&name);
        self.weight += pattern.weight();
        self.by_name.insert(name, entry);
        pattern
    }

    /// One subscriber less.
    pub fn release(&mut self, name: &str, now: Instant) {
        let Some((name, _)) = self.by_name.get_key_value(name) else {
            return;
        };
        let name = name.clone();
        let Some(entry) = self.by_name.get_mut(&name) else {
            return;
        };
        entry.subscribers = entry.subscribers.saturating_sub(1);
        if entry.subscribers == 0 && entry.idle.is_none() {
            self.left += 1;
            entry.idle = Some(self.left);
            self.idle.insert(self.left, (name, now));
        }
    }

    /// Whether there is room for new ones of this weight, once those that have had no subscriber for the longest time are
    /// forgotten.
    pub fn make_room(&mut self, new: usize, index: &ChannelIndex) -> bool {
        while self.weight + new > self.most {
            if !self.forget_oldest(index, |_| true) {
                return false;
            }
        }
        true
    }

    /// Forgets the patterns that nobody has subscribed to for `lingers`.
    pub fn sweep(&mut self, now: Instant, lingers: Duration, index: &ChannelIndex) {
        while self.forget_oldest(index, |since| now.duration_since(since) >= lingers) {}
    }

    /// Forgets the pattern that has been without a subscriber for the longest time, if it `may` be.
    fn forget_oldest(&mut self, index: &ChannelIndex, may: impl Fn(Instant) -> bool) -> bool {
        let Some(oldest) = self.idle.first_entry() else {
            return false;
        };
        if !may(oldest.get().1) {
            return false;
        }
        let (name, _) = oldest.remove();
        if let Some(entry) = self.by_name.remove(&name) {
            self.weight -= entry.pattern.weight();
            let (prefixes, prefix) = self.prefixes(&entry.pattern);
            prefixes.remove(prefix, &name);
        }
        index.release(&name);
        true
    }

    /// All patterns are known to the index from now on.
    pub fn adopt_all(&self, index: &ChannelIndex) {
        self.by_name.keys().for_each(|name| index.adopt(name));
    }

    /// The names of all patterns that match one of these topics, each once.
    pub fn matching(&self, topics: &[Topic<'_>]) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        if self.by_name.is_empty() {
            return names;
        }
        let mut found: HashSet<&str> = HashSet::new();
        for topic in topics {
            let by_text = self.by_text.of(topic.text());
            // Only where there are some: a topic is taken apart for them.
            let place = match self.by_place.is_empty() {
                true => None,
                false => topic.place(),
            };
            let by_place = place.map(|place| self.by_place.of(place));
            for (name, pattern) in by_text.chain(by_place.into_iter().flatten()) {
                if !found.contains(&**name) && pattern.matches(topic) {
                    found.insert(name);
                    names.push(name.clone());
                }
            }
        }
        names
    }

    /// Where a pattern is found, and by what.
    fn prefixes<'p>(&mut self, pattern: &'p Matcher) -> (&mut Prefixes, &'p str) {
        match pattern.literal_prefix() {
            Prefix::Text(prefix) | Prefix::Whole(prefix) => (&mut self.by_text, prefix),
            Prefix::Place(prefix) => (&mut self.by_place, prefix),
        }
    }
}

type Named = (Arc<str>, Matcher);

/// Patterns by their literal prefixes, cut to `PREFIX`.
#[derive(Debug, Default)]
struct Prefixes(BTreeMap<Box<str>, Vec<Named>>);

impl Prefixes {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, prefix: &str, named: Named) {
        let same = self.0.entry(cut(prefix, PREFIX).into()).or_default();
        same.push(named);
    }

    fn remove(&mut self, prefix: &str, name: &str) {
        let prefix = cut(prefix, PREFIX);
        if let Some(same) = self.0.get_mut(prefix) {
            same.retain(|(other, _)| **other != *name);
            if same.is_empty() {
                self.0.remove(prefix);
            }
        }
    }

    /// Those whose prefix `text` begins with. In the order of text all prefixes of a text lie at or before it, the longest
    /// last; what lies there and is none says how long the next one is at the most.
    fn of<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Named> {
        let mut next = Some(cut(text, PREFIX));
        let prefixes = std::iter::from_fn(move || {
            loop {
                let upto = next?;
                let range = (Bound::Unbounded, Bound::Included(upto));
                let (prefix, patterns) = self.0.range::<str, _>(range).next_back()?;
                if let Some(rest) = upto.strip_prefix(&**prefix) {
                    let found = &upto[..upto.len() - rest.len()];
                    next = found
                        .char_indices()
                        .next_back()
                        .map(|(last, _)| &found[..last]);
                    return Some(patterns);
                }
                let common = std::iter::zip(prefix.bytes(), upto.bytes());
                let common = common.take_while(|(a, b)| a == b).count();
                next = Some(cut(upto, common));
            }
        });
        prefixes.flatten()
    }
}

/// The text up to so many bytes, of whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::mercure::hub_url::HubUrl;
    use protocol::mercure::matcher::Kind;

    use super::*;
    use crate::hub::channel_index::Bounds;

    fn hub() -> HubUrl {
        HubUrl::parse("https://example.com/.well-known/mercure").unwrap()
    }

    fn index() -> ChannelIndex {
        let bounds = Bounds {
            entries: 100,
            channels: 100,
            marks: 100,
        };
        ChannelIndex::new(bounds, 1)
    }

    fn pattern(kind: Kind, text: &str) -> Option<(String, Matcher)> {
        let matcher = Matcher::parse(kind, text, &hub()).ok()?;
        (!matcher.is_exact()).then(|| (matcher.key(), matcher))
    }

    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            4 => Just("/"), 4 => Just("a"), 2 => Just("b"), 1 => Just("é"), 1 => Just("%C3%A9"), 1 => Just("?q"),
            1 => Just("https://example.com/"), 1 => Just("https://other.example/"), 1 => Just("urn:a:"), 1 => Just(".."),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    fn matcher() -> impl Strategy<Value = (Kind, String)> {
        let variable = prop_oneof![
            Just(":x"),
            Just("*"),
            Just("{id}"),
            Just("{/a}?"),
            Just("(a|b)"),
            Just("")
        ];
        let kind = prop_oneof![Just(Kind::UrlPattern), Just(Kind::Topic)];
        (kind, text(), variable, text()).prop_map(|(kind, before, variable, after)| {
            (kind, [&before, variable, &after].concat())
        })
    }

    #[derive(Debug, Clone)]
    enum Step {
        Hold(usize),
        Release(usize),
        Sweep,
        Match(Vec<String>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..20usize).prop_map(Step::Hold),
            2 => (0..20usize).prop_map(Step::Release),
            1 => Just(Step::Sweep),
            4 => prop::collection::vec(text(), 1..4).prop_map(Step::Match),
        ]
    }

    proptest! {
        /// Compares with a plain list of all patterns, each of which is tried on each topic.
        #[test]
        fn the_patterns_that_match_are_found_and_no_others(
            matchers in prop::collection::vec(matcher(), 20), steps in prop::collection::vec(step(), 1..60),
        ) {
            let (hub, index) = (hub(), index());
            let matchers: Vec<_> = matchers.iter().map(|(kind, text)| pattern(*kind, text)).collect();
            let mut table = Table::new(1000);
            // Each pattern that is known, and how many subscribers it has.
            let mut model: BTreeMap<String, (Matcher, usize)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Hold(n) => if let Some((key, matcher)) = &matchers[n] {
                        table.hold(key, matcher.clone(), &index);
                        model.entry(key.clone()).or_insert((matcher.clone(), 0)).1 += 1;
                    },
                    Step::Release(n) => if let Some((key, _)) = &matchers[n]
                        && let Some((_, subscribers)) = model.get_mut(key)
                        && *subscribers > 0
                    {
                        *subscribers -= 1;
                        table.release(key, Instant::now());
                    },
                    Step::Sweep => {
                        table.sweep(Instant::now(), Duration::ZERO, &index);
                        model.retain(|_, (_, subscribers)| *subscribers > 0);
                    }
                    Step::Match(texts) => {
                        let topics: Vec<_> = texts.iter().map(|text| Topic::new(text, &hub)).collect();
                        let mut found = table.matching(&topics);
                        found.sort_unstable();
                        let matches = |(_, (matcher, _)): &(&String, &(Matcher, usize))| {
                            topics.iter().any(|topic| matcher.matches(topic))
                        };
                        let due: Vec<&String> = model.iter().filter(matches).map(|(key, _)| key).collect();
                        prop_assert!(found.iter().map(|name| &**name).eq(due.iter().map(|key| key.as_str())),
                            "{:?}: {:?}, not {:?}", texts, found, due);
                    }
                }
                prop_assert_eq!(table.count(), model.len());
            }
        }
    }

    #[test]
    fn long_prefixes_are_cut_and_still_found() {
        let (hub, index) = (hub(), index());
        let mut table = Table::new(10);
        // The bound lies within a character.
        let long = format!("https://example.com/{}", "é".repeat(PREFIX));
        for kind in [Kind::UrlPattern, Kind::Topic] {
            for text in [format!("{long}{{id}}"), format!("{long}*")] {
                if let Some((key, matcher)) = pattern(kind, &text) {
                    table.hold(&key, matcher, &index);
                }
            }
        }
        assert!(table.count() >= 3);
        let topic = format!("{long}x");
        let found = |topic: &str| table.matching(&[Topic::new(topic, &hub)]).len();
        assert_eq!(
            found(&topic),
            table
                .by_name
                .values()
                .filter(|entry| entry.pattern.matches(&Topic::new(&topic, &hub)))
                .count()
        );
        assert!(found(&topic) > 0);
        assert_eq!(found("https://example.com/"), 0);
    }

    #[test]
    fn at_the_bound_the_pattern_that_was_left_first_gives_way() {
        let index = index();
        let mut table = Table::new(2);
        let all: Vec<_> = ["/a/:x", "/b/:x", "/c/:x"]
            .iter()
            .filter_map(|text| pattern(Kind::UrlPattern, text))
            .collect();
        let hold = |table: &mut Table, n: usize| {
            let (key, matcher) = &all[n];
            let room = table.knows(key) || table.make_room(1, &index);
            if room {
                table.hold(key, matcher.clone(), &index);
            }
            room
        };
        assert!(hold(&mut table, 0) && hold(&mut table, 1) && !hold(&mut table, 2));
        let now = Instant::now();
        table.release(&all[1].0, now);
        table.release(&all[0].0, now);
        // It has a subscriber again, so the other one is the only one to go.
        assert!(hold(&mut table, 1) && hold(&mut table, 2));
        assert!(!table.knows(&all[0].0) && table.knows(&all[1].0));
        assert!(!hold(&mut table, 0));
        table.release(&all[2].0, now);
        table.sweep(now, Duration::from_secs(1), &index);
        assert_eq!(table.count(), 2, "not for long enough");
        table.sweep(now + Duration::from_secs(1), Duration::from_secs(1), &index);
        assert_eq!(table.count(), 1);
        assert!(table.idle.is_empty());
    }
}
