//! `askrd history`, `askrd forget`: prints a page of a channel's events, and erases them.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::value::RawValue;
use shared::rules;

use super::audience::{decode, print, ring};
use super::control_client::ask;
use crate::cli::arguments::{ForgetArgs, HistoryArgs};
use crate::config::Settings;

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    gap: Option<Box<RawValue>>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Forgotten {
    forgotten: u64,
}

/// Prints events of a channel, one JSON object a line: what is missing before them, each event, and where the next page
/// begins.
///
/// # Errors
/// A sentence, if the daemon cannot be reached or refuses.
pub fn history(settings: &Settings, arguments: &HistoryArgs) -> Result<ExitCode, String> {
    let channel = checked(&arguments.channel)?;
    let ring = ring(settings, &arguments.common)?;
    let limit = arguments.limit.map(|limit| limit.to_string());
    let mut query = vec![("ring", &*ring), ("channel", channel)];
    let more = [
        ("limit", &limit),
        ("since", &arguments.since),
        ("before", &arguments.before),
    ];
    query.extend(
        more.iter()
            .filter_map(|(key, value)| Some((*key, value.as_deref()?))),
    );
    let page: Page = decode(&ask(settings, "/history", &query, None)?)?;
    Ok(print(&lines(&page)))
}

/// Erases what the ring holds of a channel.
///
/// # Errors
/// See [`history`]; then nothing was erased.
pub fn forget(settings: &Settings, arguments: &ForgetArgs) -> Result<ExitCode, String> {
    let channel = checked(&arguments.channel)?;
    let ring = ring(settings, &arguments.common)?;
    let query = [("ring", &*ring), ("channel", channel)];
    let Forgotten { forgotten } = decode(&ask(settings, "/forget", &query, Some(""))?)?;
    let events = if forgotten == 1 { "event" } else { "events" };
    Ok(print(&format!("{forgotten} {events} forgotten\n")))
}

fn checked(channel: &str) -> Result<&str, String> {
    rules::channel(channel.as_bytes()).map_err(|why| format!("channel {why}"))?;
    Ok(channel)
}

fn lines(page: &Page) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(gap) = &page.gap {
        let _ = writeln!(text, "{gap}");
    }
    for event in &page.events {
        let _ = writeln!(text, "{event}");
    }
    if let Some(next) = &page.next {
        let _ = writeln!(text, "{{\"next\":\"{next}\"}}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_as_it_came_between_the_gap_and_the_next_page() {
        let answer = br#"{"events":[{"event":null,"data":"\u0001","time":1.000001}],"gap":{"lost":1,"at_most":1},"next":"c-1"}"#;
        let page = decode(answer).unwrap();
        let expected = "{\"lost\":1,\"at_most\":1}\n{\"event\":null,\"data\":\"\\u0001\",\"time\":1.000001}\n{\"next\":\"c-1\"}\n";
        assert_eq!(lines(&page), expected);
        let empty = decode(br#"{"events":[],"gap":null,"next":null}"#).unwrap();
        assert_eq!(lines(&empty), "");
    }
}
