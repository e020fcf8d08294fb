//! The daemon's side of a ring: creates it, adopts what a former daemon left, reads it in order across
//! replacements, keeps the heartbeat, and replaces what cannot be trusted.
//!
//! ```text
//! NAME            the ring publishers attach to
//! NAME.lock       held by the daemon that serves it (0600: publishers cannot lock it)
//! NAME.new-PID    a segment in the making
//! NAME.old-HEX    a retired segment, kept while its history counts
//! ```
//!
//! Replacing: make the new one completely, `link` the old one to NAME.old-…, `rename` the new one over
//! NAME, set CLOSED in the old one's tail. Killed at any step, the next daemon finds either the old
//! ring under NAME, or the new one there and an old one that it closes now. Positions go on
//! `STEP` later, so none is used twice although publishers may use both for a moment.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::geteuid;

use crate::create::{CreateError, NEW, NewSegment};
use crate::event::Event;
use crate::fetch::Damage;
use crate::layout::*;
use crate::owner;
use crate::prim::Ordering::*;
use crate::publisher::TrustedOwners;
use crate::reaping::Reaping;
use crate::segment::{Segment, Unusable, now_ns};
use crate::spec::RingSpec;
use crate::tail::{Distrust, Step, Tail};
use crate::wake;

const LOCK: &str = ".lock";
const OLD: &str = ".old-";
/// Far more positions than publishers can claim between `rename` and the close.
const STEP: u64 = 1 << 24;
/// Heartbeat and checks; also the longest sleep.
pub const TICK: Duration = Duration::from_millis(250);
/// Replacing what cannot be trusted costs every publisher a new attach: not more often than this.
const DISTRUST_PAUSE: Duration = Duration::from_secs(1);
/// Unreadable records per lap that are blamed on a broken publisher; more, and the ring is replaced.
const UNREADABLE_PER_LAP: u64 = 256;
/// Retired segments kept for their history.
const RETIRED: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error("{0}")]
    Spec(#[from] crate::spec::BadSpec),
    #[error("another askrd{} already serves the ring {ring}: it holds {}", by(.pid), path.display())]
    Served {
        ring: String,
        pid: Option<u32>,
        path: PathBuf,
    },
    #[error("cannot use the lock file {}: {error}", path.display())]
    Lock { path: PathBuf, error: io::Error },
    #[error("{} {why}; remove it or choose another ring.name", path.display())]
    Foreign { path: PathBuf, why: String },
    #[error("cannot replace the ring {}: {error}", path.display())]
    Replace { path: PathBuf, error: io::Error },
}

fn by(pid: &Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
}

/// What the daemon reads next.
#[derive(Clone, Debug)]
pub enum Next {
    Event {
        seq: u64,
        event: Event,
    },
    /// Nothing more for now.
    Empty,
    /// The positions `from..to` were overwritten before they were read, holes among them.
    Lapped {
        from: u64,
        to: u64,
    },
    /// A record that no publisher of ours wrote; skipped.
    Unreadable {
        seq: u64,
        why: Damage,
    },
    /// `Keeper::segments` changed. `fresh_epoch`: former cursors mean nothing any more.
    Changed {
        fresh_epoch: bool,
        reason: String,
    },
}

struct Source {
    segment: Arc<Segment>,
    tail: Tail,
    /// The segment's file, whatever becomes of its name. None: it could not be opened a second time.
    file: Option<File>,
    /// Where the file is, to unlink it when its history no longer counts; None: it has no name.
    path: Option<PathBuf>,
}

pub struct Keeper {
    spec: RingSpec,
    geometry: Geometry,
    /// Oldest first; the last one bears the name.
    sources: VecDeque<Source>,
    reading: usize,
    news: VecDeque<Next>,
    next_tick: Instant,
    calls: u32,
    unreadable: (u64, u64),
    last_distrust: Option<Instant>,
    distrusts: u64,
    pending_distrust: Option<String>,
    reaping: Reaping,
    _lock: Flock<File>,
}

