//! The body of a request, which must be short and come in time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;

/// Bytes of it, and seconds that it may take.
const MAX_BODY: usize = 4096;
const TIMEOUT: Duration = Duration::from_secs(5);

/// A status and one line.
pub type Refused = (StatusCode, String);

/// # Errors
/// 413 and 408.
pub async fn read(body: Incoming) -> Result<Bytes, Refused> {
    let body = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => {
            let why = format!("the body must be at most {MAX_BODY} bytes");
            Err((StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come in time".to_owned(),
        )),
    }
}
