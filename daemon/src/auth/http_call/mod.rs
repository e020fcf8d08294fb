//! The application as an authorizer: one POST for all channels of a claim, with the cookies that the viewer sent.
//!
//! ```text
//! POST /path                            {"socket_id":"1.2","channels":["private-a","presence-b"]}
//! X-Askr-Request: authorize      ──►
//! Cookie, Authorization, User-Agent,
//! Accept-Language, X-Forwarded-For ◄──  200 {"channels":{"private-a":true,"presence-b":{"user":"7"}}}
//! ```
//!
//! `X-Forwarded-For` has the one address that is known of the viewer, not what the viewer or others sent under this
//! name; it is missing if none is known.
//!
//! 401 and 403 refuse the claim as a whole. Any other status, or no answer in time, means that the application is
//! unavailable: no access is granted, and nothing is remembered. `answer` parses the response, `remembered` keeps
//! granted access for a while.
//!
//! Everything is bounded: time, concurrent calls, channels of a call, bytes of an answer, what is remembered. Each
//! client has a share of the calls and of what is remembered. What happens at a bound is counted. The application
//! is not asked about a viewer without credentials that it could know.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use parking_lot::{Mutex, MutexGuard};
use protocol::channel::Kind;
use protocol::user_bounds::UserBounds;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::authorizer::{Access, Answer, Answers, Authorizer, Claim, Closed, Refused, Wanted};
use super::remembered::{self, Key, Remembered};
use super::{answer, notes};
use crate::outbound::http_client;
use crate::outbound::http_client::{Bounds, Target};
use crate::process::shares::Shares;
use crate::process::{refusals, shares};

/// The headers of a viewer's request that are forwarded, and no others: none that tells an address.
const FORWARDED: [HeaderName; 4] = [COOKIE, AUTHORIZATION, USER_AGENT, ACCEPT_LANGUAGE];
const ADDRESS: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The reason that a viewer is sent; the real one is logged.
const AWAY: &str = "the application cannot be asked now";
/// The least seconds between two log lines about an unavailable application.
const QUIET: u64 = 10;

/// Bounds of the calls to one application.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The time of one call, until the last byte of the answer. Default: 5 s.
    pub time: Duration,
    /// Concurrent calls of all workers. Default: 64.
    pub calls: usize,
    /// One client's share of them.
    pub calls_per_client: u32,
    /// Whether it is also asked about viewers with neither a cookie nor `Authorization`. Default: no.
    pub anonymous: bool,
    /// Channels of one call. Default: 100.
    pub channels: usize,
    /// Seconds for which granted access is remembered; 0: not at all. Default: 30.
    pub remember: u64,
    /// The most entries that are remembered, one for each channel of a viewer. Default: 10,000.
    pub remembered: usize,
    /// How long the ids and infos of users may be.
    pub users: UserBounds,
}

impl Limits {
    /// The most bytes of an answer: enough for 100 channels with the largest info.
    pub const fn answer(users: UserBounds) -> usize {
        (128 << 10) + 128 * users.info
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(5),
            calls: 64,
            calls_per_client: shares::by_default(64, shares::ANY),
            anonymous: false,
            channels: 100,
            remember: 30,
            remembered: 10_000,
            users: UserBounds::default(),
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls made.
    pub asked: AtomicU64,
    /// Channels to which the application did not grant access.
    pub refused: AtomicU64,
    /// Calls without a usable answer.
    pub away: AtomicU64,
    /// Calls not made, because all concurrent calls were in use.
    pub full: AtomicU64,
    /// Calls not made, because the client's share was in use.
    pub share: AtomicU64,
    /// Calls not made, because the viewer has no credentials.
    pub anonymous: AtomicU64,
    /// Channels to which remembered access was granted, without a call.
    pub cached: AtomicU64,
}

/// The calls to one application, of all workers.
#[derive(Debug)]
pub struct HttpCall {
    target: Target,
    limits: Limits,
    calls: Semaphore,
    shares: Shares,
    remembered: Mutex<Remembered>,
    pub counts: Arc<Counts>,
    /// When it was last logged that the application is unavailable, in seconds since 1970.
    logged: AtomicU64,
}

#[derive(Serialize)]
struct Question<'a> {
    socket_id: Option<&'a str>,
    channels: Vec<&'a str>,
}

