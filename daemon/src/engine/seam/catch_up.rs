//! Channels that are added to an open stream, under random schedules: each channel's events arrive once and in order
//! from where the page requested them, those of the other channels are not disturbed, and a cursor sent after the
//! change covers the added channels too, so that a page may reconnect with it at any time.

use tokio::sync::oneshot;

use super::*;
use crate::auth::authorizer::Access;
use crate::hub::command::{Command, Since};

#[derive(Debug, Clone)]
enum Step {
    Tail,
    Open {
        channels: u8,
        from: From,
        small: bool,
        json: bool,
    },
    /// A page adds channels.
    Add {
        page: usize,
        channels: u8,
        from: From,
    },
    Remove {
        page: usize,
        channel: usize,
    },
    /// Its connection is lost, and it reconnects with the cursor it holds.
    Reconnect(usize),
    Inbox,
    Ready,
    Replay,
    Ping(usize),
    Read {
        page: usize,
        bytes: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Tail),
        1 => (1..8u8, from(), any::<bool>(), any::<bool>())
            .prop_map(|(channels, from, small, json)| Step::Open { channels, from, small, json }),
        3 => (0..4usize, 1..8u8, from())
            .prop_map(|(page, channels, from)| Step::Add { page, channels, from }),
        1 => (0..4usize, 0..3usize).prop_map(|(page, channel)| Step::Remove { page, channel }),
        1 => (0..4usize).prop_map(Step::Reconnect),
        3 => Just(Step::Inbox),
        2 => Just(Step::Ready),
        4 => Just(Step::Replay),
        2 => (0..4usize).prop_map(Step::Ping),
        4 => (0..4usize, 1..9000usize).prop_map(|(page, bytes)| Step::Read { page, bytes }),
    ]
}

/// What a page requested of one channel, and what it got.
#[derive(Debug)]
struct Requested {
    /// Everything at or past this is due.
    from: u64,
    /// A cursor at or past this was sent after the channel was added.
    covered: u64,
    /// Removed again: what had been sent before may still arrive.
    removed: bool,
    got: Vec<u64>,
}

impl Requested {
    fn new(from: u64, covered: u64) -> Self {
        Self {
            from,
            covered,
            removed: false,
            got: Vec::new(),
        }
    }

    fn is_covered(&self, held: u64) -> bool {
        !self.removed && (held >= self.covered || self.from == held + 1)
    }
}

struct Page {
    socket: UnixStream,
    id: SocketId,
    parser: Parser,
    head: bool,
    json: bool,
    small: bool,
    held: u64,
    /// The bound of what rewinds left out, which may be reported.
    left_out: u64,
    requested: BTreeMap<&'static str, Requested>,
}

impl Page {
    fn read(&mut self, limit: usize) {
        let mut buffer = vec![0; limit];
        let Ok(n) = self.socket.read(&mut buffer) else {
            return;
        };
        let mut bytes = &buffer[..n];
        if !self.head && n > 0 {
            self.head = true;
            bytes = &bytes[1..];
        }
        for message in self.parser.feed(bytes) {
            if message.event == "askr:gap" {
                let gap: serde_json::Value = serde_json::from_str(&message.data).unwrap();
                let gap = gap["at_most"].as_u64().expect("bounded here");
                self.left_out = self.left_out.checked_sub(gap).expect("no other gap");
                continue;
            }
            assert_eq!(message.event, "message", "{}", message.data);
            self.on_event(&message.data);
        }
        if let Ok(cursor) = self.parser.last_event_id().parse::<Cursor>() {
            assert!(cursor.seq >= self.held, "{cursor} after {}", self.held);
            self.held = cursor.seq;
        }
    }

    fn on_event(&mut self, data: &str) {
        let number = |text: &str| text.split(' ').next().unwrap().parse().unwrap();
        if self.json {
            let event: serde_json::Value = serde_json::from_str(data).unwrap();
            let requested = self.requested.get_mut(event["channel"].as_str().unwrap());
            let seq = number(event["data"].as_str().unwrap());
            return requested.expect("one of its channels").got.push(seq);
        }
        // Here an event has one channel, named behind its number.
        let channel = data.split(' ').nth(1).unwrap();
        let requested = self.requested.get_mut(channel);
        requested
            .expect("one of its channels")
            .got
            .push(number(data));
    }

