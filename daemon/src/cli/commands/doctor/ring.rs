//! The rings: there, served by the daemon that runs, writable for a group, on a tmpfs with room for another one.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::statvfs::statvfs;
use shared::control::Trouble;
use shared::spec::RingSpec;

use super::finding::Findings;
use crate::cli::commands::control_client::try_ask_about;
use crate::config::Settings;
use crate::server::ring_place;

const PART: &str = "ring";

pub fn examine(settings: &Settings, runs: Option<bool>, findings: &mut Findings) {
    let control = settings.server.control_path();
    for (app, spec, _) in settings.applications() {
        let path = spec.name.path();
        let at = path.display();
        if let Some(why) = ring_place::warning(&spec) {
            findings.warning(PART, why, "ring.name = \"/askr\", or a path below /run");
        }
        let Ok(meta) = std::fs::metadata(path) else {
            let (what, mend) = match runs {
                // That is the problem, and this may be why.
                Some(false) => {
                    has_room(path, &spec, findings);
                    continue;
                }
                Some(true) => (
                    "though askrd runs: it serves another ring",
                    "systemctl restart askrd",
                ),
                None => (
                    "so askrd does not run, or serves another ring",
                    "systemctl status askrd",
                ),
            };
            findings.problem(PART, format!("{at} is not there, {what}"), mend);
            continue;
        };
        if let Some(control) = control.as_deref().filter(|_| runs == Some(true))
            && let Err(Trouble::Refused { status: 404, .. }) = try_ask_about(
                control,
                "/channels",
                &[("ring", &app.ring), ("prefix", "\u{1}")],
            )
        {
            let what =
                format!("the askrd that runs does not serve {at}, which these settings name");
            findings.problem(PART, what, "systemctl restart askrd");
        }
        if meta.permissions().mode() & 0o020 == 0 {
            let mode = meta.permissions().mode() & 0o777;
            let what = format!("no group may write {at} (mode {mode:04o}), so PHP cannot publish");
            findings.problem(
                PART,
                what,
                "ring.mode = \"0660\", then: systemctl restart askrd",
            );
        }
        room(path, meta.blocks() * 512, findings);
    }
}

/// For a ring that is to be made.
fn has_room(path: &Path, spec: &RingSpec, findings: &mut Findings) {
    let needs = spec
        .geometry()
        .map_or(0, |geometry| geometry.total_len() as u64);
    if let Some((at, free)) = free(path)
        && free < needs
    {
        let (free, needs) = (free >> 20, needs >> 20);
        let at = at.display();
        let what =
            format!("{at} has {free} MiB left; the ring needs {needs} MiB, so askrd cannot start");
        let mend = format!(
            "remove what fills it, or mount -o remount,size=… {at} (Docker: --shm-size); systemctl start askrd"
        );
        findings.problem(PART, what, mend);
    }
}

/// The directory of a ring, and what is left there.
fn free(path: &Path) -> Option<(&Path, u64)> {
    let directory = path.parent()?;
    let room = statvfs(directory).ok()?;
    Some((
        directory,
        room.blocks_available().saturating_mul(room.fragment_size()),
    ))
}

/// A replacement, as at a change of size, needs as much again for a while.
fn room(path: &Path, bytes: u64, findings: &mut Findings) {
    if let Some((directory, free)) = free(path)
        && free < bytes
    {
        let (free, bytes) = (free >> 20, bytes >> 20);
        let at = directory.display();
        let what =
            format!("{at} has {free} MiB left; a ring that replaces this one needs {bytes} MiB");
        let mend =
            format!("mount -o remount,size=… {at} (Docker: --shm-size), or remove what fills it");
        findings.warning(PART, what, mend);
    }
}
