//! The thread that reads the ring: it decodes each event once, enters it into the channel index, and delivers it
//! to the workers that have a subscriber for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::gap::Gap;
use shared::cursor::{Cursor, Epoch};
use shared::event::Event;
use shared::keeper::{Keeper, Next, Sleep};
use shared::published_vector;

use crate::hub::encoded_event::EncodedEvent;
use crate::hub::erased_file;
use crate::hub::hub::Hub;
use crate::hub::inbox::Delivery;
use crate::hub::routes::WorkerSet;
use crate::hub::trace::What;
use crate::process::heartbeats::Beat;
use crate::process::signals::Stops;
use crate::process::{faults, parts, quarantine};

/// The longest sleep, which bounds the time until a stop is noticed and between two heartbeats.
const MAX_SLEEP: Duration = Duration::from_millis(250);
/// Items that are read before others are told of them.
const ROUND: u32 = 64;
/// Bad records are logged at most this often.
const LOG_PAUSE: Duration = Duration::from_secs(10);

pub struct Tailer {
    keeper: Keeper,
    epoch: Epoch,
    hub: Arc<Hub>,
    next_log: Instant,
    unlogged: u64,
    /// Something was read since the last `tell_publishers`.
    read: bool,
    /// Something of this host was read since the last `tell_relay`.
    own: bool,
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
        if hub.origins.is_none() {
            published_vector::clear(keeper.current().ring());
        }
        Self {
            keeper,
            epoch,
            hub,
            read: true,
            own: true,
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

    fn round(&mut self) -> Round {
        match self.read_on(ROUND) {
            true => Round::More,
            false => Round::Empty(self.keeper.sleep(MAX_SLEEP)),
        }
    }

    /// Reads on, at most so many items. False if there is nothing more now.
    fn read_on(&mut self, most: u32) -> bool {
        for _ in 0..most {
            if !self.step() {
                return false;
            }
        }
        self.tell_relay();
        self.tell_publishers();
        true
    }

    /// Logs once that the ring cannot be replaced, and once that it can again.
    fn report(&mut self, beat: &Beat) {
        self.hub.tailed.retired.set(self.keeper.retired_bytes());
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
                self.tell_relay();
                self.tell_publishers();
                return false;
            }
            Next::Event { seq, event } => self.read(seq, event),
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
                self.log_unreadable(seq, &why.to_string());
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
        self.read = true;
        true
    }

    /// Who carries events to other hosts is woken only when they were delivered here, for all that was read meanwhile, and
    /// not for what other hosts published.
    fn tell_relay(&mut self) {
        if std::mem::take(&mut self.own) {
            self.hub.watermarks.announce();
        }
    }

    /// For `askr_cursor()`: how far askrd is with all hosts.
    fn tell_publishers(&mut self) {
        let Some(origins) = &self.hub.origins else {
            return;
        };
        let scanned = self.hub.watermarks.completed();
        if !std::mem::take(&mut self.read) {
            return;
        }
        if let Some(vector) = origins.vector_at(scanned - 1) {
            let ring = self.keeper.current().ring();
            published_vector::publish(ring, origins.own(), &vector, scanned);
        }
    }

    /// An event of this host or of another one, or a gap record.
    fn read(&mut self, seq: u64, event: Event) {
        let (imported, gap) = (event.imported(), event.gap());
        self.own |= imported.is_none();
        let hub = &self.hub;
        let is_known = match (&hub.origins, imported) {
            (Some(origins), Some(at)) => origins.confirm(seq, at, gap),
            (Some(origins), None) => {
                origins.own_event(seq);
                true
            }
            // On one host nobody asks where an event came from.
            (None, _) => gap.is_none(),
        };
        match (is_known, imported, gap) {
            (false, ..) => {
                hub.process.metrics.forged.add(1);
                self.log_unreadable(seq, "nobody has imported it from another host");
                self.lost(seq, seq + 1);
            }
            (true, Some(at), Some(from)) => {
                let events = at.seq.saturating_sub(from);
                let known = Gap::at_most(events).bound();
                hub.process.metrics.imported_gaps.add(known.unwrap_or(1));
                hub.index.blind_of_another_host(seq, events);
                self.deliver_lost(seq, seq + 1, events);
            }
            _ => {
                let at = Cursor {
                    epoch: self.epoch,
                    seq,
                };
                self.event(EncodedEvent::new(at.epoch, seq, event, &hub.process.memory));
            }
        }
    }

