//! Settings: what can be set, its unit, its default, what is allowed.
//!
//! Order of precedence: flags, then the environment (`ASKR_SECTION_KEY`), then the file, then the
//! defaults below. `settings/source.rs` does the merging.

mod app;
mod flags;
pub mod loading;
mod units;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use app::{App, api_body_bytes};
pub use flags::Flags;
use protocol::keepalive;
use serde::{Deserialize, Serialize};
use shared::name::RingName;
use shared::spec::{BadSpec, RingSpec};
pub use units::{Address, Io, Mode, Network, Size, SlowClients};

pub use crate::config::loading::{Problem, Sources, load};
use crate::hub::routes::MAX_WORKERS;
use crate::process::{holdings, shares};

/// The control socket used when none is set, if its directory exists.
pub const DEFAULT_CONTROL: &str = "/run/askr/control.sock";
/// Connections of one client address when nothing is set; loopback does not count then.
const DEFAULT_PER_ADDRESS: u32 = 1024;
/// Different channels of one client address when nothing is set.
const DEFAULT_CHANNELS_PER_ADDRESS: u32 = 10_000;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub ring: Ring,
    pub server: Server,
    pub broadcast: Broadcast,
    pub auth: Auth,
    /// The one application, unless there are several.
    pub app: App,
    /// `[[app]]`, in place of `[app]`. Not a section of its own in the file.
    #[serde(skip)]
    pub apps: Vec<App>,
}

/// What is wrong: section, key, reason.
type Wrong = (&'static str, &'static str, String);

/// The shared memory that PHP writes. Larger rings hold longer histories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ring {
    /// A shared-memory name such as `/askr`, or a path on tmpfs.
    pub name: String,
    /// Events held, a power of two.
    pub slots: u64,
    /// Bytes of a slot, a power of two; what does not fit goes to the arena.
    pub slot_size: Size,
    /// Bytes for events larger than a slot, a power of two.
    pub arena: Size,
    /// Processes (threads under ZTS) that can publish at the same time.
    pub writers: u64,
    /// Permissions of the segment: who may write it may publish.
    pub mode: Mode,
    /// The segment's group, shared with the PHP users. Empty: the daemon's.
    pub group: String,
    /// A user that may own the segment, besides root, `askr` and the user who asks; for `askrd tail`
    /// and `askrd publish`. Empty: nobody else.
    pub owner: String,
    /// Bytes of the largest payload. 0: a sixteenth of the arena.
    pub max_payload: Size,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            name: RingName::DEFAULT.to_owned(),
            slots: 1 << 15,
            slot_size: Size(512),
            arena: Size(16 << 20),
            writers: 4096,
            mode: Mode(0o660),
            group: String::new(),
            owner: String::new(),
            max_payload: Size(0),
        }
    }
}

/// How browsers reach it, and what they may cost.
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
    /// Directory for what must outlive a restart: revoked tokens. Empty: systemd's StateDirectory, if there
    /// is one; else they are forgotten then.
    pub state_directory: String,
    /// Worker threads. 0: one per core.
    pub workers: usize,
    /// How events are written: `uring` (io_uring, many streams with one system call), `write`, or `auto`:
    /// io_uring where the kernel allows it.
    pub io: Io,
    /// `Host` names served, with or without a port. Empty: any.
    pub allowed_hosts: Vec<String>,
    /// Other origins whose pages may listen, exactly: `https://example.com`. No wildcard.
    pub allowed_origins: Vec<String>,
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
    /// Seconds of silence after which a WebSocket's client is asked whether it is there, and seconds it
    /// has to answer. Looked at once a `ping`.
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
    /// eighth. Past three quarters of it those that have been in progress longest give way. 0: 64 MiB, or
    /// four times the largest request, whichever is more.
    pub requests_total: Size,

    /// What becomes of a client that is slower than its events, once the bounds below are reached.
    /// `replay`: it gets the rest from the ring at its own pace, and is told what the ring no longer has.
    /// `skip`: it jumps to the present and is told how many events it lost. `close`: it is cut, and
    /// resumes by its cursor.
    pub slow_clients: SlowClients,
    /// Frames waiting for one slow client.
    pub outbox_frames: usize,
    /// Bytes waiting for one slow client. One frame always fits.
    pub outbox_bytes: Size,
    /// Bytes of memory for events, in every form and for whatever: on their way to clients, waiting for slow
    /// ones, kept for those that come back. What is shared counts once. As it fills up, caches are emptied
    /// first; then what waits for slow clients is given up, of those first that hold the most for the
    /// longest, which get it from the ring later (`slow_clients`).
    pub outbox_total: Size,
    /// Seconds a client may accept nothing while something waits for it, events or an answer. Over TCP also
    /// those in which it may acknowledge nothing at all, but then at least 30.
    pub write_timeout: f64,

    /// Seconds between comments that keep a quiet stream alive and tell it its cursor.
    pub ping: f64,
    /// Seconds after which a stream is ended, a tenth less at random, so that clients spread over the
    /// servers behind a load balancer. Looked at once a ping. 0: never.
    pub stream_max_age: u32,
    /// Seconds without an event after which a stream is ended. Looked at once a ping. 0: never.
    pub stream_max_idle: u32,
    /// Milliseconds a browser waits before it reconnects; varied by a quarter up and down.
    pub retry: u32,
    /// Seconds a shutdown may take to take leave of every client.
    pub drain: f64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:8080".to_owned()],
            socket_mode: Mode(0o660),
            socket_group: String::new(),
            control: String::new(),
            state_directory: String::new(),
            workers: 0,
            io: Io::Auto,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
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
            slow_clients: SlowClients::Replay,
            outbox_frames: 1024,
            outbox_bytes: Size(1 << 20),
            outbox_total: Size(256 << 20),
            write_timeout: 60.0,
            ping: 15.0,
            stream_max_age: 0,
            stream_max_idle: 0,
            retry: 2000,
            drain: 5.0,
        }
    }
}

