//! What an update may be: the rules for each of its fields. `Err` is the phrase after the field's name.

use std::borrow::Cow;

use super::hub_url::HubUrl;
use super::text;
use crate::rules;

/// As an id that a subscriber has: everything that the hub has.
pub const EARLIEST: &str = "earliest";
/// The type of the hub's own events.
pub const OWN_TYPE: &str = "mercure";
/// What the ids begin with that the hub makes.
pub const OWN_ID: char = '#';

/// Why a field is refused.
pub type Refusal = Cow<'static, str>;

/// A topic that may be published to: not `*`, and not the hub's own.
///
/// # Errors
/// What it must be.
pub fn topic(topic: &str, hub: &HubUrl) -> Result<(), Refusal> {
    if hub.is_own(topic) {
        return Err("must not be the hub's own URL, or below it".into());
    }
    text::check(topic).map_err(|why| why.to_string())?;
    rules::topic(topic.as_bytes()).map_err(|why| why.to_string())?;
    match topic {
        "*" => Err("must not be \"*\"".into()),
        _ => Ok(()),
    }
}

/// A publisher's own id.
///
/// # Errors
/// What it must be.
pub fn id(id: &str) -> Result<(), Refusal> {
    text::check(id).map_err(|why| why.to_string())?;
    if id.starts_with(OWN_ID) || id == EARLIEST {
        return Err(format!("must not begin with \"{OWN_ID}\", or be \"{EARLIEST}\"").into());
    }
    Ok(rules::id(id.as_bytes()).map_err(|why| why.to_string())?)
}

/// A type of an update.
///
/// # Errors
/// What it must be.
pub fn event(event: &str) -> Result<(), Refusal> {
    text::check(event).map_err(|why| why.to_string())?;
    if event == OWN_TYPE {
        return Err(format!("must not be \"{OWN_TYPE}\"").into());
    }
    Ok(rules::event(event.as_bytes()).map_err(|why| why.to_string())?)
}
