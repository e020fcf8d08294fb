//! `NAME.lock`: keeps a second daemon away, and remembers how far the ring's positions were handed out.
//!
//! ```text
//! 0x00 │ pid of the daemon, text, padded with spaces
//! 0x40 │ "ASKRNOT1": the words below are true
//! 0x48 │ boot id[16]
//! 0x58 │ epoch[16] of the ring served last
//! 0x68 │ end: no position of that epoch from here on was handed out
//! 0x70 │ twice: position and checksum of an event; the higher one is the last that was handed out or passed over
//! ```
//!
//! A ring found at the name at the next start must be the one that was served last, with every position
//! that was handed out claimed in it, and with the last event still there. An older copy that somebody put
//! back, a ring that was retired, a tail set back: its positions would be used again for other events, and
//! a client's cursor would name those. The note is a mapped page, so that it outlives a killed daemon and
//! costs some stores an event. It cannot know of a copy of the whole directory that is put back, note
//! included.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, posix_fallocate};
use nix::unistd::geteuid;

use crate::keeper_error::KeeperError;
use crate::layout::{S_STAMP, S_SUM};
use crate::map::Map;
use crate::name::RingName;
use crate::prim::{Ordering::*, fence};
use crate::segment::Segment;
use crate::sigbus;
use crate::stamp::{Stamp, State};

/// Of its name, after the ring's.
pub const SUFFIX: &str = ".lock";
const LEN: usize = 4096;
const PID_LEN: usize = 64;
const MAGIC: u64 = u64::from_le_bytes(*b"ASKRNOT1");
const W_MAGIC: usize = 8;
const W_BOOT: usize = 9;
const W_EPOCH: usize = 11;
const W_END: usize = 13;
/// Two, of which the older one is written: killed in between, the newer one is whole.
const W_LAST: [usize; 2] = [14, 16];
/// Up to where the reader was lapped last.
const W_LAPPED: usize = 18;

/// Held for as long as this lives.
pub struct DaemonLock {
    path: PathBuf,
    inode: (u64, u64),
    /// Goes before the mapping does.
    _guard: Option<sigbus::Guard>,
    note: Map,
    _held: Flock<File>,
}

