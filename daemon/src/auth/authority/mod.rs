//! Who may subscribe to what in one application: its authorizers in turn, each asked only about the channels that
//! none before it granted.
//!
//! Forged or expired credentials refuse the claim as a whole, even if another authorizer would grant access: the
//! client is to learn of them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use protocol::channel::Kind;
use shared::segment::now_ns;

use super::authorizer::{Access, Answer, Authorizer, Claim, Closed, Refused, Wanted};
use super::http_call::HttpCall;
use super::notes;
use super::signatures::Signatures;
use super::tokens::Tokens;
use crate::process::current::Current;
use crate::process::refusals;
use crate::process::refusals::Note;

/// Those that are configured.
#[derive(Debug, Default)]
pub struct Authorizers {
    pub tokens: Option<Tokens>,
    pub signatures: Option<Signatures>,
    pub http: Option<Arc<HttpCall>>,
}

impl Authorizers {
    /// In the order in which they are asked: the cheapest first.
    fn in_turn(&self) -> impl Iterator<Item = &dyn Authorizer> {
        let tokens = self.tokens.as_ref().map(|one| one as &dyn Authorizer);
        let signatures = self.signatures.as_ref().map(|one| one as _);
        let http = self.http.as_deref().map(|one| one as _);
        [tokens, signatures, http].into_iter().flatten()
    }
}

/// The authorizers of one application.
#[derive(Debug, Default)]
pub struct Authority {
    /// Replaced at a reload: a claim is decided by those that were there when it came.
    authorizers: Current<Authorizers>,
    /// The number of revocations.
    revocations: AtomicU64,
}

impl Authority {
    pub fn new(authorizers: Authorizers) -> Self {
        Self {
            authorizers: Current::new(authorizers),
            revocations: AtomicU64::new(0),
        }
    }

    /// The authorizers from now on. They know what those before them have revoked.
    pub fn replace(&self, authorizers: Authorizers) {
        self.authorizers.set(authorizers);
    }

    pub fn authorizers(&self) -> Arc<Authorizers> {
        self.authorizers.get()
    }

    /// The number of revocations so far. If it has changed, access that was granted before may be revoked.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(SeqCst)
    }

    pub fn takes_tokens(&self) -> bool {
        self.authorizers().tokens.is_some()
    }

    /// Whether the application itself is asked.
    pub fn calls_the_application(&self) -> bool {
        self.authorizers().http.is_some()
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
        let now = now_ns() / 1_000_000_000;
        ask(self.authorizers().in_turn(), claim, channels, now).await
    }

    /// The same, if access to all of them is granted and nobody has to be waited for. None: [`Self::authorize`] is to be asked,
    /// which also says why not.
    pub fn at_once(&self, claim: &Claim, channels: &[String]) -> Option<Vec<Access>> {
        let mut asking = Asking::new(channels);
        let now = now_ns() / 1_000_000_000;
        for authorizer in self.authorizers().in_turn() {
            if asking.closed.is_empty() {
                break;
            }
            asking.take(authorizer.at_once(claim, &asking.closed, now)?);
        }
        asking.closed.is_empty().then_some(asking.accesses)
    }

    /// The same by the claim's token alone.
    ///
    /// # Errors
    /// As of [`Self::authorize`], and if the application takes no tokens.
    pub async fn authorize_by_token(
        &self,
        claim: &Claim,
        channels: &[String],
    ) -> Result<Vec<Access>, Refused> {
        let authorizers = self.authorizers();
        let Some(tokens) = &authorizers.tokens else {
            refusals::report(notes::nobody_authorizes(
                channels.first().map_or("", String::as_str),
            ));
            let reason = "this application takes no tokens (app.authorizers, app.secret)";
            return Err(Refused::Unauthorized(reason.into()));
        };
        let now = now_ns() / 1_000_000_000;
        ask(std::iter::once(tokens as _), claim, channels, now).await
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
        for authorizer in self.authorizers().in_turn() {
            authorizer.revoke(user, now);
        }
        // After authorizers refuse it, before streams are ended.
        self.revocations.fetch_add(1, SeqCst);
    }
}

/// Asks these in turn, each only for the channels that are still closed.
async fn ask(
    authorizers: impl Iterator<Item = &dyn Authorizer>,
    claim: &Claim,
    channels: &[String],
    now: u64,
) -> Result<Vec<Access>, Refused> {
    let mut asking = Asking::new(channels);
    for authorizer in authorizers {
        if asking.closed.is_empty() {
            break;
        }
        let answers = authorizer.authorize(claim, &asking.closed, now).await?;
        asking.take(answers);
    }
    asking.end()
}

/// What is known of the channels of one claim so far.
struct Asking<'a> {
    accesses: Vec<Access>,
    /// Those that nobody granted yet, and why.
    closed: Vec<Wanted<'a>>,
    why: Why,
}

impl<'a> Asking<'a> {
    fn new(channels: &'a [String]) -> Self {
        let all = channels
            .iter()
            .zip(1..)
            .map(|(name, number)| Wanted { number, name });
        Self {
            accesses: vec![Access::default(); channels.len()],
            closed: all
                .filter(|channel| needs_authorization(channel.name))
                .collect(),
            why: Why::default(),
        }
    }

    /// The next authorizer's answers on those that are closed.
    fn take(&mut self, answers: Vec<Answer>) {
        let mut answers = answers.into_iter();
        self.closed.retain(|channel| {
            let Some(answer) = answers.next() else {
                return true;
            };
            match answer.and_then(|access| with_user(access, *channel)) {
                Ok(access) => {
                    self.accesses[channel.number - 1] = access;
                    false
                }
                Err(reason) => {
                    self.why.add(reason);
                    true
                }
            }
        });
    }

    fn end(self) -> Result<Vec<Access>, Refused> {
        let Some(first) = self.closed.first() else {
            return Ok(self.accesses);
        };
        refusals::report(self.why.note(first.name));
        Err(self.why.refusal())
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

    /// What is logged of it.
    fn note(&self, channel: &str) -> Note {
        match (&self.not_granted, &self.not_shown[..]) {
            (Some(reason), _) => notes::not_granted(channel, reason),
            (None, []) => notes::nobody_authorizes(channel),
            (None, needed) => notes::no_credentials(channel, &needed.join(" or ")),
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
