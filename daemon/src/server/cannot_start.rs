//! Why askrd cannot start: a sentence, with the command that mends it where there is one. What no restart mends ends
//! with the exit code for which the units do not start it again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgroups};
use shared::daemon_lock;
use shared::keeper::KeeperError;
use shared::spec::RingSpec;

use crate::hub::{active_note, erased_file, presence_note};
use crate::process::quarantine;

#[derive(Debug)]
pub struct CannotStart {
    pub why: String,
    /// No restart mends it.
    pub lasting: bool,
}

impl From<String> for CannotStart {
    fn from(why: String) -> Self {
        Self {
            why,
            lasting: false,
        }
    }
}

impl CannotStart {
    pub fn lasting(why: String) -> Self {
        Self { why, lasting: true }
    }

    /// A ring that cannot be served.
    pub fn of_ring(error: &KeeperError, spec: &RingSpec) -> Self {
        match error {
            KeeperError::Served { .. } => Self::from(format!(
                "{error}; end that one, or give this one a ring of its own (ring.name)"
            )),
            denied if denied.is_denied() => {
                let group = spec.gid().ok().flatten();
                let of_group = |group| Self::of_group("ring.group", spec.name.path(), group);
                owners(spec)
                    .map(Self::lasting)
                    .or_else(|| group.and_then(of_group))
                    .unwrap_or_else(|| Self::lasting(error.to_string()))
            }
            _ => Self::from(error.to_string()),
        }
    }

    /// What was erased from a ring cannot be read, for this reason.
    pub fn of_erased(why: String, spec: &RingSpec) -> Self {
        Self::lasting(owners(spec).unwrap_or(why))
    }

    /// `what` cannot be given to this group, if this user is not in it.
    pub fn of_group(key: &str, what: &Path, group: Gid) -> Option<Self> {
        let mine = getgroups().unwrap_or_default();
        if group == getegid() || mine.contains(&group) {
            return None;
        }
        let group = Group::from_gid(group)
            .ok()
            .flatten()
            .map_or_else(|| group.to_string(), |group| group.name);
        let (what, me) = (what.display(), user(geteuid()));
        Some(Self::lasting(format!(
            "{key}: {what} cannot be given to the group {group}: {me} is not in it: \
             as root: usermod -aG {group} {me}"
        )))
    }
}

/// If files of the ring are not this user's: whose they are, and what helps.
fn owners(spec: &RingSpec) -> Option<String> {
    let me = geteuid();
    let all = [
        spec.name.beside(daemon_lock::SUFFIX),
        spec.name.path().to_owned(),
        spec.name.beside(quarantine::SUFFIX),
        spec.name.beside(presence_note::SUFFIX),
        spec.name.beside(erased_file::SUFFIX),
        spec.name.beside(active_note::SUFFIX),
    ];
    let foreign: Vec<(PathBuf, Uid)> = all
        .into_iter()
        .filter_map(|path| {
            let owner = Uid::from_raw(std::fs::symlink_metadata(&path).ok()?.uid());
            (owner != me).then_some((path, owner))
        })
        .collect();
    let (first, owner) = foreign.first()?;
    let (first, name) = (first.display(), user(*owner));
    if me.is_root() {
        return Some(format!(
            "{first} belongs to {name}: run askrd as that user: runuser -u {name} -- askrd"
        ));
    }
    let paths: Vec<String> = foreign.iter().map(|(path, _)| quoted(path)).collect();
    let paths = paths.join(" ");
    // Only root's files are as trustworthy as one's own: whoever made another's may still have it open.
    Some(if foreign.iter().all(|(_, owner)| owner.is_root()) {
        format!(
            "{first} belongs to root, as after an askrd that was run as root: \
             end that one if it still runs, then, as root: chown {}: {paths}",
            user(me)
        )
    } else {
        format!(
            "{first} belongs to {name}, whose file askrd does not take over: as root: rm {paths}"
        )
    })
}

fn user(uid: Uid) -> String {
    let known = User::from_uid(uid).ok().flatten();
    known.map_or_else(|| uid.to_string(), |user| user.name)
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
