//! The HTTP client: posts JSON to an application on the same machine or network.
//!
//! A target is `http://host:port/path` or `unix:/socket:/path`. There is no TLS: remote targets are reached
//! through a proxy on this machine.
//!
//! Connections are kept alive. Each thread has a client of its own, since a kept connection is driven by a task
//! of the runtime that opened it, and each worker has a runtime of its own.

mod connect;
mod target;
#[cfg(test)]
pub mod testing;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use connect::Connector;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
pub use target::Target;

/// How long a kept connection may be idle: shorter than servers usually allow, so that it is not closed just
/// when it is used again.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections to one target that a thread keeps.
const IDLE_CONNECTIONS: usize = 8;

thread_local! {
    static CLIENT: Client<Connector, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        // As Pusher writes them: the development server of PHP gives names to scripts as they came.
        .http1_title_case_headers(true)
        .build(Connector);
}

/// The bounds of a request.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The timeout of the whole request, from the name lookup to the response's last byte.
    pub time: Duration,
    /// The most bytes of the response's body.
    pub answer: usize,
}

/// Why there is no response. `Display` is the end of a line that begins with the target.
#[derive(Debug)]
pub enum Failure {
    /// The timeout passed.
    Time(Duration),
    /// The body is longer than this many bytes.
    Large(usize),
    /// No connection could be opened.
    Connect(String),
    /// The connection failed, or the response was malformed.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "did not answer in {} s", time.as_secs_f64()),
            Self::Large(bytes) => write!(f, "answered with more than {bytes} bytes"),
            Self::Connect(why) => write!(f, "cannot be reached: {why}"),
            Self::Broken(why) => write!(f, "broke off: {why}"),
        }
    }
}

/// Posts JSON and returns the response's status and body. Redirects are not followed. The request is sent a
/// second time if the connection fails before there is a response.
///
/// # Errors
/// If there was no complete response within the bounds.
pub async fn post(
    target: &Target,
    headers: &HeaderMap,
    body: Bytes,
    bounds: Bounds,
) -> Result<(StatusCode, Bytes), Failure> {
    let answer = async {
        let answer = match send(target, headers, body.clone()).await {
            // The peer may have closed a kept connection at the same moment.
            Err(Failure::Broken(_)) => send(target, headers, body).await?,
            outcome => outcome?,
        };
        let status = answer.status();
        let body = Limited::new(answer.into_body(), bounds.answer).collect();
        let body = body
            .await
            .map_err(|why| match why.is::<LengthLimitError>() {
                true => Failure::Large(bounds.answer),
                false => Failure::Broken(why.to_string()),
            })?;
        Ok((status, body.to_bytes()))
    };
    match tokio::time::timeout(bounds.time, answer).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::Time(bounds.time)),
    }
}

async fn send(
    target: &Target,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response<Incoming>, Failure> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.uri().clone();
    let all = request.headers_mut();
    all.extend(headers.clone());
    all.insert(HOST, target.host().clone());
    // With this header Laravel answers 401 instead of redirecting to a login page.
    all.insert(ACCEPT, HeaderValue::from_static("application/json"));
    all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    all.entry(USER_AGENT)
        .or_insert(HeaderValue::from_static("askrd"));
    let answer = CLIENT.with(|client| client.request(request));
    answer.await.map_err(failure)
}

