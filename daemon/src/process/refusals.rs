//! Refusals that somebody meets who sets askrd up: a foreign origin, an unknown key, a wrong secret. The one who is
//! refused is often a library that shows nothing of the response, so each is logged here with what to change: once a
//! minute for each reason and subject. All are counted.
//!
//! Subjects are what clients wrote: they are escaped and cut, and of each reason [`SUBJECTS`] are logged in a minute.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a subject that was logged is not logged again.
const QUIET: Duration = Duration::from_secs(60);
/// Subjects of one reason that are logged in that time.
const SUBJECTS: usize = 32;
/// The most characters of a client's text that are shown.
const MAX_SHOWN: usize = 100;
/// Of what may be a secret that was put into the wrong place.
const MAX_SHOWN_OF_NAME: usize = 8;

static REFUSALS: Refusals = Refusals::new();

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident $label:literal;)*) => {
        /// Why somebody is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $($(#[doc = $doc])* $name,)*
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its label in the metrics.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// A page of an origin that is not allowed.
    Origin "origin";
    /// A `Host` that is not served.
    Host "host";
    /// A path that leads nowhere.
    Path "path";
    /// An application's id that is none.
    App "app";
    /// A key in Pusher's path that is none.
    Key "key";
    /// A WebSocket's handshake that a proxy has taken apart.
    Upgrade "upgrade";
    /// TLS, which askrd does not have.
    Tls "tls";
    /// A request to the HTTP API.
    ApiSignature "api_signature";
    /// A channel's or a user's signature.
    Signature "signature";
    Token "token";
    /// Neither a token nor anything else is shown.
    Credentials "credentials";
    /// A channel that valid credentials do not grant, or that the application refuses.
    Grant "grant";
    /// An event whose name is not among those of a strict application.
    Event "event";
    /// A channel that nobody can authorize with these settings.
    Authorizers "authorizers";
}

/// A refusal, as it is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    reason: Reason,
    /// Of those with the same subject one is logged in a minute.
    subject: String,
    /// What is refused, and what to change.
    text: String,
}

impl Note {
    /// `subject` is not shown: `text` is, in which what a client wrote must have been through [`shown`].
    pub fn new(reason: Reason, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            reason,
            subject: subject.into(),
            text: text.into(),
        }
    }
}

/// Counts a refusal, and logs it unless it was a moment ago.
pub fn report(note: Note) {
    if let Some(line) = REFUSALS.line(note, Instant::now()) {
        tracing::warn!("{line}");
    }
}

pub fn count(reason: Reason) -> u64 {
    REFUSALS.of(reason).count.load(Relaxed)
}

/// How many were not logged, because there were too many different ones.
pub fn unlogged() -> u64 {
    REFUSALS.unlogged.load(Relaxed)
}

/// A client's text in quotes, in ASCII, and not too long.
pub fn shown(text: &str) -> String {
    quoted(text, MAX_SHOWN)
}

/// An id or a key that a client named, of which only the beginning is shown: it may be a secret in the wrong place.
pub fn shown_name(text: &str) -> String {
    quoted(text, MAX_SHOWN_OF_NAME)
}

fn quoted(text: &str, most: usize) -> String {
    let mut all = text.chars();
    let some: String = all.by_ref().take(most).collect();
    let more = if all.next().is_some() { "..." } else { "" };
    format!("\"{}{more}\"", some.escape_default())
}

/// Names of the settings, `"a", "b"`.
pub fn listed<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let each = names.into_iter().map(|name| format!("\"{name}\""));
    each.collect::<Vec<_>>().join(", ")
}

/// What was logged last, the newest first.
pub fn recent() -> Vec<Logged> {
    let logged = REFUSALS.logged.lock();
    logged.iter().rev().cloned().collect()
}

/// A refusal that was logged.
#[derive(Debug, Clone)]
pub struct Logged {
    pub at: Instant,
    pub text: String,
}

/// Refusals that are remembered after they were logged, and bytes of each.
const REMEMBERED: usize = 32;
const MAX_TEXT: usize = 1000;

struct Refusals {
    logged: Mutex<VecDeque<Logged>>,
    each: [OfReason; Reason::ALL.len()],
    unlogged: AtomicU64,
}

struct OfReason {
    count: AtomicU64,
    recent: Mutex<Recent>,
}

/// What was logged in the last minute.
struct Recent {
    subjects: Vec<(String, Instant)>,
    /// When it was logged that there are too many.
    full: Option<Instant>,
}

impl Refusals {
    const fn new() -> Self {
        Self {
            logged: Mutex::new(VecDeque::new()),
            each: [const {
                OfReason {
                    count: AtomicU64::new(0),
                    recent: Mutex::new(Recent {
                        subjects: Vec::new(),
                        full: None,
                    }),
                }
            }; Reason::ALL.len()],
            unlogged: AtomicU64::new(0),
        }
    }

    fn of(&self, reason: Reason) -> &OfReason {
        &self.each[reason as usize]
    }