/// What becomes of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Broadcast {
    /// Whether `askrd serve` serves at all.
    pub enabled: bool,
    /// Positions the index remembers, also of overwritten events, so that losses are told exactly.
    /// 0: four for each slot.
    pub index_entries: usize,
    /// Channels the index remembers.
    pub index_channels: usize,
    /// Events kept for a worker that is behind, and their bytes; past that its streams read them from the
    /// ring. One event always fits.
    pub queue: usize,
    pub queue_bytes: Size,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self {
            enabled: true,
            index_entries: 0,
            index_channels: 100_000,
            queue: 16_384,
            queue_bytes: Size(16 << 20),
        }
    }
}

/// Who may listen to `private-` channels: whoever bears a signed token (JWT, HS256 or Ed25519).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// File of secrets, one a line, `SECRET` or `NAME SECRET`: the one that PHP's askr.secret_file names.
    /// Read at the start. Empty: no token is accepted by a secret.
    pub secret_file: String,
    /// Ed25519 public keys, `KEY` or `KID KEY` in base64url, for tokens signed elsewhere.
    pub public_keys: Vec<String>,
    /// A token with an `aud` must name this.
    pub audience: String,
    /// Whether a token without `aud` is refused.
    pub audience_required: bool,
    /// Seconds before a token expires at which its stream is told (`askr:expiring`).
    pub expiry_notice: u32,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secret_file: String::new(),
            public_keys: Vec::new(),
            audience: "askr".to_owned(),
            audience_required: false,
            expiry_notice: 30,
        }
    }
}

impl Auth {
    pub fn secret_file(&self) -> Option<&Path> {
        (!self.secret_file.is_empty()).then(|| Path::new(&self.secret_file))
    }
}

