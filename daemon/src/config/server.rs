//! `[server]`: where askrd listens, and the limits of its clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::HeaderName;
use protocol::keepalive;
use serde::{Deserialize, Serialize};

use super::origin::AllowedOrigin;
use super::ranges::{Wrong, range};
use super::units::{Address, Io, Mode, Network, Size, SlowClients};
use crate::process::{holdings, shares};

/// Worker threads at the most: one bit for each in a channel's route.
pub const MAX_WORKERS: usize = 64;
/// Names in `allowed_headers`, and characters of one.
const MAX_HEADERS: usize = 32;
const MAX_HEADER_NAME: usize = 64;
/// The control socket used when none is set, if its directory exists.
pub const DEFAULT_CONTROL: &str = "/run/askr/control.sock";
/// Connections of one client address when nothing is set; loopback does not count then.
const DEFAULT_PER_ADDRESS: u32 = 1024;
/// Different channels of one client address when nothing is set.
const DEFAULT_CHANNELS_PER_ADDRESS: u32 = 10_000;

/// Where askrd listens, and the limits of its clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// `host:port` or `unix:/path`, any number of them.
    pub listen: Vec<String>,
    /// Permissions of Unix sockets.
    pub socket_mode: Mode,
    /// Group of Unix sockets. Empty: the daemon's.
    pub socket_group: String,
    /// Unix socket for /healthz, /readyz and /metrics. Empty: /run/askr/control.sock if that directory
    /// exists. `none`: no such socket.
    pub control: String,
    /// Where Prometheus finds /metrics, beside the control socket: `host:port` or `unix:/path`. Empty: nowhere.
    pub metrics: String,
    /// Where the dashboard is: `host:port` or `unix:/path`. Empty: nowhere.
    pub dashboard: String,
    /// File with the operator's secret, which the dashboard asks for. On a Unix socket it may be left out: then only root
    /// and the daemon's own user may connect.
    pub dashboard_secret_file: String,
    /// Directory for what must outlive a restart: revoked tokens. Empty: systemd's StateDirectory, if there
    /// is one; otherwise they are lost.
    pub state_directory: String,
    /// Worker threads. 0: one per core.
    pub workers: usize,
    /// How events are written: `uring` (io_uring, many streams with one system call), `write`, or `auto`:
    /// io_uring where the kernel allows it.
    pub io: Io,
    /// `Host` names served, with or without a port. Empty: any.
    pub allowed_hosts: Vec<String>,
    /// Other origins whose pages may subscribe: `https://example.com`, with cookies; without, those of a pattern:
    /// `https://*.example.com`, `*`, `null`.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Headers that pages of other origins may send, beside those that Echo, axios and EventSource clients use.
    pub allowed_headers: Vec<String>,
    /// Addresses or networks whose X-Real-IP is believed. The Unix sockets' is, always.
    pub trusted_proxies: Vec<Network>,

    /// Connections in all. 0: as many as the descriptor limit allows.
    pub max_connections: usize,
    /// Connections of one client address (IPv6: of one /64). -1: 1024, or an eighth of `max_connections` if
    /// that is less, loopback not counted. 0: any number.
    pub connections_per_address: i64,
    /// Channels a stream may ask for, 100 at most.
    pub channels_per_stream: usize,
    /// Channels of a WebSocket.
    pub channels_per_socket: usize,
    /// Seconds of silence after which a WebSocket's client is sent a ping, and seconds it has to respond.
    /// Checked once a `ping`.
    pub activity_timeout: f64,
    pub pong_timeout: f64,
    /// Different channels with a subscriber.
    pub max_channels: usize,
    /// Different channels of one client address, counted as `connections_per_address` counts. -1: 10,000,
    /// or an eighth of `max_channels` if that is less. 0: any number.
    pub channels_per_address: i64,
    /// Subscribers of one channel, an eighth of them from one client address. 0: any number.
    pub subscribers_per_channel: u32,
    /// Bytes of a request's line and headers.
    pub header_bytes: Size,
    /// Seconds a client may take for them, also on a kept connection between requests.
    pub header_timeout: f64,
    /// Bytes of a request's body.
    pub body_bytes: Size,
    /// Bytes that all requests in progress may hold, heads and bodies; one client address may hold an
    /// eighth. Past three quarters of it the requests in progress for longest give way. 0: 64 MiB, or
    /// four times the largest request, whichever is more.
    pub requests_total: Size,
    /// Bytes of a page of history; one event always fits.
    pub history_bytes: Size,
    /// Pages of history a second that one client address may have from an application by /askr/history.
    pub history_rate: u32,

    /// What happens to a client that is slower than its events, once the bounds below are reached.
    /// `replay`: it gets the rest from the ring at its own pace, with a gap for what the ring no longer has.
    /// `skip`: it continues with the newest events, after a gap with the number of those it lost. `close`: it is
    /// disconnected, and resumes by its cursor.
    pub slow_clients: SlowClients,
    /// Frames waiting for one slow client.
    pub outbox_frames: usize,
    /// Bytes waiting for one slow client. One frame always fits.
    pub outbox_bytes: Size,
    /// Bytes of memory for events, in every form: on their way to clients, waiting for slow ones, cached for
    /// replays. Shared bytes count once. As it fills up, caches are emptied first; then the outboxes of slow
    /// clients are dropped, first of those that have held the most for the longest (`slow_clients`).
    pub outbox_total: Size,
    /// Seconds a client may accept nothing while something waits for it, events or an answer. Over TCP also
    /// those in which it may acknowledge nothing at all, but then at least 30.
    pub write_timeout: f64,

    /// Seconds between pings, which keep a quiet stream alive and carry its cursor.
    pub ping: f64,
    /// Seconds after which a stream is ended, a tenth less at random, so that clients spread over the
    /// servers behind a load balancer. Checked once a ping. 0: never.
    pub stream_max_age: u32,
    /// Seconds without an event after which a stream is ended. Checked once a ping. 0: never.
    pub stream_max_idle: u32,
    /// Milliseconds a browser waits before it reconnects; varied by a quarter up and down.
    pub retry: u32,
    /// Clients that a planned restart asks to reconnect in one second, more or less.
    pub reconnect_rate: u32,
    /// Seconds a shutdown may take to drain all connections.
    pub drain: f64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:8080".to_owned()],
            socket_mode: Mode(0o660),
            socket_group: String::new(),
            control: String::new(),
            metrics: String::new(),
            dashboard: String::new(),
            dashboard_secret_file: String::new(),
            state_directory: String::new(),
            workers: 0,
            io: Io::Auto,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            allowed_headers: Vec::new(),
            trusted_proxies: Vec::new(),
            max_connections: 0,
            connections_per_address: -1,
            channels_per_stream: 100,
            channels_per_socket: 200,
            activity_timeout: 120.0,
            pong_timeout: 30.0,
            max_channels: 1_000_000,
            channels_per_address: -1,
            subscribers_per_channel: 0,
            header_bytes: Size(16 << 10),
            header_timeout: 10.0,
            body_bytes: Size(64 << 10),
            requests_total: Size(0),
            history_bytes: Size(1 << 20),
            history_rate: 20,
            slow_clients: SlowClients::Replay,
            outbox_frames: 1024,
            outbox_bytes: Size(1 << 20),
            outbox_total: Size(256 << 20),
            write_timeout: 60.0,
            ping: 15.0,
            stream_max_age: 0,
            stream_max_idle: 0,
            retry: 2000,
            reconnect_rate: 2000,
            drain: 5.0,
        }
    }
}

