//! Active subscriptions of a Mercure hub: each matcher of each stream, by the subscriber's name that its connection was
//! given. They are announced to whoever was granted their topics, and listed to whoever asks.
//!
//! ```text
//! join ──► present ── active:true      leave ──► in grace ── 5 s ──► ended ── active:false
//! ```
//!
//! Nothing of it is in the ring. Who was away, or too slow, is told `active:false` of those that have ended meanwhile, and
//! then `active:true` of all that are present: what a client knows already, it passes over. A client that comes back does
//! so under another name, before the grace of the one before is over, so that nobody seems to be gone in between. Of those
//! in grace, and of the ended, the latest are kept that a bound of bytes allows: beyond it a grace ends early.
//!
//! Who was there when the process before ended (`active_note.rs`) is there, and in grace for as long as clients may take to
//! come back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::mercure::grants::Grants;
use protocol::mercure::matcher::{Kind, Matcher};
use protocol::mercure::subscription::{Subscription, encode};
use tokio::sync::Notify;

use crate::hub::active_note::{Journal, Noted, kind};
use crate::hub::hub::Hub;
use crate::hub::notice::Notice;

/// How long a subscription whose connection is gone still counts as active.
pub const GRACE: Duration = Duration::from_secs(5);
/// The most that are known to have ended. Who was away while more did may take some for present that are not, until it
/// asks for them.
pub const ENDED: usize = 10_000;
/// The most bytes of those in grace, and of those that have ended.
const HELD: usize = 8 << 20;
/// What a subscriber and each of its matchers take beside their texts, in tables that have just doubled.
const SUBSCRIBER: usize = 384;
const MATCHER: usize = 128;

/// Bytes at the most of subscribers that are gone.
pub const CEILING: u64 = 2 * HELD as u64;

/// Those of one application.
#[derive(Debug, Default)]
pub struct Active {
    inner: Mutex<Inner>,
    /// Wakes [`Active::run`]: the first of those in grace.
    left: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    present: BTreeMap<u64, Arc<Subscriber>>,
    /// By when they end.
    leaving: BTreeSet<(Instant, u64)>,
    ended: VecDeque<(u64, Arc<Subscriber>)>,
    /// Bytes of those in grace and of the ended.
    leaving_bytes: usize,
    ended_bytes: usize,
    /// Both kinds by the hashes of the encoded texts of their matchers. Two texts may have one.
    by_text: HashMap<u64, Vec<u64>>,
    hasher: RandomState,
    /// None: nothing is noted for the next process.
    journal: Option<Journal>,
}

/// What is shown of a matcher, and the payload that it has.
type Shown = (Kind, Arc<str>, Option<Arc<str>>);

/// A connection that subscribes.
#[derive(Debug)]
struct Subscriber {
    /// `urn:uuid:…`, random.
    name: Box<str>,
    matchers: Box<[Shown]>,
    /// Bytes that it takes.
    memory: usize,
}

impl Subscriber {
    fn new(
        name: String,
        matchers: &[Matcher],
        payload: impl Fn(&Matcher) -> Option<Arc<str>>,
    ) -> Self {
        let one = |matcher: &Matcher| (matcher.kind(), matcher.text().clone(), payload(matcher));
        Self::with(name.into(), matchers.iter().map(one).collect())
    }

    fn with(name: Box<str>, matchers: Box<[Shown]>) -> Self {
        // Matchers have a payload in common.
        let mut payloads = HashSet::new();
        let bytes = matchers.iter().map(|(_, text, payload)| {
            let new = payload
                .as_ref()
                .filter(|json| payloads.insert(json.as_ptr()));
            MATCHER + text.len() + new.map_or(0, |json| json.len())
        });
        Self {
            memory: SUBSCRIBER + bytes.sum::<usize>(),
            name,
            matchers,
        }
    }

    /// It was there before. None: it is of another form.
    fn of(noted: &Noted) -> Option<Self> {
        let mut payloads: HashMap<&str, Arc<str>> = HashMap::new();
        let matchers = noted.matchers.iter().map(|(name, text, payload)| {
            let payload = payload.as_deref();
            let payload =
                payload.map(|json| payloads.entry(json).or_insert_with(|| json.into()).clone());
            Some((kind(name)?, text.as_str().into(), payload))
        });
        let matchers = matchers.collect::<Option<_>>()?;
        Some(Self::with(noted.subscriber.as_str().into(), matchers))
    }

