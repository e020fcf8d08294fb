//! Reading a ring from one position on, in order.
//!
//! askrd's tail also keeps the stream going: a claim that does not become an event within `POISON` is
//! turned into a hole, so that a publisher stopped or killed between claim and commit holds nobody up.
//! Its event is not lost: a live publisher notices at its commit and publishes again.

use std::time::{Duration, Instant};

use crate::event::Event;
use crate::fetch::{self, Damage, Fetch, Look};
use crate::layout::*;
use crate::prim::Ordering::*;
use crate::ring::Ring;
use crate::stamp::{Stamp, State};
use crate::wake;

/// How long a claim may stay open before the reader passes it. Two to five milliseconds: longer than
/// any commit that is not interrupted, short enough that nobody sees the stream pause.
pub const POISON: Duration = Duration::from_millis(3);

/// How long the daemon goes on looking after it read something, before it sleeps: events come in bursts,
/// and a reader that sleeps costs the next publisher a system call (some 1 µs) and the event a wake-up
/// (some 5 µs). Bounds what a lone event costs: 50 µs of one core.
const LINGER: Duration = Duration::from_micros(50);

/// What the reader finds next.
#[derive(Clone, Debug)]
pub enum Step {
    Event {
        seq: u64,
        event: Event,
    },
    /// Nothing more for now.
    Empty,
    /// The positions `from..to` are gone, holes among them: publishers came round before the reader.
    Lapped {
        from: u64,
        to: u64,
    },
    /// A committed record that no publisher of ours wrote; it is skipped.
    Unreadable {
        seq: u64,
        why: Damage,
    },
    /// A record that was not wanted.
    Skipped {
        seq: u64,
    },
    /// The ring is closed and everything in it has been read.
    End,
    /// The ring's words contradict one another; only a broken or hostile writer does that.
    Distrust(Distrust),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    #[error("the tail went backwards")]
    Backwards,
    #[error("the tail jumped ahead of what the slots show")]
    Jumped,
    #[error("a slot is a lap ahead of the tail")]
    SlotAhead,
    #[error("the ring was closed by somebody else")]
    Closed,
    #[error("the header changed")]
    Header,
    #[error("the file was cut short")]
    Truncated,
    #[error("too many unreadable records")]
    Unreadable,
    #[error("an older state of the ring was written into its file")]
    Rewritten,
}

/// A reader's place in one ring.
#[derive(Debug)]
pub struct Tail {
    next: u64,
    /// The first position at or past which the ring holds nothing, once it is closed.
    end: Option<u64>,
    /// Since when the claims below `.1` have been waited for.
    waiting: Option<(Instant, u64)>,
    /// Whether this reader may poison.
    daemon: bool,
    /// It read something since it last lingered.
    fresh: bool,
}

impl Tail {
    /// `daemon`: poisons and uses the wake-up bit. One such reader a ring.
    pub fn new(next: u64, daemon: bool) -> Self {
        Self {
            next,
            end: None,
            waiting: None,
            daemon,
            fresh: false,
        }
    }

    /// The position read next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The daemon closed the ring at `end`.
    pub fn end_at(&mut self, end: u64) {
        self.end = Some(end);
    }

    pub fn step(&mut self, ring: Ring<'_>) -> Step {
        self.step_if(ring, |_| true)
    }

    /// `reads` is asked before the record at a position is read; those it does not want are skipped.
    #[inline]
    pub fn step_if(&mut self, ring: Ring<'_>, mut reads: impl FnMut(u64) -> bool) -> Step {
        loop {
            if self.end.is_some_and(|end| self.next >= end) {
                return Step::End;
            }
            let found = match fetch::look(ring, self.next, Acquire) {
                Look::Done(seen) if reads(self.next) => fetch::read(ring, self.next, seen),
                Look::Done(_) => {
                    self.next += 1;
                    return Step::Skipped { seq: self.next - 1 };
                }
                Look::Hole => Fetch::Hole,
                Look::Overwritten => Fetch::Overwritten,
                Look::Pending(_) => Fetch::Pending,
            };
            match found {
                Fetch::Event(event) => {
                    self.waiting = None;
                    self.fresh = true;
                    self.next += 1;
                    return Step::Event {
                        seq: self.next - 1,
                        event,
                    };
                }
                Fetch::Hole => self.next += 1,
                Fetch::Unreadable(why) => {
                    self.next += 1;
                    return Step::Unreadable {
                        seq: self.next - 1,
                        why,
                    };
                }
                Fetch::Overwritten => return self.lapped(ring),
                Fetch::Pending => match self.pending(ring) {
                    Some(step) => return step,
                    None => continue,
                },
            }
        }
    }

    /// The next slot is of an older lap or BUSY: nothing there yet, or somebody is at it.
    /// None: look again.
    fn pending(&mut self, ring: Ring<'_>) -> Option<Step> {
        let tail = match self.tail(ring) {
            Ok(tail) => tail,
            Err(distrust) => return Some(Step::Distrust(distrust)),
        };
        if tail == self.next {
            self.waiting = None;
            return Some(Step::Empty);
        }
        if tail - self.next > ring.geometry().slots() && !self.believable(ring, tail) {
            return Some(Step::Distrust(Distrust::Jumped));
        }
        let (since, below) = *self.waiting.get_or_insert_with(|| (Instant::now(), tail));
        if self.next >= below {
            // What was waited for is over; this claim came later and has its own time.
            self.waiting = None;
            return None;
        }
        if !self.daemon || since.elapsed() < POISON {
            return Some(Step::Empty);
        }
        poison(
            ring,
            self.next,
            below.min(self.next + ring.geometry().slots()),
        );
        self.waiting = None;
        None
    }

