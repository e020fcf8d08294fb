//! A refused request to a hub. What a client has to show is said as OAuth has it (RFC 6750, RFC 9728).

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use protocol::mercure::hub_url::HubUrl;

use super::super::cors::Origin;
use super::super::refusal::Refusal;
use super::super::respond::{self, Answer};
use super::target::METADATA;

#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    reason: String,
    /// What is said of the credentials; none where there are none.
    error: Option<&'static str>,
}

impl Refused {
    /// No token is shown, and one is needed.
    pub fn without_token() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            reason: "a token is needed (Authorization or cookie)".to_owned(),
            error: None,
        }
    }

    /// What is shown does not count.
    pub fn token(why: impl ToString) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            reason: why.to_string(),
            error: Some("invalid_token"),
        }
    }

    /// What is shown counts, and is not enough.
    pub fn scope(why: &str) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            reason: why.to_owned(),
            error: Some("insufficient_scope"),
        }
    }

    /// The request shows its credentials in a way that it must not.
    pub fn request(why: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            reason: why.into(),
            error: Some("invalid_request"),
        }
    }

    /// As many connections as there may be.
    pub fn limit() -> Self {
        let why = "there are as many connections as are allowed, here or of this address";
        Self::other(StatusCode::TOO_MANY_REQUESTS, why)
    }

    /// It has nothing to do with credentials.
    pub fn other(status: StatusCode, why: impl Into<String>) -> Self {
        Self {
            status,
            reason: why.into(),
            error: None,
        }
    }

    pub fn is_of_token(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    pub fn answer(&self, hub: &HubUrl, origin: &Origin) -> Answer {
        let refusal = Refusal::new(self.status, &*self.reason);
        let mut answer = respond::refusal(&refusal, origin);
        if self.is_of_token() || self.error.is_some() {
            let error = self
                .error
                .map_or(String::new(), |error| format!("error=\"{error}\", "));
            let resource = format!("{}{METADATA}{}", hub.origin(), hub.path());
            let challenge = format!("Bearer {error}resource_metadata=\"{resource}\"");
            // A URL is ASCII.
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::other(refusal.status, refusal.reason)
    }
}
