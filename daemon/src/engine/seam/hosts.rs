//! Two hosts of one application, and a third whose events both import: viewers go from one to the other at any moment. Each
//! event comes once, those of a host in order, or is in a gap; and no cursor says more than what came.

use std::collections::BTreeMap;

use protocol::wire_cursor::ClientCursor;
use shared::event::EventRef;
use shared::vector::{OriginId, Vector};

use super::recovery::Recovering;
use super::*;
use crate::hub::origins::Origins;
use crate::hub::sent_cursor::only_of_the_place;

const A: Epoch = Epoch([0xa; 6]);
const B: Epoch = Epoch([0xb; 6]);
const C: Epoch = Epoch([0xc; 6]);

#[derive(Debug, Clone, Copy)]
enum Op {
    /// An event of a host: of A, of B, or of C, which nobody watches.
    Publish(usize, u8),
    /// A host imports the next event of another.
    Import(usize, usize),
    /// It cannot have the next two any more.
    Lose(usize, usize),
    Inbox(usize),
    Replay(usize),
    Ping(usize),
    Read(usize, usize),
    /// A recovering client subscribes to the next of its channels on this connection, or again to one of them.
    Subscribe(usize),
    /// A viewer goes to a host, with the cursor that it has.
    Go(usize, usize),
}

fn op(loses: bool) -> impl Strategy<Value = Op> {
    let lose = (0..2usize, 0..3usize).prop_map(move |(to, of)| match loses {
        true => Op::Lose(to, of),
        false => Op::Import(to, of),
    });
    prop_oneof![
        6 => (0..3usize, 1..8u8).prop_map(|(of, channels)| Op::Publish(of, channels)),
        6 => (0..2usize, 0..3usize).prop_map(|(to, of)| Op::Import(to, of)),
        1 => lose,
        3 => (0..2usize).prop_map(Op::Inbox),
        4 => (0..2usize).prop_map(Op::Replay),
        1 => (0..2usize).prop_map(Op::Ping),
        5 => (0..VIEWERS + RECOVERING, 1..4000usize).prop_map(|(viewer, bytes)| Op::Read(viewer, bytes)),
        1 => (0..RECOVERING).prop_map(Op::Subscribe),
        4 => (0..VIEWERS + RECOVERING, 0..2usize).prop_map(|(viewer, to)| Op::Go(viewer, to)),
    ]
}

/// Over Server-Sent Events: of all channels, as whole events and for each channel; of one.
const VIEWERS: usize = 4;
const WATCHED: [(u8, Format); VIEWERS] = [
    (7, Format::Raw),
    (7, Format::Json),
    (1, Format::Raw),
    (6, Format::Json),
];
/// Of Pusher's protocol with recovery: their numbers are behind those.
const RECOVERING: usize = 2;
const RECOVERED: [u8; RECOVERING] = [7, 3];

#[derive(Clone, Default)]
struct Store(Arc<Mutex<BTreeMap<u64, Event>>>);

impl EventStore for Store {
    fn fetch(&self, _: Epoch, seq: u64) -> Option<Event> {
        self.0.lock().unwrap().get(&seq).cloned()
    }

    fn is_hole(&self, _: Epoch, seq: u64) -> bool {
        !self.0.lock().unwrap().contains_key(&seq)
    }

    fn held_from(&self, seq: u64) -> u64 {
        let ring = self.0.lock().unwrap();
        ring.range(seq..).next().map_or(u64::MAX, |(seq, _)| *seq)
    }
}

struct Host {
    epoch: Epoch,
    hub: Arc<Hub>,
    ring: Store,
    engine: Engine,
    next: u64,
}

impl Host {
    fn new(epoch: Epoch) -> Self {
        let ring = Store::default();
        let index = Bounds {
            entries: 1000,
            channels: 1000,
            marks: 1000,
        };
        let hub = hub(Box::new(ring.clone()), 4, index, 1 << 30);
        let origins = Origins::new(epoch, FIRST - 1, FIRST, 1000);
        for other in [A, B, C] {
            assert!(other == epoch || origins.import().meet(other.into(), FIRST - 1, FIRST - 1));
        }
        let mut hub = Arc::into_inner(hub).expect("nobody else has it");
        hub.origins = Some(Arc::new(origins));
        let hub = Arc::new(hub);
        let rules = rules(Io::Write, SlowClients::Replay, 3);
        Self {
            epoch,
            engine: Engine::new(0, app(hub.clone()), rules, epoch).unwrap(),
            hub,
            ring,
            next: FIRST,
        }
    }

