//! The thread that reads the ring: it decodes each event once, enters it into the channel index, and delivers it
//! to the workers that have a subscriber for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::gap::Gap;
use shared::cursor::{Cursor, Epoch};
use shared::keeper::{Keeper, Next};

use crate::hub::encoded_event::EncodedEvent;
use crate::hub::erased_file;
use crate::hub::hub::Hub;
use crate::hub::inbox::Delivery;
use crate::process::heartbeats::Beat;
use crate::process::signals::Stops;
use crate::process::{faults, parts, quarantine};

/// The longest sleep, which bounds the time until a stop is noticed and between two heartbeats.
const MAX_SLEEP: Duration = Duration::from_millis(250);
/// Bad records are logged at most this often.
const LOG_PAUSE: Duration = Duration::from_secs(10);

pub struct Tailer {
    keeper: Keeper,
    epoch: Epoch,
    hub: Arc<Hub>,
    next_log: Instant,
    unlogged: u64,
    /// Failed replacements of the ring that were counted, and whether trouble with the ring was reported.
    failures: u64,
    troubled: bool,
}

impl Tailer {
    pub fn new(keeper: Keeper, hub: Arc<Hub>) -> Self {
        let epoch = keeper.current().epoch();
        if let Some(why) = keeper.given_up() {
            let ring = keeper.name();
            tracing::error!("the ring {ring} begins a new epoch, its history is lost: {why}");
            hub.process.metrics.replaced.add(1);
        }
        Self {
            keeper,
            epoch,
            hub,
            next_log: Instant::now(),
            unlogged: 0,
            failures: 0,
            troubled: false,
        }
    }

    /// Reads what the ring holds before askrd listens: a client that resumes must not be ahead of this daemon.
    pub fn read_history(&mut self, stops: &Stops) {
        // Publishers may write as fast as this reads: only what was there at the start is waited for.
        let end = self.keeper.current().head();
        // A claim that never becomes an event is skipped within milliseconds; this bounds a broken ring.
        let deadline = Instant::now() + MAX_SLEEP * 4;
        while self.keeper.position() < end && !stops.asked() {
            if !self.step() {
                if Instant::now() >= deadline {
                    tracing::warn!("the ring's last events cannot be read yet");
                    return;
                }
                self.keeper.wait(MAX_SLEEP);
            }
        }
    }

    /// Continues in a thread of its own until `stop`.
    pub fn start(mut self, stop: Arc<AtomicBool>, beat: Beat) -> io::Result<JoinHandle<()>> {
        parts::thread("tailer", move || {
            let mut steps = 0u32;
            while !stop.load(Relaxed) {
                let more = self.step();
                steps = steps.wrapping_add(1);
                if !more {
                    self.keeper.wait(MAX_SLEEP);
                }
                if !more || steps.is_multiple_of(1024) {
                    beat.beat();
                    self.report(&beat);
                }
            }
            Ok(())
        })
    }

    /// Logs once that the ring cannot be replaced, and once that it can again.
    fn report(&mut self, beat: &Beat) {
        let (trouble, failures) = (self.keeper.trouble(), self.keeper.failures());
        if failures == self.failures && trouble.is_some() == self.troubled {
            return;
        }
        let metrics = &self.hub.process.metrics;
        match (self.troubled, trouble) {
            (false, Some(why)) => {
                metrics.rings_in_trouble.add(1);
                tracing::error!("{why}; this is tried again until it succeeds");
            }
            (true, None) => {
                metrics.rings_in_trouble.sub(1);
                let ring = self.keeper.name();
                tracing::info!("publishers can reach the ring {ring} again");
            }
            _ => {}
        }
        metrics.replacements_failed.add(failures - self.failures);
        self.troubled = trouble.is_some();
        self.failures = failures;
        beat.set_trouble(trouble.map(str::to_owned));
    }

    /// Handles one item of the ring. False if there is none now.
    fn step(&mut self) -> bool {
        let epoch = self.epoch;
        let mut in_hand = None;
        let next = self.keeper.step_if(|seq| {
            let event = Cursor { epoch, seq };
            let reads = !quarantine::skips(event);
            if reads {
                in_hand = Some(quarantine::hold(event));
            }
            reads
        });
        match next {
            Next::Empty => {
                self.pass_holes();
                return false;
            }
            Next::Event { seq, event } => self.event(
                seq,
                EncodedEvent::new(self.epoch, seq, event, &self.hub.process.memory),
            ),
            Next::Lapped { from, to } => {
                self.hub.process.metrics.lapped.add(to - from);
                self.lost(from, to);
            }
            Next::Unreadable { seq, why } => {
                let metrics = &self.hub.process.metrics;
                if why.is_unsupported() {
                    metrics.unsupported.add(1);
                } else {
                    metrics.unreadable.add(1);
                }
                self.unlogged += 1;
                if Instant::now() >= self.next_log {
                    tracing::warn!(
                        "{} unreadable records in the ring, the last at {seq}: {why}",
                        self.unlogged
                    );
                    (self.next_log, self.unlogged) = (Instant::now() + LOG_PAUSE, 0);
                }
                self.lost(seq, seq + 1);
            }
            // A hole now: nobody finds it, and nobody lost anything.
            Next::Repeated { .. } => self.hub.process.metrics.repeated.add(1),
            Next::Skipped { seq } => {
                self.hub.process.metrics.quarantined.add(1);
                self.lost(seq, seq + 1);
            }
            Next::Changed {
                fresh_epoch,
                reason,
            } => self.changed(fresh_epoch, &reason),
        }
        drop(in_hand);
        true
    }

