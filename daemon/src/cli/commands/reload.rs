//! `askrd reload`: has the running daemon read its settings again, and prints what came of it.

use std::process::ExitCode;

use serde::Deserialize;

use super::control_client::ask;
use crate::config::Settings;
use crate::process::terminal;

#[derive(Deserialize)]
struct Changes {
    taken: Vec<String>,
    restart: Vec<String>,
    /// askrd may be older.
    #[serde(default)]
    obstacles: Vec<String>,
}

/// Prints what has changed, what needs a restart, and why that would fail.
///
/// # Errors
/// A sentence, if the daemon cannot be reached, or cannot use the settings.
pub fn reload(settings: &Settings) -> Result<ExitCode, String> {
    let answer = ask(settings, "/reload", &[], Some("{}"))?;
    let changes: Changes = serde_json::from_slice(&answer)
        .map_err(|why| format!("askrd answers what is not understood: {why}"))?;
    // A reader that went away, as `head` does, is no failure.
    let _ = terminal::print(&text(&changes));
    Ok(ExitCode::SUCCESS)
}

fn text(changes: &Changes) -> String {
    let mut text = String::new();
    for (what, keys) in [
        ("in force now", &changes.taken),
        ("needs a restart", &changes.restart),
    ] {
        if !keys.is_empty() {
            text += &format!("{what}: {}\n", keys.join(", "));
        }
    }
    for why in &changes.obstacles {
        text += &format!("a restart would fail now: {why}\n");
    }
    if text.is_empty() {
        text += "nothing has changed\n";
    }
    text
}
