//! Who may subscribe to what in one application: its authorizers in turn, each asked only about the channels that
//! none before it granted.
//!
//! Forged or expired credentials refuse the claim as a whole, even if another authorizer would grant access: the
//! client is to learn of them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use protocol::channel::Kind;
use shared::segment::now_ns;

use super::authorizer::{Access, Authorizer, Claim, Closed, Refused, Wanted};
use super::http_call::HttpCall;
use super::notes;
use super::signatures::Signatures;
use super::tokens::Tokens;
use crate::process::refusals;
use crate::process::refusals::Note;

/// The authorizers of one application.
#[derive(Debug, Default)]
pub struct Authority {
    tokens: Option<Tokens>,
    signatures: Option<Signatures>,
    http: Option<HttpCall>,
    /// The number of revocations.
    revocations: AtomicU64,
}

impl Authority {
    /// The authorizers that are configured.
    pub fn new(
        tokens: Option<Tokens>,
        signatures: Option<Signatures>,
        http: Option<HttpCall>,
    ) -> Self {
        Self {
            tokens,
            signatures,
            http,
            revocations: AtomicU64::new(0),
        }
    }

    /// The number of revocations so far. If it has changed, access that was granted before may be revoked.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(SeqCst)
    }

    /// The authorizer of tokens, if tokens are configured.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// The call to the application, if one is configured.
    pub fn http(&self) -> Option<&HttpCall> {
        self.http.as_ref()
    }

    /// The access to each channel, in order; the default for public channels.
    ///
    /// # Errors
    /// If access to one of them is not granted: the claim is then refused as a whole.
    pub async fn authorize(
        &self,
        claim: &Claim,
        channels: &[String],
    ) -> Result<Vec<Access>, Refused> {
        self.authorize_at(claim, channels, now_ns() / 1_000_000_000)
            .await
    }

    async fn authorize_at(
        &self,
        claim: &Claim,
        channels: &[String],
        now: u64,
    ) -> Result<Vec<Access>, Refused> {
        let mut accesses = vec![Access::default(); channels.len()];
        let mut closed: Vec<Wanted> = channels
            .iter()
            .zip(1..)
            .map(|(name, number)| Wanted { number, name })
            .filter(|channel| needs_authorization(channel.name))
            .collect();
        let mut why = Why::default();
        for authorizer in self.authorizers() {
            if closed.is_empty() {
                break;
            }
            let answers = authorizer.authorize(claim, &closed, now).await?;
            let mut still_closed = Vec::new();
            for (channel, answer) in closed.iter().zip(answers) {
                match answer.and_then(|access| with_user(access, *channel)) {
                    Ok(access) => accesses[channel.number - 1] = access,
                    Err(reason) => {
                        why.add(reason);
                        still_closed.push(*channel);
                    }
                }
            }
            closed = still_closed;
        }
        match closed.is_empty() {
            true => Ok(accesses),
            false => {
                if let Some(note) = why.note(closed.first().map_or("", |channel| channel.name)) {
                    refusals::report(note);
                }
                Err(why.refusal())
            }
        }
    }

    /// In the order in which they are asked: the cheapest first.
    fn authorizers(&self) -> impl Iterator<Item = &dyn Authorizer> {
        let tokens = self.tokens.as_ref().map(|one| one as &dyn Authorizer);
        let credentials = self.signatures.as_ref().map(|one| one as _);
        let http = self.http.as_ref().map(|one| one as _);
        [tokens, credentials, http].into_iter().flatten()
    }

    /// Revokes what was granted to this user until `now` (seconds since 1970).
    pub fn revoke_user(&self, user: &str, now: u64) {
        self.revoke(Some(user), now);
    }

    /// Revokes what was granted to anybody until `now`.
    pub fn revoke_all(&self, now: u64) {
        self.revoke(None, now);
    }

    fn revoke(&self, user: Option<&str>, now: u64) {
        for authorizer in self.authorizers() {
            authorizer.revoke(user, now);
        }
        // After authorizers refuse it, before streams are ended.
        self.revocations.fetch_add(1, SeqCst);
    }
}

fn needs_authorization(channel: &str) -> bool {
    Kind::of(channel).needs_authorization()
}

/// Members need ids: access to a presence channel without a user is refused, whichever authorizer granted it.
fn with_user(access: Access, channel: Wanted) -> Result<Access, Closed> {
    if access.user.is_none() && Kind::of(channel.name).is_presence() {
        let number = channel.number;
        let reason = format!("channel {number} is presence-, and no user is named for it");
        return Err(Closed::NotGranted(reason));
    }
    Ok(access)
}

/// Why access is not granted: the first refusal of credentials, else all credentials that would be accepted.
#[derive(Default)]
struct Why {
    not_granted: Option<String>,
    not_shown: Vec<&'static str>,
}

impl Why {
    fn add(&mut self, reason: Closed) {
        match reason {
            Closed::NotGranted(reason) => {
                self.not_granted.get_or_insert(reason);
            }
            Closed::NotShown(what) if !self.not_shown.contains(&what) => self.not_shown.push(what),
            Closed::NotShown(_) => {}
        }
    }

    /// What is logged of it: not what an authorizer decided on valid credentials.
    fn note(&self, channel: &str) -> Option<Note> {
        match (&self.not_granted, &self.not_shown[..]) {
            (Some(_), _) => None,
            (None, []) => Some(notes::nobody_authorizes(channel)),
            (None, needed) => Some(notes::no_credentials(channel, &needed.join(" or "))),
        }
    }

    fn refusal(self) -> Refused {
        if let Some(reason) = self.not_granted {
            return Refused::Forbidden(reason);
        }
        if self.not_shown.is_empty() {
            let reason =
                "private- and presence- channels need an authorization, and [auth] is not set";
            return Refused::Forbidden(reason.into());
        }
        let what = self.not_shown.join(" or ");
        Refused::Unauthorized(format!("a private- or presence- channel needs {what}"))
    }
}

#[cfg(test)]
mod tests;
