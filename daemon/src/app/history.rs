//! A channel's history: the events that the ring still holds, one page at a time. Page after page is what a replay
//! gives, and the gaps are those of a replay: the channel index plans both (`docs/HISTORY.md`).
//!
//! A page is made in bounded steps between which others have their turn, and never holds anybody up. What the index
//! has forgotten is looked for in the ring, from the client's share of that, as for a replay.

use std::time::Duration;

use protocol::gap::Gap;
use protocol::history::{Form, Rows, Window};
use protocol::wire_cursor::ClientCursor;
use shared::cursor::{Cursor, Epoch};
use shared::event::Event;
use shared::vector::Vector;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::hub::channel_index::Candidates;
use crate::hub::hub::Hub;
use crate::hub::origins::{GapRecord, Until};
use crate::hub::sent_cursor::SentCursor;
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
#[derive(Debug, Clone)]
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
        since: None,
        before: None,
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
    let next = next.map(|seq| page.next(seq));
    let next = next.as_ref().map(SentCursor::wire);
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
    /// What whoever asks has already, if it comes from another host, and up to where that matters.
    since: Option<(Vector, Until)>,
    /// What is asked for, where the hosts' events lie in another order.
    before: Option<Vector>,
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
            let (next, to) = self.stretch(at, end);
            at = next;
            // One more, to know whether there is more.
            let mut plan = self.reader.plan(at, to, PLAN.min(missing + 1));
            if self.since_at(at).is_some() {
                plan.gap = plan.gap.as_bound();
            }
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
        match &self.ask.window.before {
            None => Some(here),
            Some(ClientCursor::Cursor(before)) if before.epoch == self.reader.epoch => {
                Some(before.seq.min(here))
            }
            Some(ClientCursor::Vector(before)) => self.end_of(before, here),
            Some(ClientCursor::Cursor(_)) => {
                self.unknown();
                None
            }
        }
    }

    /// The same for what a vector says: its events lie before that, among others that it does not have.
    fn end_of(&mut self, before: &Vector, here: u64) -> Option<u64> {
        let origins = self.reader.hub.origins.as_ref();
        let known = origins.map(|origins| origins.begin(before, here, u64::MAX));
        if known
            .as_ref()
            .is_none_or(|known| known.gap.bound().is_none())
        {
            self.unknown();
        }
        let known = known?.vector;
        let end = match origins?.covered_from(&known) {
            Until::Local(at) => (at + 1).min(here),
            Until::Covered => here,
        };
        let is_some = !known.is_empty();
        self.before = Some(known);
        is_some.then_some(end)
    }

    /// Up to where the next plan from `at` on may go, and from where: gap records are apart, since whoever asks may
    /// have what is missing here.
    fn stretch(&self, mut at: u64, end: u64) -> (u64, u64) {
        while let Some((since, until)) = self.since_at(at) {
            let end = match until {
                Until::Local(last) => end.min(last + 1),
                Until::Covered => end,
            };
            let origins = self.reader.hub.origins.as_ref();
            let gap = origins.and_then(|origins| origins.next_gap(at, end));
            let has = |gap: &GapRecord| since.get(gap.origin).is_some_and(|has| has >= gap.to);
            match gap {
                None => return (at, end),
                Some(gap) if gap.local > at => return (at, gap.local),
                Some(gap) if has(&gap) => at += 1,
                Some(_) => return (at, at + 1),
            }
        }
        (at, end)
    }

    /// What whoever asks has, if some of it may lie at `seq` or behind it.
    fn since_at(&self, seq: u64) -> Option<(&Vector, Until)> {
        let concerns = |until| match until {
            Until::Local(last) => seq <= last,
            Until::Covered => true,
        };
        let since = self.since.as_ref();
        since
            .filter(|since| concerns(since.1))
            .map(|(since, until)| (since, *until))
    }

    /// Whether an event is wanted that is at this place of the host that it was published on.
    fn wants(&self, seq: u64, at: Cursor) -> bool {
        let has = |vector: &Vector| {
            let position = vector.get(at.epoch.into());
            position.is_some_and(|position| position >= at.seq)
        };
        let is_new = self.since_at(seq).is_none_or(|(since, _)| !has(since));
        is_new && self.before.as_ref().is_none_or(has)
    }

    /// The cursor of an event.
    fn sent_cursor(&self, cursor: Cursor) -> SentCursor {
        let since = self.since_at(cursor.seq).map(|(since, _)| since);
        SentCursor::with(cursor, self.reader.hub.origins.as_deref(), since)
    }

    /// The cursor for the next page, which ends before `seq`, or goes on behind it.
    fn next(&self, seq: u64) -> SentCursor {
        let at = self.reader.cursor(seq);
        if !self.ask.window.is_backward() {
            return self.sent_cursor(at);
        }
        let origins = self.reader.hub.origins.as_ref();
        let held = origins.and_then(|origins| origins.vector_at(seq - 1));
        match (held, &self.before) {
            (None, _) => SentCursor::Cursor(at),
            (Some(held), None) => SentCursor::from(&held),
            (Some(held), Some(before)) => SentCursor::from(&held.least(before)),
        }
    }

    /// The first position of the window, as a stream with this cursor would begin.
    fn begin(&mut self, end: u64) -> u64 {
        let hub = self.reader.hub;
        // A publisher may be ahead of this daemon, and its cursor is none of the future.
        let published = hub.segments.head().max(hub.watermarks.started());
        let since = match &self.ask.window.since {
            None => return end,
            Some(ClientCursor::Cursor(since)) => since,
            Some(ClientCursor::Vector(since)) => return self.begin_of(since, published).min(end),
        };
        if since.epoch != self.reader.epoch {
            self.unknown();
            return hub.index.first().min(end);
        }
        // Nobody has published it yet.
        if since.seq >= published {
            self.unknown();
            return end;
        }
        since.seq + 1
    }

    fn begin_of(&mut self, since: &Vector, published: u64) -> u64 {
        let hub = self.reader.hub;
        let Some(origins) = &hub.origins else {
            self.unknown();
            return hub.index.first();
        };
        let begin = origins.begin(since, hub.watermarks.started(), published);
        if begin.gap.bound().is_none() {
            hub.process.metrics.unknown_cursors.add(1);
        }
        self.gap.add(begin.gap);
        self.since = begin.filter.map(|until| (begin.vector, until));
        begin.from
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
            Read::Event(event) if !self.wants(seq, event.imported().unwrap_or(cursor)) => true,
            Read::Event(event) => {
                faults::at("history-event", event.data());
                let sent = self.sent_cursor(cursor);
                self.rows.len() < self.ask.window.limit
                    && self.rows.push(&event, sent.wire(), self.ask.bytes)
            }
            Read::Nothing => true,
            Read::Gone => {
                self.gap.add(
                    if doubt || self.since_at(seq).is_some() || self.before.is_some() {
                        Gap::at_most(1)
                    } else {
                        Gap::exact(1)
                    },
                );
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
    use crate::hub::erased::Erasure;
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
        erased.set(erased.with(vec![Erasure::here("a", cursor(7))], 0).unwrap());
        assert!(!reads("a", 7) && reads("a", 8) && reads("b", 7));
    }
}
