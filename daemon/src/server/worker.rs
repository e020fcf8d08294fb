//! A worker: one OS thread, one single-threaded runtime, one engine for each application. Its loop gives the
//! engines what happens: deliveries, ready sockets, replay that is due, ticks, and the drain.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use shared::segment::now_s;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::app::application::App;
use crate::engine::lingering::Lingering;
use crate::engine::{BUCKETS, Engine, Rules, lingering};
use crate::http::arrivals::{AT_ONCE, Arrival, Arrivals};
use crate::http::{Policy, World, arrivals};
use crate::process::heartbeats::Beat;
use crate::process::jitter::Jitter;
use crate::process::parts;
use crate::process::reconnect::Window;
use crate::process::state::Process;
use crate::server::acceptor::{Acceptor, Takes};
use crate::server::listeners::Listener;
use crate::server::time_share;
use crate::server::time_share::TimeShare;

/// What every worker is started with.
#[derive(Clone)]
pub struct Setup {
    pub apps: Vec<Arc<App>>,
    pub process: Arc<Process>,
    /// The settings, as of the last reload.
    pub live: watch::Receiver<Arc<Live>>,
}

/// Settings that a worker takes over while it serves.
pub struct Live {
    /// One for each application.
    pub rules: Vec<Rules>,
    pub policy: Arc<Policy>,
    pub ping: Duration,
    pub drain: Duration,
}

pub struct Worker {
    pub inbox: mpsc::UnboundedSender<Handed>,
    pub thread: JoinHandle<()>,
}

/// What the main thread passes to a worker.
pub enum Handed {
    Connection(Arrival),
    /// To be accepted from, by the only worker.
    Listener(Arc<Acceptor>, Listener),
}

/// The inboxes of all workers.
pub struct Workers(pub Vec<mpsc::UnboundedSender<Handed>>);

impl Takes for Workers {
    fn take(&self, worker: usize, arrival: Arrival) {
        // A worker that has drained takes no more.
        let _ = self.0[worker].send(Handed::Connection(arrival));
    }
}

/// The only worker, which accepts by itself.
struct Here {
    arrivals: Rc<RefCell<Arrivals>>,
    world: Rc<World>,
    live: watch::Receiver<Arc<Live>>,
}

impl Takes for Here {
    fn take(&self, _: usize, arrival: Arrival) {
        self.arrivals.borrow_mut().arrive(arrival);
    }

    /// A request that comes after a reload is judged by the new settings.
    fn is_busy(&self) -> bool {
        !Arc::ptr_eq(&self.live.borrow().policy, &self.world.policy.borrow())
    }
}

/// Starts worker number `index`. `draining`: Some once it is to drain, with the time when its clients are to
/// reconnect.
pub fn start(
    index: usize,
    beat: Beat,
    setup: Setup,
    draining: watch::Receiver<Option<Window>>,
) -> io::Result<Worker> {
    // Unbounded: the limit of connections bounds it.
    let (inbox, handed) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = parts::thread(&format!("worker-{index}"), move || {
        let local = LocalSet::new();
        local.block_on(&runtime, run(index, beat, setup, handed, draining))
    })?;
    Ok(Worker { inbox, thread })
}

