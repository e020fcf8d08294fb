//! What an operator asks of a ring: its name, sizes and permissions, with their bounds.

use nix::unistd::{Gid, Group};

use crate::layout::Geometry;
use crate::name::RingName;

/// The settings of section `[ring]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingSpec {
    pub name: RingName,
    /// Events held at the most; a power of two from 16 to 2^26. Default 32,768.
    pub slots: u64,
    /// Bytes a slot; a power of two from 64 to 8,192. Default 512: bodies up to 472 bytes stay inline.
    pub slot_size: u64,
    /// Bytes for bodies that do not fit a slot; a power of two from 16 KiB to 64 GiB. Default 16 MiB.
    pub arena: u64,
    /// Publishing processes (and threads) at one time; a power of two from 16 to 65,536. Default 4,096.
    pub writers: u64,
    /// Largest payload, bytes. Default a sixteenth of the arena; at most a quarter of it.
    pub max_payload: Option<u64>,
    /// Permissions of the segment. Others may not write. Default 0660.
    pub mode: u32,
    /// Group of the segment: the one that publishers belong to. Default: the daemon's own.
    pub group: Option<String>,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {reason}")]
pub struct BadSpec {
    /// As in the configuration file: `ring.slots`.
    pub key: &'static str,
    pub reason: String,
}

/// Arena cells are 1 KiB: small enough that a 500-byte body wastes half a kilobyte, large enough that
/// a 1 MiB body takes a thousand stamps.
const CELL_LOG2: u8 = 10;

impl Default for RingSpec {
    fn default() -> Self {
        Self {
            name: RingName::default(),
            slots: 1 << 15,
            slot_size: 512,
            arena: 16 << 20,
            writers: 4096,
            max_payload: None,
            mode: 0o660,
            group: None,
        }
    }
}

impl RingSpec {
    /// Checks everything but the group's existence.
    ///
    /// # Errors
    /// The first key that cannot be used, and why.
    pub fn geometry(&self) -> Result<Geometry, BadSpec> {
        let geometry = Geometry {
            slot_bits: power("ring.slots", self.slots, 4, 26)?,
            slot_log2: power("ring.slot_size", self.slot_size, 6, 13)?,
            cell_bits: power("ring.arena", self.arena, 14, 36)? - CELL_LOG2,
            cell_log2: CELL_LOG2,
            writer_bits: power("ring.writers", self.writers, 4, 16)?,
        };
        let bad = |key, reason: String| Err(BadSpec { key, reason });
        let largest = geometry.hard_max_body();
        if let Some(max) = self.max_payload
            && !(1..=largest).contains(&max)
        {
            let reason = format!("must be from 1 to {largest} bytes (a quarter of ring.arena)");
            return bad("ring.max_payload", reason);
        }
        if self.mode & !0o777 != 0 || self.mode & 0o600 != 0o600 {
            return bad(
                "ring.mode",
                "must be permission bits that let the owner read and write".into(),
            );
        }
        if self.mode & 0o002 != 0 {
            let reason = "must not let others write: whoever writes the ring publishes everywhere";
            return bad("ring.mode", reason.into());
        }
        Ok(geometry)
    }

    /// Bytes; what was asked for, or a sixteenth of the arena.
    pub fn max_payload(&self) -> u64 {
        self.max_payload.unwrap_or(self.arena / 16)
    }

    /// The group's number, if one is set.
    ///
    /// # Errors
    /// If it does not exist on this machine.
    pub fn gid(&self) -> Result<Option<Gid>, BadSpec> {
        let Some(group) = &self.group else {
            return Ok(None);
        };
        let number = group.parse().ok().map(Gid::from_raw);
        let named = || {
            Group::from_name(group)
                .ok()
                .flatten()
                .map(|found| found.gid)
        };
        match number.or_else(named) {
            Some(gid) => Ok(Some(gid)),
            None => Err(BadSpec {
                key: "ring.group",
                reason: format!("\"{group}\" does not exist"),
            }),
        }
    }
}

fn power(key: &'static str, value: u64, least: u32, most: u32) -> Result<u8, BadSpec> {
    if value.is_power_of_two() && (least..=most).contains(&value.trailing_zeros()) {
        return Ok(value.trailing_zeros() as u8);
    }
    let reason = format!(
        "must be a power of two from {} to {}",
        1u64 << least,
        1u64 << most
    );
    Err(BadSpec { key, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_default_geometry() {
        assert_eq!(RingSpec::default().geometry(), Ok(Geometry::DEFAULT));
        assert_eq!(RingSpec::default().max_payload(), 1 << 20);
    }

    #[test]
    fn each_bad_setting_names_its_key() {
        let key = |change: fn(&mut RingSpec)| {
            let mut spec = RingSpec::default();
            change(&mut spec);
            spec.geometry().map_err(|bad| bad.key)
        };
        assert_eq!(key(|s| s.slots = 1000), Err("ring.slots"));
        assert_eq!(key(|s| s.slots = 8), Err("ring.slots"));
        assert_eq!(key(|s| s.slot_size = 16384), Err("ring.slot_size"));
        assert_eq!(key(|s| s.arena = 0), Err("ring.arena"));
        assert_eq!(key(|s| s.writers = 1 << 17), Err("ring.writers"));
        assert_eq!(
            key(|s| s.max_payload = Some(5 << 20)),
            Err("ring.max_payload")
        );
        assert_eq!(key(|s| s.mode = 0o666), Err("ring.mode"));
        assert_eq!(key(|s| s.mode = 0o060), Err("ring.mode"));
        let spec = RingSpec {
            group: Some("no-such-group".into()),
            ..RingSpec::default()
        };
        assert_eq!(spec.gid().map_err(|bad| bad.key), Err("ring.group"));
    }
}
