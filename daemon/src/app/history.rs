//! A channel's history: the events that the ring still holds, one page at a time. Page after page is what a replay
//! gives, and the gaps are those of a replay: the channel index plans both (`docs/HISTORY.md`).
//!
//! A page is made in bounded steps between which others have their turn, and never holds anybody up. What the index
//! has forgotten is looked for in the ring, from the client's share of that, as for a replay.

use std::time::Duration;

use protocol::gap::Gap;
use protocol::history::{Form, Rows, Window};
use shared::cursor::{Cursor, Epoch};
use shared::event::Event;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::hub::channel_index::Candidates;
use crate::hub::hub::Hub;
use crate::process::budget::{Charge, Held};
use crate::process::client_key::ClientKey;
use crate::process::scan_shares::READ;
use crate::process::{faults, quarantine};

/// Positions looked up at a time.
const PLAN: usize = 64;
/// How long a page waits for its client's share of looking through the ring, and how often it looks whether there is
/// some.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// How often it is looked at first whether the tailer has come far enough, and then once a pause.
const LOOKS: u32 = 64;
const MOMENT: Duration = Duration::from_millis(1);

/// Whose page it is, and of what.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub channel: &'a str,
    pub window: Window,
    /// Whose share of scanning the ring is spent.
    pub client: ClientKey,
    /// Bytes of the page at most; one event always fits.
    pub bytes: usize,
    pub form: Form,
}

/// Why there is no page now. The client is to come back in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error("there is no memory for it at the moment")]
    Memory,
    #[error("this client has had the ring searched too often")]
    Scanning,
}

/// A page: see `protocol::history`.
///
/// # Errors
/// If nothing of it could be made.
pub async fn page(hub: &Hub, ask: &Ask<'_>) -> Result<Held, Busy> {
    let metrics = &hub.process.metrics;
    if hub.process.memory.is_tight() {
        metrics.history_busy.add(1);
        return Err(Busy::Memory);
    }
    read_up_to_now(hub, Duration::from_millis(200)).await;
    let mut page = Page {
        reader: Reader::new(hub, ask.channel, Some(ask.client)),
        ask,
        rows: Rows::new(ask.form),
        gap: Gap::NONE,
        charge: hub.process.memory.charge(0),
    };
    let made = match ask.window.is_backward() {
        true => page.backward().await,
        false => page.forward().await,
    };
    let next = made.inspect_err(|_| metrics.history_busy.add(1))?;
    metrics.history_pages.add(1);
    metrics.history_events.add(page.rows.len() as u64);
    let next = next.map(|seq| page.reader.cursor(seq));
    let json = page.rows.page(ask.window.is_backward(), &page.gap, next);
    Ok(hub.process.memory.hold(json))
}

/// Waits until the tailer has read what was published before: whoever asks may have published it.
pub async fn read_up_to_now(hub: &Hub, patience: Duration) {
    let now = hub.segments.head();
    let pauses = (patience.as_millis() / MOMENT.as_millis()) as u32;
    for look in 0..LOOKS + pauses {
        if hub.watermarks.completed() >= now {
            return;
        }
        match look < LOOKS {
            true => yield_now().await,
            false => sleep(MOMENT).await,
        }
    }
}

struct Page<'a> {
    reader: Reader<'a>,
    ask: &'a Ask<'a>,
    rows: Rows,
    gap: Gap,
    /// Memory of the rows.
    charge: Charge,
}

/// The position of the cursor for the next page. None: there is no more.
type Next = Result<Option<u64>, Busy>;

