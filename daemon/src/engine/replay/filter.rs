//! What a stream that comes from another host has already of what it replays here. Hosts have each other's events in
//! different orders, so that can lie anywhere up to some place; and a stream may have more than this host yet.

use std::collections::HashMap;
use std::rc::Rc;

use protocol::format::Format;
use shared::vector::{OriginId, Vector};

use crate::hub::origins::{GapRecord, Origins, Until};

/// What a subscription has, and up to where that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub vector: Rc<Vector>,
    pub until: Until,
}

#[derive(Debug)]
pub struct Filter {
    /// What each channel has, by its number. The others of the stream have what the place says.
    held: HashMap<u32, Rc<Vector>>,
    /// What all channels of the stream have.
    of_all: Vector,
    until: Until,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            held: HashMap::new(),
            of_all: Vector::default(),
            until: Until::Local(0),
        }
    }
}

impl Filter {
    /// Adds channels that have the same.
    pub fn add(&mut self, channels: impl IntoIterator<Item = u32>, held: &Held) {
        let channels = channels.into_iter();
        self.held
            .extend(channels.map(|channel| (channel, held.vector.clone())));
        self.until = later(self.until, held.until);
    }

    /// Channels that begin with what is published from now on: what the stream has had elsewhere was before that.
    pub fn add_from_now(&mut self, channels: impl IntoIterator<Item = u32>) {
        let vector = Rc::new(self.of_all.clone());
        let channels = channels.into_iter();
        self.held
            .extend(channels.map(|channel| (channel, vector.clone())));
    }

    pub fn remove(&mut self, channel: u32) {
        self.held.remove(&channel);
    }

    /// The stream has these channels now.
    pub fn settle(&mut self, channels: impl Iterator<Item = u32>) {
        let mut all = channels.map(|channel| self.held.get(&channel));
        let first = all.next().flatten();
        let of_all = all.try_fold(first.map(|first| (**first).clone()), |of_all, held| {
            let (of_all, held) = (of_all?, held?);
            Some(Some(of_all.least(held)))
        });
        self.of_all = of_all.flatten().unwrap_or_default();
    }

    /// What all channels have.
    pub fn of_all(&self) -> &Vector {
        &self.of_all
    }

    /// What a cursor says besides its place: that is sent on a channel, of which the clients of Pusher's protocol that
    /// recover have a cursor each; or for the whole stream.
    pub fn beside(&self, format: Format, channel: Option<u32>) -> &Vector {
        let of_channel = channel.filter(|_| format == Format::Recovery);
        let of_channel = of_channel.and_then(|channel| self.of(channel));
        of_channel.unwrap_or(&self.of_all)
    }

    /// What a channel has.
    pub fn of(&self, channel: u32) -> Option<&Vector> {
        self.held.get(&channel).map(|held| &**held)
    }

    /// Whether the place `seq` may have something that the stream has already.
    pub fn concerns(&self, seq: u64) -> bool {
        match self.until {
            Until::Local(at) => seq <= at,
            Until::Covered => true,
        }
    }

    /// Behind the last such place, if it is known.
    pub fn end(&self) -> u64 {
        match self.until {
            Until::Local(at) => at + 1,
            Until::Covered => u64::MAX,
        }
    }

    /// Whether a channel has this position of an origin.
    pub fn has(&self, channel: u32, origin: OriginId, position: u64) -> bool {
        let held = self.of(channel).and_then(|held| held.get(origin));
        held.is_some_and(|held| held >= position)
    }

    /// Whether all of these channels have what a gap record says is missing.
    pub fn has_all_of(&self, channels: &[u32], gap: &GapRecord) -> bool {
        channels
            .iter()
            .all(|channel| self.has(*channel, gap.origin, gap.to))
    }

    /// Whether all that the stream has lies before `next`, so that it is as any other from there on.
    pub fn is_over(&mut self, next: u64, origins: Option<&Origins>) -> bool {
        let Some(origins) = origins else {
            return true;
        };
        if self.until == Until::Covered {
            let all = self.held.values().map(|held| origins.covered_from(held));
            self.until = all.fold(Until::Local(0), later);
        }
        next >= self.end()
    }
}

fn later(a: Until, b: Until) -> Until {
    match (a, b) {
        (Until::Local(a), Until::Local(b)) => Until::Local(a.max(b)),
        _ => Until::Covered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(parts: &[(u8, u64)]) -> Vector {
        let parts = parts.iter();
        parts.map(|(n, at)| (OriginId([*n; 5]), *at)).collect()
    }

    fn held(parts: &[(u8, u64)], until: Until) -> Held {
        Held {
            vector: Rc::new(vector(parts)),
            until,
        }
    }

    #[test]
    fn a_stream_has_what_each_of_its_channels_has() {
        let mut filter = Filter::default();
        filter.add([1, 2], &held(&[(1, 9), (2, 3)], Until::Local(20)));
        filter.add([3], &held(&[(1, 4)], Until::Local(10)));
        filter.settle([1, 2].into_iter());
        assert_eq!(filter.of_all(), &vector(&[(1, 9), (2, 3)]));
        filter.settle([1, 2, 3].into_iter());
        assert_eq!(filter.of_all(), &vector(&[(1, 4)]));
        filter.settle([1, 4].into_iter());
        assert_eq!(filter.of_all(), &vector(&[]), "4 has nothing of its own");
        assert!(filter.has(1, OriginId([2; 5]), 3) && !filter.has(1, OriginId([2; 5]), 4));
        assert!(!filter.has(3, OriginId([2; 5]), 1) && !filter.has(4, OriginId([1; 5]), 1));
        assert!(filter.concerns(20) && !filter.concerns(21));
        filter.add([5], &held(&[(1, 99)], Until::Covered));
        assert!(filter.concerns(u64::MAX));
    }
}
