//! The seam between replay and live, under random schedules: however the tailer's steps, openings, deliveries, replays,
//! pings and slow sockets interleave, a stream gets every event of its channels once and in order, and no cursor it is
//! sent is past something it did not get.
//!
//! The tailer's steps are single ones here, in the order of `tailer.rs`, so that a stream may open between any two of
//! them.

mod catch_up;
mod fair;
mod hosts;
mod members;
mod recovery;
mod slow;
mod subscribers;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use protocol::format::Format;
use protocol::gap::Gap;
use protocol::mercure::hub_url::HubUrl;
use protocol::rewind::Rewind;
use protocol::socket_id::SocketId;
use protocol::testing::sse::Parser;
use protocol::testing::{EPOCH, cursor, event};
use shared::cursor::{Cursor, Epoch};
use shared::event::Event;

use crate::config::{Io, SlowClients};
use crate::engine::{Engine, Opening, Resume, Rules, outbox};
use crate::hub::channel_index::{Bounds, ChannelIndex};
use crate::hub::encoded_event::EncodedEvent;
use crate::hub::event_store::{EventStore, RingStore};
use crate::hub::hub::Hub;
use crate::hub::inbox;
use crate::hub::inbox::{Delivery, Inbox, Watermarks};
use crate::hub::last_events::LastEvents;
use crate::hub::routes::Routes;
use crate::hub::subscriber_counts::SubscriberCounts;
use crate::hub::topics;
use crate::hub::topics::Topics;
use crate::process::admission::{Admission, Limits};
use crate::process::budget::Budget;
use crate::process::client_key::ClientKey;
use crate::process::holdings::Holdings;
use crate::process::state::{Process, Sizes};
use crate::process::worker_counters::Workers;
use crate::process::{holdings, shares};
use crate::testing::app;

const FIRST: u64 = 100;
const CHANNELS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    /// The tailer's next step.
    Tail,
    /// A stream opens on some channels.
    Open {
        channels: u8,
        from: From,
        small: bool,
    },
    /// The worker does one kind of work.
    Inbox,
    Ready,
    Replay,
    Ping(usize),
    /// A client reads up to so many bytes.
    Read {
        client: usize,
        bytes: usize,
    },
}

/// From where on a stream, or a channel that it adds, is wanted.
#[derive(Debug, Clone, Copy)]
enum From {
    Now,
    /// A cursor that is so many positions old.
    Cursor(u64),
    Rewind(Rewind),
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        2 => Just(From::Now),
        2 => (0..30u64).prop_map(From::Cursor),
        3 => (1..20u32).prop_map(|events| From::Rewind(Rewind::Events(events))),
        1 => Just(From::Rewind(Rewind::Seconds(60))),
        1 => Just(From::Rewind(Rewind::All)),
    ]
}

/// Events before this position are too old for a rewind by time, those from it on are not.
const YOUNG: u64 = FIRST + 10;

fn published(seq: u64) -> u32 {
    if seq < YOUNG { 0 } else { u32::MAX }
}

/// Where a rewind of a channel begins, and the bound of what is left out: as the index says, which is right if it
/// `knows` all.
fn rewound(
    engine: &Engine,
    truth: &[(u64, u8)],
    channel: &str,
    rewind: Rewind,
    knows: bool,
) -> (u64, u64) {
    let here = engine.hub.watermarks.started();
    let tail = engine.rewind(channel, rewind, here);
    let bit = CHANNELS.iter().position(|known| *known == channel).unwrap();
    let of_it = |(seq, channels): &&(u64, u8)| *seq < here && channels & 1 << bit != 0;
    let all: Vec<u64> = truth.iter().filter(of_it).map(|(seq, _)| *seq).collect();
    let expected = match rewind {
        Rewind::Events(events) => all.get(all.len().saturating_sub(events as usize)),
        Rewind::Seconds(_) => all.iter().find(|seq| **seq >= YOUNG),
        Rewind::All => all.first(),
    };
    if knows {
        assert_eq!(tail.from, expected.copied().unwrap_or(here));
        assert!(tail.gap.is_none());
    }
    (tail.from, tail.gap.bound().unwrap())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Tail),
        2 => (1..8u8, from(), any::<bool>())
            .prop_map(|(channels, from, small)| Step::Open { channels, from, small }),
        3 => Just(Step::Inbox),
        2 => Just(Step::Ready),
        3 => Just(Step::Replay),
        3 => (0..4usize).prop_map(Step::Ping),
        4 => (0..8usize, 1..9000usize).prop_map(|(client, bytes)| Step::Read { client, bytes }),
    ]
}

