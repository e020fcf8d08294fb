//! Why a request to the HTTP API is refused.

use http::StatusCode;

/// Why a request is refused. `Display` is the reason, on one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: String,
}

/// A refusal with status 400.
pub fn bad(reason: impl Into<String>) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, reason)
}

/// A refusal with any status.
pub fn refusal(status: StatusCode, reason: impl Into<String>) -> Refusal {
    let reason = reason.into();
    Refusal { status, reason }
}
