//! All settings together: those in force for each application, and checks across sections.

use serde::{Deserialize, Serialize};
use shared::spec::RingSpec;

use super::app::{App, api_body_bytes};
use super::auth::Auth;
use super::broadcast::Broadcast;
use super::cluster::Cluster;
use super::log::Log;
use super::ranges::{Wrong, range};
use super::ring::Ring;
use super::server::Server;

/// Applications of one daemon.
pub const MAX_APPS: usize = 64;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub ring: Ring,
    pub server: Server,
    pub broadcast: Broadcast,
    pub auth: Auth,
    pub cluster: Cluster,
    pub log: Log,
    /// The one application, unless there are several.
    pub app: App,
    /// `[[app]]`, in place of `[app]`. Not a section of its own in the file.
    #[serde(skip)]
    pub apps: Vec<App>,
}

impl Settings {
    /// The first thing wrong with values that have the right types: section, key, reason. What a daemon
    /// needs beside them (secrets, the kernel) is tried in `preflight`.
    pub fn check(&self) -> Result<(), (String, &'static str, String)> {
        let named = |(section, key, why): Wrong| (section.to_owned(), key, why);
        self.ring.check().map_err(named)?;
        self.server.check().map_err(named)?;
        self.log.check().map_err(named)?;
        self.check_apps()?;
        self.check_requests().map_err(named)?;
        self.cluster.check().map_err(named)?;
        let broadcast = &self.broadcast;
        range("auth", "expiry_notice", self.auth.expiry_notice, 0, 86_400).map_err(named)?;
        range("broadcast", "queue", broadcast.queue, 16, 1 << 24).map_err(named)?;
        let bytes = broadcast.queue_bytes.0;
        range("broadcast", "queue_bytes", bytes, 1 << 16, 1 << 40).map_err(named)?;
        let events = broadcast.rewind_events;
        range("broadcast", "rewind_events", events, 1, 1 << 30).map_err(named)?;
        let channels = broadcast.index_channels;
        range("broadcast", "index_channels", channels, 1, 1 << 30).map_err(named)
    }

    /// Bytes of the largest request, and as much again of its head for the buffer that it is read into.
    pub fn largest_request(&self) -> usize {
        let apps = self.applications();
        let bodies = apps
            .iter()
            .map(|(app, ..)| api_body_bytes(app.api_payload.0 as usize));
        let body = bodies
            .max()
            .unwrap_or(0)
            .max(self.server.body_bytes.0 as usize);
        (16 << 10) + 3 * self.server.header_bytes.0 as usize + body
    }

    pub fn requests_total(&self) -> usize {
        match self.server.requests_total.0 {
            0 => (64 << 20).max(4 * self.largest_request()),
            bytes => bytes as usize,
        }
    }

    fn check_requests(&self) -> Result<(), Wrong> {
        let least = 4 * self.largest_request();
        if self.requests_total() >= least {
            return Ok(());
        }
        let why = format!(
            "must be 0, or at least {least}, which is four times the largest request that \
             server.header_bytes, server.body_bytes and app.api_payload allow"
        );
        Err(("server", "requests_total", why))
    }
}

impl Settings {
    /// The applications, each completed from `[ring]`, `[server]` and `[auth]`.
    pub fn applications(&self) -> Vec<(App, RingSpec, Auth)> {
        let several = !self.apps.is_empty();
        let one = std::slice::from_ref(&self.app);
        let all = if several { &self.apps[..] } else { one };
        let complete = |app: &App| {
            let mut app = app.clone();
            if app.ring.is_empty() {
                app.ring.clone_from(&self.ring.name);
            }
            if app.allowed_origins.is_empty() {
                app.allowed_origins.clone_from(&self.server.allowed_origins);
            }
            if app.max_channels == 0 {
                app.max_channels = self.server.max_channels;
            }
            let mut auth = self.auth.clone();
            if !app.secret_file.is_empty() {
                auth.secret_file.clone_from(&app.secret_file);
            } else if several {
                auth.secret_file.clear();
            }
            if auth.audience.is_empty() {
                auth.audience.clone_from(&app.id);
            }
            let mut spec = self.ring.spec();
            // Checked with the settings.
            if let Ok(name) = app.ring.parse() {
                spec.name = name;
            }
            (app, spec, auth)
        };
        all.iter().map(complete).collect()
    }

    /// Checks the applications. An error: section, key, reason.
    fn check_apps(&self) -> Result<(), (String, &'static str, String)> {
        if self.apps.len() > MAX_APPS {
            let why = format!("there may be at most {MAX_APPS}");
            return Err(("app".into(), "id", why));
        }
        if !self.apps.is_empty() && !self.auth.audience.is_empty() {
            let why =
                "must be left out beside [[app]], where a token's aud is its application's id";
            return Err(("auth".into(), "audience", why.into()));
        }
        if !self.apps.is_empty() && !self.cluster.name.is_empty() {
            let why = "must be left out beside [[app]], where each application's id is its name";
            return Err(("cluster".into(), "name", why.into()));
        }
        let apps = self.applications();
        for (n, (app, ..)) in apps.iter().enumerate() {
            let section = || match self.apps.is_empty() {
                true => "app".to_owned(),
                false => format!("app[{}]", n + 1),
            };
            app.check().map_err(|(key, why)| (section(), key, why))?;
            for (other, ..) in &apps[..n] {
                let same = |key, what| {
                    let why = format!("is that of \"{}\"; each application has {what}", other.id);
                    Err((section(), key, why))
                };
                if other.id == app.id {
                    return same("id", "an id of its own");
                }
                if other.key() == app.key() {
                    return same("key", "a key of its own");
                }
                if other.ring == app.ring {
                    return same("ring", "a ring of its own");
                }
                if app.mercure().is_some() && app.mercure_path() == other.mercure_path() {
                    return same("mercure_url", "a path of its own");
                }
                if !app.secret.is_empty() && other.secret == app.secret {
                    return same("secret", "a secret of its own");
                }
                if !app.secret_file.is_empty() && other.secret_file == app.secret_file {
                    return same("secret_file", "a file of its own");
                }
            }
        }
        Ok(())
    }
}
