//! What other hosts published, into this host's ring: in small batches, each written down before and after, and noted while
//! the tailer waits for it, so that nobody else can pass something off as an import.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use cluster::import::Import;
use shared::cursor::Cursor;
use shared::event::{Event, EventRef};
use shared::publisher::{Failure, PublishError};
use shared::vector::OriginId;

use crate::cluster::node::Node;
use crate::hub::import_journal::Record;
use crate::process::faults;

/// Imports of one batch, and their bytes if there is more than one.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// How long to wait for the ring.
const PAUSE: Duration = Duration::from_millis(1);
const LONG_PAUSE: Duration = Duration::from_millis(100);
/// Of the ring's slots: how far the tailer may be behind.
const BEHIND: u64 = 8;
/// The same sentence is logged at most this often.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// How a batch went.
enum Batch {
    All,
    /// The ring does not take the next one now.
    Stuck(PublishError),
    /// The ring is another one now.
    Replaced,
}

impl Node {
    /// Publishes what is handed over, for as long as the process lives.
    pub async fn publish(&self) -> std::io::Result<()> {
        let mut next_log = Instant::now();
        loop {
            if self.pending.borrow().is_empty() {
                self.less_pending.notify_waiters();
                self.more_pending.notified().await;
                continue;
            }
            // Faster than the tailer reads, they would overwrite one another.
            while self.is_tailer_behind() {
                tokio::time::sleep(PAUSE).await;
            }
            match self.publish_batch() {
                Batch::All => tokio::task::yield_now().await,
                // Whoever keeps the connection begins anew, and drops what is pending.
                Batch::Replaced => tokio::time::sleep(LONG_PAUSE).await,
                Batch::Stuck(why) => {
                    self.seen.counts.stalls.add(1);
                    if Instant::now() >= next_log {
                        tracing::warn!("events of other hosts wait for the ring: {why}");
                        next_log = Instant::now() + LOG_PAUSE;
                    }
                    tokio::time::sleep(LONG_PAUSE).await;
                }
            }
        }
    }

    /// Waits until nothing is pending.
    pub async fn published_all(&self) {
        loop {
            let done = self.less_pending.notified();
            if self.pending.borrow().is_empty() {
                return;
            }
            done.await;
        }
    }

    fn is_tailer_behind(&self) -> bool {
        let hub = &self.app.hub;
        let behind = hub
            .segments
            .head()
            .saturating_sub(hub.watermarks.completed());
        behind > self.settings.slots / BEHIND
    }

    fn publish_batch(&self) -> Batch {
        if self.same_ring().is_err() {
            return Batch::Replaced;
        }
        let mut pending = self.pending.borrow_mut();
        let len = length(&pending);
        // Whatever comes now is behind it.
        let after = self.app.hub.segments.head().saturating_sub(1);
        let intents = pending.iter().take(len);
        let before: Vec<Record> = intents.filter_map(|import| intent(import, after)).collect();
        if !before.is_empty() {
            self.write(&before);
        }
        let mut notes = Vec::new();
        let mut published_any = false;
        let outcome = {
            let import = self.origins.import();
            let mut publisher = self.publisher.borrow_mut();
            let mut outcome = Batch::All;
            for _ in 0..len {
                let Some(next) = pending.front() else {
                    break;
                };
                let done = match next {
                    Import::Met { epoch, start, base } => {
                        let _ = import.meet((*epoch).into(), *start, *base);
                        self.published.borrow_mut().insert(epoch.0, (*start, *base));
                        Ok(None)
                    }
                    Import::Event { at, from, event } => {
                        let channels = self.unerased(event, *at);
                        let published = match &channels {
                            None => Ok(None),
                            Some(channels) => with_event(event, channels, Some(*at), |event| {
                                publisher.publish_unwoken(event).map(Some)
                            }),
                        };
                        match published {
                            Ok(None) => {
                                import.through(OriginId::from(at.epoch), at.seq);
                                Ok(Some(Record::Through { at: *at }))
                            }
                            Ok(Some(place)) => {
                                published_any = true;
                                faults::at("import-published", event.data());
                                let noted = import.event(OriginId::from(at.epoch), at.seq, place);
                                let local = place.seq;
                                Ok(noted.then_some(Record::Event { at: *at, local }))
                            }
                            Err(why) if lasts(why.failure) => {
                                published_any = true;
                                self.publish_gap(&mut publisher, &import, *at, *from)
                            }
                            Err(why) => Err(why),
                        }
                    }
                    Import::Gap { at, from, .. } => {
                        published_any = true;
                        self.publish_gap(&mut publisher, &import, *at, *from)
                    }
                    Import::Through { at } => {
                        import.through(OriginId::from(at.epoch), at.seq);
                        Ok(Some(Record::Through { at: *at }))
                    }
                    Import::Own { position } => {
                        self.journal.borrow_mut().reached(*position);
                        Ok(None)
                    }
                    Import::Retired { origin } => {
                        import.leave(*origin);
                        Ok(self.retired(*origin))
                    }
                };
                match done {
                    Ok(record) => {
                        if let Some(at) = reached(next) {
                            let mut published = self.published.borrow_mut();
                            if let Some(known) = published.get_mut(&at.epoch.0) {
                                known.1 = known.1.max(at.seq);
                            }
                        }
                        notes.extend(record);
                        pending.pop_front();
                    }
                    Err(why) => {
                        outcome = Batch::Stuck(why);
                        break;
                    }
                }
            }
            outcome
        };
        drop(pending);
        // Nobody is woken for what this host published itself.
        if published_any && self.tailer.read_on(2 * BATCH as u32) {
            self.publisher.borrow_mut().wake();
        }
        if !notes.is_empty() {
            self.write(&notes);
        }
        outcome
    }

