//! `askrd check`: prints the settings in force, and what memory they come to; on standard error, what is better
//! avoided. What is wrong with them has been reported before.

use std::process::ExitCode;

use crate::config::{App, Settings, Sources};
use crate::process::terminal;
use crate::server::ceiling::Ceiling;
use crate::server::ring_place;

/// Prints the settings in force as TOML, those that are not the default with the place that they came from.
pub fn check(settings: &Settings, sources: &Sources) -> ExitCode {
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
    for (_, spec, _) in settings.applications() {
        if let Some(why) = ring_place::warning(&spec) {
            terminal::complain(&format!("askrd: warning: {why}"));
        }
    }
    // A reader that went away, as `head` does, is no failure.
    let settings_in_force = with_places(&table.to_string(), sources);
    let _ = terminal::print(&(settings_in_force + &ceiling(&Ceiling::new(settings))));
    ExitCode::SUCCESS
}

/// Behind each value that is not the default, as a comment: where it came from.
fn with_places(table: &str, sources: &Sources) -> String {
    let (mut section, mut apps) = (String::new(), 0);
    let mut text = String::new();
    for line in table.lines() {
        if line == "[[app]]" {
            apps += 1;
            section = format!("app[{apps}]");
        } else if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_owned();
        }
        text += line;
        let key = line.split_once(" = ").map(|(key, _)| key);
        if let Some(place) = key.and_then(|key| sources.place(&section, key)) {
            text += &format!("  # {place}");
        }
        text.push('\n');
    }
    text
}

/// As comments, so that the whole stays a file of settings.
fn ceiling(ceiling: &Ceiling) -> String {
    let mut text = String::from("\n");
    for part in &ceiling.parts {
        let mib = part.bytes as f64 / f64::from(1 << 20);
        let line = format!("# {:24}{mib:10.1} MiB  {}", part.name, part.bound);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let (total, kept) = (ceiling.total(), ceiling.kept());
    text + &format!(
        "# memory ceiling: {total} bytes\n# memory ceiling without connections: {kept} bytes\n"
    )
}
