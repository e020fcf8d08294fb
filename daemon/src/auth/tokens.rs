//! Tokens as an authorizer: the keys of the settings, and what was revoked.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use shared::secret::NamedSecret;
use shared::segment::now_ns;

use super::authorizer::{Access, Answer, Answers, Authorizer, Claim, Closed, Refused, Wanted};
use super::keys::{Key, MAX_KEYS};
use super::notes;
use super::revocations_file::{self, RevocationsFile};
use super::revoked::{Ahead, DEFAULT_USERS, Revoked};
use super::rotation::{Later, Rotation};
use super::token::{self, Grant, LEEWAY, Verifier};
use crate::config::Auth;
use crate::process::refusals;

/// The authorizer of one application's tokens.
#[derive(Debug)]
pub struct Tokens {
    /// Read by every worker for each token, written when the secrets have been read again.
    verifier: Arc<parking_lot::RwLock<Verifier>>,
    rotation: Option<Rotation>,
    /// Read by every worker for each token, written when something is revoked.
    revoked: Arc<RwLock<Revoked>>,
    file: Option<Arc<RevocationsFile>>,
    /// When a revocation in the future was last logged, in seconds since 1970.
    told: AtomicU64,
}

/// The least seconds between two log lines about revocations in the future.
const QUIET: u64 = 60;

impl Tokens {
    /// `secrets`: those of the application. None: no key is configured, so no token is accepted.
    ///
    /// # Errors
    /// The key of the invalid setting, and the reason, which never has a secret.
    pub fn new(
        secrets: Vec<NamedSecret>,
        auth: &Auth,
    ) -> Result<Option<Self>, (&'static str, String)> {
        let keys = keys(secrets, auth)?;
        if keys.is_empty() {
            return Ok(None);
        }
        let verifier = Verifier::new(keys, &auth.audience, auth.audience_required);
        Ok(Some(Self::with(verifier)))
    }

    fn grant_at(&self, token: &str, now: u64) -> Result<Grant, token::Refused> {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        let grant = self.verifier.read().verify(token, now, &revoked);
        if grant == Err(token::Refused::Revoked)
            && let Some(ahead) = revoked.ahead(now + LEEWAY)
        {
            self.tell(&ahead, now);
        }
        grant
    }

    /// A revocation that is in the future.
    pub fn ahead(&self, now: u64) -> Option<Ahead> {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.ahead(now + LEEWAY)
    }

    /// Logs that a token was refused for a time that has not come yet.
    fn tell(&self, ahead: &Ahead, now: u64) {
        let last = self.told.swap(now, Relaxed);
        if last.abs_diff(now) < QUIET {
            self.told.store(last, Relaxed);
            return;
        }
        tracing::error!(
            "a token was refused as revoked, and {ahead}: the clock was ahead then, or is behind now. If it is right now, restart \
             askrd: what was revoked in the future then counts as revoked at that moment"
        );
    }

    /// What a token grants. If no key verifies it, the keys may have changed: they are read again first.
    async fn grant(&self, claim: &Claim, token: &str, now: u64) -> Result<Grant, Refused> {
        let mut grant = self.grant_at(token, now);
        if let Err(token::Refused::Key | token::Refused::Signature) = grant
            && let Some(rotation) = &self.rotation
        {
            let read = rotation.read_again(claim.client).await;
            read.map_err(|Later| Refused::Away("the secrets are being read again".into()))?;
            grant = self.grant_at(token, now);
        }
        grant.map_err(|why| {
            refusals::report(notes::token(why, self.verifier.read().audience()));
            Refused::Unauthorized(why.to_string())
        })
    }

    /// With nothing revoked.
    pub fn with(verifier: Verifier) -> Self {
        Self {
            verifier: Arc::new(parking_lot::RwLock::new(verifier)),
            rotation: None,
            revoked: Arc::new(RwLock::new(Revoked::new(DEFAULT_USERS))),
            file: None,
            told: AtomicU64::new(0),
        }
    }

