//! What nodes say of themselves, once a second: written, read, and what follows from it.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use cluster::import::Import;
use cluster::node_state::NodeState;
use cluster::nodes::Standing;
use shared::vector::OriginId;
use tokio::time::MissedTickBehavior;

use crate::cluster::node::{Ended, Node};
use crate::cluster::seen::SeenNode;
use crate::hub::import_journal::Record;
use crate::outbound::redis::redis_store::RedisStore;
use crate::outbound::redis::store::{LogId, Store};
use crate::outbound::redis::trouble::Trouble;

const NODES: &str = "nodes";
/// The longest time between two beats.
const PERIOD: Duration = Duration::from_secs(1);
/// The most states that are looked at.
const MOST: usize = 1024;

impl Node {
    pub async fn beat(&self, store: &RedisStore) -> Ended {
        let period = PERIOD.min(self.settings.lease / 4);
        let mut beats = tokio::time::interval(period);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.same_ring()?;
            self.look_at_mark(store).await?;
            self.claim(store).await?;
            self.lead(store).await?;
            self.take_states(store).await?;
            let mut out = Vec::new();
            let state = {
                let mut core = self.core.borrow_mut();
                if *self.joined.borrow() || self.began.elapsed() >= self.settings.catch_up {
                    core.importer.serves();
                }
                core.importer.tick(&mut out);
                self.state(&core)
            };
            self.hand_over(out);
            if self.journal.borrow().owes() {
                self.write(&[]);
            }
            let own = self.own().to_string();
            store.put(NODES, own.as_bytes(), &state.encode()).await?;
            self.retire(store).await?;
            store.check_listener().await?;
            let log = store.length().await?;
            self.show(log);
        }
    }

    /// One node at a time sends webhooks of what is so on all hosts: who has the lease.
    async fn lead(&self, store: &RedisStore) -> Result<(), Trouble> {
        let own = self.own().to_string();
        let lease = self.settings.lease;
        let holder = store.lease("webhooks", own.as_bytes(), lease).await?;
        self.app.hub.lead(holder == own.as_bytes(), lease * 2);
        Ok(())
    }

    fn state(&self, core: &crate::cluster::node::Core) -> NodeState {
        let now = self.now();
        let beat = self.beat.get().wrapping_add(1);
        self.beat.set(beat);
        NodeState {
            epoch: core.epoch,
            name: self.settings.node.clone(),
            askrd: env!("CARGO_PKG_VERSION").into(),
            beat,
            start: core.relay.start(),
            last: core.relay.last(),
            through: self.through(core).max(core.relay.last()),
            have: core.importer.have(),
            // Only once it is known what is there already.
            wants: match core.importer.is_starting() {
                true => Default::default(),
                false => core.importer.wants(now),
            },
        }
    }

    /// Another mark, or none: the log was emptied, or it is another one.
    async fn look_at_mark(&self, store: &impl Store) -> Result<(), Trouble> {
        let mut random = [0; 16];
        // Not secret: without randomness the time will do.
        if getrandom::fill(&mut random).is_err() {
            random[..8].copy_from_slice(&shared::segment::now_ns().to_le_bytes());
        }
        let proposed: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mark = store.mark(&proposed).await?;
        let is_another = {
            let mut log = self.log.borrow_mut();
            let before = std::mem::replace(&mut log.mark, mark.clone());
            let is_another = before != mark && !before.is_empty();
            if is_another {
                let app = &self.app.id;
                tracing::warn!(
                    "application {app}: what hosts share in Redis was emptied or replaced; they send each other what is \
                     lacking"
                );
                let now = self.now();
                self.core.borrow_mut().importer.store_back(now);
                log.after = LogId::START;
            }
            is_another
        };
        if is_another {
            self.take_over(store).await?;
        }
        Ok(())
    }

    /// Reads what the others say, and does what they want.
    pub async fn take_states(&self, store: &impl Store) -> Result<(), Trouble> {
        let all = store.all(NODES).await?;
        let (now, mut out) = (self.now(), Vec::new());
        let mut core = self.core.borrow_mut();
        let mut states = Vec::new();
        for (field, value) in all.iter().take(MOST) {
            match NodeState::decode(value) {
                Ok(state) if field == state.origin().to_string().as_bytes() => states.push(state),
                _ => self.seen.counts.malformed.add(1),
            }
        }
        let mut beats = self.beats.borrow_mut();
        beats.retain(|origin, _| states.iter().any(|state| state.origin() == *origin));
        for state in &states {
            let (origin, new) = (state.origin(), (state.beat, Instant::now()));
            let before = beats.entry(origin).or_insert(new);
            if before.0 != state.beat {
                *before = new;
            }
        }
        drop(beats);
        core.importer.states(now, states, &mut out);
        let core = &mut *core;
        core.relay.look_at_wants(now, &core.importer);
        if let Some(bus) = self.app.peers.bus() {
            let living = core.importer.nodes().living();
            bus.set_living(living.map(NodeState::origin).collect());
        }
        self.wanted.notify_one();
        self.hand_over(out);
        Ok(())
    }

    /// Origins that are dead for long, and of which nothing is left here, leave.
    async fn retire(&self, store: &impl Store) -> Result<(), Trouble> {
        let (now, oldest) = (self.now(), self.app.hub.segments.oldest());
        let gone: Vec<OriginId> = {
            let core = self.core.borrow();
            let retirable = core.importer.retirable(now);
            retirable
                .filter(|id| self.origins.retire(*id, oldest))
                .collect()
        };
        for origin in gone {
            self.core.borrow_mut().importer.retire(origin);
            self.hand_over(vec![Import::Retired { origin }]);
            store.take(NODES, origin.to_string().as_bytes()).await?;
        }
        Ok(())
    }

    /// Writes down that an origin has left.
    pub fn retired(&self, origin: OriginId) -> Option<Record> {
        let mut published = self.published.borrow_mut();
        let epoch = published
            .keys()
            .find(|epoch| epoch[..5] == origin.0)
            .copied()?;
        published.remove(&epoch);
        Some(Record::Retired {
            epoch: shared::cursor::Epoch(epoch),
        })
    }

    /// What waits, once a second, whether there is a connection or not: it is when there is none that it grows.
    pub async fn show_lags(&self) -> Infallible {
        let mut beats = tokio::time::interval(PERIOD);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let core = self.core.borrow();
            let waiting = self.pending.borrow().len() as u64;
            let in_events = core.importer.lags().map(|lag| lag.1).sum::<u64>() + waiting;
            let out_events = self.completed().saturating_sub(self.through(&core));
            drop(core);
            let since = |events, since: Option<Instant>| match events {
                0 => None,
                _ => since.or(Some(Instant::now())),
            };
            let (out_since, in_since) = self.behind.get();
            let (out_since, in_since) = (since(out_events, out_since), since(in_events, in_since));
            self.behind.set((out_since, in_since));
            let seconds =
                |since: Option<Instant>| since.map_or(0.0, |at| at.elapsed().as_secs_f64());
            self.seen.change(|view| {
                (view.out_events, view.out_seconds) = (out_events, seconds(out_since));
                (view.in_events, view.in_seconds) = (in_events, seconds(in_since));
            });
        }
    }

    fn show(&self, log: u64) {
        let core = self.core.borrow();
        let lags: Vec<(OriginId, u64, usize)> = core.importer.lags().collect();
        let lag = |origin| {
            lags.iter()
                .find(|lag| lag.0 == origin)
                .map_or(0, |lag| lag.1)
        };
        let beats = self.beats.borrow();
        let mut nodes = vec![SeenNode {
            origin: self.own().to_string(),
            name: self.settings.node.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            own: true,
            alive: true,
            ..SeenNode::default()
        }];
        nodes.extend(core.importer.nodes().states().map(|state| {
            let origin = state.origin();
            let since = beats
                .get(&origin)
                .map_or(0.0, |beat| beat.1.elapsed().as_secs_f64());
            SeenNode {
                origin: origin.to_string(),
                name: state.name.clone(),
                version: state.askrd.clone(),
                own: false,
                alive: core.importer.nodes().standing(origin) == Standing::Living,
                seconds: since,
                lag: lag(origin),
            }
        }));
        self.seen.change(|view| {
            view.nodes = nodes;
            view.log = log;
            view.held_bytes = lags.iter().map(|lag| lag.2 as u64).sum();
        });
        let counts = &self.seen.counts;
        counts.relayed.set(core.relay.counts.relayed);
        counts.resent.set(core.relay.counts.again);
        counts.relayed_lost.set(core.relay.counts.lost);
        let imported = core.importer.counts;
        counts.imported.set(imported.events);
        counts.duplicates.set(imported.duplicates);
        counts.held.set(imported.held);
        counts.not_held.set(imported.not_held);
        counts.gaps.set(imported.gaps);
        counts.refused.set(imported.refused);
    }
}