fn failure(why: legacy::Error) -> Failure {
    // The source says more than "client error".
    let source = std::error::Error::source(&why).map(ToString::to_string);
    let text = source.unwrap_or_else(|| why.to_string());
    match why.is_connect() {
        true => Failure::Connect(text),
        false => Failure::Broken(text),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{App, Reply, app, app_at, nobody, ok};
    use super::*;

    const PATIENT: Bounds = Bounds {
        time: Duration::from_secs(60),
        answer: 1000,
    };
    /// For applications that never answer.
    const SHORT: Bounds = Bounds {
        time: Duration::from_millis(200),
        answer: 1000,
    };

    async fn posted(url: &str, bounds: Bounds) -> Result<(u16, String), String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("1"));
        let target = url.parse().unwrap();
        let answer = post(&target, &headers, Bytes::from_static(b"{}"), bounds).await;
        let (status, body) = answer.map_err(|why| why.to_string())?;
        Ok((status.as_u16(), String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn asked(app: &mut App) -> String {
        let host = app.url.trim_start_matches("http://").split('/').next();
        let host = match app.url.starts_with("unix:") {
            true => "localhost".to_owned(),
            false => host.unwrap().to_owned(),
        };
        let request = app.request().await;
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<&str> = head.lines().collect();
        assert_eq!(lines.remove(0), "POST /askr?x=1 HTTP/1.1");
        lines.sort_unstable();
        let expected = [
            "Accept: application/json",
            "Content-Length: 2",
            "Content-Type: application/json",
            &format!("Host: {host}"),
            "User-Agent: askrd",
            "X-A: 1",
        ];
        assert_eq!(lines, expected);
        body.to_owned()
    }

    #[tokio::test]
    async fn it_posts_to_both_kinds_of_target_and_reuses_connections() {
        let directory = tempfile::tempdir().unwrap();
        let tcp = app(|_, _| ok("yes")).await;
        let unix = app_at(&directory.path().join("app.sock"), |_, _| ok("yes"));
        for mut app in [tcp, unix] {
            for _ in 0..3 {
                assert_eq!(posted(&app.url, PATIENT).await, Ok((200, "yes".into())));
                assert_eq!(asked(&mut app).await, "{}");
            }
            assert_eq!(app.connections.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_kept_connection_that_was_closed_is_replaced() {
        let app = app(|number, _| match number {
            1 => Reply::Close,
            _ => ok("yes"),
        })
        .await;
        for _ in 0..2 {
            assert_eq!(posted(&app.url, PATIENT).await, Ok((200, "yes".into())));
        }
        assert_eq!(app.requests.len(), 3);
    }

    #[tokio::test]
    async fn each_kind_of_failure_has_its_own_message() {
        let why = posted(&nobody(), PATIENT).await.unwrap_err();
        assert!(why.starts_with("cannot be reached: "), "{why}");
        let why = posted("unix:/nonexistent.sock:/", PATIENT)
            .await
            .unwrap_err();
        assert!(why.starts_with("cannot be reached: "), "{why}");
        let head = "HTTP/1.1 200 OK\r\n";
        let large = Reply::Answer("200 OK", "x".repeat(1001));
        let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("{endless}3e9\r\n{}\r\n", "x".repeat(1001));
        for (reply, bounds, expected) in [
            (Reply::Hang, SHORT, "did not answer in 0.2 s"),
            (
                Reply::Slowly("HTTP/1.1 200 OK\r\nx: "),
                SHORT,
                "did not answer in 0.2 s",
            ),
            (
                Reply::Slowly("HTTP/1.1 200 OK\r\n\r\n"),
                SHORT,
                "did not answer in 0.2 s",
            ),
            (large, PATIENT, "answered with more than 1000 bytes"),
            (
                Reply::Raw(chunk),
                PATIENT,
                "answered with more than 1000 bytes",
            ),
            (Reply::Close, PATIENT, "broke off: "),
            (
                Reply::Raw("\0\u{1}garbage\r\n\r\n".into()),
                PATIENT,
                "broke off: ",
            ),
            (Reply::Raw(head.into()), PATIENT, "broke off: "),
            (
                Reply::Raw(format!("{head}content-length: 9\r\n\r\nx")),
                PATIENT,
                "broke off: ",
            ),
            (
                Reply::Raw(format!("{head}{}", "x: y\r\n".repeat(1000))),
                PATIENT,
                "broke off: ",
            ),
        ] {
            let sent = reply.clone();
            let app = app(move |_, _| sent.clone()).await;
            let why = posted(&app.url, bounds).await.unwrap_err();
            assert!(why.starts_with(expected), "{reply:?}: {why}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let elsewhere = app(|_, _| ok("")).await;
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\n", elsewhere.url);
        let app = app(move |_, _| Reply::Raw(format!("{head}content-length: 0\r\n\r\n"))).await;
        assert_eq!(posted(&app.url, PATIENT).await, Ok((302, String::new())));
        assert_eq!(elsewhere.connections.len(), 0);
    }
}
