//! How askrd learns of events that could not be published: each publisher counts its failures and says so in a
//! datagram to a socket beside askrd's control socket. The ring itself cannot carry that: most failures are that
//! there is none, or that it cannot be reached.
//!
//! ```text
//! ASKR-FAILURES 1
//! /askr
//! missing 3
//! too_large 1
//! ```
//!
//! A publisher never waits for it: what cannot be sent at once (no askrd, a full queue) stays counted and is sent with
//! the next failure, or when publishing succeeds again, once a second at the most. Whoever may write to the socket may
//! say anything; what is read here is only counted.

use std::fmt::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::name::RingName;

/// Why an event was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Missing,
    Permission,
    WrongOwner,
    WrongVersion,
    Invalid,
    TableFull,
    TooLarge,
    Contended,
    ArenaFull,
    Closed,
    Io,
    Unsupported,
}

impl Failure {
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::Permission,
        Self::WrongOwner,
        Self::WrongVersion,
        Self::Invalid,
        Self::TableFull,
        Self::TooLarge,
        Self::Contended,
        Self::ArenaFull,
        Self::Closed,
        Self::Io,
        Self::Unsupported,
    ];

    /// The name used in statistics.
    pub fn key(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Permission => "permission",
            Self::WrongOwner => "wrong_owner",
            Self::WrongVersion => "wrong_version",
            Self::Invalid => "invalid",
            Self::TableFull => "writers_full",
            Self::TooLarge => "too_large",
            Self::Contended => "contended",
            Self::ArenaFull => "arena_full",
            Self::Closed => "closed",
            Self::Io => "io",
            Self::Unsupported => "unsupported",
        }
    }
}

/// Failures of each kind, in the order of [`Failure::ALL`].
pub type Counts = [u32; Failure::ALL.len()];

/// Bytes of a datagram: the longest name of a ring fits.
pub const MAX: usize = 1024;
/// The most failures of one kind that one datagram is believed.
pub const MOST: u32 = 1_000_000;
const FIRST_LINE: &str = "ASKR-FAILURES 1";
/// Of the control socket's name, for the socket of these reports.
const SUFFIX: &str = ".failures";
/// How often a publisher reports at the most.
const EVERY_NS: u64 = 1_000_000_000;

/// Where reports go, beside this control socket.
pub fn beside(control: &Path) -> PathBuf {
    let mut path = control.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub ring: RingName,
    pub counts: Counts,
}

impl Report {
    pub fn encode(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n{}\n", self.ring);
        for (failure, count) in Failure::ALL.into_iter().zip(self.counts) {
            if count > 0 {
                let _ = writeln!(text, "{} {count}", failure.key());
            }
        }
        text
    }

    /// None: it is no report. Kinds that this version does not know are passed over.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let ring = lines.next()?.parse().ok()?;
        let mut counts = Counts::default();
        for line in lines {
            let (key, count) = line.split_once(' ')?;
            let count: u32 = count.parse().ok()?;
            let known = Failure::ALL.iter().position(|f| f.key() == key);
            if let Some(n) = known {
                counts[n] = counts[n].saturating_add(count).min(MOST);
            }
        }
        Some(Self { ring, counts })
    }
}

/// A publisher's failures that have not been reported yet.
#[derive(Debug, Default)]
pub struct Reporter {
    to: Option<PathBuf>,
    pending: Counts,
    any: bool,
    /// Whose they are: a forked child must not report its parent's again.
    process: u32,
    next_ns: u64,
}

impl Reporter {
    pub const fn new() -> Self {
        Self {
            to: None,
            pending: [0; Failure::ALL.len()],
            any: false,
            process: 0,
            next_ns: 0,
        }
    }

    /// The socket that is told. None: nobody.
    pub fn tell(&mut self, to: Option<PathBuf>) {
        self.to = to;
    }

    pub fn is_pending(&self) -> bool {
        self.any
    }

    #[cold]
    pub fn note(&mut self, failure: Failure) {
        self.forget_the_parents();
        let count = &mut self.pending[failure as usize];
        *count = count.saturating_add(1);
        self.any = true;
    }