impl Server {
    /// Connections of one client, of `pool` of them.
    pub fn connections_share(&self, pool: usize) -> u32 {
        let default = shares::by_default(pool, DEFAULT_PER_ADDRESS);
        shares::of_setting(self.connections_per_address, default)
    }

    /// What one client may hold in an application with so many channels.
    pub fn holdings(&self, max_channels: usize) -> holdings::Limits {
        let default = shares::by_default(max_channels, DEFAULT_CHANNELS_PER_ADDRESS);
        holdings::Limits {
            channels: shares::of_setting(self.channels_per_address, default),
            subscriptions: match self.subscribers_per_channel {
                0 => shares::ANY,
                most => shares::by_default(most as usize, shares::ANY),
            },
        }
    }

    /// The Unix sockets of `listen`.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let socket = |text: &String| match text.parse() {
            Ok(Address::Unix(path)) => Some(path),
            _ => None,
        };
        self.listen.iter().filter_map(socket).collect()
    }

    /// The file of the operator's secrets, if one is named.
    pub fn operators_file(&self) -> Option<&Path> {
        let file = &self.dashboard_secret_file;
        (!file.is_empty()).then(|| Path::new(file))
    }

    /// None: no control socket.
    pub fn control_path(&self) -> Option<PathBuf> {
        match self.control.as_str() {
            "none" => None,
            "" => Path::new(DEFAULT_CONTROL)
                .parent()
                .is_some_and(Path::is_dir)
                .then(|| DEFAULT_CONTROL.into()),
            path => Some(path.strip_prefix("unix:").unwrap_or(path).into()),
        }
    }

    pub fn state_directory(&self) -> Option<PathBuf> {
        match self.state_directory.as_str() {
            // systemd.exec(5); of several, the first.
            "" => std::env::var("STATE_DIRECTORY")
                .ok()
                .and_then(|all| all.split(':').next().map(PathBuf::from)),
            path => Some(path.into()),
        }
    }

    pub fn ping(&self) -> Duration {
        Duration::from_secs_f64(self.ping)
    }

    pub fn silence(&self) -> keepalive::Limits {
        keepalive::Limits {
            after: (self.activity_timeout * 1000.0) as u64,
            answer: (self.pong_timeout * 1000.0) as u64,
        }
    }

    pub fn header_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.header_timeout)
    }

    pub fn write_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.write_timeout)
    }

    pub fn drain(&self) -> Duration {
        Duration::from_secs_f64(self.drain)
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        self.check_addresses()?;
        self.check_names()?;
        self.check_headers()?;
        self.check_limits()?;
        self.check_times()
    }

    fn check_addresses(&self) -> Result<(), Wrong> {
        if self.listen.is_empty() {
            return Err(("server", "listen", "must name at least one address".into()));
        }
        for address in &self.listen {
            address
                .parse::<Address>()
                .map_err(|why| ("server", "listen", why))?;
        }
        self.check_own("metrics", &self.metrics)?;
        self.check_own("dashboard", &self.dashboard)?;
        let is_tcp = matches!(self.dashboard.parse(), Ok(Address::Tcp(_)));
        if is_tcp && self.dashboard_secret_file.is_empty() {
            let why = "must name a file with a secret (openssl rand -hex 32): every user of this machine can reach an \
                       address, so the dashboard asks for it there";
            return Err(("server", "dashboard_secret_file", why.into()));
        }
        if !self.dashboard.is_empty()
            && self.dashboard == self.metrics
            && !self.metrics.ends_with(":0")
        {
            let why = "must be an address of its own, not that of server.metrics";
            return Err(("server", "dashboard", why.into()));
        }
        if let Some(path) = self.control_path()
            && !path.is_absolute()
        {
            return Err((
                "server",
                "control",
                "must be an absolute path, or \"none\"".into(),
            ));
        }
        Ok(())
    }

    /// An address that only operators may reach: none of those of viewers.
    fn check_own(&self, key: &'static str, address: &str) -> Result<(), Wrong> {
        if address.is_empty() {
            return Ok(());
        }
        let own = address.parse::<Address>();
        let own = own.map_err(|why| ("server", key, why))?;
        let listen = self.listen.iter();
        let mut others = listen.filter_map(|other| other.parse::<Address>().ok());
        // Port 0 is another one each time.
        if !address.ends_with(":0") && others.any(|other| other == own) {
            let why =
                "must be an address of its own, not one of server.listen: viewers reach those";
            return Err(("server", key, why.into()));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Wrong> {
        if self
            .allowed_hosts
            .iter()
            .any(|host| host.is_empty() || host.contains(['/', '*', ' ']))
        {
            return Err((
                "server",
                "allowed_hosts",
                "must be names such as \"example.com\"".into(),
            ));
        }
        Ok(())
    }

    fn check_headers(&self) -> Result<(), Wrong> {
        let wrong = |why| Err(("server", "allowed_headers", why));
        if self.allowed_headers.len() > MAX_HEADERS {
            return wrong(format!("may have {MAX_HEADERS} names at most"));
        }
        // `*` is a name by the grammar, and stands for any header in a response.
        let sound = |name: &str| {
            name != "*"
                && name.len() <= MAX_HEADER_NAME
                && HeaderName::from_bytes(name.as_bytes()).is_ok()
        };
        match self.allowed_headers.iter().find(|name| !sound(name)) {
            Some(name) => wrong(format!(
                "\"{name}\" must be a header's name such as \"X-Tenant\", {MAX_HEADER_NAME} characters at most"
            )),
            None => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), Wrong> {
        range("server", "workers", self.workers, 0, MAX_WORKERS)?;
        range(
            "server",
            "connections_per_address",
            self.connections_per_address,
            -1,
            1 << 31,
        )?;
        range(
            "server",
            "channels_per_stream",
            self.channels_per_stream,
            1,
            100,
        )?;
        let per_socket = self.channels_per_socket;
        range("server", "channels_per_socket", per_socket, 1, 10_000)?;
        range("server", "max_channels", self.max_channels, 1, 1 << 31)?;
        let per_address = self.channels_per_address;
        range("server", "channels_per_address", per_address, -1, 1 << 31)?;
        range(
            "server",
            "header_bytes",
            self.header_bytes.0,
            1 << 10,
            1 << 20,
        )?;
        range("server", "body_bytes", self.body_bytes.0, 0, 1 << 30)?;
        let bytes = self.history_bytes.0;
        range("server", "history_bytes", bytes, 1 << 10, 16 << 20)?;
        range("server", "history_rate", self.history_rate, 1, 1_000_000)?;
        range("server", "outbox_frames", self.outbox_frames, 1, 1 << 20)
    }

    /// In seconds, but for `retry` and the rate.
    fn check_times(&self) -> Result<(), Wrong> {
        for (key, seconds) in [
            ("activity_timeout", self.activity_timeout),
            ("pong_timeout", self.pong_timeout),
        ] {
            range("server", key, seconds, 1.0, 3600.0)?;
        }
        range("server", "header_timeout", self.header_timeout, 0.1, 600.0)?;
        range("server", "write_timeout", self.write_timeout, 0.1, 86_400.0)?;
        range("server", "ping", self.ping, 0.1, 3600.0)?;
        for (key, seconds) in [
            ("stream_max_age", self.stream_max_age),
            ("stream_max_idle", self.stream_max_idle),
        ] {
            range("server", key, seconds, 0, 1 << 30)?;
        }
        range("server", "retry", self.retry, 1, 3_600_000)?;
        let rate = self.reconnect_rate;
        range("server", "reconnect_rate", rate, 1, 1_000_000)?;
        range("server", "drain", self.drain, 0.0, 600.0)
    }
}
