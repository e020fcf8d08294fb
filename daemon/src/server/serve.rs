//! `askrd serve`: the daemon's life. It opens the rings, reads their history, starts its threads, and listens;
//! at the end it stops listening first.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::app::application::App;
use crate::cluster;
use crate::cluster::{Cluster, Joining};
use crate::config::{Flags, MAX_WORKERS, Settings};
use crate::engine::transmit::Transmit;
use crate::hub::tailer::LentTailer;
use crate::outbound::redis::connection::Options;
use crate::process::admission;
use crate::process::current::Current;
use crate::process::reconnect::Window;
use crate::process::signals::{Reloads, Stops};
use crate::process::state::Process;
use crate::server::cannot_start::CannotStart;
use crate::server::ceiling::Ceiling;
use crate::server::main_thread::MainThread;
use crate::server::preflight::Preparation;
use crate::server::setup;
use crate::server::worker::{Live, Setup, Worker};
use crate::server::{applications, listeners, open_to, service_manager, worker};

/// How long a shutdown waits for webhooks to be delivered.
const WEBHOOKS: Duration = Duration::from_secs(1);

/// Serves until a signal. `flags`: by which the settings were loaded, and are again at a reload.
///
/// # Errors
/// A sentence, if it cannot start.
pub fn serve(
    flags: &Flags,
    settings: &Settings,
    prepared: Preparation,
    (mut stops, reloads): (Stops, Reloads),
) -> Result<ExitCode, CannotStart> {
    if !settings.broadcast.enabled {
        tracing::info!("broadcast.enabled is false: nothing to serve");
        // Or the service manager would take the end for a failure.
        service_manager::ready();
        return Ok(ExitCode::SUCCESS);
    }
    let inherited = listeners::inherited()?;
    let workers = match settings.server.workers {
        0 => thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS)),
        n => n,
    };
    let connections = admission::descriptors(settings.server.max_connections, workers)?;
    log_limits(settings, connections)?;
    for line in open_to::lines(settings, &prepared.apps) {
        tracing::info!("{line}");
    }

    let process = Arc::new(applications::process(settings, connections, workers));
    let opened = applications::open(settings, prepared.apps, &process, workers, &stops)?;
    if stops.asked() {
        opened.iter().for_each(|one| one.app.roster.leave_note());
        tracing::info!("stopped before it was ready");
        return Ok(ExitCode::SUCCESS);
    }
    let (mut apps, mut tailers, mut joining) = (Vec::new(), Vec::new(), Vec::new());
    for one in opened {
        apps.push(one.app);
        tailers.push(one.tailer);
        joining.extend(one.joining);
    }
    let live = Arc::new(watch::Sender::new(Arc::new(setup::live(settings))));
    let threads = Threads::start(&live, &process, &apps, tailers, workers)?;
    let mut cluster = match prepared.store {
        Some(store) => join(settings, &process, store, joining)?,
        None => Cluster::none(),
    };

    let in_force = Arc::new(Current::new(settings.clone()));
    let main_thread = MainThread {
        apps: &apps,
        process: &process,
        workers: &threads.workers,
        in_force: in_force.clone(),
        live,
        flags: flags.clone(),
        nodes: &cluster.seen.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("cannot start: {why}"))?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        tokio::select! {
            () = cluster.caught_up(settings.cluster.catch_up()) => {}
            () = stops.next() => return Ok(()),
        }
        main_thread.run(&mut stops, reloads, inherited).await
    })?;

    service_manager::stopping();
    process.heartbeats.set_ready(false);
    threads.stop(&in_force.get(), &process, &apps, &runtime, &mut stops);
    // A reload may be reading a file that never comes: nobody waits for it.
    runtime.shutdown_background();
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Joins the other hosts.
fn join(
    settings: &Settings,
    process: &Process,
    store: Options,
    joining: Vec<Joining>,
) -> Result<Cluster, String> {
    let own = &settings.cluster;
    let node = match own.node.as_str() {
        "" => nix::unistd::gethostname().map_or(String::new(), |name| {
            let name = name.to_string_lossy();
            name.chars().filter(|c| !c.is_control()).collect()
        }),
        name => name.to_owned(),
    };
    let settings = cluster::Settings {
        redis: Arc::new(store),
        node,
        stream_length: own.stream_length,
        lease: own.lease(),
        grace: own.grace(),
        catch_up: own.catch_up(),
        held_back: own.held_back.0 as usize,
        slots: settings.ring.slots,
    };
    let beat = process
        .heartbeats
        .of("the thread that carries events between hosts".into());
    cluster::start(settings, joining, beat).map_err(|why| why.to_string())
}

fn log_limits(settings: &Settings, connections: usize) -> Result<(), String> {
    let transmit = Transmit::new(settings.server.io).map_err(|why| format!("server.io: {why}"))?;
    tracing::info!("up to {connections} connections; events are written by {transmit}");
    let memory = Ceiling::new(settings).total() >> 20;
    tracing::info!("up to {memory} MiB of memory of its own; askrd check says for what");
    Ok(())
}

/// The threads that serve, and what ends them.
struct Threads {
    workers: Vec<Worker>,
    /// When clients are to reconnect, once workers are to drain.
    drain: watch::Sender<Option<Window>>,
    tailers: Vec<JoinHandle<()>>,
    stop_tailers: Arc<AtomicBool>,
}

impl Threads {
    fn start(
        live: &watch::Sender<Arc<Live>>,
        process: &Arc<Process>,
        apps: &[Arc<App>],
        tailers: Vec<LentTailer>,
        workers: usize,
    ) -> Result<Self, String> {
        let (drain, draining) = watch::channel(None);
        let setup = Setup {
            apps: apps.to_vec(),
            process: process.clone(),
            live: live.subscribe(),
        };
        let workers = (0..workers)
            .map(|n| {
                let beat = process.heartbeats.of(format!("worker {n}"));
                worker::start(n, beat, setup.clone(), draining.clone())
            })
            .collect::<Result<Vec<Worker>, _>>()
            .map_err(|why| format!("cannot start a worker: {why}"))?;
        let stop_tailers = Arc::new(AtomicBool::new(false));
        let tailers = tailers
            .into_iter()
            .zip(apps)
            .map(|(tailer, app)| {
                let name = format!("the thread that reads the ring {}", app.ring);
                tailer.start(stop_tailers.clone(), process.heartbeats.of(name))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| why.to_string())?;
        Ok(Self {
            workers,
            drain,
            tailers,
            stop_tailers,
        })
    }

    /// Drains the workers, then ends webhooks and tailers.
    fn stop(
        self,
        settings: &Settings,
        process: &Process,
        apps: &[Arc<App>],
        runtime: &Runtime,
        stops: &mut Stops,
    ) {
        let connections = process.limits.connections();
        tracing::info!("stopping: taking leave of {connections} connections");
        let window = Window::new(connections, settings.server.reconnect_rate);
        let _ = self.drain.send(Some(window));
        let limit = settings.server.drain() + Duration::from_millis(500);
        runtime.block_on(finish(self.workers, stops, limit));
        self.stop_tailers.store(true, Relaxed);
        apps.iter().for_each(|app| app.roster.leave_note());
        for webhooks in apps.iter().filter_map(|app| app.hub.webhooks.as_ref()) {
            webhooks.finish(WEBHOOKS);
        }
        // Drops the keepers, whose heartbeat tells publishers whether anybody reads.
        for tailer in self.tailers {
            let _ = tailer.join();
        }
    }
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