/// What the tailer finds: an event on some channels, large or small, or a loss.
#[derive(Debug, Clone)]
enum Found {
    Event { channels: u8, size: usize },
    Lost(u64),
}

fn found() -> impl Strategy<Value = Found> {
    prop_oneof![
        8 => (1..8u8).prop_map(|channels| Found::Event { channels, size: 0 }),
        4 => (1..8u8, 1000..20_000usize).prop_map(|(channels, size)| Found::Event { channels, size }),
        1 => (1..5u64).prop_map(Found::Lost),
    ]
}

fn names(set: u8) -> Vec<&'static str> {
    CHANNELS
        .iter()
        .enumerate()
        .filter(|(n, _)| set & 1 << n != 0)
        .map(|(_, name)| *name)
        .collect()
}

/// A ring that overwrites nothing: only what the tailer did not see is lost.
#[derive(Clone, Default)]
struct Ring(Arc<Mutex<BTreeMap<u64, Event>>>);

impl EventStore for Ring {
    fn fetch(&self, epoch: Epoch, seq: u64) -> Option<Event> {
        assert_eq!(epoch, EPOCH);
        self.0.lock().unwrap().get(&seq).cloned()
    }

    fn is_hole(&self, _: Epoch, seq: u64) -> bool {
        !self.0.lock().unwrap().contains_key(&seq)
    }

    fn held_from(&self, seq: u64) -> u64 {
        let ring = self.0.lock().unwrap();
        ring.keys()
            .copied()
            .filter(|held| *held >= seq)
            .min()
            .unwrap_or(u64::MAX)
    }
}

/// One step of the tailer for an event.
type Action = Box<dyn FnOnce(&Hub)>;

/// The tailer, one step at a time.
struct Tailer {
    script: std::vec::IntoIter<Found>,
    next: u64,
    pending: Vec<Action>,
}

impl Tailer {
    fn step(
        &mut self,
        hub: &Hub,
        ring: &Ring,
        truth: &mut Vec<(u64, u8)>,
        lost: &mut Vec<(u64, u64)>,
    ) {
        if let Some(step) = self.pending.pop() {
            return step(hub);
        }
        let seq = self.next;
        // Pushed last to first: `pending` is popped from its end.
        match self.script.next() {
            None => {}
            Some(Found::Event { channels, size }) => {
                let named = names(channels).join(",");
                let data = format!("{seq} {named} {}", "x".repeat(size));
                let event = event(&names(channels), None, None, None, &data).unwrap();
                ring.0.lock().unwrap().insert(seq, event.clone());
                truth.push((seq, channels));
                let encoded = Arc::new(EncodedEvent::new(EPOCH, seq, event, &hub.process.memory));
                let other = encoded.clone();
                self.next += 1;
                self.pending
                    .push(Box::new(move |hub| hub.watermarks.complete(seq + 1)));
                self.pending.push(Box::new(move |hub| {
                    if hub.routes.workers(encoded.event.channels()) != 0 {
                        hub.inboxes[0].push(Delivery::Event(encoded));
                    }
                }));
                self.pending
                    .push(Box::new(move |hub| hub.watermarks.start(seq + 1)));
                self.pending.push(Box::new(move |hub| {
                    hub.index
                        .push(seq, other.event.channels(), None, published(seq));
                }));
            }
            Some(Found::Lost(count)) => {
                let to = seq + count;
                lost.push((seq, to));
                self.next = to;
                self.pending
                    .push(Box::new(move |hub| hub.watermarks.complete(to)));
                self.pending.push(Box::new(move |hub| {
                    hub.inboxes[0].push(Delivery::Lost {
                        from: seq,
                        to,
                        gap: Gap::at_most(count),
                    });
                }));
                self.pending
                    .push(Box::new(move |hub| hub.watermarks.start(to)));
                self.pending
                    .push(Box::new(move |hub| hub.index.blind(seq, to)));
            }
        }
    }
}

/// A stream's socket, and its client's end of it, neither of which blocks. `small`: a few kilobytes fill it.
fn sockets(small: bool) -> (OwnedFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    if small {
        nix::sys::socket::setsockopt(&ours, nix::sys::socket::sockopt::SndBuf, &4096).unwrap();
    }
    (ours.into(), theirs)
}

