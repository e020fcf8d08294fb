//! The credentials of a viewer ([`Claim`]), the access that they grant, and the trait of the authorizers that
//! decide. `authority` asks them in turn.

use crate::process::client_key::ClientKey;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::HeaderMap;

/// What somebody may do on a channel, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The user's id, without control characters.
    pub user: Option<Arc<str>>,
    /// The user's info: JSON on one line.
    pub info: Option<Arc<str>>,
    /// When the access ends, in seconds since 1970. None: it does not expire.
    pub expires: Option<u64>,
    /// When the access was granted, in seconds since 1970.
    pub issued: Option<u64>,
}

/// The credentials that a viewer presents.
#[derive(Default)]
pub struct Claim {
    /// Whose share of the calls it takes.
    pub client: ClientKey,
    pub socket: Option<String>,
    pub token: Option<String>,
    pub signatures: Vec<Signed>,
    /// The viewer's address as it is known here, whatever the headers say. None: it is not known.
    pub address: Option<IpAddr>,
    /// Headers that may be forwarded to the application. `Cookie` only if the page is this site's or an allowed
    /// one.
    pub headers: HeaderMap,
}

/// A Pusher signature for one channel.
#[derive(Default, Clone)]
pub struct Signed {
    pub channel: String,
    pub auth: String,
    /// `channel_data`, on presence channels.
    pub data: Option<String>,
}

/// Why a claim is refused as a whole. Each variant holds one line for the response, which repeats nothing of the
/// claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Answered with status 401.
    #[error("{0}")]
    Unauthorized(String),
    /// Answered with status 403.
    #[error("{0}")]
    Forbidden(String),
    /// The application cannot be reached now; the request may be retried.
    #[error("{0}")]
    Away(String),
}

/// A requested channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Its position in the request, from 1, for error messages.
    pub number: usize,
    pub name: &'a str,
}

/// Why one authorizer does not grant access to one channel. Another authorizer may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The claim has none of the credentials that this authorizer checks. What it needs, as the end of "a channel
    /// needs …".
    NotShown(&'static str),
    /// The credentials are valid, but do not grant access to this channel. The reason is one line.
    NotGranted(String),
}

/// An authorizer's decision on one channel.
pub type Answer = Result<Access, Closed>;
/// The decisions on all channels, or why the claim is refused as a whole.
pub type Answers<'a> = Pin<Box<dyn Future<Output = Result<Vec<Answer>, Refused>> + Send + 'a>>;

/// One way to decide on claims. It does not depend on a transport.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Decides on each channel, in order. `now`: seconds since 1970. Refuses the claim as a whole if credentials
    /// are forged or have expired, so that no other authorizer is tried.
    fn authorize<'a>(
        &'a self,
        claim: &'a Claim,
        channels: &'a [Wanted<'a>],
        now: u64,
    ) -> Answers<'a>;

    /// The same decisions, if they take neither a wait nor a refusal of the claim as a whole. None: [`Self::authorize`]
    /// is to be asked, and nothing that was done here changes its answer or is counted twice.
    fn at_once(&self, _claim: &Claim, _channels: &[Wanted], _now: u64) -> Option<Vec<Answer>> {
        None
    }

    /// Revokes what was granted to this user, or to everybody, until `now` (seconds since 1970).
    fn revoke(&self, _user: Option<&str>, _now: u64) {}
}

impl Refused {
    /// One line for the response.
    pub fn reason(&self) -> &str {
        let (Self::Unauthorized(reason) | Self::Forbidden(reason) | Self::Away(reason)) = self;
        reason
    }
}

/// Without the credentials, which must not reach a log.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("socket", &self.socket)
            .field("token", &self.token.is_some())
            .field("signatures", &self.signatures)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_claim_contains_no_credentials() {
        let mut claim = Claim {
            token: Some("SHOWN".into()),
            signatures: vec![Signed {
                channel: "private-a".into(),
                auth: "SHOWN".into(),
                data: Some("SHOWN".into()),
            }],
            ..Claim::default()
        };
        claim.headers.insert("cookie", "SHOWN".parse().unwrap());
        let text = format!("{claim:?}");
        assert!(text.contains("cookie") && text.contains("private-a"));
        assert!(!text.contains("SHOWN"), "{text}");
    }
}
