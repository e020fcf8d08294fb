//! `askrd serve`: the daemon's life. The ring first, then its history, then the threads, then the
//! doors; at the end the doors first.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use protocol::rate_limit::Bound;
use protocol::{plain, pusher};
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::app::application::App;
use crate::config::{MAX_WORKERS, Mode, Settings};
use crate::engine::transmit::Transmit;
use crate::engine::{Rules, outbox};
use crate::http::Policy;
use crate::hub::tailer::Tailer;
use crate::process::client_key::ClientKey;
use crate::process::signals::Stops;
use crate::process::state::Process;
use crate::process::{admission, parts, trim};
use crate::server::acceptor::Acceptor;
use crate::server::ceiling::Ceiling;
use crate::server::control::Control;
use crate::server::listeners::{Access, Listener};
use crate::server::preflight::Prepared;
use crate::server::worker::{Setup, Worker};
use crate::server::{applications, control, listeners, worker};

/// What is waiting for applications' webhooks at the end has so long.
const WEBHOOKS: Duration = Duration::from_secs(1);
/// How often crowds are looked for that are to be told their number.
const COUNTS: Duration = Duration::from_secs(1);
/// Clients that come back within one millisecond after a shutdown, more or less.
const RETURNS_PER_MS: usize = 5;

/// Serves until a signal.
///
/// # Errors
/// A sentence, if it cannot start.
pub fn serve(
    settings: &Settings,
    prepared: Vec<Prepared>,
    mut stops: Stops,
) -> Result<ExitCode, String> {
    if !settings.broadcast.enabled {
        tracing::info!("broadcast.enabled is false: nothing to serve");
        // Or the service manager would take the end for a failure.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        return Ok(ExitCode::SUCCESS);
    }
    let inherited = listeners::inherited()?;
    let workers = match settings.server.workers {
        0 => thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS)),
        n => n,
    };
    let connections = admission::descriptors(settings.server.max_connections, workers)?;
    let transmit = Transmit::new(settings.server.io).map_err(|why| format!("server.io: {why}"))?;
    tracing::info!("up to {connections} connections; events are written by {transmit}");
    let memory = Ceiling::new(settings).total() >> 20;
    tracing::info!("up to {memory} MiB of memory of its own; askrd check says for what");
    drop(transmit);

    let process = Arc::new(applications::process(settings, connections, workers));
    let opened = applications::open(settings, prepared, &process, workers, &stops)?;
    if stops.asked() {
        tracing::info!("stopped before it was ready");
        return Ok(ExitCode::SUCCESS);
    }
    let (apps, tailers): (Vec<Arc<App>>, Vec<Tailer>) = opened.into_iter().unzip();
    let (leave, leaving) = watch::channel(None);
    let setup = setup(settings, &process, &apps);
    let workers = (0..workers)
        .map(|n| {
            let beat = process.heartbeats.of(format!("worker {n}"));
            worker::start(n, beat, setup.clone(), leaving.clone())
        })
        .collect::<Result<Vec<Worker>, _>>()
        .map_err(|why| format!("cannot start a worker: {why}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let tails = tailers
        .into_iter()
        .zip(&apps)
        .map(|(tailer, app)| {
            let beat = process
                .heartbeats
                .of(format!("the thread that reads the ring {}", app.ring));
            tailer.start(stop.clone(), beat)
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| why.to_string())?;

    let doors = Listeners {
        apps: &apps,
        process: &process,
        workers: &workers,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("cannot start: {why}"))?;
    let local = LocalSet::new();
    local.block_on(&runtime, doors.open_until(&mut stops, settings, inherited))?;

    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    process.heartbeats.set_ready(false);
    let connections = process.limits.connections();
    tracing::info!("stopping: taking leave of {connections} connections");
    let spread = settings
        .server
        .retry
        .max((connections / RETURNS_PER_MS) as u32);
    let _ = leave.send(Some(spread));
    let limit = settings.server.drain() + Duration::from_millis(500);
    runtime.block_on(finish(workers, &mut stops, limit));
    stop.store(true, Relaxed);
    for app in &apps {
        if let Some(webhooks) = &app.hub.webhooks {
            webhooks.finish(WEBHOOKS);
        }
    }
    // Drops the keepers, whose heartbeat tells publishers that nobody reads.
    for tail in tails {
        let _ = tail.join();
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn setup(settings: &Settings, process: &Arc<Process>, apps: &[Arc<App>]) -> Setup {
    let server = &settings.server;
    let named = settings.applications();
    let rules = named.iter().map(|(app, ..)| Rules {
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
        max_channels: app.max_channels,
        channels_per_stream: server.channels_per_stream,
        pusher: pusher::session::Limits {
            channels: server.channels_per_socket,
            client_events: app.client_events,
            client_event_rate: Bound::per_second(app.client_event_rate),
            client_event_bytes: app.client_event_bytes.0 as usize,
            silence: server.silence(),
            ..pusher::session::Limits::default()
        },
        plain: plain::Limits {
            channels: server.channels_per_socket,
            silence: server.silence(),
            ..plain::Limits::default()
        },
        // A client event, its envelope, and as much again for what JSON escapes; at least a subscription.
        message_bytes: (2 * app.client_event_bytes.0 as usize + 2048).max(16 << 10),
    });
    Setup {
        apps: apps.to_vec(),
        rules: rules.collect(),
        policy: Policy::new(server, named.iter().map(|(app, ..)| app)),
        process: process.clone(),
        retry: server.retry,
        header_timeout: server.header_timeout(),
        write_timeout: server.write_timeout(),
        ping: server.ping(),
        drain: server.drain(),
    }
}

/// What the main thread has while it serves.
struct Listeners<'a> {
    apps: &'a [Arc<App>],
    process: &'a Arc<Process>,
    workers: &'a [Worker],
}

impl Listeners<'_> {
    /// Listens, says so, and comes back at the first request to stop, all doors closed.
    async fn open_until(
        self,
        stops: &mut Stops,
        settings: &Settings,
        inherited: Vec<Listener>,
    ) -> Result<(), String> {
        let server = &settings.server;
        let access = Access::new(server.socket_mode, &server.socket_group)
            .map_err(|why| format!("server.socket_group: {why}"))?;
        let control = self.open_control(settings)?;
        let listeners = listeners::open(&server.listen, access, inherited, server.write_timeout())?;

        let acceptor = Arc::new(Acceptor {
            process: self.process.clone(),
            workers: self
                .workers
                .iter()
                .map(|worker| worker.sockets.clone())
                .collect(),
            trusted: server.trusted_proxies.clone(),
        });
        let mut doors = tokio::task::JoinSet::new();
        for listener in listeners {
            tracing::info!("listening on {}", listeners::name(&listener));
            doors.spawn_local(parts::task("acceptor", acceptor.clone().run(listener)));
        }
        if let Some(Listener::Unix { listener, .. }) = &control {
            let listener = listener.try_clone().map_err(|why| why.to_string())?;
            let world = Control {
                apps: self.apps.to_vec(),
                process: self.process.clone(),
            };
            doors.spawn_local(parts::task("control", control::run(world, listener)));
        }
        let (requests, memory) = (self.process.requests.clone(), self.process.memory.clone());
        doors.spawn_local(async move { match trim::run(requests, memory).await {} });
        for app in self.apps {
            let app = app.clone();
            let run = async move { match app.roster.run(&app.hub).await {} };
            doors.spawn_local(parts::task("presence", run));
        }
        for app in self.apps.iter().cloned() {
            let run = async move {
                loop {
                    tokio::time::sleep(COUNTS).await;
                    app.hub
                        .tell_counts(ClientKey::NONE, app.hub.subscriber_counts.due());
                }
            };
            doors.spawn_local(parts::task("counts", run));
        }
        self.process.heartbeats.set_ready(true);
        tracing::info!("ready");
        let _ = sd_notify::notify(&[NotifyState::Ready]);

        let mut watchdog = tokio::time::interval(watchdog_period());
        loop {
            tokio::select! {
                () = stops.next() => break,
                _ = watchdog.tick() => match self.process.heartbeats.hanging() {
                    None => drop(sd_notify::notify(&[NotifyState::Watchdog])),
                    Some(why) => tracing::error!("{why}"),
                },
                Some(ended) = doors.join_next() => {
                    // A panic has ended the process before.
                    parts::died(&ended.unwrap_or_else(|why| why.to_string()));
                }
            }
        }
        doors.shutdown().await;
        Ok(())
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
        match listeners::unix(&path, access) {
            Ok(listener) => {
                tracing::info!("control socket on {}", listeners::name(&listener));
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

/// Waits for the workers, up to the limit or a second request to stop.
async fn finish(workers: Vec<Worker>, stops: &mut Stops, limit: Duration) {
    let end = Instant::now() + limit;
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let running = |workers: &[Worker]| workers.iter().any(|worker| !worker.thread.is_finished());
    while running(&workers) && Instant::now() < end {
        tokio::select! {
            _ = looks.tick() => {}
            () = stops.next() => {
                tracing::warn!("stopping at once");
                return;
            }
        }
    }
}
