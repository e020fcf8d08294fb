//! A child under a debugger (ptrace(2)).

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// Ends with its `Child`: killed and waited for.
pub struct Child {
    pid: Pid,
    gone: bool,
}

/// Where a child was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At `mark()`, or after a single step.
    Trap,
    /// Before or after a system call (`Child::to_syscall`).
    Syscall,
    Exited(i32),
    Signaled(Signal),
}

/// Stops a traced child here; the debugger swallows the signal. Only in a child of `Child::spawn`.
pub fn mark() {
    let _ = raise(Signal::SIGTRAP);
}

impl Child {
    /// Runs `body` in a forked child that this process debugs. The child exits with what it returns,
    /// or 101 if it panics. The caller must have one thread only.
    pub fn spawn(body: impl FnOnce() -> i32) -> nix::Result<Self> {
        // SAFETY: the driver is single-threaded, so the child may do whatever a fresh process may.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let code = catch_unwind(AssertUnwindSafe(|| match ptrace::traceme() {
                    Ok(()) => body(),
                    Err(_) => 102,
                }));
                // SAFETY: ends the child at once, without the parent's exit handlers.
                unsafe { libc::_exit(code.unwrap_or(101)) }
            }
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                gone: false,
            }),
        }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// To be called at the first stop: the child dies with its debugger.
    pub fn bind(&self) -> nix::Result<()> {
        ptrace::setoptions(
            self.pid,
            Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACESYSGOOD,
        )
    }

    /// Waits for the first stop.
    pub fn wait(&mut self) -> nix::Result<Stop> {
        self.wait_for(ptrace::cont)
    }

    /// Any other signal is the child's own affair: it is delivered by `on`, which goes on as before.
    fn wait_for(&mut self, on: fn(Pid, Signal) -> nix::Result<()>) -> nix::Result<Stop> {
        loop {
            match waitpid(self.pid, None) {
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
                Ok(WaitStatus::Stopped(_, Signal::SIGTRAP)) => return Ok(Stop::Trap),
                Ok(WaitStatus::PtraceSyscall(_)) => return Ok(Stop::Syscall),
                Ok(WaitStatus::Stopped(_, signal)) => on(self.pid, signal)?,
                Ok(WaitStatus::Exited(_, code)) => {
                    self.gone = true;
                    return Ok(Stop::Exited(code));
                }
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    self.gone = true;
                    return Ok(Stop::Signaled(signal));
                }
                Ok(_) => continue,
            }
        }
    }

    /// Runs to the next `mark()`, or to its end.
    pub fn resume(&mut self) -> nix::Result<Stop> {
        ptrace::cont(self.pid, None)?;
        self.wait()
    }

    /// Executes one instruction (of a `rep` string instruction: one iteration).
    pub fn step(&mut self) -> nix::Result<Stop> {
        ptrace::step(self.pid, None)?;
        self.wait_for(ptrace::step)
    }

    /// Runs to the next entry into or return from a system call.
    pub fn to_syscall(&mut self) -> nix::Result<Stop> {
        ptrace::syscall(self.pid, None)?;
        self.wait_for(ptrace::syscall)
    }

    /// Kills it at its entry into or return from system call `stop`, counted from 0 and each twice. Returns whether it
    /// ended before.
    pub fn kill_at_syscall(&mut self, stop: u64) -> nix::Result<bool> {
        let mut over = false;
        for _ in 0..=stop {
            if self.to_syscall()? != Stop::Syscall {
                over = true;
                break;
            }
        }
        self.kill()?;
        Ok(over)
    }

    /// SIGKILL, and waits until its locks are gone with it.
    pub fn kill(&mut self) -> nix::Result<()> {
        if self.gone {
            return Ok(());
        }
        kill(self.pid, Signal::SIGKILL)?;
        while !matches!(self.wait()?, Stop::Exited(_) | Stop::Signaled(_)) {}
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
