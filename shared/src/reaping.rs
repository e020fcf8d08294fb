//! The thread that looks for dead publishers, apart from the tail: a sweep never delays a delivery.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::owner;
use crate::reaper::Reaper;
use crate::segment::Segment;

/// A dead publisher's pins only cost memory, so there is no hurry.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Shared {
    rings: Mutex<Vec<(Arc<Segment>, Reaper)>>,
    stop: AtomicBool,
    reaped: AtomicU64,
    stopped: AtomicU64,
}

impl Shared {
    fn rings(&self) -> MutexGuard<'_, Vec<(Arc<Segment>, Reaper)>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Reaping {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Reaping {
    /// # Errors
    /// If there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("askr-reaper".into())
                .spawn(move || run(&shared))?
        };
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Sweeps `segment`, whose file is at `path`, from now on. Without a descriptor for its locks
    /// nothing can be proven, so nothing is reaped there.
    pub fn add(&self, segment: &Arc<Segment>, path: &Path) {
        if let Ok(file) = owner::open_again(path, segment.inode()) {
            self.shared
                .rings()
                .push((segment.clone(), Reaper::new(file)));
        }
    }

    pub fn keep_only<'a>(&self, segments: impl Iterator<Item = &'a Arc<Segment>>) {
        let kept: Vec<_> = segments.map(|segment| segment.inode()).collect();
        self.shared
            .rings()
            .retain(|(segment, _)| kept.contains(&segment.inode()));
    }

    /// Publishers reaped in all, and found stopped at the last sweep.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.shared.reaped.load(Relaxed),
            self.shared.stopped.load(Relaxed),
        )
    }
}

impl Drop for Reaping {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    while !shared.stop.load(Relaxed) {
        let mut stopped = 0;
        for (segment, reaper) in shared.rings().iter_mut() {
            // A failing lock call proves nothing: what is pinned stays pinned.
            if let Ok(swept) = reaper.sweep(segment.ring()) {
                shared.reaped.fetch_add(u64::from(swept.reaped), Relaxed);
                stopped += u64::from(swept.stopped);
            }
        }
        shared.stopped.store(stopped, Relaxed);
        std::thread::park_timeout(PERIOD);
    }
}
