//! Whether a user may read or write a file, as the kernel checks it: the first class that matches decides.

use std::ffi::CString;
use std::fs;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, User, getgrouplist};

pub fn may_read(uid: u32, groups: &[Gid], file: &Metadata) -> bool {
    may(uid, groups, file, 0o4)
}

/// Whether a user may go where this is, and write it, as who connects to a socket must.
pub fn may_reach(uid: u32, groups: &[Gid], path: &Path) -> bool {
    shut(uid, groups, path).is_none()
}

/// The command that lets a user go there and write it. None: it may.
pub fn let_in(user: &User, groups: &[Gid], path: &Path) -> Option<String> {
    let (at, bit) = shut(user.uid.as_raw(), groups, path)?;
    let meta = fs::metadata(at).ok()?;
    let is_in = groups.iter().any(|group| group.as_raw() == meta.gid());
    let what = if bit == 0o1 { "g+x" } else { "g+rw" };
    let open = format!("chmod {what} {}", at.display());
    let join = format!("usermod -aG {} {}", group_name(&meta), user.name);
    let is_open = meta.mode() & (bit << 3) != 0;
    Some(match (is_open, is_in) {
        (true, _) => join,
        (false, true) => open,
        (false, false) => format!("{open} && {join}"),
    })
}

/// What shuts a user out on the way there, from the top, and the bit that is lacking. What is not there shuts out nobody.
fn shut<'a>(uid: u32, groups: &[Gid], path: &'a Path) -> Option<(&'a Path, u32)> {
    let mut way: Vec<(&Path, u32)> = path.ancestors().skip(1).map(|at| (at, 0o1)).collect();
    way.reverse();
    way.push((path, 0o2));
    way.into_iter().find(|(at, bit)| {
        let meta = fs::metadata(at);
        meta.is_ok_and(|meta| !may(uid, groups, &meta, *bit))
    })
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

/// The group of a file.
pub fn group_name(file: &Metadata) -> String {
    let group = Group::from_gid(Gid::from_raw(file.gid())).ok().flatten();
    group.map_or(file.gid().to_string(), |group| group.name)
}

/// A user who runs something, with its groups: those that it has, and the one that it is started with.
pub fn account(user: &str, group: Option<&str>) -> Option<(User, Vec<Gid>)> {
    let user = User::from_name(user).ok()??;
    let group = group.and_then(|name| Group::from_name(name).ok().flatten());
    let gid = group.map_or(user.gid, |group| group.gid);
    let name = CString::new(user.name.as_bytes()).unwrap_or_default();
    let mut groups = getgrouplist(&name, gid).unwrap_or_default();
    groups.push(gid);
    Some((user, groups))
}