    fn origins(&self) -> &Origins {
        self.hub.origins.as_deref().unwrap()
    }

    /// What the tailer does with an event, its own or an imported one.
    fn put(&mut self, of: Cursor, channels: u8) {
        let seq = self.next;
        self.next += 1;
        let at = Cursor {
            epoch: self.epoch,
            seq,
        };
        let names: Vec<&[u8]> = names(channels).iter().map(|name| name.as_bytes()).collect();
        let data = format!("{:02x}-{}", of.epoch.0[0], of.seq);
        let source = EventRef {
            channels: &names,
            imported: (of.epoch != self.epoch).then_some(of),
            data: data.as_bytes(),
            ..EventRef::EMPTY
        };
        let event = source.to_event(0).unwrap();
        match source.imported {
            Some(of) => {
                assert!(self.origins().import().event(of.epoch.into(), of.seq, at));
                assert!(self.origins().confirm(seq, of, None));
            }
            None => self.origins().own_event(seq),
        }
        self.ring.0.lock().unwrap().insert(seq, event.clone());
        let hub = &self.hub;
        let encoded = Arc::new(hub.encoded(at, event));
        hub.index.push(seq, encoded.event.channels(), None, 0);
        hub.watermarks.start(seq + 1);
        if hub.routes.workers(encoded.event.channels()) != 0 {
            hub.inboxes[0].push(Delivery::Event(encoded));
        }
        hub.watermarks.complete(seq + 1);
    }

    /// The same for a gap record.
    fn lose(&mut self, from: u64, to: Cursor) {
        let seq = self.next;
        self.next += 1;
        let at = Cursor {
            epoch: self.epoch,
            seq,
        };
        let import = self.origins().import();
        assert!(import.gap(to.epoch.into(), from, to.seq, at));
        drop(import);
        let hub = &self.hub;
        let events = to.seq - from;
        hub.index.blind_of_another_host(seq, events);
        hub.watermarks.start(seq + 1);
        hub.inboxes[0].push(Delivery::Lost {
            from: seq,
            to: seq + 1,
            gap: Gap::at_most(events),
        });
        hub.watermarks.complete(seq + 1);
    }
}

/// A connection, and what came on all of a viewer's connections until now.
struct Viewer {
    client: Client,
    channels: u8,
    format: Format,
    /// What it had of each host at first.
    first: Vector,
    /// With the channel, in the format that has one.
    got: Vec<(OriginId, u64, Option<String>)>,
    gaps: u64,
    cursor: String,
    /// Of the events that came, how many a cursor has covered that came with them.
    settled: usize,
}

impl Viewer {
    fn open(host: &mut Host, channels: u8, format: Format, cursor: &str) -> Client {
        let resume = ClientCursor::parse(cursor.as_bytes()).map(|cursor| match cursor {
            ClientCursor::Vector(vector) => Resume::Vector(vector),
            ClientCursor::Cursor(cursor) => Resume::Cursor(cursor),
        });
        let hub = host.hub.clone();
        open_as(
            &mut host.engine,
            &hub,
            (channels, format),
            resume,
            [0; 3],
            true,
        )
    }

    fn read(&mut self, limit: usize) -> Result<(), String> {
        let mut buffer = vec![0; limit];
        let Ok(n) = self.client.socket.read(&mut buffer) else {
            return Ok(());
        };
        let mut bytes = &buffer[..n];
        if !self.client.head && n > 0 {
            (self.client.head, bytes) = (true, &bytes[1..]);
        }
        for message in self.client.parser.feed(bytes) {
            match message.event.as_str() {
                "askr:connected" => {}
                "askr:gap" => {
                    let gap: serde_json::Value = serde_json::from_str(&message.data).unwrap();
                    self.gaps += gap["at_most"].as_u64().ok_or("a gap without a bound")?;
                }
                _ => self.event(&message.data)?,
            }
            let covers = |(origin, at, _): &(OriginId, u64, _)| {
                let vector = Vector::parse(message.id.as_bytes());
                vector.and_then(|vector| vector.get(*origin)) >= Some(*at)
            };
            if self.got.last().is_some_and(covers) {
                self.settled = self.got.len();
            }
        }
        let cursor = self.client.parser.last_event_id();
        if !cursor.is_empty() {
            self.cursor = cursor.to_owned();
        }
        Ok(())
    }