impl Settings {
    /// The first thing wrong with values that have the right types: section, key, reason. What a daemon
    /// needs beside them (secrets, the kernel) is tried in `preflight`.
    pub fn check(&self) -> Result<(), (String, &'static str, String)> {
        let named = |(section, key, why): Wrong| (section.to_owned(), key, why);
        self.check_ring().map_err(named)?;
        self.check_server().map_err(named)?;
        self.check_apps()?;
        self.check_requests().map_err(named)?;
        let broadcast = &self.broadcast;
        range("auth", "expiry_notice", self.auth.expiry_notice, 0, 86_400).map_err(named)?;
        range("broadcast", "queue", broadcast.queue, 16, 1 << 24).map_err(named)?;
        let bytes = broadcast.queue_bytes.0;
        range("broadcast", "queue_bytes", bytes, 1 << 16, 1 << 40).map_err(named)?;
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

    fn check_ring(&self) -> Result<(), Wrong> {
        let ring = &self.ring;
        ring.name
            .parse::<RingName>()
            .map_err(|bad| ("ring", "name", bad.to_string()))?;
        let spec = ring.spec();
        let bad = |bad: BadSpec| ("ring", bad.key.trim_start_matches("ring."), bad.reason);
        spec.geometry().map_err(bad)?;
        spec.gid().map_err(bad)?;
        Ok(())
    }

    fn check_server(&self) -> Result<(), Wrong> {
        let server = &self.server;
        if server.listen.is_empty() {
            return Err(("server", "listen", "must name at least one address".into()));
        }
        for address in &server.listen {
            address
                .parse::<Address>()
                .map_err(|why| ("server", "listen", why))?;
        }
        if let Some(path) = server.control_path()
            && !path.is_absolute()
        {
            return Err((
                "server",
                "control",
                "must be an absolute path, or \"none\"".into(),
            ));
        }
        for origin in &server.allowed_origins {
            check_origin(origin).map_err(|why| ("server", "allowed_origins", why))?;
        }
        if server
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
        range("server", "workers", server.workers, 0, MAX_WORKERS)?;
        range(
            "server",
            "connections_per_address",
            server.connections_per_address,
            -1,
            1 << 31,
        )?;
        range(
            "server",
            "channels_per_stream",
            server.channels_per_stream,
            1,
            100,
        )?;
        let per_socket = server.channels_per_socket;
        range("server", "channels_per_socket", per_socket, 1, 10_000)?;
        for (key, seconds) in [
            ("activity_timeout", server.activity_timeout),
            ("pong_timeout", server.pong_timeout),
        ] {
            range("server", key, seconds, 1.0, 3600.0)?;
        }
        range("server", "max_channels", server.max_channels, 1, 1 << 31)?;
        let per_address = server.channels_per_address;
        range("server", "channels_per_address", per_address, -1, 1 << 31)?;
        range(
            "server",
            "header_bytes",
            server.header_bytes.0,
            1 << 10,
            1 << 20,
        )?;
        range(
            "server",
            "header_timeout",
            server.header_timeout,
            0.1,
            600.0,
        )?;
        range("server", "body_bytes", server.body_bytes.0, 0, 1 << 30)?;
        range("server", "outbox_frames", server.outbox_frames, 1, 1 << 20)?;
        range(
            "server",
            "write_timeout",
            server.write_timeout,
            0.1,
            86_400.0,
        )?;
        range("server", "ping", server.ping, 0.1, 3600.0)?;
        for (key, seconds) in [
            ("stream_max_age", server.stream_max_age),
            ("stream_max_idle", server.stream_max_idle),
        ] {
            range("server", key, seconds, 0, 1 << 30)?;
        }
        range("server", "retry", server.retry, 1, 3_600_000)?;
        range("server", "drain", server.drain, 0.0, 600.0)
    }
}

impl Ring {
    /// # Panics
    /// If the name was not checked.
    pub fn name(&self) -> RingName {
        self.name.parse().expect("checked with the settings")
    }

    pub fn owner(&self) -> Option<&str> {
        (!self.owner.is_empty()).then_some(self.owner.as_str())
    }

    pub fn spec(&self) -> RingSpec {
        RingSpec {
            name: self.name(),
            slots: self.slots,
            slot_size: self.slot_size.0,
            arena: self.arena.0,
            writers: self.writers,
            max_payload: (self.max_payload.0 > 0).then_some(self.max_payload.0),
            mode: self.mode.0,
            group: (!self.group.is_empty()).then(|| self.group.clone()),
        }
    }
}

impl Server {
    /// Connections of one client, of `pool` of them.
    pub fn connections_share(&self, pool: usize) -> u32 {
        let default = shares::by_default(pool, DEFAULT_PER_ADDRESS);
        shares::of_setting(self.connections_per_address, default)
    }

    /// What one client may hold, of an application with so many channels.
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

    /// None: no control socket wanted.
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
}

/// As a browser writes it: scheme and host in lower case, a port unless it is the scheme's own.
fn check_origin(origin: &str) -> Result<(), String> {
    let sound = origin == "null"
        || origin.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '*', ' ', '@'])
        });
    if sound && origin.to_ascii_lowercase() == origin {
        return Ok(());
    }
    Err(format!(
        "\"{origin}\" must be an exact origin such as \"https://example.com\""
    ))
}

fn range<T: PartialOrd + std::fmt::Display>(
    section: &'static str,
    key: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), Wrong> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err((
        section,
        key,
        format!("must be between {least} and {most}, not {value}"),
    ))
}
