//! Whatever others do, a client that takes what it is sent gets on: nobody has its turns, and nobody its memory.

use std::net::IpAddr;
use std::time::Instant;

use protocol::mercure::Version;
use protocol::mercure::grants::{Grant, Grants};
use protocol::mercure::matcher::{Kind, Matcher};

use super::slow::publish;
use super::*;
use crate::engine::TopicOpening;
use crate::engine::stream::Stream;

/// Larger than one turn of a replay.
const LARGE: usize = 70_000;

fn address(n: u8) -> IpAddr {
    [192, 0, 2, n].into()
}

/// A stream of the client at this address, on the channels and from the cursor. `small`: its socket. None: there are too
/// many connections.
fn try_open(
    engine: &mut Engine,
    hub: &Arc<Hub>,
    address: IpAddr,
    (channels, after): (u8, u64),
    small: bool,
) -> Option<Client> {
    let (client, fd) = Client::new(channels, [after + 1; 3], small);
    let (limits, metrics) = (&hub.process.limits, &hub.process.metrics);
    let admission = Admission::new(limits, metrics, 0, Some(address))?;
    engine.open(Opening {
        head: b"H".to_vec(),
        channels: names(channels).into_iter().map(str::to_owned).collect(),
        resume: Some(Resume::Cursor(cursor(after))),
        ..opening(fd, admission.keep())
    });
    Some(client)
}

fn open_at(
    engine: &mut Engine,
    hub: &Arc<Hub>,
    address: IpAddr,
    from: (u8, u64),
    small: bool,
) -> Client {
    try_open(engine, hub, address, from, small).unwrap()
}

/// How many turns of replays it takes until `one` has enough, while all read what comes.
fn turns_until(
    engine: &mut Engine,
    one: &mut Client,
    others: &mut [Client],
    has_enough: impl Fn(&Client) -> bool,
) -> usize {
    let mut turns = 0;
    while !has_enough(one) {
        assert!(engine.has_more() || engine.is_paced(), "{turns} turns");
        assert!(turns < 100_000, "nothing comes");
        engine.on_replay();
        turns += 1;
        one.read(1 << 20);
        others.iter_mut().for_each(|other| other.read(1 << 20));
        engine.on_ready();
    }
    turns
}

fn has(events: usize) -> impl Fn(&Client) -> bool {
    move |client| client.got.len() >= events
}

#[test]
fn a_client_with_many_streams_takes_no_turns_of_another() {
    const EVENTS: usize = 30;
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    for n in 0..EVENTS as u64 {
        publish(&hub, &ring, FIRST + n, &["a"], LARGE);
    }
    let all = (1, FIRST - 1);
    let mut open = |n| open_at(&mut engine, &hub, address(n), all, false);
    let mut many: Vec<Client> = (0..200).map(|_| open(1)).collect();
    let mut one = open(2);
    let turns = turns_until(&mut engine, &mut one, &mut many, has(EVENTS));
    assert!(turns <= EVENTS, "{turns} turns for {EVENTS} events");
}

