//! Requests about a stream that come beside it: other channels, a client event. They are carried out where the stream is:
//! by a worker of this host, or by another host, which its secret names and which is asked for it. What is asked of another
//! host is the request's body with the credentials that came with it, so that it is checked there as it would be if it had
//! come there itself.

use std::net::IpAddr;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use protocol::client_event::Refused as NotForwarded;
use protocol::socket_id::Held;
use serde::{Deserialize, Serialize};
use shared::vector::OriginId;
use tokio::sync::oneshot;

use super::change::{self, Change};
use super::client_event::{self, Sent};
use super::refusal::Refusal;
use crate::app::application::App;
use crate::app::peers::To;
use crate::auth::authorizer::Claim;
use crate::auth::http_call::forwarded;
use crate::hub::command::{Command, Denied};
use crate::process::client_key::ClientKey;

pub const TOPIC: &str = "beside";

/// A request for another node.
#[derive(Serialize, Deserialize)]
pub struct Ask {
    what: What,
    body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Subscribe,
    Unsubscribe,
    ClientEvent,
}

/// What it answers: the stream's channels, or a refusal.
#[derive(Serialize, Deserialize)]
pub struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<(u16, String)>,
}

/// Changes a stream's channels. Returns all that it has.
///
/// # Errors
/// Why it is not changed.
pub async fn change(
    app: &App,
    subscribe: bool,
    claim: Claim,
    body: &[u8],
) -> Result<Vec<String>, Refusal> {
    let change = read_change(app, body)?;
    let Some(node) = elsewhere(app, change.held) else {
        return change_here(app, subscribe, claim, change).await;
    };
    let what = match subscribe {
        true => What::Subscribe,
        false => What::Unsubscribe,
    };
    let channels = forward(app, node, what, claim, body).await?;
    Ok(channels.unwrap_or_default())
}

/// Sends a stream's client event to the others of its channel.
///
/// # Errors
/// Why it is not sent.
pub async fn client_event(app: &App, body: &[u8]) -> Result<(), Refusal> {
    let sent = client_event::read(body, &app.prover)?;
    match elsewhere(app, sent.held) {
        None => client_event_here(app, sent).await,
        Some(node) => {
            let claim = Claim::default();
            let done = forward(app, node, What::ClientEvent, claim, body).await;
            done.map(drop)
        }
    }
}

/// Another node asks for it. It is not forwarded once more.
pub async fn asked(app: &App, ask: Ask) -> Answer {
    let done = match ask.what {
        What::Subscribe => change_asked(app, true, ask).await.map(Some),
        What::Unsubscribe => change_asked(app, false, ask).await.map(Some),
        What::ClientEvent => client_event_asked(app, ask.body.as_bytes())
            .await
            .map(|()| None),
    };
    match done {
        Ok(channels) => Answer {
            channels,
            refused: None,
        },
        Err(refusal) => Answer {
            channels: None,
            refused: Some((refusal.status.as_u16(), refusal.reason)),
        },
    }
}

async fn change_asked(app: &App, subscribe: bool, ask: Ask) -> Result<Vec<String>, Refusal> {
    let change = read_change(app, ask.body.as_bytes())?;
    if elsewhere(app, change.held).is_some() {
        return Err(gone());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &ask.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    let claim = Claim {
        client: ask.address.map_or(ClientKey::NONE, ClientKey::of),
        token: ask.token,
        address: ask.address,
        headers: forwarded(&headers),
        ..Claim::default()
    };
    change_here(app, subscribe, claim, change).await
}

async fn client_event_asked(app: &App, body: &[u8]) -> Result<(), Refusal> {
    let sent = client_event::read(body, &app.prover)?;
    match elsewhere(app, sent.held) {
        None => client_event_here(app, sent).await,
        Some(_) => Err(gone()),
    }
}

fn read_change(app: &App, body: &[u8]) -> Result<Change, Refusal> {
    let limits = app.reloadable.get().change_limits;
    change::read(body, &app.prover, limits.channels, limits.rewind)
}

/// The node that has the stream, if it is not this one.
fn elsewhere(app: &App, held: Held) -> Option<OriginId> {
    held.node.filter(|node| Some(*node) != app.node())
}

async fn forward(
    app: &App,
    node: OriginId,
    what: What,
    claim: Claim,
    body: &[u8],
) -> Result<Option<Vec<String>>, Refusal> {
    if !app.peers.nodes().contains(&node) {
        // Its streams are gone with it, or will be back here.
        return Err(gone());
    }
    let headers = forwarded(&claim.headers);
    let headers = headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let ask = Ask {
        what,
        // It was JSON.
        body: String::from_utf8_lossy(body).into_owned(),
        address: claim.address,
        token: claim.token,
        headers: headers.collect(),
    };
    let answers = app.peers.ask::<Answer>(To::One(node), TOPIC, &ask).await;
    let Some((_, answer)) = answers.by_node.into_iter().next() else {
        return Err(Refusal::busy(
            "the host that has this stream does not answer; try again",
        ));
    };
    match answer.refused {
        None => Ok(answer.channels),
        Some((status, reason)) => {
            let status = StatusCode::from_u16(status).ok();
            let status =
                status.filter(|status| status.is_client_error() || status.is_server_error());
            Err(Refusal::new(
                status.unwrap_or(StatusCode::BAD_GATEWAY),
                reason,
            ))
        }
    }
}

fn gone() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, Denied::Gone.to_string())
}

async fn change_here(
    app: &App,
    subscribe: bool,
    mut claim: Claim,
    change: Change,
) -> Result<Vec<String>, Refusal> {
    let place = change.held.place;
    let inbox = app.hub.inboxes.get(place.worker).ok_or_else(gone)?;
    let (slot, socket) = (place.slot, change.socket);
    let (answer, answered) = oneshot::channel();
    inbox.command(if subscribe {
        claim.socket = Some(socket.to_string());
        claim.token = change.token.or(claim.token);
        claim.signatures = change.signatures;
        let revocations = app.authority.revocations();
        let granted = app.authority.authorize(&claim, &change.channels).await?;
        Command::Subscribe {
            revocations,
            slot,
            socket,
            channels: std::iter::zip(change.channels, granted).collect(),
            since: change.since,
            answer: Some(answer),
        }
    } else {
        Command::Unsubscribe {
            slot,
            socket,
            channels: change.channels,
            answer,
        }
    });
    match answered.await {
        Ok(Ok(channels)) => Ok(channels),
        Ok(Err(Denied::Gone)) | Err(_) => Err(gone()),
        Ok(Err(denied)) => Err(Refusal::new(StatusCode::CONFLICT, denied.to_string())),
    }
}

async fn client_event_here(app: &App, sent: Sent) -> Result<(), Refusal> {
    let place = sent.held.place;
    let inbox = app.hub.inboxes.get(place.worker);
    let inbox = inbox.ok_or(NotForwarded::Gone)?;
    let (answer, answered) = oneshot::channel();
    inbox.command(Command::ClientEvent {
        slot: place.slot,
        socket: sent.socket,
        event: sent.event,
        answer,
    });
    let forwarded = answered.await.unwrap_or(Err(NotForwarded::Gone));
    Ok(forwarded?)
}
