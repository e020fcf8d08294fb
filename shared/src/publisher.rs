//! What an application holds to publish: attaches by itself, and again after a fork, a rotation, or
//! when the ring appears. One per thread. Never waits, and never trusts what it maps.

use std::io;
use std::path::PathBuf;

use crate::cursor::Cursor;
use crate::event::EventRef;
use crate::failure_report::Reporter;
use crate::features::{self, Features};
use crate::layout::*;
use crate::name::RingName;
use crate::owner::{NoOwner, Owner};
use crate::prim::Ordering::*;
use crate::segment::{Segment, Unusable, coarse_now_ns, now_ns};
use crate::trust::Trusted;
use crate::vector::Vector;
use crate::wake::{self, daemon_alive};
use crate::writer::{self, Body, Refused};

pub use crate::failure_report::Failure;

/// While nobody reads: how often to look whether the name still leads to this segment.
const CHECK_NS: u64 = 1_000_000_000;
/// Of the slots, and of the arena: what may be filled before askrd is woken.
const UNWOKEN_PART: u64 = 8;
/// After a full writer table: how long not to search it again.
const TABLE_RETRY_NS: u64 = 1_000_000_000;
/// A ring that closes under a publish is replaced at once; a second time is a storm of rotations.
const REATTACHES: usize = 3;

/// A failure and a sentence about it: what, which ring, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PublishError {
    pub failure: Failure,
    pub message: String,
}

/// Which ring to publish to, and whom to trust with it.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    pub name: RingName,
    /// A user that may own the segment, besides root, `askr` and the process's own.
    pub owner: Option<String>,
    /// A group that the segment may belong to instead, whoever owns it.
    pub group: Option<String>,
}

/// A publisher's view of itself and of its ring.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub attached: bool,
    pub ring: String,
    /// Why it is not attached, or why the last publish failed.
    pub reason: Option<String>,
    pub epoch: Option<String>,
    pub slots: u64,
    /// Bytes.
    pub slot_size: u64,
    /// Bytes.
    pub arena_size: u64,
    pub writers: u64,
    /// Bytes.
    pub max_payload: u64,
    /// Events published by this publisher.
    pub published: u64,
    /// In the order of `Failure::ALL`.
    pub failures: [u64; Failure::ALL.len()],
    pub daemon_alive: bool,
    /// The next position askrd will read.
    pub daemon_read: u64,
    /// The next position a publisher will claim.
    pub tail: u64,
    /// Age of the oldest event held.
    pub history_seconds: f64,
    /// What the askrd that serves the ring reads, beyond what each askrd does.
    pub features: Features,
    /// Events published without their key, because askrd does not know keys.
    pub keys_ignored: u64,
}

struct Attached {
    segment: Segment,
    owner: Owner,
}

/// When askrd is woken for an event.
#[derive(Clone, Copy)]
enum Wake {
    Now,
    Later,
}

/// What was published since askrd was last woken.
#[derive(Default)]
struct Unwoken {
    events: u64,
    /// Of the arena.
    cells: u64,
}

/// "Everything that was published until now".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Cursor(Cursor),
    /// The application is on several hosts.
    Vector(Vector),
}

#[derive(Default)]
pub struct Publisher {
    options: Option<AttachOptions>,
    attached: Option<Box<Attached>>,
    /// Reused for the head of each event.
    scratch: Vec<u8>,
    published: u64,
    failures: [u64; Failure::ALL.len()],
    keys_ignored: u64,
    unwoken: Unwoken,
    last_error: Option<PublishError>,
    next_check_ns: u64,
    table_retry_ns: u64,
    reporter: Reporter,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.report_now();
    }
}

impl Publisher {
    pub const fn new() -> Self {
        Self {
            options: None,
            attached: None,
            scratch: Vec::new(),
            published: 0,
            failures: [0; Failure::ALL.len()],
            keys_ignored: 0,
            unwoken: Unwoken {
                events: 0,
                cells: 0,
            },
            last_error: None,
            next_check_ns: 0,
            table_retry_ns: 0,
            reporter: Reporter::new(),
        }
    }

