//! Why a request is refused: a status and one line.

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, RETRY_AFTER};
use protocol::query;
use protocol::ws::handshake;

use crate::auth::authorizer::Refused;
use crate::process::refusals::Note;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// One line for the response's body.
    pub reason: String,
    /// A header that the response must have.
    pub header: Option<(HeaderName, &'static str)>,
    /// What is logged of it.
    pub note: Option<Box<Note>>,
}

impl Refusal {
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            header: None,
            note: None,
        }
    }

    /// The same, logged.
    pub fn noted(self, note: Note) -> Self {
        Self {
            note: Some(Box::new(note)),
            ..self
        }
    }

    /// `allow`: the value of the header `Allow`.
    pub fn method(reason: &str, allow: &'static str) -> Self {
        Self {
            header: Some((ALLOW, allow)),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, reason)
        }
    }

    /// A head of more than `max` bytes.
    pub fn head(max: usize) -> Self {
        let reason = format!("the request's head is longer than {max} bytes");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
    }

    /// There are too many requests in progress.
    pub fn crowded() -> Self {
        let reason = "there are too many requests in progress, and this one took longest";
        Self {
            header: Some((RETRY_AFTER, "2")),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
        }
    }

    /// More a second than is allowed.
    pub fn too_often(reason: String) -> Self {
        Self {
            header: Some((RETRY_AFTER, "1")),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, reason)
        }
    }

    /// Nothing can be done for it at the moment.
    pub fn busy(reason: &str) -> Self {
        Self {
            header: Some((RETRY_AFTER, "1")),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
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

impl From<Refused> for Refusal {
    fn from(why: Refused) -> Self {
        let status = match why {
            Refused::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Refused::Forbidden(_) => StatusCode::FORBIDDEN,
            Refused::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, why.reason())
    }
}

impl From<query::Malformed> for Refusal {
    fn from(why: query::Malformed) -> Self {
        bad(why.to_string())
    }
}

/// A refusal with status 400.
pub fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}
