//! `askrd stats --watch`: the most important numbers as they change. On a terminal one picture that is drawn again, elsewhere
//! a line each time. It goes on when askrd is restarted, and ends when nobody reads any more.

use std::collections::HashMap;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use super::control_client::ask;
use super::stats::grouped;
use crate::cli::arguments::StatsArgs;
use crate::config::Settings;
use crate::process::terminal;

/// What is shown, in this order: its name, where it comes from, and how.
const SHOWN: &[(&str, &str, Show)] = &[
    ("connections", "askr_connections", Show::Now),
    ("streams", "askr_streams", Show::Now),
    ("channels", "askr_channels", Show::Now),
    ("members", "askr_presence_members", Show::Now),
    ("events/s", "askr_events_read_total", Show::Rate),
    ("frames/s", "askr_events_delivered_total", Show::Rate),
    ("bytes/s", "askr_written_bytes_total", Show::Rate),
    ("replayed/s", "askr_events_replayed_total", Show::Rate),
    ("gaps/s", "askr_gaps_told_total", Show::Rate),
    ("lost/s", "askr_positions_lost_total", Show::Rate),
    ("unpublished/s", "askr_publish_failures_total", Show::Rate),
    ("refused/s", "askr_requests_refused_total", Show::Rate),
    ("over-limit/s", "askr_refused_total", Show::Rate),
    ("slow/s", "askr_slow_clients_total", Show::Rate),
    ("lag", "askr_ring_lag_positions", Show::Now),
    ("history-s", "askr_history_seconds", Show::Now),
    ("held-bytes", "askr_held_bytes", Show::Now),
    ("rss-bytes", "process_resident_memory_bytes", Show::Now),
    ("cores", "process_cpu_seconds_total", Show::Rate),
    ("p99-us", "askr_publish_to_write_seconds", Show::Slowest),
];

#[derive(Debug, Clone, Copy)]
enum Show {
    /// The value, of all rows together.
    Now,
    /// What it has risen by in a second.
    Rate,
    /// The upper bound of the bucket with the 99th percentile of what was observed since the last time, in microseconds.
    Slowest,
}

/// Sums of the rows of each name; of a histogram each bucket by itself.
type Values = HashMap<String, f64>;

/// # Errors
/// A sentence, if the daemon cannot be reached the first time.
pub fn watch(settings: &Settings, arguments: &StatsArgs) -> Result<ExitCode, String> {
    let every = Duration::from_secs_f64(arguments.interval);
    let drawn = terminal::is_there();
    let look = || -> Result<(Values, Instant), String> {
        let text = ask(settings, "/metrics", &[], None)?;
        Ok((values(&String::from_utf8_lossy(&text)), Instant::now()))
    };
    let mut before = look()?;
    let mut left = arguments.count;
    while left != Some(0) {
        thread::sleep(every);
        let text = match look() {
            Ok(now) => {
                let seconds = now.1.duration_since(before.1).as_secs_f64();
                let rows = rows(&before.0, &now.0, seconds);
                before = now;
                if drawn { picture(&rows) } else { line(&rows) }
            }
            Err(why) => format!("{why}\n"),
        };
        let written = match drawn {
            true => terminal::print_again(&text),
            false => terminal::print(&text),
        };
        if written.is_err() {
            // Nobody reads any more, as after `head`.
            break;
        }
        left = left.map(|n| n - 1);
    }
    Ok(ExitCode::SUCCESS)
}

fn values(text: &str) -> Values {
    let mut values = Values::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = match name.contains("_bucket{") {
            true => name,
            false => name.split('{').next().unwrap_or(name),
        };
        *values.entry(name.to_owned()).or_default() += value.parse().unwrap_or(0.0);
    }
    values
}