/// A client without an address is let in.
fn nobody(hub: &Hub) -> ClientKey {
    let admission = Admission::new(&hub.process.limits, &hub.process.metrics, 0, None).unwrap();
    let client = admission.keep();
    assert_eq!(client, ClientKey::NONE);
    client
}

/// A stream that begins now, on no channel yet.
fn opening(fd: OwnedFd, client: ClientKey) -> Opening {
    Opening {
        fd,
        client,
        head: Vec::new(),
        channels: Vec::new(),
        accesses: Vec::new(),
        format: Format::Raw,
        resume: None,
        socket: SocketId::random().unwrap(),
        topics: None,
        websocket: None,
    }
}

/// A client, and what it has received.
struct Client {
    socket: UnixStream,
    parser: Parser,
    head: bool,
    channels: u8,
    /// Everything at or past this is due, for each of the channels.
    due_from: [u64; 3],
    /// The bound of what its rewind left out.
    left_out: u64,
    got: Vec<u64>,
    /// The last cursor it received.
    held: u64,
    gaps: u64,
    /// How often the hub itself said something.
    said: usize,
    ended: bool,
}

impl Client {
    /// `channels` and `due_from` as in the fields; and the other end, for the engine. `small`: a few kilobytes
    /// fill the socket.
    fn new(channels: u8, due_from: [u64; 3], small: bool) -> (Self, OwnedFd) {
        let (fd, theirs) = sockets(small);
        let client = Self {
            socket: theirs,
            parser: Parser::default(),
            head: false,
            channels,
            due_from,
            left_out: 0,
            got: Vec::new(),
            held: 0,
            gaps: 0,
            said: 0,
            ended: false,
        };
        (client, fd)
    }

    /// The cursor that it holds, `prefix` before it, never goes back: it would get events twice on resume.
    fn holds(&mut self, prefix: &str) -> Result<Option<u64>, TestCaseError> {
        let held = self.parser.last_event_id().strip_prefix(prefix);
        let Some(held) = held.and_then(|held| held.parse::<Cursor>().ok()) else {
            return Ok(None);
        };
        prop_assert!(held.seq >= self.held, "{} after {}", held.seq, self.held);
        self.held = held.seq;
        Ok(Some(held.seq))
    }

    /// What it received begins with this.
    fn has(&self, due: Vec<u64>) -> Result<(), TestCaseError> {
        prop_assert!(self.got.len() >= due.len(), "{due:?} but {:?}", self.got);
        prop_assert_eq!(&self.got[..due.len()], due);
        Ok(())
    }

    fn read(&mut self, limit: usize) {
        let mut buffer = vec![0; limit];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(n) => self.feed(&buffer[..n]),
            Err(why) if why.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        if !self.head {
            assert_eq!(bytes[0], b'H');
            self.head = true;
            bytes = &bytes[1..];
        }
        for message in self.parser.feed(bytes) {
            if message.event == "askr:gap" {
                let gap: serde_json::Value = serde_json::from_str(&message.data).unwrap();
                self.gaps += gap["at_most"].as_u64().expect("bounded here");
            } else if message.event == "mercure" {
                self.said += 1;
            } else {
                self.got
                    .push(message.data.split(' ').next().unwrap().parse().unwrap());
            }
        }
    }

    /// What it should have once it was sent everything below `seq`.
    fn due(&self, truth: &[(u64, u8)], seq: u64) -> Vec<u64> {
        let due = |s: u64, channels: u8| {
            let on = |n: usize| channels & self.channels & 1 << n != 0;
            (0..3).any(|n| on(n) && s >= self.due_from[n])
        };
        let mine = |(s, channels): &&(u64, u8)| *s < seq && due(*s, *channels);
        truth.iter().filter(mine).map(|(s, _)| *s).collect()
    }
}

/// `index`: what the channel index remembers. `budget`: bytes for events.
pub fn hub(store: Box<dyn EventStore>, queue: usize, index: Bounds, budget: u64) -> Arc<Hub> {
    hub_of(1, store, queue, index, budget)
}

