//! Which settings a running daemon takes over, and what of new settings that leaves for a restart.

use serde::Serialize;
use toml::{Table, Value};

use super::app::App;
use super::settings::Settings;

/// Taken over while askrd serves. What is not here is made once: threads, sockets, rings, tables of a size, and what
/// counts from the start.
const LIVE: [(&str, &[&str]); 5] = [
    (
        "server",
        &[
            "activity_timeout",
            "allowed_headers",
            "allowed_hosts",
            "allowed_origins",
            "body_bytes",
            "channels_per_address",
            "channels_per_socket",
            "channels_per_stream",
            "connections_per_address",
            "drain",
            "header_bytes",
            "header_timeout",
            "history_bytes",
            "history_rate",
            "max_channels",
            "max_connections",
            "outbox_bytes",
            "outbox_frames",
            "outbox_total",
            "ping",
            "pong_timeout",
            "reconnect_rate",
            "requests_total",
            "retry",
            "slow_clients",
            "stream_max_age",
            "stream_max_idle",
            "trusted_proxies",
            "write_timeout",
        ],
    ),
    ("broadcast", &["rewind_events", "rewind_seconds"]),
    (
        "auth",
        &[
            "audience",
            "audience_required",
            "expiry_notice",
            "public_keys",
            "secret_file",
        ],
    ),
    (
        "app",
        &[
            "allowed_origins",
            "api_batch",
            "api_payload",
            "auth_anonymous",
            "auth_cache",
            "auth_calls",
            "auth_calls_per_address",
            "auth_timeout",
            "auth_url",
            "authorize_timeout",
            "authorizers",
            "channel_members",
            "client_event_bytes",
            "client_event_rate",
            "client_events",
            "client_events_total",
            "events",
            "key",
            "max_channels",
            "max_connections",
            "members",
            "mercure_anonymous",
            "mercure_cookie",
            "mercure_grants",
            "mercure_legacy_cookie",
            "mercure_matchers",
            "mercure_patterns",
            "mercure_patterns_per_address",
            "secret",
            "secret_file",
            "strict",
            "user_id_bytes",
            "user_info_bytes",
        ],
    ),
    ("log", &["level"]),
];

/// Whether a running daemon takes over this key.
pub fn is_live(section: &str, key: &str) -> bool {
    let of = LIVE.iter().find(|(name, _)| *name == section);
    of.is_some_and(|(_, keys)| keys.contains(&key))
}

/// What differs between the settings in force and new ones: keys such as `server.ping`, `app[shop].secret`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Those that are taken over.
    pub taken: Vec<String>,
    /// Those that a restart takes over.
    pub restart: Vec<String>,
    /// Why a restart would fail now.
    pub obstacles: Vec<String>,
}

impl Changes {
    fn add(&mut self, live: bool, key: String) {
        if live {
            &mut self.taken
        } else {
            &mut self.restart
        }
        .push(key);
    }
}

/// The settings that are to be in force: `new`, with the values of `running` where only a restart changes them.
pub fn merge(running: &Settings, new: &Settings) -> (Settings, Changes) {
    let mut changes = Changes::default();
    let (old, mut table) = (table(running), table(new));
    for (section, keys) in &mut table {
        let old = old.get(section).and_then(Value::as_table);
        if let (Some(keys), Some(old)) = (keys.as_table_mut(), old) {
            let several = section == "app" && !(running.apps.is_empty() && new.apps.is_empty());
            if !several {
                merge_keys(section, section, old, keys, &mut changes);
            }
        }
    }
    // Values of a checked file and of a running daemon: both have had this form before.
    let mut merged: Settings = table.try_into().unwrap_or_else(|_| running.clone());
    merged
        .cluster
        .password
        .clone_from(&running.cluster.password);
    if running.cluster.password != new.cluster.password {
        changes.add(false, "cluster.password".to_owned());
    }
    merged.app.secret = match running.apps.is_empty() && new.apps.is_empty() {
        true => merge_secret("app", &running.app, &new.app, &mut changes),
        false => running.app.secret.clone(),
    };
    merged.apps = merge_apps(&running.apps, &new.apps, &mut changes);
    if running.apps.is_empty() || new.apps.is_empty() {
        merged.app.id.clone_from(&running.app.id);
    }
    if running.apps.is_empty() != new.apps.is_empty() {
        merged.app = running.app.clone();
        merged.apps = running.apps.clone();
        changes.add(false, "app (one or several)".to_owned());
    }
    (merged, changes)
}

