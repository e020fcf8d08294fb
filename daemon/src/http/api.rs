//! Pusher's HTTP API at work: the request's body is read, its signature checked, and what it asks for is
//! done: events go through the ring, as PHP's do.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use protocol::pusher::api;
use protocol::pusher::api::answer::{Cached, ChannelInfo};
use protocol::pusher::api::{Call, Info, Publish, answer};
use protocol::pusher::signature::{ApiRequest, Refused};
use shared::segment::{now_ns, now_s};

use super::refusal::{Refusal, bad};
use super::respond::Answer;
use super::socket::Progress;
use crate::app::application::App;
use crate::app::publishing::PublishError;
use crate::app::queries;
use crate::config::api_body_bytes;
use crate::hub::command::{Target, Which};
use crate::hub::last_events;

/// Does what the request asks for.
///
/// # Errors
/// Status and a line.
pub async fn serve(
    app: &App,
    request: Request<Incoming>,
    time: Duration,
    progress: &Progress,
) -> Result<Answer, Refusal> {
    let (parts, body) = request.into_parts();
    let mut asked = ApiRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or(""),
        body: &[],
    };
    // What is signed is the sum of the body: nothing is kept in memory for who cannot sign.
    let keep = match app.api_credentials.request(&asked, now_s()) {
        Ok(()) | Err(Refused::Body) => Keep::All,
        Err(_) => Keep::Nothing,
    };
    let body = read(
        body,
        api_body_bytes(app.publishing.limits.payload),
        keep,
        time,
        progress,
    )
    .await?;
    asked.body = &body;
    let call = api::call(
        &asked,
        &app.api_credentials,
        now_s(),
        &app.publishing.limits,
    )
    .map_err(|why| Refusal::new(why.status, why.reason))?;
    done(app, call).await.map(json)
}

/// What is kept of a body while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    All,
    /// It is read because its sender reads no answer before it has sent all.
    Nothing,
}

/// The whole body, within bounds. Of one that is too long nothing more is read: the connection ends with
/// the answer (`lingering.rs`). What is kept counts as a request in
/// progress.
pub async fn read(
    mut body: Incoming,
    most: usize,
    keep: Keep,
    time: Duration,
    progress: &Progress,
) -> Result<Bytes, Refusal> {
    let too_long = || {
        let reason = format!("the body is longer than {most} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    let whole = async {
        let (mut kept, mut length) = (Pieces::default(), 0);
        // What was announced.
        if body.size_hint().lower() > most as u64 {
            return Err(too_long());
        }
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(bad("the body broke off"));
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            length += data.len();
            if length > most {
                return Err(too_long());
            }
            if keep == Keep::All {
                kept.put(&data);
                drop(data);
                progress.keep(kept.held()).map_err(|_| Refusal::crowded())?;
            }
        }
        progress.body_ended();
        Ok(kept.0.concat().into())
    };
    tokio::time::timeout(time, whole).await.unwrap_or_else(|_| {
        let reason = "the body did not come in time";
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, reason))
    })
}

/// What has come of a body. In pieces of one size, because memory that grew and moved would be left in
/// holes that fit nothing.
#[derive(Default)]
struct Pieces(Vec<Vec<u8>>);

impl Pieces {
    const SIZE: usize = 8 << 10;

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.0.last().is_none_or(|last| last.len() == Self::SIZE) {
                self.0.push(Vec::with_capacity(Self::SIZE));
            }
            // There is one.
            let Some(last) = self.0.last_mut() else {
                return;
            };
            let (fits, rest) = bytes.split_at(bytes.len().min(Self::SIZE - last.len()));
            last.extend_from_slice(fits);
            bytes = rest;
        }
    }

    fn held(&self) -> usize {
        self.0.len() * Self::SIZE
    }
}

pub fn json(body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

async fn done(app: &App, call: Call) -> Result<Vec<u8>, Refusal> {
    Ok(match call {
        Call::Publish(event) => {
            app.publishing.publish(&event).map_err(refused)?;
            if event.info.is_none() {
                return Ok(answer::done());
            }
            let told = tell(app, &event.channels, event.info).await;
            let each = event.channels.iter().map(String::as_str).zip(told);
            answer::channels(each)
        }
        Call::Batch(events) => {
            for event in &events {
                app.publishing.publish(event).map_err(refused)?;
            }
            let asked = |event: &&Publish| !event.info.is_none();
            if !events.iter().any(|event| asked(&event)) {
                return Ok(answer::done());
            }
            let mut all = Vec::new();
            for event in &events {
                all.extend(tell(app, &event.channels, event.info).await);
            }
            answer::batch(&all)
        }
        Call::Channels { prefix, info } => {
            let which = Which::Prefix(prefix.unwrap_or_default());
            let counts = queries::channels(app, which).await;
            let each = counts
                .iter()
                .map(|(name, count)| (name.as_str(), told(app, name, *count, info)));
            answer::channels(each)
        }
        Call::Channel { channel, info } => {
            let count = count(app, std::slice::from_ref(&channel)).await;
            let count = count.get(&channel).copied().unwrap_or(0);
            answer::channel(count > 0, &told(app, &channel, count, info))
        }
        Call::Users { channel } => {
            let members = app.roster.list(&channel);
            answer::users(members.iter().map(|member| &*member.id))
        }
        Call::Terminate { user } => {
            queries::end(app, Target::User(user)).await;
            answer::done()
        }
        Call::Connections => answer::connections(app.quota.used() as u64),
    })
}

fn refused(why: PublishError) -> Refusal {
    let status = match why {
        PublishError::Invalid(_) => StatusCode::BAD_REQUEST,
        PublishError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refusal::new(status, why.to_string())
}

async fn count(app: &App, names: &[String]) -> BTreeMap<String, usize> {
    queries::channels(app, Which::Names(names.to_vec())).await
}

async fn tell(app: &App, names: &[String], info: Info) -> Vec<ChannelInfo> {
    let counts = match info.subscription_count {
        true => count(app, names).await,
        false => BTreeMap::new(),
    };
    let told = |name: &String| told(app, name, counts.get(name).copied().unwrap_or(0), info);
    names.iter().map(told).collect()
}

fn told(app: &App, channel: &str, count: usize, info: Info) -> ChannelInfo {
    let presence = protocol::channel::Kind::of(channel).is_presence();
    let cached = || {
        let now = now_ns();
        let live = app.hub.last_events.get(channel, now)?;
        let age = now.saturating_sub(live.event.published_ns());
        Some(Cached {
            data: live.event.data_str().to_owned(),
            ttl: last_events::MAX_AGE_NS.saturating_sub(age) / 1_000_000_000,
        })
    };
    ChannelInfo {
        user_count: (info.user_count && presence).then(|| app.roster.count(channel) as u64),
        // Presence channels have users instead (Pusher's rule).
        subscription_count: (info.subscription_count && !presence).then_some(count as u64),
        cache: info.cache.then(cached).flatten(),
    }
}
