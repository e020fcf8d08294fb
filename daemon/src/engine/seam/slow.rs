//! Slow clients, and an index that is too small, in cases that random schedules hardly ever reach.

use super::*;

pub(super) fn publish(hub: &Hub, ring: &Ring, seq: u64, channels: &[&str], size: usize) {
    let data = format!("{seq} {}", "x".repeat(size));
    let event = event(channels, None, None, None, &data).unwrap();
    ring.0.lock().unwrap().insert(seq, event.clone());
    hub.index.push(seq, event.channels(), None, 0);
    hub.watermarks.start(seq + 1);
    if hub.routes.workers(event.channels()) != 0 {
        hub.inboxes[0].push(Delivery::Event(Arc::new(EncodedEvent::new(
            EPOCH,
            seq,
            event,
            &hub.process.memory,
        ))));
    }
    hub.watermarks.complete(seq + 1);
}

fn run_until_idle(engine: &mut Engine, client: &mut Client) {
    for _ in 0..400 {
        client.read(100_000);
        engine.on_ready();
        engine.on_replay();
    }
}

/// A page of the channels "a" and "b", whose socket is small; the caller reads what it gets.
fn open_json(engine: &mut Engine, hub: &Arc<Hub>) -> UnixStream {
    let (fd, theirs) = sockets(true);
    engine.open(Opening {
        head: b"H".to_vec(),
        channels: vec!["a".into(), "b".into()],
        format: Format::Json,
        ..opening(fd, nobody(hub))
    });
    theirs
}

/// How many events of each channel were sent once the engine is idle.
fn events_sent(engine: &mut Engine, mut socket: UnixStream) -> [usize; 2] {
    let mut all = Vec::new();
    for _ in 0..400 {
        let mut buffer = [0; 65536];
        if let Ok(n) = socket.read(&mut buffer) {
            all.extend_from_slice(&buffer[..n]);
        }
        engine.on_ready();
        engine.on_replay();
    }
    let text = String::from_utf8(all).unwrap();
    ["a", "b"].map(|channel| {
        text.matches(&format!("{{\"channel\":\"{channel}\""))
            .count()
    })
}

#[test]
fn the_rest_of_an_event_that_exceeds_the_outbox_is_replayed() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 30);
    let mut rules = rules(Io::Write, SlowClients::Replay, 1000);
    rules.outbox.bytes = 60_000;
    let mut engine = Engine::new(0, app(hub.clone()), rules, EPOCH).unwrap();
    let socket = open_json(&mut engine, &hub);
    publish(&hub, &ring, FIRST, &["a"], 45_000);
    engine.on_inbox();
    let waiting = hub.process.memory.waiting.get();
    assert!(waiting > 10_000, "blocked: {waiting}");
    // Room for one of the two frames.
    let size = (60_000 - waiting) as usize - 5_000;
    publish(&hub, &ring, FIRST + 1, &["a", "b"], size);
    engine.on_inbox();
    assert_eq!(hub.process.metrics.slow_replayed.get(), 1);
    assert_eq!(events_sent(&mut engine, socket), [2, 1]);
}

#[test]
fn what_a_stream_gave_up_is_replayed_later() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 100_000);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    let socket = open_json(&mut engine, &hub);
    for n in 0..20 {
        publish(&hub, &ring, FIRST + n, &["a", "b"], 5_000);
        engine.on_inbox();
        assert!(
            !hub.process.memory.is_tight(),
            "{} held",
            hub.process.memory.used()
        );
    }
    assert!(hub.process.metrics.relieved_stream.get() > 0);
    assert_eq!(events_sent(&mut engine, socket), [20, 20]);
    assert_eq!(hub.process.metrics.closed_memory.get(), 0);
    engine.trim_cache();
    engine.trim_cache();
    assert_eq!(hub.process.memory.waiting.get(), 0);
}

#[test]
fn the_rest_of_an_event_that_exceeds_a_wake_is_replayed() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    let first = open_json(&mut engine, &hub);
    let second = open_json(&mut engine, &hub);
    // Two frames for each stream; that of "a" alone reaches the bound.
    publish(&hub, &ring, FIRST, &["a", "b"], 9 << 20);
    publish(&hub, &ring, FIRST + 1, &["a", "b"], 10);
    engine.on_inbox();
    assert_eq!(hub.process.metrics.large_replayed.get(), 2);
    for mut socket in [first, second] {
        let mut all = Vec::new();
        let end = format!("\"data\":\"{} xxxxxxxxxx\"}}\n\n", FIRST + 1);
        let frames = |text: &[u8]| {
            let start = b"{\"channel\":\"";
            let all = memchr::memmem::find_iter(text, start);
            all.map(|at| char::from(text[at + start.len()]))
                .collect::<String>()
        };
        while !all.ends_with(end.as_bytes()) || !frames(&all).ends_with("abab") {
            let mut buffer = [0; 65536];
            if let Ok(n) = socket.read(&mut buffer) {
                all.extend_from_slice(&buffer[..n]);
            }
            engine.on_ready();
            engine.on_replay();
        }
        assert_eq!(frames(&all), "abab", "in order, and none twice");
    }
}

