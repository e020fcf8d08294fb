//! Viewers that listen to everything, at their own pace, and hop from node to node with the last id they got.

use shared::vector::{OriginId, Vector};

use crate::node::{Held, What};
use crate::ring::Rec;
use crate::world::{Mutant, World};

#[derive(Default)]
pub struct Viewer {
    /// The id that it got last. Empty: it is new.
    pub id: Vector,
    /// Its node, and the place up to which that has looked for it.
    pub at: Option<(usize, u64)>,
    /// What its id covers is left out, and its ids are its own.
    pub filter: bool,
    /// How often it looks, times in a thousand.
    pub speed: u64,
}

/// What a viewer is told that it cannot have.
type Gap = (OriginId, u64, u64);

impl World {
    pub fn detach(&mut self, n: usize) {
        for viewer in &mut self.viewers {
            if viewer.at.is_some_and(|(node, _)| node == n) {
                viewer.at = None;
            }
        }
    }

    /// A viewer connects, with its id if it has one.
    pub fn attach(&mut self, v: usize, n: usize) {
        let Some(up) = self.nodes[n].up.as_ref().filter(|up| up.serves) else {
            return;
        };
        self.stats.hops += 1;
        if self.viewers[v].id.is_empty() {
            let viewer = &mut self.viewers[v];
            viewer.id = up.vector_at(up.tailed);
            viewer.filter = false;
            viewer.at = Some((n, up.tailed));
            return;
        }
        let oldest = self.nodes[n].ring.oldest();
        let mut id = self.viewers[v].id.clone();
        let mut gaps = Vec::new();
        for (origin, held) in &up.origins {
            let has = id.get(*origin).unwrap_or(held.start);
            let gone = held.gone(oldest).min(held.at(up.tailed));
            if has < gone {
                gaps.push((*origin, has, gone));
                assert!(id.set(*origin, gone));
            }
        }
        let lacks = up.origins.iter().filter_map(|(origin, held)| {
            let has = id.get(*origin).unwrap_or(held.start);
            let mut items = held.items.range(oldest..);
            items
                .find(|(_, item)| item.theirs > has)
                .map(|(local, _)| *local - 1)
        });
        let place = lacks.min().unwrap_or(u64::MAX).min(up.tailed);
        let filter = !up.vector_at(place).covers(&id);
        self.stats.ahead += u64::from(filter);
        self.viewers[v].filter = filter;
        self.viewers[v].at = Some((n, place));
        self.advance(v, id, None, &gaps);
    }

    /// A viewer takes the next thing from its node. False: there is nothing.
    pub fn view(&mut self, v: usize) -> bool {
        let Some((n, place)) = self.viewers[v].at else {
            return false;
        };
        let node = &self.nodes[n];
        let up = node.up.as_ref().expect("its node runs");
        let viewer = &self.viewers[v];
        let oldest = node.ring.oldest();
        if oldest - 1 > up.tailed {
            return false;
        }
        if place + 1 < oldest {
            let there = up.vector_at(oldest - 1);
            let lost = |(origin, held): (&OriginId, &Held)| {
                let has = viewer.id.get(*origin).unwrap_or(held.start);
                let gone = held.at(oldest - 1);
                (gone > has).then_some((*origin, has, gone))
            };
            let gaps: Vec<Gap> = up.origins.iter().filter_map(lost).collect();
            let id = self.id_at(v, there);
            self.stats.slow += 1;
            self.advance(v, id, None, &gaps);
            self.settle(v, oldest - 1);
            return true;
        }
        let Some((&local, record)) = node
            .ring
            .records
            .range(place + 1..up.tailed.max(place) + 1)
            .next()
        else {
            return false;
        };
        let mut delivered = None;
        let mut gaps = Vec::new();
        if let Some((origin, item)) = up.item(local) {
            let has = viewer.id.get(origin).unwrap_or(up.origins[&origin].start);
            match item.what {
                _ if viewer.filter && item.theirs <= has => {}
                What::Event(_) if *record == Rec::Hole => {}
                What::Event(serial) => delivered = Some((origin, item.theirs, serial)),
                What::Gap(from) => gaps.push((origin, from.max(has), item.theirs)),
            }
        }
        let id = self.id_at(v, up.vector_at(local));
        self.advance(v, id, delivered, &gaps);
        self.settle(v, local);
        true
    }

    pub fn ping(&mut self, v: usize) {
        if let Some((n, place)) = self.viewers[v].at {
            let up = self.nodes[n].up.as_ref().expect("its node runs");
            let id = self.id_at(v, up.vector_at(place));
            self.advance(v, id, None, &[]);
            self.settle(v, place);
        }
    }

    /// The id that goes with a place of which this is the vector.
    fn id_at(&self, v: usize, there: Vector) -> Vector {
        let viewer = &self.viewers[v];
        match viewer.filter && self.mutant != Some(Mutant::SharedFrame) {
            true => {
                let mut id = viewer.id.clone();
                id.merge(&there);
                id
            }
            false => there,
        }
    }

    fn settle(&mut self, v: usize, place: u64) {
        let viewer = &mut self.viewers[v];
        let Some((n, _)) = viewer.at else {
            return;
        };
        viewer.at = Some((n, place));
        let up = self.nodes[n].up.as_ref().expect("its node runs");
        if viewer.filter && up.vector_at(place).covers(&viewer.id) {
            viewer.filter = false;
        }
    }

    /// A viewer's id becomes another one: everything in between was delivered, or is accounted for.
    fn advance(
        &mut self,
        v: usize,
        id: Vector,
        delivered: Option<(OriginId, u64, u64)>,
        gaps: &[Gap],
    ) {
        let before = &self.viewers[v].id;
        if let Some((origin, position, serial)) = delivered {
            let has = before.get(origin).unwrap_or(self.truth.start(origin));
            assert!(
                position > has,
                "viewer {v} gets {position} of {origin} twice"
            );
            let real = self.truth.serial(origin, position);
            assert_eq!(
                real,
                Some(serial),
                "viewer {v} gets another event at {position} of {origin}"
            );
            self.stats.delivered += 1;
        }
        self.stats.told += gaps.len() as u64;
        for (origin, to) in id.iter() {
            let from = before.get(origin).unwrap_or(self.truth.start(origin));
            assert!(
                to >= from,
                "viewer {v} goes back from {from} to {to} of {origin}"
            );
            for position in self.truth.events(origin, from, to) {
                let got = delivered.is_some_and(|(o, p, _)| (o, p) == (origin, position));
                let told = |gap: &Gap| gap.0 == origin && gap.1 < position && position <= gap.2;
                assert!(
                    got || gaps.iter().any(told),
                    "viewer {v} on {:?} is never told of {position} of {origin}",
                    self.viewers[v].at
                );
            }
        }
        for (origin, _) in before.iter() {
            assert!(id.get(origin).is_some(), "viewer {v} forgets {origin}");
        }
        self.viewers[v].id = id;
    }
}
