//! What the main thread does while the daemon serves: it accepts connections for several workers, answers on the control socket, runs
//! what happens now and then for each application, and watches the other threads.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use shared::failure_report;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::app::application::App;
use crate::cluster::facts;
use crate::cluster::seen::Seen;
use crate::config::{Flags, Mode, Settings};
use crate::observe::dashboard::operator_secrets::OperatorSecrets;
use crate::observe::observed::Observed;
use crate::observe::serving::Socket;
use crate::observe::thread;
use crate::observe::thread::Sockets;
use crate::process::client_key::ClientKey;
use crate::process::current::Current;
use crate::process::signals::{Reloads, Stops};
use crate::process::state::Process;
use crate::process::{parts, trim};
use crate::server::acceptor::Acceptor;
use crate::server::cannot_start::CannotStart;
use crate::server::control::Control;
use crate::server::drain::Drainer;
use crate::server::failure_reports::Reports;
use crate::server::listeners::{Access, Listener};
use crate::server::reload::{self, Reloader};
use crate::server::worker::{Handed, Live, Worker, Workers};
use crate::server::{control, listeners, preflight, service_manager};

/// How often channels with a new number of subscribers are looked for.
const COUNTS: Duration = Duration::from_secs(1);

/// Tasks that last as long as the daemon; one that ends says why.
type Tasks = JoinSet<String>;

pub struct MainThread<'a> {
    pub apps: &'a [Arc<App>],
    pub process: &'a Arc<Process>,
    pub workers: &'a [Worker],
    /// The settings in force, which a reload replaces; and what each worker has of them.
    pub in_force: Arc<Current<Settings>>,
    pub live: Arc<watch::Sender<Arc<Live>>>,
    /// How to read the settings again.
    pub flags: Flags,
    /// What is seen of the other hosts; nothing, if there is one.
    pub nodes: &'a [Arc<Seen>],
}

