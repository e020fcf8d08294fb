//! Revocations on several hosts: told to all at once, and kept in the store for those that start or come back later. They
//! only ever grow, so that it does no harm to hear of one twice, or late.
//!
//! In the hash `revoked` each node has a field of its own for each user, `NODE USER`, and `NODE ` for everybody, with the
//! second up to which tokens are refused: nobody overwrites a later one of somebody else.

use serde::{Deserialize, Serialize};
use shared::grant;
use shared::segment::now_s;
use shared::vector::OriginId;

use crate::app::application::App;
use crate::app::peers::To;

pub const TOPIC: &str = "revoked";
/// The hash in the store.
pub const HASH: &str = "revoked";
/// By how many seconds another host's clock may be ahead. What is later counts as made now.
const AHEAD: u64 = 300;

#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// None: everybody.
    user: Option<String>,
    at: u64,
}

/// Revokes what was granted to a user, or to everybody, until `at`.
pub fn revoke(app: &App, user: Option<&str>, at: u64) {
    learn(app, user, at);
    let told = Told {
        user: user.map(str::to_owned),
        at,
    };
    app.peers.tell(To::All, TOPIC, &told);
    app.peers.keep(
        HASH,
        field(app, user).into_bytes(),
        at.to_string().into_bytes(),
    );
}

/// Another node, or the store, says so.
pub fn learn(app: &App, user: Option<&str>, at: u64) {
    let at = at.min(now_s() + AHEAD);
    match user {
        Some(user) => app.authority.revoke_user(user, at),
        None => app.authority.revoke_all(at),
    }
}

pub fn told(app: &App, told: &Told) {
    learn(app, told.user.as_deref(), told.at);
}

/// The field that this node has for it.
pub fn field(app: &App, user: Option<&str>) -> String {
    let own = OriginId::from(app.hub.segments.epoch());
    format!("{own} {}", user.unwrap_or(""))
}

/// What a field and its value in the store say. None: nothing that can be.
pub fn read(field: &[u8], value: &[u8]) -> Option<(Option<String>, u64)> {
    let (node, user) = std::str::from_utf8(field).ok()?.split_once(' ')?;
    OriginId::parse(node.as_bytes())?;
    if !user.is_empty() && grant::any_user(user.as_bytes()).is_err() {
        return None;
    }
    let at = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(((!user.is_empty()).then(|| user.to_owned()), at))
}

/// Whether no token that it refuses can still be valid.
pub fn is_over(at: u64) -> bool {
    at.saturating_add(grant::MAX_TTL) < now_s()
}

/// All that this node knows: whose tokens are refused, everybody's being None, and up to which second.
pub fn known(app: &App) -> Vec<(Option<String>, u64)> {
    let authorizers = app.authority.authorizers();
    let Some(tokens) = &authorizers.tokens else {
        return Vec::new();
    };
    let (floor, users) = tokens.revocations();
    let users = users.into_iter().map(|(at, user)| (Some(user), at));
    floor
        .map(|at| (None, at))
        .into_iter()
        .chain(users)
        .collect()
}
