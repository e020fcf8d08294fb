//! What is remembered of failures: the policy, `askr.on_failure`, and what was last logged.

use std::time::Instant;

use shared::publisher::Failure;

/// `askr.on_failure`
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Silent,
    Log,
    Warning,
    Exception,
}

impl OnFailure {
    pub fn from_ini(value: &[u8]) -> Option<Self> {
        Some(match value {
            b"silent" => Self::Silent,
            b"log" => Self::Log,
            b"warning" => Self::Warning,
            b"exception" => Self::Exception,
            _ => return None,
        })
    }
}

/// What was last logged, until a publish succeeds.
#[derive(Clone, Copy)]
pub struct Outage {
    pub logged: Option<Failure>,
    /// When the last line about a busy ring was written, and the failures unmentioned since.
    pub busy: Option<(Instant, u64)>,
}

impl Outage {
    pub const NONE: Self = Self {
        logged: None,
        busy: None,
    };
}