    /// Reports what has not been reported yet, unless that was a moment ago.
    #[cold]
    pub fn report(&mut self, ring: &RingName, now: u64) {
        // A clock that is set back must not put it off for long.
        if now >= self.next_ns || self.next_ns - now > EVERY_NS {
            self.next_ns = now + EVERY_NS;
            self.report_now(ring);
        }
    }

    #[cold]
    pub fn report_now(&mut self, ring: &RingName) {
        self.forget_the_parents();
        let Some(to) = self.to.as_ref().filter(|_| self.any) else {
            return;
        };
        let report = Report {
            ring: ring.clone(),
            counts: self.pending,
        };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to(report.encode().as_bytes(), to)
        });
        if sent.is_ok() {
            self.pending = Counts::default();
            self.any = false;
        }
    }

    fn forget_the_parents(&mut self) {
        let process = std::process::id();
        if self.process != process {
            (self.process, self.any) = (process, false);
            self.pending = Counts::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ring: &str, some: &[(Failure, u32)]) -> Report {
        let mut counts = Counts::default();
        for (failure, count) in some {
            counts[*failure as usize] = *count;
        }
        let ring = ring.parse().unwrap();
        Report { ring, counts }
    }

    #[test]
    fn what_is_encoded_is_read() {
        let one = report("/askr", &[(Failure::Missing, 3), (Failure::TooLarge, 1)]);
        assert_eq!(
            one.encode(),
            "ASKR-FAILURES 1\n/askr\nmissing 3\ntoo_large 1\n"
        );
        assert_eq!(Report::parse(one.encode().as_bytes()), Some(one));
        let all = Failure::ALL.map(|failure| (failure, MOST));
        let long = format!("/run/{}", "x".repeat(190));
        let full = report(&long, &all);
        assert!(full.encode().len() <= MAX);
        assert_eq!(Report::parse(full.encode().as_bytes()), Some(full));
    }

    #[test]
    fn what_is_none_is_refused_and_counts_are_bounded() {
        for bad in [
            "",
            "ASKR-FAILURES 1\n",
            "ASKR-FAILURES 1\n/askr",
            "ASKR-FAILURES 2\n/askr\nmissing 3\n",
            "ASKR-FAILURES 1\n\nmissing 3\n",
            "ASKR-FAILURES 1\n/askr\nmissing -3\n",
            "ASKR-FAILURES 1\n/askr\nmissing\n",
            "ASKR-FAILURES 1\n/askr\nmissing 99999999999\n",
        ] {
            assert_eq!(Report::parse(bad.as_bytes()), None, "{bad:?}");
        }
        let many = b"ASKR-FAILURES 1\n/askr\nmissing 4000000000\nmissing 4000000000\nlater 7\n";
        let counted = report("/askr", &[(Failure::Missing, MOST)]);
        assert_eq!(Report::parse(many), Some(counted));
    }

    #[test]
    fn what_cannot_be_said_yet_is_said_later_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let to = beside(&directory.path().join("control.sock"));
        let ring: RingName = "/askr".parse().unwrap();
        let mut reporter = Reporter::new();
        reporter.tell(Some(to.clone()));
        reporter.note(Failure::Missing);
        reporter.report(&ring, 1);
        assert!(reporter.is_pending(), "nobody is there");
        let socket = UnixDatagram::bind(&to).unwrap();
        socket.set_nonblocking(true).unwrap();
        reporter.note(Failure::Missing);
        reporter.report(&ring, EVERY_NS);
        let read = || {
            let mut bytes = [0; MAX];
            let len = socket.recv(&mut bytes).ok()?;
            Report::parse(&bytes[..len])
        };
        assert_eq!(read(), None, "it was tried a moment ago");
        reporter.report(&ring, EVERY_NS + 1);
        assert_eq!(read(), Some(report("/askr", &[(Failure::Missing, 2)])));
        reporter.report_now(&ring);
        assert_eq!(read(), None);
    }
}
