//! Survives a peer that truncates the segment under this process's feet.
//!
//! Touching a mapped page beyond the end of the file raises SIGBUS. Whoever may write the ring may
//! truncate it, so anonymous zero pages are mapped over the whole range and the instruction goes on:
//! a reader finds holes of lap 0 and the damage at its next check, a publisher finds a closed ring and
//! attaches anew.
//!
//! In PHP the process is another's, hence: the handler is there only while a ring is mapped, deals with
//! addresses of that mapping alone, gives everything else back to whoever had the signal before, and is
//! not put over a handler that was installed after it (which may call it, and would call itself).

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::fork::MAX_LOCKS;
use crate::layout::{CLOSED, W_ARENA_TAIL, W_TAIL};

/// One per publishing thread, and some for a reader's segments.
const MAX_RANGES: usize = MAX_LOCKS + 64;
/// An arena position of a middle lap in every geometry, so that a large publish gets as far as the
/// closed tail.
const SOME_ARENA_LAP: u64 = 1 << 40;

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

/// How many guards there are, and the handler that ours was put over, if it ever was.
static INSTALLED: Mutex<(usize, Option<usize>)> = Mutex::new((0, None));
/// What to give a foreign signal back to; written under `INSTALLED`, before the handler can run.
static mut PREVIOUS: libc::sigaction = zeroed();

const fn zeroed() -> libc::sigaction {
    // SAFETY: `sigaction` is plain data (integers, a nullable function pointer as usize, an optional
    // function); all zeros is SIG_DFL with an empty mask.
    unsafe { std::mem::zeroed() }
}

/// A protected address range; ends when dropped.
pub struct Guard(usize);

impl Guard {
    /// Protects `len` bytes from `start`. None when the table is full: then SIGBUS is not answered.
    pub fn new((start, len): (usize, usize)) -> Option<Self> {
        let slot = RANGES.iter().position(|range| {
            range
                .start
                .compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })?;
        install();
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
        uninstall();
    }
}

fn install() {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    installed.0 += 1;
    let present = current();
    let handler = present.sa_sigaction;
    let newer = handler != libc::SIG_DFL && installed.1.is_some_and(|before| before != handler);
    if handler == ours() || newer {
        return;
    }
    installed.1 = Some(handler);
    let mut action = zeroed();
    action.sa_sigaction = ours();
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler only uses async-signal-safe calls (mmap, sigaction) and atomics; PREVIOUS is
    // written under the lock and while the handler is not installed.
    unsafe {
        PREVIOUS = present;
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
    }
}

/// With the last guard the handler goes: a PHP extension may be unloaded after it.
fn uninstall() {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    installed.0 -= 1;
    if installed.0 == 0 && current().sa_sigaction == ours() {
        // SAFETY: PREVIOUS is what `install` found.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const PREVIOUS, ptr::null_mut()) };
        // Whatever handler is found next time was not put over ours.
        installed.1 = None;
    }
}

fn ours() -> usize {
    on_sigbus as *const () as usize
}

fn current() -> libc::sigaction {
    let mut action = zeroed();
    // SAFETY: only asks; `action` is a live sigaction.
    unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut action) };
    action
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
            for (word, value) in [(W_ARENA_TAIL, SOME_ARENA_LAP), (W_TAIL, CLOSED)] {
                // SAFETY: pages of a segment, mapped just above; its header holds both words.
                unsafe { &*(start as *const AtomicU64).add(word) }.store(value, Ordering::Release);
            }
            return;
        }
    }
    // Not ours: give the signal back to whoever had it; the instruction faults again.
    // SAFETY: PREVIOUS was filled by `install` before this handler could run.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const PREVIOUS, ptr::null_mut()) };
}
