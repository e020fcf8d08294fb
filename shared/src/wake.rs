//! The eventcount: a sleeping reader, and publishers that make a system call only when it sleeps.
//!
//! ```text
//! reader                                publisher
//! g = gen                               commit (SeqCst CAS on the stamp)
//! sleepers |= bit        (SeqCst)       sleepers? (SeqCst)
//! look at the stamp again (SeqCst)      ≠ 0: gen += 1, futex_wake
//! futex_wait(gen == g)
//! sleepers &= !bit
//! ```
//!
//! Either the publisher sees the bit or the reader sees the commit (Dekker); `gen` covers the way from
//! the look to the sleep. The reader clears its bit, so a publisher killed before its wake leaves it
//! set for the next one, and the reader's time limit bounds a hostile clearing of it.

use std::time::Duration;

use crate::futex;
use crate::layout::*;
use crate::prim::{Ordering::*, seq_cst_model_fence};
use crate::ring::Ring;

/// askrd's bit. Other tailers poll.
pub const DAEMON: u64 = 1;

/// A heartbeat older than this means that no daemon is there. askrd beats every 250 ms.
pub const HEARTBEAT_STALE_NS: u64 = 2_000_000_000;

/// Whether a daemon gave a sign of life within two seconds before `now`. A clock set back makes it look
/// dead, or alive for as long: nothing is lost by either.
#[inline]
pub fn daemon_alive(ring: Ring<'_>, now: u64) -> bool {
    now.abs_diff(ring.word(W_HEARTBEAT).load(Relaxed)) < HEARTBEAT_STALE_NS
}

/// After a commit at `now`: wakes whoever sleeps. No system call when nobody does.
#[inline]
pub fn wake(ring: Ring<'_>, now: u64) {
    seq_cst_model_fence();
    if ring.word(W_SLEEPERS).load(SeqCst) != 0 {
        wake_sleepers(ring, now);
    }
}

#[cold]
fn wake_sleepers(ring: Ring<'_>, now: u64) {
    // The bit of a daemon that was killed in its sleep stays: without this look it would cost every
    // publish a system call until the next one starts. A daemon that was merely stopped looks for
    // itself when it goes on, since its sleep is bounded.
    if !daemon_alive(ring, now) {
        return;
    }
    // Release: pairs with the sleeper's load of `gen` after it woke.
    ring.word(W_GEN).fetch_add(1, AcqRel);
    futex::wake_all(ring.word(W_GEN));
}

/// Sleeps until something is published, at most `limit`. `ready` looks at the ring once more, with
/// SeqCst loads, after the bit is set. Returns false if `ready` was true and nobody slept.
pub fn sleep(ring: Ring<'_>, limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let generation = ring.word(W_GEN).load(Acquire) as u32;
    ring.word(W_SLEEPERS).fetch_or(DAEMON, SeqCst);
    seq_cst_model_fence();
    let sleeps = !ready();
    if sleeps {
        futex::wait(ring.word(W_GEN), generation, limit);
    }
    ring.word(W_SLEEPERS).fetch_and(!DAEMON, SeqCst);
    sleeps
}

/// Clears every bit: a dead tailer's, or a hostile one, would cost each publish a system call. Only for
/// askrd, whose bit is the one true one, and only while it is awake.
pub fn forget_sleepers(ring: Ring<'_>) {
    let sleepers = ring.word(W_SLEEPERS);
    // Mostly there is nothing to clear, and publishers read this line.
    if sleepers.load(Relaxed) != 0 {
        sleepers.store(0, SeqCst);
    }
}
