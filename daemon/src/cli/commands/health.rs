//! `askrd health`: whether the running daemon is ready, for containers and scripts without an HTTP client.

use std::process::ExitCode;

use super::control_client::unready;
use crate::config::Settings;

/// Nothing, and exit code 0, if it is.
///
/// # Errors
/// Why it is not, or why it cannot be asked.
pub fn health(settings: &Settings) -> Result<ExitCode, String> {
    match unready(settings)? {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => Err(format!("not ready: {why}")),
    }
}
