//! Subscriptions that look back: a rewind becomes a position for each channel, from which it is replayed like
//! anything else that was missed.

use protocol::rewind::Rewind;
use shared::segment::now_s;

use crate::engine::streams::Engine;
use crate::hub::channel_index::{Reach, Tail};

impl Engine {
    /// Where a channel begins that is subscribed to when the tailer is at `here`.
    pub(super) fn rewind(&self, channel: &str, rewind: Rewind, here: u64) -> Tail {
        let (index, limits) = (&self.hub.index, self.rules.rewind);
        let ago = |seconds: u32| {
            let then = now_s().saturating_sub(seconds.into());
            u32::try_from(then).unwrap_or(u32::MAX)
        };
        let (events, since) = match rewind {
            Rewind::Events(events) => (Some(events as usize), 0),
            Rewind::Seconds(seconds) => (None, ago(seconds)),
            Rewind::All => (None, 0),
        };
        let reach = Reach {
            events,
            since,
            most: limits.events as usize,
            oldest: match limits.seconds {
                0 => 0,
                seconds => ago(seconds),
            },
        };
        let tail = index.tail(channel, reach, self.hub.store.held_from(0), here);
        let metrics = &self.hub.process.metrics;
        metrics.rewinds.add(1);
        metrics.rewinds_cut.add(tail.cut.into());
        tail
    }
}
