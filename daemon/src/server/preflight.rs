//! What a daemon needs beside its settings, tried before it starts: secrets are read and turned into keys, and the
//! kernel is asked for io_uring. `check` and `serve` share it, so what was checked is what is used.

use std::path::Path;

use shared::secret::{NamedSecret, Secret};
use shared::spec::RingSpec;
use zeroize::Zeroizing;

use crate::auth::mercure::keys;
use crate::auth::mercure::tokens::HubTokens;
use crate::auth::tokens::Tokens;
use crate::config;
use crate::config::{Auth, Settings};
use crate::engine::transmit::Transmit;
use crate::observe::dashboard::operator_secrets;
use crate::observe::dashboard::operator_secrets::Reading;
use crate::outbound::redis::connection::{Options, Sentinel};
use crate::server::listeners::Access;

/// What a certificate begins with.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// An application whose settings, ring sizes and secrets are valid.
pub struct Prepared {
    pub app: config::App,
    pub spec: RingSpec,
    /// What it signs with, the newest first.
    pub secrets: Vec<Secret>,
    /// None: no token is accepted.
    pub tokens: Option<Tokens>,
    /// How its tokens are verified, and by which file.
    pub auth: Auth,
    /// The keys of its hub. None: it has no hub.
    pub hub: Option<HubTokens>,
}

/// All that is needed.
pub struct Preparation {
    pub apps: Vec<Prepared>,
    /// Where the server is that hosts share, and as whom to connect. None: there is one host.
    pub store: Option<Options>,
    /// What the dashboard asks for. None: for nothing.
    pub operators: Option<Reading>,
}

/// What is wrong: section, key, reason.
pub type Wrong = (String, &'static str, String);

/// # Errors
/// The first thing that is missing; never a secret.
pub fn prepare(settings: &Settings) -> Result<Preparation, Wrong> {
    groups(settings)?;
    let operators = operators(settings)?;
    Ok(Preparation {
        apps: apps(settings)?,
        store: store(settings)?,
        operators,
    })
}

/// The first thing that is missing of each kind, for settings that are not in force.
pub fn wrongs(settings: &Settings) -> Vec<Wrong> {
    let all = [
        groups(settings).err(),
        operators(settings).err(),
        apps(settings).err(),
        store(settings).err(),
    ];
    all.into_iter().flatten().collect()
}

/// What the dashboard asks for; nothing, if no file is named.
pub fn operators(settings: &Settings) -> Result<Option<Reading>, Wrong> {
    let file = settings.server.operators_file();
    let read = file.map(operator_secrets::read).transpose();
    read.map_err(|why| ("server".to_owned(), "dashboard_secret_file", why))
}

/// Those that are named exist.
fn groups(settings: &Settings) -> Result<(), Wrong> {
    let server = &settings.server;
    Access::new(server.socket_mode, &server.socket_group)
        .map_err(|why| ("server".to_owned(), "socket_group", why))?;
    let rings = settings.applications();
    let mut specs = rings.iter().map(|(_, spec, _)| spec);
    specs
        .try_for_each(|spec| spec.gid().map(drop))
        .map_err(|bad| ("ring".to_owned(), "group", bad.reason))
}

fn apps(settings: &Settings) -> Result<Vec<Prepared>, Wrong> {
    let several = !settings.apps.is_empty();
    let mut prepared = Vec::new();
    for (n, (app, spec, auth)) in settings.applications().into_iter().enumerate() {
        let own = |key: &str| {
            key == "secret"
                || key.starts_with("mercure_")
                || key == "secret_file" && !app.secret_file.is_empty()
        };
        let named = |(key, why): (&'static str, String)| match (own(key), several) {
            (false, _) => ("auth".to_owned(), key, why),
            (true, false) => ("app".to_owned(), key, why),
            (true, true) => (format!("app[{}]", n + 1), key, why),
        };
        let secrets = app.secrets(&auth).map_err(named)?;
        let plain = secrets.iter().map(|named| named.secret.clone()).collect();
        let tokens = tokens(&app, secrets, &auth).map_err(named)?;
        let hub = hub(&app).map_err(named)?;
        prepared.push(Prepared {
            hub,
            app,
            spec,
            secrets: plain,
            tokens,
            auth,
        });
    }
    Transmit::new(settings.server.io).map_err(|why| {
        let hint = "\"auto\" does without where it must";
        let why = format!("io_uring cannot be had here: {why}; {hint}");
        ("server".to_owned(), "io", why)
    })?;
    Ok(prepared)
}

/// The keys of an application's hub.
fn hub(app: &config::App) -> Result<Option<HubTokens>, (&'static str, String)> {
    let Some(hub) = app.mercure() else {
        return Ok(None);
    };
    let mut issuers = Vec::new();
    for issuer in app.mercure_issuers() {
        let read = keys::read(Path::new(&issuer.key_file));
        issuers.push((issuer.name, read.map_err(|why| ("mercure_issuers", why))?));
    }
    let legacy = app.mercure_legacy_key_file().map(keys::read).transpose();
    let legacy = legacy
        .map_err(|why| ("mercure_legacy_key_file", why))?
        .unwrap_or_default();
    let mut others = issuers.iter().flat_map(|(_, keys)| keys);
    if others.any(|key| legacy.iter().any(|old| old.is_same(key))) {
        let why = "has a key that mercure_issuers has too: whoever can make tokens of version 0.x, which may be without \
                   an end, could make those of 1.0";
        return Err(("mercure_legacy_key_file", why.to_owned()));
    }
    Ok(Some(HubTokens {
        hub,
        issuers,
        legacy,
    }))
}

fn store(settings: &Settings) -> Result<Option<Options>, Wrong> {
    let cluster = &settings.cluster;
    let Some(address) = cluster.address() else {
        return Ok(None);
    };
    let wrong = |key, why| ("cluster".to_owned(), key, why);
    let password = match cluster.password_file() {
        Some(path) => {
            let read = shared::secret::read_line(path);
            Some(read.map_err(|why| wrong("password_file", why))?)
        }
        None if cluster.password.is_empty() => None,
        None => Some(Zeroizing::new(cluster.password.clone())),
    };
    let sentinel = cluster.sentinel_password_file();
    let sentinel = sentinel.map(shared::secret::read_line).transpose();
    let sentinel = Sentinel {
        user: (!cluster.sentinel_user.is_empty()).then(|| cluster.sentinel_user.clone()),
        password: sentinel.map_err(|why| wrong("sentinel_password_file", why))?,
    };
    let ca = match cluster.ca_file.as_str() {
        "" => None,
        path => {
            let read = std::fs::read(path);
            let ca =
                read.map_err(|why| wrong("ca_file", format!("{path}: cannot be read: {why}")))?;
            let has_one = ca.windows(BEGIN.len()).any(|text| text == BEGIN);
            if !has_one {
                let why = format!("{path}: must hold certificates, as PEM");
                return Err(wrong("ca_file", why));
            }
            Some(ca)
        }
    };
    Ok(Some(Options {
        address,
        password,
        sentinel,
        ca,
        timeout: cluster.timeout(),
    }))
}

/// Checks keys also where the application accepts no tokens: an invalid one is a mistake anyway.
fn tokens(
    app: &config::App,
    secrets: Vec<NamedSecret>,
    auth: &Auth,
) -> Result<Option<Tokens>, (&'static str, String)> {
    let tokens = Tokens::new(secrets, auth)?;
    Ok(tokens.filter(|_| app.asks("token")))
}
