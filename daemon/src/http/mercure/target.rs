//! Which part of a hub a path is. Pure.

use super::super::policy::AppPolicy;

/// Where a resource's metadata are, in front of its path (RFC 9728).
pub const METADATA: &str = "/.well-known/oauth-protected-resource";

/// A part of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Where is published and subscribed.
    Hub,
    /// What a client has to know of it before.
    Metadata,
    /// Active subscriptions; what is behind `P/subscriptions`.
    Subscriptions(&'a str),
}

/// The application whose hub has this path, and the part of it.
pub fn target<'a>(path: &'a str, apps: &[AppPolicy]) -> Option<(usize, Part<'a>)> {
    apps.iter().enumerate().find_map(|(app, policy)| {
        let hub = policy.mercure.as_deref()?;
        if let Some(rest) = path.strip_prefix(METADATA) {
            return (rest == hub).then_some((app, Part::Metadata));
        }
        let rest = path.strip_prefix(hub)?;
        if rest.is_empty() {
            return Some((app, Part::Hub));
        }
        let rest = rest.strip_prefix("/subscriptions")?;
        let is_one = rest.is_empty() || rest.starts_with('/');
        is_one.then_some((app, Part::Subscriptions(rest)))
    })
}
