//! Who may ask about an application over the control socket: processes that may publish to it, by the permissions of
//! its ring. Root and this daemon's own user may ask about every application.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;
use tokio::net::UnixStream;

use crate::process::peer_groups;

/// The process at the other end of a Unix socket, as it was when it connected.
#[derive(Debug)]
pub struct PeerCredentials {
    pub uid: u32,
    gid: u32,
    /// The other groups that it is in. None: more than are read.
    groups: Option<Vec<u32>>,
}

impl PeerCredentials {
    /// # Errors
    /// If the kernel does not say.
    pub fn of(socket: &UnixStream) -> io::Result<Self> {
        let peer = socket.peer_cred()?;
        Ok(Self {
            uid: peer.uid(),
            gid: peer.gid(),
            groups: peer_groups::of(socket).ok(),
        })
    }

    /// # Errors
    /// Why it may not ask about the ring at `path`.
    pub fn may_ask(&self, path: &Path) -> Result<(), String> {
        match &self.groups {
            _ if self.may_publish(path) => Ok(()),
            Some(_) => Err("this user may not ask about this ring".into()),
            None => Err(format!(
                "this process is in more than {} groups, so its groups do not count",
                peer_groups::MOST
            )),
        }
    }

    /// Root, or the daemon's own user.
    pub fn is_operator(&self) -> bool {
        self.uid == 0 || self.uid == geteuid().as_raw()
    }

    /// Whether it may write the ring at `path`.
    fn may_publish(&self, path: &Path) -> bool {
        if self.is_operator() {
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

    fn is_in(&self, group: u32) -> bool {
        let others = self.groups.as_deref().unwrap_or_default();
        self.gid == group || others.contains(&group)
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
        let peer = |uid, gid, groups: &[u32]| PeerCredentials {
            uid,
            gid,
            groups: Some(groups.to_vec()),
        };
        let other = |gid| peer(stranger, gid, &[]);
        let member = || peer(stranger, stranger, &[stranger, gid]);
        assert!(may(peer(uid, gid, &[]), 0), "the daemon's own user");
        assert!(may(other(gid), 0o660) && !may(other(gid), 0o600));
        assert!(may(member(), 0o660) && !may(member(), 0o606));
        assert!(!may(other(stranger), 0o660) && may(other(stranger), 0o666));
        assert!(!other(gid).may_publish(Path::new("/nowhere/at/all")));
    }
}
