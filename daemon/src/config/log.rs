//! `[log]`: what is logged, and in which form.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::ranges::Wrong;
use super::units::LogFormat;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or tracing's filters (`info,askrd::engine=debug`). `RUST_LOG` wins
    /// over it.
    pub level: String,
    /// `text`: lines for people, to the journal with their priority. `json`: one object a line.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl Log {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        match EnvFilter::try_new(&self.level) {
            Ok(_) if !self.level.trim().is_empty() => Ok(()),
            _ => {
                let why = "must be error, warn, info, debug or trace, or such as \
                           \"info,askrd::engine=debug\"";
                Err(("log", "level", why.to_owned()))
            }
        }
    }
}
