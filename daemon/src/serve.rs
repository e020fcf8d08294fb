//! `askrd serve`: the daemon's life. The ring first, then its history, then the threads, then the
//! doors; at the end the doors first.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use shared::cursor::Epoch;
use shared::keeper::Keeper;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::acceptor::Acceptor;
use crate::archive::Segments;
use crate::auth::tokens::Tokens;
use crate::bus::{Budget, Bus};
use crate::census::Census;
use crate::control::{self, Control};
use crate::engine::Rules;
use crate::handoff::{Clock, Handoff};
use crate::health::Beats;
use crate::histogram::Histogram;
use crate::history::{self, History};
use crate::http::Policy;
use crate::limits::{self, Limits};
use crate::listen::{self, Access, Listener};
use crate::metrics::Metrics;
use crate::outbox;
use crate::routes::{MAX_WORKERS, Routes};
use crate::settings::{Mode, Settings};
use crate::tailer::Tailer;
use crate::transmit::Transmit;
use crate::worker::{self, Setup, Worker};

/// Clients that come back within one millisecond after a shutdown, more or less.
const RETURNS_PER_MS: usize = 5;

/// Serves until a signal.
///
/// # Errors
/// A sentence, if it cannot start.
pub fn serve(settings: &Settings) -> Result<ExitCode, String> {
    if !settings.broadcast.enabled {
        tracing::info!("broadcast.enabled is false: nothing to serve");
        // Or the service manager would take the end for a failure.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        return Ok(ExitCode::SUCCESS);
    }
    let inherited = listen::inherited()?;
    let workers = match settings.server.workers {
        0 => thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS)),
        n => n,
    };
    let connections = limits::descriptors(settings.server.max_connections, workers)?;
    let keeper = Keeper::start(settings.ring.spec()).map_err(|why| why.to_string())?;
    let epoch = keeper.current().epoch();
    tracing::info!(
        "ring {} (epoch {epoch}), up to {connections} connections",
        settings.ring.name
    );

    let transmit = Transmit::new(settings.server.io).map_err(|why| format!("server.io: {why}"))?;
    tracing::info!("events are written by {transmit}");
    drop(transmit);

    let segments = Segments::default();
    let bus = Arc::new(bus(
        settings,
        &keeper,
        segments.clone(),
        connections,
        workers,
    ));
    let mut tailer = Tailer::new(keeper, bus.clone(), segments.clone());
    tailer.read_history();
    tracing::info!(
        "history: {} positions, {:.0} s",
        bus.history.entries(),
        segments.history_seconds()
    );

    let beats = Arc::new(Beats::new(workers));
    let (leave, leaving) = watch::channel(None);
    let tokens = Tokens::new(&settings.auth).map_err(|(key, why)| format!("auth.{key}: {why}"))?;
    let setup = setup(settings, tokens, epoch);
    let workers = (0..workers)
        .map(|n| {
            worker::start(
                n,
                bus.clone(),
                beats.clone(),
                setup.clone(),
                leaving.clone(),
            )
        })
        .collect::<Result<Vec<Worker>, _>>()
        .map_err(|why| format!("cannot start a worker: {why}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let tail = tailer
        .start(stop.clone(), beats.clone())
        .map_err(|why| why.to_string())?;

    let doors = Doors {
        bus: bus.clone(),
        beats: beats.clone(),
        segments,
        workers: &workers,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("cannot start: {why}"))?;
    let local = LocalSet::new();
    let mut signals = local.block_on(&runtime, doors.open_until_signal(settings, inherited))?;

    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    beats.set_ready(false);
    let connections = bus.limits.connections();
    tracing::info!("stopping: taking leave of {connections} connections");
    let spread = settings
        .server
        .retry
        .max((connections / RETURNS_PER_MS) as u32);
    let _ = leave.send(Some(spread));
    let limit = settings.server.drain() + Duration::from_millis(500);
    runtime.block_on(finish(workers, &mut signals, limit));
    stop.store(true, Relaxed);
    // Drops the keeper, whose heartbeat tells publishers that nobody reads.
    let _ = tail.join();
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn bus(
    settings: &Settings,
    keeper: &Keeper,
    segments: Segments,
    connections: usize,
    workers: usize,
) -> Bus {
    let Settings {
        ring,
        server,
        broadcast,
        auth: _,
    } = settings;
    let first = keeper.position();
    let entries = match broadcast.index_entries {
        0 => 4 * ring.slots as usize,
        n => n,
    };
    let bounds = history::Bounds {
        entries,
        channels: broadcast.index_channels,
    };
    Bus {
        history: History::new(bounds, first),
        routes: Routes::new(),
        clock: Clock::new(first),
        inboxes: (0..workers)
            .map(|_| Handoff::new(broadcast.queue))
            .collect(),
        archive: Box::new(segments),
        limits: Limits::new(server, connections, workers),
        census: Census::new(server.subscribers_per_channel),
        metrics: Metrics::default(),
        latency: Histogram::default(),
        turns: Histogram::default(),
        outboxes: Arc::new(Budget::new(server.outbox_total.0)),
    }
}

fn setup(settings: &Settings, tokens: Option<Tokens>, epoch: Epoch) -> Setup {
    let server = &settings.server;
    Setup {
        rules: Rules {
            io: server.io,
            slow_clients: server.slow_clients,
            outbox: outbox::Bounds {
                frames: server.outbox_frames,
                bytes: server.outbox_bytes.0 as usize,
            },
            retry: server.retry,
            max_age: server.stream_max_age,
            max_idle: server.stream_max_idle,
            expiry_notice: settings.auth.expiry_notice,
            write_timeout: server.write_timeout(),
            max_channels: server.max_channels,
        },
        policy: Policy::new(server, tokens),
        header_timeout: server.header_timeout(),
        ping: server.ping(),
        drain: server.drain(),
        epoch,
    }
}

/// What the main thread has while it serves.
struct Doors<'a> {
    bus: Arc<Bus>,
    beats: Arc<Beats>,
    segments: Segments,
    workers: &'a [Worker],
}

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

impl Doors<'_> {
    /// Listens, says so, and comes back at the first signal, all doors closed.
    async fn open_until_signal(
        self,
        settings: &Settings,
        inherited: Vec<Listener>,
    ) -> Result<Signals, String> {
        // Before anybody can know the process is there.
        let signals = || {
            Ok(Signals {
                term: signal(SignalKind::terminate())?,
                int: signal(SignalKind::interrupt())?,
            })
        };
        let mut signals = signals().map_err(|why: std::io::Error| why.to_string())?;
        let server = &settings.server;
        let access = Access::new(server.socket_mode, &server.socket_group)
            .map_err(|why| format!("server.socket_group: {why}"))?;
        let control = self.open_control(settings)?;
        let listeners = listen::open(&server.listen, access, inherited)?;

        let acceptor = Arc::new(Acceptor {
            bus: self.bus.clone(),
            workers: self
                .workers
                .iter()
                .map(|worker| worker.sockets.clone())
                .collect(),
            trusted: server.trusted_proxies.clone(),
        });
        let mut doors = tokio::task::JoinSet::new();
        for listener in listeners {
            tracing::info!("listening on {}", listen::name(&listener));
            doors.spawn_local(acceptor.clone().run(listener));
        }
        if let Some(Listener::Unix { listener, .. }) = &control {
            let listener = listener.try_clone().map_err(|why| why.to_string())?;
            let world = Control {
                bus: self.bus.clone(),
                beats: self.beats.clone(),
                segments: self.segments.clone(),
            };
            doors.spawn_local(control::run(world, listener));
        }
        // No beat yet is no hanging thread; from now on it is.
        self.beats.set_ready(true);
        tracing::info!("ready");
        let _ = sd_notify::notify(&[NotifyState::Ready]);

        let mut watchdog = tokio::time::interval(watchdog_period());
        loop {
            tokio::select! {
                () = signals.next() => break,
                _ = watchdog.tick() => match self.beats.hanging() {
                    None => drop(sd_notify::notify(&[NotifyState::Watchdog])),
                    Some(why) => tracing::error!("{why}"),
                },
                Some(door) = doors.join_next() => {
                    return Err(format!("cannot go on listening: {door:?}"));
                }
            }
        }
        doors.shutdown().await;
        Ok(signals)
    }

    /// The control socket, if one is wanted. The default place may belong to another askrd; one that
    /// was asked for must work.
    fn open_control(&self, settings: &Settings) -> Result<Option<Listener>, String> {
        let Some(path) = settings.server.control_path() else {
            return Ok(None);
        };
        let access = Access {
            mode: Mode(0o660),
            group: None,
        };
        match listen::unix(&path, access) {
            Ok(listener) => {
                tracing::info!("control socket on {}", listen::name(&listener));
                Ok(Some(listener))
            }
            Err(why) if settings.server.control.is_empty() => {
                tracing::warn!("no control socket: {}: {why}", path.display());
                Ok(None)
            }
            Err(why) => Err(format!(
                "server.control: cannot listen on {}: {why}",
                path.display()
            )),
        }
    }
}

/// Twice within the time systemd allows.
fn watchdog_period() -> Duration {
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(5), |limit| limit / 2)
}

/// Waits for the workers, up to the limit or a second signal.
async fn finish(workers: Vec<Worker>, signals: &mut Signals, limit: Duration) {
    let end = Instant::now() + limit;
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let running = |workers: &[Worker]| workers.iter().any(|worker| !worker.thread.is_finished());
    while running(&workers) && Instant::now() < end {
        tokio::select! {
            _ = looks.tick() => {}
            () = signals.next() => {
                tracing::warn!("stopping at once");
                return;
            }
        }
    }
}
