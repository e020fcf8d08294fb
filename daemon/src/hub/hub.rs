//! What an application's tailer and the workers share.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use protocol::ephemeral::Ephemeral;

use crate::hub::channel_index::ChannelIndex;
use crate::hub::ephemeral::EncodedEphemeral;
use crate::hub::event_store::{EventStore, RingStore};
use crate::hub::inbox::{Delivery, Inbox, Watermarks};
use crate::hub::last_events::LastEvents;
use crate::hub::routes::Routes;
use crate::hub::subscriber_counts;
use crate::hub::subscriber_counts::SubscriberCounts;
use crate::outbound::webhooks;
use crate::outbound::webhooks::Webhooks;
use crate::process::client_key::ClientKey;
use crate::process::holdings::Holdings;
use crate::process::metrics::Counter;
use crate::process::state::Process;
use crate::process::worker_counters::WorkerCounters;

pub struct Hub {
    pub index: ChannelIndex,
    pub routes: Routes,
    pub watermarks: Watermarks,
    /// One inbox per worker.
    pub inboxes: Vec<Inbox>,
    pub store: Box<dyn EventStore>,
    /// The ring's segments, for metrics and new epochs.
    pub segments: RingStore,
    pub subscriber_counts: SubscriberCounts,
    pub holdings: Holdings,
    pub last_events: LastEvents,
    /// None: the application has no webhook.
    pub webhooks: Option<Webhooks>,
    pub tailed: CachePadded<Tailed>,
    /// What all applications share.
    pub process: Arc<Process>,
}

/// What the tailer counts for every event, on a cache line that no worker writes.
#[derive(Debug, Default)]
pub struct Tailed {
    /// Events read from the ring.
    pub events: Counter,
    /// Events put into workers' inboxes, one counting once for each worker.
    pub deliveries: Counter,
}

impl Hub {
    /// What `worker` counts.
    pub fn counters(&self, worker: usize) -> &WorkerCounters {
        self.process.workers.of(worker)
    }

    /// Queues a webhook event, if the application has a webhook for it. Never waits. `client`: who caused it.
    pub fn hook(&self, client: ClientKey, channel: &str, what: webhooks::event::What) {
        if let Some(webhooks) = &self.webhooks {
            let event = webhooks::Event::new(channel, what);
            if webhooks.wants(event.name()) {
                webhooks.submit(client, event);
            }
        }
    }

    /// Sends channels their number of subscribers, and the application a webhook.
    pub fn announce_counts(&self, client: ClientKey, counts: subscriber_counts::CountChanges) {
        for (channel, count) in counts {
            let what = webhooks::event::What::SubscriptionCount(count.into());
            self.hook(client, &channel, what);
            self.send_ephemeral(EncodedEphemeral::new(
                channel.into(),
                Ephemeral::Count(count),
            ));
        }
    }

    /// Delivers it to every worker with a subscriber of its channel. A worker with a full inbox recovers by
    /// itself.
    pub fn send_ephemeral(&self, notice: EncodedEphemeral) {
        let notice = Arc::new(notice);
        self.deliver(&notice.channel, || {
            Delivery::EncodedEphemeral(notice.clone())
        });
    }

    /// The members of a channel are known again: its subscribers that wait for them are sent them.
    pub fn settle(&self, channel: Arc<str>) {
        self.deliver(&channel, || Delivery::Settled(channel.clone()));
    }

    fn deliver(&self, channel: &str, delivery: impl Fn() -> Delivery) {
        let mut workers = self.routes.workers(std::iter::once(channel));
        while workers != 0 {
            self.inboxes[workers.trailing_zeros() as usize].push(delivery());
            workers &= workers - 1;
        }
    }
}