    /// The order of these steps makes the seam exact: index, `start`, routes, delivery, `complete`.
    fn event(&self, live: EncodedEvent) {
        faults::at("tailer-event", live.event.data());
        let (hub, seq) = (&self.hub, live.seq());
        let mut live = match live.event.is_of_topics() {
            true => self.enter_topics(live),
            false => {
                self.enter(&live);
                hub.watermarks.start(seq + 1);
                live
            }
        };
        hub.busy_channels
            .count(live.event.channels().chain(live.event.topics()));
        let mut workers = hub.routes.workers(live.names());
        if hub.traces.is_on() {
            live.traced = hub.traces.among(live.event.channels());
            self.trace(&live, workers);
        }
        if workers != 0 {
            hub.tailed.deliveries.add(u64::from(workers.count_ones()));
            // Its cursor's text is made for those who are sent it, and for nobody else.
            let sent = hub.sent_cursor(live.cursor);
            let live = Arc::new(live.sent_as(sent));
            while workers != 0 {
                let worker = workers.trailing_zeros() as usize;
                hub.inboxes[worker].push(Delivery::Event(live.clone()));
                workers &= workers - 1;
            }
        }
        hub.watermarks.complete(seq + 1);
        hub.tailed.events.add(1);
    }

    fn enter(&self, live: &EncodedEvent) {
        let (hub, seq) = (&self.hub, live.seq());
        if hub.index.erased.concerns(seq) {
            return self.enter_in_part(live);
        }
        let time = seconds(live.event.published_ns());
        hub.index
            .push(seq, live.event.channels(), live.event.id(), time);
        hub.last_events.put(live);
    }

    /// Enters an event of topics by the names of all known matchers. A pattern that comes to be known meanwhile waits until
    /// its first subscriber would not take the event for one to come.
    fn enter_topics(&self, live: EncodedEvent) -> EncodedEvent {
        let (hub, seq) = (&self.hub, live.seq());
        let known = hub.topics.known();
        let names = match hub.topics.is_forged(&live.event) {
            true => Box::default(),
            false => known.names(live.event.topics()),
        };
        let live = live.found_by(names);
        let time = seconds(live.event.published_ns());
        hub.index.push(seq, live.names(), live.event.id(), time);
        hub.watermarks.start(seq + 1);
        drop(known);
        if let Some(id) = live.event.id() {
            hub.topics.ids.put(seq, id);
        }
        live
    }

    #[cold]
    fn trace(&self, live: &EncodedEvent, workers: WorkerSet) {
        let what = || What::Read {
            published: live.event.published_ns(),
            bytes: live.event.data().len(),
            channels: live.event.channels().count(),
            workers: (0..WorkerSet::BITS)
                .filter(|worker| workers & (1 << worker) != 0)
                .collect(),
        };
        for channel in &live.traced {
            self.hub.traces.note(channel, Some(live.cursor), what());
        }
    }