impl Keeper {
    /// Creates the ring or adopts what is there. Reading starts at the oldest event held.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn start(spec: RingSpec) -> Result<Self, KeeperError> {
        let geometry = spec.geometry()?;
        spec.gid()?;
        let lock = lock(&spec)?;
        let mut keeper = Self {
            geometry,
            sources: VecDeque::new(),
            reading: 0,
            news: VecDeque::new(),
            next_tick: Instant::now(),
            calls: 0,
            unreadable: (0, 0),
            last_distrust: None,
            distrusts: 0,
            pending_distrust: None,
            reaping: Reaping::start(),
            _lock: lock,
            spec,
        };
        keeper.adopt_retired();
        keeper.adopt_current()?;
        keeper.tick();
        keeper.news.clear();
        Ok(keeper)
    }

    /// Every segment that can be read, oldest first.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.sources
            .iter()
            .map(|source| source.segment.clone())
            .collect()
    }

    /// The segment that bears the name.
    pub fn current(&self) -> &Arc<Segment> {
        &self.sources[self.sources.len() - 1].segment
    }

    /// The position that is read next.
    pub fn position(&self) -> u64 {
        self.sources[self.reading].tail.next()
    }

    /// How often the ring was replaced because it could not be trusted.
    pub fn distrusts(&self) -> u64 {
        self.distrusts
    }

    /// Dead publishers whose memory was taken back, and publishers found stopped at the last sweep.
    pub fn reaped(&self) -> (u64, u64) {
        self.reaping.counts()
    }

    /// The next thing in the stream. Never waits.
    pub fn step(&mut self) -> Next {
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(256) {
            self.tick_if_due();
        }
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            let last = self.reading + 1 == self.sources.len();
            let source = &mut self.sources[self.reading];
            let ring = source.segment.ring();
            // What was handed out by the previous call has been dealt with.
            ring.word(W_READ).store(source.tail.next(), Release);
            match source.tail.step(ring) {
                Step::Event { seq, event } => return Next::Event { seq, event },
                Step::Empty => return Next::Empty,
                Step::Lapped { from, to } => return Next::Lapped { from, to },
                Step::Unreadable { seq, why } => {
                    self.count_unreadable(seq);
                    return Next::Unreadable { seq, why };
                }
                Step::End => self.go_on(),
                // A retired segment is not replaced; what is left of it is given up.
                Step::Distrust(_) if !last => {
                    let from = source.tail.next();
                    let to = source.segment.head().max(from);
                    self.go_on();
                    return Next::Lapped { from, to };
                }
                Step::Distrust(why) => {
                    // A mapping that was cut short reads as a ring closed by somebody.
                    let cut = source.segment.truncated();
                    self.distrust(if cut { Distrust::Truncated } else { why });
                    if self.news.is_empty() {
                        return Next::Empty;
                    }
                }
            }
        }
    }

    /// To the next ring. What publishers overwrote there while no daemon read is told, as it lies behind
    /// what was read already.
    fn go_on(&mut self) {
        self.reading += 1;
        let source = &self.sources[self.reading];
        let (from, to) = (source.segment.first(), source.tail.next());
        if to > from {
            self.news.push_back(Next::Lapped { from, to });
        }
    }

    /// Sleeps until something may be there, at most `limit` and at most a tick.
    pub fn wait(&mut self, limit: Duration) {
        if self.news.is_empty() {
            let until_tick = self.next_tick.saturating_duration_since(Instant::now());
            let source = &mut self.sources[self.reading];
            source
                .tail
                .wait(source.segment.ring(), limit.min(until_tick));
        }
        self.tick_if_due();
    }

    fn tick_if_due(&mut self) {
        if Instant::now() >= self.next_tick {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.next_tick = Instant::now() + TICK;
        for source in &self.sources {
            let ring = source.segment.ring();
            ring.word(W_HEARTBEAT).store(now_ns(), Release);
            // We are awake, so no bit is true: one set by a broken or hostile publisher would cost
            // every publish a system call.
            wake::forget_sleepers(ring);
        }
        if let Some(why) = self.damage() {
            self.distrust(why);
        } else if self.pending_distrust.is_some() {
            if !self.replaced_lately()
                && let Some(why) = self.pending_distrust.take()
            {
                self.replace_distrusted(why);
            }
        } else if !self.bears_the_name() {
            self.reclaim_name();
        }
        self.drop_retired();
    }

    /// What no reading shows: a changed header, a file cut short.
    fn damage(&self) -> Option<Distrust> {
        let source = &self.sources[self.sources.len() - 1];
        if source.cut_short() {
            return Some(Distrust::Truncated);
        }
        (!source.segment.header_intact()).then_some(Distrust::Header)
    }

    fn count_unreadable(&mut self, seq: u64) {
        let lap = seq >> self.geometry.slot_bits;
        if self.unreadable.0 != lap {
            self.unreadable = (lap, 0);
        }
        self.unreadable.1 += 1;
        if self.unreadable.1 == UNREADABLE_PER_LAP.min(self.geometry.slots() / 2) {
            self.distrust(Distrust::Unreadable);
        }
    }

    fn replaced_lately(&self) -> bool {
        self.last_distrust
            .is_some_and(|at| at.elapsed() < DISTRUST_PAUSE)
    }

    fn distrust(&mut self, why: Distrust) {
        if self.replaced_lately() {
            self.pending_distrust.get_or_insert_with(|| why.to_string());
        } else {
            self.replace_distrusted(why.to_string());
        }
    }

    /// A new ring with a new epoch; what was in the old one is given up.
    fn replace_distrusted(&mut self, why: String) {
        self.last_distrust = Some(Instant::now());
        self.pending_distrust = None;
        self.distrusts += 1;
        let mut epoch = [0; 16];
        if getrandom::fill(&mut epoch).is_err() {
            return;
        }
        let replaced = self.replace(epoch, self.geometry.slots(), false);
        // The pause begins when publishers can attach anew: making a file may take a while.
        self.last_distrust = Some(Instant::now());
        match replaced {
            Ok(()) => self.news.push_back(Next::Changed {
                fresh_epoch: true,
                reason: why,
            }),
            // Tried again at a later tick: the old ring goes on meanwhile.
            Err(error) => self.pending_distrust = Some(format!("{why}; {error}")),
        }
    }

    /// Somebody removed or replaced the name; publishers that attach now would miss us.
    fn reclaim_name(&mut self) {
        if self.replaced_lately() {
            return;
        }
        let (epoch, first) = self.continuation();
        let replaced = self.replace(epoch, first, true);
        self.last_distrust = Some(Instant::now());
        if replaced.is_ok() {
            let reason = format!("the name {} led elsewhere", self.spec.name);
            self.news.push_back(Next::Changed {
                fresh_epoch: false,
                reason,
            });
        }
    }

    /// Epoch and first position of a ring that continues the current one.
    fn continuation(&self) -> ([u8; 16], u64) {
        let current = self.current();
        let first = (current.head() + STEP).next_multiple_of(self.geometry.slots());
        (current.epoch_bytes(), first)
    }

    /// See the head of this file. `keep`: the old content stays readable.
    fn replace(&mut self, epoch: [u8; 16], first: u64, keep: bool) -> Result<(), KeeperError> {
        let name = self.spec.name.path().to_owned();
        let replaced = |error| KeeperError::Replace {
            path: name.clone(),
            error,
        };
        let new = NewSegment::create(&self.spec, self.geometry, epoch, first)?;
        let old_path = self.old_path();
        let linked = keep && self.bears_the_name() && std::fs::hard_link(&name, &old_path).is_ok();
        let segment = new.rename_over(&name).map_err(replaced)?;
        if let Some(current) = self.sources.back_mut() {
            // Its name has just been given to its successor.
            current.path = linked.then_some(old_path);
            close(current);
        }
        if !keep {
            self.forget_retired();
        }
        self.push(segment, Some(name));
        Ok(())
    }

    fn old_path(&self) -> PathBuf {
        let created = self
            .sources
            .back()
            .map_or(0, |source| source.segment.created_ns());
        self.spec.name.beside(&format!("{OLD}{created:016x}"))
    }

    fn push(&mut self, segment: Segment, path: Option<PathBuf>) {
        let segment = Arc::new(segment);
        // A former daemon killed in its sleep left its bit; it would cost every publish a system call.
        wake::forget_sleepers(segment.ring());
        segment.ring().word(W_HEARTBEAT).store(now_ns(), Release);
        if let Some(path) = &path {
            self.reaping.add(&segment, path);
        }
        let tail = Tail::new(segment.oldest(), true);
        let file = path
            .as_deref()
            .and_then(|path| owner::open_again(path, segment.inode()).ok());
        self.sources.push_back(Source {
            segment,
            tail,
            file,
            path,
        });
        self.reaping
            .keep_only(self.sources.iter().map(|source| &source.segment));
    }

    fn bears_the_name(&self) -> bool {
        let name = self.spec.name.path();
        self.sources
            .back()
            .is_some_and(|source| source.segment.is_at(name))
    }

    /// A retired segment has served when its successor holds a full lap of its own.
    fn drop_retired(&mut self) {
        let current = self.current();
        let full = current.head() - current.first() >= current.geometry().slots();
        let mut dropped = false;
        while self.reading > 0 && (full || self.sources.len() > RETIRED + 1) {
            if let Some(path) = self.sources.pop_front().and_then(|source| source.path) {
                let _ = std::fs::remove_file(path);
            }
            self.reading -= 1;
            dropped = true;
        }
        if dropped {
            self.reaping
                .keep_only(self.sources.iter().map(|source| &source.segment));
            let reason = "a retired ring's history has ended".to_owned();
            self.news.push_back(Next::Changed {
                fresh_epoch: false,
                reason,
            });
        }
    }

    /// Takes over what former daemons retired, and removes what they left half done.
    fn adopt_retired(&mut self) {
        let name = self.spec.name.path().to_owned();
        let (Some(directory), Some(base)) = (name.parent(), name.file_name()) else {
            return;
        };
        let base = base.to_string_lossy().into_owned();
        let Ok(entries) = std::fs::read_dir(directory) else {
            return;
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some(suffix) = file.strip_prefix(&base) else {
                continue;
            };
            if suffix.starts_with(NEW) && owned_by_us(&entry.path()) {
                let _ = std::fs::remove_file(entry.path());
            } else if suffix.starts_with(OLD) && owned_by_us(&entry.path()) {
                match Segment::open(&entry.path(), trusted) {
                    Ok(segment) => found.push((segment, entry.path())),
                    Err(_) => drop(std::fs::remove_file(entry.path())),
                }
            }
        }
        found.sort_by_key(|(segment, _)| segment.first());
        for (segment, path) in found {
            // Killed between `link` and `rename`: this is the ring that still bears the name.
            if segment.is_at(&name) {
                let _ = std::fs::remove_file(path);
                continue;
            }
            self.push(segment, Some(path));
            // Killed between `rename` and the close: publishers may still be using it.
            if let Some(source) = self.sources.back_mut() {
                close(source);
            }
        }
    }

    fn adopt_current(&mut self) -> Result<(), KeeperError> {
        let name = self.spec.name.path().to_owned();
        match Segment::open(&name, trusted) {
            Ok(segment) => {
                let same_epoch = |source: &Source| source.segment.epoch() == segment.epoch();
                if !self.sources.iter().all(same_epoch) {
                    self.forget_retired();
                }
                let resize = segment.geometry() != self.geometry
                    || segment.max_payload() != self.spec.max_payload();
                let closed = segment.ring().tail().load(Acquire) & CLOSED != 0;
                self.push(segment, Some(name));
                if resize && !closed {
                    let (epoch, first) = self.continuation();
                    self.replace(epoch, first, true)?;
                }
                self.set_permissions()
            }
            Err(Unusable::Missing) => self.create_first(),
            Err(why) => {
                // A ring on tmpfs whose header was damaged is replaced; a file that merely bears the
                // name is not ours to destroy.
                if !replaceable(&name) {
                    return Err(KeeperError::Foreign {
                        path: name,
                        why: why.to_string(),
                    });
                }
                self.forget_retired();
                self.create_first()
            }
        }
    }

    fn create_first(&mut self) -> Result<(), KeeperError> {
        let mut epoch = [0; 16];
        getrandom::fill(&mut epoch).map_err(|error| CreateError::Io {
            path: self.spec.name.path().to_owned(),
            error: io::Error::other(error.to_string()),
        })?;
        // The name was removed while retired rings remain: go on where they end.
        let first = match self.sources.back() {
            Some(_) => {
                epoch = self.current().epoch_bytes();
                self.continuation().1
            }
            None => self.geometry.slots(),
        };
        let name = self.spec.name.path().to_owned();
        let new = NewSegment::create(&self.spec, self.geometry, epoch, first)?;
        let segment = new
            .rename_over(&name)
            .map_err(|error| KeeperError::Replace {
                path: name.clone(),
                error,
            })?;
        self.push(segment, Some(name));
        Ok(())
    }

    fn forget_retired(&mut self) {
        for source in self.sources.drain(..) {
            if let Some(path) = source.path {
                let _ = std::fs::remove_file(path);
            }
        }
        self.reading = 0;
    }

    /// The operator may have changed `ring.mode` or `ring.group` since the ring was made.
    fn set_permissions(&self) -> Result<(), KeeperError> {
        use std::os::unix::fs::PermissionsExt;
        let name = self.spec.name.path();
        let failed = |error: io::Error| KeeperError::Replace {
            path: name.to_owned(),
            error,
        };
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(name)
            .map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if (meta.dev(), meta.ino()) != self.current().inode() {
            return Ok(());
        }
        if let Some(gid) = self.spec.gid()?
            && gid.as_raw() != meta.gid()
        {
            nix::unistd::fchown(&file, None, Some(gid)).map_err(|errno| failed(errno.into()))?;
        }
        if meta.mode() & 0o7777 != self.spec.mode {
            let mode = std::fs::Permissions::from_mode(self.spec.mode);
            file.set_permissions(mode).map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Keeper {
    /// Publishers learn at once that nobody reads; the segment stays, it is the history.
    fn drop(&mut self) {
        for source in &self.sources {
            source.segment.ring().word(W_HEARTBEAT).store(0, Release);
        }
    }
}

impl Source {
    /// Whether somebody shortened (or lengthened) the file.
    fn cut_short(&self) -> bool {
        let known = self.segment.geometry().total_len() as u64;
        let meta = self.file.as_ref().and_then(|file| file.metadata().ok());
        self.segment.truncated() || meta.is_some_and(|meta| meta.len() != known)
    }
}

/// Closes a ring: every later claim says so, and the positions below the answer are all there will be.
fn close(source: &mut Source) {
    if source.cut_short() {
        give_length_back(source);
    }
    let ring = source.segment.ring();
    let before = ring.tail().fetch_or(CLOSED, AcqRel);
    // Once closed, failed claims move the low bits on: the first closer remembers where it ended.
    if before & CLOSED == 0 {
        ring.word(W_CLOSED_AT).store(before, Release);
    }
    let end = source.segment.head();
    source.tail.end_at(end.max(source.tail.next()));
}

/// Publishers still map a file that was cut short, whereas our mapping may be private by now: the file
/// gets its length back, and is closed there. The closed tail first, so that no publisher finds zeros
/// in it. What cannot be put back (a full tmpfs), `sigbus` answers in each publisher.
fn give_length_back(source: &Source) {
    if let Some(file) = &source.file {
        let closed = (CLOSED | MAX_POSITION).to_le_bytes();
        let _ = file.write_at(&closed, (W_TAIL * 8) as u64);
        let _ = file.set_len(source.segment.geometry().total_len() as u64);
    }
}

fn trusted(uid: u32) -> bool {
    TrustedOwners::default().contains(uid)
}

fn owned_by_us(path: &Path) -> bool {
    let meta = std::fs::symlink_metadata(path);
    meta.is_ok_and(|meta| meta.uid() == geteuid().as_raw() && meta.is_file())
}

/// Whether a file that is no usable ring may be replaced: ours, a plain file, and on tmpfs, where
/// nothing lives that was meant to last.
fn replaceable(path: &Path) -> bool {
    let ours = owned_by_us(path) || (geteuid().is_root() && is_file(path));
    let tmpfs = || path.parent().and_then(|dir| statfs(dir).ok());
    ours && tmpfs().is_some_and(|fs| fs.filesystem_type() == TMPFS_MAGIC)
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

/// Keeps a second daemon away, for as long as the file is open.
fn lock(spec: &RingSpec) -> Result<Flock<File>, KeeperError> {
    let path = spec.name.beside(LOCK);
    let failed = |error: io::Error| KeeperError::Lock {
        path: path.clone(),
        error,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(&path)
        .map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.uid() != geteuid().as_raw() || meta.mode() & 0o077 != 0 || !meta.is_file() {
        let why = format!(
            "belongs to uid {} with mode {:o}",
            meta.uid(),
            meta.mode() & 0o7777
        );
        return Err(KeeperError::Foreign { path, why });
    }
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut held) => {
            // The number is for the message above only; locks, not pids, decide.
            let _ = held.set_len(0);
            let _ = write!(held, "{}", std::process::id());
            Ok(held)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            let _ = (&mut file).take(20).read_to_string(&mut text);
            Err(KeeperError::Served {
                ring: spec.name.to_string(),
                pid: text.trim().parse().ok(),
                path,
            })
        }
        Err((_, errno)) => Err(failed(errno.into())),
    }
}
