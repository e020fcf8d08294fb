//! `askrd stats`: the running daemon's metrics in readable form.

use std::process::ExitCode;

use super::control_client::{ask, unready};
use crate::config::Settings;
use crate::process::terminal;

/// Prints the metrics.
///
/// # Errors
/// A sentence, if the daemon cannot be reached.
pub fn stats(settings: &Settings) -> Result<ExitCode, String> {
    let metrics = ask(settings, "/metrics", &[], None)?;
    let unready = unready(settings)?;
    let unready = unready.map_or(String::new(), |why| format!("not ready: {why}\n"));
    // A reader that went away, as `head` does, is no failure.
    let _ = terminal::print(&(unready + &table(&String::from_utf8_lossy(&metrics))));
    Ok(ExitCode::SUCCESS)
}

/// One line for each metric: value, name, help. For a histogram: its median and its 99th percentile.
fn table(metrics: &str) -> String {
    let mut out = String::new();
    let (mut help, mut histogram): (&str, Vec<(&str, f64)>) = ("", Vec::new());
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
            continue;
        }
        let Some((name, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let name = name.trim_start_matches("askr_");
        let (bare, labels) = name.split_at(name.find('{').unwrap_or(name.len()));
        if bare.ends_with("_bucket") {
            let le = labels.split_once("le=\"").map_or("", |(_, le)| le);
            histogram.push((le.trim_end_matches("\"}"), value.parse().unwrap_or(0.0)));
        } else if let Some(name) = bare
            .strip_suffix("_count")
            .filter(|_| !histogram.is_empty())
        {
            for (part, share) in [("p50", 0.5), ("p99", 0.99)] {
                let value = quantile(&histogram, share);
                out += &format!(
                    "{value:>16}  {:<40} {help}\n",
                    format!("{name}{labels} {part}")
                );
            }
            histogram.clear();
        } else if histogram.is_empty() {
            out += &format!("{:>16}  {name:<40} {help}\n", grouped(value));
        }
    }
    out
}

/// The upper bound of the bucket that contains this quantile, as text.
fn quantile(histogram: &[(&str, f64)], share: f64) -> String {
    let all = histogram.last().map_or(0.0, |(_, count)| *count);
    let found = histogram.iter().find(|(_, count)| *count >= all * share);
    match found {
        Some((le, _)) if all > 0.0 => match le.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => {
                format!("≤ {} µs", grouped(&format!("{:.0}", seconds * 1e6)))
            }
            _ => "> 5 s".to_owned(),
        },
        _ => "-".to_owned(),
    }
}

/// `1234567` as `1 234 567`.
pub(super) fn grouped(value: &str) -> String {
    if !value.bytes().all(|b| b.is_ascii_digit()) {
        return value.to_owned();
    }
    let mut out = String::new();
    for (n, digit) in value.chars().enumerate() {
        if n > 0 && (value.len() - n).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_values_names_and_help() {
        let text = "# HELP askr_streams Streams open.\n# TYPE askr_streams gauge\naskr_streams 12345\n\
            # HELP askr_x_seconds Time.\n# TYPE askr_x_seconds histogram\n\
            askr_x_seconds_bucket{le=\"0.00001\"} 5\naskr_x_seconds_bucket{le=\"0.5\"} 9\n\
            askr_x_seconds_bucket{le=\"+Inf\"} 10\naskr_x_seconds_sum 1\naskr_x_seconds_count 10\n\
            askr_y_seconds_bucket{a=\"b\",le=\"0.5\"} 9\naskr_y_seconds_bucket{a=\"b\",le=\"+Inf\"} 9\n\
            askr_y_seconds_sum{a=\"b\"} 1\naskr_y_seconds_count{a=\"b\"} 9\n";
        let table = table(text);
        let words: Vec<Vec<&str>> = table
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|w| !w.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(words[0], ["12 345", "streams", "Streams open."]);
        assert_eq!(words[1][..2], ["≤ 10 µs", "x_seconds p50"]);
        assert_eq!(words[2][..2], ["> 5 s", "x_seconds p99"]);
        assert_eq!(words[3][..2], ["≤ 500 000 µs", "y_seconds{a=\"b\"} p50"]);
        assert_eq!(words.len(), 5);
    }
}