    fn noted(&self) -> Noted {
        let one = |(kind, text, payload): &Shown| {
            (
                kind.name().to_owned(),
                text.to_string(),
                payload.as_deref().map(str::to_owned),
            )
        };
        Noted {
            subscriber: self.name.to_string(),
            matchers: self.matchers.iter().map(one).collect(),
        }
    }

    fn subscriptions(&self, active: bool) -> impl Iterator<Item = Subscription<'_>> {
        self.matchers
            .iter()
            .map(move |(kind, text, payload)| Subscription {
                kind: *kind,
                text,
                subscriber: &self.name,
                payload: payload.as_deref(),
                active,
            })
    }
}

/// A subscriber is there as long as this is held.
pub struct Presence {
    active: Arc<Active>,
    number: u64,
}

impl Presence {
    /// Tells everybody, itself too: it has to know itself by this name before the one that it had is told to be gone.
    pub fn announce(&self, hub: &Hub) {
        let inner = self.active.inner.lock();
        if let Some(subscriber) = inner.present.get(&self.number) {
            announce(hub, subscriber, true);
        }
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Presence").field(&self.number).finish()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let due = Instant::now() + GRACE;
        self.active.inner.lock().leave(self.number, due);
        self.active.left.notify_one();
    }
}

impl Active {
    /// With those who were there `before`, who may come back `within` this time. `journal`: of them, for the next process.
    pub fn new(before: &[Noted], journal: Journal, within: Duration) -> Self {
        let mut inner = Inner::default();
        let due = Instant::now() + within;
        for subscriber in before.iter().filter_map(Subscriber::of) {
            let number = inner.enter(&Arc::new(subscriber));
            inner.leave(number, due);
        }
        inner.journal = Some(journal);
        Self {
            inner: Mutex::new(inner),
            left: Notify::new(),
        }
    }

    /// A connection subscribes, and is announced once its stream is open. None: the system has no random numbers.
    pub fn join(
        self: &Arc<Self>,
        hub: &Hub,
        matchers: &[Matcher],
        grants: &Grants,
    ) -> Option<Presence> {
        let payload = |matcher: &Matcher| grants.payload(matcher, hub.topics.hub()).cloned();
        let subscriber = Arc::new(Subscriber::new(name()?, matchers, payload));
        let inner = &mut *self.inner.lock();
        inner.end_due(hub, Instant::now());
        let number = inner.enter(&subscriber);
        if let Some(journal) = &mut inner.journal {
            journal.enter(&subscriber.noted());
        }
        let active = self.clone();
        Some(Presence { active, number })
    }

    /// The subscriptions that are present, in the order in which they began, as far as `is` says so.
    pub fn list<T>(&self, mut of: impl FnMut(Subscription<'_>) -> Option<T>) -> Vec<T> {
        let inner = self.inner.lock();
        let all = inner
            .present
            .values()
            .flat_map(|subscriber| subscriber.subscriptions(true));
        all.filter_map(&mut of).collect()
    }

    /// What a stream is told that may have missed announcements: of those whose topics `may_have`. `text`: the encoded
    /// text of the only matcher that it asks about, if there is only one.
    pub fn told(&self, path: &str, text: Option<&str>, may_have: impl Fn(&str) -> bool) -> Vec<u8> {
        let inner = self.inner.lock();
        let numbers = text.map(|text| {
            let numbers = inner.by_text.get(&inner.hasher.hash_one(text));
            numbers.map_or(&[][..], Vec::as_slice)
        });
        let asked =
            |number: &u64| numbers.is_none_or(|numbers| numbers.binary_search(number).is_ok());
        let mut out = Vec::new();
        let ended = inner.ended.iter().map(|(number, who)| (number, who, false));
        let present: Box<dyn Iterator<Item = _>> = match numbers {
            Some(numbers) => Box::new(
                numbers
                    .iter()
                    .filter_map(|number| inner.present.get(number).map(|who| (number, who, true))),
            ),
            None => Box::new(
                inner
                    .present
                    .iter()
                    .map(|(number, who)| (number, who, true)),
            ),
        };
        for (_, who, active) in ended.filter(|(number, ..)| asked(number)).chain(present) {
            for subscription in who.subscriptions(active) {
                if may_have(&subscription.id(path)) {
                    out.extend(subscription.event(path));
                }
            }
        }
        out
    }

    /// How many subscribers there are.
    pub fn count(&self) -> usize {
        self.inner.lock().present.len()
    }

    /// The timer: ends subscriptions whose grace is over. Runs until it is dropped.
    pub async fn run(&self, hub: &Hub) -> std::convert::Infallible {
        loop {
            let first = self.inner.lock().leaving.first().map(|(due, _)| *due);
            match first {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => self.left.notified().await,
            }
            self.inner.lock().end_due(hub, Instant::now());
        }
    }
}

impl Inner {
    fn enter(&mut self, subscriber: &Arc<Subscriber>) -> u64 {
        self.number += 1;
        let number = self.number;
        self.present.insert(number, subscriber.clone());
        for (_, text, _) in &subscriber.matchers {
            let hash = self.hasher.hash_one(encode(text));
            let numbers = self.by_text.entry(hash).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        }
        number
    }