impl DaemonLock {
    /// # Errors
    /// If another daemon holds it, or the file cannot be used.
    pub fn take(name: &RingName) -> Result<Self, KeeperError> {
        let path = name.beside(SUFFIX);
        let failed = |error: io::Error| KeeperError::Lock {
            path: path.clone(),
            error,
        };
        let file = open(&path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.uid() != geteuid().as_raw() || meta.mode() & 0o077 != 0 || !meta.is_file() {
            let why = format!(
                "belongs to uid {} with mode {:o}",
                meta.uid(),
                meta.mode() & 0o7777
            );
            return Err(KeeperError::Foreign { path, why });
        }
        let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(KeeperError::Served {
                    ring: name.to_string(),
                    pid: pid(&file),
                    path,
                });
            }
            Err((_, errno)) => return Err(failed(errno.into())),
        };
        // Not cut first: the note of the former daemon is in it. A sparse page on a full tmpfs would
        // raise SIGBUS.
        posix_fallocate(&*held, 0, LEN as i64).map_err(|errno| failed(errno.into()))?;
        // The number is for the message above only; locks, not pids, decide.
        let pid = format!("{:<width$}\n", std::process::id(), width = PID_LEN - 1);
        held.write_all_at(pid.as_bytes(), 0).map_err(failed)?;
        let note = Map::new(&held, LEN).map_err(failed)?;
        Ok(Self {
            inode: (meta.dev(), meta.ino()),
            _guard: sigbus::Guard::new(note.range()),
            note,
            path,
            _held: held,
        })
    }

    /// Whether the file that is held still is the one at its name: only that one keeps others away.
    pub fn is_held(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.inode)
    }

    /// Whether a daemon that held it left a note.
    pub fn noted(&self) -> bool {
        self.word(W_MAGIC) == MAGIC
    }

    /// The first position that was not handed out, of the epoch in the note.
    pub fn end(&self) -> u64 {
        self.word(W_END)
    }

    /// Whether this ring may go on. Without a note there is nothing that speaks against it.
    pub fn fits(&self, found: &Segment) -> Result<(), &'static str> {
        if !self.noted() {
            Ok(())
        } else if self.pair(W_BOOT) != boot_id() {
            Err("it is from before the machine was started")
        } else if self.pair(W_EPOCH) != u128::from_le_bytes(found.epoch_bytes()) {
            Err("it is not the ring that was served last")
        } else if found.head() < self.end() {
            Err("it ends before positions that were handed out already")
        } else {
            match self.last_event(found) {
                Last::There | Last::Elsewhere => Ok(()),
                // Then nothing that is held may be from before it.
                Last::Overwritten if found.oldest() >= self.end() => Ok(()),
                // Or all between was reported as lost, and nothing has been passed since.
                Last::Overwritten if self.word(W_LAPPED) == self.end() => Ok(()),
                _ => Err("it does not hold the event that was handed out last"),
            }
        }
    }

    /// Whether the last event that was handed out is another now: somebody wrote an older copy into the file.
    pub fn rewritten(&self, segment: &Segment) -> bool {
        self.last_event(segment) == Last::Gone
    }

    fn last_event(&self, segment: &Segment) -> Last {
        let (position, sum) = self.last();
        let ring = segment.ring();
        if position < segment.first() || position >= ring.max_position() {
            return Last::Elsewhere;
        }
        let slot = ring.slot(position);
        let (stamp, lap) = (Stamp(slot[S_STAMP].load(Acquire)), ring.slot_lap(position));
        if stamp.lap() > lap {
            return Last::Overwritten;
        }
        let same = slot[S_SUM].load(Relaxed) == sum;
        fence(Acquire);
        if slot[S_STAMP].load(Relaxed) != stamp.0 {
            // Publishers have just come round.
            Last::Overwritten
        } else if same && stamp.lap() == lap && matches!(stamp.state(), State::Done | State::Hole) {
            // A hole: it was erased.
            Last::There
        } else {
            Last::Gone
        }
    }

    fn last(&self) -> (u64, u64) {
        let [a, b] = W_LAST.map(|at| (self.word(at), self.word(at + 1)));
        a.max(b)
    }

    /// From now on `epoch` is served, from `first` on. Before a ring of a new epoch gets its name: killed
    /// in between, the old ring is not taken for the one that is served.
    pub fn begin(&self, epoch: [u8; 16], first: u64) {
        // Killed between any two of these stores, the note fits no ring.
        self.store_pair(W_EPOCH, u128::from_le_bytes(epoch));
        self.store_pair(W_BOOT, boot_id());
        self.store(W_END, first);
        W_LAST.into_iter().for_each(|at| self.store(at, 0));
        self.store(W_LAPPED, 0);
        self.store(W_MAGIC, MAGIC);
    }

    /// The event at `position` of `segment` is being handed out, or passed over for good: it repeats a key, or needs
    /// a newer askrd. A lap of those would leave the event before them overwritten, which is a reason for doubt.
    #[inline]
    pub fn passed(&self, segment: &Segment, position: u64) {
        let [a, b] = W_LAST.map(|at| (self.word(at), at));
        // History is read again at a start.
        if position > a.0.max(b.0) {
            let (_, older) = a.min(b);
            // Overwritten just now, it is some other sum; the stamp will tell.
            let sum = segment.ring().slot(position)[S_SUM].load(Relaxed);
            self.store(older + 1, sum);
            self.store(older, position);
        }
    }

    /// What was below `position` and not handed out is being reported as lost.
    pub fn lapped(&self, position: u64) {
        self.store(W_LAPPED, position);
        self.reached(position);
    }

    /// Everything below `position` is being handed out.
    #[inline]
    pub fn reached(&self, position: u64) {
        if position > self.end() {
            self.store(W_END, position);
        }
    }

    fn word(&self, index: usize) -> u64 {
        self.note.words()[index].load(Relaxed)
    }

    fn store(&self, index: usize, value: u64) {
        self.note.words()[index].store(value, Release);
    }

    fn pair(&self, index: usize) -> u128 {
        u128::from(self.word(index)) | u128::from(self.word(index + 1)) << 64
    }

    fn store_pair(&self, index: usize, value: u128) {
        self.store(index, value as u64);
        self.store(index + 1, (value >> 64) as u64);
    }
}

/// What became of the event that was handed out last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    There,
    /// By a later lap.
    Overwritten,
    /// Another event is in its place, or none.
    Gone,
    /// It is not of this segment, or there was none.
    Elsewhere,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
}

fn pid(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    let _ = (&mut file).take(20).read_to_string(&mut text);
    text.trim().parse().ok()
}

/// Differs for each start of the machine. A ring on a disk may have lost its last pages with the power. 0
/// where the kernel does not tell.
fn boot_id() -> u128 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
}