    fn event(&mut self, data: &str) -> Result<(), String> {
        let (text, channel) = match self.format {
            Format::Raw => (data.to_owned(), None),
            _ => {
                let object: serde_json::Value = serde_json::from_str(data).unwrap();
                let text = |key: &str| object[key].as_str().unwrap().to_owned();
                (text("data"), Some(text("channel")))
            }
        };
        let (origin, position) = text.split_once('-').unwrap();
        let origin = OriginId([u8::from_str_radix(origin, 16).unwrap(); 5]);
        let event = (origin, position.parse().unwrap(), channel);
        let earlier = self.got.iter().filter(|got| got.0 == origin);
        if self.got.contains(&event) || earlier.clone().any(|got| got.1 > event.1) {
            return Err(format!("{event:?} after {:?}", self.got));
        }
        self.got.push(event);
        Ok(())
    }

    /// What it lacks of what its cursor, or everything, covers. `published`: of all hosts, with their channels.
    fn lacks(&self, published: &[(Cursor, u8)], cursor: Option<&Vector>) -> u64 {
        let due = published.iter().filter(|(at, channels)| {
            let origin = OriginId::from(at.epoch);
            let is_new = self.first.get(origin).is_none_or(|first| first < at.seq);
            let covers = |cursor: &Vector| cursor.get(origin).is_some_and(|has| has >= at.seq);
            is_new && channels & self.channels != 0 && cursor.is_none_or(covers)
        });
        let wanted = due.flat_map(|(at, channels)| {
            let named = names(channels & self.channels).into_iter();
            let each = named.map(|name| Some(name.to_owned()));
            let all: Vec<_> = match self.format {
                Format::Raw => vec![None],
                _ => each.collect(),
            };
            let event = |channel| (OriginId::from(at.epoch), at.seq, channel);
            all.into_iter().map(event).collect::<Vec<_>>()
        });
        let lacks: std::collections::HashSet<_> = wanted
            .filter(|event| !self.got.contains(event))
            .map(|(origin, position, _)| (origin, position))
            .collect();
        lacks.len() as u64
    }

    fn check(&self, published: &[(Cursor, u8)]) -> Result<(), String> {
        let Some(vector) = Vector::parse(self.cursor.as_bytes()) else {
            return Ok(());
        };
        let lacks = self.lacks(published, Some(&vector));
        match lacks <= self.gaps {
            true => Ok(()),
            false => Err(format!("{vector:?} covers {lacks}, {} in gaps", self.gaps)),
        }
    }
}