    /// Says which ring; must come first. Detaches from another.
    pub fn configure(&mut self, options: AttachOptions) {
        // What has failed is of the ring of before.
        self.report_now();
        self.attached = None;
        self.options = Some(options);
    }

    /// Where askrd is told what could not be published (`failure_report`). None: nobody is.
    pub fn report_to(&mut self, socket: Option<PathBuf>) {
        self.reporter.tell(socket);
    }

    /// Tells askrd of failures that it has not been told of, unless that was a moment ago. Never waits.
    #[inline]
    pub fn report(&mut self) {
        if self.reporter.is_pending()
            && let Some(options) = &self.options
        {
            self.reporter.report(&options.name, now_ns());
        }
    }

    fn report_now(&mut self) {
        if self.reporter.is_pending()
            && let Some(options) = &self.options
        {
            self.reporter.report_now(&options.name);
        }
    }

    pub fn is_configured(&self) -> bool {
        self.options.is_some()
    }

    /// Publishes one event, whose names passed `EventRef::check`. Returns its place. A key that askrd does not know is
    /// left out, and counted.
    ///
    /// # Errors
    /// Why nothing was published; the next call tries again.
    pub fn publish(&mut self, event: &EventRef<'_>) -> Result<Cursor, PublishError> {
        let result = self.try_publish(event, Wake::Now);
        self.account(&result);
        result
    }

    /// The same without waking askrd, for one of several events: `wake` comes after the last. Until then askrd is woken
    /// only as often as an eighth of the ring was filled, so that a sleeping one does not lose what follows.
    ///
    /// # Errors
    /// As `publish`.
    pub fn publish_unwoken(&mut self, event: &EventRef<'_>) -> Result<Cursor, PublishError> {
        let result = self.try_publish(event, Wake::Later);
        self.account(&result);
        if let (Ok(_), Some(attached)) = (&result, &self.attached) {
            let (ring, geometry) = (attached.segment.ring(), attached.segment.geometry());
            let len = self.scratch.len() + event.data.len();
            self.unwoken.events += 1;
            if len > ring.inline_len() {
                self.unwoken.cells += ring.cells_for(len);
            }
            let full = self.unwoken.events >= geometry.slots() / UNWOKEN_PART
                || self.unwoken.cells >= geometry.cells() / UNWOKEN_PART;
            if full {
                self.wake();
            }
        }
        result
    }

    /// Wakes askrd if it sleeps.
    pub fn wake(&mut self) {
        self.unwoken = Unwoken::default();
        if let Some(attached) = &self.attached {
            wake::wake(attached.segment.ring(), now_ns());
        }
    }

    fn account(&mut self, result: &Result<Cursor, PublishError>) {
        match result {
            Ok(_) => {
                self.published += 1;
                if self.last_error.is_some() {
                    self.last_error = None;
                    self.report();
                }
            }
            Err(error) => {
                self.failures[error.failure as usize] += 1;
                self.reporter.note(error.failure);
                self.report();
                self.last_error = Some(error.clone());
            }
        }
    }

    #[inline]
    fn try_publish(&mut self, event: &EventRef<'_>, wake: Wake) -> Result<Cursor, PublishError> {
        let now = now_ns();
        let needs = event.needs();
        event.encode_head(&mut self.scratch);
        for _ in 0..REATTACHES {
            self.attach(now)?;
            let Some(attached) = &self.attached else {
                break;
            };
            if needs != Features::NONE && !features::offer(attached.segment.ring(), needs) {
                return self.publish_reduced(event, wake);
            }
            let body = Body {
                head: &self.scratch,
                data: event.data,
                flags: event.flags(),
                published: now,
            };
            let (ring, owner) = (attached.segment.ring(), attached.owner.number());
            let published = match wake {
                Wake::Now => writer::publish(ring, owner, body),
                Wake::Later => writer::publish_unwoken(ring, owner, body),
            };
            match published {
                // Into pages that were taken away meanwhile: nobody will read it there.
                Ok(_) if attached.segment.truncated() => self.attached = None,
                Ok(seq) => {
                    return Ok(Cursor {
                        epoch: attached.segment.epoch(),
                        seq,
                    });
                }
                Err(Refused::Closed) => {
                    // For what came before into this ring; it is read to its end.
                    wake::wake(ring, now);
                    self.attached = None;
                }
                Err(refused) => return Err(self.refused(refused, event.data.len())),
            }
        }
        Err(self.error(Failure::Closed, REPLACED))
    }

