//! Pusher's HTTP API: parses and authenticates requests. Pure: a request in, a call or a refusal out; `answer`
//! encodes the response bodies as JSON.
//!
//! | request | call |
//! |---|---|
//! | `POST /apps/{id}/events` | publish to 1 to 100 channels |
//! | `POST /apps/{id}/batch_events` | publish up to 10 events, all or none |
//! | `GET /apps/{id}/channels` | the channels that have subscribers |
//! | `GET /apps/{id}/channels/{name}` | one channel |
//! | `GET /apps/{id}/channels/{name}/events` | a page of its events (`history`) |
//! | `GET /apps/{id}/channels/{name}/users` | the members of a presence channel |
//! | `POST /apps/{id}/users/{user}/terminate_connections` | end a user's connections |
//! | `GET /apps/{id}/connections` | the number of connections (Reverb) |
//! | `GET /up` | health check (Reverb); not signed |
//!
//! The signature is checked before anything else.

pub mod answer;
mod body;
mod refusal;
mod request;

use crate::channel::Kind;
use crate::history::Window;
use crate::pusher::channel_name;
use crate::pusher::signature::{ApiRequest, Credentials, Refused};
use crate::query;
use crate::user_bounds::{MAX_ID, UserBounds};
use http::StatusCode;
use percent_encoding::percent_decode_str;
pub use refusal::Refusal;
use refusal::{bad, refusal};
use request::info;
pub use request::{Call, Info, Limits, Publish, Target};

/// The target that a path names. None: it is not a path of this API.
pub fn target(path: &str) -> Option<Target> {
    if path == "/up" || path == "/askr/up" {
        return Some(Target::Up);
    }
    let (id, _) = split(path)?;
    decode(id).map(Target::App)
}

/// The call of a request to an application, authenticated at `now`, in seconds since 1970.
///
/// # Errors
/// 400 and 413 for what is malformed or too large, 401 for a wrong signature, 404 and 405 for an unknown
/// endpoint or method.
pub fn call(
    request: &ApiRequest,
    credentials: &Credentials,
    now: u64,
    limits: &Limits,
) -> Result<Call, Refusal> {
    credentials.verify_request(request, now).map_err(unsigned)?;
    let (_, rest) = split(request.path).unwrap_or_default();
    let parts: Vec<&str> = rest.split('/').collect();
    // Path and method come first; the rest of the request is parsed once both are right.
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
        ["channels", channel, "events"] => ("GET", &move || events(channel, request.query)),
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

/// The application's id and the rest of the path, both still percent-encoded.
fn split(path: &str) -> Option<(&str, &str)> {
    let (id, rest) = path.strip_prefix("/apps/")?.split_once('/')?;
    (!id.is_empty()).then_some((id, rest))
}

fn channels(query: &str) -> Result<Call, Refusal> {
    let prefix = parameter(query, "filter_by_prefix")?.filter(|prefix| !prefix.is_empty());
    let info = info(parameter(query, "info")?.as_deref()).of_many();
    Ok(Call::Channels { prefix, info })
}

fn one_channel(channel: &str, query: &str) -> Result<Call, Refusal> {
    let channel = channel_name(channel)?;
    let info = Info {
        occupied: true,
        ..info(parameter(query, "info")?.as_deref())
    };
    Ok(Call::Channel { channel, info })
}

fn events(channel: &str, query: &str) -> Result<Call, Refusal> {
    Ok(Call::Events {
        channel: channel_name(channel)?,
        window: Window::parse(query).map_err(|why| bad(why.to_string()))?,
    })
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
    let named = UserBounds {
        id: MAX_ID,
        ..UserBounds::default()
    };
    match named.id(user.into()) {
        Ok(user) => Ok(Call::Terminate { user }),
        Err(_) => Err(bad(format!(
            "the user's id must be 1 to {MAX_ID} bytes without control characters"
        ))),
    }
}

fn channel_name(escaped: &str) -> Result<String, Refusal> {
    let channel = decode(escaped).ok_or_else(|| bad(channel_name::Invalid.to_string()))?;
    channel_name::published(&channel).map_err(|why| bad(why.to_string()))?;
    Ok(channel)
}

fn parameter(query: &str, name: &str) -> Result<Option<String>, Refusal> {
    query::parameter(query, name).map_err(|why| bad(why.to_string()))
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

fn unsigned(why: Refused) -> Refusal {
    let status = match why {
        Refused::Query(_) | Refused::Parameters => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNAUTHORIZED,
    };
    refusal(status, why.to_string())
}

#[cfg(test)]
mod tests;
