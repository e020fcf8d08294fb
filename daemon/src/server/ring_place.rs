//! Whether a ring is in memory. On a disk it works, but its pages are written there again and again, and whoever
//! publishes may wait for that.

use nix::sys::statfs::{self, FsType, statfs};
use shared::spec::RingSpec;

/// linux/magic.h; not among nix's.
const RAMFS: FsType = FsType(0x8584_58f6);

/// One line if the ring's directory is on a file system that is not memory. None also if there is no such
/// directory.
pub fn warning(spec: &RingSpec) -> Option<String> {
    let kind = statfs(spec.name.path().parent()?).ok()?.filesystem_type();
    let memory = [statfs::TMPFS_MAGIC, RAMFS, statfs::HUGETLBFS_MAGIC];
    (!memory.contains(&kind)).then(|| {
        format!(
            "the ring {} is not in memory, but on {}: publishers may wait for a disk; \
             choose a place on tmpfs, as /dev/shm and /run are (ring.name, and askr.ring in php.ini)",
            spec.name.path().display(),
            name(kind)
        )
    })
}

fn name(kind: FsType) -> String {
    match kind {
        statfs::EXT4_SUPER_MAGIC => "ext4".into(),
        statfs::XFS_SUPER_MAGIC => "XFS".into(),
        statfs::BTRFS_SUPER_MAGIC => "Btrfs".into(),
        statfs::OVERLAYFS_SUPER_MAGIC => "OverlayFS".into(),
        statfs::NFS_SUPER_MAGIC => "NFS".into(),
        other => format!("a file system of type {:#x}", other.0),
    }
}
