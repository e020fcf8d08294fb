//! The settings that decide about requests.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use protocol::rewind;

use crate::config;
use crate::config::{AllowedOrigin, Server};

/// Headers that a page of another origin may always send.
const HEADERS: &str = "Authorization, Content-Type, Last-Event-ID, Cache-Control, X-CSRF-TOKEN, X-XSRF-TOKEN, \
                       X-Requested-With, X-Socket-ID";

/// The settings that decide about requests.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The hosts that are served, with or without a port. Empty: all.
    pub hosts: Vec<String>,
    /// How long a client may take for a head, and how long it may take nothing of an answer.
    pub header_timeout: Duration,
    pub write_timeout: Duration,
    /// Milliseconds after which a client that is turned away comes back.
    pub retry: u32,
    /// The most bytes of a head.
    pub header_bytes: usize,
    /// The most bytes of a body, except for Pusher's HTTP API.
    pub body_bytes: u64,
    /// The most channels of a request.
    pub channels: usize,
    /// How far a request may look back.
    pub rewind: rewind::Limits,
    /// The headers that a page of another origin may send: `Access-Control-Allow-Headers`.
    pub allowed_headers: HeaderValue,
    /// One for each application, never empty.
    pub apps: Arc<[AppPolicy]>,
}

/// By what an application is named, and the origins whose pages may use it.
#[derive(Debug, Clone)]
pub struct AppPolicy {
    /// In the query and in paths of Pusher's HTTP API.
    pub id: String,
    /// The most bytes of a body with a client event.
    pub client_event_bytes: u64,
    /// In the path of Pusher's protocol.
    pub key: String,
    pub origins: Vec<AllowedOrigin>,
    /// The path of its Mercure hub, if it has one.
    pub mercure: Option<String>,
    /// The section of the settings that `origins` are from, for the log.
    pub origins_section: &'static str,
}

impl Policy {
    pub fn new<'a>(
        server: &Server,
        rewind: rewind::Limits,
        apps: impl Iterator<Item = &'a config::App>,
    ) -> Self {
        let apps: Vec<_> = apps.collect();
        let section = if apps.len() > 1 { "[[app]]" } else { "[app]" };
        let app_policy = |app: &config::App| AppPolicy {
            id: app.id.clone(),
            client_event_bytes: server.body_bytes.0.max(app.message_bytes() as u64),
            key: app.key().to_owned(),
            origins: app.allowed_origins.clone(),
            mercure: app.mercure_path(),
            origins_section: match app.allowed_origins == server.allowed_origins {
                true => "[server]",
                false => section,
            },
        };
        Self {
            hosts: server.allowed_hosts.clone(),
            header_timeout: server.header_timeout(),
            write_timeout: server.write_timeout(),
            retry: server.retry,
            header_bytes: server.header_bytes.0 as usize,
            body_bytes: server.body_bytes.0,
            channels: server.channels_per_stream,
            rewind,
            allowed_headers: allowed_headers(&server.allowed_headers),
            apps: apps.into_iter().map(app_policy).collect(),
        }
    }
}

/// What EventSource clients, Echo, axios and Laravel's templates send, and these.
fn allowed_headers(more: &[String]) -> HeaderValue {
    let mut all = HEADERS.to_owned();
    for name in more {
        all += ", ";
        all += name;
    }
    // The names were checked with the settings.
    HeaderValue::from_str(&all).unwrap_or(HeaderValue::from_static(HEADERS))
}