fn hub_of(
    workers: usize,
    store: Box<dyn EventStore>,
    queue: usize,
    index: Bounds,
    budget: u64,
) -> Arc<Hub> {
    let limits = Limits::new(1000, shares::ANY, false, workers);
    let sizes = Sizes {
        events: budget,
        requests: 1 << 20,
        largest_request: 1 << 20,
    };
    let process = Arc::new(Process::new(limits, sizes));
    Arc::new(Hub {
        index: ChannelIndex::new(index, FIRST),
        routes: Routes::default(),
        watermarks: Watermarks::new(FIRST),
        inboxes: (0..workers)
            .map(|_| inbox(queue, &process.memory))
            .collect(),
        store,
        segments: RingStore::default(),
        subscriber_counts: SubscriberCounts::default(),
        holdings: Holdings::new(holdings::Limits::NONE),
        topics: topics(),
        last_events: LastEvents::default(),
        origins: None,
        webhooks: None,
        tailed: Default::default(),
        workers: Workers::new(workers),
        open: Default::default(),
        busy_channels: Default::default(),
        traces: Default::default(),
        facts: None,
        process,
    })
}

pub fn topics() -> Arc<Topics> {
    let hub = HubUrl::parse("https://example.com/.well-known/mercure").unwrap();
    let limits = topics::Limits {
        patterns: 100,
        per_address: shares::ANY,
        grants: usize::MAX,
    };
    Arc::new(Topics::new(hub, limits, 1000))
}

fn inbox(items: usize, memory: &Arc<Budget>) -> Inbox {
    let bytes = 1 << 30;
    Inbox::new(inbox::Limits { items, bytes }, memory)
}

/// A hub whose index remembers `index` entries of as many channels.
fn hub_with(store: Box<dyn EventStore>, index: usize, budget: u64) -> Arc<Hub> {
    let index = Bounds {
        entries: index,
        channels: index,
        marks: 1000,
    };
    hub(store, 1000, index, budget)
}

/// The one worker's engine on this hub; an outbox holds `frames`.
fn engine_with(hub: &Arc<Hub>, slow_clients: SlowClients, frames: usize) -> Engine {
    let rules = rules(Io::Write, slow_clients, frames);
    Engine::new(0, app(hub.clone()), rules, EPOCH).unwrap()
}

/// `frames`: how many an outbox holds.
fn rules(io: Io, slow_clients: SlowClients, frames: usize) -> Rules {
    Rules {
        io,
        slow_clients,
        outbox: outbox::Bounds {
            frames,
            bytes: 1 << 30,
        },
        retry: 1000,
        max_age: 0,
        max_idle: 0,
        authorize_timeout: 0,
        expiry_notice: 0,
        write_timeout: Duration::from_secs(3600),
        max_channels: 100,
        channels_per_stream: 100,
        rewind: protocol::rewind::Limits::default(),
        pusher: protocol::pusher::session::Limits::default(),
        plain: protocol::plain::Limits::default(),
        client_events: protocol::client_event::Limits::default(),
        message_bytes: 1 << 14,
    }
}

fn open(
    engine: &mut Engine,
    hub: &Arc<Hub>,
    channels: u8,
    resume: Option<u64>,
    small: bool,
) -> Client {
    // Without a cursor: from where the tailer was.
    let from = resume.map_or(hub.watermarks.started(), |seq| seq + 1);
    let resume = resume.map(|seq| Resume::Cursor(cursor(seq)));
    open_from(engine, hub, channels, resume, [from; 3], small)
}

/// `due_from`: where that is, for each of the channels.
fn open_from(
    engine: &mut Engine,
    hub: &Arc<Hub>,
    channels: u8,
    resume: Option<Resume>,
    due_from: [u64; 3],
    small: bool,
) -> Client {
    let what = (channels, Format::Raw);
    open_as(engine, hub, what, resume, due_from, small)
}

fn open_as(
    engine: &mut Engine,
    hub: &Arc<Hub>,
    (channels, format): (u8, Format),
    resume: Option<Resume>,
    due_from: [u64; 3],
    small: bool,
) -> Client {
    let (client, fd) = Client::new(channels, due_from, small);
    engine.open(Opening {
        head: b"H".to_vec(),
        channels: names(channels).into_iter().map(str::to_owned).collect(),
        format,
        resume,
        ..opening(fd, nobody(hub))
    });
    client
}

