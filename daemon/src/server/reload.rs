//! Reloads: reads the settings again and takes over what can change while askrd serves (`config/reload.rs` has the
//! list). A file that cannot be used changes nothing: everything that may fail is done before the first change.

use std::net::TcpListener;
use std::sync::Arc;

use protocol::pusher::signature::Credentials;
use protocol::rate_limit::Bound;
use tokio::sync::{mpsc, oneshot, watch};

use crate::app::application::App;
use crate::auth::authority::Authorizers;
use crate::auth::mercure::tokens::HubTokens;
use crate::config;
use crate::config::{Changes, Flags, Network, Settings, reload};
use crate::observe::dashboard::operator_secrets::OperatorSecrets;
use crate::process::current::Current;
use crate::process::signals::Reloads;
use crate::process::state::Process;
use crate::process::{admission, logging};
use crate::server::preflight::{self, Preparation, Prepared};
use crate::server::worker::Live;
use crate::server::{applications, listeners, obstacles, service_manager, setup};

/// Requests for a reload that wait for the one in progress.
pub const WAITING: usize = 8;

/// What came of a reload: what has changed, or why nothing has.
pub type Outcome = Result<Changes, String>;
/// A request over the control socket.
pub type Request = oneshot::Sender<Outcome>;

pub struct Reloader {
    pub flags: Flags,
    pub in_force: Arc<Current<Settings>>,
    pub apps: Vec<Arc<App>>,
    pub process: Arc<Process>,
    pub workers: usize,
    pub live: Arc<watch::Sender<Arc<Live>>>,
    pub trusted: Arc<Current<Vec<Network>>>,
    /// The listeners that set up what they accept.
    pub tcp: Vec<TcpListener>,
    /// What the dashboard asks for. None: for nothing.
    pub operators: Option<Arc<OperatorSecrets>>,
}

impl Reloader {
    /// Reloads at a signal and when asked, until dropped.
    pub async fn run(
        self,
        mut signals: Reloads,
        mut requests: mpsc::Receiver<Request>,
    ) -> std::io::Result<()> {
        loop {
            let request = tokio::select! {
                () = signals.next() => None,
                Some(request) = requests.recv() => Some(request),
            };
            let outcome = self.reload().await;
            if let Some(request) = request {
                // Who asked may have gone away.
                let _ = request.send(outcome);
            }
        }
    }

    async fn reload(&self) -> Outcome {
        service_manager::reloading();
        let outcome = self.try_reload().await;
        service_manager::ready();
        let metrics = &self.process.metrics;
        match &outcome {
            Ok(changes) => {
                metrics.reloads_taken.add(1);
                metrics.settings_waiting.set(changes.restart.len() as u64);
                match changes.taken.is_empty() {
                    true => tracing::info!("reloaded: nothing has changed that takes effect now"),
                    false => tracing::info!("reloaded: {}", changes.taken.join(", ")),
                }
                if !changes.restart.is_empty() {
                    tracing::warn!(
                        "changed, and needs a restart: {}",
                        changes.restart.join(", ")
                    );
                }
                for why in &changes.obstacles {
                    tracing::warn!("a restart would fail now: {why}");
                }
            }
            Err(why) => {
                metrics.reloads_refused.add(1);
                tracing::error!("not reloaded, the settings of before stay in force: {why}");
            }
        }
        outcome
    }

