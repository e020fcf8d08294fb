//! What somebody shows to get into channels, what may come of it, and who decides: the trait that each
//! way of deciding implements. `authority` asks them in turn.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::HeaderMap;

use crate::process::admission::ClientKey;

/// What somebody may do on a channel, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// 1 to 128 bytes without control characters.
    pub user: Option<Arc<str>>,
    /// JSON on one line, at most 1,024 bytes.
    pub info: Option<Arc<str>>,
    /// Seconds since 1970.
    pub expires: Option<u64>,
    /// When it was decided, in seconds since 1970.
    pub issued: Option<u64>,
}

/// What a viewer shows.
#[derive(Default)]
pub struct Claim {
    /// Whose share of the calls it takes.
    pub client: ClientKey,
    pub socket: Option<String>,
    pub token: Option<String>,
    pub signatures: Vec<Signed>,
    /// What may be forwarded to the application. `Cookie` only where the page that asks is this site's
    /// or an allowed one; `X-Forwarded-For` as the transport found it, not as the viewer sent it.
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

/// Why a claim fails as a whole. Each holds a line for the answer, which repeats nothing that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// 401
    Unauthorized(String),
    /// 403
    Forbidden(String),
    /// The application cannot be asked now: worth another try.
    Away(String),
}

/// A channel to be decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Its place in the request, from 1, for reasons.
    pub number: usize,
    pub name: &'a str,
}

/// Why one authorizer leaves one channel closed. Another may open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Nothing was shown that it looks at: what it needs, as the end of "a channel needs …".
    NotShown(&'static str),
    /// What was shown is sound, and does not open it.
    NotGranted(String),
}

pub type Answer = Result<Access, Closed>;
pub type Answers<'a> = Pin<Box<dyn Future<Output = Result<Vec<Answer>, Refused>> + Send + 'a>>;

/// One way of deciding. It knows no transport.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// An answer for each channel, in order. `now`: seconds since 1970. Fails as a whole where what was
    /// shown is forged or has ended, so that nobody may try on.
    fn authorize<'a>(
        &'a self,
        claim: &'a Claim,
        channels: &'a [Wanted<'a>],
        now: u64,
    ) -> Answers<'a>;

    /// From now on refuses what was given to this user, or to everybody, until `now`.
    fn revoke(&self, _user: Option<&str>, _now: u64) {}
}

impl Refused {
    pub fn reason(&self) -> &str {
        let (Self::Unauthorized(reason) | Self::Forbidden(reason) | Self::Away(reason)) = self;
        reason
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// Without what would let whoever reads the log in.
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
    fn a_claim_in_a_log_opens_nothing() {
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