    /// Enters an event for those of its channels on which it was not erased: it is read again after a restart, or was
    /// being published meanwhile. What askrd was killed before it could do is done now: an event that is erased on all
    /// of its channels is taken out of the ring.
    fn enter_in_part(&self, live: &EncodedEvent) {
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
    fn lost(&mut self, from: u64, to: u64) {
        self.own = true;
        if let Some(origins) = &self.hub.origins {
            origins.lost(from, to);
        }
        self.hub.index.blind(from, to);
        self.deliver_lost(from, to, to - from);
    }

    /// What was at `from..to` may have been as many events of any channel; the index knows.
    fn deliver_lost(&self, from: u64, to: u64, events: u64) {
        self.hub.watermarks.start(to);
        let gap = Gap::at_most(events);
        self.deliver_to_all(Delivery::Lost { from, to, gap });
        self.hub.watermarks.complete(to);
    }

    fn log_unreadable(&mut self, seq: u64, why: &str) {
        self.unlogged += 1;
        if Instant::now() >= self.next_log {
            let count = self.unlogged;
            tracing::warn!("{count} unreadable records in the ring, the last at {seq}: {why}");
            (self.next_log, self.unlogged) = (Instant::now() + LOG_PAUSE, 0);
        }
    }

    fn changed(&mut self, fresh_epoch: bool, reason: &str) {
        if fresh_epoch {
            let epoch = self.keeper.current().epoch();
            self.hub.index.erased.restart(epoch);
            let _ = std::fs::remove_file(self.keeper.name().beside(erased_file::SUFFIX));
        }
        if fresh_epoch {
            // What the former ring had that nobody has read: its end is not believed.
            if let Some(origins) = &self.hub.origins {
                origins.lost(self.hub.watermarks.completed(), Cursor::END);
            }
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
        if let Some(origins) = &self.hub.origins {
            origins.restart(self.epoch, first);
        }
        self.hub.index.restart(first);
        self.hub.topics.restart(&self.hub.index);
        self.hub.last_events.clear();
        self.hub.watermarks.start(first);
        self.deliver_to_all(Delivery::Replaced {
            epoch: self.epoch,
            first,
        });
        self.hub.watermarks.complete(first);
        self.own = true;
    }

    fn deliver_to_all(&self, item: Delivery) {
        for inbox in &self.hub.inboxes {
            inbox.push(item.clone());
        }
    }
}

enum Round {
    More,
    /// How long to sleep; not at all, if the keeper has something to do.
    Empty(Option<Sleep>),
}

/// A tailer that has a thread of its own, and is lent to who has just published something here: it reads on at once, where
/// the thread would have to be woken first.
#[derive(Clone)]
pub struct LentTailer(Arc<Mutex<Option<Tailer>>>);

impl LentTailer {
    pub fn new(tailer: Tailer) -> Self {
        Self(Arc::new(Mutex::new(Some(tailer))))
    }

    /// Continues in a thread of its own until `stop`.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(self, stop: Arc<AtomicBool>, beat: Beat) -> io::Result<JoinHandle<()>> {
        parts::thread("tailer", move || {
            let mut rounds = 0u32;
            while !stop.load(Relaxed) {
                rounds = rounds.wrapping_add(1);
                let slept = match self.with(|tailer| tailer.round()) {
                    Round::More => false,
                    Round::Empty(sleep) => {
                        if let Some(sleep) = sleep {
                            sleep.sleep();
                        }
                        true
                    }
                };
                if slept || rounds.is_multiple_of(16) {
                    beat.beat();
                    self.with(|tailer| {
                        tailer.keeper.tick_if_due();
                        tailer.hub.topics.sweep(&tailer.hub.index);
                        tailer.report(&beat);
                    });
                }
            }
            // The ring is given up here, whoever it was lent to.
            drop(self.0.lock().take());
            Ok(())
        })
    }

    /// Reads what was just published, unless the thread is at it, which then finds it. True if it must be woken for what is
    /// left.
    #[must_use]
    pub fn read_on(&self, most: u32) -> bool {
        let Some(mut tailer) = self.0.try_lock() else {
            return false;
        };
        let Some(tailer) = tailer.as_mut() else {
            return false;
        };
        // A claim that never becomes an event is passed by the thread, which must not sleep for long meanwhile.
        tailer.read_on(most) || tailer.keeper.position() < tailer.keeper.current().head()
    }

    fn with<T>(&self, run: impl FnOnce(&mut Tailer) -> T) -> T {
        run(self.0.lock().as_mut().expect("its thread runs"))
    }
}

/// Since 1970; until 2106.
fn seconds(ns: u64) -> u32 {
    (ns / 1_000_000_000).try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use shared::event::EventRef;
    use shared::publisher::{AttachOptions, Place, Publisher};
    use shared::spec::RingSpec;

    use super::*;
    use crate::engine::seam;
    use crate::hub::channel_index::Bounds;
    use crate::hub::event_store::RingStore;
    use crate::hub::inbox::Batch;
    use crate::hub::origins::Origins;

    const OTHER: Epoch = Epoch([9; 6]);

    struct Host {
        _dir: tempfile::TempDir,
        tailer: Tailer,
        hub: Arc<Hub>,
        publisher: Publisher,
    }

    impl Host {
        fn new() -> Self {
            let dir = tempfile::tempdir_in("/dev/shm").unwrap();
            let name: shared::name::RingName =
                format!("{}/ring", dir.path().display()).parse().unwrap();
            let spec = RingSpec {
                name: name.clone(),
                slots: 64,
                slot_size: 128,
                arena: 64 << 10,
                writers: 16,
                ..RingSpec::default()
            };
            let keeper = Keeper::start(spec).unwrap();
            let mut publisher = Publisher::new();
            publisher.configure(AttachOptions {
                name,
                ..AttachOptions::default()
            });
            let bounds = Bounds {
                entries: 1000,
                channels: 1000,
                marks: 64,
            };
            let store = RingStore::new(keeper.segments());
            let hub = seam::hub(Box::new(store.clone()), 100, bounds, 1 << 20);
            let mut hub = Arc::into_inner(hub).expect("nobody else has it");
            let (epoch, first) = (keeper.current().epoch(), keeper.position());
            let origins = Origins::new(epoch, first - 1, first, 1000);
            assert!(origins.import().meet(OTHER.into(), 0, 0));
            hub.origins = Some(Arc::new(origins));
            hub.segments = store;
            hub.index.restart(first);
            let hub = Arc::new(hub);
            Self {
                _dir: dir,
                tailer: Tailer::new(keeper, hub.clone()),
                hub,
                publisher,
            }
        }

        fn origins(&self) -> &Origins {
            self.hub.origins.as_deref().unwrap()
        }

        fn publish(&mut self, event: &EventRef<'_>) -> Cursor {
            self.publisher.publish(event).unwrap()
        }

        fn import(&mut self, seq: u64, key: Option<&[u8]>) {
            let at = self.publish(&EventRef {
                key,
                ..imported(seq)
            });
            assert!(self.origins().import().event(OTHER.into(), seq, at));
        }

        /// What is lost by what the tailer reads now.
        fn lost(&mut self) -> u64 {
            while self.tailer.step() {}
            let mut batch = Batch::default();
            self.hub.inboxes[0].take(&mut batch);
            let lost = batch.items.iter().map(|item| match item {
                Delivery::Lost { gap, .. } => gap.bound().unwrap(),
                _ => 0,
            });
            lost.sum()
        }

        fn have(&self) -> Option<u64> {
            let last = self.hub.watermarks.completed() - 1;
            self.origins().vector_at(last).unwrap().get(OTHER.into())
        }
    }

    fn imported(seq: u64) -> EventRef<'static> {
        EventRef {
            channels: &[b"a"],
            imported: Some(Cursor { epoch: OTHER, seq }),
            data: b"x",
            ..EventRef::EMPTY
        }
    }