async fn run(
    index: usize,
    beat: Beat,
    setup: Setup,
    mut handed: mpsc::UnboundedReceiver<Handed>,
    mut draining: watch::Receiver<Option<Window>>,
) -> io::Result<()> {
    let (stop, _) = watch::channel(false);
    let mut engines = Vec::new();
    let mut drives = JoinSet::new();
    let metrics = setup.process.metrics.clone();
    let lingering = Rc::new(RefCell::new(Lingering::new(metrics)?));
    drives.spawn_local(parts::task(
        "lingering",
        lingering::drive(lingering.clone()),
    ));
    let mut live = setup.live.clone();
    let now = live.borrow_and_update().clone();
    for (app, rules) in setup.apps.iter().zip(&now.rules) {
        let engine = Engine::new(index, app.clone(), *rules, app.hub.segments.epoch())?;
        let engine = engine.lingering_in(lingering.clone());
        let engine = Rc::new(RefCell::new(engine));
        let most = time_share::MOST / setup.apps.len().max(1) as u32;
        let work = drive(engine.clone(), app.clone(), index, most, setup.live.clone());
        drives.spawn_local(parts::task("engine", work));
        engines.push(engine);
    }
    let world = Rc::new(World {
        apps: setup.apps.iter().cloned().zip(engines.clone()).collect(),
        lingering: lingering.clone(),
        requests: setup.process.requests.clone(),
        policy: RefCell::new(now.policy.clone()),
        jitter: Jitter::new(),
    });
    let arrivals = Rc::new(RefCell::new(Arrivals::new(world.clone(), stop.clone())?));
    let work = arrivals::drive(arrivals.clone());
    drives.spawn_local(parts::task("arrivals", work));
    let mut acceptors = JoinSet::new();
    let accepts = setup.live.clone();
    let take = |new: &mut Vec<Handed>, acceptors: &mut JoinSet<String>| {
        for one in new.drain(..) {
            match one {
                Handed::Connection(arrival) => arrivals.borrow_mut().arrive(arrival),
                Handed::Listener(acceptor, listener) => {
                    let here = Here {
                        arrivals: arrivals.clone(),
                        world: world.clone(),
                        live: accepts.clone(),
                    };
                    acceptors.spawn_local(parts::task("acceptor", acceptor.run(listener, here)));
                }
            }
        }
    };
    let mut new = Vec::with_capacity(AT_ONCE);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let window = loop {
        tokio::select! {
            // A request that comes after a reload is judged by the new settings: connections are last.
            biased;
            _ = seconds.tick() => beat.beat(),
            Ok(()) = live.changed() => {
                let now = live.borrow_and_update().clone();
                world.policy.replace(now.policy.clone());
                for (engine, rules) in engines.iter().zip(&now.rules) {
                    engine.borrow_mut().reload(*rules);
                }
            }
            Ok(()) = draining.changed() => if let Some(window) = *draining.borrow() { break window },
            Some(ended) = drives.join_next() => return Err(io::Error::other(ended?)),
            Some(ended) = acceptors.join_next() => return Err(io::Error::other(ended?)),
            1.. = handed.recv_many(&mut new, AT_ONCE) => {
                take(&mut new, &mut acceptors);
                // However many come, the streams have their turn.
                yield_now().await;
            }
        }
    };

    acceptors.shutdown().await;
    // Connections that were accepted before the drain are still answered.
    while let Ok(one) = handed.try_recv() {
        if let Handed::Connection(arrival) = one {
            arrivals.borrow_mut().arrive(arrival);
        }
    }
    lingering.borrow_mut().hurry();
    for engine in &engines {
        engine.borrow_mut().drain(window);
    }
    stop.send_replace(true);
    // Connections hold a receiver of `stop`; streams that still have something to take are the engines'.
    let streams = || engines.iter().any(|engine| engine.borrow().streams() > 0);
    let awaited = || !arrivals.borrow().is_empty() || !lingering.borrow().is_empty();
    let busy = || streams() || awaited() || stop.receiver_count() > 0;
    let end = Instant::now() + live.borrow().drain;
    drain(busy, end, &mut drives).await
}

/// Waits until nothing is `busy` any more, up to `end`.
async fn drain(
    busy: impl Fn() -> bool,
    end: Instant,
    drives: &mut JoinSet<String>,
) -> io::Result<()> {
    let mut looks = interval(Duration::from_millis(20));
    while busy() {
        tokio::select! {
            () = tokio::time::sleep_until(end) => break,
            _ = looks.tick() => {}
            Some(ended) = drives.join_next() => return Err(io::Error::other(ended?)),
        }
    }
    Ok(())
}

/// Drives one engine for as long as the daemon serves. `most`: how long its replays may go on at once.
async fn drive(
    engine: Rc<RefCell<Engine>>,
    app: Arc<App>,
    worker: usize,
    most: Duration,
    mut live: watch::Receiver<Arc<Live>>,
) -> io::Result<()> {
    let queue = crate::process::async_fd::readable(engine.borrow().queue()?)?;
    let inbox = &app.hub.inboxes[worker];
    let ping = |live: &watch::Receiver<Arc<Live>>| {
        let mut pings = interval(live.borrow().ping / BUCKETS as u32);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    };
    let mut pings = ping(&live);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut paces = interval(Duration::from_millis(100));
    paces.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bucket = 0;
    // The worker's other tasks have their turn before each one of replays. What comes meanwhile is dealt with first, and does
    // not begin that anew: replays have as many turns as other tasks have, however much comes.
    let mut others = pin!(yield_now());
    let mut share = TimeShare::new(most);
    loop {
        let busy = engine.borrow().has_more();
        let paced = engine.borrow().is_paced();
        let goes_on = busy && share.is_left();
        let next = async {
            tokio::select! {
                biased;
                Ok(()) = live.changed() => pings = ping(&live),
                _ = paces.tick(), if paced => engine.borrow_mut().on_pace(),
                _ = pings.tick() => {
                    let mut engine = engine.borrow_mut();
                    engine.on_inbox();
                    engine.ping(bucket);
                    bucket = (bucket + 1) % BUCKETS;
                }
                _ = seconds.tick() => {
                    let mut engine = engine.borrow_mut();
                    // Nobody is late for whose room it was not looked.
                    engine.on_ready();
                    engine.disconnect_stalled();
                    engine.expire(now_s());
                    engine.end_unauthorized();
                    engine.trim_cache();
                }
                () = inbox.wait() => engine.borrow_mut().on_inbox(),
                ready = queue.readable() => on_ready(&engine, ready?),
                () = std::future::ready(()), if goes_on => {
                    // Sockets may have room again, which the runtime has not seen.
                    engine.borrow_mut().on_ready();
                    engine.borrow_mut().on_replay();
                }
                () = &mut others, if busy => {
                    engine.borrow_mut().on_replay();
                    others.set(yield_now());
                }
            }
            io::Result::Ok(())
        };
        share.during(busy, next).await?;
    }
}