    /// The tail word, if it is one that publishers of ours can have made.
    fn tail(&self, ring: Ring<'_>) -> Result<u64, Distrust> {
        let word = ring.tail().load(Acquire);
        let tail = match self.end {
            // After the close every failed claim moves the low bits on.
            Some(end) => end,
            None if word & CLOSED != 0 && self.daemon => return Err(Distrust::Closed),
            None => word & !CLOSED,
        };
        if tail < self.next {
            return Err(Distrust::Backwards);
        }
        if tail >= ring.max_position() {
            Err(Distrust::Jumped)
        } else {
            Ok(tail)
        }
    }

    /// More than a lap was claimed since the last look. True claims leave stamps: most of the slots
    /// of the last lap must show it. Where few of a sample do, all are counted: each writer may be
    /// stopped between its claim and its stamp, which in a small ring are most of the slots.
    fn believable(&self, ring: Ring<'_>, tail: u64) -> bool {
        const SAMPLES: u64 = 64;
        let slots = ring.geometry().slots();
        let samples = SAMPLES.min(slots);
        let stamped = |position: u64| {
            let stamp = Stamp(ring.slot(position)[S_STAMP].load(Relaxed));
            stamp.lap() >= ring.slot_lap(position)
        };
        let fresh = (1..=samples).filter(|n| stamped(tail - n * slots / samples));
        if fresh.count() as u64 >= samples / 2 {
            return true;
        }
        let open = (tail - slots..tail).filter(|position| !stamped(*position));
        open.count() as u64 <= u64::from(ring.geometry().writers())
    }

    /// Publishers came round. Skips to the oldest position that will still be there a moment later: a
    /// sixty-fourth of a lap past the oldest, or the reader would be lapped again while it copies.
    fn lapped(&mut self, ring: Ring<'_>) -> Step {
        let tail = match self.tail(ring) {
            Ok(tail) => tail,
            Err(distrust) => return Step::Distrust(distrust),
        };
        let slots = ring.geometry().slots();
        // Only this slot, or one whose arena cells were taken: nothing else need be skipped.
        if tail - self.next <= slots {
            if matches!(fetch::look(ring, self.next, Acquire), Look::Overwritten)
                && ring.tail().load(SeqCst) & !CLOSED <= self.next + slots
                && self.end.is_none()
            {
                return Step::Distrust(Distrust::SlotAhead);
            }
            // Where one body's cells were taken, its neighbours' mostly are gone too: reported as one loss.
            let from = self.next;
            self.next += 1;
            while self.next < tail && matches!(fetch::fetch(ring, self.next), Fetch::Overwritten) {
                self.next += 1;
            }
            return Step::Lapped {
                from,
                to: self.next,
            };
        }
        if !self.believable(ring, tail) {
            return Step::Distrust(Distrust::Jumped);
        }
        let from = self.next;
        self.next = tail - slots + slots / 64;
        self.waiting = None;
        Step::Lapped {
            from,
            to: self.next,
        }
    }

    /// Sleeps until something is published, at most `limit`; less when a claim is being waited for.
    pub fn wait(&mut self, ring: Ring<'_>, limit: Duration) {
        self.sleep(limit).sleep(ring);
    }

    /// What `wait` does, for who lets others use this reader meanwhile.
    pub fn sleep(&mut self, limit: Duration) -> Sleep {
        let limit = match self.waiting {
            Some((since, _)) => limit.min(POISON.saturating_sub(since.elapsed())),
            None => limit,
        };
        Sleep {
            next: self.next,
            limit,
            daemon: self.daemon,
            lingers: std::mem::take(&mut self.fresh),
        }
    }
}

/// A reader's sleep. It ends early if others have read on meanwhile.
#[derive(Debug)]
#[must_use]
pub struct Sleep {
    next: u64,
    limit: Duration,
    daemon: bool,
    lingers: bool,
}

impl Sleep {
    pub fn sleep(self, ring: Ring<'_>) {
        let Self { next, limit, .. } = self;
        if limit.is_zero() {
            return;
        }
        if !self.daemon {
            // One bit serves one sleeper; others poll.
            std::thread::sleep(limit.min(Duration::from_millis(5)));
            return;
        }
        if self.lingers && lingered(ring, next, limit.min(LINGER)) {
            return;
        }
        // A pending claim below the tail is waited for like an empty ring: its commit wakes us.
        wake::sleep(ring, limit, || {
            !matches!(fetch::look(ring, next, SeqCst), Look::Pending(_))
        });
    }
}

/// Looks at `position` for a while. True if something is there.
fn lingered(ring: Ring<'_>, position: u64, limit: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        for _ in 0..16 {
            if !matches!(fetch::look(ring, position, Acquire), Look::Pending(_)) {
                return true;
            }
            std::hint::spin_loop();
        }
        // Who was just handed something may be waiting for this very core.
        std::thread::yield_now();
    }
    false
}

/// Turns the unfinished claims in `from..to` into holes. Lossless for live publishers: the commit and
/// this exclude one another, and who loses publishes again at a later position.
pub fn poison(ring: Ring<'_>, from: u64, to: u64) {
    for position in from..to {
        let word = &ring.slot(position)[S_STAMP];
        while let Look::Pending(seen) = fetch::look(ring, position, Acquire) {
            let lap = ring.slot_lap(position);
            let hole = if seen.pinned() {
                // The memory stays its writer's until that writer acknowledges or is proven dead.
                Stamp::new(lap, seen.owner(), State::PinnedHole)
            } else {
                Stamp::new(lap, 0, State::Hole)
            };
            // AcqRel on success: a hole made here may be the next writer's starting point.
            let _ = word.compare_exchange(seen.0, hole.0, AcqRel, Relaxed);
        }
    }
}