    #[test]
    fn what_nobody_has_imported_is_unreadable_and_silences_no_host() {
        let mut host = Host::new();
        host.import(7, None);
        assert_eq!((host.lost(), host.have()), (0, Some(7)));
        // A copy, and events of the future: any publisher can write them.
        for seq in [7, 8, 1 << 40] {
            host.publish(&imported(seq));
        }
        host.publish(&EventRef {
            channels: &[],
            data: b"",
            gap: Some(7),
            ..imported(1 << 50)
        });
        assert_eq!((host.lost(), host.have()), (4, Some(7)));
        assert_eq!(host.hub.process.metrics.forged.get(), 4);
        host.import(8, None);
        assert_eq!((host.lost(), host.have()), (0, Some(8)));
    }

    #[test]
    fn a_gap_record_is_as_many_events_lost_as_it_says() {
        let mut host = Host::new();
        host.import(7, None);
        let at = host.publish(&EventRef {
            channels: &[],
            data: b"",
            gap: Some(7),
            ..imported(20)
        });
        assert!(host.origins().import().gap(OTHER.into(), 7, 20, at));
        assert_eq!((host.lost(), host.have()), (13, Some(20)));
        // Also for who comes later.
        let plan = host.hub.index.plan(&["a"], at.seq, at.seq + 1, 10, 0);
        assert_eq!(plan.gap, Gap::at_most(13));
        assert_eq!(host.hub.process.metrics.imported_gaps.get(), 13);
    }

