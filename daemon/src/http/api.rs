//! Serves Pusher's HTTP API: reads the request's body, verifies its signature, and does what it asks for. Events
//! go through the ring, like those of PHP.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use protocol::channel::Kind;
use protocol::history::Form;
use protocol::pusher::api;
use protocol::pusher::api::answer::{Cached, ChannelInfo};
use protocol::pusher::api::{Call, Info, Publish, answer};
use protocol::pusher::signature::{ApiRequest, Refused};
use shared::segment::{now_ns, now_s};

use super::body::{self, Keep};
use super::notes;
use super::refusal::Refusal;
use super::respond::{self, Answer};
use super::socket::Progress;
use crate::app::application::App;
use crate::app::history;
use crate::app::lacking::Lacking;
use crate::app::publishing::PublishError;
use crate::app::queries;
use crate::config::api_body_bytes;
use crate::hub::command::{Target, Which};
use crate::hub::last_events;
use crate::process::client_key::ClientKey;
use crate::process::refusals;

/// Does what the request asks for. `timeout`: for the body.
///
/// # Errors
/// 401 and others of the API (`protocol::pusher::api`), those of [`body::read`], and 503 if the ring is
/// unavailable.
pub async fn serve(
    app: &App,
    request: Request<Incoming>,
    timeout: Duration,
    progress: &Progress,
) -> Result<Answer, Refusal> {
    let (parts, body) = request.into_parts();
    let mut signed = ApiRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or(""),
        body: &[],
    };
    // The signature covers the body's digest: no body is kept in memory for a client that cannot sign.
    let settings = app.reloadable.get();
    let credentials = &settings.api_credentials;
    let keep = match credentials.verify_request(&signed, now_s()) {
        Ok(()) | Err(Refused::Body) => Keep::All,
        Err(why) => {
            let has_secret = !credentials.secrets.is_empty();
            refusals::report(notes::api_signature(&app.id, &why, has_secret));
            Keep::Nothing
        }
    };
    let limits = &settings.api_limits;
    let body = body::read(
        body,
        api_body_bytes(limits.payload),
        keep,
        timeout,
        progress,
    )
    .await?;
    signed.body = &body;
    let call = api::call(&signed, credentials, now_s(), limits).map_err(|why| {
        let refusal = Refusal::new(why.status, why.reason);
        match why.status {
            StatusCode::NOT_FOUND => refusal.noted(notes::path(signed.path)),
            _ => refusal,
        }
    })?;
    let mut lacking = Lacking::default();
    let mut answer = perform(app, call, &mut lacking).await.map(respond::json)?;
    lacking.say(answer.headers_mut());
    Ok(answer)
}

/// Performs a call. Returns the response's body.
async fn perform(app: &App, call: Call, lacking: &mut Lacking) -> Result<Bytes, Refusal> {
    let body = match call {
        Call::Publish(event) => {
            known(app, &event)?;
            app.publishing.publish(&event).map_err(refused)?;
            if event.info.is_none() {
                return Ok(answer::done().into());
            }
            let infos = infos(app, &event.channels, event.info, lacking).await;
            answer::channels(event.channels.iter().map(String::as_str).zip(infos))
        }
        Call::Batch(events) => {
            events.iter().try_for_each(|event| known(app, event))?;
            for event in &events {
                app.publishing.publish(event).map_err(refused)?;
            }
            if events.iter().all(|event| event.info.is_none()) {
                return Ok(answer::done().into());
            }
            let mut all = Vec::new();
            for event in &events {
                all.extend(infos(app, &event.channels, event.info, lacking).await);
            }
            answer::batch(&all)
        }
        Call::Channels { prefix, info } => {
            let all = occupied(app, prefix.unwrap_or_default(), lacking).await;
            let each = all
                .iter()
                .map(|(name, size)| (name.as_str(), channel_info(app, name, *size, info)));
            answer::channels(each)
        }
        Call::Channel { channel, info } => {
            let counts = subscriber_counts(app, std::slice::from_ref(&channel), lacking).await;
            let size = size(app, &channel, &counts);
            answer::channel(&channel_info(app, &channel, size, info))
        }
        Call::Users { channel } => {
            lacking.of_members(app);
            let members = app.roster.list(&channel);
            if members.is_empty() {
                let why = "nobody is on this channel";
                return Err(Refusal::new(StatusCode::NOT_FOUND, why));
            }
            answer::users(members.iter().map(|member| &*member.id))
        }
        Call::Terminate { user } => {
            let ended = queries::end(app, Target::User(user)).await;
            lacking.of_hosts(ended.missing);
            answer::done()
        }
        Call::Connections => {
            let connections = queries::connections(app).await;
            lacking.of_hosts(connections.missing);
            answer::connections(connections.all as u64)
        }
        Call::Events { channel, window } => {
            let ask = history::Ask {
                channel: &channel,
                window,
                client: ClientKey::NONE,
                bytes: app.reloadable.get().history_bytes,
                form: Form::Json,
            };
            lacking.of_events(app);
            let page = history::page(&app.hub, &ask).await;
            return page
                .map(Bytes::from)
                .map_err(|why| Refusal::busy(&why.to_string()));
        }
    };
    Ok(body.into())
}

