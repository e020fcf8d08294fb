//! What is kept in the store for nodes that start or come back later: revocations, and what is erased. Each node writes fields of its own, and
//! takes over all; both when it connects, since the store may have been emptied meanwhile, and at each change.

use std::collections::HashMap;

use shared::vector::Vector;

use crate::app::{erasures, revocations};
use crate::cluster::erasing;
use crate::cluster::node::{Ended, Node};
use crate::hub::erased;
use crate::outbound::redis::store::Store;
use crate::outbound::redis::trouble::Trouble;

/// The most fields that are looked at.
const MOST: usize = 1_000_000;

impl Node {
    pub async fn keep(&self, store: &impl Store) -> Ended {
        let Some(bus) = self.app.peers.bus() else {
            return std::future::pending().await;
        };
        loop {
            let kept = bus.next_kept().await;
            store.put(kept.hash, &kept.field, &kept.value).await?;
            if kept.hash == erasures::HASH
                && let Some((channel, vector)) = erasures::read(&kept.field, &kept.value)
            {
                erasures::tell(&self.app, &channel, &vector);
            }
        }
    }

    /// What others have kept, before anything of theirs is imported; and what is lacking there is kept again.
    pub async fn take_over(&self, store: &impl Store) -> Result<(), Trouble> {
        self.take_over_erasures(store).await?;
        self.take_over_revocations(store).await
    }

    async fn take_over_erasures(&self, store: &impl Store) -> Result<(), Trouble> {
        let erased = &self.app.hub.index.erased;
        let all = store.all(erasures::HASH).await?;
        let oldest = self.app.hub.store.held_from(0);
        let mut most = all.len();
        let mut there: HashMap<Box<str>, Vector> = HashMap::new();
        for (field, value) in all.iter().take(MOST) {
            let Some((channel, vector)) = erasures::read(field, value) else {
                self.seen.counts.malformed.add(1);
                continue;
            };
            // Kept for whoever comes back with what is that old, for as long as there is room.
            if most > erased::MOST && !self.origins.may_hold(&vector, oldest) {
                store.take(erasures::HASH, field).await?;
                most -= 1;
                continue;
            }
            there.entry(channel).or_default().merge(&vector);
        }
        for (channel, vector) in erased.all_across() {
            if there
                .get(&channel)
                .is_none_or(|there| !there.covers(&vector))
            {
                let field = erasures::field(&self.app, &channel);
                let value = vector.to_string();
                store
                    .put(erasures::HASH, field.as_bytes(), value.as_bytes())
                    .await?;
                erasures::tell(&self.app, &channel, &vector);
            }
        }
        erasing::learn(&self.app, there.into_iter().collect()).await;
        Ok(())
    }

    async fn take_over_revocations(&self, store: &impl Store) -> Result<(), Trouble> {
        let all = store.all(revocations::HASH).await?;
        let mut latest: HashMap<Option<String>, u64> = HashMap::new();
        for (field, value) in all.iter().take(MOST) {
            match revocations::read(field, value) {
                Some((_, at)) if revocations::is_over(at) => {
                    store.take(revocations::HASH, field).await?;
                }
                Some((user, at)) => {
                    let before = latest.entry(user).or_default();
                    *before = at.max(*before);
                }
                None => self.seen.counts.malformed.add(1),
            }
        }
        let known: HashMap<_, _> = revocations::known(&self.app).into_iter().collect();
        for (user, at) in &known {
            if latest.get(user).is_none_or(|there| there < at) {
                let field = revocations::field(&self.app, user.as_deref());
                let value = at.to_string();
                store
                    .put(revocations::HASH, field.as_bytes(), value.as_bytes())
                    .await?;
            }
        }
        for (user, at) in latest {
            if known.get(&user).is_none_or(|here| *here < at) {
                revocations::learn(&self.app, user.as_deref(), at);
            }
        }
        Ok(())
    }
}
