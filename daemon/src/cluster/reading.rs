//! From the log to what is to be published here.

use std::time::Duration;

use cluster::entry::Entry;
use cluster::node_state::NodeState;

use crate::cluster::node::{Ended, Node};
use crate::outbound::redis::redis_store::MAX_WAIT;
use crate::outbound::redis::store::{LogId, Read, Store};

/// Pieces of one read. The server cannot be asked for so many bytes.
pub const PIECES: usize = 64;
/// Of the log: what is sent again without waiting for anybody to read it.
const PART: u64 = 4;
/// How long to wait for the log.
const PAUSE: Duration = Duration::from_millis(1);

impl Node {
    /// Reads the log on and on, no faster than what was read is published.
    pub async fn read(&self, store: &impl Store) -> Ended {
        self.take_states(store).await?;
        self.relay_first().await;
        loop {
            self.published_all().await;
            let after = self.log.borrow().after;
            let wait = match self.core.borrow().importer.is_starting() {
                true => Duration::ZERO,
                false => MAX_WAIT,
            };
            let read = store.read(after, PIECES, wait).await?;
            self.same_ring()?;
            let joined = self.take(read, after);
            if joined && !*self.joined.borrow() {
                self.published_all().await;
                self.joined.send_replace(true);
            }
        }
    }

    /// Waits until the log has what may be in this host's ring alone: what was published here while the log could not be reached, or
    /// was relayed to one that lost it. What others published takes its place in the ring.
    async fn relay_first(&self) {
        let until = self.completed();
        if let Some((since, living)) = self.log.borrow_mut().changed.take() {
            let mut core = self.core.borrow_mut();
            let nodes = core.importer.nodes();
            let lives = |state: &&NodeState| {
                let origin = state.origin();
                living.contains(&origin) || nodes.was_heard_since(origin, since)
            };
            let have = |state: &NodeState| state.have.get(core.epoch.into());
            let least = nodes.states().filter(lives).filter_map(have).min();
            if let Some(have) = least {
                let most = self.settings.stream_length / PART;
                core.relay.log_changed(have, most);
                self.wanted.notify_one();
            }
        }
        while self.core.borrow().relay.owes(until) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes something of what was read after a place in the log. Whether the node has caught up with it.
    fn take(&self, read: Read, after: LogId) -> bool {
        let (now, at_end) = (self.now(), read.len() < PIECES);
        let mut out = Vec::new();
        let mut core = self.core.borrow_mut();
        for (id, entries) in read {
            // Unless another log was begun meanwhile.
            let mut log = self.log.borrow_mut();
            if log.after >= after {
                log.after = id;
            }
            let Some(entries) = entries else {
                self.seen.counts.malformed.add(1);
                continue;
            };
            for text in &entries {
                match Entry::decode(text) {
                    Ok(entry) => {
                        if core.relay.seen(entry.at()) {
                            self.wanted.notify_one();
                        }
                        core.importer.entry(now, entry, &mut out);
                    }
                    Err(_) => self.seen.counts.malformed.add(1),
                }
            }
        }
        if at_end {
            core.importer.end_of_log(now, &mut out);
        }
        let joined = !core.importer.is_starting();
        drop(core);
        self.hand_over(out);
        joined
    }
}
