//! Reads the secrets of the file again when a token shows that they may have changed.
//!
//! PHP signs with the file's newest secret from the moment it is there, and an EventSource does not come back after a
//! refusal. So a token that no key verifies is not refused at once: its viewer waits for a read that begins after
//! it came, and is then judged by what was read. Anybody can make up such a token, so a read takes place every
//! [`PAUSE`] at most, however many wait for it, by a thread of its own: no worker ever waits for a disk. Viewers
//! with a token that verifies do not wait.
//!
//! A file that cannot be used leaves the keys as they were.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::{fmt, io};

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::{Semaphore, watch};

use super::keys::Key;
use super::token::Verifier;
use crate::process::client_key::ClientKey;
use crate::process::parts;
use crate::process::shares::{self, Shares};

/// The least time from the end of a read to the next one.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest wait for a read. Only a file system that hangs takes as long.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most viewers that wait at one time; one client has an eighth of it. More are asked to come back.
pub const WAITING: usize = 1024;

/// How to read the keys: all of the application's, or why it cannot be done, which never has a secret.
pub type Read = Box<dyn Fn() -> Result<Vec<Key>, String> + Send + Sync>;

/// The keys cannot be read now, or too many wait for it: whoever has a new token may come back with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Reads that brought other keys.
    pub changed: AtomicU64,
    pub unchanged: AtomicU64,
    /// Reads of a file that cannot be used.
    pub failed: AtomicU64,
    /// Viewers that were asked to come back.
    pub later: AtomicU64,
}

/// The keys of one application, kept up to date while it serves.
#[derive(Debug)]
pub struct Rotation {
    shared: Arc<Shared>,
    waiting: Semaphore,
    shares: Shares,
}