    /// Its slot in the engine, which its secret names.
    fn slot(&mut self) -> u32 {
        while self.parser.connected().is_empty() {
            self.read(100);
        }
        let message = self.parser.connected().last().unwrap();
        let message: serde_json::Value = serde_json::from_str(message).unwrap();
        let secret = message["secret"].as_str().unwrap();
        secret.split('-').nth(2).unwrap().parse().unwrap()
    }
}

/// The events have one channel each.
struct Scene {
    ring: Ring,
    hub: Arc<Hub>,
    engine: Engine,
    tailer: Tailer,
    truth: Vec<(u64, u8)>,
    pages: Vec<Page>,
    /// Whether the index knows all channels.
    knows: bool,
}

fn channel_number(name: &str) -> usize {
    CHANNELS.iter().position(|known| *known == name).unwrap()
}

impl Scene {
    fn due(&self, name: &str, from: u64, to: u64) -> Vec<u64> {
        let bit = 1 << channel_number(name);
        let mine = |(seq, channels): &&(u64, u8)| *seq >= from && *seq < to && channels & bit != 0;
        self.truth
            .iter()
            .filter(mine)
            .map(|(seq, _)| *seq)
            .collect()
    }

    fn connect(
        &mut self,
        names: Vec<&'static str>,
        since: Option<Since>,
        small: bool,
        json: bool,
    ) -> Page {
        let (fd, theirs) = sockets(small);
        let begins = names
            .iter()
            .map(|name| (*name, self.begins(name, since.clone())))
            .collect::<Vec<_>>();
        let opening = Opening {
            head: b"H".to_vec(),
            channels: names.iter().map(|name| (*name).to_owned()).collect(),
            format: if json { Format::Json } else { Format::Raw },
            resume: since.map(|since| match since {
                Since::Cursor(cursor) => Resume::Cursor(cursor),
                Since::Vector(vector) => Resume::Vector(vector),
                Since::Rewind(rewind) => Resume::Rewind(rewind),
            }),
            ..opening(fd, nobody(&self.hub))
        };
        let id = opening.socket;
        self.engine.open(opening);
        Page {
            socket: theirs,
            id,
            parser: Parser::default(),
            head: false,
            json,
            small,
            held: 0,
            left_out: begins.iter().map(|(_, (_, left_out))| left_out).sum(),
            requested: begins
                .into_iter()
                .map(|(name, (from, _))| (name, Requested::new(from, 0)))
                .collect(),
        }
    }

    /// From where on everything of a channel is due, and the bound of what a rewind leaves out.
    fn begins(&self, name: &str, since: Option<Since>) -> (u64, u64) {
        match since {
            None => (self.hub.watermarks.started(), 0),
            Some(Since::Cursor(cursor)) => (cursor.seq + 1, 0),
            Some(Since::Vector(_)) => unreachable!("one host"),
            Some(Since::Rewind(rewind)) => {
                rewound(&self.engine, &self.truth, name, rewind, self.knows)
            }
        }
    }

    fn since(&self, from: From) -> Option<Since> {
        match from {
            From::Now => None,
            From::Cursor(back) => Some(Since::Cursor(cursor(self.back(back)))),
            From::Rewind(rewind) => Some(Since::Rewind(rewind)),
        }
    }

    /// A cursor that a client may have.
    fn back(&self, back: u64) -> u64 {
        let newest = self.hub.watermarks.completed() - 1;
        newest.saturating_sub(back).max(FIRST - 1)
    }

    fn add(&mut self, page: usize, channels: u8, from: From) {
        let since = self.since(from);
        let started = self.hub.watermarks.started();
        let mut new = names(channels);
        new.retain(|name| !self.pages[page].requested.contains_key(name));
        for name in &new {
            let (from, left_out) = self.begins(name, since.clone());
            let page = &mut self.pages[page];
            page.left_out += left_out;
            page.requested.insert(name, Requested::new(from, started));
        }
        let page = &mut self.pages[page];
        let (answer, mut answered) = oneshot::channel();
        let access = |name: &&str| ((*name).to_owned(), Access::default());
        self.engine.command(Command::Subscribe {
            slot: page.slot(),
            revocations: 0,
            socket: page.id,
            channels: new.iter().map(access).collect(),
            since,
            answer: Some(answer),
        });
        let channels = answered.try_recv().unwrap().unwrap();
        assert!(
            new.iter()
                .all(|name| channels.iter().any(|one| one == name))
        );
    }

