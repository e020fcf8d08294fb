//! Questions to the running daemon over its control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use shared::control::{self, Limits, Question, Trouble};

use crate::config::Settings;

const LIMITS: Limits = Limits {
    each: Duration::from_secs(5),
    all: Duration::from_secs(5),
    answer: control::LIMITS.answer,
};

/// Sends a request and returns the body of the answer. With a `body` it is a POST.
///
/// # Errors
/// A sentence that names the socket, if the daemon cannot be reached or refuses.
pub fn ask(
    settings: &Settings,
    path: &str,
    query: &[(&str, &str)],
    body: Option<&str>,
) -> Result<Vec<u8>, String> {
    let socket = socket(settings)?;
    let question = Question {
        path,
        query,
        body: body.map(str::as_bytes),
    };
    control::ask(&socket, &question, &LIMITS).map_err(|why| sentence(&socket, why))
}

/// Why the daemon is not ready; None if it is.
///
/// # Errors
/// A sentence that names the socket, if the daemon cannot be asked.
pub fn unready(settings: &Settings) -> Result<Option<String>, String> {
    let socket = socket(settings)?;
    let question = Question {
        path: "/readyz",
        query: &[],
        body: None,
    };
    match control::ask(&socket, &question, &LIMITS) {
        Ok(_) => Ok(None),
        Err(Trouble::Refused { why, .. }) => Ok(Some(why)),
        Err(why) => Err(sentence(&socket, why)),
    }
}

/// The body of the answer to a GET.
///
/// # Errors
/// As of [`control::ask`].
pub fn try_ask(socket: &Path, path: &str) -> Result<Vec<u8>, Trouble> {
    try_ask_about(socket, path, &[])
}

/// The same with a query.
///
/// # Errors
/// As of [`control::ask`].
pub fn try_ask_about(
    socket: &Path,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Vec<u8>, Trouble> {
    let question = Question {
        path,
        query,
        body: None,
    };
    control::ask(socket, &question, &LIMITS)
}

fn socket(settings: &Settings) -> Result<PathBuf, String> {
    let path = settings.server.control_path();
    path.ok_or_else(|| "server.control names no socket, so there is nobody to ask".to_owned())
}

fn sentence(socket: &Path, why: Trouble) -> String {
    let socket = socket.display();
    match why {
        Trouble::Away(why) => format!(
            "cannot ask askrd at {socket}: {why}; is askrd running, and may this user connect?"
        ),
        Trouble::Refused { status, why } => {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            format!("askrd at {socket} refuses: {why} ({status})")
        }
        why => format!("askrd at {socket} {why}"),
    }
}
