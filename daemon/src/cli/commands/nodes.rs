//! `askrd nodes`: the hosts of each application, as the running daemon sees them.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Deserialize;

use super::control_client::ask;
use crate::cli::arguments::NodesArgs;
use crate::cluster::seen::View;
use crate::config::Settings;
use crate::process::terminal;

#[derive(Deserialize)]
struct Answer {
    applications: Vec<View>,
}

/// Prints them as tables, or as the JSON that the daemon gave.
///
/// # Errors
/// A sentence, if the daemon cannot be reached, or is on one host.
pub fn nodes(settings: &Settings, arguments: &NodesArgs) -> Result<ExitCode, String> {
    let json = ask(settings, "/nodes", &[], None)?;
    let answer: Answer = serde_json::from_slice(&json)
        .map_err(|why| format!("askrd gave an answer that cannot be read: {why}"))?;
    if answer.applications.is_empty() {
        return Err("cluster.url is not set, so this host is alone".into());
    }
    let text = match arguments.json {
        true => String::from_utf8_lossy(&json) + "\n",
        false => answer.applications.iter().map(table).collect(),
    };
    // A reader that went away, as `head` does, is no failure.
    let _ = terminal::print(&text);
    Ok(ExitCode::SUCCESS)
}

fn table(view: &View) -> String {
    let mut text = format!("application {} ({})\n", view.application, view.name);
    let _ = match (&view.server, &view.trouble) {
        (Some(server), _) => writeln!(
            text,
            "  by way of Redis {server}, which keeps {} events",
            view.log
        ),
        (None, Some(why)) => writeln!(text, "  alone: {why}"),
        (None, None) => writeln!(text, "  alone"),
    };
    if let Some(why) = &view.warning {
        let _ = writeln!(text, "  warning: {why}");
    }
    let _ = writeln!(
        text,
        "  not relayed yet: {} for {:.1} s    not imported yet: {} for {:.1} s",
        view.out_events, view.out_seconds, view.in_events, view.in_seconds
    );
    if !view.nodes.is_empty() {
        let _ = writeln!(
            text,
            "  {:<12}{:<24}{:<12}{:<8}{:>10}{:>12}",
            "node", "name", "version", "is", "heard of", "behind"
        );
    }
    for node in &view.nodes {
        let is = match (node.own, node.alive) {
            (true, _) => "this",
            (false, true) => "alive",
            (false, false) => "dead",
        };
        let heard = match node.own {
            true => String::new(),
            false => format!("{:.1} s ago", node.seconds),
        };
        let lag = match node.own {
            true => String::new(),
            false => node.lag.to_string(),
        };
        let _ = writeln!(
            text,
            "  {:<12}{:<24}{:<12}{is:<8}{heard:>10}{lag:>12}",
            node.origin, node.name, node.version
        );
    }
    text
}
