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
use protocol::mercure::hub_url::HubUrl;
use protocol::mercure::matcher::{Kind, Matcher};
use protocol::mercure::stream;
use protocol::mercure::subscription::{Subscription, encode};
use protocol::wire_cursor::WireCursor;
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

/// Bytes that a stream is told of them at a time, and one more.
const TOLD: usize = 64 << 10;

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
    /// Those whose streams have not opened yet, and who were not announced.
    coming: BTreeSet<u64>,
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

/// Whom a stream is still to be told of.
#[derive(Debug)]
pub struct Telling {
    ended: VecDeque<Arc<Subscriber>>,
    present: VecDeque<u64>,
    /// Of the first of them, so many matchers have been dealt with.
    done: usize,
}

impl Telling {
    pub fn is_over(&self) -> bool {
        self.ended.is_empty() && self.present.is_empty()
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
        let mut inner = self.active.inner.lock();
        inner.coming.remove(&self.number);
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
        let number = inner.enter(&subscriber);
        inner.coming.insert(number);
        inner.end_due(hub, Instant::now());
        if let Some(journal) = &mut inner.journal {
            journal.enter(&subscriber.noted());
        }
        let active = self.clone();
        Some(Presence { active, number })
    }

    /// What `of` makes of the subscriptions that are present, in the order in which they began. `text`: of the only matcher
    /// that is asked about, if there is only one.
    pub fn list<T>(
        &self,
        text: Option<&str>,
        of: impl FnMut(Subscription<'_>) -> Option<T>,
    ) -> Vec<T> {
        // Documents take their time, and nobody could come meanwhile.
        let subscribers: Vec<Arc<Subscriber>> = {
            let inner = self.inner.lock();
            match text.map(|text| inner.of_text(&encode(text))) {
                Some(numbers) => {
                    let present = numbers
                        .iter()
                        .filter_map(|number| inner.present.get(number));
                    present.cloned().collect()
                }
                None => inner.present.values().cloned().collect(),
            }
        };
        let all = subscribers
            .iter()
            .flat_map(|subscriber| subscriber.subscriptions(true));
        all.filter_map(of).collect()
    }

    /// Whom a stream is to be told of that may have missed announcements. `texts`: the encoded texts of the only matchers that
    /// it may hear of, if that is known.
    pub fn begin_telling(&self, texts: Option<&[String]>) -> Telling {
        let inner = self.inner.lock();
        let Some(texts) = texts else {
            return Telling {
                ended: inner.ended.iter().map(|(_, who)| who.clone()).collect(),
                present: inner.present.keys().copied().collect(),
                done: 0,
            };
        };
        let numbers: BTreeSet<u64> = texts
            .iter()
            .flat_map(|text| inner.of_text(text).iter().copied())
            .collect();
        let ended = inner
            .ended
            .iter()
            .filter(|(number, _)| numbers.contains(number));
        Telling {
            ended: ended.map(|(_, who)| who.clone()).collect(),
            present: numbers
                .into_iter()
                .filter(|number| inner.present.contains_key(number))
                .collect(),
            done: 0,
        }
    }

    /// What a stream is told next: `active:false` of those that have ended, and then `active:true` of those that are present.
    /// `cursor`: where the stream is. `hears`: whether it is told of a topic, and what it took to find out. It goes on until
    /// that is `most`.
    pub fn tell(
        &self,
        telling: &mut Telling,
        path: &str,
        cursor: WireCursor<'_>,
        most: usize,
        mut hears: impl FnMut(&str) -> (bool, usize),
    ) -> Vec<u8> {
        let (mut out, mut spent) = (Vec::new(), 0);
        loop {
            let ended = telling.ended.front().cloned();
            let active = ended.is_none();
            // Who has ended since was announced.
            let who = ended.or_else(|| {
                let number = telling.present.front()?;
                self.inner.lock().present.get(number).cloned()
            });
            let left = who.iter().flat_map(|who| who.subscriptions(active));
            for subscription in left.skip(telling.done) {
                if spent >= most || out.len() >= TOLD {
                    return out;
                }
                let (is_told, took) = hears(&subscription.id(path));
                if is_told {
                    stream::notice(&mut out, &subscription.event(path), cursor);
                }
                spent += took;
                telling.done += 1;
            }
            telling.done = 0;
            let next = match active {
                false => telling.ended.pop_front().is_some(),
                true => telling.present.pop_front().is_some(),
            };
            if !next {
                return out;
            }
        }
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

    /// Of both kinds, those that may have a matcher of this text, which is encoded.
    fn of_text(&self, text: &str) -> &[u64] {
        let numbers = self.by_text.get(&self.hasher.hash_one(text));
        numbers.map_or(&[], Vec::as_slice)
    }

    /// It ends when it is `due`.
    fn leave(&mut self, number: u64, due: Instant) {
        self.coming.remove(&number);
        if let Some(who) = self.present.get(&number) {
            self.leaving_bytes += who.memory;
            self.leaving.insert((due, number));
        }
    }

    /// Ends those whose grace is over, and the first of those that are too many. Whoever comes is announced before: it may be
    /// one of them who is back, and its stream does not open before it is too late.
    fn end_due(&mut self, hub: &Hub, now: Instant) {
        let is_due = |(due, _): &(Instant, u64)| *due <= now || self.leaving_bytes > HELD;
        if self.leaving.first().is_some_and(is_due) {
            let coming = std::mem::take(&mut self.coming).into_iter();
            coming
                .filter_map(|number| self.present.get(&number))
                .for_each(|subscriber| announce(hub, subscriber, true));
        }
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

/// The encoded text of the only matcher whose subscriptions a matcher can be about, if it says so:
/// `P/subscriptions/:match_type/{text}/:subscriber`, or `P/subscriptions/{text}/{subscriber}` in 0.x.
pub fn text_of_topic<'t>(kind: Kind, text: &'t str, hub: &HubUrl) -> Option<&'t str> {
    let path = text.strip_prefix(hub.origin()).unwrap_or(text);
    let rest = path
        .strip_prefix(hub.path())?
        .strip_prefix("/subscriptions/")?;
    let is_literal = |text: &str| {
        let literal = |b: u8| b.is_ascii_alphanumeric() || b"-_.~%".contains(&b);
        !text.is_empty() && text.bytes().all(literal)
    };
    let mut parts = rest.splitn(3, '/');
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next());
    let named = match kind {
        // What begins with a type may be of 1.0.
        Kind::Topic => Some(first).filter(|first| !["exact", "urlpattern"].contains(first))?,
        // A group may begin with the last slash.
        Kind::UrlPattern | Kind::Exact => {
            let (named, group) = second.split_at(second.find('{').unwrap_or(second.len()));
            Some(named).filter(|_| third.is_some() || !group.is_empty())?
        }
    };
    is_literal(named).then_some(named)
}

#[cfg(test)]
mod tests {
    use protocol::testing::wire_cursor;

