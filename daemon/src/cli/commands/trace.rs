//! `askrd trace CHANNEL`: what happens to the channel's events, from the publish to each worker's writes.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::control_client::ask;
use crate::cli::arguments::TraceArgs;
use crate::config::Settings;
use crate::hub::trace::{Record, Traced, What, Why};
use crate::process::terminal;

const EVERY: Duration = Duration::from_millis(200);

/// Prints what happens until it is interrupted, nobody reads any more, or its time is over.
///
/// # Errors
/// A sentence, if the daemon cannot be asked.
pub fn trace(settings: &Settings, arguments: &TraceArgs) -> Result<ExitCode, String> {
    let ring = settings.ring.name().to_string();
    let end = arguments
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let mut after: Option<u64> = None;
    let mut published = None;
    loop {
        let number = after.map(|after| after.to_string());
        let mut query = vec![("ring", ring.as_str()), ("channel", &arguments.channel)];
        query.extend(number.as_deref().map(|number| ("after", number)));
        let json = ask(settings, "/trace", &query, None)?;
        let traced: Traced = serde_json::from_slice(&json)
            .map_err(|why| format!("askrd gave an answer that cannot be read: {why}"))?;
        let mut text = String::new();
        if after.is_none() && !arguments.json {
            let _ = writeln!(text, "tracing {:?}; Ctrl-C ends this", arguments.channel);
        }
        text += &lacking(&traced, arguments.json);
        for record in &traced.records {
            match arguments.json {
                true => text += &(serde_json::to_string(record).unwrap_or_default() + "\n"),
                false => text += &line(record, &mut published),
            }
        }
        let written = terminal::print(&text);
        if written.is_err() || end.is_some_and(|end| Instant::now() >= end) {
            return Ok(ExitCode::SUCCESS);
        }
        after = Some(traced.next);
        thread::sleep(EVERY);
    }
}

/// What is not among the records, a line for each reason.
fn lacking(traced: &Traced, as_json: bool) -> String {
    let mut text = String::new();
    let mut say = |lacks: bool, json: serde_json::Value, sentence: String| {
        if lacks {
            let _ = match as_json {
                true => writeln!(text, "{json}"),
                false => writeln!(text, "({sentence})"),
            };
        }
    };
    say(
        traced.interrupted,
        json!({ "what": "interrupted" }),
        "the trace had ended, because nobody asked for a while; what happened meanwhile was not noted".to_owned(),
    );
    let lost = traced.lost;
    say(
        lost > 0,
        json!({ "what": "lost", "records": lost }),
        format!("{lost} records were lost: there were too many"),
    );
    text
}

/// `published`: the event that is spoken of, and when it was published.
fn line(record: &Record, published: &mut Option<(String, u64)>) -> String {
    let cursor = record.cursor.clone().unwrap_or_default();
    let since = |published: &Option<(String, u64)>| {
        let of = published.as_ref().filter(|(of, _)| *of == cursor);
        match of {
            Some((_, at)) => format!("+{} µs", record.at.saturating_sub(*at) / 1000),
            None => String::new(),
        }
    };
    let what = match &record.what {
        What::Read {
            published: at,
            bytes,
            channels,
            workers,
        } => {
            *published = Some((cursor.clone(), *at));
            let to = match workers.as_slice() {
                [] => "nobody listens".to_owned(),
                workers => format!("for {} of the workers", workers.len()),
            };
            format!("read from the ring: {bytes} bytes, {channels} channels, {to}")
        }
        What::Sent {
            worker,
            streams,
            passed_over,
            some,
        } => {
            let mut text =
                format!("worker {worker}: {streams} streams get it, {passed_over} do not");
            for one in some {
                let _ = write!(text, "\n{:40}{} {}", "", one.socket, why(one.why));
            }
            let more = passed_over - some.len();
            if more > 0 {
                let _ = write!(text, "\n{:40}and {more} more", "");
            }
            text
        }
        What::Written { worker, waiting: 0 } => format!("worker {worker}: written"),
        What::Written { worker, waiting } => {
            format!("worker {worker}: written, or queued for {waiting} whose sockets are full")
        }
        What::Refused { why } => format!("a subscription was refused: {why:?}"),
    };
    format!("{cursor:<24} {:>12}  {what}\n", since(published))
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Except => "was left out by the publisher (except)",
        Why::Replays => "replays, and gets it from the ring at its own pace",
        Why::HasIt => "subscribed later, or has it from a replay",
        Why::Erased => "does not get what was erased (forget)",
    }
}
