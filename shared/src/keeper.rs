//! The daemon's side of a ring: creates it, adopts what a former daemon left, reads it in order across
//! replacements, keeps the heartbeat, and replaces what cannot be trusted.
//!
//! ```text
//! NAME            the ring publishers attach to
//! NAME.lock       held by the daemon that serves it (0600: publishers cannot lock it)
//! NAME.new-HEX    a segment in the making
//! NAME.old-HEX    a retired segment, kept while its history counts, without the memory that has none
//! ```
//!
//! Replacing: make the new one completely, `link` the old one to NAME.old-…, `rename` the new one over
//! NAME, set CLOSED in the old one's tail. Killed at any step, the next daemon finds either the old
//! ring under NAME, or the new one there and an old one that it closes now. Positions go on
//! `STEP` later, so none is used twice although publishers may use both for a moment. A ring that cannot
//! be shown to continue what was handed out is replaced by one of a new epoch (`doubt`).
//!
//! A replacement that fails leaves nothing behind, is tried again, and is `trouble` until it succeeds.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::create::NewSegment;
use crate::daemon_lock::DaemonLock;
use crate::event::Event;
use crate::features::{self, Features};
use crate::fetch::Damage;
use crate::give_back;
pub use crate::keeper_error::KeeperError;
use crate::keys::{BYTES_PER_KEY, Keys};
use crate::layout::*;
use crate::leftovers::{self, is_ours, trusted};
use crate::name::RingName;
use crate::owner;
use crate::prim::Ordering::*;
use crate::reaping::Reaping;
use crate::segment::{Segment, Unusable, now_ns};
use crate::spec::RingSpec;
use crate::tail::{self, Distrust, Step, Tail};
use crate::wake;

/// Far more positions than publishers can claim between `rename` and the close.
const STEP: u64 = 1 << 24;
/// Heartbeat and checks; also the longest sleep.
pub const TICK: Duration = Duration::from_millis(250);
/// A replacement costs every publisher a new attach: not more often than this.
const PAUSE: Duration = Duration::from_secs(1);
/// A replacement that fails may have allocated and cleared a whole ring, while nothing is read: each pause
/// after it is twice as long as the one before, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Unreadable records per lap that are blamed on a broken publisher; more, and the ring is replaced.
const UNREADABLE_PER_LAP: u64 = 256;
/// What is read here, beyond what each askrd reads.
const READS: Features = Features::KEY
    .and(Features::TOPIC)
    .and(Features::IMPORTED)
    .and(Features::GAP);
/// Retired segments kept for their history.
const RETIRED: usize = 2;
/// In so many steps the memory of a retired segment is given back, as newer events take the place of its own.
const STEPS: u64 = 16;