#[test]
fn a_reported_gap_moves_no_cursor_past_what_was_skipped() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Skip, 3);
    let mut client = open(&mut engine, &hub, 1, None, true);
    publish(&hub, &ring, FIRST, &["a"], 30_000);
    engine.on_inbox();
    publish(&hub, &ring, FIRST + 1, &["a"], 10);
    engine.on_inbox();
    hub.index.blind(FIRST + 2, FIRST + 4);
    hub.watermarks.start(FIRST + 4);
    hub.inboxes[0].push(Delivery::Lost {
        from: FIRST + 2,
        to: FIRST + 4,
        gap: Gap::at_most(2),
    });
    hub.watermarks.complete(FIRST + 4);
    engine.on_inbox();
    publish(&hub, &ring, FIRST + 4, &["a"], 10);
    engine.on_inbox();
    assert_eq!(hub.process.metrics.slow_skipped.get(), 1);
    // The outbox drains; the gap was not reported yet. The connection may end here.
    for _ in 0..100 {
        client.read(100_000);
        engine.on_ready();
    }
    let held: Cursor = client.parser.last_event_id().parse().unwrap();
    assert!(
        held.seq < FIRST + 1 || client.got.contains(&(FIRST + 1)) || client.gaps >= 3,
        "cursor {}, got {:?}, gaps {}: event {} was passed and not reported",
        held.seq,
        client.got,
        client.gaps,
        FIRST + 1
    );
    run_until_idle(&mut engine, &mut client);
    assert!(client.gaps <= 4, "2 + 2 lost, {} reported", client.gaps);
}

#[test]
fn what_is_erased_before_the_tailer_or_the_worker_comes_to_it_is_not_sent() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 1000, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    let erased = &hub.index.erased;
    erased.restart(EPOCH);
    let [mut a, mut b] = [1, 2].map(|channels| open(&mut engine, &hub, channels, None, false));
    publish(&hub, &ring, FIRST, &["a"], 10);
    publish(&hub, &ring, FIRST + 1, &["a", "b"], 10);
    erased.set(
        erased
            .with(
                vec![crate::hub::erased::Erasure::here("a", cursor(FIRST + 1))],
                0,
            )
            .unwrap(),
    );
    publish(&hub, &ring, FIRST + 2, &["a"], 10);
    engine.on_inbox();
    for client in [&mut a, &mut b] {
        run_until_idle(&mut engine, client);
        assert_eq!(client.gaps, 0);
    }
    assert_eq!((a.got, b.got), (vec![FIRST + 2], vec![FIRST + 1]));
}

#[test]
fn no_cursor_passes_a_gap_that_is_not_reported_while_a_replay_waits() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 2, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    hub.index.blind(FIRST, FIRST + 5);
    hub.watermarks.start(FIRST + 5);
    hub.watermarks.complete(FIRST + 5);
    for n in 5..15 {
        publish(&hub, &ring, FIRST + n, &["a"], 10);
    }
    // It has had its share of looking through the ring.
    hub.process
        .limits
        .scans
        .spend(ClientKey::NONE, u64::MAX / 2);
    let (fd, mut theirs) = sockets(false);
    engine.open(Opening {
        channels: vec!["a".into()],
        format: Format::Plain,
        resume: Some(Resume::Cursor(cursor(FIRST - 1))),
        websocket: crate::engine::WebSocketSession::new(Format::Plain, None),
        ..opening(fd, nobody(&hub))
    });
    assert!(engine.is_paced());
    let (slot, socket) = first_stream(&engine);
    engine.command(crate::hub::command::Command::Subscribe {
        slot,
        socket,
        revocations: 0,
        channels: vec![("b".into(), crate::auth::authorizer::Access::default())],
        since: None,
        answer: None,
    });
    let mut told = [0; 10_000];
    let count = theirs.read(&mut told).unwrap();
    let told = String::from_utf8_lossy(&told[..count]);
    let held = format!(
        "{{\"subscribed\":[\"b\"],\"cursor\":\"{}\"}}",
        cursor(FIRST - 1)
    );
    assert!(told.contains(&held) && !told.contains("gap"), "{told}");
}

#[test]
fn a_client_that_stays_slow_keeps_skipping() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ring.clone()), 100_000, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Skip, 3);
    let mut client = open(&mut engine, &hub, 1, None, true);
    let mut seq = FIRST;
    while hub.process.metrics.slow_skipped.get() == 0 {
        publish(&hub, &ring, seq, &["a"], 900);
        engine.on_inbox();
        seq += 1;
    }
    engine.on_replay();
    let skipped_at = seq;
    for _ in 0..500 {
        publish(&hub, &ring, seq, &["a"], 900);
        engine.on_inbox();
        engine.on_replay();
        seq += 1;
    }
    run_until_idle(&mut engine, &mut client);
    let stale = client.got.iter().filter(|s| **s >= skipped_at).count();
    assert!(
        stale < 50,
        "{stale} events of the past were sent, skipped {}",
        client.gaps
    );
}

/// Slots are held longer than the bodies of large events in the arena.
struct ArenaGone(Ring, u64);
impl EventStore for ArenaGone {
    fn fetch(&self, epoch: Epoch, seq: u64) -> Option<Event> {
        if seq == self.1 {
            None
        } else {
            self.0.fetch(epoch, seq)
        }
    }
    fn held_from(&self, seq: u64) -> u64 {
        seq
    }
    fn is_hole(&self, _: Epoch, _: u64) -> bool {
        false
    }
}

#[test]
fn a_scan_reports_a_body_that_was_overwritten() {
    let ring = Ring::default();
    let hub = hub_with(Box::new(ArenaGone(ring.clone(), FIRST + 1)), 2, 1 << 30);
    let mut engine = engine_with(&hub, SlowClients::Replay, 1000);
    for n in 0..10 {
        publish(&hub, &ring, FIRST + n, &["a"], 10);
    }
    engine.on_inbox();
    let mut client = open(&mut engine, &hub, 1, Some(FIRST - 1), false);
    run_until_idle(&mut engine, &mut client);
    assert_eq!(client.got.len(), 9);
    assert!(
        client.gaps >= 1,
        "event {} was lost without a gap",
        FIRST + 1
    );
}
