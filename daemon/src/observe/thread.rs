//! The thread that answers operators, so that what they ask for is in nobody's way. It is only there if a listener for them
//! is.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;

use crate::observe::dashboard::asked::Places;
use crate::observe::dashboard::door::Door;
use crate::observe::dashboard::operator_secrets::OperatorSecrets;
use crate::observe::dashboard::page::Dashboard;
use crate::observe::dashboard::watching::Watching;
use crate::observe::metrics_page::MetricsPage;
use crate::observe::observed::Observed;
use crate::observe::serving;
use crate::observe::serving::Socket;
use crate::process::heartbeats::Beat;
use crate::process::parts;

/// The listeners that are asked for.
#[derive(Default)]
pub struct Sockets {
    pub metrics: Vec<Socket>,
    pub dashboard: Vec<Socket>,
    /// What the dashboard asks for. None: for nothing.
    pub secrets: Option<Arc<OperatorSecrets>>,
}

/// Starts the thread, for as long as the process lives.
///
/// # Errors
/// If it cannot be started.
pub fn start(observed: Observed, sockets: Sockets) -> io::Result<()> {
    if sockets.metrics.is_empty() && sockets.dashboard.is_empty() {
        return Ok(());
    }
    let beat = observed
        .process
        .heartbeats
        .of("the thread for operators".into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    parts::thread("operators", move || {
        LocalSet::new().block_on(&runtime, run(observed, sockets, beat))
    })?;
    Ok(())
}

async fn run(observed: Observed, sockets: Sockets, beat: Beat) -> io::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    let places = serving::places();
    for socket in sockets.metrics {
        let page = Rc::new(MetricsPage(observed.clone()));
        let run = serving::run(socket, places.clone(), page);
        tasks.spawn_local(parts::task("metrics", run));
    }
    if !sockets.dashboard.is_empty() {
        let door = Rc::new(Door::new(observed.clone(), sockets.secrets)?);
        let watching = Watching::new(observed.clone());
        let run = watching.clone().run();
        tasks.spawn_local(parts::task("dashboard", async { match run.await {} }));
        let dashboard = Rc::new(Dashboard {
            observed,
            watching,
            door,
            places: Places::default(),
        });
        let places = serving::places();
        for socket in sockets.dashboard {
            let run = serving::run(socket, places.clone(), dashboard.clone());
            tasks.spawn_local(parts::task("dashboard", run));
        }
    }
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = seconds.tick() => beat.beat(),
            Some(ended) = tasks.join_next() => return Err(io::Error::other(ended?)),
        }
    }
}
