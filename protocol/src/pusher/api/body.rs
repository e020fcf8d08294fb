//! The request bodies of `events` and `batch_events`. Pure. Unknown members are ignored, since libraries send
//! some of their own.

use std::collections::HashSet;

use http::StatusCode;
use serde::Deserialize;
use shared::rules;

use super::refusal::{Refusal, bad, refusal};
use super::request::{Limits, Publish, info};
use crate::json::object_from_slice;
use crate::pusher::channel_name;

#[derive(Deserialize)]
struct Event {
    name: String,
    data: String,
    channels: Option<Vec<String>>,
    channel: Option<String>,
    socket_id: Option<String>,
    idempotency_key: Option<String>,
    info: Option<String>,
}

#[derive(Deserialize)]
struct Batch {
    batch: Vec<Event>,
}

/// The event in the body of `events`.
///
/// # Errors
/// If the body is malformed, or the event breaks a rule or a limit.
pub fn event(body: &[u8], limits: &Limits) -> Result<Publish, Refusal> {
    let event: Event = object_from_slice(body).map_err(|_| {
        bad(
            "the body must be a JSON object with the strings name and data (encode your data as \
             JSON text), and channels, a list of strings, or channel",
        )
    })?;
    check(event, limits)
}

/// The events in the body of `batch_events`: all are checked, so that a batch is published as a whole or not
/// at all.
///
/// # Errors
/// As for [`event`]; the reason names the event by its number, from 1.
pub fn batch(body: &[u8], limits: &Limits) -> Result<Vec<Publish>, Refusal> {
    let Batch { batch } = object_from_slice(body).map_err(|_| {
        bad(
            "the body must be a JSON object with batch, a list of objects with the strings name, \
             data and channel",
        )
    })?;
    if batch.is_empty() {
        return Err(bad("a batch has at least one event"));
    }
    if limits.batch > 0 && batch.len() > limits.batch {
        let reason = format!("a batch has 1 to {} events (app.api_batch)", limits.batch);
        return Err(bad(reason));
    }
    let numbered = batch.into_iter().enumerate();
    numbered
        .map(|(n, event)| {
            let at = |why: Refusal| refusal(why.status, format!("event {}: {why}", n + 1));
            if event.channels.is_some() {
                return Err(at(bad("an event of a batch has one channel")));
            }
            check(event, limits).map_err(at)
        })
        .collect()
}

fn check(event: Event, limits: &Limits) -> Result<Publish, Refusal> {
    let name = event.name;
    rules::event(name.as_bytes()).map_err(|why| bad(format!("name {why}")))?;
    if event.data.len() > limits.payload {
        let most = limits.payload;
        let reason = format!("data must be at most {most} bytes long (app.api_payload)");
        return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    let channels = match (event.channels, event.channel) {
        (Some(channels), None) => channels,
        (None, Some(channel)) => vec![channel],
        _ => return Err(bad("there must be either channels or channel")),
    };
    if !(1..=limits.channels).contains(&channels.len()) {
        return Err(bad(format!("channels must be 1 to {}", limits.channels)));
    }
    for (n, channel) in channels.iter().enumerate() {
        channel_name::published(channel).map_err(|why| bad(format!("channel {}: {why}", n + 1)))?;
    }
    if event.socket_id.as_deref().is_some_and(|id| !is_socket(id)) {
        return Err(bad("socket_id must be two numbers with a dot between them"));
    }
    if let Some(key) = &event.idempotency_key {
        rules::key(key.as_bytes()).map_err(|why| bad(format!("idempotency_key {why}")))?;
    }
    let info = info(event.info.as_deref()).of_many();
    Ok(Publish {
        channels: distinct(channels),
        name,
        data: event.data,
        except: event.socket_id,
        key: event.idempotency_key,
        info,
    })
}

fn distinct(mut channels: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    channels.retain(|channel| seen.insert(channel.clone()));
    channels
}

/// Whether `id` has the form of a socket id. One that no connection has here is accepted: it excludes nobody.
fn is_socket(id: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let shaped = id
        .split_once('.')
        .is_some_and(|(a, b)| number(a) && number(b));
    shaped && rules::except(id.as_bytes()).is_ok()
}
