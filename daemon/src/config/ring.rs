//! `[ring]`: the shared memory.

use serde::{Deserialize, Serialize};
use shared::name::RingName;
use shared::spec::{BadSpec, RingSpec};

use super::ranges::Wrong;
use super::units::{Mode, Size};

/// The shared memory that PHP writes. Larger rings hold longer histories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ring {
    /// A shared-memory name such as `/askr`, or a path on tmpfs.
    pub name: String,
    /// Events held, a power of two.
    pub slots: u64,
    /// Bytes of a slot, a power of two; what does not fit goes to the arena.
    pub slot_size: Size,
    /// Bytes for events larger than a slot, a power of two.
    pub arena: Size,
    /// Processes (threads under ZTS) that can publish at the same time.
    pub writers: u64,
    /// Permissions of the segment: who may write it may publish.
    pub mode: Mode,
    /// The segment's group, shared with the PHP users. Empty: the daemon's.
    pub group: String,
    /// A user that may own the segment, besides root, `askr` and the user who asks; for `askrd tail`
    /// and `askrd publish`. Empty: nobody else.
    pub owner: String,
    /// Bytes of the largest payload. 0: a sixteenth of the arena.
    pub max_payload: Size,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            name: RingName::DEFAULT.to_owned(),
            slots: 1 << 15,
            slot_size: Size(512),
            arena: Size(16 << 20),
            writers: 4096,
            mode: Mode(0o660),
            group: String::new(),
            owner: String::new(),
            max_payload: Size(0),
        }
    }
}

impl Ring {
    /// # Panics
    /// If the name was not checked.
    pub fn name(&self) -> RingName {
        self.name.parse().expect("checked with the settings")
    }

    pub fn owner(&self) -> Option<&str> {
        (!self.owner.is_empty()).then_some(self.owner.as_str())
    }

    pub fn spec(&self) -> RingSpec {
        RingSpec {
            name: self.name(),
            slots: self.slots,
            slot_size: self.slot_size.0,
            arena: self.arena.0,
            writers: self.writers,
            max_payload: (self.max_payload.0 > 0).then_some(self.max_payload.0),
            mode: self.mode.0,
            group: (!self.group.is_empty()).then(|| self.group.clone()),
        }
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        self.name
            .parse::<RingName>()
            .map_err(|bad| ("ring", "name", bad.to_string()))?;
        let spec = self.spec();
        let bad = |bad: BadSpec| ("ring", bad.key.trim_start_matches("ring."), bad.reason);
        spec.geometry().map_err(bad)?;
        spec.gid().map_err(bad)?;
        Ok(())
    }
}
