//! What the scenarios share: a child process each, and waiting for what must come.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// What was seen, or what was wrong.
pub type Verdict = Result<String, Box<dyn std::error::Error>>;

/// Nothing that works takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A forked child that runs `body` and exits with 0, or says on stderr why not and exits with 1.
pub fn child(body: impl FnOnce() -> Result<(), Box<dyn std::error::Error>>) -> io::Result<Pid> {
    // SAFETY: this program has one thread, so the child may do whatever a fresh process may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let body = std::panic::AssertUnwindSafe(body);
            let code = match std::panic::catch_unwind(body) {
                Ok(Ok(())) => 0,
                Ok(Err(error)) => {
                    eprintln!("life: {error}");
                    1
                }
                Err(_) => 101,
            };
            // SAFETY: ends the child at once, without its parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for a child to exit with 0.
pub fn done(pid: Pid) -> Result<(), Box<dyn std::error::Error>> {
    match waitpid(pid, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        other => Err(format!("a child ended: {other:?}").into()),
    }
}

/// Waits until `ready`, without a system call while it is quick.
pub fn await_that(what: &str, mut ready: impl FnMut() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !ready() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("waited in vain: {what}"));
        }
        std::thread::yield_now();
    }
    Ok(())
}