struct Shared {
    read: Read,
    /// The file's name, for the log.
    file: String,
    verifier: Arc<RwLock<Verifier>>,
    state: Mutex<State>,
    wanted: Condvar,
    /// The number of reads that have ended.
    ended: watch::Sender<u64>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct State {
    /// The number of reads that have begun.
    begun: u64,
    /// Whether another one is wanted.
    wanted: bool,
    stopping: bool,
}

impl Rotation {
    /// Keeps the keys of `verifier` up to date with what `read` reads from `file`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(file: &Path, read: Read, verifier: Arc<RwLock<Verifier>>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            read,
            file: file.display().to_string(),
            verifier,
            state: Mutex::default(),
            wanted: Condvar::new(),
            ended: watch::Sender::new(0),
            counts: Counts::default(),
        });
        parts::thread("secrets", {
            let shared = shared.clone();
            move || {
                shared.run();
                Ok(())
            }
        })?;
        Ok(Self {
            shared,
            waiting: Semaphore::new(WAITING),
            shares: Shares::new(shares::by_default(WAITING, shares::ANY)),
        })
    }

    /// Waits for a read that begins from now on.
    ///
    /// # Errors
    /// If too many wait, in all or of this client, or the read takes too long.
    pub async fn read_again(&self, client: ClientKey) -> Result<(), Later> {
        let read = async {
            let _share = self.shares.take(client)?;
            let _place = self.waiting.try_acquire().ok()?;
            let mut ended = self.shared.ended.subscribe();
            let wanted = self.shared.want();
            let waited = ended.wait_for(|ended| *ended >= wanted);
            tokio::time::timeout(PATIENCE, waited).await.ok()?.ok()?;
            Some(())
        };
        read.await.ok_or_else(|| {
            self.shared.counts.later.fetch_add(1, Relaxed);
            Later
        })
    }

    /// Counts on from where `before`, whose place it takes, has come to.
    pub fn continue_counts(&mut self, before: &Self) {
        let (own, before) = (self.counts(), before.counts());
        for (own, before) in [
            (&own.changed, &before.changed),
            (&own.unchanged, &before.unchanged),
            (&own.failed, &before.failed),
            (&own.later, &before.later),
        ] {
            own.fetch_add(before.load(Relaxed), Relaxed);
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

/// Not waited for: a file system that hangs does not hold up the end.
impl Drop for Rotation {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.wanted.notify_all();
    }
}

impl Shared {
    /// Has the file read, and returns the number of that read.
    fn want(&self) -> u64 {
        let mut state = self.state.lock();
        state.wanted = true;
        self.wanted.notify_all();
        state.begun + 1
    }

    fn run(&self) {
        // The last reason why the file could not be used: each is logged once, however often it is read.
        let mut failure = None;
        let mut state = self.state.lock();
        loop {
            self.wanted
                .wait_while(&mut state, |state| !state.wanted && !state.stopping);
            if state.stopping {
                return;
            }
            state.wanted = false;
            state.begun += 1;
            let number = state.begun;
            parking_lot::MutexGuard::unlocked(&mut state, || {
                self.read(&mut failure);
                self.ended.send_replace(number);
            });
            self.wanted
                .wait_while_for(&mut state, |state| !state.stopping, PAUSE);
        }
    }

    fn read(&self, failure: &mut Option<String>) {
        let keys = match (self.read)() {
            Ok(keys) => keys,
            Err(why) => {
                self.counts.failed.fetch_add(1, Relaxed);
                if failure.as_ref() != Some(&why) {
                    tracing::error!("{why}; the secrets of before stay in force");
                    *failure = Some(why);
                }
                return;
            }
        };
        *failure = None;
        if self.verifier.read().has(&keys) {
            self.counts.unchanged.fetch_add(1, Relaxed);
            return;
        }
        self.counts.changed.fetch_add(1, Relaxed);
        tracing::info!(
            "{}: the secrets were read again; {} keys verify tokens now",
            self.file,
            keys.len()
        );
        self.verifier.write().replace(keys);
    }
}

/// Without the keys.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("file", &self.file)
            .field("state", &self.state)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use shared::secret;
    use tokio::task::JoinSet;

    use super::*;
    use crate::process::client_key::testing::client;

    fn keys(file: &str) -> Vec<Key> {
        let secrets = secret::parse(file).unwrap();
        secrets.into_iter().map(Key::from).collect()
    }

    const A: &str = "a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "b bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[tokio::test]
    async fn who_waits_is_judged_by_a_read_that_began_after_it_came() {
        let verifier = Arc::new(RwLock::new(Verifier::new(keys(A), "shop", false)));
        let (begun, began) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let wait = Mutex::new(wait);
        let read = Box::new(move || {
            begun.send(()).unwrap();
            wait.lock().recv().unwrap()
        });
        let rotation = Rotation::start(Path::new("/x"), read, verifier.clone()).unwrap();
        let wait_for_b = async {
            rotation.read_again(ClientKey::NONE).await.unwrap();
            assert!(verifier.read().has(&keys(B)));
        };
        let first = async {
            rotation.read_again(ClientKey::NONE).await.unwrap();
            assert!(verifier.read().has(&keys(A)));
        };
        let script = async {
            // The first read is under way, and brings what was there before.
            while began.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            tokio::join!(wait_for_b, async {
                go.send(Ok(keys(A))).unwrap();
                go.send(Ok(keys(B))).unwrap();
            });
        };
        tokio::join!(first, script);
        let counts = rotation.counts();
        assert_eq!(counts.unchanged.load(Relaxed), 1);
        assert_eq!(counts.changed.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn a_client_has_its_share_of_those_who_wait_and_leaves_nothing_behind() {
        let verifier = Arc::new(RwLock::new(Verifier::new(keys(A), "shop", false)));
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let read = Box::new(move || {
            let _ = wait.lock().recv();
            Err("no".to_owned())
        });
        let rotation = Rotation::start(Path::new("/x"), read, verifier.clone()).unwrap();
        let rotation = Arc::new(rotation);
        let mut waiting = JoinSet::new();
        let mut wait_as = |n| {
            let rotation = rotation.clone();
            waiting.spawn(async move { rotation.read_again(client(n)).await });
        };
        (0..WAITING / 8).for_each(|_| wait_as(1));
        wait_as(2);
        while rotation.waiting.available_permits() >= WAITING - WAITING / 8 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rotation.read_again(client(1)).await, Err(Later));
        assert_eq!(rotation.counts().later.load(Relaxed), 1);
        drop(go);
        assert!(waiting.join_all().await.iter().all(Result::is_ok));
        assert_eq!(rotation.waiting.available_permits(), WAITING);
        assert_eq!(rotation.read_again(client(1)).await, Ok(()));
        assert!(verifier.read().has(&keys(A)), "as they were");
    }
}