    fn remove(&mut self, page: usize, channel: usize) {
        let page = &mut self.pages[page];
        let Some(requested) = page.requested.get_mut(CHANNELS[channel]) else {
            return;
        };
        requested.removed = true;
        let (answer, mut answered) = oneshot::channel();
        self.engine.command(Command::Unsubscribe {
            slot: page.slot(),
            socket: page.id,
            channels: vec![CHANNELS[channel].to_owned()],
            answer,
        });
        let channels = answered.try_recv().unwrap().unwrap();
        assert!(!channels.iter().any(|name| name == CHANNELS[channel]));
    }

    fn reconnect(&mut self, number: usize) {
        let page = &self.pages[number];
        let (held, small, json) = (page.held, page.small, page.json);
        let covered = page.requested.iter().filter(|(_, w)| w.is_covered(held));
        let names: Vec<_> = covered.map(|(name, _)| *name).collect();
        if held == 0 || names.is_empty() {
            return;
        }
        let since = Some(Since::Cursor(cursor(held)));
        let mut next = self.connect(names, since, small, json);
        next.left_out = self.pages[number].left_out;
        for (name, requested) in &mut next.requested {
            let before = self.pages[number].requested.remove(name).unwrap();
            *requested = before;
            // The first frame of an event of several channels moves no cursor: it is sent again.
            requested.got.retain(|seq| *seq <= held);
            // All its channels go on behind the cursor, also one that would have joined in later.
            requested.from = requested.from.min(held + 1);
        }
        next.held = held;
        self.pages[number] = next;
    }