impl Page<'_> {
    /// From `since` on.
    async fn forward(&mut self) -> Next {
        let Some(end) = self.end() else {
            return Ok(None);
        };
        let begin = self.begin(end);
        let mut at = begin;
        while at < end {
            let missing = self.ask.window.limit - self.rows.len();
            // One more, to know whether there is more.
            let plan = self.reader.plan(at, end, PLAN.min(missing + 1));
            if missing == 0 && (plan.scan.is_some() || !plan.gap.is_none()) {
                return Ok(Some(at - 1));
            }
            let Some(stretch) = self.reader.stretch(plan).await else {
                return self.stop(at > begin, at - 1);
            };
            self.gap.add(stretch.gap);
            for seq in stretch.seqs {
                if !self.take(seq, stretch.doubt) {
                    return Ok(Some(seq - 1));
                }
            }
            at = stretch.next;
            if at < end && !self.has_room() {
                return self.stop(true, at - 1);
            }
            yield_now().await;
        }
        Ok(None)
    }

    /// From the newest on that is before `before`.
    async fn backward(&mut self) -> Next {
        let Some(end) = self.end() else {
            return Ok(None);
        };
        let held = self.reader.hub.store.held_from(0);
        let mut at = end;
        let next = loop {
            let missing = self.ask.window.limit - self.rows.len();
            let plan = self.reader.plan_before(held, at, PLAN.min(missing + 1));
            if plan.next >= at && plan.scan.is_none() {
                break None;
            }
            if missing == 0 && plan.scan.is_some() {
                break Some(at);
            }
            let Some(stretch) = self.reader.stretch(plan).await else {
                break self.stop(at < end, at)?;
            };
            let full = stretch
                .seqs
                .iter()
                .find(|seq| !self.take(**seq, stretch.doubt));
            if let Some(seq) = full {
                break Some(seq + 1);
            }
            at = stretch.next;
            if !self.has_room() {
                break Some(at);
            }
            yield_now().await;
        };
        let unread = self.reader.hub.index.unread(next.unwrap_or(at), end);
        self.gap.add(unread);
        Ok(next)
    }

    /// The first position past the window. None: `before` is of another ring, and nothing is known of what was before.
    fn end(&mut self) -> Option<u64> {
        let here = self.reader.hub.watermarks.started();
        match self.ask.window.before {
            None => Some(here),
            Some(before) if before.epoch == self.reader.epoch => Some(before.seq.min(here)),
            Some(_) => {
                self.unknown();
                None
            }
        }
    }

    /// The first position of the window, as a stream with this cursor would begin.
    fn begin(&mut self, end: u64) -> u64 {
        let hub = self.reader.hub;
        // A publisher may be ahead of this daemon, and its cursor is none of the future.
        let published = hub.segments.head().max(hub.watermarks.started());
        match self.ask.window.since {
            Some(since) if since.epoch != self.reader.epoch => {
                self.unknown();
                hub.index.first().min(end)
            }
            // Nobody has published it yet.
            Some(since) if since.seq >= published => {
                self.unknown();
                end
            }
            since => since.map_or(end, |since| since.seq + 1),
        }
    }

    fn unknown(&mut self) {
        self.gap.add(Gap::UNKNOWN);
        self.reader.hub.process.metrics.unknown_cursors.add(1);
    }

    /// The next page goes on at `next`, unless nothing was done for this one.
    fn stop(&self, moved: bool, next: u64) -> Next {
        match moved || !self.rows.is_empty() {
            true => Ok(Some(next)),
            false => Err(Busy::Scanning),
        }
    }

    /// Adds the event at `seq`, if there is one. False: it has no room.
    fn take(&mut self, seq: u64, doubt: bool) -> bool {
        let cursor = self.reader.cursor(seq);
        let _in_hand = quarantine::hold(cursor);
        match self.reader.read(seq) {
            Read::Event(event) => {
                faults::at("history-event", event.data());
                self.rows.len() < self.ask.window.limit
                    && self.rows.push(&event, cursor, self.ask.bytes)
            }
            Read::Nothing => true,
            Read::Gone => {
                self.gap.add(if doubt {
                    Gap::at_most(1)
                } else {
                    Gap::exact(1)
                });
                true
            }
        }
    }

    /// Counts what the page holds. Whether it may go on.
    fn has_room(&mut self) -> bool {
        self.charge.set(self.rows.size());
        !self.charge.budget().is_tight()
    }
}

/// What is planned to be read next.
pub struct Plan {
    gap: Gap,
    seqs: Vec<u64>,
    next: u64,
    /// What the index has forgotten and `seqs` are to be found in instead.
    scan: Option<Scan>,
}

struct Scan {
    range: (u64, u64),
    backward: bool,
    limit: usize,
}

/// Positions to be read.
pub struct Stretch {
    pub gap: Gap,
    pub seqs: Vec<u64>,
    /// The index has forgotten whose they are.
    pub doubt: bool,
    pub next: u64,
}

/// What lies at a position.
pub enum Read {
    Event(Event),
    /// Nothing that is the channel's.
    Nothing,
    /// It was overwritten.
    Gone,
}

/// Reads one channel's events.
pub struct Reader<'a> {
    pub hub: &'a Hub,
    pub epoch: Epoch,
    channel: &'a str,
    /// None: it may scan as much as there is.
    client: Option<ClientKey>,
    patience: Duration,
}

impl<'a> Reader<'a> {
    pub fn new(hub: &'a Hub, channel: &'a str, client: Option<ClientKey>) -> Self {
        Self {
            epoch: hub.segments.epoch(),
            hub,
            channel,
            client,
            patience: PATIENCE,
        }
    }

