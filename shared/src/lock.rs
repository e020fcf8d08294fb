//! Proof of life: each writer holds a write lock on byte `2^40 + owner` of the segment file.
//!
//! The lock belongs to an open file description of the writer's own (`fcntl(2)`, "Open file description
//! locks"). The kernel drops it when the process is gone, whatever ended it and in whatever pid namespace
//! it lived; so a lock that can be taken proves its owner dead. The description is never mapped: a lock
//! lives as long as any mapping of its descriptor. Locks of one description never conflict, so two
//! threads, or a publisher and the reaper, must not share one.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Beyond any offset a segment can have.
const LOCK_BASE: i64 = 1 << 40;

/// Tries the lock of `owner` through `file`'s description. Never waits.
pub fn try_lock(file: &File, owner: u16) -> io::Result<bool> {
    match set_lock(file, owner, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

pub fn unlock(file: &File, owner: u16) -> io::Result<()> {
    set_lock(file, owner, libc::F_UNLCK).map_err(io::Error::from)
}

fn set_lock(file: &File, owner: u16, kind: i32) -> Result<(), Errno> {
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: LOCK_BASE + i64::from(owner),
        l_len: 1,
        l_pid: 0, // required to be 0 for OFD locks
    };
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
            Err(Errno::EINTR) => continue,
            other => return other.map(|_| ()),
        }
    }
}