impl MainThread<'_> {
    /// Listens until the first request to stop; nothing listens any more when it returns. Runs on a LocalSet.
    ///
    /// # Errors
    /// A sentence, if it cannot listen.
    pub async fn run(
        self,
        stops: &mut Stops,
        reloads: Reloads,
        inherited: Vec<Listener>,
    ) -> Result<(), CannotStart> {
        let settings = self.in_force.get();
        let server = &settings.server;
        let access = Access::new(server.socket_mode, &server.socket_group)
            .map_err(|why| format!("server.socket_group: {why}"))?;
        let control = self.open_control(&settings)?;
        let reports = control.as_ref().and_then(open_reports);
        let operators = listeners::of_operators("server.metrics", &server.metrics, access)?;
        let secrets = operator_secrets(&settings)?;
        // Without a secret the socket's mode decides.
        let only_own = Access {
            mode: Mode(0o600),
            group: None,
        };
        let of_dashboard = if secrets.is_none() { only_own } else { access };
        let dashboard =
            listeners::of_operators("server.dashboard", &server.dashboard, of_dashboard)?;
        let listeners = listeners::open(&server.listen, access, inherited, server.write_timeout())?;

        let mut tasks = Tasks::new();
        let (requests, asked) = mpsc::channel(reload::WAITING);
        let reloader = Reloader {
            flags: self.flags.clone(),
            in_force: self.in_force.clone(),
            apps: self.apps.to_vec(),
            process: self.process.clone(),
            workers: self.workers.len(),
            live: self.live.clone(),
            trusted: Arc::new(Current::new(server.trusted_proxies.clone())),
            tcp: tcp(&listeners).map_err(|why| why.to_string())?,
            operators: secrets.clone(),
        };
        self.accept(&reloader, listeners, &mut tasks);
        self.answer(control.as_ref(), requests, &mut tasks)?;
        if let Some(reports) = &reports {
            let run = reports.run(self.apps.to_vec(), self.process.clone());
            let run = run.map_err(|why| why.to_string())?;
            tasks.spawn_local(parts::task("failure reports", run));
        }
        let sockets = Sockets {
            metrics: sockets(&operators).map_err(|why| why.to_string())?,
            dashboard: sockets(&dashboard).map_err(|why| why.to_string())?,
            secrets,
        };
        thread::start(self.observed(), sockets).map_err(|why| why.to_string())?;
        tasks.spawn_local(parts::task("reload", reloader.run(reloads, asked)));
        let drainer = Drainer {
            apps: self.apps.to_vec(),
            process: self.process.clone(),
            in_force: self.in_force.clone(),
        };
        tasks.spawn_local(parts::task("drain", drainer.run()));
        self.look_after_apps(&mut tasks);
        self.process.heartbeats.set_ready(true);
        tracing::info!("ready");
        service_manager::ready();
        self.watch(stops, &mut tasks).await;
        tasks.shutdown().await;
        Ok(())
    }

    fn accept(&self, reloader: &Reloader, listeners: Vec<Listener>, tasks: &mut Tasks) {
        let acceptor = Arc::new(Acceptor {
            process: self.process.clone(),
            trusted: reloader.trusted.clone(),
        });
        for listener in listeners {
            tracing::info!("listening on {}", listeners::name(&listener));
            if let [only] = self.workers {
                let _ = only
                    .inbox
                    .send(Handed::Listener(acceptor.clone(), listener));
                continue;
            }
            let inboxes = self.workers.iter().map(|worker| worker.inbox.clone());
            let run = acceptor.clone().run(listener, Workers(inboxes.collect()));
            tasks.spawn_local(parts::task("acceptor", run));
        }
    }

    /// On the control socket. `listener` keeps its name in the file system.
    fn answer(
        &self,
        listener: Option<&Listener>,
        reloads: mpsc::Sender<reload::Request>,
        tasks: &mut Tasks,
    ) -> Result<(), String> {
        if let Some(Listener::Unix { listener, .. }) = listener {
            let listener = listener.try_clone().map_err(|why| why.to_string())?;
            let control = Control {
                apps: self.apps.to_vec(),
                process: self.process.clone(),
                reloads,
                nodes: self.nodes.to_vec(),
                observed: self.observed(),
            };
            tasks.spawn_local(parts::task("control", control::run(control, listener)));
        }
        Ok(())
    }

    fn observed(&self) -> Observed {
        Observed {
            process: self.process.clone(),
            apps: self.apps.to_vec(),
            nodes: self.nodes.to_vec(),
            in_force: self.in_force.clone(),
        }
    }

    /// Memory, members whose grace is over, and subscriber counts.
    fn look_after_apps(&self, tasks: &mut Tasks) {
        let (requests, memory) = (self.process.requests.clone(), self.process.memory.clone());
        tasks.spawn_local(async move { match trim::run(requests, memory).await {} });
        for app in self.apps {
            let of = app.clone();
            let run = async move { match of.roster.run(&of.hub).await {} };
            tasks.spawn_local(parts::task("presence", run));
            let of = app.clone();
            let run = async move { match of.active.run(&of.hub).await {} };
            tasks.spawn_local(parts::task("active subscriptions", run));
            let of = app.clone();
            let run = async move { match facts::run(of).await {} };
            tasks.spawn_local(parts::task("facts", run));
            let of = app.clone();
            let run = async move {
                loop {
                    tokio::time::sleep(COUNTS).await;
                    let counts = of.hub.subscriber_counts.due();
                    of.hub.announce_counts(ClientKey::NONE, counts);
                }
            };
            tasks.spawn_local(parts::task("counts", run));
        }
    }

    /// Tells the service manager that all threads go round, until the first request to stop.
    async fn watch(&self, stops: &mut Stops, tasks: &mut Tasks) {
        let mut watchdog = tokio::time::interval(watchdog_period());
        loop {
            tokio::select! {
                () = stops.next() => return,
                _ = watchdog.tick() => match self.process.heartbeats.hanging() {
                    None => service_manager::alive(),
                    Some(why) => tracing::error!("{why}"),
                },
                Some(ended) = tasks.join_next() => {
                    // A panic has ended the process before.
                    parts::died(&ended.unwrap_or_else(|why| why.to_string()));
                }
            }
        }
    }

    /// The control socket, if one is wanted. One that was asked for must work; at the default place there may be
    /// no permission to make it. If another askrd is there, it would be asked in this one's stead.
    fn open_control(&self, settings: &Settings) -> Result<Option<Listener>, CannotStart> {
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
            Err(why)
                if settings.server.control.is_empty() && why.kind() == io::ErrorKind::AddrInUse =>
            {
                let ring = self.apps[0].ring.path().file_name().unwrap_or_default();
                let own = path.with_file_name(format!("{}-control.sock", ring.display()));
                Err(CannotStart::lasting(format!(
                    "server.control: {} is another askrd's: set a path of its own for this one, for example \
                     control = \"{}\", and the same askr.control in its php.ini (or \"none\")",
                    path.display(),
                    own.display()
                )))
            }
            Err(why) if settings.server.control.is_empty() => {
                tracing::warn!("no control socket: {}: {why}", path.display());
                Ok(None)
            }
            Err(why) => Err(CannotStart::from(format!(
                "server.control: cannot listen on {}: {why}",
                path.display()
            ))),
        }
    }
}

/// What the dashboard asks for. None: for nothing.
fn operator_secrets(settings: &Settings) -> Result<Option<Arc<OperatorSecrets>>, CannotStart> {
    let read = preflight::operators(settings);
    let read = read
        .map_err(|(section, key, why)| CannotStart::lasting(format!("{section}.{key}: {why}")))?;
    let file = settings.server.operators_file();
    let both = file.zip(read);
    Ok(both.map(|(file, reading)| Arc::new(OperatorSecrets::new(file, reading))))
}

/// Where publishers say what they could not publish. Without it everything else works.
fn open_reports(control: &Listener) -> Option<Reports> {
    let Listener::Unix { path, .. } = control else {
        return None;
    };
    let reports = Reports::open(path);
    reports
        .inspect_err(|why| {
            let at = failure_report::beside(path);
            let at = at.display();
            tracing::warn!("no socket for what PHP cannot publish: {at}: {why}");
        })
        .ok()
}

/// The same sockets for another thread; the listeners keep their names in the file system.
fn sockets(listeners: &[Listener]) -> io::Result<Vec<Socket>> {
    let of = |listener: &Listener| match listener {
        Listener::Tcp(tcp) => tcp.try_clone().map(Socket::Tcp),
        Listener::Unix { listener, .. } => listener.try_clone().map(Socket::Unix),
    };
    listeners.iter().map(of).collect()
}

/// The TCP listeners once more, for their options.
fn tcp(listeners: &[Listener]) -> io::Result<Vec<TcpListener>> {
    let of = |listener: &Listener| match listener {
        Listener::Tcp(tcp) => Some(tcp.try_clone()),
        Listener::Unix { .. } => None,
    };
    listeners.iter().filter_map(of).collect()
}

/// Twice within the time systemd allows.
fn watchdog_period() -> Duration {
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(5), |limit| limit / 2)
}
