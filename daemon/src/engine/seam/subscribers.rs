//! The seam for subscribers of topics: whenever a pattern comes to be known, is forgotten or known again, a stream gets every
//! event that one of its matchers matches and that it may have, once and in order. What the hub says itself comes between,
//! with the cursor of where the stream is.

use protocol::mercure::Version;
use protocol::mercure::grants::{Grant, Grants};
use protocol::mercure::matcher::{Kind, Matcher};
use protocol::testing::{private_event, topics_event};

use super::*;
use crate::engine::TopicOpening;
use crate::hub::notice::Notice;
use crate::hub::topics::Matched;

const TOPICS: [&str; 4] = ["/a/1", "/a/2", "/b/1", "urn:x"];

/// Matchers, and which of the topics each matches.
const MATCHERS: [(Kind, &str, u8); 7] = [
    (Kind::Exact, "/a/1", 0b0001),
    (Kind::Exact, "urn:x", 0b1000),
    (Kind::Exact, "/a/:x", 0),
    (Kind::UrlPattern, "/a/:x", 0b0011),
    (Kind::UrlPattern, "/b/*", 0b0100),
    (Kind::Topic, "/{x}/1", 0b0101),
    (Kind::Exact, "*", 0b1111),
];

#[derive(Debug, Clone)]
enum Act {
    Tail,
    /// A subscriber's request is authorized: its patterns are known.
    Subscribe(Ask),
    /// The first of them whose stream did not open yet opens.
    Open,
    /// A client goes away.
    Leave(usize),
    /// The hub says something itself.
    Say,
    Inbox,
    Ready,
    Replay,
    Ping(usize),
    Read(usize, usize),
}

/// What is asked for.
#[derive(Debug, Clone)]
struct Ask {
    matchers: u8,
    grants: u8,
    from: Since,
    small: bool,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    Now,
    Cursor(u64),
    Earliest,
}

fn ask() -> impl Strategy<Value = Ask> {
    let from = prop_oneof![
        2 => Just(Since::Now),
        4 => (0..30u64).prop_map(Since::Cursor),
        1 => Just(Since::Earliest),
    ];
    (1..128u8, 0..128u8, from, any::<bool>()).prop_map(|(matchers, grants, from, small)| Ask {
        matchers,
        // As often none.
        grants: if grants & 1 == 0 { grants } else { 0 },
        from,
        small,
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Tail),
        2 => ask().prop_map(Act::Subscribe),
        2 => Just(Act::Open),
        1 => (0..8usize).prop_map(Act::Leave),
        3 => Just(Act::Say),
        3 => Just(Act::Inbox),
        2 => Just(Act::Ready),
        3 => Just(Act::Replay),
        3 => (0..4usize).prop_map(Act::Ping),
        4 => (0..8usize, 1..9000usize).prop_map(|(client, bytes)| Act::Read(client, bytes)),
    ]
}

/// What the tailer finds: topics, whether it is private, and its size; or a loss.
#[derive(Debug, Clone)]
enum Item {
    Event(u8, bool, usize),
    Lost(u64),
}

fn item() -> impl Strategy<Value = Item> {
    let size = prop_oneof![2 => Just(0usize), 1 => 1000..20_000usize];
    prop_oneof![
        10 => (1..16u8, any::<bool>(), size).prop_map(|(topics, private, size)| Item::Event(topics, private, size)),
        1 => (1..5u64).prop_map(Item::Lost),
    ]
}

fn of(set: u8) -> impl Iterator<Item = &'static (Kind, &'static str, u8)> {
    let all = MATCHERS.iter().enumerate();
    all.filter(move |(n, _)| set & 1 << n != 0)
        .map(|(_, matcher)| matcher)
}

fn matchers(hub: &Hub, set: u8) -> Vec<Matcher> {
    let parse =
        |(kind, text, _): &(Kind, &str, u8)| Matcher::parse(*kind, text, hub.topics.hub()).unwrap();
    of(set).map(parse).collect()
}

fn topics_of(set: u8) -> u8 {
    of(set).fold(0, |topics, (.., matched)| topics | matched)
}

/// The same steps as in `tailer.rs`.
struct Tailing {
    script: std::vec::IntoIter<Item>,
    next: u64,
    pending: Vec<Action>,
    /// Position, topics, whether it is private.
    truth: Vec<(u64, u8, bool)>,
    lost: Vec<(u64, u64)>,
}

