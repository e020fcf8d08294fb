//! Who may ask about an application over the control socket: users who may publish to it, by the permissions of
//! its ring. Root and this daemon's own user may ask about every application.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};

/// The process at the other end of a Unix socket (SO_PEERCRED).
#[derive(Debug, Clone, Copy)]
pub struct PeerCredentials {
    pub uid: u32,
    pub gid: u32,
}

impl PeerCredentials {
    /// Whether it may write the ring at `path`.
    pub fn may_publish(self, path: &Path) -> bool {
        if self.uid == 0 || self.uid == geteuid().as_raw() {
            return true;
        }
        let Ok(ring) = std::fs::metadata(path) else {
            return false;
        };
        // As the kernel checks permissions: the first class that matches decides.
        let bit = if ring.uid() == self.uid {
            0o200
        } else if self.is_in(ring.gid()) {
            0o020
        } else {
            0o002
        };
        ring.mode() & bit != 0
    }

    /// Whether it is its own group, or one that the user is a member of: the kernel reports only the first.
    fn is_in(self, group: u32) -> bool {
        if self.gid == group {
            return true;
        }
        let user = User::from_uid(Uid::from_raw(self.uid)).ok().flatten();
        let groups = user.and_then(|user| {
            let name = CString::new(user.name).ok()?;
            getgrouplist(&name, Gid::from_raw(self.gid)).ok()
        });
        groups.is_some_and(|all| all.contains(&Gid::from_raw(group)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_rings_permissions_decide() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (uid, gid) = (geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let may = |peer: PeerCredentials, mode| {
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
            peer.may_publish(file.path())
        };
        // Nobody has this number.
        let stranger = 4_000_000_000;
        let other = |gid| PeerCredentials { uid: stranger, gid };
        assert!(
            may(PeerCredentials { uid, gid }, 0),
            "the daemon's own user"
        );
        assert!(may(other(gid), 0o660) && !may(other(gid), 0o600));
        assert!(!may(other(stranger), 0o660) && may(other(stranger), 0o666));
        assert!(!other(gid).may_publish(Path::new("/nowhere/at/all")));
    }
}