fn on_ready(engine: &RefCell<Engine>, mut ready: tokio::io::unix::AsyncFdReadyGuard<'_, OwnedFd>) {
    if engine.borrow_mut().on_ready() {
        ready.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use protocol::format::Format;
    use protocol::socket_id::SocketId;
    use protocol::testing::{EPOCH, cursor, event};
    use shared::cursor::Epoch;
    use shared::event::Event;

    use super::*;
    use crate::config::Settings;
    use crate::engine::seam::hub;
    use crate::engine::{Opening, Resume};
    use crate::hub::channel_index::Bounds;
    use crate::hub::event_store::EventStore;
    use crate::hub::inbox::Delivery;
    use crate::process::client_key::ClientKey;
    use crate::server::setup;

    /// Larger than one turn of a replay.
    const LARGE: usize = 70_000;

    /// The same large event at each position.
    struct Same;

    impl EventStore for Same {
        fn fetch(&self, _: Epoch, _: u64) -> Option<Event> {
            event(&["a"], None, None, None, &"x".repeat(LARGE))
        }

        fn is_hole(&self, _: Epoch, _: u64) -> bool {
            false
        }

        fn held_from(&self, seq: u64) -> u64 {
            seq
        }
    }

    #[test]
    fn a_replay_has_a_turn_whenever_other_tasks_have_had_theirs_however_much_comes() {
        const EVENTS: usize = 100;
        let index = Bounds {
            entries: 1000,
            channels: 10,
            marks: 1000,
        };
        let hub = hub(Box::new(Same), 1000, index, 1 << 30);
        let first = hub.watermarks.started();
        for seq in first..first + EVENTS as u64 {
            hub.index.push(seq, ["a"].into_iter(), None, 0);
        }
        hub.watermarks.start(first + EVENTS as u64);
        hub.watermarks.complete(first + EVENTS as u64);
        let app = crate::testing::app(hub.clone());
        let settings = Settings::default();
        let live = setup::live(&settings);
        let mut engine = Engine::new(0, app.clone(), live.rules[0], EPOCH).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        engine.open(Opening {
            fd: ours.into(),
            client: ClientKey::NONE,
            head: Vec::new(),
            channels: vec!["a".into()],
            format: Format::Raw,
            resume: Some(Resume::Cursor(cursor(first - 1))),
            accesses: vec![],
            socket: SocketId::random().unwrap(),
            topics: None,
            websocket: None,
        });
        let (_keep, live) = watch::channel(Arc::new(live));
        let engine = Rc::new(RefCell::new(engine));
        let mut received = vec![0; 1 << 20];
        // Something comes whenever the others have their time.
        let others = async {
            let (mut rounds, mut bytes) = (0, 0);
            while bytes < EVENTS * LARGE {
                rounds += 1;
                bytes += theirs.read(&mut received).unwrap_or(0);
                hub.inboxes[0].push(Delivery::Settled("b".into()));
                yield_now().await;
            }
            rounds
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let rounds = LocalSet::new().block_on(&runtime, async {
            let drives = tokio::task::spawn_local(drive(engine, app, 0, Duration::ZERO, live));
            let rounds = others.await;
            drives.abort();
            rounds
        });
        assert!(
            rounds <= EVENTS + EVENTS / 2,
            "{rounds} rounds for {EVENTS} events"
        );
    }
}
