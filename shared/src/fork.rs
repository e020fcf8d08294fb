//! Notices that this process is a fork of the one that attached, without a system call.
//!
//! A forked child inherits the mapping and every descriptor, so it would publish under its parent's
//! owner number, and its copy of the lock descriptor would keep that owner alive after the parent's
//! death. Two things prevent it: a page that the kernel wipes in the child (MADV_WIPEONFORK) holds
//! the *generation*, compared at each publish; and a `pthread_atfork` handler closes the inherited
//! lock descriptors at once, also in a child that never publishes.

use std::fs::File;
use std::os::fd::IntoRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};

/// Lock descriptors of this process: one per publishing thread.
pub const MAX_LOCKS: usize = 1024;

static LOCKS: [AtomicI32; MAX_LOCKS] = [const { AtomicI32::new(-1) }; MAX_LOCKS];
/// The wiped page. Null before first use; a static in .data when the kernel lacks MADV_WIPEONFORK
/// (before 4.14), in which case the atfork handler alone does the work.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
static FALLBACK: AtomicU64 = AtomicU64::new(0);
static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

/// The current generation: changes, and never recurs, in a forked child.
#[inline]
pub fn generation() -> u64 {
    let page = PAGE.load(Ordering::Acquire);
    if !page.is_null() {
        // SAFETY: PAGE, once set, points to a page that is never unmapped, or to FALLBACK.
        let word = unsafe { &*page }.load(Ordering::Relaxed);
        if word != 0 && word != STARTING {
            return word;
        }
    }
    start_generation()
}

/// Keeps `file`, whose open file description carries an owner's lock, until `release`.
/// None when this process has `MAX_LOCKS` of them.
pub fn keep(file: File) -> Option<usize> {
    let fd = file.into_raw_fd();
    let free = |slot: &AtomicI32| {
        slot.compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    };
    let slot = LOCKS.iter().position(free);
    if slot.is_none() {
        close(fd);
    }
    slot
}

/// Closes what `keep` took, unless a fork has done so. `born` is the generation at the time of `keep`.
pub fn release(slot: usize, born: u64) {
    // In a child the number may meanwhile name another file: only the process that opened it closes it.
    if generation() == born {
        close(LOCKS[slot].swap(-1, Ordering::AcqRel));
    }
}

/// Marks the page while one thread of a fresh child closes what it inherited.
const STARTING: u64 = u64::MAX;

#[cold]
fn start_generation() -> u64 {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let page = wiped_page().unwrap_or((&raw const FALLBACK).cast_mut());
        // SAFETY: a live page or FALLBACK; nobody else knows it yet.
        unsafe { &*page }.store(
            NEXT_GENERATION.fetch_add(1, Ordering::Relaxed),
            Ordering::Relaxed,
        );
        // SAFETY: the handler is a plain function that only closes descriptors and stores atomics,
        // which is all that may be done between fork and exec in a threaded program.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        PAGE.store(page, Ordering::Release);
    });
    // SAFETY: set just above, never unmapped.
    let word = unsafe { &*PAGE.load(Ordering::Acquire) };
    loop {
        match word.compare_exchange(0, STARTING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // A raw clone() does not run the handler; the wiped page is then the first to tell.
                close_all();
                word.store(
                    NEXT_GENERATION.fetch_add(1, Ordering::Relaxed),
                    Ordering::Release,
                );
            }
            Err(STARTING) => std::thread::yield_now(),
            Err(generation) => return generation,
        }
    }
}

extern "C" fn in_child() {
    close_all();
    FALLBACK.store(0, Ordering::Relaxed);
}

fn close_all() {
    for slot in &LOCKS {
        close(slot.swap(-1, Ordering::AcqRel));
    }
}

fn close(fd: i32) {
    if fd >= 0 {
        // SAFETY: the number came out of LOCKS (or straight from `into_raw_fd`), whose swap hands it
        // to exactly one caller; nobody else closes it.
        unsafe { libc::close(fd) };
    }
}

fn wiped_page() -> Option<*mut AtomicU64> {
    // SAFETY: a fresh anonymous private mapping of one page, zero-filled and page-aligned; it is
    // never unmapped once handed out.
    unsafe {
        let page = libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if page == libc::MAP_FAILED {
            return None;
        }
        if libc::madvise(page, 4096, libc::MADV_WIPEONFORK) != 0 {
            libc::munmap(page, 4096);
            return None;
        }
        Some(page.cast())
    }
}