/// Of the applications that are served; those that come or go are left for a restart.
fn merge_apps(running: &[App], new: &[App], changes: &mut Changes) -> Vec<App> {
    if running.is_empty() || new.is_empty() {
        return Vec::new();
    }
    let merge = |old: &App| {
        let name = format!("app[{}]", old.id);
        let Some(new) = new.iter().find(|app| app.id == old.id) else {
            changes.add(false, format!("{name} (removed)"));
            return old.clone();
        };
        let mut keys = table(new);
        merge_keys("app", &name, &table(old), &mut keys, changes);
        let mut merged: App = keys.try_into().unwrap_or_else(|_| old.clone());
        merged.secret = merge_secret(&name, old, new, changes);
        merged
    };
    let merged = running.iter().map(merge).collect();
    for app in new {
        if !running.iter().any(|old| old.id == app.id) {
            changes.add(false, format!("app[{}] (added)", app.id));
        }
    }
    merged
}

fn merge_keys(section: &str, name: &str, old: &Table, new: &mut Table, changes: &mut Changes) {
    for (key, value) in new {
        let Some(old) = old.get(key) else { continue };
        // They are not shown, so they are compared by themselves.
        if old == value || key == "secret" || key == "password" {
            continue;
        }
        let live = is_live(section, key);
        changes.add(live, format!("{name}.{key}"));
        if !live {
            *value = old.clone();
        }
    }
}

fn merge_secret(name: &str, old: &App, new: &App, changes: &mut Changes) -> String {
    if old.secret != new.secret {
        changes.add(true, format!("{name}.secret"));
    }
    new.secret.clone()
}

fn table(settings: &impl Serialize) -> Table {
    // Plain values only: this cannot fail.
    Table::try_from(settings).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::Size;

    #[test]
    fn every_key_of_the_list_is_a_setting() {
        let all = table(&Settings::default());
        for (section, keys) in LIVE {
            for key in keys {
                assert!(all[section].get(key).is_some(), "{section}.{key}");
            }
        }
    }

    #[test]
    fn what_a_restart_changes_stays_as_it_is_and_is_named() {
        let running = Settings::default();
        let mut new = running.clone();
        new.server.ping = 3.0;
        new.server.workers = 7;
        new.cluster.password = "p".into();
        new.ring.arena = Size(1 << 20);
        new.app.secret = "0123456789abcdefghij".into();
        let (merged, changes) = merge(&running, &new);
        assert_eq!(changes.taken, ["server.ping", "app.secret"]);
        assert_eq!(
            changes.restart,
            ["ring.arena", "server.workers", "cluster.password"]
        );
        assert_eq!((merged.server.ping, merged.server.workers), (3.0, 0));
        assert_eq!(merged.ring, running.ring);
        assert_eq!(merged.app.secret, new.app.secret);
        assert_eq!(merge(&running, &running), (running, Changes::default()));
    }

    #[test]
    fn applications_are_known_by_their_ids() {
        let app = |id: &str, secret: &str| App {
            id: id.into(),
            ring: format!("/{id}"),
            secret: secret.into(),
            ..App::default()
        };
        let settings = |apps: &[App]| Settings {
            apps: apps.to_vec(),
            ..Settings::default()
        };
        let running = settings(&[app("a", "1"), app("b", "2"), app("c", "")]);
        let mut changed = app("b", "3");
        changed.ring = "/other".into();
        let (merged, changes) = merge(&running, &settings(&[changed, app("a", "1"), app("d", "")]));
        assert_eq!(changes.taken, ["app[b].secret"]);
        assert_eq!(
            changes.restart,
            ["app[b].ring", "app[c] (removed)", "app[d] (added)"]
        );
        assert_eq!(
            merged.apps,
            [app("a", "1"), app("b", "3"), app("c", "")],
            "in the order of before"
        );
        let (merged, changes) = merge(&running, &Settings::default());
        assert_eq!(merged, running);
        assert_eq!(changes.restart, ["app (one or several)"]);
    }
}
