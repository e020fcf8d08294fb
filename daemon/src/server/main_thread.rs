//! What the main thread does while the daemon serves: it accepts connections, answers on the control socket, runs
//! what happens now and then for each application, and watches the other threads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinSet;

use crate::app::application::App;
use crate::config::{Mode, Settings};
use crate::process::client_key::ClientKey;
use crate::process::signals::Stops;
use crate::process::state::Process;
use crate::process::{parts, trim};
use crate::server::acceptor::Acceptor;
use crate::server::cannot_start::CannotStart;
use crate::server::control::Control;
use crate::server::listeners::{Access, Listener};
use crate::server::worker::Worker;
use crate::server::{control, listeners};

/// How often channels with a new number of subscribers are looked for.
const COUNTS: Duration = Duration::from_secs(1);

/// Tasks that last as long as the daemon; one that ends says why.
type Tasks = JoinSet<String>;

pub struct MainThread<'a> {
    pub apps: &'a [Arc<App>],
    pub process: &'a Arc<Process>,
    pub workers: &'a [Worker],
}

impl MainThread<'_> {
    /// Listens until the first request to stop; nothing listens any more when it returns. Runs on a LocalSet.
    ///
    /// # Errors
    /// A sentence, if it cannot listen.
    pub async fn run(
        self,
        stops: &mut Stops,
        settings: &Settings,
        inherited: Vec<Listener>,
    ) -> Result<(), CannotStart> {
        let server = &settings.server;
        let access = Access::new(server.socket_mode, &server.socket_group)
            .map_err(|why| format!("server.socket_group: {why}"))?;
        let control = self.open_control(settings)?;
        let listeners = listeners::open(&server.listen, access, inherited, server.write_timeout())?;

        let mut tasks = Tasks::new();
        self.accept(settings, listeners, &mut tasks);
        self.answer(control.as_ref(), &mut tasks)?;
        self.look_after_apps(&mut tasks);
        self.process.heartbeats.set_ready(true);
        tracing::info!("ready");
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        self.watch(stops, &mut tasks).await;
        tasks.shutdown().await;
        Ok(())
    }

    fn accept(&self, settings: &Settings, listeners: Vec<Listener>, tasks: &mut Tasks) {
        let sockets = self.workers.iter().map(|worker| worker.sockets.clone());
        let acceptor = Arc::new(Acceptor {
            process: self.process.clone(),
            workers: sockets.collect(),
            trusted: settings.server.trusted_proxies.clone(),
        });
        for listener in listeners {
            tracing::info!("listening on {}", listeners::name(&listener));
            tasks.spawn_local(parts::task("acceptor", acceptor.clone().run(listener)));
        }
    }

    /// On the control socket. `listener` keeps its name in the file system.
    fn answer(&self, listener: Option<&Listener>, tasks: &mut Tasks) -> Result<(), String> {
        if let Some(Listener::Unix { listener, .. }) = listener {
            let listener = listener.try_clone().map_err(|why| why.to_string())?;
            let control = Control {
                apps: self.apps.to_vec(),
                process: self.process.clone(),
            };
            tasks.spawn_local(parts::task("control", control::run(control, listener)));
        }
        Ok(())
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
                    None => drop(sd_notify::notify(&[NotifyState::Watchdog])),
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

/// Twice within the time systemd allows.
fn watchdog_period() -> Duration {
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(5), |limit| limit / 2)
}