    async fn try_reload(&self) -> Outcome {
        let (flags, running) = (self.flags.clone(), self.in_force.get());
        // Files may be on a disk that hangs: no other task waits for it.
        let held: Result<Vec<TcpListener>, _> =
            self.tcp.iter().map(TcpListener::try_clone).collect();
        let held = held.map_err(|why| why.to_string())?;
        let read = tokio::task::spawn_blocking(move || read(&flags, &running, &held));
        let (settings, mut changes, prepared) = read.await.map_err(|why| why.to_string())??;
        let connections = admission::descriptors(settings.server.max_connections, self.workers)?;
        let mut authorizers = Vec::new();
        let mut secrets = Vec::new();
        for (app, prepared) in self.apps.iter().zip(prepared.apps) {
            let Prepared {
                app: named,
                secrets: own,
                tokens,
                auth,
                hub,
                ..
            } = prepared;
            if app.hub.webhooks.is_some() && own.is_empty() {
                return Err(format!(
                    "application {}: webhooks are signed: a secret must be set",
                    app.id
                ));
            }
            if own != app.reloadable.get().api_credentials.secrets {
                note_secrets(&mut changes, &named);
            }
            let before = app.authority.authorizers();
            authorizers.push(applications::authorizers(
                &settings,
                &named,
                &auth,
                &own,
                tokens,
                Some(&before),
            )?);
            secrets.push((named, own, hub));
        }
        // Nothing fails from here on.
        self.take_over(&settings, connections);
        if let (Some(own), Some(reading)) = (&self.operators, prepared.operators)
            && own.replace(reading)
        {
            changes
                .taken
                .push("the secrets of the dashboard".to_owned());
        }
        for ((app, (named, secrets, hub)), authorizers) in
            self.apps.iter().zip(secrets).zip(authorizers)
        {
            take_over_app(app, &settings, &named, (secrets, hub), authorizers);
        }
        // Last: it makes the workers look at all of this.
        self.live.send_replace(Arc::new(setup::live(&settings)));
        self.in_force.set(settings);
        Ok(changes)
    }

    /// What all applications share.
    fn take_over(&self, settings: &Settings, connections: usize) {
        let (server, process) = (&settings.server, &self.process);
        process.limits.set(
            connections,
            server.connections_share(connections),
            server.connections_per_address >= 0,
        );
        process.memory.set_limit(server.outbox_total.0);
        process
            .requests
            .set(settings.requests_total(), settings.largest_request());
        self.trusted.set(server.trusted_proxies.clone());
        for tcp in &self.tcp {
            if let Err(why) = listeners::tune(tcp, server.write_timeout()) {
                tracing::warn!("server.write_timeout: a listener keeps its options: {why}");
            }
        }
        logging::set_level(&settings.log.level);
    }
}

fn take_over_app(
    app: &App,
    settings: &Settings,
    named: &config::App,
    (secrets, hub): (Vec<shared::secret::Secret>, Option<HubTokens>),
    authorizers: Authorizers,
) {
    let server = &settings.server;
    if let Some(webhooks) = &app.hub.webhooks {
        webhooks.set_credentials(Credentials {
            key: named.key().to_owned(),
            secrets: secrets.clone(),
        });
    }
    app.authority.replace(authorizers);
    app.quota.set(
        named.max_connections,
        server.connections_share(named.max_connections),
    );
    app.client_events.set(named.client_events_total);
    app.history_calls
        .set(Bound::per_second(server.history_rate));
    app.hub.holdings.set(server.holdings(named.max_channels));
    app.hub.topics.set(applications::topic_limits(named));
    app.roster.set_limits(applications::presence_limits(named));
    app.reloadable
        .set(applications::reloadable(settings, named, secrets, hub));
}

/// The settings to be in force, what differs, and what they need, tried.
fn read(
    flags: &Flags,
    running: &Settings,
    held: &[TcpListener],
) -> Result<(Settings, Changes, Preparation), String> {
    let loaded = config::load(flags, |name| std::env::var(name).ok());
    let (new, sources) = loaded.map_err(|problem| problem.to_string())?;
    let (settings, mut changes) = reload::merge(running, &new);
    let named = |(section, key, why): (String, &'static str, String)| {
        sources.problem(&section, key, &why).to_string()
    };
    // Values of before and new ones may not fit together.
    settings.check().map_err(named)?;
    let prepared = preflight::prepare(&settings).map_err(named)?;
    changes.obstacles = obstacles::of(running, &new, held);
    Ok((settings, changes, prepared))
}

/// The file may be the same one with others in it.
fn note_secrets(changes: &mut Changes, app: &config::App) {
    let known = ["secret", "secret_file"];
    let is_of_secrets = |key: &String| known.iter().any(|name| key.ends_with(name));
    if !changes.taken.iter().any(is_of_secrets) {
        let note = format!("the secrets of application {}", app.id);
        changes.taken.push(note);
    }
}