    use super::*;
    use crate::engine::seam;
    use crate::hub::channel_index::Bounds;
    use crate::hub::event_store::RingStore;
    use crate::hub::inbox::{Batch, Delivery};
    use crate::process::client_key::ClientKey;

    #[test]
    fn a_pattern_of_one_matcher_s_subscriptions_names_it() {
        let hub = HubUrl::parse("https://x/hub").unwrap();
        let of = |text| text_of_topic(Kind::UrlPattern, text, &hub);
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
            "/hub/subscriptions/:topic/urn%3Auuid%3A1",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        let old = |text| text_of_topic(Kind::Topic, text, &hub);
        assert_eq!(old("/hub/subscriptions/a%2Fb/{subscriber}"), Some("a%2Fb"));
        for other in [
            "/hub/subscriptions/{topic}/urn%3Auuid%3A1",
            "/hub/subscriptions/{topic}/{subscriber}",
            "/hub/subscriptions/exact/a/{subscriber}",
            "/hub/subscriptions/{+all}",
        ] {
            assert_eq!(old(other), None, "{other}");
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
    fn what_many_are_told_of_is_told_a_part_at_a_time() {
        let active = Active::default();
        let (mut numbers, mut inner) = (Vec::new(), active.inner.lock());
        for n in 0..30 {
            let (own, mine) = (format!("{n}"), format!("x{n}"));
            let who = subscriber(&["room", &own, &mine]);
            numbers.push(inner.enter(&who));
            if n % 3 == 0 {
                let who = inner.present.remove(numbers.last().unwrap()).unwrap();
                inner.end(*numbers.last().unwrap(), who);
            }
        }
        drop(inner);
        let told = |texts: Option<&[String]>, leaves: Option<u64>| {
            let mut telling = active.begin_telling(texts);
            if let Some(number) = leaves {
                active.inner.lock().present.remove(&number);
            }
            let (mut all, mut turns) = (String::new(), 0);
            while !telling.is_over() {
                let mut asked = 0;
                let part = active.tell(&mut telling, "/hub", wire_cursor(7), 20, |topic| {
                    asked += 1;
                    (!topic.contains("/x"), 10)
                });
                assert!(asked <= 2 || telling.is_over(), "{asked}");
                all += std::str::from_utf8(&part).unwrap();
                turns += 1;
            }
            let count = |what: &str| all.matches(what).count();
            assert_eq!(count("id: #"), count("event: mercure"));
            (
                count("\"active\":false"),
                count("\"active\":true"),
                turns > 5,
            )
        };
        assert_eq!(told(None, None), (20, 40, true));
        assert_eq!(told(Some(&["room".to_owned()]), None), (20, 40, true));
        assert_eq!(told(Some(&["4".to_owned(), "7".to_owned()]), None).1, 4);
        assert_eq!(told(Some(&[]), None), (0, 0, false));
        // Who is gone meanwhile was announced to the stream as to everybody.
        assert_eq!(told(None, Some(numbers[29])), (20, 38, true));
    }

    #[test]
    fn who_is_back_is_announced_before_the_one_of_before_ends_although_its_stream_did_not_open_yet()
    {
        let bounds = Bounds {
            entries: 10,
            channels: 10,
            marks: 10,
        };
        let hub = seam::hub(Box::new(RingStore::default()), 10, bounds, 1 << 20);
        let everything = Matcher::parse(Kind::Exact, "*", hub.topics.hub()).unwrap();
        let matched = hub
            .topics
            .subscribe(&hub.index, ClientKey::NONE, [everything])
            .unwrap();
        let mut room = hub.routes.room(1, 10).unwrap();
        hub.routes.add(&matched.names[0], 0, &mut room, || {});
        let active = Arc::new(Active::default());
        let exact = [Matcher::parse(Kind::Exact, "a", hub.topics.hub()).unwrap()];
        let join = || active.join(&hub, &exact, &Grants::none()).unwrap();
        let before = join();
        before.announce(&hub);
        drop(before);
        let back = join();
        active
            .inner
            .lock()
            .end_due(&hub, Instant::now() + 2 * GRACE);
        back.announce(&hub);
        drop(join());
        active
            .inner
            .lock()
            .end_due(&hub, Instant::now() + 2 * GRACE);
        let mut batch = Batch::default();
        hub.inboxes[0].take(&mut batch);
        let told = batch.items.iter().map(|item| match item {
            Delivery::Notice(notice) => String::from_utf8_lossy(&notice.frame).into_owned(),
            other => panic!("{other:?}"),
        });
        let told: Vec<(bool, String)> = told
            .map(|frame| {
                let name = frame.split("urn:uuid:").nth(1).unwrap();
                (frame.contains(r#""active":true"#), name[..36].to_owned())
            })
            .collect();
        let [first, second, third] = [0, 2, 4].map(|n| told[n].1.clone());
        let expected = [
            (true, &first),
            (true, &told[1].1),
            (false, &first),
            // Its stream has opened.
            (true, &told[1].1),
            (false, &third),
        ];
        assert_eq!(second, first);
        let told: Vec<_> = told.iter().map(|(active, name)| (*active, name)).collect();
        assert_eq!(told, expected, "one that never opened ends unannounced");
    }

    #[test]
    fn who_was_there_before_is_there_and_in_grace() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.subscribers");
        let before = [subscriber(&["a", "b"]).noted(), subscriber(&["a"]).noted()];
        let journal = Journal::new(path.clone(), &before);
        let active = Active::new(&before, journal, GRACE);
        let shown = active.list(None, |one| {
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