#[test]
fn who_has_the_ring_scanned_takes_no_turns_of_others() {
    const EVENTS: usize = 30;
    const FORGOTTEN: u64 = 2000;
    let ring = Ring::default();
    let index = Bounds {
        entries: EVENTS,
        channels: 10,
        marks: 10_000,
    };
    let hub = hub(Box::new(ring.clone()), 1000, index, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    for n in 0..FORGOTTEN {
        publish(&hub, &ring, FIRST + n, &["b"], 10);
    }
    for n in 0..EVENTS as u64 {
        publish(&hub, &ring, FIRST + FORGOTTEN + n, &["a"], LARGE);
    }
    let mut open = |n, from| open_at(&mut engine, &hub, address(n), from, false);
    let mut many: Vec<Client> = (10..30).map(|n| open(n, (2, FIRST - 1))).collect();
    let mut one = open(2, (1, FIRST + FORGOTTEN - 1));
    let turns = turns_until(&mut engine, &mut one, &mut many, has(EVENTS));
    assert!(turns <= 2 * EVENTS, "{turns} turns for {EVENTS} events");
    assert!(hub.counters(0).scanned.get() > 0);
    // And who scans gets on, too.
    let mut last = many.pop().unwrap();
    turns_until(&mut engine, &mut last, &mut many, has(FORGOTTEN as usize));
}

/// A subscriber of this address, who may hear of everybody, and comes back.
fn subscribe(engine: &mut Engine, hub: &Arc<Hub>, address: IpAddr) -> Client {
    let everything = || Matcher::parse(Kind::Exact, "*", hub.topics.hub()).unwrap();
    let grant = Grant {
        matcher: everything(),
        payload: None,
    };
    let grants = Grants {
        version: Version::One,
        publish: Vec::new(),
        subscribe: vec![grant],
        expires: None,
    };
    let client = ClientKey::of(address);
    let matched = hub.topics.subscribe(&hub.index, client, vec![everything()]);
    let matched = matched.unwrap();
    let (client, fd) = Client::new(0, [FIRST; 3], false);
    let (limits, metrics) = (&hub.process.limits, &hub.process.metrics);
    let admission = Admission::new(limits, metrics, 0, Some(address)).unwrap();
    engine.open(Opening {
        head: b"H".to_vec(),
        channels: matched.names.clone(),
        format: Format::Mercure,
        resume: Some(Resume::Cursor(cursor(FIRST - 1))),
        topics: Some(Box::new(TopicOpening {
            matched,
            grants: Arc::new(grants),
            presence: None,
        })),
        ..opening(fd, admission.keep())
    });
    client
}

#[test]
fn who_is_told_of_many_takes_no_turns_of_another() {
    const PRESENT: usize = 5000;
    let hub = hub_with(Box::new(Ring::default()), 1000, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    let active = engine.app.active.clone();
    let matchers = [Matcher::parse(Kind::Exact, "/a", hub.topics.hub()).unwrap()];
    let grants = Grants {
        version: Version::One,
        publish: Vec::new(),
        subscribe: Vec::new(),
        expires: None,
    };
    let present = (0..PRESENT).map(|_| active.join(&hub, &matchers, &grants).unwrap());
    let _present: Vec<_> = present.collect();
    let mut turns_beside = |many: usize| {
        let open = |engine: &mut Engine, n| subscribe(engine, &hub, address(n));
        let mut many: Vec<Client> = (0..many).map(|_| open(&mut engine, 1)).collect();
        let mut one = open(&mut engine, 2);
        // Nobody is paced, so each turn is one that somebody has.
        let is_told = |one: &Client| one.said >= PRESENT;
        let turns = turns_until(&mut engine, &mut one, &mut many, is_told);
        assert!(!engine.is_paced());
        turns
    };
    let (alone, beside) = (turns_beside(0), turns_beside(50));
    assert!(alone > 5, "a part at a time: {alone}");
    assert!(
        beside <= alone + 1,
        "{beside} turns, {alone} without others"
    );
}

#[test]
fn while_memory_is_tight_who_holds_nothing_of_it_reads_on() {
    const EVENTS: usize = 10;
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 20);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    for n in 0..EVENTS as u64 {
        publish(&hub, &ring, FIRST + n, &["a"], 10_000);
    }
    let memory = hub.process.memory.clone();
    let all = (1, FIRST - 1);
    let mut stalled: Vec<Client> = (0..5)
        .map(|_| open_at(&mut engine, &hub, address(1), all, true))
        .collect();
    let held = memory.charge(800_000);
    assert!(memory.is_tight() && !memory.is_full());
    let mut one = open_at(&mut engine, &hub, address(2), all, false);
    let turns = turns_until(&mut engine, &mut one, &mut [], has(EVENTS));
    assert!(turns <= EVENTS, "{turns} turns for {EVENTS} events");
    stalled.push(open_at(&mut engine, &hub, address(3), all, true));
    stalled.push(open_at(&mut engine, &hub, address(3), all, true));
    let holds = |client: u8, engine: &Engine| {
        let of_it = |stream: &Stream| stream.client == ClientKey::of(address(client));
        let waits = |stream: &Stream| {
            stream
                .outbox
                .as_ref()
                .is_some_and(|outbox| !outbox.is_empty())
        };
        let streams = engine.streams.iter().map(|(_, stream)| stream);
        streams
            .filter(|stream| of_it(stream) && waits(stream))
            .count()
    };
    while engine.has_more() {
        engine.on_replay();
        assert!(
            holds(3, &engine) <= 1,
            "who takes nothing begins nothing more"
        );
    }
    assert!(!memory.is_full());
    drop(held);
}

#[test]
fn who_has_made_room_is_not_ended_because_the_worker_was_late() {
    /// More than a socket takes at once, and less than twice that.
    const LARGE: usize = 300_000;
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 24);
    let mut rules = rules(Io::Write, SlowClients::Replay, 1000);
    rules.write_timeout = Duration::ZERO;
    let mut engine = Engine::new(0, app(hub.clone()), rules, EPOCH).unwrap();
    let mut open = || open_at(&mut engine, &hub, address(1), (1, FIRST - 1), false);
    let (mut reads, _stalled) = (open(), open());
    let metrics = &hub.process.metrics;
    let ended = || (metrics.closed_memory.get(), metrics.closed_stalled.get());
    publish(&hub, &ring, FIRST, &["a"], LARGE);
    engine.on_inbox();
    // It was written to in part, and has room again, which nobody has looked for.
    reads.read(1 << 20);
    let full = hub.process.memory.charge((1 << 24) + 1);
    engine.slow.tight_since = Instant::now().checked_sub(Duration::from_secs(10));
    engine.relieve();
    assert_eq!(ended(), (1, 0), "only who takes nothing");
    drop(full);
    reads.read(1 << 20);
    publish(&hub, &ring, FIRST + 1, &["a"], LARGE);
    engine.on_inbox();
    reads.read(1 << 20);
    engine.disconnect_stalled();
    assert_eq!(ended(), (1, 0));
    reads.read(1 << 20);
    assert_eq!(reads.got, [FIRST, FIRST + 1]);
    publish(&hub, &ring, FIRST + 2, &["a"], LARGE);
    engine.on_inbox();
    engine.disconnect_stalled();
    assert_eq!(ended(), (1, 1), "it has taken nothing since");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Clients that take nothing come again and again, and fill the memory; the worker falls behind.
    #[test]
    fn who_takes_what_comes_gets_everything_while_others_take_nothing(
        sizes in prop::collection::vec(prop_oneof![1..100usize, 5_000..40_000usize], 10..60),
        hostile in 1..8u8,
        queue in prop_oneof![Just(1usize), Just(3), Just(1000)],
        index in prop_oneof![Just(5usize), Just(1000)],
        wake in 1..8usize,
    ) {
        let ring = Ring::default();
        let index = Bounds { entries: index, channels: 10, marks: 1000 };
        let hub = hub(Box::new(ring.clone()), queue, index, 200_000);
        let mut engine = engine_with(&hub, SlowClients::Replay, 3);
        let all = (1, FIRST - 1);
        let open = |n| open_at(&mut engine, &hub, address(100 + n % 2), all, false);
        let mut healthy: Vec<Client> = (0..4u8).map(open).collect();
        let due: Vec<u64> = (FIRST..).take(sizes.len()).collect();
        let mut published = sizes.iter().zip(FIRST..);
        let (mut attacks, mut steps) = (Vec::new(), 0);
        while healthy.iter().any(|client| client.got.len() < due.len()) {
            // Time ends those who fill it.
            let full = hub.process.memory.is_full();
            steps += usize::from(!full);
            let got = healthy.iter().map(|client| client.got.len());
            prop_assert!(steps < 3_000, "{:?} of {}", got.collect::<Vec<_>>(), due.len());
            if let Some((size, seq)) = published.next() {
                publish(&hub, &ring, seq, &["a"], *size);
            }
            if !full && steps % 8 == 0 {
                let new = |n| try_open(&mut engine, &hub, address(n), all, true);
                attacks.extend((0..hostile).filter_map(new));
                attacks.drain(..attacks.len().saturating_sub(40));
            }
            if full || steps % wake == 0 {
                engine.on_inbox();
            }
            engine.on_ready();
            if engine.has_more() {
                engine.on_replay();
            }
            engine.ping_slots(steps % 64..steps % 64 + 1);
            healthy.iter_mut().for_each(|client| client.read(1 << 20));
        }
        for client in &healthy {
            prop_assert_eq!(&client.got, &due);
            prop_assert_eq!((client.gaps, client.ended), (0, false));
        }
    }
}
