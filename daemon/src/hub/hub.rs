//! What an application's tailer and the workers share.

use std::sync::Arc;
use std::time::Duration;

use cluster::facts::{Key, Value};
use crossbeam_utils::CachePadded;
use protocol::ephemeral::Ephemeral;
use protocol::format::FORMATS;
use shared::cursor::Cursor;
use shared::event::Event;

use crate::hub::busy_channels::BusyChannels;
use crate::hub::channel_index::ChannelIndex;
use crate::hub::encoded_event::EncodedEvent;
use crate::hub::ephemeral::EncodedEphemeral;
use crate::hub::event_store::{EventStore, RingStore};
use crate::hub::facts::Facts;
use crate::hub::inbox::{Delivery, Inbox, Watermarks};
use crate::hub::last_events::LastEvents;
use crate::hub::notice::Notice;
use crate::hub::origins::Origins;
use crate::hub::routes::{Routes, WorkerSet};
use crate::hub::sent_cursor::SentCursor;
use crate::hub::subscriber_counts;
use crate::hub::subscriber_counts::SubscriberCounts;
use crate::hub::topics::Topics;
use crate::hub::trace::{NoPlace, Traced, Traces};
use crate::outbound::webhooks;
use crate::outbound::webhooks::Webhooks;
use crate::process::client_key::ClientKey;
use crate::process::holdings::Holdings;
use crate::process::metrics::Counter;
use crate::process::state::Process;
use crate::process::worker_counters::{WorkerCounters, Workers};

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
    pub topics: Arc<Topics>,
    pub last_events: LastEvents,
    /// None: the application is on one host.
    pub origins: Option<Arc<Origins>>,
    /// None: the application has no webhook.
    pub webhooks: Option<Webhooks>,
    pub tailed: CachePadded<Tailed>,
    /// What is counted for every event, by each worker for itself.
    pub workers: Workers,
    /// Streams and subscriptions that are open.
    pub open: Open,
    /// What happened to the events of a channel, while somebody asks.
    pub traces: Traces,
    /// Which channels have the most events, while somebody looks.
    pub busy_channels: BusyChannels,
    /// What is said to other nodes. None: there are none.
    pub facts: Option<Facts>,
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
    /// Bytes of memory that replaced rings take.
    pub retired: Counter,
}

/// What is open, counted when it opens and ends.
#[derive(Debug, Default)]
pub struct Open {
    /// Streams of each format.
    pub streams: [Counter; FORMATS],
    pub subscriptions: Counter,
}

impl Hub {
    /// What `worker` counts.
    pub fn counters(&self, worker: usize) -> &WorkerCounters {
        self.workers.of(worker)
    }

    /// Positions claimed by publishers and not delivered to workers yet.
    pub fn lag(&self) -> u64 {
        let completed = self.watermarks.completed();
        self.segments.head().saturating_sub(completed)
    }

    /// Somebody asks what happened on a channel since a record, and what happens from now on.
    ///
    /// # Errors
    /// If as many other channels are traced as can be.
    pub fn trace(&self, channel: &str, after: Option<u64>) -> Result<Traced, NoPlace> {
        let traced = self.traces.ask(channel, after);
        if traced.is_err() {
            self.process.metrics.traces_refused.add(1);
        }
        traced
    }

    /// A place in the ring, as it is sent.
    pub fn sent_cursor(&self, cursor: Cursor) -> SentCursor {
        SentCursor::at(cursor, self.origins.as_deref())
    }

    /// An event that was read from the ring.
    pub fn encoded(&self, at: Cursor, event: Event) -> EncodedEvent {
        let encoded = EncodedEvent::new(at.epoch, at.seq, event, &self.process.memory);
        encoded.sent_as(self.sent_cursor(at))
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

    /// The same for what is so on all hosts together: one of them sends it.
    pub fn hook_once(&self, client: ClientKey, channel: &str, what: webhooks::event::What) {
        let Some(facts) = &self.facts else {
            return self.hook(client, channel, what);
        };
        if let Some(webhooks) = &self.webhooks {
            let event = webhooks::Event::new(channel, what);
            if webhooks.wants(event.name())
                && let Some(event) = facts.if_leading(event)
            {
                webhooks.submit(client, event);
            }
        }
    }

    /// This node sends what is so on all hosts from now on, or another one does. `lease`: for how long that may have been
    /// dead.
    pub fn lead(&self, leads: bool, lease: Duration) {
        if let (Some(facts), Some(webhooks)) = (&self.facts, &self.webhooks) {
            for event in facts.lead(leads, lease) {
                webhooks.submit(ClientKey::NONE, event);
            }
        }
    }

    /// Says to the other nodes, if there are any, that something is so here, or no longer.
    pub fn say(&self, key: Key, value: Option<Value>) {
        if let Some(facts) = &self.facts {
            facts.say(key, value);
        }
    }

    /// Says to the other nodes that nobody of before is expected back any more.
    pub fn say_settled(&self) {
        if let Some(facts) = &self.facts {
            facts.settle();
        }
    }

    /// Sends channels their number of subscribers, and the application a webhook.
    pub fn announce_counts(&self, client: ClientKey, counts: subscriber_counts::CountChanges) {
        for (channel, count) in &counts {
            let what = webhooks::event::What::SubscriptionCount((*count).into());
            self.hook(client, channel, what);
        }
        self.send_counts(client, counts);
    }

    /// The same without webhooks of counts, which are sent by the host whose subscribers changed. On several hosts it also
    /// notifies of channels that have the first subscriber of all, or lost the last.
    pub fn send_counts(&self, client: ClientKey, counts: subscriber_counts::CountChanges) {
        for (channel, occupied) in self.subscriber_counts.occupancy() {
            let what = match occupied {
                true => webhooks::event::What::ChannelOccupied,
                false => webhooks::event::What::ChannelVacated,
            };
            self.hook_once(client, &channel, what);
        }
        for (channel, count) in counts {
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

    /// Delivers it to the workers with a subscriber of one of its names.
    pub fn notify(&self, notice: Notice) {
        let notice = Arc::new(notice);
        let workers = self.routes.workers(notice.names());
        self.deliver_to(workers, || Delivery::Notice(notice.clone()));
    }

    /// The members of a channel are known again: its subscribers that wait for them are sent them.
    pub fn settle(&self, channel: Arc<str>) {
        self.deliver(&channel, || Delivery::Settled(channel.clone()));
    }

    fn deliver(&self, channel: &str, delivery: impl Fn() -> Delivery) {
        let workers = self.routes.workers(std::iter::once(channel));
        self.deliver_to(workers, delivery);
    }

    fn deliver_to(&self, mut workers: WorkerSet, delivery: impl Fn() -> Delivery) {
        while workers != 0 {
            self.inboxes[workers.trailing_zeros() as usize].push(delivery());
            workers &= workers - 1;
        }
    }
}
