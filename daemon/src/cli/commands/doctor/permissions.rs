//! Whether a user may read or write a file, as the kernel checks it: the first class that matches decides.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use nix::unistd::Gid;

pub fn may_read(uid: u32, groups: &[Gid], file: &Metadata) -> bool {
    may(uid, groups, file, 0o4)
}

pub fn may_write(uid: u32, groups: &[Gid], file: &Metadata) -> bool {
    may(uid, groups, file, 0o2)
}

fn may(uid: u32, groups: &[Gid], file: &Metadata, bit: u32) -> bool {
    let is_in = groups.iter().any(|group| group.as_raw() == file.gid());
    let class = match (uid == file.uid(), is_in) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    uid == 0 || file.mode() >> class & bit != 0
}
