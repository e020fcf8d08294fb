//! From the ring into the log.

use std::time::Instant;

use bytes::Bytes;
use cluster::relay::Record;
use shared::cursor::{Cursor, Epoch};

use crate::cluster::node::{Ended, Node};
use crate::cluster::publishing::as_published;
use crate::hub::event_store::Place;
use crate::hub::origins::Found;
use crate::outbound::redis::store::Store;

impl Node {
    /// Appends what is published here, and what others want again.
    pub async fn relay(&self, store: &impl Store) -> Ended {
        loop {
            self.same_ring()?;
            let entries = self.piece();
            if !entries.is_empty() {
                store.append(&entries).await?;
                let now = self.now();
                self.core.borrow_mut().relay.appended(now);
                continue;
            }
            if self.is_behind() {
                // A stretch without events: the others' turn.
                tokio::task::yield_now().await;
                continue;
            }
            self.caught_up();
            tokio::select! {
                () = self.app.hub.watermarks.news() => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn is_behind(&self) -> bool {
        let (now, completed) = (self.now(), self.completed());
        self.core.borrow().relay.is_behind(now, completed)
    }

    /// The next entries, encoded.
    fn piece(&self) -> Vec<Bytes> {
        let (now, completed) = (self.now(), self.completed());
        let mut core = self.core.borrow_mut();
        let epoch = core.epoch;
        let pieces = core
            .relay
            .piece(now, completed, |at| match at.epoch == epoch {
                true => self.record(at, completed),
                false => self.inherited(at),
            });
        let encode = |entry: &cluster::entry::Entry| {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            bytes.into()
        };
        let entries: Vec<Bytes> = pieces.iter().map(encode).collect();
        let (imported_since, behind) = (self.behind.get().1, self.behind.get().0);
        if !entries.is_empty() && behind.is_none() {
            self.behind.set((Some(Instant::now()), imported_since));
        }
        entries
    }

    fn caught_up(&self) {
        self.behind.set((None, self.behind.get().1));
    }

    fn record(&self, at: Cursor, completed: u64) -> Record {
        // What other hosts published need not be read to know that.
        match self.origins.next_own(at.epoch, at.seq, completed) {
            None => return Record::Nothing { through: completed },
            Some(next) if next > at.seq => return Record::Nothing { through: next - 1 },
            Some(_) => {}
        }
        match self.app.hub.segments.place(at) {
            Place::Nothing { through } => Record::Nothing { through },
            Place::Lost { through } => Record::Lost { through },
            Place::Event(event) => match event.imported() {
                None => Record::Event(event),
                // Another host's, which relays it itself; or nobody's, which is unreadable here as well.
                Some(theirs) if self.origins.confirm(at.seq, theirs, event.gap()) => {
                    Record::Nothing { through: at.seq }
                }
                Some(_) => Record::Lost { through: at.seq },
            },
        }
    }

    /// What this ring has of an origin that is dead, and lacks somewhere.
    fn inherited(&self, at: Cursor) -> Record {
        match self.origins.find(at.epoch.into(), at.seq) {
            Found::Nothing { through } => Record::Nothing { through },
            Found::Lacking { through } => Record::Lost { through },
            Found::At(local) => {
                let here = Cursor {
                    epoch: self.own_epoch(),
                    seq: local,
                };
                match self.app.hub.segments.place(here) {
                    Place::Event(event) if event.imported() == Some(at) => {
                        as_published(&event).map_or(Record::Lost { through: at.seq }, Record::Event)
                    }
                    // It was erased.
                    Place::Nothing { .. } => Record::Nothing { through: at.seq },
                    _ => Record::Lost { through: at.seq },
                }
            }
        }
    }

    fn own_epoch(&self) -> Epoch {
        self.app.hub.segments.epoch()
    }
}