impl HttpCall {
    /// `url`: see [`Target`].
    ///
    /// # Errors
    /// What the URL must be.
    pub fn new(url: &str, limits: Limits) -> Result<Self, String> {
        Ok(Self {
            target: url.parse()?,
            limits,
            calls: Semaphore::new(limits.calls.min(Semaphore::MAX_PERMITS)),
            shares: Shares::new(limits.calls_per_client),
            remembered: Mutex::new(Remembered::new(limits.remember, limits.remembered)),
            counts: Arc::default(),
            logged: AtomicU64::new(0),
        })
    }

    /// Whether it calls this URL within these limits.
    pub fn is(&self, url: &str, limits: Limits) -> bool {
        url.parse::<Target>()
            .is_ok_and(|target| target == self.target)
            && limits == self.limits
    }

    /// Counts on from where `before`, whose place it takes, has come to.
    pub fn succeed(&mut self, before: &Self) {
        self.counts = before.counts.clone();
    }

    async fn ask(
        &self,
        claim: &Claim,
        channels: &[Wanted<'_>],
        now: u64,
    ) -> Result<Vec<Answer>, Refused> {
        if !self.limits.anonymous && !has_credentials(&claim.headers) {
            self.counts.anonymous.fetch_add(1, Relaxed);
            let what = "a cookie or an Authorization header that the application knows";
            return Ok(vec![Err(Closed::NotShown(what)); channels.len()]);
        }
        let headers = shown(claim);
        let viewer = remembered::viewer(&headers);
        let keys: Vec<Key> = channels
            .iter()
            .map(|channel| remembered::key(&viewer, channel.name))
            .collect();
        let (mut answers, generation) = {
            let remembered = self.remembered();
            let known = keys.iter().map(|key| remembered.get(key, now).map(Ok));
            (
                known.collect::<Vec<Option<Answer>>>(),
                remembered.generation(),
            )
        };
        let unknown: Vec<Wanted> = channels
            .iter()
            .zip(&answers)
            .filter_map(|(channel, known)| known.is_none().then_some(*channel))
            .collect();
        let cached = channels.len() - unknown.len();
        self.counts.cached.fetch_add(cached as u64, Relaxed);
        if !unknown.is_empty() {
            let decided = self.call(claim, headers, &unknown, now).await?;
            let refused = decided.iter().filter(|answer| answer.is_err()).count();
            self.counts.refused.fetch_add(refused as u64, Relaxed);
            let mut decided = decided.into_iter();
            let mut remembered = self.remembered();
            // Access was revoked meanwhile, which the application may not have known yet.
            if remembered.generation() != generation {
                return Err(self.away("was asked while access was being revoked", now));
            }
            for (answer, key) in answers.iter_mut().zip(keys) {
                if answer.is_none() {
                    *answer = decided.next();
                    if let Some(Ok(access)) = answer {
                        remembered.put(key, access.clone(), claim.client, now, generation);
                    }
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Asks about these channels. `headers`: those to forward.
    async fn call(
        &self,
        claim: &Claim,
        mut headers: HeaderMap,
        channels: &[Wanted<'_>],
        now: u64,
    ) -> Result<Vec<Answer>, Refused> {
        if channels.len() > self.limits.channels {
            let max = self.limits.channels;
            let reason = format!("the application is asked about at most {max} channels at once");
            return Err(Refused::Forbidden(reason));
        }
        let Some(_share) = self.shares.take(claim.client) else {
            self.counts.share.fetch_add(1, Relaxed);
            return Err(Refused::Away(AWAY.into()));
        };
        let Ok(_call) = self.calls.try_acquire() else {
            self.counts.full.fetch_add(1, Relaxed);
            return Err(self.away("is asked as often as is allowed at one time", now));
        };
        self.counts.asked.fetch_add(1, Relaxed);
        let question = Question {
            socket_id: claim.socket.as_deref(),
            channels: channels.iter().map(|channel| channel.name).collect(),
        };
        let body = serde_json::to_vec(&question).map_err(|why| self.lost(&why, now))?;
        headers.insert("x-askr-request", HeaderValue::from_static("authorize"));
        let bounds = Bounds {
            time: self.limits.time,
            answer: Limits::answer(self.limits.users),
        };
        let answer = http_client::post(&self.target, &headers, Bytes::from(body), bounds).await;
        let (status, body) = answer.map_err(|why| self.lost(&why, now))?;
        let all_refused = |refused: fn(String) -> Refused| {
            let count = channels.len() as u64;
            self.counts.refused.fetch_add(count, Relaxed);
            let first = channels.first().map_or("", |channel| channel.name);
            refusals::report(notes::application_refuses(first, status.as_u16()));
            Err(refused("the application refuses this viewer".into()))
        };
        match status {
            StatusCode::OK => answer::read(&body, channels, now, self.limits.users)
                .map_err(|why| self.lost(&format_args!("answered with what {why}"), now)),
            StatusCode::UNAUTHORIZED => all_refused(Refused::Unauthorized),
            StatusCode::FORBIDDEN => all_refused(Refused::Forbidden),
            other => {
                let status = other.as_u16();
                Err(self.lost(&format_args!("answered with status {status}"), now))
            }
        }
    }

    fn lost(&self, why: &dyn std::fmt::Display, now: u64) -> Refused {
        self.counts.away.fetch_add(1, Relaxed);
        self.away(why, now)
    }

    /// Logs the reason, at most every [`QUIET`] seconds. The viewer is not sent it.
    fn away(&self, why: &(impl std::fmt::Display + ?Sized), now: u64) -> Refused {
        let last = self.logged.load(Relaxed);
        let exchange = || self.logged.compare_exchange(last, now, Relaxed, Relaxed);
        if now.abs_diff(last) >= QUIET && exchange().is_ok() {
            tracing::warn!("{} {why}", self.target);
        }
        Refused::Away(AWAY.into())
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock()
    }
}

impl Authorizer for HttpCall {
    fn authorize<'a>(
        &'a self,
        claim: &'a Claim,
        channels: &'a [Wanted<'a>],
        now: u64,
    ) -> Answers<'a> {
        Box::pin(self.ask(claim, channels, now))
    }

    /// Where the application granted all of it recently.
    fn at_once(&self, claim: &Claim, channels: &[Wanted], now: u64) -> Option<Vec<Answer>> {
        if self.limits.remember == 0 || !self.limits.anonymous && !has_credentials(&claim.headers) {
            return None;
        }
        let viewer = remembered::viewer(&shown(claim));
        let remembered = self.remembered();
        // One that the authority would not take for this channel is not counted here.
        let takes = |channel: &Wanted, access: &Access| {
            access.user.is_some() || !Kind::of(channel.name).is_presence()
        };
        let known = |channel: &Wanted| {
            let known = remembered.get(&remembered::key(&viewer, channel.name), now);
            known.filter(|access| takes(channel, access))
        };
        let all: Option<Vec<Answer>> = channels.iter().map(|one| known(one).map(Ok)).collect();
        self.counts
            .cached
            .fetch_add(all.as_ref().map_or(0, Vec::len) as u64, Relaxed);
        all
    }

    /// Forgets remembered access, so that the application is asked again: it decides whom it refuses.
    fn revoke(&self, user: Option<&str>, _now: u64) {
        self.remembered().forget(user);
    }
}

/// Whether there are credentials that the application may know. Those that are not forwarded (a token in the
/// query, a signature) do not count.
fn has_credentials(headers: &HeaderMap) -> bool {
    headers.contains_key(COOKIE) || headers.contains_key(AUTHORIZATION)
}

/// The headers by which the application knows the viewer.
fn shown(claim: &Claim) -> HeaderMap {
    let mut headers = forwarded(&claim.headers);
    if let Some(address) = claim.address {
        let text = address.to_canonical().to_string();
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(ADDRESS, value);
        }
    }
    headers
}

/// Those of these headers that are forwarded; a claim that is kept needs no others. Always in the same order, so
/// that the same viewer has the same key. Copied: what is kept of a claim must not hold the whole request.
pub fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut forwarded = HeaderMap::new();
    for name in FORWARDED {
        for value in headers.get_all(&name) {
            let copied = HeaderValue::from_bytes(value.as_bytes());
            forwarded.append(&name, copied.unwrap_or_else(|_| value.clone()));
        }
    }
    forwarded
}

#[cfg(test)]
mod tests;