    #[test]
    fn an_imported_event_that_repeats_a_key_or_is_erased_counts_as_had() {
        let mut host = Host::new();
        host.publish(&EventRef {
            key: Some(b"k"),
            imported: None,
            ..imported(0)
        });
        host.import(7, Some(b"k"));
        assert_eq!(host.lost(), 0);
        host.tailer.pass_holes();
        assert_eq!(host.have(), Some(7));
        host.import(8, None);
        assert_eq!(host.lost(), 0);
        let at = host.hub.watermarks.completed() - 1;
        let epoch = host.tailer.epoch;
        host.hub.segments.erase(Cursor { epoch, seq: at });
        assert_eq!(host.have(), Some(8));
    }

    #[test]
    fn a_page_has_the_place_of_all_hosts_once_everything_was_read() {
        let mut host = Host::new();
        let own = host.publish(&EventRef {
            imported: None,
            ..imported(0)
        });
        host.import(7, None);
        host.lost();
        let expected = [(own.epoch.into(), own.seq), (OTHER.into(), 7)];
        let place = host.publisher.place().unwrap();
        assert_eq!(place, Place::Vector(expected.into_iter().collect()));
    }

    #[test]
    fn who_imports_reads_on_where_the_tailer_is_asleep() {
        let mut host = Host::new();
        host.lost();
        let (hub, mut publisher) = (host.hub.clone(), std::mem::take(&mut host.publisher));
        let lent = LentTailer::new(host.tailer);
        let mut publish = || {
            let event = EventRef {
                imported: None,
                ..imported(0)
            };
            publisher.publish_unwoken(&event).unwrap().seq
        };
        let first = publish();
        assert!(!lent.read_on(10), "all of it was read");
        assert_eq!(hub.watermarks.completed(), first + 1);
        let last = (0..3).map(|_| publish()).last().unwrap();
        assert!(lent.read_on(2), "the thread has to read the rest");
        assert_eq!(hub.watermarks.completed(), last);
        let thread = lent.0.lock();
        assert!(!lent.read_on(10), "its thread is at it");
        assert_eq!(hub.watermarks.completed(), last);
        drop(thread);
        assert!(!lent.read_on(10));
        assert_eq!(hub.watermarks.completed(), last + 1);
        drop(lent.0.lock().take());
        publish();
        assert!(!lent.read_on(10), "the ring was given up");
    }

    #[test]
    fn the_relay_is_woken_for_what_is_published_here_once_it_was_delivered() {
        let mut host = Host::new();
        host.lost();
        host.tailer.tell_relay();
        let is_own = |host: &Host| host.tailer.own;
        assert!(!is_own(&host));
        host.import(7, None);
        assert!(host.tailer.step() && !is_own(&host));
        host.publish(&EventRef {
            imported: None,
            ..imported(0)
        });
        assert!(host.tailer.step() && is_own(&host));
        assert!(!host.tailer.step() && !is_own(&host));
        host.publish(&imported(9));
        assert!(host.tailer.step() && is_own(&host), "what is lost, too");
    }
}
