//! futex(2) on the low half of a 64-bit word. Never FUTEX_PRIVATE: the waiter is another process.

use std::time::Duration;

use crate::prim::AtomicU64;

/// Sleeps while the low half of `word` equals `expected`, at most `timeout`. Returns early for any
/// reason a futex has (woken, changed, signal): the caller looks again in every case.
#[cfg(not(loom))]
pub fn wait(word: &AtomicU64, expected: u32, timeout: Duration) {
    let spec = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    };
    // SAFETY: the address is that of a live, 8-aligned word, whose first four bytes are its low half
    // (`cfg(target_endian)` is checked below); the kernel only reads it, and reads `spec`.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr().cast::<u32>(),
            libc::FUTEX_WAIT,
            expected,
            &raw const spec,
        );
    }
}

/// Wakes everyone who waits on the low half of `word`.
#[cfg(not(loom))]
pub fn wake_all(word: &AtomicU64) {
    // SAFETY: as in `wait`; FUTEX_WAKE uses the address only as a key.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr().cast::<u32>(),
            libc::FUTEX_WAKE,
            i32::MAX,
        );
    }
}

// The ring's words are little-endian by definition, and the futex needs the low half first.
#[cfg(not(target_endian = "little"))]
compile_error!("the ring is little-endian");

/// Under loom a sleeper spins until the word changes: a lost wake-up never ends, which loom reports.
#[cfg(loom)]
pub fn wait(word: &AtomicU64, expected: u32, _: Duration) {
    while word.load(crate::prim::Ordering::Acquire) as u32 == expected {
        loom::thread::yield_now();
    }
}

#[cfg(loom)]
pub fn wake_all(_: &AtomicU64) {}
