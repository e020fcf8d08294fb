//! Calls of Pusher's HTTP API, signed.

use md5::{Digest, Md5};
use serde_json::Value;

use super::Daemon;
use super::grants::{SECRET, Said, code_by, now, request};
use super::ws::KEY;

/// A request's parameters and what is signed of them, to be spoilt.
pub struct Call<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a str,
    pub query: Vec<(String, String)>,
}

impl<'a> Call<'a> {
    pub fn new(method: &'a str, path: &'a str, query: &[(&str, &str)], body: &'a str) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut query: Vec<(String, String)> = query.iter().map(own).collect();
        let now = now().to_string();
        query.extend(
            [
                ("auth_key", KEY),
                ("auth_timestamp", &now),
                ("auth_version", "1.0"),
            ]
            .iter()
            .map(own),
        );
        if !body.is_empty() {
            let md5: String = Md5::digest(body)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            query.push(("body_md5".into(), md5));
        }
        Self {
            method,
            path,
            body,
            query,
        }
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.query.retain(|(name, _)| name != key);
        self.query.push((key.into(), value.into()));
        self
    }

    /// Signs it as it is, and sends it.
    pub fn send(self, daemon: &Daemon) -> Said {
        self.send_by(SECRET, daemon)
    }

    pub fn send_by(mut self, secret: &str, daemon: &Daemon) -> Said {
        self.query.sort();
        let joined = |escape: fn(&str) -> String| {
            let pairs = self
                .query
                .iter()
                .map(|(key, value)| format!("{key}={}", escape(value)));
            pairs.collect::<Vec<_>>().join("&")
        };
        let text = format!("{}\n{}\n{}", self.method, self.path, joined(str::to_owned));
        self.send_signed(daemon, &code_by(secret, &text))
    }

    pub fn send_signed(self, daemon: &Daemon, signature: &str) -> Said {
        let escape = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(key, value)| format!("{key}={}", escape(value)))
            .collect();
        let target = format!(
            "{}?{}&auth_signature={signature}",
            self.path,
            query.join("&")
        );
        request(
            daemon.address,
            self.method,
            &target,
            "Content-Type: application/json\r\n",
            self.body,
        )
    }
}

pub fn get(daemon: &Daemon, path: &str, query: &[(&str, &str)]) -> Said {
    Call::new("GET", path, query, "").send(daemon)
}

pub fn post(daemon: &Daemon, path: &str, body: &Value) -> Said {
    Call::new("POST", path, &[], &body.to_string()).send(daemon)
}

pub fn ok(said: Said) -> String {
    assert_eq!(said.status, 200, "{said:?}");
    assert!(
        said.head
            .to_lowercase()
            .contains("content-type: application/json"),
        "{said:?}"
    );
    said.body
}
