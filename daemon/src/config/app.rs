//! An application's settings: `[app]` where there is one, `[[app]]` where one askrd serves several.

use std::time::Duration;

use protocol::user_bounds;
use protocol::user_bounds::UserBounds;
use serde::{Deserialize, Serialize};
use shared::event_names::{EventNames, NotAdded};
use shared::name::RingName;
use shared::secret::{NamedSecret, Secret};

use super::auth::Auth;
use super::origin::AllowedOrigin;
use super::ranges::range;
use super::units::Size;
use crate::outbound::http_client::Target;
use crate::outbound::webhooks::Endpoint;

const MAX_ID: usize = 64;
/// A user's own channel has the id in its name; each stream of a user and each call to the application may hold infos.
const MAX_ID_BYTES: f64 = user_bounds::MAX_ID as f64;
const MAX_INFO_BYTES: f64 = (16 << 10) as f64;

/// An application: its names, its limits, and who authorizes its subscribers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct App {
    /// 1 to 64 letters, digits, `_`, `-` and `.`. Pusher's app id, and what a token's `aud` must
    /// name, unless `auth.audience` is set.
    pub id: String,
    /// Pusher's app key: public, in every page. Empty: the id.
    pub key: String,
    /// Pusher's app secret, which also signs tokens: 20 to 512 printable characters. Empty: `secret_file`.
    #[serde(serialize_with = "hidden")]
    pub secret: String,
    /// File of secrets, one a line, `SECRET` or `NAME SECRET`. Empty: that of `[auth]`, in `[app]`.
    pub secret_file: String,
    /// Its ring. Empty: `ring.name`. No two applications share one.
    pub ring: String,
    /// Origins whose pages may subscribe. Empty: `server.allowed_origins`.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Authorizers of `private-` and `presence-` channels: `token`, `pusher`, `http`.
    pub authorizers: Vec<String>,
    /// Where the authorizer `http` calls the application: `http://host:port/path` or
    /// `unix:/socket:/path`. Empty: it is not called.
    pub auth_url: String,
    /// Seconds until it must have responded.
    pub auth_timeout: f64,
    /// Seconds for which its grants are cached. 0: not at all.
    pub auth_cache: u32,
    /// Calls at one time; more are refused with "later".
    pub auth_calls: usize,
    /// Calls at one time for one client address, counted as `server.connections_per_address` counts. -1: an
    /// eighth. 0: any number.
    pub auth_calls_per_address: i64,
    /// Whether it is also called for viewers with neither a cookie nor `Authorization`: for an application that
    /// authorizes them by address.
    pub auth_anonymous: bool,
    /// Seconds after which a connection of Pusher's protocol must have signed in, or shown a valid signature for a
    /// private or presence channel; it is ended with 4009. 0: it need not.
    pub authorize_timeout: u32,
    /// Connections. 0: as many as the daemon has.
    pub max_connections: usize,
    /// Different channels with a subscriber. 0: `server.max_channels`.
    pub max_channels: usize,
    /// Members of one presence channel (0: no limit but the next), and of all together; one user may be an eighth
    /// of all, or 100.
    pub channel_members: usize,
    pub members: usize,
    /// Bytes of a user's id, and of the info that members see of it, as JSON.
    pub user_id_bytes: usize,
    pub user_info_bytes: Size,
    /// Seconds for which a member stays after its connection was lost.
    pub presence_grace: f64,
    /// Where webhooks are sent (Pusher's webhooks: what happens on the application's channels):
    /// `http://host:port/path` or `unix:/socket:/path`. Empty: nowhere.
    pub webhook_url: String,
    /// Which events: `channel_occupied`, `channel_vacated`, `member_added`, `member_removed`,
    /// `client_event`, `cache_miss`, `subscription_count`. Empty: all.
    pub webhook_events: Vec<String>,
    /// Only of channels whose name begins so.
    pub webhook_prefix: String,
    /// Seconds until it must have responded.
    pub webhook_timeout: f64,
    /// Whether subscribers of a channel are sent its number of subscribers when it changes; above 100 at most
    /// every 5 seconds. Not on presence channels.
    pub subscription_counts: bool,
    /// Bytes of the data of an event published over Pusher's HTTP API.
    pub api_payload: Size,
    /// Events of a batch published over it. 0: as many as the body has room for.
    pub api_batch: usize,
    /// Whether subscribers of private and presence channels may send to one another (`client-…`).
    pub client_events: bool,
    /// Client events a second: of one connection (0: as many as messages of any kind), and of all together (an
    /// eighth from one client address).
    pub client_event_rate: u32,
    pub client_events_total: u32,
    /// Bytes of a client event's data.
    pub client_event_bytes: Size,
    /// The names that events may have.
    pub events: Vec<String>,
    /// Whether others are refused, of the HTTP API and of client events.
    pub strict: bool,
    /// The public URL of its Mercure hub, whose path askrd serves. Empty: there is none.
    pub mercure_url: String,
    /// Who issues tokens of Mercure 1.0, `ISSUER FILE`: what the claim `iss` says, and the file of its keys.
    pub mercure_issuers: Vec<String>,
    /// File of the keys of tokens of Mercure 0.x. Empty: 0.x is not spoken.
    pub mercure_legacy_key_file: String,
    /// Whether public updates are also for subscribers without a token.
    pub mercure_anonymous: bool,
    /// The cookies that a token may be in, of 1.0 and of 0.x.
    pub mercure_cookie: String,
    pub mercure_legacy_cookie: String,
    /// Matchers of one subscriber.
    pub mercure_matchers: usize,
    /// Different patterns that are subscribed to, in all and from one address.
    pub mercure_patterns: usize,
    pub mercure_patterns_per_address: u32,
    /// Bytes of the different patterns that subscribers were granted.
    pub mercure_grants: Size,
}

