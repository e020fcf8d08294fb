//! What a daemon needs beside its settings, tried before it starts: secrets are read and turned into keys, and the
//! kernel is asked for io_uring. `check` and `serve` share it, so what was checked is what is used.

use shared::secret::{NamedSecret, Secret};
use shared::spec::RingSpec;

use crate::auth::tokens::Tokens;
use crate::config;
use crate::config::{Auth, Settings};
use crate::engine::transmit::Transmit;

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
}

/// What is wrong: section, key, reason.
pub type Wrong = (String, &'static str, String);

/// # Errors
/// The first thing that is missing; never a secret.
pub fn prepare(settings: &Settings) -> Result<Vec<Prepared>, Wrong> {
    let several = !settings.apps.is_empty();
    let mut prepared = Vec::new();
    for (n, (app, spec, auth)) in settings.applications().into_iter().enumerate() {
        let own = |key| key == "secret" || key == "secret_file" && !app.secret_file.is_empty();
        let named = |(key, why): (&'static str, String)| match (own(key), several) {
            (false, _) => ("auth".to_owned(), key, why),
            (true, false) => ("app".to_owned(), key, why),
            (true, true) => (format!("app[{}]", n + 1), key, why),
        };
        let secrets = app.secrets(&auth).map_err(named)?;
        let plain = secrets.iter().map(|named| named.secret.clone()).collect();
        let tokens = tokens(&app, secrets, &auth).map_err(named)?;
        prepared.push(Prepared {
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

/// Checks keys also where the application accepts no tokens: an invalid one is a mistake anyway.
fn tokens(
    app: &config::App,
    secrets: Vec<NamedSecret>,
    auth: &Auth,
) -> Result<Option<Tokens>, (&'static str, String)> {
    let tokens = Tokens::new(secrets, auth)?;
    Ok(tokens.filter(|_| app.asks("token")))
}
