//! What former daemons left beside the ring: retired segments, which are its history, and the debris of
//! one that was killed while it made a new one. Only whoever holds the daemon's lock may look here.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::name::RingName;
use crate::segment::{Segment, Unusable};
use crate::trust::Trusted;

/// A segment in the making.
const NEW: &str = ".new-";
/// A retired segment.
const OLD: &str = ".old-";

/// Removes debris; the retired segments, in the order of their positions. `NAME.old-shop` and the like are
/// other rings' files.
pub fn collect(name: &RingName) -> Vec<(Segment, PathBuf)> {
    let (Some(directory), Some(base)) = (name.path().parent(), name.path().file_name()) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let base = base.to_string_lossy();
    let mut retired = Vec::new();
    for entry in entries.flatten() {
        let (path, file) = (entry.path(), entry.file_name());
        let suffix = file.to_str().and_then(|file| file.strip_prefix(&*base));
        let Some(suffix) = suffix.filter(|_| is_ours(&path)) else {
            continue;
        };
        if is_number(suffix, NEW) {
            let _ = fs::remove_file(path);
        } else if is_number(suffix, OLD) {
            match Segment::open(&path, trusted) {
                // Killed between `link` and `rename`: this is the ring that still bears the name.
                Ok(segment) if segment.is_at(name.path()) => drop(fs::remove_file(path)),
                Ok(segment) => retired.push((segment, path)),
                Err(Unusable::Version | Unusable::Header(_) | Unusable::Mode) => {
                    let _ = fs::remove_file(path);
                }
                // It may be usable another time.
                Err(_) => {}
            }
        }
    }
    retired.sort_by_key(|(segment, _)| segment.first());
    retired
}

fn is_number(suffix: &str, prefix: &str) -> bool {
    let number = suffix.strip_prefix(prefix).unwrap_or_default();
    (1..=16).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Not to be guessed: in a directory where everybody may make files, a name that is known is a name that
/// can be taken.
pub fn new_path(name: &RingName) -> io::Result<PathBuf> {
    unused(name, NEW)
}

pub fn old_path(name: &RingName) -> io::Result<PathBuf> {
    unused(name, OLD)
}

fn unused(name: &RingName, suffix: &str) -> io::Result<PathBuf> {
    let number = random::<8>()?;
    Ok(name.beside(&format!("{suffix}{:016x}", u64::from_le_bytes(number))))
}

pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|why| io::Error::other(why.to_string()))?;
    Ok(bytes)
}

/// Whose file may be a ring of ours.
pub fn trusted(meta: &Metadata) -> bool {
    Trusted::default().owner(meta.uid())
}

/// A plain file that this user may remove without asking anybody: root may remove everybody's.
pub fn is_ours(path: &Path) -> bool {
    let user = geteuid();
    let ours =
        |meta: fs::Metadata| meta.is_file() && (user.is_root() || meta.uid() == user.as_raw());
    fs::symlink_metadata(path).is_ok_and(ours)
}
