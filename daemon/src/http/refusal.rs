//! Why a request is not served: a status and one line.

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName};

use crate::ws::handshake;

/// A request that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: String,
    /// What the answer must tell beside its status.
    pub header: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            header: None,
        }
    }

    /// `allow`: as the header wants it.
    pub fn method(reason: &str, allow: &'static str) -> Self {
        Self {
            header: Some((ALLOW, allow)),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, reason)
        }
    }

    /// A request that does not become a WebSocket.
    pub fn handshake(why: handshake::Refused) -> Self {
        Self {
            header: why.header(),
            ..Self::new(why.status(), why.to_string())
        }
    }
}

pub fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}