/// The most bytes that the keys of a ring's events take, beside the ring.
pub const fn keys_ceiling(slots: u64) -> u64 {
    (RETIRED as u64 + 1) * slots * BYTES_PER_KEY as u64
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
    /// A record that was not wanted.
    Skipped {
        seq: u64,
    },
    /// An event whose key an earlier one has that is still held. It was taken out of the ring.
    Repeated {
        seq: u64,
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
    /// Up to which position its memory was given back.
    given_back: Option<u64>,
}

/// The sleep of who reads a ring.
#[must_use]
pub struct Sleep {
    segment: Arc<Segment>,
    sleep: tail::Sleep,
}

impl Sleep {
    pub fn sleep(self) {
        self.sleep.sleep(self.segment.ring());
    }
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
    keys: Keys,
    /// Why the ring must be replaced by one of a new epoch.
    distrusted: Option<String>,
    distrusts: u64,
    given_up: Option<String>,
    /// No replacement is tried before this.
    next_try: Instant,
    trouble: Option<String>,
    failures: u64,
    failures_in_a_row: u32,
    reaping: Reaping,
    lock: DaemonLock,
}

impl Keeper {
    /// Creates the ring or adopts what is there. Reading starts at the oldest event held.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn start(spec: RingSpec) -> Result<Self, KeeperError> {
        let geometry = spec.geometry()?;
        spec.gid()?;
        let lock = DaemonLock::take(&spec.name)?;
        let mut keeper = Self {
            geometry,
            sources: VecDeque::new(),
            reading: 0,
            news: VecDeque::new(),
            next_tick: Instant::now(),
            calls: 0,
            unreadable: (0, 0),
            keys: Keys::default(),
            distrusted: None,
            distrusts: 0,
            given_up: None,
            next_try: Instant::now(),
            trouble: None,
            failures: 0,
            failures_in_a_row: 0,
            reaping: Reaping::start().map_err(KeeperError::Thread)?,
            lock,
            spec,
        };
        keeper.adopt_retired();
        keeper.adopt_current()?;
        keeper.lock.reached(keeper.position());
        keeper.tick();
        keeper.news.clear();
        Ok(keeper)
    }

    pub fn name(&self) -> &RingName {
        &self.spec.name
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

    /// Why the epoch of the ring that was found at the start was given up, with its history.
    pub fn given_up(&self) -> Option<&str> {
        self.given_up.as_deref()
    }

    /// Why publishers cannot reach the ring, or why one that cannot be trusted is still read: a replacement
    /// that failed and is tried again.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// How often a replacement failed.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Bytes of memory that retired rings take.
    pub fn retired_bytes(&self) -> u64 {
        let files = self.sources.iter().rev().skip(1);
        let meta = files.filter_map(|source| source.file.as_ref()?.metadata().ok());
        meta.map(|meta| meta.blocks() * 512).sum()
    }

    /// Keys that are remembered.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Dead publishers whose memory was taken back, and publishers found stopped at the last sweep.
    pub fn reaped(&self) -> (u64, u64) {
        self.reaping.counts()
    }

    /// The next thing in the stream. Never waits.
    pub fn step(&mut self) -> Next {
        self.step_if(|_| true)
    }

    /// `reads` is asked before the record at a position is read; those it does not want are skipped.
    #[inline]
    pub fn step_if(&mut self, mut reads: impl FnMut(u64) -> bool) -> Next {
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
            let step = source.tail.step_if(ring, &mut reads);
            match step {
                Step::Lapped { to, .. } => self.lock.lapped(to),
                _ => self.lock.reached(source.tail.next()),
            }
            match step {
                Step::Event { .. } if last && self.lock.rewritten(&source.segment) => {
                    self.distrust(Distrust::Rewritten);
                    if self.news.is_empty() {
                        return Next::Empty;
                    }
                }
                Step::Event { seq, event } => {
                    self.lock.passed(&source.segment, seq);
                    if self.repeats(seq, &event) {
                        return Next::Repeated { seq };
                    }
                    return Next::Event { seq, event };
                }
                Step::Empty => return Next::Empty,
                Step::Lapped { from, to } => return Next::Lapped { from, to },
                Step::Unreadable { seq, why } => {
                    // A newer publisher is no reason to give up everybody's history.
                    if why.is_unsupported() {
                        self.lock.passed(&source.segment, seq);
                    } else {
                        self.count_unreadable(seq);
                    }
                    return Next::Unreadable { seq, why };
                }
                Step::Skipped { seq } => return Next::Skipped { seq },
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

    /// Whether an event that is still held has the same key. Then this one is taken out of the ring before anything is
    /// told of it, so that no reader finds it, whenever it reads.
    fn repeats(&mut self, seq: u64, event: &Event) -> bool {
        let Some(key) = event.key() else {
            return false;
        };
        // A lap before this one, too: publishers may be that far ahead of the reader, who has handed the first out.
        let lap = seq.saturating_sub(self.geometry.slots());
        let oldest = self.sources[0].segment.oldest().min(lap);
        if self.keys.is_first(key, seq, oldest) {
            return false;
        }
        self.sources[self.reading].segment.erase(seq);
        true
    }

    /// To the next ring. What publishers overwrote there while no daemon read is reported as lost, as it lies
    /// behind what was read already.
    fn go_on(&mut self) {
        self.reading += 1;
        let source = &self.sources[self.reading];
        let (from, to) = (source.segment.first(), source.tail.next());
        self.lock.reached(to);
        if to > from {
            self.lock.lapped(to);
            self.news.push_back(Next::Lapped { from, to });
        }
    }

    /// Sleeps until something may be there, at most `limit` and at most a tick.
    pub fn wait(&mut self, limit: Duration) {
        if let Some(sleep) = self.sleep(limit) {
            sleep.sleep();
        }
        self.tick_if_due();
    }

    /// What `wait` does, for who lets others use the keeper meanwhile; `tick_if_due` comes after it. None: there is
    /// something to do.
    pub fn sleep(&mut self, limit: Duration) -> Option<Sleep> {
        if !self.news.is_empty() {
            return None;
        }
        let until_tick = self.next_tick.saturating_duration_since(Instant::now());
        let source = &mut self.sources[self.reading];
        Some(Sleep {
            segment: source.segment.clone(),
            sleep: source.tail.sleep(limit.min(until_tick)),
        })
    }

    pub fn tick_if_due(&mut self) {
        if Instant::now() >= self.next_tick {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.next_tick = Instant::now() + TICK;
        for source in &self.sources {
            let ring = source.segment.ring();
            features::beat(ring, now_ns(), READS);
            // We are awake, so no bit is true: one set by a broken or hostile publisher would cost
            // every publish a system call.
            wake::forget_sleepers(ring);
        }
        if let Some(why) = self.damage() {
            self.distrust(why);
        } else {
            self.mend();
        }
        self.drop_retired();
        self.give_back();
    }

    /// What no reading shows: a changed header, a file cut short.
    fn damage(&self) -> Option<Distrust> {
        let source = &self.sources[self.sources.len() - 1];
        if source.cut_short() {
            return Some(Distrust::Truncated);
        }
        if !source.segment.header_intact() {
            return Some(Distrust::Header);
        }
        self.lock
            .rewritten(&source.segment)
            .then_some(Distrust::Rewritten)
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

    fn distrust(&mut self, why: Distrust) {
        self.distrusted.get_or_insert_with(|| why.to_string());
        self.mend();
    }

    /// Replaces a ring that cannot be trusted, or whose name somebody removed or gave to another file:
    /// publishers that attach now would miss us. The old ring is read meanwhile.
    fn mend(&mut self) {
        if Instant::now() < self.next_try {
            return;
        }
        if let Err(error) = self.try_to_mend() {
            self.failures += 1;
            let pause = PAUSE * (1 << self.failures_in_a_row.min(3));
            self.failures_in_a_row += 1;
            self.next_try = Instant::now() + pause.min(LONGEST_PAUSE);
            self.trouble = Some(match &self.distrusted {
                Some(why) => format!("{error} (it must be replaced because {why})"),
                None => error.to_string(),
            });
        } else {
            self.trouble = None;
            self.failures_in_a_row = 0;
        }
    }

    fn try_to_mend(&mut self) -> Result<(), KeeperError> {
        self.hold_lock()?;
        if self.distrusted.is_none() && self.bears_the_name() {
            return Ok(());
        }
        let kept = self.replace(self.distrusted.is_none())?;
        // The pause begins when publishers can attach anew: making a file may take a while.
        self.next_try = Instant::now() + PAUSE;
        self.distrusts += u64::from(!kept);
        let elsewhere = || format!("the name {} led elsewhere", self.spec.name);
        let reason = self.distrusted.take().unwrap_or_else(elsewhere);
        self.news.push_back(Next::Changed {
            fresh_epoch: !kept,
            reason,
        });
        Ok(())
    }

    /// Without its name the lock keeps nobody away, and two daemons that replace the same ring would both
    /// continue it.
    fn hold_lock(&mut self) -> Result<(), KeeperError> {
        if self.lock.is_held() {
            return Ok(());
        }
        let lock = DaemonLock::take(&self.spec.name)?;
        if lock.noted() {
            let why = "another askrd served the ring meanwhile";
            self.distrusted.get_or_insert_with(|| why.to_owned());
        } else {
            lock.begin(self.current().epoch_bytes(), self.lock.end());
        }
        self.lock = lock;
        Ok(())
    }

    /// Epoch and first position of a ring that continues the current one. None: there are no such
    /// positions in a ring of these sizes.
    fn continuation(&self) -> Option<([u8; 16], u64)> {
        let current = self.current();
        // The tail is what publishers make of it; what was handed out is known.
        let end = current.head().max(self.lock.end());
        let first = (end + STEP).next_multiple_of(self.geometry.slots());
        (first < self.geometry.max_position()).then(|| (current.epoch_bytes(), first))
    }

    /// See the head of this file. `keep`: the old content stays readable. Whether it does, and the epoch is
    /// the same.
    fn replace(&mut self, keep: bool) -> Result<bool, KeeperError> {
        let name = self.spec.name.path().to_owned();
        let failed = |error| KeeperError::Replace {
            path: name.clone(),
            error,
        };
        let continued = keep.then(|| self.continuation()).flatten();
        let keep = continued.is_some();
        let (epoch, first) = match continued {
            Some(continued) => continued,
            None => (leftovers::random().map_err(failed)?, self.geometry.slots()),
        };
        let new = NewSegment::create(&self.spec, self.geometry, epoch, first)?;
        let mut old_path = None;
        if keep && self.bears_the_name() {
            let path = leftovers::old_path(&self.spec.name).map_err(failed)?;
            std::fs::hard_link(&name, &path).map_err(failed)?;
            old_path = Some(path);
        }
        if keep {
            // Publishers may claim in both until the old one is closed.
            let end = self.current().head();
            new.set_floor(end);
        } else {
            self.lock.begin(epoch, first);
        }
        let segment = new.rename_over(&name).map_err(|error| {
            if let Some(path) = &old_path {
                let _ = std::fs::remove_file(path);
            }
            match std::fs::symlink_metadata(&name) {
                Ok(meta) => KeeperError::Taken {
                    path: name.clone(),
                    error,
                    uid: meta.uid(),
                },
                Err(_) => failed(error),
            }
        })?;
        if let Some(current) = self.sources.back_mut() {
            // Its name has just been given to its successor.
            if current.path.as_ref() == Some(&name) {
                current.path = old_path;
            }
            close(current);
        }
        segment.ring().word(W_FLOOR).store(0, Release);
        if !keep {
            self.forget_retired();
            self.keys.clear();
        }
        self.push(segment, Some(name));
        Ok(keep)
    }

    fn push(&mut self, segment: Segment, path: Option<PathBuf>) {
        let segment = Arc::new(segment);
        // A former daemon killed in its sleep left its bit; it would cost every publish a system call.
        wake::forget_sleepers(segment.ring());
        features::beat(segment.ring(), now_ns(), READS);
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
            given_back: None,
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

    /// How many positions were claimed in the rings that replaced this one.
    fn newer(&self, n: usize) -> u64 {
        let newer = self.sources.iter().skip(n + 1);
        newer
            .map(|source| source.segment.head() - source.segment.first())
            .sum()
    }

    /// A retired segment has served when its successors hold a full lap.
    fn drop_retired(&mut self) {
        let slots = self.current().geometry().slots();
        let mut dropped = false;
        while self.reading > 0 && (self.newer(0) >= slots || self.sources.len() > RETIRED + 1) {
            if let Some(source) = self.sources.pop_front() {
                source.forget();
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

    /// Gives back the memory of retired rings beside the events that count: together with what is newer, as many as a ring
    /// of the present size holds.
    fn give_back(&mut self) {
        let slots = self.current().geometry().slots();
        let mut begun = false;
        for n in 0..self.reading {
            let counts = slots.saturating_sub(self.newer(n));
            let source = &mut self.sources[n];
            let segment = &source.segment;
            let from = segment.oldest().max(segment.head().saturating_sub(counts));
            let step = segment.geometry().slots() / STEPS;
            if source.given_back.is_some_and(|before| from < before + step) {
                continue;
            }
            begun |= source.given_back.replace(from).is_none();
            source.give_up_below(from);
            if let Some(file) = &source.file {
                give_back::all_before(file, &source.segment, from);
            }
        }
        if begun {
            // Nobody claims there any more, and a sweep would touch the memory that was given back.
            let swept = self.sources.iter().skip(self.reading);
            self.reaping.keep_only(swept.map(|source| &source.segment));
        }
    }

    /// Takes over what former daemons retired.
    fn adopt_retired(&mut self) {
        for (segment, path) in leftovers::collect(&self.spec.name) {
            let given_up = segment.ring().word(W_FLOOR).load(Acquire);
            segment.give_up_below(given_up.min(segment.head()));
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
                // Killed between `rename` and the removal of what is given up.
                self.forget_other_epochs(&segment);
                let doubt = self.doubt(&segment);
                let resize = segment.geometry() != self.geometry
                    || segment.max_payload() != self.spec.max_payload();
                // What is retired was closed above.
                segment.ring().word(W_FLOOR).store(0, Release);
                self.push(segment, Some(name));
                if let Some(why) = doubt {
                    self.begin_anew(why)?;
                } else {
                    if !self.lock.noted() {
                        self.lock.begin(self.current().epoch_bytes(), 0);
                    }
                    if resize && !self.replace(true)? {
                        self.given_up = Some("its positions are used up".to_owned());
                    }
                }
                self.set_permissions()
            }
            // A ring that was made after these, and is gone, may have handed out what would follow them.
            Err(Unusable::Missing) if !self.sources.is_empty() => {
                self.forget_retired();
                self.begin_anew("its file was missing beside retired ones")
            }
            Err(Unusable::Missing) => self.replace(false).map(drop),
            Err(why) => {
                // A ring on tmpfs whose header was damaged is replaced; a file that merely bears the
                // name, or cannot be looked at, is not ours to destroy.
                if matches!(why, Unusable::Io(_)) || !replaceable(&name) {
                    return Err(KeeperError::Foreign {
                        path: name,
                        why: why.to_string(),
                    });
                }
                self.forget_retired();
                self.begin_anew(&format!("it {why}"))
            }
        }
    }

    /// A new epoch instead of the one that was found.
    fn begin_anew(&mut self, why: &str) -> Result<(), KeeperError> {
        self.replace(false)?;
        self.given_up = Some(why.to_owned());
        Ok(())
    }

    /// Why the ring found at the name may have been continued by another that is gone, so that its
    /// positions would be used twice.
    fn doubt(&self, found: &Segment) -> Option<&'static str> {
        if found.ring().tail().load(Acquire) & CLOSED != 0 {
            return Some("it is closed, as only retired rings are");
        }
        if let Err(why) = self.lock.fits(found) {
            return Some(why);
        }
        let retired = self.sources.iter().map(|source| &*source.segment);
        let firsts = retired.clone().skip(1).chain([found]).map(Segment::first);
        let in_order = retired.zip(firsts).all(|(one, next)| one.head() <= next);
        (!in_order).then_some("retired rings hold the same positions")
    }

    fn forget_other_epochs(&mut self, found: &Segment) {
        let same = |source: &Source| source.segment.epoch_bytes() == found.epoch_bytes();
        let (kept, others) = self.sources.drain(..).partition(same);
        self.sources = kept;
        others.into_iter().for_each(Source::forget);
    }

    fn forget_retired(&mut self) {
        self.sources.drain(..).for_each(Source::forget);
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
            features::end(source.segment.ring(), READS);
        }
    }
}

impl Source {
    /// Its history counts no longer. A publisher may have it mapped until it publishes again, which must not keep the
    /// memory.
    fn forget(self) {
        self.give_up_below(self.segment.head());
        if let Some(file) = &self.file {
            give_back::everything(file, &self.segment);
        }
        if let Some(path) = self.path {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Also for the daemon that finds the file after this one was killed, before the memory goes.
    fn give_up_below(&self, position: u64) {
        self.segment.ring().word(W_FLOOR).store(position, Release);
        self.segment.give_up_below(position);
    }

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

/// Whether a file that is no usable ring may be replaced: ours, and on tmpfs, where nothing lives that was
/// meant to last.
fn replaceable(path: &Path) -> bool {
    let tmpfs = || path.parent().and_then(|dir| statfs(dir).ok());
    is_ours(path) && tmpfs().is_some_and(|fs| fs.filesystem_type() == TMPFS_MAGIC)
}