    /// It ends when it is `due`.
    fn leave(&mut self, number: u64, due: Instant) {
        if let Some(who) = self.present.get(&number) {
            self.leaving_bytes += who.memory;
            self.leaving.insert((due, number));
        }
    }

    /// Ends those whose grace is over, and the first of those that are too many.
    fn end_due(&mut self, hub: &Hub, now: Instant) {
        while let Some((due, number)) = self.leaving.first().copied()
            && (due <= now || self.leaving_bytes > HELD)
        {
            self.leaving.pop_first();
            let Some(subscriber) = self.present.remove(&number) else {
                continue;
            };
            self.leaving_bytes -= subscriber.memory;
            announce(hub, &subscriber, false);
            if let Some(journal) = &mut self.journal {
                journal.end(&subscriber.name);
            }
            self.end(number, subscriber);
        }
    }

    fn end(&mut self, number: u64, subscriber: Arc<Subscriber>) {
        self.ended_bytes += subscriber.memory;
        self.ended.push_back((number, subscriber));
        while (self.ended.len() > ENDED || self.ended_bytes > HELD)
            && let Some((number, who)) = self.ended.pop_front()
        {
            self.ended_bytes -= who.memory;
            self.forget(number, &who);
        }
    }

    fn forget(&mut self, number: u64, who: &Subscriber) {
        for (_, text, _) in &who.matchers {
            let hash = self.hasher.hash_one(encode(text));
            if let Some(numbers) = self.by_text.get_mut(&hash) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_text.remove(&hash);
                }
            }
        }
    }
}

/// Under the lock, so that the announcements of one subscriber come in order.
fn announce(hub: &Hub, subscriber: &Subscriber, active: bool) {
    let path = hub.topics.hub().path();
    for subscription in subscriber.subscriptions(active) {
        let topic = subscription.id(path);
        let names = hub.topics.known().names(std::iter::once(&*topic));
        if hub.routes.workers(names.iter().map(|name| &**name)) == 0 {
            continue;
        }
        // A matcher that is too long for a topic is listed, and not announced.
        let frame = subscription.event(path);
        if let Ok(notice) = Notice::private(&topic, names, frame, &hub.process.memory) {
            hub.notify(notice);
        }
    }
}

/// A random UUID (RFC 9562, version 4) as a URN.
fn name() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = protocol::mac::hex(&bytes);
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    Some(format!("urn:uuid:{}", parts.join("-")))
}

/// The encoded text of the only matcher whose subscriptions a matcher of this text can be about, if it says so:
/// `P/subscriptions/:match_type/{text}/:subscriber`.
pub fn text_of_topic<'t>(matcher: &'t str, hub_path: &str, origin: &str) -> Option<&'t str> {
    let path = matcher.strip_prefix(origin).unwrap_or(matcher);
    let rest = path
        .strip_prefix(hub_path)?
        .strip_prefix("/subscriptions/")?;
    let text = rest.split('/').nth(1)?;
    let text = text.split('{').next()?;
    let literal = |b: u8| b.is_ascii_alphanumeric() || b"-_.~%".contains(&b);
    (!text.is_empty() && text.bytes().all(literal)).then_some(text)
}

