//! Tokens as an authorizer: what they are checked by, as the settings say, and what was revoked.

use std::sync::{Arc, PoisonError, RwLock};

use shared::secret::NamedSecret;
use shared::segment::now_ns;

use super::authorizer::{Access, Answers, Authorizer, Claim, Closed, Refused, Wanted};
use super::keys::{Key, MAX_KEYS};
use super::revoked::{DEFAULT_USERS, Revoked};
use super::token::{self, Grant, Verifier};
use crate::settings::Auth;

#[derive(Debug)]
pub struct Tokens {
    verifier: Verifier,
    /// Read by every worker for each token, written when an operator says so.
    revoked: Arc<RwLock<Revoked>>,
}

impl Tokens {
    /// `secrets`: those of the application. None: no key is set, so that no token is accepted.
    ///
    /// # Errors
    /// The key of the setting that cannot be used, and why; never a secret.
    pub fn new(
        secrets: Vec<NamedSecret>,
        auth: &Auth,
    ) -> Result<Option<Self>, (&'static str, String)> {
        let mut keys: Vec<Key> = secrets.into_iter().map(Key::from).collect();
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
        let verifier = Verifier::new(keys, &auth.audience, auth.audience_required);
        Ok(Some(Self::with(verifier)))
    }

    /// # Errors
    /// See `Verifier::verify`.
    pub fn grant(&self, token: &str) -> Result<Grant, token::Refused> {
        self.grant_at(token, now_ns() / 1_000_000_000)
    }

    fn grant_at(&self, token: &str, now: u64) -> Result<Grant, token::Refused> {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        self.verifier.verify(token, now, &revoked)
    }

    /// With nothing revoked.
    pub fn with(verifier: Verifier) -> Self {
        Self {
            verifier,
            revoked: Arc::new(RwLock::new(Revoked::new(DEFAULT_USERS))),
        }
    }
}

impl Authorizer for Tokens {
    fn authorize<'a>(
        &'a self,
        claim: &'a Claim,
        channels: &'a [Wanted<'a>],
        now: u64,
    ) -> Answers<'a> {
        let answers = || {
            let Some(token) = &claim.token else {
                let what = Closed::NotShown("a token (Authorization, cookie or query)");
                return Ok(channels.iter().map(|_| Err(what.clone())).collect());
            };
            let grant = self.grant_at(token, now);
            let grant = grant.map_err(|why| Refused::Unauthorized(why.to_string()))?;
            let answer = |channel: &Wanted| match grant.allows(channel.name) {
                true => Ok(Access {
                    user: grant.user.clone(),
                    info: grant.info.clone(),
                    expires: Some(grant.expires),
                    issued: grant.issued,
                }),
                false => Err(Closed::NotGranted(format!(
                    "the token does not grant channel {}",
                    channel.number
                ))),
            };
            Ok(channels.iter().map(answer).collect())
        };
        Box::pin(std::future::ready(answers()))
    }

    fn revoke(&self, user: Option<&str>, now: u64) {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        match user {
            Some(user) => revoked.revoke_user(user, now),
            None => revoked.revoke_all(now),
        }
    }
}
