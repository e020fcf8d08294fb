//! What tokens are checked by, as the settings say.

use shared::segment::now_ns;

use super::keys::{Key, MAX_KEYS};
use super::revoked::{DEFAULT_USERS, Revoked};
use super::token::{Grant, Refused, Verifier};
use crate::settings::Auth;

#[derive(Debug)]
pub struct Tokens {
    verifier: Verifier,
    revoked: Revoked,
}

impl Tokens {
    /// None: no key is set, so that no token is accepted.
    ///
    /// # Errors
    /// The key of the setting that cannot be used, and why; never a secret.
    pub fn new(auth: &Auth) -> Result<Option<Self>, (&'static str, String)> {
        let mut keys = Vec::new();
        if let Some(path) = auth.secret_file() {
            let secrets = shared::secret::read(path).map_err(|why| ("secret_file", why))?;
            keys.extend(secrets.into_iter().map(Key::from));
        }
        for text in &auth.public_keys {
            keys.push(Key::public(text).map_err(|why| ("public_keys", why))?);
        }
        if keys.len() > MAX_KEYS {
            let why = format!("must be at most {MAX_KEYS}, secrets included");
            return Err(("public_keys", why));
        }
        if keys.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            verifier: Verifier::new(keys, &auth.audience, auth.audience_required),
            revoked: Revoked::new(DEFAULT_USERS),
        }))
    }

    /// # Errors
    /// See `Verifier::verify`.
    pub fn grant(&self, token: &str) -> Result<Grant, Refused> {
        let now = now_ns() / 1_000_000_000;
        self.verifier.verify(token, now, &self.revoked)
    }
}
