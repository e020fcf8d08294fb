//! `askrd doctor`: what is wrong between PHP and a browser, each with the command that mends it. It says nothing where
//! nothing is wrong.
//!
//! ```text
//! settings ─► clock ─► daemon (alive, ready, current, descriptors) ─► redis ─► ring (there, served, room)
//!          ─► php (loaded, same ring, may write, same secrets) ─► proxy (--url, --origin) ─► one real event, published by PHP and received where a browser would
//! ```

mod agreement;
mod apache;
mod clock;
mod daemon;
mod event;
mod finding;
mod fpm;
mod http;
mod ini;
mod installing;
mod nginx;
mod permissions;
mod php;
mod processes;
mod proxy;
mod publisher;
mod redis;
mod ring;

use std::process::ExitCode;

use finding::Findings;
use shared::secret::Secret;

use crate::cli::arguments::DoctorArgs;
use crate::config;
use crate::process::terminal;
use crate::server::preflight;
use crate::server::preflight::Preparation;

/// Prints what was found. The exit code is 0 if nothing was, 1 if there are warnings alone, and 2 otherwise.
pub fn doctor(arguments: &DoctorArgs) -> ExitCode {
    let findings = examine(arguments);
    let text = match arguments.json {
        true => findings.json(),
        false => findings.text(),
    };
    // A reader that went away, as `head` does, is no failure.
    let _ = terminal::print(&text);
    ExitCode::from(findings.exit_code())
}

fn examine(arguments: &DoctorArgs) -> Findings {
    let mut findings = Findings::default();
    let flags = arguments.common.clone().into();
    let (settings, sources) = match config::load(&flags, |name| std::env::var(name).ok()) {
        Ok(loaded) => loaded,
        Err(why) => {
            findings.problem(
                "settings",
                why.to_string(),
                "mend the file, then: askrd check",
            );
            return findings;
        }
    };
    let (secrets, store) = match preflight::prepare(&settings) {
        Ok(prepared) => (Some(secrets(&prepared)), prepared.store),
        Err((section, key, why)) => {
            let why = sources.problem(&section, key, &why).to_string();
            findings.problem("settings", why, "mend what it names, then: askrd check");
            (None, None)
        }
    };
    clock::examine(&mut findings);
    let runs = daemon::examine(&settings, &mut findings);
    if let Some(store) = store {
        redis::examine(store, &mut findings);
    }
    ring::examine(&settings, runs, &mut findings);
    let loaded = php::examine(&settings, secrets, arguments, &mut findings);
    let reached = match &arguments.url {
        Some(url) => {
            let origin = arguments.origin.as_deref();
            let is_away = runs == Some(false);
            proxy::examine(&settings, url, origin, is_away, &mut findings)
        }
        None => {
            proxy::is_there(&settings, &arguments.root, &mut findings);
            true
        }
    };
    // Where something on its way is broken it would only say so again.
    if runs != Some(false) && loaded && reached && !findings.has_problem() && !arguments.no_event {
        event::examine(&settings, arguments, &mut findings);
    }
    findings
}

/// By which tokens of any application are verified.
fn secrets(prepared: &Preparation) -> Vec<Secret> {
    let all = prepared.apps.iter().flat_map(|app| &app.secrets);
    all.cloned().collect()
}
