//! `askrd check`: prints the settings in force, and what memory they come to. What is wrong with them has been
//! told before.

use std::process::ExitCode;

use crate::ceiling::Ceiling;
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
    print_ceiling(&Ceiling::new(settings));
    ExitCode::SUCCESS
}

/// As comments, so that the whole stays a file of settings.
fn print_ceiling(ceiling: &Ceiling) {
    println!();
    for part in &ceiling.parts {
        let mib = part.bytes as f64 / f64::from(1 << 20);
        let line = format!("# {:24}{mib:10.1} MiB  {}", part.name, part.bound);
        println!("{}", line.trim_end());
    }
    println!("# memory ceiling: {} bytes", ceiling.total());
    println!(
        "# memory ceiling without connections: {} bytes",
        ceiling.kept()
    );
}