impl Default for App {
    fn default() -> Self {
        Self {
            id: "askr".to_owned(),
            key: String::new(),
            secret: String::new(),
            secret_file: String::new(),
            ring: String::new(),
            allowed_origins: Vec::new(),
            authorizers: ["token", "pusher", "http"].map(str::to_owned).into(),
            auth_url: String::new(),
            auth_timeout: 5.0,
            auth_cache: 30,
            auth_calls: 64,
            auth_calls_per_address: -1,
            auth_anonymous: false,
            authorize_timeout: 0,
            max_connections: 0,
            max_channels: 0,
            channel_members: 100,
            members: 100_000,
            user_id_bytes: 128,
            user_info_bytes: Size(1024),
            presence_grace: 5.0,
            webhook_url: String::new(),
            webhook_events: Vec::new(),
            webhook_prefix: String::new(),
            webhook_timeout: 5.0,
            subscription_counts: false,
            api_payload: Size(256 << 10),
            api_batch: 10,
            client_events: true,
            client_event_rate: 10,
            client_events_total: 10_000,
            client_event_bytes: Size(10 << 10),
            events: Vec::new(),
            strict: false,
            mercure_url: String::new(),
            mercure_issuers: Vec::new(),
            mercure_legacy_key_file: String::new(),
            mercure_anonymous: false,
            mercure_cookie: "__Secure-mercure_access_token".to_owned(),
            mercure_legacy_cookie: "mercureAuthorization".to_owned(),
            mercure_matchers: 100,
            mercure_patterns: 10_000,
            mercure_patterns_per_address: 1000,
            mercure_grants: Size(64 << 20),
        }
    }
}

/// `askrd check` prints the settings.
pub(super) fn hidden<S: serde::Serializer>(secret: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(if secret.is_empty() { "" } else { "(set)" })
}