#[cfg(test)]
mod tests {
    use protocol::mercure::hub_url::HubUrl;

    use super::*;

    #[test]
    fn a_pattern_of_one_matcher_s_subscriptions_names_it() {
        let of = |matcher| text_of_topic(matcher, "/hub", "https://x");
        assert_eq!(
            of("/hub/subscriptions/:match_type/a%2Fb/:subscriber"),
            Some("a%2Fb")
        );
        assert_eq!(
            of("https://x/hub/subscriptions/exact/a%2Fb{/:subscriber}?"),
            Some("a%2Fb")
        );
        for other in [
            "*",
            "/hub/subscriptions/*",
            "/hub/subscriptions/:match_type/:match/:subscriber",
            "/hub/subscriptions/exact/a(b)/x",
            "/hub/:x/exact/a/b",
            "https://y/hub/subscriptions/exact/a/b",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    fn subscriber(texts: &[&str]) -> Arc<Subscriber> {
        let hub = HubUrl::standard();
        let matchers: Vec<_> = texts
            .iter()
            .map(|text| Matcher::parse(Kind::Exact, text, &hub).unwrap())
            .collect();
        let payload = Arc::<str>::from("{}");
        Arc::new(Subscriber::new(name().unwrap(), &matchers, |_| {
            Some(payload.clone())
        }))
    }

    #[test]
    fn of_those_that_are_gone_the_latest_are_kept() {
        let mut inner = Inner::default();
        let long = "x".repeat(4000);
        let texts: Vec<String> = (0..100).map(|n| format!("{n}{long}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for _ in 0..100 {
            let who = subscriber(&texts);
            assert!(who.memory > 100 * 4000);
            let number = inner.enter(&who);
            inner.leave(number, Instant::now());
            assert_eq!(inner.leaving_bytes, who.memory);
            inner.leaving.pop_first();
            inner.leaving_bytes = 0;
            let who = inner.present.remove(&number).unwrap();
            inner.end(number, who);
            assert!(inner.ended_bytes <= HELD);
        }
        assert!(
            (10..25).contains(&inner.ended.len()),
            "{}",
            inner.ended.len()
        );
        assert_eq!(inner.by_text.len(), texts.len());
        assert!(
            inner
                .by_text
                .values()
                .all(|numbers| numbers.len() == inner.ended.len())
        );
        let last = inner.ended.back().unwrap().0;
        for _ in 0..=ENDED {
            let who = subscriber(&["a", "a"]);
            let number = inner.enter(&who);
            inner.present.remove(&number);
            inner.end(number, who);
        }
        assert!(inner.ended.front().unwrap().0 > last && inner.ended.len() <= ENDED);
        assert_eq!(inner.by_text.len(), 1);
    }

    #[test]
    fn who_was_there_before_is_there_and_in_grace() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.subscribers");
        let before = [subscriber(&["a", "b"]).noted(), subscriber(&["a"]).noted()];
        let journal = Journal::new(path.clone(), &before);
        let active = Active::new(&before, journal, GRACE);
        let shown = active.list(|one| {
            Some((
                one.subscriber.to_owned(),
                one.text.to_owned(),
                one.payload.map(str::to_owned),
            ))
        });
        let due = |n: usize, text: &str| {
            (
                before[n].subscriber.clone(),
                text.to_owned(),
                Some("{}".to_owned()),
            )
        };
        assert_eq!(shown, [due(0, "a"), due(0, "b"), due(1, "a")]);
        let inner = active.inner.lock();
        assert_eq!((inner.leaving.len(), inner.present.len()), (2, 2));
        let memory = inner.present.values().map(|who| who.memory);
        assert_eq!(inner.leaving_bytes, memory.sum::<usize>());
    }

    #[test]
    fn each_subscriber_has_a_name_of_its_own() {
        let (a, b) = (name().unwrap(), name().unwrap());
        assert_ne!(a, b);
        let parts: Vec<usize> = a["urn:uuid:".len()..].split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&a[23..24], "4");
    }
}
