//! Waiting for a descriptor through Tokio, without unsafe code.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches `fd` for something to read (or to accept). Edge-triggered, as Tokio does it.
#[expect(
    deprecated,
    reason = "deprecated because a type could change the descriptor it lends; OwnedFd cannot, and the \
              replacement is an unsafe function for the sake of types that can"
)]
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
