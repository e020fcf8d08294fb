//! Subscribing: a stream, or with HEAD its head alone.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use protocol::format::Format;
use protocol::mercure::Version;
use protocol::mercure::grants::Grants;
use protocol::mercure::id::After;
use protocol::mercure::publish::EARLIEST;
use protocol::mercure::subscribe::{Rules, Subscribe};
use protocol::mercure::text;
use protocol::socket_id::SocketId;
use shared::segment::now_s;

use super::super::client::Takeover;
use super::super::cors::Origin;
use super::super::query::Name;
use super::super::request::SubscribeRequest;
use super::super::respond;
use super::ask::{Ask, EXPOSED, Reply};
use super::refused::Refused;
use crate::app::history::read_up_to_now;
use crate::auth::authorizer::Access;
use crate::auth::mercure::keys::Role;
use crate::engine;
use crate::engine::{Resume, TopicOpening};
use crate::hub::topics::Full;
use crate::process::jitter::Jitter;

/// The most seconds by which a stream may end before its token does, so that those which began together do not end
/// together; and the part of the time that is left.
const EARLY: u32 = 30;
const EARLY_PART: u64 = 10;
/// How long an id is awaited that may just have been published.
const PATIENCE: Duration = Duration::from_millis(200);

pub async fn subscribe(ask: &Ask<'_>, request: &Request<Incoming>) -> Reply {
    let turned_away = || {
        let retry = ask.world.spread_retry();
        Ok(Some(respond::retry_later(retry, ask.origin)))
    };
    // Before any signature is verified.
    if !ask.client.borrow_mut().check_limits(request) {
        return turned_away();
    }
    let mut grants = match ask.authorize(request, Role::Subscribe)? {
        Some((_, grants)) => grants,
        None if ask.mercure.anonymous => Grants::none(),
        None => return Err(Refused::without_token()),
    };
    let header = request.headers().get("last-event-id");
    let rules = Rules {
        hub: &ask.mercure.tokens.hub,
        legacy: ask.mercure.tokens.speaks_legacy(),
        matchers: ask.mercure.matchers,
    };
    let query = request.uri().query().unwrap_or("");
    let asked = Subscribe::parse(query, header.map(|id| id.as_bytes()), &rules)
        .map_err(|why| Refused::other(StatusCode::BAD_REQUEST, why))?;
    let after = asked.last_event_id.as_deref();
    let (resume, known) = match after {
        Some(id) => {
            let (resume, known) = resume(ask, id).await;
            (Some(resume), known)
        }
        None => (None, false),
    };
    let stream_head = respond::stream_head(ask.origin, &headers(&asked, known, ask.origin));
    if request.method() == Method::HEAD {
        return Ok(Some(respond::head_of(&stream_head)));
    }
    let client = ask.client.borrow().admission.client();
    let hub = &ask.app.hub;
    let matchers = asked.matchers;
    let held = hub.topics.subscribe(&hub.index, client, matchers.clone());
    let held = held.and_then(|mut matched| matched.hold(&mut grants).map(|()| matched));
    let matched = match held {
        Ok(matched) => matched,
        Err(full) => {
            let metrics = ask.world.metrics();
            match full {
                Full::Application | Full::Address => metrics.over_patterns.add(1),
                Full::Grants => metrics.over_grants.add(1),
            }
            return turned_away();
        }
    };
    let Ok(socket) = SocketId::random() else {
        return turned_away();
    };
    let Some(presence) = ask.app.active.join(hub, &matchers, &grants) else {
        return turned_away();
    };
    let channels = matched.names.clone();
    let access = Access {
        expires: grants.expires.map(|expires| end(ask, expires)),
        ..Access::default()
    };
    ask.client.borrow_mut().takeover = Some(Takeover {
        accesses: vec![access; channels.len()],
        socket,
        head: stream_head,
        websocket: None,
        topics: Some(Box::new(TopicOpening {
            matched,
            grants: Arc::new(grants),
            presence: Some(presence),
        })),
        request: SubscribeRequest {
            app: ask.index,
            channels,
            format: Format::Mercure,
            accept: None,
            resume,
            claim: None,
            name: Name::New,
        },
    });
    Ok(None)
}

/// Where a stream goes on, and whether the id is known. One that is not may have been published just now.
async fn resume(ask: &Ask<'_>, id: &str) -> (Resume, bool) {
    let hub = &ask.app.hub;
    let after = After::parse(id);
    let is_publishers = matches!(after, After::Id(_));
    let (resume, known) = engine::resume(hub, after.clone());
    if known || !is_publishers {
        return (resume, known);
    }
    read_up_to_now(hub, PATIENCE).await;
    engine::resume(hub, after)
}

/// When a stream ends whose token does at `expires`.
fn end(ask: &Ask<'_>, expires: u64) -> u64 {
    expires - early(expires.saturating_sub(now_s()), &ask.world.jitter)
}

/// By how many seconds a stream ends earlier than its token, which has so many `left`.
fn early(left: u64, jitter: &Jitter) -> u64 {
    let most = (left / EARLY_PART).min(EARLY.into());
    jitter.between(0, most as u32).into()
}

/// What the response has beside what every stream has.
fn headers(asked: &Subscribe, known: bool, origin: &Origin) -> String {
    let mut headers = String::new();
    if let Some(id) = &asked.last_event_id {
        // One that is known passed these rules when it was published.
        let id = if known && text::check(id).is_ok() {
            id
        } else {
            EARLIEST
        };
        if asked.speaks(Version::One) {
            headers += &format!("Mercure-Last-Event-ID: {id}\r\n");
        }
        if asked.speaks(Version::Legacy) {
            headers += &format!("Last-Event-ID: {id}\r\n");
        }
    }
    if let Origin::Listed(_) = origin {
        headers += &format!("Access-Control-Expose-Headers: {EXPOSED}\r\n");
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn streams_end_up_to_a_tenth_of_their_time_and_thirty_seconds_before_their_tokens() {
        let jitter = Jitter::new();
        for (left, most) in [
            (0, 0),
            (9, 0),
            (10, 1),
            (60, 6),
            (300, 30),
            (3600, 30),
            (u64::MAX, 30),
        ] {
            // So many that one of the values is missing once in 10^50 runs.
            let all: BTreeSet<u64> = (0..4000).map(|_| early(left, &jitter)).collect();
            assert_eq!(all, (0..=most).collect(), "{left}");
        }
    }
}