    /// The order of these steps makes the seam exact: index, `start`, routes, delivery, `complete`.
    fn event(&self, seq: u64, live: EncodedEvent) {
        faults::at("tailer-event", live.event.data());
        let hub = &self.hub;
        let live = Arc::new(live);
        if hub.index.erased.concerns(seq) {
            self.enter_in_part(&live);
        } else {
            let time = seconds(live.event.published_ns());
            hub.index
                .push(seq, live.event.channels(), live.event.id(), time);
            hub.last_events.put(&live);
        }
        hub.watermarks.start(seq + 1);
        let mut workers = hub.routes.workers(live.event.channels());
        if workers != 0 {
            hub.tailed.deliveries.add(u64::from(workers.count_ones()));
            while workers != 0 {
                let worker = workers.trailing_zeros() as usize;
                hub.inboxes[worker].push(Delivery::Event(live.clone()));
                workers &= workers - 1;
            }
        }
        hub.watermarks.complete(seq + 1);
        hub.tailed.events.add(1);
    }

    /// Enters an event for those of its channels on which it was not erased: it is read again after a restart, or was
    /// being published meanwhile. What askrd was killed before it could do is done now: an event that is erased on all
    /// of its channels is taken out of the ring.
    fn enter_in_part(&self, live: &Arc<EncodedEvent>) {
        let (hub, seq) = (&self.hub, live.seq());
        let hidden = |name: &&str| hub.index.erased.hides(name, seq);
        let (erased, left): (Vec<&str>, Vec<&str>) = live.event.channels().partition(hidden);
        let time = seconds(live.event.published_ns());
        hub.index
            .push(seq, left.iter().copied(), live.event.id(), time);
        hub.last_events.put(live);
        for name in &erased {
            hub.last_events.erase(name, seq);
        }
        if left.is_empty() && !erased.is_empty() {
            hub.segments.erase(live.cursor);
        }
    }

    /// Where there are no events, nothing is awaited: a cursor that lies behind them is none of the future.
    fn pass_holes(&self) {
        let (next, watermarks) = (self.keeper.position(), &self.hub.watermarks);
        if next > watermarks.completed() {
            watermarks.start(next);
            watermarks.complete(next);
        }
    }

    /// The channels of these positions are unknown: a gap is reported to all streams.
    fn lost(&self, from: u64, to: u64) {
        let hub = &self.hub;
        hub.index.blind(from, to);
        hub.watermarks.start(to);
        self.deliver_to_all(Delivery::Lost {
            to,
            gap: Gap::at_most(to - from),
        });
        hub.watermarks.complete(to);
    }

    fn changed(&mut self, fresh_epoch: bool, reason: &str) {
        if fresh_epoch {
            let epoch = self.keeper.current().epoch();
            self.hub.index.erased.restart(epoch);
            let _ = std::fs::remove_file(self.keeper.name().beside(erased_file::SUFFIX));
        }
        self.hub.segments.set(self.keeper.segments());
        if !fresh_epoch {
            tracing::info!("the ring's segments changed: {reason}");
            return;
        }
        tracing::error!(
            "the ring could not be trusted and was replaced, its history is lost: {reason}"
        );
        self.hub.process.metrics.replaced.add(1);
        self.epoch = self.keeper.current().epoch();
        let first = self.keeper.position();
        self.hub.index.restart(first);
        self.hub.last_events.clear();
        self.hub.watermarks.start(first);
        self.deliver_to_all(Delivery::Replaced {
            epoch: self.epoch,
            first,
        });
        self.hub.watermarks.complete(first);
    }

    fn deliver_to_all(&self, item: Delivery) {
        for inbox in &self.hub.inboxes {
            inbox.push(item.clone());
        }
    }
}

/// Since 1970; until 2106.
fn seconds(ns: u64) -> u32 {
    (ns / 1_000_000_000).try_into().unwrap_or(u32::MAX)
}
