//! The thread that answers operators, so that what they ask for is in nobody's way. It is only there if a listener for them
//! is.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use shared::secret::Secret;
use tokio::task::LocalSet;

use crate::observe::dashboard::asked::Places;
use crate::observe::dashboard::login::Login;
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
    /// What the dashboard asks for; empty: for nothing.
    pub secrets: Vec<Secret>,
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
    for socket in sockets.metrics {
        let page = Rc::new(MetricsPage(observed.clone()));
        tasks.spawn_local(parts::task("metrics", serving::run(socket, page)));
    }
    if !sockets.dashboard.is_empty() {
        let login = match sockets.secrets.is_empty() {
            true => None,
            false => Some(RefCell::new(Login::new(sockets.secrets)?)),
        };
        let watching = Watching::new(observed.clone());
        let run = watching.clone().run();
        tasks.spawn_local(parts::task("dashboard", async { match run.await {} }));
        let dashboard = Rc::new(Dashboard {
            observed,
            watching,
            login,
            places: Places::default(),
        });
        for socket in sockets.dashboard {
            let page = dashboard.clone();
            tasks.spawn_local(parts::task("dashboard", serving::run(socket, page)));
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
