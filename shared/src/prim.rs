//! The one place that picks atomics: the standard library's, or loom's under `cfg(loom)`.
//!
//! Everything that touches the segment goes through these names, so that the models run the
//! crate's own code and not a copy of it.

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// Makes the SeqCst accesses around it totally ordered.
///
/// On real hardware the accesses themselves are SeqCst and this is nothing. loom treats SeqCst
/// accesses as AcqRel and knows only SeqCst *fences*, so the model gets one.
#[inline(always)]
pub fn seq_cst_model_fence() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}