    fn check(&self) {
        for page in &self.pages {
            for (name, requested) in &page.requested {
                let all = self.due(name, requested.from, u64::MAX);
                assert!(
                    all.starts_with(&requested.got),
                    "{name}: {:?} of {all:?}, json {}",
                    requested.got,
                    page.json
                );
                if requested.is_covered(page.held) {
                    let due = self.due(name, requested.from, page.held + 1);
                    assert!(
                        requested.got.len() >= due.len(),
                        "{name}: {:?} of {due:?} at {}",
                        requested.got,
                        page.held
                    );
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        let count = self.pages.len();
        match step {
            Step::Tail => self.tail(),
            Step::Open {
                channels,
                from,
                small,
                json,
            } if count < 4 => {
                let page = self.connect(names(channels), self.since(from), small, json);
                self.pages.push(page);
            }
            Step::Open { .. } => {}
            Step::Inbox => self.engine.on_inbox(),
            Step::Ready => drop(self.engine.on_ready()),
            Step::Replay => self.engine.on_replay(),
            Step::Ping(bucket) => {
                self.engine.on_inbox();
                self.engine.ping_slots(bucket..bucket + 1);
            }
            _ if count == 0 => {}
            Step::Add {
                page,
                channels,
                from,
            } => self.add(page % count, channels, from),
            Step::Remove { page, channel } => self.remove(page % count, channel),
            Step::Reconnect(page) => self.reconnect(page % count),
            Step::Read { page, bytes } => self.pages[page % count].read(bytes),
        }
    }

    fn tail(&mut self) {
        let mut lost = Vec::new();
        self.tailer
            .step(&self.hub, &self.ring, &mut self.truth, &mut lost);
    }

    fn run_until_idle(&mut self) {
        while !self.tailer.pending.is_empty() || self.tailer.script.len() > 0 {
            self.tail();
        }
        let mut before = (0, 0);
        for round in 0.. {
            assert!(round < 5_000, "it never becomes idle");
            self.engine.on_inbox();
            self.engine.on_ready();
            self.engine.on_replay();
            self.pages.iter_mut().for_each(|page| page.read(100_000));
            let got = self.pages.iter().flat_map(|page| page.requested.values());
            let moved = (
                self.hub.counters(0).bytes.get(),
                got.map(|requested| requested.got.len()).sum::<usize>(),
            );
            if moved == before && !self.engine.has_more() {
                break;
            }
            before = moved;
        }
        self.check();
        for page in &self.pages {
            for (name, requested) in page
                .requested
                .iter()
                .filter(|(_, requested)| !requested.removed)
            {
                assert_eq!(
                    requested.got,
                    self.due(name, requested.from, u64::MAX),
                    "{name}"
                );
            }
        }
    }
}

/// Channels that were added with a cursor and whose replay is not done.
fn catching_up(engine: &Engine) -> usize {
    let all = engine.replays.catch_ups.values();
    all.map(|catch_up| catch_up.since.len()).sum()
}

/// Last events of cache channels that are still to be sent.
fn last_events_due(engine: &Engine) -> usize {
    engine.replays.last_events.values().map(Vec::len).sum()
}

fn events() -> impl Strategy<Value = Vec<Found>> {
    let found = prop_oneof![
        8 => (0..3u8).prop_map(|bit| Found::Event { channels: 1 << bit, size: 0 }),
        4 => (0..3u8, 1000..20_000usize).prop_map(|(bit, size)| Found::Event { channels: 1 << bit, size }),
    ];
    prop::collection::vec(found, 1..40)
}

#[test]
fn a_channel_that_is_removed_before_its_replay_leaves_nothing_behind() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 30);
    let rules = rules(Io::Write, SlowClients::Replay, 1000);
    let event = |channels| Found::Event { channels, size: 0 };
    let mut scene = Scene {
        ring,
        engine: Engine::new(0, app(hub.clone()), rules, EPOCH).unwrap(),
        hub,
        tailer: Tailer {
            script: [1, 2, 4, 1, 2].map(event).to_vec().into_iter(),
            next: FIRST,
            pending: Vec::new(),
        },
        truth: Vec::new(),
        pages: Vec::new(),
        knows: true,
    };
    let page = scene.connect(vec!["a"], None, false, false);
    scene.pages.push(page);
    while !scene.tailer.pending.is_empty() || scene.tailer.script.len() > 0 {
        scene.tail();
    }
    scene.engine.on_inbox();
    scene.pages[0].read(100_000);
    scene.add(0, 6, From::Cursor(3));
    assert_eq!(catching_up(&scene.engine), 2);
    scene.remove(0, 1);
    scene.remove(0, 2);
    assert_eq!(catching_up(&scene.engine), 0);
    scene.run_until_idle();
}

#[test]
fn a_cache_channel_that_is_added_and_dropped_again_and_again_leaves_nothing_behind() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 20);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    // Nothing is replayed while memory is tight, so that nothing of it is reported.
    let tight = hub.process.memory.charge(1 << 20);
    let mut client = open(&mut engine, &hub, 1, None, false);
    let (slot, socket) = first_stream(&engine);
    let channels = || vec!["cache-a".to_owned(), "cache-b".to_owned()];
    for _ in 0..40_000 {
        engine.command(Command::Subscribe {
            slot,
            socket,
            revocations: 0,
            channels: channels()
                .into_iter()
                .map(|name| (name, Access::default()))
                .collect(),
            since: None,
            answer: None,
        });
        assert_eq!(last_events_due(&engine), 2);
        engine.command(Command::Unsubscribe {
            slot,
            socket,
            channels: channels(),
            answer: oneshot::channel().0,
        });
        assert_eq!(last_events_due(&engine), 0);
        client.read(4_096);
    }
    drop(tight);
    while engine.has_more() {
        engine.on_replay();
    }
    client.read(100_000);
    assert!(!client.ended && last_events_due(&engine) == 0);
}