    /// The channels of an event for which it was not erased meanwhile. None: it was erased for all of them.
    fn unerased<'a>(&self, event: &'a Event, at: Cursor) -> Option<Vec<&'a [u8]>> {
        let hub = &self.app.hub;
        let origin = OriginId::from(at.epoch);
        let is_left = |name: &&str| !hub.index.erased.refuses(name, origin, at.seq);
        let all = event.channels().count();
        let left: Vec<&[u8]> = event
            .channels()
            .filter(is_left)
            .map(str::as_bytes)
            .collect();
        let erased = (all - left.len()) as u64;
        if erased > 0 {
            hub.process.metrics.erased.add(erased);
        }
        (!left.is_empty() || erased == 0).then_some(left)
    }

    fn publish_gap(
        &self,
        publisher: &mut shared::publisher::Publisher,
        import: &crate::hub::origins::Import<'_>,
        at: Cursor,
        from: u64,
    ) -> Result<Option<Record>, PublishError> {
        let place = publisher.publish_unwoken(&EventRef {
            imported: Some(at),
            gap: Some(from),
            ..EventRef::default()
        })?;
        let noted = import.gap(OriginId::from(at.epoch), from, at.seq, place);
        let local = place.seq;
        Ok(noted.then_some(Record::Gap { at, local, from }))
    }

    /// A journal that cannot be written does not stop anything: after a kill, an event may then come twice.
    pub fn write(&self, records: &[Record]) {
        let oldest = self.app.hub.segments.oldest();
        if let Err(why) = self.journal.borrow_mut().write(records, oldest) {
            self.seen.counts.unnoted.add(1);
            tracing::warn!("what is imported cannot be written down beside the ring: {why}");
        }
    }
}

/// How many of what is pending make up a batch.
fn length(pending: &VecDeque<Import>) -> usize {
    let mut bytes = 0;
    let fits = |import: &&Import| {
        bytes += match import {
            Import::Event { event, .. } => event.size(),
            _ => 64,
        };
        bytes <= BATCH_BYTES
    };
    pending.iter().take(BATCH).take_while(fits).count().max(1)
}

/// What is written down before it is published, behind a place.
fn intent(import: &Import, after: u64) -> Option<Record> {
    match import {
        Import::Met { epoch, start, base } => Some(Record::Met {
            epoch: *epoch,
            start: *start,
            base: *base,
        }),
        Import::Event { at, .. } | Import::Gap { at, .. } => {
            let at = *at;
            Some(Record::Intent { at, after })
        }
        _ => None,
    }
}

/// Up to where its origin was published with it.
fn reached(import: &Import) -> Option<Cursor> {
    match import {
        Import::Event { at, .. } | Import::Gap { at, .. } | Import::Through { at } => Some(*at),
        _ => None,
    }
}

/// Whether this ring will never take the event.
fn lasts(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::TooLarge | Failure::Invalid | Failure::Unsupported
    )
}

/// The event without the field that says that it was imported.
pub fn as_published(event: &Event) -> Option<Event> {
    let channels: Vec<&[u8]> = event.channels().map(str::as_bytes).collect();
    with_event(event, &channels, None, |plain| {
        plain.to_event(event.published_ns()).ok()
    })
}

fn with_event<T>(
    event: &Event,
    channels: &[&[u8]],
    imported: Option<Cursor>,
    make: impl FnOnce(&EventRef<'_>) -> T,
) -> T {
    let topics: Vec<&[u8]> = event.topics().map(str::as_bytes).collect();
    make(&EventRef {
        channels,
        topics: &topics,
        private: event.is_private(),
        event: event.event().map(str::as_bytes),
        id: event.id().map(str::as_bytes),
        retry: event.retry(),
        except: event.except().map(str::as_bytes),
        key: event.key().map(str::as_bytes),
        imported,
        origin: event.origin(),
        data: event.data(),
        ..EventRef::default()
    })
}
