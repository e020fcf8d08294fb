//! One question to the running daemon over its control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::config::Settings;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer. The names of a hundred thousand channels fit.
const MAX_ANSWER: usize = 16 << 20;

/// The body of the answer. `body` makes it a POST.
///
/// # Errors
/// A sentence that names the socket, if the daemon cannot be asked or refuses.
pub fn ask(settings: &Settings, target: &str, body: Option<String>) -> Result<Bytes, String> {
    let (status, body) = exchange(settings, target, body)?;
    if status == StatusCode::OK {
        return Ok(body);
    }
    let why = first_line(&body);
    let path = control(settings)?;
    Err(format!(
        "askrd at {} refuses: {why} ({status})",
        path.display()
    ))
}

/// Why the daemon is not ready; None if it is.
///
/// # Errors
/// A sentence that names the socket, if the daemon cannot be asked.
pub fn unready(settings: &Settings) -> Result<Option<String>, String> {
    let (status, body) = exchange(settings, "/readyz", None)?;
    Ok((status != StatusCode::OK).then(|| first_line(&body)))
}

fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.lines().next().unwrap_or_default().to_owned()
}

fn control(settings: &Settings) -> Result<PathBuf, String> {
    let path = settings.server.control_path();
    path.ok_or_else(|| "server.control names no socket, so there is nobody to ask".to_owned())
}

fn exchange(
    settings: &Settings,
    target: &str,
    body: Option<String>,
) -> Result<(StatusCode, Bytes), String> {
    let path = control(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("cannot ask askrd: {why}"))?;
    let asked = runtime.block_on(async {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let answer = tokio::time::timeout(TIMEOUT, answer(&path, target, body)).await;
        answer.map_err(late)?
    });
    asked.map_err(|why| {
        let hint = "; is askrd running, and may this user connect?";
        format!("cannot ask askrd at {}: {why}{hint}", path.display())
    })
}

async fn answer(
    path: &Path,
    target: &str,
    body: Option<String>,
) -> io::Result<(StatusCode, Bytes)> {
    let socket = TokioIo::new(UnixStream::connect(path).await?);
    let (mut sender, connection) = http1::handshake(socket).await.map_err(io::Error::other)?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, "localhost")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(io::Error::other)?;
    let talk = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(io::Error::other)?.to_bytes()))
    };
    // The connection is driven until the answer is there.
    tokio::pin!(connection);
    tokio::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        ended = &mut connection => {
            ended.map_err(io::Error::other)?;
            talk.await
        }
    }
}
