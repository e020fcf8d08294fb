//! A worker: one OS thread, one single-threaded runtime, one engine for each application. Its loop gives the
//! engines what happens: deliveries, ready sockets, replay that is due, ticks, and the drain.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use shared::segment::now_s;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::app::application::App;
use crate::engine::lingering::Lingering;
use crate::engine::{BUCKETS, Engine, Rules, lingering};
use crate::http::connection::serve;
use crate::http::{Policy, World};
use crate::process::admission::Admission;
use crate::process::heartbeats::Beat;
use crate::process::jitter::Jitter;
use crate::process::parts;
use crate::process::reconnect::Window;
use crate::process::state::Process;

/// An accepted connection on its way to its worker. Non-blocking.
pub struct Accepted {
    pub socket: Peer,
    /// The viewer's. None: the peer is a proxy, which names it.
    pub address: Option<IpAddr>,
    pub admission: Admission,
}

pub enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Settings of every worker.
#[derive(Clone)]
pub struct Setup {
    pub apps: Vec<Arc<App>>,
    /// One for each application.
    pub rules: Vec<Rules>,
    pub policy: Policy,
    pub process: Arc<Process>,
    /// Milliseconds.
    pub retry: u32,
    pub header_timeout: Duration,
    pub write_timeout: Duration,
    pub ping: Duration,
    pub drain: Duration,
}

pub struct Worker {
    pub sockets: mpsc::UnboundedSender<Accepted>,
    pub thread: JoinHandle<()>,
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
    let (sockets, inbox) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = parts::thread(&format!("worker-{index}"), move || {
        let local = LocalSet::new();
        local.block_on(&runtime, run(index, beat, setup, inbox, draining))
    })?;
    Ok(Worker { sockets, thread })
}

async fn run(
    index: usize,
    beat: Beat,
    setup: Setup,
    mut sockets: mpsc::UnboundedReceiver<Accepted>,
    mut draining: watch::Receiver<Option<Window>>,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let mut engines = Vec::new();
    let mut drives = JoinSet::new();
    let metrics = setup.process.metrics.clone();
    let lingering = Rc::new(RefCell::new(Lingering::new(metrics)?));
    drives.spawn_local(parts::task(
        "lingering",
        lingering::drive(lingering.clone()),
    ));
    for (app, rules) in setup.apps.iter().zip(&setup.rules) {
        let engine = Engine::new(index, app.clone(), *rules, app.hub.segments.epoch())?;
        let engine = engine.lingering_in(lingering.clone());
        let engine = Rc::new(RefCell::new(engine));
        let work = drive(engine.clone(), app.clone(), index, setup.ping);
        drives.spawn_local(parts::task("engine", work));
        engines.push(engine);
    }
    let world = Rc::new(World {
        apps: setup.apps.iter().cloned().zip(engines.clone()).collect(),
        lingering: lingering.clone(),
        requests: setup.process.requests.clone(),
        policy: setup.policy.clone(),
        header_timeout: setup.header_timeout,
        write_timeout: setup.write_timeout,
        retry: setup.retry,
        jitter: Jitter::new(),
    });
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let window = loop {
        tokio::select! {
            Some(accepted) = sockets.recv() => accept(accepted, &world, &stopped),
            _ = seconds.tick() => beat.beat(),
            Ok(()) = draining.changed() => if let Some(window) = *draining.borrow() { break window },
            Some(ended) = drives.join_next() => return Err(io::Error::other(ended?)),
        }
    };

    // Connections that were accepted before the drain are still answered.
    while let Ok(accepted) = sockets.try_recv() {
        accept(accepted, &world, &stopped);
    }
    drop(stopped);
    lingering.borrow_mut().hurry();
    for engine in &engines {
        engine.borrow_mut().drain(window);
    }
    let _ = stop.send(true);
    // Connections hold a receiver of `stop`; streams that still have something to take are the engines'.
    let streams = || engines.iter().any(|engine| engine.borrow().streams() > 0);
    let busy = || streams() || !lingering.borrow().is_empty() || stop.receiver_count() > 0;
    drain(busy, Instant::now() + setup.drain, &mut drives).await
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

/// Drives one engine for as long as the daemon serves.
async fn drive(
    engine: Rc<RefCell<Engine>>,
    app: Arc<App>,
    worker: usize,
    ping: Duration,
) -> io::Result<()> {
    let queue = crate::process::async_fd::readable(engine.borrow().queue()?)?;
    let inbox = &app.hub.inboxes[worker];
    let mut pings = interval(ping / BUCKETS as u32);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut paces = interval(Duration::from_millis(100));
    paces.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bucket = 0;
    loop {
        let busy = engine.borrow().has_more();
        let paced = engine.borrow().is_paced();
        tokio::select! {
            () = inbox.wait() => engine.borrow_mut().on_inbox(),
            ready = queue.readable() => on_ready(&engine, ready?),
            () = tokio::task::yield_now(), if busy => engine.borrow_mut().on_replay(),
            _ = paces.tick(), if paced => engine.borrow_mut().on_pace(),
            _ = pings.tick() => {
                let mut engine = engine.borrow_mut();
                engine.on_inbox();
                engine.ping(bucket);
                bucket = (bucket + 1) % BUCKETS;
            }
            _ = seconds.tick() => {
                let mut engine = engine.borrow_mut();
                engine.disconnect_stalled();
                engine.expire(now_s());
                engine.end_unauthorized();
                engine.trim_cache();
            }
        }
    }
}

fn on_ready(engine: &RefCell<Engine>, mut ready: tokio::io::unix::AsyncFdReadyGuard<'_, OwnedFd>) {
    if engine.borrow_mut().on_ready() {
        ready.clear_ready();
    }
}

fn accept(accepted: Accepted, world: &Rc<World>, stopped: &watch::Receiver<bool>) {
    let Accepted {
        socket,
        address,
        admission,
    } = accepted;
    let (world, stopped) = (world.clone(), stopped.clone());
    // A socket that cannot be registered is out of descriptors or memory: it is dropped.
    match socket {
        Peer::Tcp(socket) => {
            if let Ok(socket) = tokio::net::TcpStream::from_std(socket) {
                tokio::task::spawn_local(serve(socket, address, admission, world, stopped));
            }
        }
        Peer::Unix(socket) => {
            if let Ok(socket) = tokio::net::UnixStream::from_std(socket) {
                tokio::task::spawn_local(serve(socket, address, admission, world, stopped));
            }
        }
    }
}
