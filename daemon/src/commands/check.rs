//! `askrd check`: prints the settings in force. What is wrong with them has been told before.

use std::process::ExitCode;

use crate::settings::Settings;

pub fn check(settings: &Settings) -> ExitCode {
    // Plain values only: this cannot fail.
    let text = toml::to_string(settings).unwrap_or_default();
    print!("{text}");
    ExitCode::SUCCESS
}
