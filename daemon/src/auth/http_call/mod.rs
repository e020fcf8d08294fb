//! Asks the application: one POST for all channels of a claim, with the cookies that the viewer sent.
//!
//! ```text
//! POST /path                            {"socket_id":"1.2","channels":["private-a","presence-b"]}
//! X-Askr-Request: authorize      ──►
//! Cookie, Authorization, User-Agent,
//! X-Forwarded-For, Accept-Language ◄──  200 {"channels":{"private-a":true,"presence-b":{"user":"7"}}}
//! ```
//!
//! 401 and 403 refuse all of them. Anything else, or nothing in time, means that the application is away:
//! no channel is opened, and nothing is remembered of it. `answer` reads what comes back, `remembered`
//! keeps what was opened for a while.
//!
//! Everything is bounded: time, calls at one time, channels of a call, bytes of an answer, what is
//! remembered. Of the calls and of what is remembered each client has a share. What happens at a bound is
//! counted. About a viewer who shows nothing that the application could know anybody by, it is not asked.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::answer;
use super::authorizer::{Answer, Answers, Authorizer, Claim, Closed, Refused, Wanted};
use super::remembered::{self, Key, Remembered};
use crate::outbound::http_client;
use crate::outbound::http_client::{Bounds, Target};
use crate::process::shares;
use crate::process::shares::Shares;

/// What is forwarded of a viewer's request. Nothing else is.
const FORWARDED: [HeaderName; 5] = [
    COOKIE,
    AUTHORIZATION,
    USER_AGENT,
    HeaderName::from_static("x-forwarded-for"),
    ACCEPT_LANGUAGE,
];
/// Bytes of an answer: 100 channels with the largest info have room.
const MAX_ANSWER: usize = 256 << 10;
/// What a viewer is told, who learns no more.
const AWAY: &str = "the application cannot be asked now";
/// Seconds between two lines in the log about an application that is away.
const QUIET: u64 = 10;

/// What it may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// For one call, until its last byte.
    pub time: Duration,
    /// Calls at one time, of all workers.
    pub calls: usize,
    /// Of those, for one client.
    pub calls_per_client: u32,
    /// Whether it is also asked about viewers who show neither a cookie nor `Authorization`.
    pub anonymous: bool,
    /// Channels of one call.
    pub channels: usize,
    /// Seconds for which what was opened is remembered. 0: not at all.
    pub remember: u64,
    /// Channels of viewers that are remembered.
    pub remembered: usize,
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
        }
    }
}

/// What happened, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls made.
    pub asked: AtomicU64,
    /// Channels that the application did not open.
    pub refused: AtomicU64,
    /// Calls without a usable answer.
    pub away: AtomicU64,
    /// Calls not made, because there were as many as are allowed: of all, of one client.
    pub full: AtomicU64,
    pub share: AtomicU64,
    /// Calls not made, because the viewer shows nothing.
    pub anonymous: AtomicU64,
    /// Channels opened without a call.
    pub cached: AtomicU64,
}

/// The call to one application. For all workers.
#[derive(Debug)]
pub struct HttpCall {
    target: Target,
    limits: Limits,
    calls: Semaphore,
    shares: Shares,
    remembered: Mutex<Remembered>,
    pub counts: Counts,
    /// When it was last said in the log that the application is away.
    told: AtomicU64,
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
            counts: Counts::default(),
            told: AtomicU64::new(0),
        })
    }

    async fn ask(
        &self,
        claim: &Claim,
        channels: &[Wanted<'_>],
        now: u64,
    ) -> Result<Vec<Answer>, Refused> {
        if !self.limits.anonymous && !shows_anything(&claim.headers) {
            self.counts.anonymous.fetch_add(1, Relaxed);
            let what = "a cookie or an Authorization header that the application knows";
            return Ok(vec![Err(Closed::NotShown(what)); channels.len()]);
        }
        let shown = forwarded(&claim.headers);
        let viewer = remembered::viewer(&shown);
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
            let told = self.call(claim, &shown, &unknown, now).await?;
            let refused = told.iter().filter(|answer| answer.is_err()).count();
            self.counts.refused.fetch_add(refused as u64, Relaxed);
            let mut told = told.into_iter();
            let mut remembered = self.remembered();
            // Somebody was put out meanwhile, and the application may not have known it yet.
            if remembered.generation() != generation {
                return Err(self.away("was asked while somebody was put out", now));
            }
            for (answer, key) in answers.iter_mut().zip(keys) {
                if answer.is_none() {
                    *answer = told.next();
                    if let Some(Ok(access)) = answer {
                        remembered.put(key, access.clone(), claim.client, now, generation);
                    }
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// One question and its answer.
    async fn call(
        &self,
        claim: &Claim,
        shown: &HeaderMap,
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
        let mut headers = shown.clone();
        headers.insert("x-askr-request", HeaderValue::from_static("authorize"));
        let bounds = Bounds {
            time: self.limits.time,
            answer: MAX_ANSWER,
        };
        let answer = http_client::post(&self.target, &headers, Bytes::from(body), bounds).await;
        let (status, body) = answer.map_err(|why| self.lost(&why, now))?;
        let all_refused = |refused: fn(String) -> Refused| {
            let count = channels.len() as u64;
            self.counts.refused.fetch_add(count, Relaxed);
            Err(refused("the application refuses this viewer".into()))
        };
        match status {
            StatusCode::OK => answer::read(&body, channels, now)
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

    /// The reason is for the log, where it is said now and then; a viewer learns no more than that.
    fn away(&self, why: &(impl std::fmt::Display + ?Sized), now: u64) -> Refused {
        let told = self.told.load(Relaxed);
        if now.abs_diff(told) >= QUIET
            && self
                .told
                .compare_exchange(told, now, Relaxed, Relaxed)
                .is_ok()
        {
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

    /// The application is asked again, and must know for itself whom it refuses.
    fn revoke(&self, user: Option<&str>, _now: u64) {
        self.remembered().forget(user);
    }
}

/// Whether there is something by which the application may know who it is. What it is not shown (a token in
/// the query, a signature) does not count.
fn shows_anything(headers: &HeaderMap) -> bool {
    headers.contains_key(COOKIE) || headers.contains_key(AUTHORIZATION)
}

/// What is forwarded of these headers: a claim that is kept needs no more. Always in the same order, so that
/// the same viewer has the same key.
pub fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut shown = HeaderMap::new();
    for name in FORWARDED {
        for value in headers.get_all(&name) {
            shown.append(&name, value.clone());
        }
    }
    shown
}

#[cfg(test)]
mod tests;
