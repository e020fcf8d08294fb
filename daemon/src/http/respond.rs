//! Answers that are not streams: a status and one line that says why.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONNECTION,
    CONTENT_TYPE, HeaderValue, VARY, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use protocol::sse;

use super::cors::Origin;
use super::refusal::Refusal;

pub type Answer = Response<Full<Bytes>>;

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
    allow(&mut answer, origin);
    answer
}

pub fn text(status: StatusCode, line: &str) -> Answer {
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

/// The connection ends with this answer.
pub fn close(answer: &mut Answer) {
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

/// A refusal as the last bytes of a connection, where hyper is no longer there to write them.
pub fn last(refusal: &Refusal) -> Vec<u8> {
    let header = refusal.header.as_ref();
    let more = header.map_or(String::new(), |(name, value)| {
        format!("{name}: {value}\r\n")
    });
    let line = format!("{}\n", refusal.reason);
    let status = refusal.status.to_string();
    last_bytes(&status, "text/plain; charset=utf-8", &more, line.as_bytes())
}

/// The same for who is told to come back.
pub fn last_later(retry: u32) -> Vec<u8> {
    last_bytes("200 OK", "text/event-stream", "", &sse::retry(retry))
}

/// `more`: headers, each with its line's end.
fn last_bytes(status: &str, kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{more}Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The channels that a stream has now.
pub fn changed(channels: &[String], origin: &Origin) -> Answer {
    let body = serde_json::json!({ "channels": channels }).to_string();
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    allow(&mut answer, origin);
    answer
}

/// To OPTIONS: what a page of an allowed origin may send.
pub fn preflight(origin: &Origin) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST"),
    );
    let allowed =
        HeaderValue::from_static("Authorization, Content-Type, Last-Event-ID, Cache-Control");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    allow(&mut answer, origin);
    answer
}

/// There is no room now. Any status but 200 would end an EventSource for good, so it is told when to
/// come back instead.
pub fn later(retry: u32, origin: &Origin) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(sse::retry(retry))));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    allow(&mut answer, origin);
    answer
}

fn allow(answer: &mut Answer, origin: &Origin) {
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Origin::Listed(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
}

/// A stream's head, written by hand because the stream leaves hyper: no length, no chunks, so that one
/// frame serves every subscriber, and closed at its end.
pub fn stream_head(origin: &Origin) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\n\
        Content-Type: text/event-stream\r\n\
        Cache-Control: no-store\r\n\
        X-Accel-Buffering: no\r\n\
        X-Content-Type-Options: nosniff\r\n\
        Connection: close\r\n\
        Vary: Origin\r\n"
        .to_vec();
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    head.extend_from_slice(format!("Date: {now}\r\n").as_bytes());
    if let Origin::Listed(origin) = origin {
        head.extend_from_slice(b"Access-Control-Allow-Credentials: true\r\n");
        head.extend_from_slice(b"Access-Control-Allow-Origin: ");
        head.extend_from_slice(origin.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
