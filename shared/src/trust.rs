//! Whose file may be believed to be a ring: any local user could have made one of that name first.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Group, User, geteuid};

/// Root, the process's own user and the user `askr`; and one more user and one group, if they are named.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trusted<'a> {
    /// A name or a number.
    pub owner: Option<&'a str>,
    /// A name or a number: where users are not the same on both sides (containers), but a group is.
    pub group: Option<&'a str>,
}

impl Trusted<'_> {
    /// Whether the file at `path`, which was opened and is what `meta` says, may be a ring.
    pub fn believes(&self, path: &Path, meta: &Metadata) -> bool {
        self.owner(meta.uid()) || self.by_group(path, meta)
    }

    /// Whether it may be one for its group's sake.
    pub fn by_group(&self, path: &Path, meta: &Metadata) -> bool {
        self.group(meta.gid()) && given_on_purpose(path, meta.gid())
    }

    /// Asks the user database only about owners that are neither root nor this process's user.
    pub fn owner(&self, uid: u32) -> bool {
        let named = |name: &str| {
            let user = User::from_name(name).ok().flatten();
            user.is_some_and(|user| user.uid.as_raw() == uid)
        };
        uid == 0
            || uid == geteuid().as_raw()
            || self
                .owner
                .is_some_and(|owner| owner.parse() == Ok(uid) || named(owner))
            || named("askr")
    }

    fn group(&self, gid: u32) -> bool {
        let named = |name: &str| {
            let group = Group::from_name(name).ok().flatten();
            group.is_some_and(|group| group.gid.as_raw() == gid)
        };
        self.group
            .is_some_and(|group| group.parse() == Ok(gid) || named(group))
    }
}

/// Only a member can give a file to a group, but a directory of that group may hand it on to whatever is made in it:
/// then it must not be one in which everybody may.
fn given_on_purpose(path: &Path, gid: u32) -> bool {
    let directory = path.parent().and_then(|parent| fs::metadata(parent).ok());
    directory.is_some_and(|directory| directory.gid() != gid || directory.mode() & 0o002 == 0)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    /// Only root can give files away.
    fn file(directory_mode: u32, directory_gid: u32, uid: u32, gid: u32) -> Option<bool> {
        if !geteuid().is_root() {
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ring");
        let made = File::create(&path).expect("a file");
        chown(&path, Some(uid), Some(gid)).expect("given");
        chown(directory.path(), None, Some(directory_gid)).expect("given");
        fs::set_permissions(directory.path(), Permissions::from_mode(directory_mode)).expect("set");
        let trusted = Trusted {
            owner: None,
            group: Some("54321"),
        };
        Some(trusted.believes(&path, &made.metadata().expect("metadata")))
    }

    #[test]
    fn a_ring_of_the_named_group_is_believed_whoever_owns_it() {
        for (mode, group) in [(0o750, 54321), (0o2770, 54321), (0o1777, 0), (0o755, 7)] {
            assert_ne!(file(mode, group, 12345, 54321), Some(false), "{mode:o}");
        }
    }

    #[test]
    fn a_ring_of_another_group_is_not() {
        assert_ne!(file(0o755, 0, 12345, 54322), Some(true));
        assert_ne!(file(0o755, 54321, 12345, 0), Some(true));
    }

    #[test]
    fn a_directory_that_gives_its_group_to_everybodys_files_proves_nothing() {
        for mode in [0o2777, 0o3777, 0o777] {
            assert_ne!(file(mode, 54321, 12345, 54321), Some(true), "{mode:o}");
        }
    }

    #[test]
    fn names_and_numbers_of_groups() {
        let group = |name| {
            Trusted {
                owner: None,
                group: name,
            }
            .group(0)
        };
        assert!(group(Some("root")) && group(Some("0")));
        for other in [
            None,
            Some(""),
            Some("1"),
            Some("no-such-group"),
            Some("-0"),
            Some("00x"),
        ] {
            assert!(!group(other), "{other:?}");
        }
    }
}