    /// Publishes what an older askrd can read of the event, if that is enough.
    #[cold]
    fn publish_reduced(
        &mut self,
        event: &EventRef<'_>,
        wake: Wake,
    ) -> Result<Cursor, PublishError> {
        let reduced = EventRef {
            key: None,
            ..*event
        };
        if reduced.needs() != Features::NONE {
            let parts: Vec<&str> = reduced.needs().names().collect();
            let why = format!(
                "is served by an askrd that does not read such events ({}); upgrade askrd to version {} or later",
                parts.join(", "),
                env!("CARGO_PKG_VERSION")
            );
            return Err(self.error(Failure::Unsupported, &why));
        }
        let published = self.try_publish(&reduced, wake)?;
        self.keys_ignored += 1;
        Ok(published)
    }

    /// "Everything that was published until now": see `Segment::cursor`. Without askrd, without a system call while
    /// its heartbeat is fresh.
    ///
    /// # Errors
    /// Why there is no ring to ask.
    pub fn cursor(&mut self) -> Result<Cursor, PublishError> {
        // A heartbeat is fresh for two seconds: a clock that moves every few milliseconds is good enough.
        let now = coarse_now_ns();
        for _ in 0..REATTACHES {
            self.attach(now)?;
            let Some(attached) = &self.attached else {
                break;
            };
            match attached.segment.cursor() {
                Some(cursor) if !attached.segment.truncated() => return Ok(cursor),
                _ => self.attached = None,
            }
        }
        Err(self.error(Failure::Closed, REPLACED))
    }

    /// The same as a stream has it: across hosts of all of them.
    ///
    /// # Errors
    /// As `cursor`.
    pub fn place(&mut self) -> Result<Place, PublishError> {
        let cursor = self.cursor()?;
        let attached = self.attached.as_ref();
        let vector = attached.and_then(|attached| attached.segment.vector(cursor));
        Ok(vector.map_or(Place::Cursor(cursor), Place::Vector))
    }

    /// Largest payload in bytes, when there is a ring to ask.
    pub fn max_payload(&mut self) -> Option<u64> {
        self.attach(now_ns()).ok()?;
        self.attached
            .as_ref()
            .map(|attached| attached.segment.max_payload())
    }

    /// Tries to attach, and returns what there is.
    pub fn status(&mut self) -> Status {
        let now = now_ns();
        let trouble = self.attach(now).err();
        let options = self.options.clone().unwrap_or_default();
        let mut status = Status {
            ring: options.name.to_string(),
            reason: trouble
                .or_else(|| self.last_error.clone())
                .map(|error| error.message),
            published: self.published,
            failures: self.failures,
            keys_ignored: self.keys_ignored,
            ..Status::default()
        };
        if let Some(attached) = &self.attached {
            let segment = &attached.segment;
            let geometry = segment.geometry();
            status.attached = true;
            status.epoch = Some(segment.epoch().to_string());
            status.slots = geometry.slots();
            status.slot_size = 1 << geometry.slot_log2;
            status.arena_size = geometry.arena_len();
            status.writers = u64::from(geometry.writers());
            status.max_payload = segment.max_payload();
            status.daemon_alive = daemon_alive(segment.ring(), now);
            status.daemon_read = segment.ring().word(W_READ).load(Acquire);
            status.tail = segment.head();
            status.history_seconds = segment.history_seconds();
            status.features = features::offered(segment.ring());
        }
        status
    }

    /// Makes sure that there is a segment, that it is still the one that bears the name, and that the
    /// writer table entry is ours. No system call while a daemon's heartbeat is fresh.
    #[inline]
    fn attach(&mut self, now: u64) -> Result<(), PublishError> {
        if let Some(attached) = &self.attached
            && attached.owner.is_mine()
            && daemon_alive(attached.segment.ring(), now)
        {
            return Ok(());
        }
        self.attach_slowly(now)
    }