/// What the hosts and viewers do, and at last everything that is left to do.
fn run(ops: &[Op]) -> Result<(), String> {
    let mut hosts = [Host::new(A), Host::new(B)];
    let mut published: Vec<(Cursor, u8)> = Vec::new();
    let mut next_of_c = FIRST;
    let mut lost = false;
    let mut viewers: Vec<Viewer> = Vec::new();
    for (channels, format) in WATCHED {
        let place = hosts[0].hub.watermarks.started() - 1;
        viewers.push(Viewer {
            first: hosts[0].origins().vector_at(place).unwrap(),
            client: Viewer::open(&mut hosts[0], channels, format, ""),
            channels,
            format,
            got: Vec::new(),
            gaps: 0,
            cursor: String::new(),
            settled: 0,
        });
    }
    let mut recovering = RECOVERED.map(|channels| {
        let place = hosts[0].hub.watermarks.started() - 1;
        let first = hosts[0].origins().vector_at(place).unwrap();
        let hub = hosts[0].hub.clone();
        (
            0,
            Recovering::new(&mut hosts[0].engine, &hub, channels, first),
        )
    });
    let following = |host: &Host, published: &[(Cursor, u8)], of: usize| {
        let epoch = [A, B, C][of];
        let have = host.origins().have(epoch.into()).unwrap();
        let next = |(at, _): &&(Cursor, u8)| at.epoch == epoch && at.seq > have;
        let next: Vec<_> = published.iter().filter(next).copied().take(2).collect();
        (have, next)
    };
    for op in ops {
        match *op {
            Op::Publish(2, channels) => {
                next_of_c += 1 + u64::from(channels % 3);
                published.push((
                    Cursor {
                        epoch: C,
                        seq: next_of_c,
                    },
                    channels,
                ));
            }
            Op::Publish(of, channels) => {
                let at = Cursor {
                    epoch: hosts[of].epoch,
                    seq: hosts[of].next,
                };
                published.push((at, channels));
                hosts[of].put(at, channels);
            }
            Op::Import(to, of) if to != of => {
                if let Some((at, channels)) = following(&hosts[to], &published, of).1.first() {
                    hosts[to].put(*at, *channels);
                }
            }
            Op::Lose(to, of) if to != of => {
                let (have, next) = following(&hosts[to], &published, of);
                if let Some((at, _)) = next.last() {
                    lost = true;
                    hosts[to].lose(have, *at);
                }
            }
            Op::Import(..) | Op::Lose(..) => {}
            Op::Inbox(host) => hosts[host].engine.on_inbox(),
            Op::Replay(host) => {
                hosts[host].engine.on_ready();
                hosts[host].engine.on_replay();
            }
            Op::Ping(host) => {
                hosts[host].engine.on_inbox();
                hosts[host].engine.ping(0);
            }
            Op::Read(viewer, bytes) if viewer < VIEWERS => viewers[viewer].read(bytes)?,
            Op::Read(client, bytes) => recovering[client - VIEWERS].1.read(bytes)?,
            Op::Subscribe(client) => {
                let (at, client) = &mut recovering[client];
                let engine = &mut hosts[*at].engine;
                if !client.subscribe_next(engine) {
                    client.subscribe_again(engine);
                }
            }
            Op::Go(client, to) if client >= VIEWERS => {
                let (at, client) = &mut recovering[client - VIEWERS];
                if !client.may_go() {
                    client.read(100_000)?;
                }
                let hub = hosts[to].hub.clone();
                client.go(&mut hosts[to].engine, &hub);
                *at = to;
            }
            Op::Go(viewer, to) => {
                let viewer = &mut viewers[viewer];
                // A viewer without any cursor yet would begin anew.
                if viewer.cursor.is_empty() {
                    viewer.read(100_000)?;
                }
                // A frame that is not its event's last moves no cursor: the event comes again.
                viewer.got.truncate(viewer.settled);
                viewer.client = Viewer::open(
                    &mut hosts[to],
                    viewer.channels,
                    viewer.format,
                    &viewer.cursor,
                );
            }
        }
        for viewer in &viewers {
            viewer.check(&published)?;
        }
        for (_, client) in &recovering {
            client.check(&published, false)?;
        }
    }
    for host in &mut hosts {
        for of in 0..3 {
            while host.epoch != [A, B, C][of] {
                let Some((at, channels)) = following(host, &published, of).1.first().copied()
                else {
                    break;
                };
                host.put(at, channels);
            }
        }
    }
    let mut idle = 0;
    while idle < 3 {
        for host in &mut hosts {
            host.engine.on_inbox();
            host.engine.on_ready();
            host.engine.on_replay();
        }
        let got = |viewers: &[Viewer], recovering: &[(usize, Recovering)]| {
            let viewers = viewers.iter().map(|viewer| viewer.got.len());
            let recovering = recovering.iter().map(|(_, client)| client.got());
            viewers.chain(recovering).sum::<usize>()
        };
        let before = got(&viewers, &recovering);
        for viewer in &mut viewers {
            viewer.read(100_000)?;
            viewer.check(&published)?;
        }
        for (at, client) in &mut recovering {
            while client.subscribe_next(&mut hosts[*at].engine) {}
            client.read(100_000)?;
            client.check(&published, false)?;
        }
        let after = got(&viewers, &recovering);
        let more = hosts.iter().any(|host| host.engine.has_more());
        idle = if after == before && !more {
            idle + 1
        } else {
            0
        };
    }
    for viewer in &viewers {
        let lacks = viewer.lacks(&published, None);
        if lacks > viewer.gaps || !lost && viewer.gaps > 0 {
            return Err(format!("{lacks} lacking, {} in gaps", viewer.gaps));
        }
    }
    for (_, client) in &recovering {
        client.check(&published, true)?;
        if !lost && client.was_told_of_gaps() {
            return Err("a gap, and nothing was lost".to_owned());
        }
    }
    // Nobody is left aside.
    let aside = |host: &Host| !host.engine.replays.filters.is_empty();
    if hosts.iter().any(aside) {
        return Err("a stream is still apart".to_owned());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_viewer_has_every_event_of_every_host_once(
        ops in prop::collection::vec(op(false), 1..200)
    ) {
        prop_assert_eq!(run(&ops), Ok(()));
    }

    #[test]
    fn what_one_host_could_not_have_is_a_gap_for_those_who_lack_it(
        ops in prop::collection::vec(op(true), 1..200)
    ) {
        prop_assert_eq!(run(&ops), Ok(()));
    }
}

/// A viewer of A comes to B, which is behind, and goes back.
const THERE_AND_BACK: [Op; 10] = [
    Op::Publish(0, 7),
    Op::Inbox(0),
    Op::Read(0, 4000),
    Op::Go(0, 1),
    Op::Publish(1, 7),
    Op::Inbox(1),
    Op::Replay(1),
    Op::Read(0, 4000),
    Op::Go(0, 0),
    Op::Replay(0),
];

#[test]
fn who_is_ahead_of_a_host_keeps_the_cursor_it_came_with() {
    assert_eq!(run(&THERE_AND_BACK), Ok(()));
    // With everybody's cursor it would be taken back, and get the event of A again.
    let twice = only_of_the_place(|| run(&THERE_AND_BACK)).unwrap_err();
    assert!(twice.contains("after"), "{twice}");
}

/// What is missing is reported on each of its channels, none of which is taken back to what another one has.
#[test]
fn a_gap_takes_no_channel_back_to_what_another_one_has() {
    const RECOVERS: usize = VIEWERS;
    let ops = [
        // Of A, on the channel `a` alone: its cursor is further than those of the others.
        Op::Publish(0, 1),
        Op::Inbox(0),
        Op::Read(RECOVERS, 4000),
        Op::Go(RECOVERS, 1),
        Op::Subscribe(0),
        Op::Subscribe(0),
        Op::Subscribe(0),
        Op::Publish(2, 7),
        Op::Publish(2, 7),
        Op::Lose(1, 2),
        Op::Inbox(1),
        Op::Replay(1),
        Op::Read(RECOVERS, 4000),
        // Back, before anything else came on `a`.
        Op::Go(RECOVERS, 0),
    ];
    assert_eq!(run(&ops), Ok(()));
}

#[test]
fn who_subscribes_again_is_not_apart_for_ever() {
    const RECOVERS: usize = VIEWERS;
    let ops = [
        Op::Publish(0, 1),
        Op::Inbox(0),
        Op::Read(RECOVERS, 4000),
        // B has what the client lacks before what it has.
        Op::Publish(2, 4),
        Op::Import(1, 2),
        Op::Import(1, 0),
        Op::Go(RECOVERS, 1),
        Op::Subscribe(0),
        Op::Subscribe(0),
        Op::Subscribe(0),
        Op::Inbox(1),
        Op::Replay(1),
        Op::Read(RECOVERS, 4000),
        Op::Subscribe(0),
    ];
    assert_eq!(run(&ops), Ok(()));
}

/// A channel that catches up takes the replay back: the others have had their part of the event that it had come to.
#[test]
fn who_subscribes_in_the_middle_of_an_event_has_none_of_it_twice() {
    const RECOVERS: usize = VIEWERS;
    let ops = [
        Op::Publish(1, 4),
        Op::Go(RECOVERS, 1),
        Op::Publish(1, 4),
        Op::Subscribe(0),
        Op::Replay(1),
        Op::Publish(1, 4),
        Op::Inbox(1),
        Op::Publish(1, 4),
        Op::Inbox(1),
        Op::Publish(1, 6),
        Op::Ping(1),
        Op::Publish(0, 6),
        Op::Publish(0, 6),
        Op::Subscribe(0),
        Op::Import(1, 0),
        Op::Publish(1, 2),
        Op::Inbox(1),
        Op::Publish(0, 6),
        Op::Replay(1),
    ];
    assert_eq!(run(&ops), Ok(()));
}
