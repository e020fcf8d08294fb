//! Survives a peer that truncates the segment under the daemon's feet.
//!
//! Touching a mapped page beyond the end of the file raises SIGBUS. Whoever may write the ring may
//! truncate it, so the daemon maps anonymous zero pages over the whole range, goes on reading (zeros
//! are holes of lap 0) and finds the damage at its next check of the segment. Only the daemon installs
//! this: in PHP a signal handler would be another's business.

use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const MAX_RANGES: usize = 64;

struct Range {
    start: AtomicUsize,
    len: AtomicUsize,
    hit: AtomicBool,
}

static RANGES: [Range; MAX_RANGES] = [const {
    Range {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        hit: AtomicBool::new(false),
    }
}; MAX_RANGES];

static mut PREVIOUS: libc::sigaction = unsafe_zeroed();

const fn unsafe_zeroed() -> libc::sigaction {
    // SAFETY: `sigaction` is plain data (integers, a nullable function pointer as usize, an optional
    // function); all zeros is SIG_DFL with an empty mask.
    unsafe { std::mem::zeroed() }
}

/// A protected address range; ends when dropped.
pub struct Guard(usize);

impl Guard {
    /// Protects `len` bytes from `start`. None when the table is full: then SIGBUS ends the process.
    pub fn new((start, len): (usize, usize)) -> Option<Self> {
        install();
        let slot = RANGES.iter().position(|range| {
            range
                .start
                .compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })?;
        RANGES[slot].hit.store(false, Ordering::Relaxed);
        RANGES[slot].len.store(len, Ordering::Release);
        Some(Self(slot))
    }

    /// Whether the range was lost, and is now private zero pages.
    pub fn hit(&self) -> bool {
        RANGES[self.0].hit.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        RANGES[self.0].len.store(0, Ordering::Release);
        RANGES[self.0].start.store(0, Ordering::Release);
    }
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut action = unsafe_zeroed();
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler only uses async-signal-safe calls (mmap, sigaction) and atomics;
        // PREVIOUS is written here, once, before the handler can run.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const action, &raw mut PREVIOUS) };
    });
}

extern "C" fn on_sigbus(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler; SIGBUS fills in the address.
    let address = unsafe { (*info).si_addr() } as usize;
    for range in &RANGES {
        let (start, len) = (
            range.start.load(Ordering::Acquire),
            range.len.load(Ordering::Acquire),
        );
        if len == 0 || !(start..start + len).contains(&address) {
            continue;
        }
        range.hit.store(true, Ordering::Release);
        // SAFETY: replaces pages of a mapping this process owns and keeps; all references into it
        // are to atomics, for which zeros are as good as any other foreign value.
        let mapped = unsafe {
            libc::mmap(
                start as *mut libc::c_void,
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if mapped != libc::MAP_FAILED {
            return;
        }
    }
    // Not ours: give the signal back to whoever had it; the instruction faults again.
    // SAFETY: PREVIOUS was filled by `install` before this handler existed.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const PREVIOUS, ptr::null_mut()) };
}
