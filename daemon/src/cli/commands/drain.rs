//! `askrd drain`: has the running daemon let its viewers go at a pace, and says how many are left.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::control_client::ask;
use crate::cli::arguments::DrainArgs;
use crate::config::Settings;
use crate::process::terminal;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
struct Drained {
    draining: bool,
    turns_away: bool,
    left: u64,
}

/// Waits until nobody is left, or stops the drain.
///
/// # Errors
/// A sentence, if the daemon cannot be reached or refuses, or if somebody else stopped the drain.
pub fn drain(settings: &Settings, arguments: &DrainArgs) -> Result<ExitCode, String> {
    let order = match arguments.stop {
        true => json!({ "stop": true }),
        false => json!({ "over": arguments.over, "notice": arguments.notice }),
    };
    let mut now = read(&ask(settings, "/drain", &[], Some(&order.to_string()))?)?;
    if arguments.stop {
        say("new viewers are welcome again");
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = None;
    while !(now.turns_away && now.left == 0) {
        if !now.draining {
            return Err("the drain was stopped".to_owned());
        }
        if said != Some(now.left) {
            say(&format!("draining: {} viewers are left", now.left));
            said = Some(now.left);
        }
        std::thread::sleep(PAUSE);
        now = read(&ask(settings, "/drain", &[], None)?)?;
    }
    say("drained: no viewer is left. askrd drain --stop, or a restart, lets new ones in again");
    Ok(ExitCode::SUCCESS)
}

fn read(answer: &[u8]) -> Result<Drained, String> {
    serde_json::from_slice(answer)
        .map_err(|why| format!("askrd answers what is not understood: {why}"))
}

/// A reader that went away, as `head` does, is no failure.
fn say(line: &str) {
    let _ = terminal::print(&format!("{line}\n"));
}