impl Tailing {
    fn step(&mut self, hub: &Hub, ring: &Ring) {
        if let Some(step) = self.pending.pop() {
            return step(hub);
        }
        let seq = self.next;
        match self.script.next() {
            None => {}
            Some(Item::Event(topics, private, size)) => {
                let named: Vec<&str> = (0..4)
                    .filter(|n| topics & 1 << n != 0)
                    .map(|n| TOPICS[n])
                    .collect();
                let data = format!("{seq} {}", "x".repeat(size));
                let event = match private {
                    true => private_event(&named, &data),
                    false => topics_event(&named, None, None, None, &data),
                };
                let event = event.unwrap();
                ring.0.lock().unwrap().insert(seq, event.clone());
                self.truth.push((seq, topics, private));
                self.next += 1;
                // Nothing of a subscriber comes between these: they hold what makes patterns known.
                let known = hub.topics.known();
                let live = EncodedEvent::new(EPOCH, seq, event, &hub.process.memory);
                let names = known.names(live.event.topics());
                let live = Arc::new(live.found_by(names));
                hub.index.push(seq, live.names(), None, 0);
                hub.watermarks.start(seq + 1);
                drop(known);
                self.pending
                    .push(Box::new(move |hub| hub.watermarks.complete(seq + 1)));
                self.pending.push(Box::new(move |hub| {
                    if hub.routes.workers(live.names()) != 0 {
                        hub.inboxes[0].push(Delivery::Event(live));
                    }
                }));
            }
            Some(Item::Lost(count)) => {
                let to = seq + count;
                self.lost.push((seq, to));
                self.next = to;
                self.pending
                    .push(Box::new(move |hub| hub.watermarks.complete(to)));
                self.pending.push(Box::new(move |hub| {
                    let gap = Gap::at_most(count);
                    hub.inboxes[0].push(Delivery::Lost { from: seq, to, gap });
                }));
                self.pending
                    .push(Box::new(move |hub| hub.watermarks.start(to)));
                self.pending
                    .push(Box::new(move |hub| hub.index.blind(seq, to)));
            }
        }
    }
}

/// A subscriber, and what it may have.
struct Viewer {
    client: Client,
    topics: u8,
    granted: u8,
    /// Its matchers and grants.
    asked: (u8, u8),
}

impl Viewer {
    fn due(&self, truth: &[(u64, u8, bool)], upto: u64) -> Vec<u64> {
        let due = |(seq, topics, private): &&(u64, u8, bool)| {
            (self.client.due_from[0]..upto).contains(seq)
                && topics & self.topics != 0
                && (!private || topics & self.granted != 0)
        };
        truth.iter().filter(due).map(|(seq, ..)| *seq).collect()
    }
}

/// What the hub says is for who asks for everything and was granted it.
fn say(hub: &Hub) {
    let topic = "/.well-known/mercure/subscriptions/exact/a/b";
    let names = hub.topics.known().names(std::iter::once(topic));
    let frame = b"event: mercure\ndata: {}\n\n".to_vec();
    hub.notify(Notice::private(topic, names, frame, &hub.process.memory).unwrap());
}