    fn remember(&self, text: &str, at: Instant) {
        let mut logged = self.logged.lock();
        if logged.len() == REMEMBERED {
            logged.pop_front();
        }
        let text = text[..text.floor_char_boundary(MAX_TEXT)].to_owned();
        logged.push_back(Logged { at, text });
    }

    /// Counts a refusal at `now`. Returns the line to log, if there is one.
    fn line(&self, note: Note, now: Instant) -> Option<String> {
        let of = self.of(note.reason);
        of.count.fetch_add(1, Relaxed);
        let is_recent = |at: Instant| now.saturating_duration_since(at) < QUIET;
        let mut recent = of.recent.lock();
        recent.subjects.retain(|(_, at)| is_recent(*at));
        // A subject may be as long as a request.
        let end = note.subject.floor_char_boundary(MAX_SHOWN);
        let subject = &note.subject[..end];
        if recent.subjects.iter().any(|(known, _)| known == subject) {
            return None;
        }
        if recent.subjects.len() < SUBJECTS {
            recent.subjects.push((subject.to_owned(), now));
            self.remember(&note.text, now);
            return Some(format!("refused: {}", note.text));
        }
        self.unlogged.fetch_add(1, Relaxed);
        if recent.full.is_some_and(is_recent) {
            return None;
        }
        recent.full = Some(now);
        let label = note.reason.label();
        Some(format!(
            "refused: more than {SUBJECTS} different ones in a minute; further ones are not logged, but counted: \
             askr_refusals_total{{reason=\"{label}\"}}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn note(reason: Reason, subject: &str) -> Note {
        Note::new(reason, subject, format!("{} {subject}", reason.label()))
    }

    #[test]
    fn a_subject_is_logged_once_a_minute_for_each_reason() {
        let refusals = Refusals::new();
        let start = Instant::now();
        let line = |reason, subject, after| refusals.line(note(reason, subject), start + after);
        let said = line(Reason::Origin, "a", Duration::ZERO);
        assert_eq!(said.as_deref(), Some("refused: origin a"));
        assert_eq!(line(Reason::Origin, "a", 59 * SECOND), None);
        assert!(line(Reason::Origin, "b", 30 * SECOND).is_some());
        assert!(line(Reason::Host, "a", 30 * SECOND).is_some());
        // A minute after it was logged, not after it was last refused.
        assert!(line(Reason::Origin, "a", 60 * SECOND).is_some());
        assert_eq!(line(Reason::Origin, "b", 89 * SECOND), None);
        assert_eq!(refusals.of(Reason::Origin).count.load(Relaxed), 5);
        assert_eq!(refusals.of(Reason::Host).count.load(Relaxed), 1);
    }

    #[test]
    fn different_subjects_are_bounded_and_each_reason_has_its_own_room() {
        let refusals = Refusals::new();
        let now = Instant::now();
        let all = |from: usize, at| {
            (from..from + 10 * SUBJECTS)
                .filter_map(|n| refusals.line(note(Reason::Path, &n.to_string()), at))
                .collect::<Vec<_>>()
        };
        let said = all(0, now);
        assert_eq!(said.len(), SUBJECTS + 1);
        assert!(said[SUBJECTS].contains("askr_refusals_total{reason=\"path\"}"));
        assert_eq!(all(1_000_000, now + SECOND), Vec::<String>::new());
        assert_eq!(refusals.unlogged.load(Relaxed), 19 * SUBJECTS as u64);
        assert!(refusals.line(note(Reason::Key, "0"), now).is_some());
        assert_eq!(all(2_000_000, now + QUIET).len(), SUBJECTS + 1);
        let held = &refusals.of(Reason::Path).recent.lock().subjects;
        assert_eq!(held.len(), SUBJECTS);
        assert_eq!(refusals.logged.lock().len(), REMEMBERED);
    }

    #[test]
    fn long_subjects_are_kept_and_shown_in_part() {
        let refusals = Refusals::new();
        let long = "\u{e9}".repeat(10_000);
        let now = Instant::now();
        assert!(refusals.line(note(Reason::Path, &long), now).is_some());
        assert_eq!(refusals.line(note(Reason::Path, &long), now), None);
        let held = &refusals.of(Reason::Path).recent.lock().subjects;
        assert!(held[0].0.len() <= MAX_SHOWN);
        assert!(shown(&long).len() < 10 * MAX_SHOWN);
    }

    #[test]
    fn what_a_client_wrote_is_one_ascii_line_in_quotes() {
        assert_eq!(shown("https://a.example"), "\"https://a.example\"");
        assert_eq!(
            shown("a\"\n\u{1b}[31m\u{202e}\\"),
            r#""a\"\n\u{1b}[31m\u{202e}\\""#
        );
        assert_eq!(shown_name("736251"), "\"736251\"");
        assert_eq!(shown_name("p7fm1ge4sua9dk6xob2w"), "\"p7fm1ge4...\"");
        assert_eq!(listed(["a", "b"]), "\"a\", \"b\"");
    }
}
