//! The clock: tokens and signatures are valid for a time, and so are events.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::finding::Findings;

const PART: &str = "clock";
const MEND: &str = "timedatectl set-ntp true; which servers: timedatectl timesync-status";
/// Before this, it was not set since the machine was started. (2025)
const LEAST: Duration = Duration::from_secs(1_735_689_600);
/// What a token is forgiven, more or less.
const SKEW: Duration = Duration::from_secs(30);

pub fn examine(findings: &mut Findings) {
    let now = SystemTime::now();
    if now.duration_since(UNIX_EPOCH).unwrap_or_default() < LEAST {
        let what = format!(
            "it says {}, so every token is from the future",
            httpdate::fmt_http_date(now)
        );
        findings.problem(PART, what, MEND);
        return;
    }
    // Where there is no timedatectl, as in a container, the host has the clock.
    let asked = Command::new("timedatectl")
        .args(["show", "-p", "NTPSynchronized", "--value"])
        .output();
    let is_set = |output: std::process::Output| output.stdout.trim_ascii() != b"no";
    if !asked.ok().is_none_or(is_set) {
        let what = "nothing keeps it right: tokens and signatures of other machines may be refused";
        findings.warning(PART, what.into(), MEND);
    }
}

/// The clock of who answered, by its `Date`.
pub fn compare(host: &str, date: &str, findings: &mut Findings) {
    let Ok(theirs) = httpdate::parse_http_date(date) else {
        return;
    };
    let now = SystemTime::now();
    let apart = now
        .duration_since(theirs)
        .or_else(|_| theirs.duration_since(now));
    let apart = apart.unwrap_or_default();
    if apart > SKEW {
        let what = format!(
            "it differs from that of {host} by {} seconds, so tokens count as expired, or not valid yet",
            apart.as_secs()
        );
        findings.problem(PART, what, format!("on both: {MEND}"));
    }
}
