//! Active subscriptions, as documents: all of the hub, of one matcher, or one of them.

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LINK};
use hyper::{Request, StatusCode};
use protocol::mercure::id::HubId;
use protocol::mercure::subscription;
use protocol::mercure::subscription::Target;
use protocol::mercure::topic::Topic;
use sha2::{Digest, Sha256};
use shared::cursor::Cursor;

use super::super::respond::{self, Answer};
use super::ask::Ask;
use super::refused::Refused;
use crate::auth::mercure::keys::Role;
use crate::hub::hub::Hub;

/// `rest`: of the path, behind `P/subscriptions`.
pub fn list(ask: &Ask<'_>, request: &Request<Incoming>, rest: &str) -> Result<Answer, Refused> {
    if !ask.client.borrow_mut().check_limits(request) {
        return Err(Refused::limit());
    }
    let Some((_, grants)) = ask.authorize(request, Role::Subscribe)? else {
        return Err(Refused::without_token());
    };
    let not_found = || Refused::other(StatusCode::NOT_FOUND, "there is no such subscription");
    let legacy = ask.mercure.tokens.speaks_legacy();
    let target = Target::parse(rest, legacy).ok_or_else(not_found)?;
    let (hub, url) = (&ask.app.hub, ask.app.hub.topics.hub());
    let path = request.uri().path();
    if !grants.can_subscribe([&Topic::new(path, url)]) {
        return Err(Refused::scope(
            "the token does not grant subscribing to this path",
        ));
    }
    let version = match &target {
        Target::All => grants.version,
        Target::Matcher(kind, _) | Target::One(kind, ..) => kind.version(),
    };
    // A list of many takes much, for each who asks and does not take it.
    let memory = &hub.process.memory;
    if memory.is_tight() {
        let why = "there is no memory for it at the moment";
        return Err(Refused::other(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    let text = match &target {
        Target::All => None,
        Target::Matcher(_, text) | Target::One(_, text, _) => Some(text.as_str()),
    };
    // Before it is looked, so that nothing is between them.
    let last = last_event_id(hub);
    let mut documents = ask.app.active.list(text, |one| {
        let is = target.has(&one) && one.kind.version() == version;
        let alone = matches!(target, Target::One(..));
        is.then(|| match alone {
            true => one.document(url.path()),
            false => one.item(url.path()),
        })
    });
    let body = match &target {
        Target::One(..) => documents.pop().ok_or_else(not_found)?,
        _ => subscription::collection(version, path, &last, &documents),
    };
    let kind = subscription::content_type(version);
    let link = format!(
        "<{}>; rel=\"mercure\"; last-event-id=\"{last}\"; type=\"mercure\"; content-type=\"{kind}\"",
        url.as_str()
    );
    let tag = protocol::mac::hex(&Sha256::digest(&body)[..16]);
    let tag = format!("\"{tag}\"");
    let known = request.headers().get(IF_NONE_MATCH);
    let unchanged = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut answer = match unchanged {
        true => respond::unchanged(ask.origin),
        false => respond::page(memory.hold(body.into_bytes()), ask.origin),
    };
    for (name, value) in [(CONTENT_TYPE, kind), (LINK, &*link), (ETAG, &*tag)] {
        set(&mut answer, name, value);
    }
    Ok(answer)
}

/// The id of what was last handed out.
fn last_event_id(hub: &Hub) -> String {
    let cursor = hub.sent_cursor(Cursor {
        epoch: hub.segments.epoch(),
        seq: hub.watermarks.completed().saturating_sub(1),
    });
    HubId(cursor.wire()).to_string()
}

fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    // ASCII without control characters.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
