//! Memory for events is short: what can be replayed is dropped, and as the last resort stuck clients are
//! disconnected.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use protocol::close_reason::CloseReason;

use crate::config::SlowClients;
use crate::engine::outbox::GivenUp;
use crate::engine::readiness::Took;
use crate::engine::streams::Engine;

/// A client that takes nothing for so long, while memory is tight all the time, holds what others need.
const STUCK: Duration = Duration::from_secs(1);
/// Other workers give back what they can within this time.
const OTHERS: Duration = Duration::from_millis(100);

impl Engine {
    /// Where memory is short, gives some of it back: the replay cache first, then what waits for slow clients,
    /// those first that hold the most for the longest. Call it often.
    pub(super) fn relieve(&mut self) {
        let memory = self.hub.process.memory.clone();
        if !memory.is_tight() {
            self.slow.tight_since = None;
        }
        if memory.is_roomy() {
            return;
        }
        if !self.replays.cache.is_empty() {
            self.replays.cache.forget();
            self.hub.process.metrics.relieved_cache.add(1);
        }
        if !memory.is_tight() {
            return;
        }
        let now = Instant::now();
        let slow = self.slow_by_burden(now);
        for &(slot, _) in &slow {
            if !memory.is_tight() {
                return;
            }
            self.give_up(slot);
        }
        // What is left was written in part, or is for that stream alone.
        let tight = now - *self.slow.tight_since.get_or_insert(now);
        for &(slot, since) in &slow {
            if !memory.is_tight() {
                return;
            }
            let stuck = tight.min(now.saturating_duration_since(since)) >= STUCK;
            if stuck || memory.is_full() && tight >= OTHERS {
                // It may have room by now, and this worker may be the one that is late.
                match self.write_outbox(slot) {
                    Took::All => {}
                    Took::Some if !memory.is_full() => {}
                    Took::Some | Took::Nothing => self.close(slot, CloseReason::Memory),
                }
            }
        }
    }

    /// Streams with something in their outbox, the heaviest first, and since when each has taken nothing.
    fn slow_by_burden(&self, now: Instant) -> Vec<(u32, Instant)> {
        let burden = |slot: &u32| {
            let outbox = self.streams.get(*slot as usize)?.outbox.as_ref()?;
            (!outbox.is_empty()).then(|| (outbox.burden(now), *slot, outbox.since))
        };
        let mut slow: Vec<_> = self.slow.blocked.iter().filter_map(burden).collect();
        slow.sort_unstable_by_key(|(burden, ..)| Reverse(*burden));
        let slow = slow.into_iter();
        slow.map(|(_, slot, since)| (slot, since)).collect()
    }

    /// Drops what waits for a stream and can be replayed.
    fn give_up(&mut self, slot: u32) {
        let Some(outbox) = &mut self.streams[slot as usize].outbox else {
            return;
        };
        let given = outbox.give_up();
        if given == GivenUp::default() {
            return;
        }
        self.hub.process.metrics.relieved_stream.add(1);
        self.miss(slot, given.ephemeral);
        match (given.from, self.rules.slow_clients) {
            (None, _) => {}
            (Some(_), SlowClients::Close) => self.close(slot, CloseReason::Memory),
            (Some(from), SlowClients::Replay) => self.fall_back(slot, from, false),
            (Some(from), SlowClients::Skip) => self.fall_back(slot, from, true),
        }
    }
}
