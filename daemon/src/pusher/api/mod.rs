//! Pusher's HTTP API: what a signed request asks for. Pure: a request in, a call or a refusal out, and the
//! answers as JSON (`answer`).
//!
//! | request | call |
//! |---|---|
//! | `POST /apps/{id}/events` | publish to 1 to 100 channels |
//! | `POST /apps/{id}/batch_events` | publish up to 10 events, all or none |
//! | `GET /apps/{id}/channels` | who is subscribed to what |
//! | `GET /apps/{id}/channels/{name}` | one channel |
//! | `GET /apps/{id}/channels/{name}/users` | the members of a presence channel |
//! | `POST /apps/{id}/users/{user}/terminate_connections` | end a user's connections |
//! | `GET /apps/{id}/connections` | how many there are (Reverb) |
//! | `GET /up` | whether askrd is there (Reverb); not signed |
//!
//! The signature is checked before anything else is looked at.

pub mod answer;
mod body;

use std::fmt;

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use shared::grant;

use super::name;
use crate::auth::pusher::{ApiRequest, Credentials, Refused};
use crate::channel::Kind;

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of an event's data. Pusher allows 10 KB.
    pub payload: usize,
    /// Channels of an event. Pusher allows 100, and so does the ring.
    pub channels: usize,
    /// Events in a batch. Pusher allows 10.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload: 10 << 10,
            channels: 100,
            batch: 10,
        }
    }
}

/// Where a request goes, before anything of it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `GET /up`
    Up,
    /// To the application with this id.
    App(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Publish(Publish),
    Batch(Vec<Publish>),
    Channels {
        prefix: Option<String>,
        info: Info,
    },
    Channel {
        channel: String,
        info: Info,
    },
    /// Of a presence channel.
    Users {
        channel: String,
    },
    Terminate {
        user: String,
    },
    Connections,
}

/// An event, checked by the ring's rules and Pusher's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub name: String,
    pub data: String,
    /// Distinct, at least one; exactly one in a batch.
    pub channels: Vec<String>,
    /// Who is not to get it.
    pub except: Option<String>,
    /// What the answer is to tell of each channel.
    pub info: Info,
}

/// What is to be told of a channel beside that it is occupied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Info {
    /// Of presence channels only.
    pub user_count: bool,
    pub subscription_count: bool,
    /// The last event of a cache channel.
    pub cache: bool,
}

impl Info {
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Why a request is not done. `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// None: not a path of this API.
pub fn target(path: &str) -> Option<Target> {
    if path == "/up" {
        return Some(Target::Up);
    }
    let (id, _) = split(path)?;
    decode(id).map(Target::App)
}

/// What a request to an application asks for, at `now` in seconds since 1970.
///
/// # Errors
/// Status and reason.
pub fn call(
    request: &ApiRequest,
    credentials: &Credentials,
    now: u64,
    limits: &Limits,
) -> Result<Call, Refusal> {
    credentials.request(request, now).map_err(unsigned)?;
    let (_, rest) = split(request.path).unwrap_or_default();
    let parts: Vec<&str> = rest.split('/').collect();
    // What a path asks for by which method; what it is in detail is looked at after both are right.
    let (method, endpoint): (&str, &dyn Fn() -> Result<Call, Refusal>) = match parts[..] {
        ["events"] => ("POST", &|| {
            body::event(request.body, limits).map(Call::Publish)
        }),
        ["batch_events"] => ("POST", &|| {
            body::batch(request.body, limits).map(Call::Batch)
        }),
        ["users", user, "terminate_connections"] => ("POST", &move || terminate(user)),
        ["channels"] => ("GET", &|| channels(request.query)),
        ["channels", channel] => ("GET", &move || one_channel(channel, request.query)),
        ["channels", channel, "users"] => ("GET", &move || users(channel)),
        ["connections"] => ("GET", &|| Ok(Call::Connections)),
        _ => return Err(refusal(StatusCode::NOT_FOUND, "there is no such endpoint")),
    };
    if request.method != method {
        return Err(refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("use {method}"),
        ));
    }
    endpoint()
}

/// The id and what is behind it, both still escaped.
fn split(path: &str) -> Option<(&str, &str)> {
    let (id, rest) = path.strip_prefix("/apps/")?.split_once('/')?;
    (!id.is_empty()).then_some((id, rest))
}

fn channels(query: &str) -> Result<Call, Refusal> {
    let prefix = parameter(query, "filter_by_prefix")?.filter(|prefix| !prefix.is_empty());
    let info = info(parameter(query, "info")?.as_deref())?;
    if info.cache {
        return Err(bad("info: cache can be asked of one channel only"));
    }
    let presence = prefix
        .as_ref()
        .is_some_and(|prefix| prefix.starts_with("presence-"));
    if info.user_count && !presence {
        let reason = "info: user_count needs a filter_by_prefix that begins with presence-";
        return Err(bad(reason));
    }
    Ok(Call::Channels { prefix, info })
}

fn one_channel(channel: &str, query: &str) -> Result<Call, Refusal> {
    let channel = channel_name(channel)?;
    let info = info(parameter(query, "info")?.as_deref())?;
    let kind = Kind::of(&channel);
    if info.user_count && !kind.is_presence() {
        return Err(bad(
            "info: user_count can be asked of presence channels only",
        ));
    }
    if info.cache && !kind.is_cached() {
        return Err(bad("info: cache can be asked of cache channels only"));
    }
    Ok(Call::Channel { channel, info })
}

fn users(channel: &str) -> Result<Call, Refusal> {
    let channel = channel_name(channel)?;
    match Kind::of(&channel).is_presence() {
        true => Ok(Call::Users { channel }),
        false => Err(bad("users can be asked of presence channels only")),
    }
}

fn terminate(user: &str) -> Result<Call, Refusal> {
    let user = decode(user).ok_or_else(|| bad("the user's id must be UTF-8"))?;
    grant::user(user.as_bytes()).map_err(|why| bad(format!("the user's id {why}")))?;
    Ok(Call::Terminate { user })
}

/// Names separated by commas.
fn info(text: Option<&str>) -> Result<Info, Refusal> {
    let mut info = Info::default();
    let names = text.into_iter().flat_map(|text| text.split(','));
    for name in names.map(str::trim).filter(|name| !name.is_empty()) {
        *match name {
            "user_count" => &mut info.user_count,
            "subscription_count" => &mut info.subscription_count,
            "cache" => &mut info.cache,
            _ => {
                let reason = "info may have user_count, subscription_count and cache";
                return Err(bad(reason));
            }
        } = true;
    }
    Ok(info)
}

fn channel_name(escaped: &str) -> Result<String, Refusal> {
    let channel = decode(escaped).ok_or_else(|| bad(name::Invalid.to_string()))?;
    name::published(&channel).map_err(|why| bad(why.to_string()))?;
    Ok(channel)
}

fn parameter(query: &str, name: &str) -> Result<Option<String>, Refusal> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, value)) = pairs.find(|(key, _)| *key == name) else {
        return Ok(None);
    };
    let value = decode(&value.replace('+', " "));
    value
        .map(Some)
        .ok_or_else(|| bad(format!("{name} must be UTF-8")))
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

fn unsigned(why: Refused) -> Refusal {
    let status = match why {
        Refused::Parameters => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNAUTHORIZED,
    };
    refusal(status, why.to_string())
}

fn bad(reason: impl Into<String>) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, reason)
}

fn refusal(status: StatusCode, reason: impl Into<String>) -> Refusal {
    let reason = reason.into();
    Refusal { status, reason }
}

#[cfg(test)]
mod tests;
