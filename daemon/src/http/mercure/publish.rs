//! Publishing by a form that is posted.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use protocol::mercure::publish;
use protocol::mercure::topic::Topic;

use super::super::body::{self, Keep};
use super::super::respond::{self, Answer};
use super::ask::Ask;
use super::credentials;
use super::refused::Refused;
use crate::app::publishing::PublishError;
use crate::auth::mercure::keys::Role;
use crate::config::api_body_bytes;

/// Bytes of grants that are kept while a body is read.
const KEPT: usize = 16 << 10;

/// The id of what was published. Refused in this order: by the token, by limits, by the form, by what is granted.
pub async fn publish(ask: &Ask<'_>, request: Request<Incoming>) -> Result<Answer, Refused> {
    if !ask.client.borrow_mut().check_limits(&request) {
        return Err(Refused::limit());
    }
    let policy = ask.world.policy();
    let Some((shown, grants)) = ask.authorize(&request, Role::Publish)? else {
        return Err(match ask.is_forged(&request) {
            true => Refused::request(credentials::FOREIGN),
            false => Refused::without_token(),
        });
    };
    let origins = &policy.apps[ask.index].origins;
    if shown.by_cookie && !credentials::names_its_page(request.headers(), origins) {
        return Err(Refused::request(credentials::FOREIGN));
    }
    // What takes much is worked out again, once the body is there, which may take its time.
    let grants = (grants.memory() <= KEPT).then_some(grants);
    ask.progress
        .body_begins(ask.client.borrow().of_request(&request));
    let most = ask.settings.api_limits.payload;
    let body = body::read(
        request.into_body(),
        api_body_bytes(most),
        Keep::All,
        policy.header_timeout,
        ask.progress,
    )
    .await?;
    let hub = &ask.mercure.tokens.hub;
    let update = publish::parse(&body, hub, most).map_err(|why| {
        let status = match why {
            publish::Refused::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            publish::Refused::Invalid(_) => StatusCode::BAD_REQUEST,
        };
        Refused::other(status, why.to_string())
    })?;
    if let Some(name) = &update.event {
        let known = ask.settings.event_names.check(name);
        known.map_err(|why| Refused::other(StatusCode::BAD_REQUEST, format!("type {why}")))?;
    }
    let topics: Vec<_> = update
        .topics
        .iter()
        .map(|topic| Topic::new(topic, hub))
        .collect();
    let grants = match grants {
        Some(grants) => grants,
        None => ask.grants(&shown, Role::Publish)?,
    };
    if !grants.can_publish(&topics) {
        return Err(Refused::scope(
            "the token does not grant publishing to each of the topics",
        ));
    }
    let id = ask.app.publishing.publish_update(&update).map_err(|why| {
        let status = match why {
            PublishError::Invalid(_) => StatusCode::BAD_REQUEST,
            PublishError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::other(status, why.to_string())
    })?;
    Ok(respond::id(id, ask.origin))
}