/// Until nothing moves any more, with clients that read.
fn settle(
    engine: &mut Engine,
    hub: &Hub,
    clients: &mut [&mut Client],
) -> Result<(), TestCaseError> {
    let mut before = (0, 0);
    for _ in 0..5_000 {
        engine.on_inbox();
        engine.on_ready();
        engine.on_replay();
        clients.iter_mut().for_each(|client| client.read(100_000));
        let got = clients.iter().map(|client| client.got.len()).sum::<usize>();
        let moved = (hub.counters(0).bytes.get(), got);
        if moved == before && !engine.has_more() {
            return Ok(());
        }
        before = moved;
    }
    Err(TestCaseError::fail("it never becomes idle"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_stream_gets_every_event_once_and_in_order(
        script in prop::collection::vec(found(), 1..40),
        steps in prop::collection::vec(step(), 1..300),
        // As many as there are, or so few that replays have to scan.
        index in prop_oneof![Just(1usize), Just(2), Just(1000)],
        queue in prop_oneof![Just(1usize), Just(3), Just(1000)],
        // So few that slow clients replay, or so many that none does.
        frames in prop_oneof![Just(1usize), Just(3), Just(100_000)],
        io in prop_oneof![Just(Io::Write), Just(Io::Auto)],
    ) {
        let knows = index == 1000;
        let ring = Ring::default();
        let index = Bounds { entries: 100 * index, channels: index, marks: 20 };
        let hub = hub(Box::new(ring.clone()), queue, index, 1 << 30);
        let rules = rules(io, SlowClients::Replay, frames);
        let mut engine = Engine::new(0, app(hub.clone()), rules, EPOCH).unwrap();
        let mut tailer = Tailer { script: script.into_iter(), next: FIRST, pending: Vec::new() };
        let (mut truth, mut lost) = (Vec::new(), Vec::new());
        let mut clients: Vec<Client> = Vec::new();
        for step in steps {
            match step {
                Step::Tail => tailer.step(&hub, &ring, &mut truth, &mut lost),
                Step::Open { channels, from: From::Rewind(rewind), small } => {
                    let begins = CHANNELS.map(|name| rewound(&engine, &truth, name, rewind, knows));
                    let due_from = begins.map(|(from, _)| from);
                    let resume = Some(Resume::Rewind(rewind));
                    let mut client = open_from(&mut engine, &hub, channels, resume, due_from, small);
                    let left_out = (0..3).filter(|n| channels & 1 << n != 0);
                    client.left_out = left_out.map(|n| begins[n].1).sum();
                    clients.push(client);
                }
                Step::Open { channels, from, small } => {
                    // A cursor that a client may have: of something completed.
                    let newest = hub.watermarks.completed() - 1;
                    let resume = match from {
                        From::Cursor(back) => Some(newest.saturating_sub(back).max(FIRST - 1)),
                        _ => None,
                    };
                    clients.push(open(&mut engine, &hub, channels, resume, small));
                }
                Step::Inbox => engine.on_inbox(),
                Step::Ready => drop(engine.on_ready()),
                Step::Replay => engine.on_replay(),
                Step::Ping(bucket) => {
                    engine.on_inbox();
                    engine.ping_slots(bucket..bucket + 1);
                }
                Step::Read { client, bytes } => {
                    let count = clients.len().max(1);
                    if let Some(client) = clients.get_mut(client % count) {
                        client.read(bytes);
                    }
                }
            }
            for client in &mut clients {
                let Some(held) = client.holds("")? else { continue };
                // Whatever cursor a client holds, everything up to there has arrived.
                client.has(client.due(&truth, held + 1))?;
            }
        }
        // Everything is delivered.
        while !tailer.pending.is_empty() || tailer.script.len() > 0 {
            tailer.step(&hub, &ring, &mut truth, &mut lost);
        }
        settle(&mut engine, &hub, &mut clients.iter_mut().collect::<Vec<_>>())?;
        for client in &mut clients {
            prop_assert!(!client.ended);
            let due = client.due(&truth, u64::MAX);
            prop_assert_eq!(&client.got, &due);
            // What was lost while it was connected or away is reported: no less, and no more than was lost at all.
            let on = |n: &usize| client.channels & 1 << n != 0;
            let from = (0..3).filter(on).map(|n| client.due_from[n]).min().unwrap();
            let left_out = client.left_out;
            let missed: u64 = lost.iter().map(|(a, b)| b.saturating_sub((*a).max(from))).sum();
            let total: u64 = lost.iter().filter(|(_, b)| *b > from).map(|(a, b)| b - a).sum();
            prop_assert!(client.gaps >= missed + left_out && client.gaps <= total + left_out, "{} {missed} {total}", client.gaps);
        }
    }
}

/// The place and the socket id of the only stream.
fn first_stream(engine: &Engine) -> (u32, SocketId) {
    let (slot, stream) = engine.streams.iter().next().expect("there is one");
    (slot as u32, stream.socket)
}
