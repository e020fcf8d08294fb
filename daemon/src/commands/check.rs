//! `askrd check`: prints the settings in force. What is wrong with them has been told before.

use std::process::ExitCode;

use crate::settings::{App, Settings};

pub fn check(settings: &Settings) -> ExitCode {
    #[derive(serde::Serialize)]
    struct Several<'a> {
        app: &'a [App],
    }
    // Plain values only: this cannot fail.
    let mut table = toml::Table::try_from(settings).unwrap_or_default();
    if !settings.apps.is_empty() {
        table.remove("app");
        let apps = Several {
            app: &settings.apps,
        };
        table.extend(toml::Table::try_from(apps).unwrap_or_default());
    }
    print!("{table}");
    ExitCode::SUCCESS
}