/// Whether the application has events of this name.
fn known(app: &App, event: &Publish) -> Result<(), Refusal> {
    app.reloadable
        .get()
        .event_names
        .check(&event.name)
        .map_err(|why| Refusal::new(StatusCode::BAD_REQUEST, format!("name {why}")))
}

fn refused(why: PublishError) -> Refusal {
    let status = match why {
        PublishError::Invalid(_) => StatusCode::BAD_REQUEST,
        PublishError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refusal::new(status, why.to_string())
}

async fn subscriber_counts(
    app: &App,
    names: &[String],
    lacking: &mut Lacking,
) -> BTreeMap<String, usize> {
    let counts = queries::channels(app, Which::Names(names.to_vec())).await;
    lacking.of_hosts(counts.missing);
    if names.iter().any(|name| Kind::of(name).is_presence()) {
        lacking.of_members(app);
    }
    counts.all
}

async fn infos(app: &App, names: &[String], info: Info, lacking: &mut Lacking) -> Vec<ChannelInfo> {
    let counts = match info.subscription_count || info.occupied {
        true => subscriber_counts(app, names, lacking).await,
        false => BTreeMap::new(),
    };
    let infos = names
        .iter()
        .map(|name| channel_info(app, name, size(app, name, &counts), info));
    infos.collect()
}

/// How many are on a channel.
#[derive(Clone, Copy)]
struct Size {
    subscribers: usize,
    /// Of presence channels, which are occupied as long as they have members, also where a member's connection was lost
    /// and may come back: looked at once, so that what is said of both agrees.
    members: Option<usize>,
}

fn size(app: &App, channel: &str, subscribers: &BTreeMap<String, usize>) -> Size {
    let presence = Kind::of(channel).is_presence();
    Size {
        subscribers: subscribers.get(channel).copied().unwrap_or(0),
        members: presence.then(|| app.roster.count(channel)),
    }
}

/// The channels that are occupied.
async fn occupied(app: &App, prefix: String, lacking: &mut Lacking) -> BTreeMap<String, Size> {
    let subscribers = queries::channels(app, Which::Prefix(prefix.clone()));
    let subscribers = subscribers.await;
    lacking.of_hosts(subscribers.missing);
    lacking.of_members(app);
    let subscribers = subscribers.all;
    let of_members = app
        .roster
        .channels(&prefix)
        .into_iter()
        .map(|(name, count)| {
            let size = Size {
                subscribers: subscribers.get(&name).copied().unwrap_or(0),
                members: Some(count),
            };
            (name, size)
        });
    let others = subscribers
        .iter()
        .filter(|(name, _)| !Kind::of(name).is_presence());
    let others = others.map(|(name, count)| {
        let size = Size {
            subscribers: *count,
            members: None,
        };
        (name.clone(), size)
    });
    others.chain(of_members).collect()
}

/// The attributes in `info` that apply to this channel.
fn channel_info(app: &App, channel: &str, size: Size, info: Info) -> ChannelInfo {
    let cached = || {
        let now = now_ns();
        let last = app.hub.last_events.get(channel, now)?;
        let age = now.saturating_sub(last.event.published_ns());
        Some(Cached {
            data: last.event.data_str().to_owned(),
            ttl: last_events::MAX_AGE_NS.saturating_sub(age) / 1_000_000_000,
        })
    };
    ChannelInfo {
        occupied: info
            .occupied
            .then(|| size.members.unwrap_or(size.subscribers) > 0),
        user_count: size
            .members
            .filter(|_| info.user_count)
            .map(|count| count as u64),
        subscription_count: info.subscription_count.then_some(size.subscribers as u64),
        cache: info.cache.then(cached).flatten(),
    }
}