#[test]
fn a_channel_that_is_added_during_a_replay_moves_no_cursor_past_it() {
    const EVENTS: usize = 10;
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 30);
    let rules = rules(Io::Write, SlowClients::Replay, 1000);
    // More than one turn of a replay.
    let event = Found::Event {
        channels: 1,
        size: 20_000,
    };
    let mut scene = Scene {
        ring,
        engine: Engine::new(0, app(hub.clone()), rules, EPOCH).unwrap(),
        hub,
        tailer: Tailer {
            script: vec![event; EVENTS].into_iter(),
            next: FIRST,
            pending: Vec::new(),
        },
        truth: Vec::new(),
        pages: Vec::new(),
        knows: true,
    };
    while !scene.tailer.pending.is_empty() || scene.tailer.script.len() > 0 {
        scene.tail();
    }
    let (fd, mut theirs) = sockets(false);
    let opening = Opening {
        channels: vec!["a".into()],
        format: Format::Plain,
        resume: Some(Resume::Cursor(cursor(FIRST - 1))),
        websocket: crate::engine::WebSocketSession::new(Format::Plain, None),
        ..opening(fd, nobody(&scene.hub))
    };
    let socket = opening.socket;
    scene.engine.open(opening);
    let (answer, _answered) = oneshot::channel();
    scene.engine.command(Command::Subscribe {
        slot: 0,
        revocations: 0,
        socket,
        channels: vec![("b".into(), Access::default())],
        since: None,
        answer: Some(answer),
    });
    let (mut bytes, mut part) = (Vec::new(), [0; 1 << 16]);
    while let Ok(count) = theirs.read(&mut part) {
        bytes.extend_from_slice(&part[..count]);
    }
    let text = String::from_utf8_lossy(&bytes);
    let (before, cursor_text) = text
        .split_once(r#"{"subscribed":["b"],"cursor":""#)
        .unwrap();
    let sent: Cursor = cursor_text.split('"').next().unwrap().parse().unwrap();
    let got = before.matches(r#"{"channel":"a""#).count() as u64;
    assert!((1..EVENTS as u64).contains(&got), "{got} events");
    assert_eq!(sent, cursor(FIRST + got - 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn an_added_channel_disturbs_no_other_and_loses_nothing(
        script in events(),
        steps in prop::collection::vec(step(), 1..300),
        index in prop_oneof![Just(1usize), Just(1000)],
        queue in prop_oneof![Just(1usize), Just(3), Just(1000)],
        frames in prop_oneof![Just(1usize), Just(3), Just(100_000)],
    ) {
        let knows = index == 1000;
        let ring = Ring::default();
        let index = Bounds { entries: 100 * index, channels: index, marks: 20 };
        let hub = hub(Box::new(ring.clone()), queue, index, 1 << 30);
        let rules = rules(Io::Write, SlowClients::Replay, frames);
        let mut scene = Scene {
            ring,
            engine: Engine::new(0, app(hub.clone()), rules, EPOCH).unwrap(),
            hub,
            tailer: Tailer { script: script.into_iter(), next: FIRST, pending: Vec::new() },
            truth: Vec::new(),
            pages: Vec::new(),
            knows,
        };
        for step in steps {
            scene.step(step);
            scene.check();
        }
        scene.run_until_idle();
    }
}

#[test]
fn a_grant_from_before_a_revocation_subscribes_to_nothing_after_it() {
    let hub = hub_with(Box::new(Ring::default()), 1000, 1 << 30);
    let app = app(hub.clone());
    let rules = rules(Io::Write, SlowClients::Replay, 1000);
    let mut engine = Engine::new(0, app.clone(), rules, EPOCH).unwrap();
    let (fd, _theirs) = sockets(false);
    let opening = Opening {
        channels: vec!["a".into()],
        ..opening(fd, nobody(&hub))
    };
    let socket = opening.socket;
    engine.open(opening);
    let granted_at = app.authority.revocations();
    let mut subscribe = |channel: &str| {
        let (answer, mut answered) = oneshot::channel();
        engine.command(Command::Subscribe {
            slot: 0,
            socket,
            revocations: granted_at,
            channels: vec![(channel.into(), Access::default())],
            since: None,
            answer: Some(answer),
        });
        answered.try_recv().unwrap()
    };
    assert!(subscribe("private-before").is_ok());
    app.authority.revoke_user("7", 1000);
    assert_eq!(
        subscribe("private-after"),
        Err(crate::hub::command::Denied::Revoked)
    );
    assert!(subscribe("open").is_ok(), "a public channel needs no grant");
}
