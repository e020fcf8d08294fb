//! Whether a token lets a request have the channels it names. Pure.

use hyper::StatusCode;

use super::respond::Refusal;
use crate::auth::token::Grant;
use crate::auth::tokens::Tokens;
use crate::channel::Kind;

/// What the token grants, if one of the channels needs one; only then it is asked for.
///
/// # Errors
/// 401 without a good token, 403 if it does not grant every channel that needs it.
pub fn authorize(
    token: impl FnOnce() -> Option<String>,
    channels: &[String],
    tokens: Option<&Tokens>,
) -> Result<Option<Grant>, Refusal> {
    if !channels.iter().any(|name| needs_authorization(name)) {
        return Ok(None);
    }
    let no_token = |why: String| Refusal::new(StatusCode::UNAUTHORIZED, why);
    let Some(tokens) = tokens else {
        let reason = "private- and presence- channels need an authorization, and [auth] is not set";
        return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
    };
    let token = token().ok_or_else(|| {
        no_token(
            "a private- or presence- channel needs a token (Authorization, cookie or query)".into(),
        )
    })?;
    let grant = tokens
        .grant(&token)
        .map_err(|why| no_token(why.to_string()))?;
    for (n, name) in channels.iter().enumerate() {
        let number = n + 1;
        if !needs_authorization(name) {
            continue;
        }
        if !grant.allows(name) {
            let reason = format!("the token does not grant channel {number}");
            return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        }
        if Kind::of(name).is_presence() {
            let reason = format!("channel {number} is presence-, which is not served yet");
            return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        }
    }
    Ok(Some(grant))
}

fn needs_authorization(channel: &str) -> bool {
    Kind::of(channel).needs_authorization()
}
