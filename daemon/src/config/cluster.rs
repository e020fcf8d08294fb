//! `[cluster]`: the other hosts, which this askrd finds by way of a Redis or Valkey server.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::app::{bad_name, hidden, is_name};
use super::ranges::{Wrong, range};
use super::units::Size;
use crate::outbound::redis::address::{Address, Place};

/// The server that hosts share, and what is kept there and for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// `redis://[user@]host[:port][/database]`, `rediss://` with TLS, `unix:///path/to.sock`, or
    /// `redis+sentinel://host,host/master-name`. Empty: there is one host.
    pub url: String,
    /// The password: rather in a file, or in ASKR_CLUSTER_PASSWORD.
    #[serde(serialize_with = "hidden")]
    pub password: String,
    /// File with the password in its first line.
    pub password_file: String,
    /// As whom Sentinels are asked, which have users and passwords of their own. Empty: their default user.
    pub sentinel_user: String,
    /// File with the Sentinels' password in its first line.
    pub sentinel_password_file: String,
    /// Certificates (PEM) that the server's may be signed by, with `rediss://`. Empty: those of the system.
    pub ca_file: String,
    /// What the application is called on the server, the same on each host: keys begin with `askr:{NAME}`. Empty: its
    /// id.
    pub name: String,
    /// What this host is called in `askrd nodes` and in the log. Empty: its host name.
    pub node: String,
    /// The events that are kept on the server for each application.
    pub stream_length: u64,
    /// Seconds without a sign of life, while the server can be reached, after which a host is away, and how much longer
    /// until it counts as dead: what it had and nobody else is then reported as lost.
    pub lease: f64,
    pub grace: f64,
    /// Seconds until the server must have responded.
    pub timeout: f64,
    /// Seconds for which a start waits for what other hosts published meanwhile.
    pub catch_up: f64,
    /// Bytes of events that wait for earlier ones of the same host, for each application.
    pub held_back: Size,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            url: String::new(),
            password: String::new(),
            password_file: String::new(),
            sentinel_user: String::new(),
            sentinel_password_file: String::new(),
            ca_file: String::new(),
            name: String::new(),
            node: String::new(),
            stream_length: 100_000,
            lease: 10.0,
            grace: 20.0,
            timeout: 3.0,
            catch_up: 10.0,
            held_back: Size(16 << 20),
        }
    }
}

impl Cluster {
    /// Where the server is. None: there is one host.
    ///
    /// # Panics
    /// If the URL was not checked.
    pub fn address(&self) -> Option<Address> {
        let parse = || self.url.parse().expect("checked with the settings");
        (!self.url.is_empty()).then(parse)
    }

    pub fn password_file(&self) -> Option<&Path> {
        (!self.password_file.is_empty()).then(|| Path::new(&self.password_file))
    }

    pub fn sentinel_password_file(&self) -> Option<&Path> {
        let file = &self.sentinel_password_file;
        (!file.is_empty()).then(|| Path::new(file))
    }

    pub fn lease(&self) -> Duration {
        Duration::from_secs_f64(self.lease)
    }

    pub fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace)
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }

    pub fn catch_up(&self) -> Duration {
        Duration::from_secs_f64(self.catch_up)
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        if !self.url.is_empty() {
            let address = self.url.parse::<Address>();
            let address = address.map_err(|why| ("cluster", "url", why))?;
            if !self.ca_file.is_empty() && !address.tls {
                let why = "is for TLS: cluster.url must begin with rediss://";
                return Err(("cluster", "ca_file", why.into()));
            }
            let has_sentinels = matches!(address.place, Place::Sentinels { .. });
            for (key, value) in [
                ("sentinel_user", &self.sentinel_user),
                ("sentinel_password_file", &self.sentinel_password_file),
            ] {
                if !value.is_empty() && !has_sentinels {
                    let why = "is for Sentinels: cluster.url must begin with redis+sentinel://";
                    return Err(("cluster", key, why.into()));
                }
            }
            if !self.sentinel_user.is_empty() && self.sentinel_password_file.is_empty() {
                let why = "has no password: set cluster.sentinel_password_file";
                return Err(("cluster", "sentinel_user", why.into()));
            }
            if address.tls && matches!(address.place, Place::Socket(_)) {
                return Err(("cluster", "url", "there is no TLS on a Unix socket".into()));
            }
        }
        if !self.password.is_empty() && !self.password_file.is_empty() {
            let why = "must be left out beside cluster.password or ASKR_CLUSTER_PASSWORD";
            return Err(("cluster", "password_file", why.into()));
        }
        for (key, name) in [("name", &self.name), ("node", &self.node)] {
            if !name.is_empty() && !is_name(name) {
                return Err(("cluster", key, bad_name()));
            }
        }
        let length = self.stream_length;
        range("cluster", "stream_length", length, 1000, 100_000_000)?;
        range("cluster", "lease", self.lease, 1.0, 3600.0)?;
        range("cluster", "grace", self.grace, 0.0, 86_400.0)?;
        range("cluster", "timeout", self.timeout, 0.1, 60.0)?;
        range("cluster", "catch_up", self.catch_up, 0.0, 3600.0)?;
        range("cluster", "held_back", self.held_back.0, 1 << 16, 1 << 36)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_sentinels_is_refused_without_them() {
        let check = |url: &str, user: &str, file: &str| {
            let settings = Cluster {
                url: url.into(),
                sentinel_user: user.into(),
                sentinel_password_file: file.into(),
                ..Cluster::default()
            };
            settings.check().map_err(|(_, key, _)| key)
        };
        let sentinels = "redis+sentinel://a,b/shop";
        assert_eq!(check(sentinels, "askr", "/password"), Ok(()));
        assert_eq!(check(sentinels, "", "/password"), Ok(()));
        assert_eq!(check(sentinels, "askr", ""), Err("sentinel_user"));
        let one = "redis://a";
        assert_eq!(check(one, "askr", "/password"), Err("sentinel_user"));
        assert_eq!(check(one, "", "/password"), Err("sentinel_password_file"));
    }
}