    #[cold]
    fn attach_slowly(&mut self, now: u64) -> Result<(), PublishError> {
        let Some(options) = &self.options else {
            return Err(self.error(Failure::Missing, "was not configured"));
        };
        if let Some(attached) = &self.attached
            && attached.owner.is_mine()
        {
            // A clock set back must not put the next look off for long.
            let due = now >= self.next_check_ns || self.next_check_ns - now > CHECK_NS;
            if !due {
                return Ok(());
            }
            self.next_check_ns = now + CHECK_NS;
            if attached.segment.is_at(options.name.path()) {
                return Ok(());
            }
        }
        let options = options.clone();
        self.attached = None;
        if now < self.table_retry_ns && self.table_retry_ns - now <= TABLE_RETRY_NS {
            return Err(self.error(Failure::TableFull, TABLE_FULL));
        }
        let trusted = Trusted {
            owner: options.owner.as_deref(),
            group: options.group.as_deref(),
        };
        let path = options.name.path();
        // The name may lead to a new segment between the two opens; the second time it settles.
        for _ in 0..REATTACHES {
            let segment = Segment::open(path, |meta| trusted.believes(path, meta))
                .map_err(|why| self.unusable(why))?;
            match Owner::acquire(segment.ring(), path, segment.inode()) {
                Ok(owner) => {
                    self.next_check_ns = now + CHECK_NS;
                    self.attached = Some(Box::new(Attached { segment, owner }));
                    return Ok(());
                }
                Err(NoOwner::Replaced) => continue,
                Err(NoOwner::TableFull) => {
                    self.table_retry_ns = now + TABLE_RETRY_NS;
                    return Err(self.error(Failure::TableFull, TABLE_FULL));
                }
                Err(NoOwner::TooManyThreads) => {
                    let why = "has too many publishing threads in this process (1024)";
                    return Err(self.error(Failure::TableFull, why));
                }
                Err(NoOwner::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(NoOwner::Io(error)) => {
                    let why = format!("could not be locked ({error})");
                    return Err(self.error(Failure::Io, &why));
                }
            }
        }
        Err(self.error(Failure::Closed, REPLACED))
    }

    fn refused(&self, refused: Refused, len: usize) -> PublishError {
        match refused {
            Refused::Closed => self.error(Failure::Closed, "is being replaced"),
            Refused::Contended => self.error(
                Failure::Contended,
                "is contended: 256 claims in a row were lost",
            ),
            Refused::ArenaPinned => self.error(
                Failure::ArenaFull,
                "has no room for a large event: stopped publishers hold its arena",
            ),
            Refused::TooLarge => {
                let limit = self
                    .attached
                    .as_ref()
                    .map_or(0, |a| a.segment.max_payload());
                let why = format!("takes payloads of up to {limit} bytes, this one has {len}");
                self.error(Failure::TooLarge, &why)
            }
        }
    }

    fn unusable(&self, why: Unusable) -> PublishError {
        let (failure, hint) = match &why {
            Unusable::Missing => (Failure::Missing, "; is askrd running?"),
            Unusable::Permission(_) => (
                Failure::Permission,
                "; does this user belong to the ring's group?",
            ),
            Unusable::Owner { .. } => (Failure::WrongOwner, "; see askr.ring_owner"),
            Unusable::Mode => (Failure::WrongOwner, ""),
            Unusable::Version => (
                Failure::WrongVersion,
                "; do askrd and this publisher have the same version?",
            ),
            Unusable::Header(_) => (Failure::Invalid, ""),
            Unusable::Io(_) => (Failure::Io, ""),
        };
        self.error(failure, &format!("{why}{hint}"))
    }

    fn error(&self, failure: Failure, why: &str) -> PublishError {
        let name = self
            .options
            .as_ref()
            .map(|options| options.name.clone())
            .unwrap_or_default();
        // A POSIX name does not show where it leads; a path is its own.
        let path = name.path().display().to_string();
        let place = if path == name.to_string() {
            String::new()
        } else {
            format!(" ({path})")
        };
        PublishError {
            failure,
            message: format!("the ring {name}{place} {why}"),
        }
    }
}

const REPLACED: &str = "is being replaced; the next publish tries again";
const TABLE_FULL: &str = "has no free entry in its writer table; raise ring.writers";
