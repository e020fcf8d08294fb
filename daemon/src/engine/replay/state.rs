//! Where a replaying stream is.

use protocol::gap::Gap;

use crate::engine::outbox::ReplayPosition;

/// Where a replaying stream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replay {
    /// Everything below has been sent, but for what is missing.
    pub next: u64,
    /// Of the event at `next`, its channels before this one have been sent.
    pub channel: u16,
    /// How many of the last events that are due have been sent: they come before anything else.
    pub last_events: u16,
    /// From here on, deliveries reach the stream's worker.
    pub target: u64,
    /// Found, and not reported yet; and from where on, if there is any.
    pub gap: Gap,
    pub missing: u64,
    /// The client has been too slow: what there is up to `target` is counted as lost, not sent.
    pub skips: bool,
}

impl Replay {
    pub fn new(from: ReplayPosition, target: u64) -> Self {
        Self {
            next: from.seq,
            channel: from.channel,
            last_events: 0,
            target,
            gap: Gap::NONE,
            missing: from.seq,
            skips: false,
        }
    }

    /// Something from `next` on is missing.
    pub fn miss(&mut self, gap: Gap) {
        if self.gap.is_none() {
            self.missing = self.next;
        }
        self.gap.add(gap);
    }

    /// Everything below has been sent or reported: a cursor may say so.
    pub fn settled(&self) -> u64 {
        match self.gap.is_none() {
            true => self.next,
            false => self.next.min(self.missing),
        }
    }

    pub fn at(&self) -> ReplayPosition {
        ReplayPosition {
            seq: self.next,
            channel: self.channel,
        }
    }

    /// Goes back to what was not sent after all.
    pub fn back_to(&mut self, from: ReplayPosition) {
        let at = self.at().min(from);
        (self.next, self.channel) = (at.seq, at.channel);
    }

    /// Everything below `next` has been sent.
    pub fn go_to(&mut self, next: u64) {
        if next != self.next {
            (self.next, self.channel) = (next, 0);
        }
    }
}
