//! Responses: a status and one line or JSON, and the head of a stream.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONNECTION,
    CONTENT_TYPE, HeaderName, HeaderValue, VARY, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use protocol::sse;

use super::cors::Origin;
use super::date;
use super::refusal::Refusal;
use crate::process::budget::Held;

/// A complete response, which is not a stream.
pub type Answer = Response<Full<Bytes>>;

/// A refusal; a page of an allowed origin may read it.
pub fn refusal(refusal: &Refusal, origin: &Origin) -> Answer {
    let mut answer = text(refusal.status, &refusal.reason);
    if let Some((name, value)) = &refusal.header {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    if refusal.status == StatusCode::UNAUTHORIZED {
        answer
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    allow_origin(&mut answer, origin);
    answer
}

fn text(status: StatusCode, line: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{line}\n"))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    answer
}

/// Adds `Connection: close`.
pub fn close(answer: &mut Answer) {
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

/// A refusal as the final bytes of a connection that hyper does not serve any more.
pub fn final_refusal(refusal: &Refusal) -> Vec<u8> {
    let header = refusal.header.as_ref();
    let more = header.map_or(String::new(), |(name, value)| {
        format!("{name}: {value}\r\n")
    });
    let line = format!("{}\n", refusal.reason);
    let status = refusal.status.to_string();
    final_bytes(&status, "text/plain; charset=utf-8", &more, line.as_bytes())
}

/// The final bytes to an EventSource that is to reconnect after `retry` milliseconds.
pub fn final_retry(retry: u32) -> Vec<u8> {
    final_bytes("200 OK", "text/event-stream", "", &sse::retry(retry))
}

/// `more`: header lines, each with its line break.
fn final_bytes(status: &str, kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{more}Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A response with status 200 and this JSON.
pub fn json(body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The same with status 503, for whoever asks whether viewers may be sent here.
pub fn down(body: impl Into<Bytes>) -> Answer {
    let mut answer = json(body);
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

/// The same, for a page of an allowed origin too.
pub fn json_to(body: impl Into<Bytes>, origin: &Origin) -> Answer {
    let mut answer = json(body);
    allow_origin(&mut answer, origin);
    answer
}

/// What the client has already is still so.
pub fn unchanged(origin: &Origin) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    allow_origin(&mut answer, origin);
    answer
}

/// The id of what was published, alone.
pub fn id(id: String, origin: &Origin) -> Answer {
    let mut answer = text(StatusCode::OK, "");
    *answer.body_mut() = Full::new(Bytes::from(id));
    allow_origin(&mut answer, origin);
    answer
}

/// The head of a stream as an answer of its own.
pub fn head_of(stream_head: &[u8]) -> Answer {
    let mut answer = Response::new(Full::default());
    for line in stream_head.split(|byte| *byte == b'\n').skip(1) {
        let mut parts = line.trim_ascii_end().splitn(2, |byte| *byte == b':');
        if let (Some(name), Some(value)) = (parts.next(), parts.next())
            && let Ok(name) = HeaderName::from_bytes(name)
            && let Ok(value) = HeaderValue::from_bytes(value.trim_ascii())
        {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

/// A page of history, or a list, whose bytes are counted as long as somebody does not take them.
pub fn page(page: Held, origin: &Origin) -> Answer {
    let mut answer = json(page);
    allow_origin(&mut answer, origin);
    answer
}

/// `{"channels":[…]}`: all channels of a stream that was changed.
pub fn changed(channels: &[String], origin: &Origin) -> Answer {
    let body = serde_json::json!({ "channels": channels }).to_string();
    let mut answer = json(body.into_bytes());
    allow_origin(&mut answer, origin);
    answer
}

/// A response with status 204: it was done, and there is nothing to say.
pub fn nothing(origin: &Origin) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    allow_origin(&mut answer, origin);
    answer
}

/// The response to OPTIONS: what a page of an allowed origin may send. `allowed`: the headers.
pub fn preflight(origin: &Origin, allowed: &HeaderValue) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    allow_origin(&mut answer, origin);
    answer
}

/// A limit is reached. Any status but 200 would end an EventSource for good, so it is sent a stream that ends at
/// once, with the reconnection time in milliseconds.
pub fn retry_later(retry: u32, origin: &Origin) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(sse::retry(retry))));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    allow_origin(&mut answer, origin);
    answer
}

fn allow_origin(answer: &mut Answer, origin: &Origin) {
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some((origin, credentials)) = allowed(origin) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if credentials {
            let allow = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, allow);
        }
    }
}

/// The origin that may read a response, and whether with credentials. For a pattern it is `*` rather than the page's own:
/// browsers never combine that with credentials, whatever a proxy adds. Which one it is depends on the request, so
/// that each response says `Vary: Origin`.
fn allowed(origin: &Origin) -> Option<(HeaderValue, bool)> {
    match origin {
        Origin::Listed(origin) => Some((origin.clone(), true)),
        Origin::Pattern => Some((HeaderValue::from_static("*"), false)),
        Origin::Own | Origin::Foreign => None,
    }
}

/// The head of an SSE response, written here because a stream leaves hyper. It has neither a length nor chunked
/// encoding, so that the same bytes serve every subscriber, and ends when the connection is closed. `more`: header lines,
/// each with its line break.
pub fn stream_head(origin: &Origin, more: &str) -> Vec<u8> {
    // With room for what the stream is sent first.
    let mut head = Vec::with_capacity(768);
    head.extend_from_slice(
        b"HTTP/1.1 200 OK\r\n\
        Content-Type: text/event-stream\r\n\
        Cache-Control: no-store\r\n\
        X-Accel-Buffering: no\r\n\
        X-Content-Type-Options: nosniff\r\n\
        Connection: close\r\n\
        Vary: Origin\r\n",
    );
    head.extend_from_slice(b"Date: ");
    date::write(&mut head);
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(more.as_bytes());
    if let Some((origin, credentials)) = allowed(origin) {
        if credentials {
            head.extend_from_slice(b"Access-Control-Allow-Credentials: true\r\n");
        }
        head.extend_from_slice(b"Access-Control-Allow-Origin: ");
        head.extend_from_slice(origin.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