fn subscribe(
    engine: &mut Engine,
    hub: &Arc<Hub>,
    ring: &Ring,
    ask: &Ask,
    matched: Matched,
) -> Viewer {
    let here = hub.watermarks.started();
    let newest = hub.watermarks.completed() - 1;
    let (resume, from) = match ask.from {
        Since::Now => (None, here),
        Since::Cursor(back) => {
            let seq = newest.saturating_sub(back).max(FIRST - 1);
            (Some(Resume::Cursor(cursor(seq))), seq + 1)
        }
        Since::Earliest => (Some(Resume::Earliest), ring.held_from(0).clamp(FIRST, here)),
    };
    let grants = Grants {
        version: Version::One,
        publish: Vec::new(),
        subscribe: matchers(hub, ask.grants)
            .into_iter()
            .map(|matcher| Grant {
                matcher,
                payload: None,
            })
            .collect(),
        expires: None,
    };
    let (client, fd) = Client::new(0, [from; 3], ask.small);
    engine.open(Opening {
        head: b"H".to_vec(),
        channels: matched.names.clone(),
        format: Format::Mercure,
        resume,
        topics: Some(Box::new(TopicOpening {
            matched,
            grants: Arc::new(grants),
            presence: None,
        })),
        ..opening(fd, nobody(hub))
    });
    Viewer {
        client,
        topics: topics_of(ask.matchers),
        granted: topics_of(ask.grants),
        asked: (ask.matchers, ask.grants),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_subscriber_gets_what_it_may_have_once_and_in_order(
        script in prop::collection::vec(item(), 1..40),
        acts in prop::collection::vec(act(), 1..300),
        // As many as there are, or so few that replays have to scan.
        index in prop_oneof![Just(1usize), Just(2), Just(1000)],
        queue in prop_oneof![Just(1usize), Just(3), Just(1000)],
        frames in prop_oneof![Just(1usize), Just(3), Just(100_000)],
        // So few that patterns are forgotten, and some are refused.
        patterns in prop_oneof![Just(2usize), Just(3), Just(100)],
    ) {
        let ring = Ring::default();
        let index = Bounds { entries: 100 * index, channels: index, marks: 20 };
        let hub = hub(Box::new(ring.clone()), queue, index, 1 << 30);
        hub.topics.set(topics::Limits { patterns, per_address: shares::ANY, grants: usize::MAX });
        let rules = rules(Io::Write, SlowClients::Replay, frames);
        let mut engine = Engine::new(0, app(hub.clone()), rules, EPOCH).unwrap();
        let mut tailer = Tailing {
            script: script.into_iter(), next: FIRST, pending: Vec::new(), truth: Vec::new(), lost: Vec::new(),
        };
        let mut asked: Vec<(Ask, Matched)> = Vec::new();
        let mut viewers: Vec<Viewer> = Vec::new();
        for act in acts {
            match act {
                Act::Tail => tailer.step(&hub, &ring),
                Act::Subscribe(ask) => {
                    let matchers = matchers(&hub, ask.matchers);
                    match hub.topics.subscribe(&hub.index, ClientKey::NONE, matchers) {
                        Ok(matched) => asked.push((ask, matched)),
                        Err(full) => prop_assert_eq!(full, topics::Full::Application),
                    }
                    prop_assert!(hub.topics.patterns() <= patterns);
                }
                Act::Open if !asked.is_empty() => {
                    let (ask, matched) = asked.remove(0);
                    viewers.push(subscribe(&mut engine, &hub, &ring, &ask, matched));
                }
                Act::Open => {}
                Act::Leave(n) if n < viewers.len() => drop(viewers.remove(n)),
                Act::Leave(_) => {}
                Act::Say => say(&hub),
                Act::Inbox => engine.on_inbox(),
                Act::Ready => drop(engine.on_ready()),
                Act::Replay => engine.on_replay(),
                Act::Ping(bucket) => {
                    engine.on_inbox();
                    engine.ping_slots(bucket..bucket + 1);
                }
                Act::Read(n, bytes) => {
                    let count = viewers.len().max(1);
                    if let Some(viewer) = viewers.get_mut(n % count) {
                        viewer.client.read(bytes);
                    }
                }
            }
            for viewer in &mut viewers {
                let Some(held) = viewer.client.holds("#")? else { continue };
                viewer.client.has(viewer.due(&tailer.truth, held + 1))?;
            }
        }
        for (ask, matched) in asked {
            viewers.push(subscribe(&mut engine, &hub, &ring, &ask, matched));
        }
        while !tailer.pending.is_empty() || tailer.script.len() > 0 {
            tailer.step(&hub, &ring);
        }
        settle(&mut engine, &hub, &mut viewers.iter_mut().map(|viewer| &mut viewer.client).collect::<Vec<_>>())?;
        // All are live, and hear of it with a cursor that is theirs.
        let heard: Vec<usize> = viewers.iter().map(|viewer| viewer.client.said).collect();
        say(&hub);
        settle(&mut engine, &hub, &mut viewers.iter_mut().map(|viewer| &mut viewer.client).collect::<Vec<_>>())?;
        for (viewer, before) in viewers.iter_mut().zip(heard) {
            let everything = |set: u8| set & 1 << 6 != 0;
            let hears = everything(viewer.asked.0) && everything(viewer.asked.1);
            prop_assert_eq!(viewer.client.said - before, usize::from(hears));
            if let Some(held) = viewer.client.holds("#")? {
                viewer.client.has(viewer.due(&tailer.truth, held + 1))?;
            }
        }
        for viewer in &viewers {
            prop_assert!(!viewer.client.ended);
            prop_assert_eq!(&viewer.client.got, &viewer.due(&tailer.truth, u64::MAX));
            let from = viewer.client.due_from[0];
            let missed: u64 = tailer.lost.iter().map(|(a, b)| b.saturating_sub((*a).max(from))).sum();
            prop_assert!(viewer.client.gaps >= missed, "{} of {missed}", viewer.client.gaps);
            if index.channels == 1000 {
                let total: u64 = tailer.lost.iter().filter(|(_, b)| *b > from).map(|(a, b)| b - a).sum();
                prop_assert!(viewer.client.gaps <= total, "{} of {total}", viewer.client.gaps);
            }
        }
        drop((viewers, engine));
        hub.topics.set(topics::Limits { patterns: 1, per_address: shares::ANY, grants: usize::MAX });
        let one = matchers(&hub, 1 << 6);
        let matched = hub.topics.subscribe(&hub.index, ClientKey::NONE, one);
        prop_assert!(matched.is_ok() && hub.topics.patterns() == 1, "nobody holds a pattern any more");
    }
}
