//! TCP_DEFER_ACCEPT (tcp(7)), for which no library has a safe call: the kernel hands a connection over once its request is
//! here. What connects by the thousand is then read when it is accepted and watched once; what sends nothing takes neither a
//! descriptor nor a place for a second.

#![allow(unsafe_code)]

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

/// Seconds for which a request is awaited in the kernel: a connection without one is accepted then, and has all of its time.
const SECONDS: libc::c_int = 1;

pub fn defer_accept(listener: &TcpListener) -> io::Result<()> {
    let seconds = SECONDS;
    // SAFETY: the descriptor is open as long as `listener` is, and the value is an int, whose size is given.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