/// What is wrong: key and reason.
type Wrong = (&'static str, String);

/// Bytes of a request's body in Pusher's HTTP API, where an event's data has up to `payload` bytes: JSON inside
/// JSON may double them, and a batch of small events is allowed.
pub const fn api_body_bytes(payload: usize) -> usize {
    (64 << 10) + 3 * payload
}

impl App {
    pub fn key(&self) -> &str {
        if self.key.is_empty() {
            &self.id
        } else {
            &self.key
        }
    }

    /// Whether `authorizer` is one of its authorizers.
    pub fn asks(&self, authorizer: &str) -> bool {
        self.authorizers.iter().any(|name| name == authorizer)
    }

    pub fn webhook(&self) -> Endpoint {
        Endpoint {
            url: self.webhook_url.clone(),
            events: self.webhook_events.clone(),
            channel_prefix: self.webhook_prefix.clone(),
            timeout: Duration::from_secs_f64(self.webhook_timeout),
        }
    }

    /// How long the ids and infos of its users may be.
    pub fn users(&self) -> UserBounds {
        UserBounds {
            id: self.user_id_bytes,
            info: self.user_info_bytes.0 as usize,
        }
    }

    /// Bytes of a message of a WebSocket: a client event, its envelope, and as much again for what JSON escapes; a
    /// subscription with a user's info; a sign-in with a watchlist.
    pub fn message_bytes(&self) -> usize {
        let client_event = 2 * self.client_event_bytes.0 as usize + 2048;
        let subscription = 2 * self.users().data() + 2048;
        let sign_in = (16 << 10) + 100 * self.user_id_bytes.saturating_sub(128);
        client_event.max(subscription).max(sign_in)
    }

    /// The only names that events may have; None: any.
    ///
    /// # Errors
    /// Which name is none, or that there are too many.
    pub fn event_names(&self) -> Result<Option<EventNames>, String> {
        let mut names = EventNames::new();
        for name in &self.events {
            let added = names.add(name.as_bytes());
            added.map_err(|why| match why {
                NotAdded::Name(why) => format!("\"{}\" {why}", name.escape_default()),
                NotAdded::Full => why.to_string(),
            })?;
        }
        Ok(self.strict.then_some(names))
    }

    pub fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.presence_grace)
    }

    /// Its signing secrets, the newest first.
    ///
    /// # Errors
    /// The key that cannot be used, and why; never a secret.
    pub fn secrets(&self, auth: &Auth) -> Result<Vec<NamedSecret>, Wrong> {
        let mut secrets = Vec::new();
        if !self.secret.is_empty() {
            let secret = Secret::new(&self.secret).map_err(|why| ("secret", why.to_owned()))?;
            secrets.push(NamedSecret { kid: None, secret });
        }
        if let Some(path) = auth.secret_file() {
            let more = shared::secret::read(path).map_err(|why| ("secret_file", why))?;
            secrets.extend(more);
        }
        Ok(secrets)
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        self.check_names()?;
        self.check_events()?;
        self.check_limits()?;
        self.check_urls()?;
        self.check_mercure()
    }

    fn check_names(&self) -> Result<(), Wrong> {
        if self.id.is_empty() || !is_name(&self.id) {
            return Err(("id", bad_name()));
        }
        if !is_name(&self.key) {
            return Err(("key", bad_name()));
        }
        if !self.ring.is_empty() {
            let parsed = self.ring.parse::<RingName>();
            parsed.map_err(|bad| ("ring", bad.to_string()))?;
        }
        for name in &self.authorizers {
            if !["token", "pusher", "http"].contains(&name.as_str()) {
                let why = format!("\"{name}\" must be \"token\", \"pusher\" or \"http\"");
                return Err(("authorizers", why));
            }
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), Wrong> {
        self.event_names().map_err(|why| ("events", why))?;
        if self.strict && self.events.is_empty() {
            let why = "needs the names that events may have, in events";
            return Err(("strict", why.to_owned()));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), Wrong> {
        let range = |key, value: f64, least, most| {
            range("app", key, value, least, most).map_err(|(_, key, why)| (key, why))
        };
        range("auth_timeout", self.auth_timeout, 0.1, 60.0)?;
        range("auth_cache", self.auth_cache.into(), 0.0, 3600.0)?;
        range("auth_calls", self.auth_calls as f64, 1.0, 10_000.0)?;
        let per_address = self.auth_calls_per_address as f64;
        range("auth_calls_per_address", per_address, -1.0, 10_000.0)?;
        range(
            "authorize_timeout",
            self.authorize_timeout.into(),
            0.0,
            3600.0,
        )?;
        range("channel_members", self.channel_members as f64, 0.0, 1e6)?;
        range("members", self.members as f64, 1.0, 1e7)?;
        let id_bytes = self.user_id_bytes as f64;
        range("user_id_bytes", id_bytes, 1.0, MAX_ID_BYTES)?;
        let info_bytes = self.user_info_bytes.0 as f64;
        range("user_info_bytes", info_bytes, 2.0, MAX_INFO_BYTES)?;
        range("presence_grace", self.presence_grace, 0.0, 3600.0)?;
        range("webhook_timeout", self.webhook_timeout, 0.1, 60.0)?;
        range("api_payload", self.api_payload.0 as f64, 1.0, 16e6)?;
        range("api_batch", self.api_batch as f64, 0.0, 1e6)?;
        range(
            "client_event_rate",
            self.client_event_rate.into(),
            0.0,
            10_000.0,
        )?;
        range(
            "client_events_total",
            self.client_events_total.into(),
            1.0,
            1e7,
        )?;
        range(
            "client_event_bytes",
            self.client_event_bytes.0 as f64,
            1.0,
            1e6,
        )
    }

    fn check_urls(&self) -> Result<(), Wrong> {
        if !self.auth_url.is_empty() {
            let parsed = self.auth_url.parse::<Target>();
            parsed.map_err(|why| ("auth_url", why))?;
        }
        if !self.webhook_url.is_empty() {
            self.webhook().check().map_err(|(key, why)| match key {
                "events" => ("webhook_events", why),
                _ => ("webhook_url", why),
            })?;
        }
        Ok(())
    }
}

/// Whether it may name an application or a host.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    text.len() <= MAX_ID && text.bytes().all(plain)
}

pub(super) fn bad_name() -> String {
    format!("must be 1 to {MAX_ID} letters, digits, \"_\", \"-\" or \".\"")
}
