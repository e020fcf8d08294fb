//! The groups of the process at the other end of a Unix socket, as the kernel had them when it connected
//! (SO_PEERGROUPS, Linux 4.13). What files say of its user is neither all of them nor true: a container's user is in
//! none, and a process may have left some.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The most that are read.
pub const MOST: usize = 4096;
/// Enough for nearly all.
const FIRST: usize = 64;

/// Its supplementary groups; none where the kernel does not say.
///
/// # Errors
/// If there are more than [`MOST`].
pub fn of(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let is = |why: &io::Error, code| why.raw_os_error() == Some(code);
    match read(socket, FIRST) {
        Err(why) if is(&why, libc::ERANGE) => read(socket, MOST),
        Err(why) if is(&why, libc::ENOPROTOOPT) => Ok(Vec::new()),
        groups => groups,
    }
}

fn read(socket: &impl AsFd, room: usize) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; room];
    let mut bytes = size_of_val(&groups[..]) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `bytes` bytes to `groups`, which has them, and to `bytes`; both outlive the call.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    groups.truncate(bytes as usize / size_of::<u32>());
    groups.shrink_to_fit();
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use nix::unistd::getgroups;

    use super::*;

    #[test]
    fn they_are_those_of_the_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut expected: Vec<u32> = getgroups()
            .unwrap()
            .iter()
            .map(|gid| gid.as_raw())
            .collect();
        let mut groups = of(&ours).unwrap();
        expected.sort_unstable();
        groups.sort_unstable();
        assert_eq!(groups, expected);
    }
}