fn rows(before: &Values, now: &Values, seconds: f64) -> Vec<(&'static str, String)> {
    let of = |values: &Values, name: &str| values.get(name).copied().unwrap_or(0.0);
    let row = |(label, name, show): &(&'static str, &str, Show)| {
        let value = match show {
            Show::Now => grouped(&format!("{:.0}", of(now, name))),
            Show::Rate => {
                // After a restart it begins at 0.
                let rise = of(now, name) - of(before, name);
                let rise = if rise < 0.0 { of(now, name) } else { rise };
                let rate = rise / seconds.max(1e-3);
                match rate {
                    10.0.. => grouped(&format!("{rate:.0}")),
                    rate => format!("{rate:.2}"),
                }
            }
            Show::Slowest => slowest(before, now, name),
        };
        (*label, value)
    };
    SHOWN.iter().map(row).collect()
}

fn slowest(before: &Values, now: &Values, name: &str) -> String {
    let head = format!("{name}_bucket{{le=\"");
    let bound = |bucket: &str| {
        let le = bucket.strip_prefix(&head)?.strip_suffix("\"}")?;
        Some(
            le.replace("+Inf", "inf")
                .parse::<f64>()
                .unwrap_or(f64::INFINITY),
        )
    };
    let rise = |bucket: &String, count: &f64| {
        let rise = count - before.get(bucket).copied().unwrap_or(0.0);
        if rise < 0.0 { *count } else { rise }
    };
    let each = now.iter();
    let mut buckets: Vec<(f64, f64)> = each
        .filter_map(|(bucket, count)| Some((bound(bucket)?, rise(bucket, count))))
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = buckets.last().map_or(0.0, |(_, count)| *count);
    let found = buckets.iter().find(|(_, count)| *count >= all * 0.99);
    match found {
        Some((bound, _)) if all > 0.0 && bound.is_finite() => format!("{:.0}", bound * 1e6),
        Some(_) if all > 0.0 => ">5000000".to_owned(),
        _ => "-".to_owned(),
    }
}

fn line(rows: &[(&str, String)]) -> String {
    let each = rows.iter();
    let mut text: Vec<String> = each
        .map(|(label, value)| format!("{label}={}", value.replace(' ', "")))
        .collect();
    text.push("\n".to_owned());
    text.join(" ").replace(" \n", "\n")
}

fn picture(rows: &[(&str, String)]) -> String {
    let each = rows.iter();
    let all: String = each
        .map(|(label, value)| format!("{value:>16}  {label}\n"))
        .collect();
    format!("{all}\n              Ctrl-C ends this\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE x counter\naskr_events_read_total 100\naskr_streams 1200\n\
        askr_publish_failures_total{application=\"a\",reason=\"io\"} 1\n\
        askr_publish_to_write_seconds_bucket{le=\"0.0001\"} 10\n\
        askr_publish_to_write_seconds_bucket{le=\"+Inf\"} 10\n";
    const NOW: &str = "askr_events_read_total 350\naskr_streams 1234\n\
        askr_publish_failures_total{application=\"a\",reason=\"io\"} 2\n\
        askr_publish_failures_total{application=\"b\",reason=\"io\"} 4\n\
        askr_publish_to_write_seconds_bucket{le=\"0.0001\"} 11\n\
        askr_publish_to_write_seconds_bucket{le=\"0.0005\"} 110\n\
        askr_publish_to_write_seconds_bucket{le=\"+Inf\"} 110\n";

    fn shown(before: &str, now: &str, label: &str) -> String {
        let rows = rows(&values(before), &values(now), 2.0);
        rows.into_iter().find(|row| row.0 == label).unwrap().1
    }

    #[test]
    fn rates_are_what_rose_in_a_second_and_rows_are_added_up() {
        assert_eq!(shown(BEFORE, NOW, "events/s"), "125");
        assert_eq!(shown(BEFORE, NOW, "streams"), "1 234");
        assert_eq!(shown(BEFORE, NOW, "unpublished/s"), "2.50");
        assert_eq!(shown(BEFORE, NOW, "p99-us"), "500");
        assert_eq!(shown(NOW, NOW, "p99-us"), "-");
    }

    #[test]
    fn what_begins_again_has_risen_from_nothing() {
        assert_eq!(shown(NOW, BEFORE, "events/s"), "50");
    }

    #[test]
    fn a_line_is_one_line_without_spaces_in_numbers() {
        let line = line(&rows(&values(BEFORE), &values(NOW), 2.0));
        assert!(
            line.contains(" streams=1234 ") && line.ends_with('\n'),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }
}