    pub fn cursor(&self, seq: u64) -> Cursor {
        Cursor {
            epoch: self.epoch,
            seq,
        }
    }

    /// What comes next in `at..target`.
    pub fn plan(&self, at: u64, target: u64, limit: usize) -> Plan {
        let held = self.hub.store.held_from(at);
        let plan = self
            .hub
            .index
            .plan(&[self.channel], at, target, limit, held);
        let scan = Scan {
            range: plan.scan,
            backward: false,
            limit,
        };
        Plan {
            gap: plan.gap,
            seqs: plan.seqs,
            next: plan.next,
            scan: (plan.scan.0 < plan.scan.1).then_some(scan),
        }
    }

    /// The same on the way back from `before` to `from`.
    fn plan_before(&self, from: u64, before: u64, limit: usize) -> Plan {
        let plan = self
            .hub
            .index
            .plan_before(self.channel, from, before, limit);
        let scan = Scan {
            range: plan.scan,
            backward: true,
            limit,
        };
        Plan {
            gap: Gap::NONE,
            seqs: plan.seqs,
            next: plan.next,
            scan: (plan.scan.0 < plan.scan.1).then_some(scan),
        }
    }

    /// The positions of a plan. None: the client's share of scanning is spent, also after waiting for more.
    pub async fn stretch(&mut self, plan: Plan) -> Option<Stretch> {
        let Some(scan) = plan.scan else {
            return Some(Stretch {
                gap: plan.gap,
                seqs: plan.seqs,
                doubt: false,
                next: plan.next,
            });
        };
        self.wait_for_share().await?;
        let index = &self.hub.index;
        let Candidates { seqs, next, looked } = match scan.backward {
            true => index.candidates_before(self.channel, scan.range, scan.limit),
            false => index.candidates(&[self.channel], scan.range, scan.limit),
        };
        let read = seqs.len() as u64;
        if let Some(client) = self.client {
            self.hub
                .process
                .limits
                .scans
                .spend(client, looked + READ * read);
        }
        // No worker's in particular.
        self.hub.counters(0).scanned.add(read);
        Some(Stretch {
            gap: plan.gap,
            seqs,
            doubt: true,
            next,
        })
    }

    async fn wait_for_share(&mut self) -> Option<()> {
        let Some(client) = self.client else {
            return Some(());
        };
        while !self.hub.process.limits.scans.has_some(client) {
            self.patience = self.patience.checked_sub(PAUSE)?;
            self.hub.process.metrics.paced.add(1);
            sleep(PAUSE).await;
        }
        Some(())
    }

    pub fn read(&self, seq: u64) -> Read {
        match self.hub.store.fetch(self.epoch, seq) {
            // Looked at only now: it may have been erased since it was looked up.
            Some(_) if self.hub.index.erased.hides(self.channel, seq) => Read::Nothing,
            Some(event) if event.channels().any(|name| name == self.channel) => Read::Event(event),
            Some(_) => Read::Nothing,
            // Erased, or given up by its publisher.
            None if self.hub.store.is_hole(self.epoch, seq) => Read::Nothing,
            None => Read::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::testing::{EPOCH, cursor, event};

    use super::*;
    use crate::engine::seam;
    use crate::hub::channel_index::Bounds;
    use crate::hub::event_store::EventStore;

    /// The same event at every position.
    struct Same(Event);

    impl EventStore for Same {
        fn fetch(&self, _: Epoch, _: u64) -> Option<Event> {
            Some(self.0.clone())
        }

        fn is_hole(&self, _: Epoch, _: u64) -> bool {
            false
        }

        fn held_from(&self, seq: u64) -> u64 {
            seq
        }
    }

    #[test]
    fn what_was_erased_after_it_was_looked_up_is_not_read() {
        let bounds = Bounds {
            entries: 10,
            channels: 10,
            marks: 10,
        };
        let both = event(&["a", "b"], None, None, None, "x").unwrap();
        let hub = seam::hub(Box::new(Same(both)), 10, bounds, 1 << 20);
        let erased = &hub.index.erased;
        erased.restart(EPOCH);
        let reads = |channel, seq| {
            let reader = Reader {
                hub: &hub,
                epoch: EPOCH,
                channel,
                client: None,
                patience: PATIENCE,
            };
            matches!(reader.read(seq), Read::Event(_))
        };
        assert!(reads("a", 7) && !reads("c", 7));
        erased.set(erased.with("a", cursor(7), 0).unwrap());
        assert!(!reads("a", 7) && reads("a", 8) && reads("b", 7));
    }
}