    /// From now on reads the secrets of `file` again when a token shows that they may have changed. `secrets`: all
    /// of the application, or why they cannot be read.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn rotate(
        &mut self,
        file: &Path,
        auth: &Auth,
        secrets: impl Fn() -> Result<Vec<NamedSecret>, String> + Send + Sync + 'static,
    ) -> io::Result<()> {
        let auth = auth.clone();
        let read = move || keys(secrets()?, &auth).map_err(|(_, why)| why);
        let rotation = Rotation::start(file, Box::new(read), self.verifier.clone())?;
        self.rotation = Some(rotation);
        Ok(())
    }

    /// Takes over what `before`, whose place it takes, knows of revocations, and its counts.
    pub fn succeed(&mut self, before: &Self) {
        self.revoked = before.revoked.clone();
        self.file = before.file.clone();
        self.told = AtomicU64::new(before.told.load(Relaxed));
        if let (Some(rotation), Some(before)) = (&mut self.rotation, &before.rotation) {
            rotation.continue_counts(before);
        }
    }

    /// Reading the secrets again, if they are in a file.
    pub fn rotation(&self) -> Option<&Rotation> {
        self.rotation.as_ref()
    }

    /// Reads the revocations of this file, and keeps it up to date from now on. It writes to the file at once, so
    /// it must not be called where settings are only checked.
    ///
    /// # Errors
    /// The key of the setting, and why the file cannot be read or written.
    pub fn keep_in(&mut self, path: &Path) -> Result<(), (&'static str, String)> {
        let named = |why| ("state_directory", why);
        let known = revocations_file::read(path, now_ns() / 1_000_000_000).map_err(named)?;
        *self.write() = known;
        let file = RevocationsFile::start(path, self.revoked.clone()).map_err(named)?;
        self.file = Some(Arc::new(file));
        Ok(())
    }

    /// The second up to which everybody's tokens are refused, and that of each user.
    pub fn revocations(&self) -> (Option<u64>, Vec<(u64, String)>) {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        let users = revoked.users().map(|(at, user)| (at, user.to_owned()));
        (revoked.floor(), users.collect())
    }

    /// The file of revocations, if there is one.
    pub fn file(&self) -> Option<&RevocationsFile> {
        self.file.as_deref()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Revoked> {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of these secrets and of the settings.
///
/// # Errors
/// The key of the invalid setting, and the reason.
fn keys(secrets: Vec<NamedSecret>, auth: &Auth) -> Result<Vec<Key>, (&'static str, String)> {
    let mut keys: Vec<Key> = secrets.into_iter().map(Key::from).collect();
    for text in &auth.public_keys {
        keys.push(Key::public(text).map_err(|why| ("public_keys", why))?);
    }
    if keys.len() > MAX_KEYS {
        let why = format!("must be at most {MAX_KEYS}, secrets included");
        return Err(("public_keys", why));
    }
    Ok(keys)
}

fn without_token(channels: &[Wanted]) -> Vec<Answer> {
    let what = Closed::NotShown("a token (Authorization, cookie or query)");
    channels.iter().map(|_| Err(what.clone())).collect()
}

fn by_grant(grant: &Grant, channels: &[Wanted]) -> Vec<Answer> {
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
    channels.iter().map(answer).collect()
}

impl Authorizer for Tokens {
    fn authorize<'a>(
        &'a self,
        claim: &'a Claim,
        channels: &'a [Wanted<'a>],
        now: u64,
    ) -> Answers<'a> {
        let answers = async move {
            let Some(token) = &claim.token else {
                return Ok(without_token(channels));
            };
            let grant = self.grant(claim, token, now).await?;
            Ok(by_grant(&grant, channels))
        };
        Box::pin(answers)
    }

    fn at_once(&self, claim: &Claim, channels: &[Wanted], now: u64) -> Option<Vec<Answer>> {
        let Some(token) = &claim.token else {
            return Some(without_token(channels));
        };
        let grant = self.grant_at(token, now).ok()?;
        Some(by_grant(&grant, channels))
    }

    fn revoke(&self, user: Option<&str>, now: u64) {
        match user {
            Some(user) => self.write().revoke_user(user, now),
            None => self.write().revoke_all(now),
        }
        if let Some(file) = &self.file {
            file.change();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::{keys, token};
    use super::*;

    fn kept_in(path: &Path) -> Result<Tokens, (&'static str, String)> {
        let mut tokens = Tokens::with(Verifier::new(keys(), "shop", false));
        tokens.keep_in(path)?;
        Ok(tokens)
    }

    #[test]
    fn a_revocation_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revocations");
        let now = now_ns() / 1_000_000_000;
        let claims =
            |user, issued| format!(r#"{{"exp":{},"iat":{issued},"sub":"{user}"}}"#, now + 60);
        let [old, new, other] = [("7", now - 9), ("7", now), ("8", now - 9)]
            .map(|(user, issued)| token(&claims(user, issued)));
        let tokens = kept_in(&path).unwrap();
        assert!(tokens.grant_at(&old, now).is_ok());
        tokens.revoke(Some("7"), now - 1);
        assert_eq!(tokens.grant_at(&old, now), Err(token::Refused::Revoked));
        drop(tokens);
        let tokens = kept_in(&path).unwrap();
        assert_eq!(tokens.grant_at(&old, now), Err(token::Refused::Revoked));
        assert!(tokens.grant_at(&new, now).is_ok() && tokens.grant_at(&other, now).is_ok());
        tokens.revoke(None, now);
        drop(tokens);
        let tokens = kept_in(&path).unwrap();
        assert_eq!(tokens.grant_at(&other, now), Err(token::Refused::Revoked));
    }

    #[test]
    fn a_refusal_by_a_revocation_in_the_future_is_told_once_a_minute() {
        let tokens = Tokens::with(Verifier::new(keys(), "shop", false));
        let now = now_ns() / 1_000_000_000;
        let mine = token(&format!(r#"{{"exp":{},"iat":{now},"sub":"7"}}"#, now + 600));
        let refused = |at| {
            assert_eq!(tokens.grant_at(&mine, at), Err(token::Refused::Revoked));
            tokens.told.load(Relaxed)
        };
        tokens.revoke(Some("7"), now);
        assert_eq!(refused(now), 0, "as it should be");
        // The clock was an hour ahead.
        tokens.revoke(Some("8"), now + 3600);
        assert_eq!(refused(now), now);
        assert_eq!(refused(now + 59), now);
        assert_eq!(refused(now + 60), now + 60);
        let ahead = tokens.ahead(now).unwrap();
        assert_eq!(ahead.user.as_deref(), Some("8"));
        assert_eq!(tokens.ahead(now + 3600), None);
    }

    #[test]
    fn an_unusable_file_is_reported_with_its_setting() {
        let directory = tempfile::tempdir().unwrap();
        let (key, why) = kept_in(directory.path()).unwrap_err();
        assert_eq!(key, "state_directory");
        assert!(why.contains("must be a file"), "{why}");
    }
}
