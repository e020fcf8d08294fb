//! From the tailer to one worker: a bounded queue that the worker takes as a whole, and the two watermarks that
//! make the seam between replay and live exact (see ARCHITECTURE.md, "The seam").

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use protocol::gap::Gap;
use shared::cursor::Epoch;
use tokio::sync::Notify;

use crate::hub::command::Command;
use crate::hub::encoded_event::EncodedEvent;
use crate::hub::ephemeral::EncodedEphemeral;
use crate::hub::notice::Notice;
use crate::process::budget::Budget;

/// What is delivered to a worker, in order of position.
#[derive(Clone, Debug)]
pub enum Delivery {
    Event(Arc<EncodedEvent>),
    /// What was at the positions `from..to` was lost; `gap` is what that may mean for a stream.
    Lost {
        from: u64,
        to: u64,
        gap: Gap,
    },
    /// Not from the ring, and without a position.
    EncodedEphemeral(Arc<EncodedEphemeral>),
    /// Of the hub's own, on topics; without a position, too.
    Notice(Arc<Notice>),
    /// The members of a presence channel are known again after the start.
    Settled(Arc<str>),
    /// The ring was replaced by one that does not continue it. Its positions begin at `first`.
    Replaced {
        epoch: Epoch,
        first: u64,
    },
}

impl Delivery {
    /// Bytes that are held with it.
    fn size(&self) -> usize {
        let more = match self {
            Self::Event(live) => live.event.size(),
            Self::EncodedEphemeral(notice) => notice.size(),
            Self::Notice(notice) => notice.size(),
            Self::Settled(channel) => channel.len(),
            Self::Lost { .. } | Self::Replaced { .. } => 0,
        };
        size_of::<Self>() + more
    }
}

/// How far the tailer has come. Everything below `started` is in the channel index; everything below `completed`
/// has been delivered to each worker with a subscriber.
#[derive(Debug, Default)]
pub struct Watermarks {
    started: CachePadded<AtomicU64>,
    completed: CachePadded<AtomicU64>,
    /// Rung when more of this host's is completed, for who carries it to the others. None: nobody does.
    news: Option<Notify>,
}

impl Watermarks {
    pub fn new(next: u64) -> Self {
        Self {
            started: AtomicU64::new(next).into(),
            completed: AtomicU64::new(next).into(),
            news: None,
        }
    }

    /// The same of an application that is on several hosts.
    pub fn on_several_hosts(next: u64) -> Self {
        Self {
            news: Some(Notify::new()),
            ..Self::new(next)
        }
    }

    /// Waits for `announce`, since the last time or from now on. For one task.
    pub async fn news(&self) {
        match &self.news {
            Some(news) => news.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Stored after the event was entered into the index, before the routes are read.
    pub fn start(&self, next: u64) {
        self.started.store(next, SeqCst);
    }

    /// Stored after the delivery.
    pub fn complete(&self, next: u64) {
        self.completed.store(next, SeqCst);
    }

    /// Wakes who waits for `news`.
    pub fn announce(&self) {
        if let Some(news) = &self.news {
            news.notify_one();
        }
    }

    pub fn started(&self) -> u64 {
        self.started.load(SeqCst)
    }

    pub fn completed(&self) -> u64 {
        self.completed.load(SeqCst)
    }
}

/// A worker's inbox.
#[derive(Debug)]
pub struct Inbox {
    /// Apart from the inboxes beside it, which are other workers'.
    queue: CachePadded<Mutex<Queue>>,
    wake: Arc<Notify>,
    limits: Limits,
    memory: Arc<Budget>,
}

/// Bounds of an inbox whose worker is behind.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub items: usize,
    /// Of events without their encoded forms; one item always fits.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    items: Vec<Delivery>,
    bytes: usize,
    commands: Vec<Command>,
    overrun: bool,
}

/// What a worker took from its inbox.
#[derive(Debug, Default)]
pub struct Batch {
    pub items: Vec<Delivery>,
    pub commands: Vec<Command>,
    /// The worker was so far behind that later events were not kept for it: its streams replay them from the
    /// ring instead.
    pub overrun: bool,
}

impl Inbox {
    /// Its worker is woken, too, when `memory` gets tight.
    pub fn new(limits: Limits, memory: &Arc<Budget>) -> Self {
        let wake = Arc::new(Notify::new());
        memory.wakes(wake.clone());
        Self {
            queue: CachePadded::default(),
            wake,
            limits,
            memory: memory.clone(),
        }
    }

    /// False if the queue was full: the worker will find `overrun`.
    pub fn push(&self, item: Delivery) -> bool {
        let mut queue = self.queue.lock();
        let first = queue.items.is_empty();
        let bytes = queue.bytes + item.size();
        let over = queue.items.len() >= self.limits.items || bytes > self.limits.bytes;
        // A worker that reads on must know that the ring was replaced.
        let room = !queue.overrun && (first || !over && !self.memory.is_full());
        if room || matches!(item, Delivery::Replaced { .. }) {
            queue.items.push(item);
            queue.bytes = bytes;
        } else {
            queue.overrun = true;
        }
        drop(queue);
        if first {
            self.wake.notify_one();
        }
        room
    }

    /// Unbounded: the sender of a command waits for its result, and the number of senders is limited. (Watchlist
    /// events of a user that connects or disconnects are one command for each of these.)
    pub fn command(&self, command: Command) {
        let mut queue = self.queue.lock();
        queue.commands.push(command);
        drop(queue);
        self.wake.notify_one();
    }

    /// Takes everything into `batch`, which is emptied first. Its capacity is kept for the next items.
    pub fn take(&self, batch: &mut Batch) {
        batch.items.clear();
        let mut queue = self.queue.lock();
        std::mem::swap(&mut queue.items, &mut batch.items);
        queue.bytes = 0;
        batch.commands.append(&mut queue.commands);
        batch.overrun = std::mem::take(&mut queue.overrun);
    }

    /// Resolves when something was put in since the last take.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use protocol::testing::{EPOCH, event};

    use super::*;

    fn inbox(items: usize, bytes: usize) -> Inbox {
        let memory = Arc::new(Budget::new(1 << 30));
        Inbox::new(Limits { items, bytes }, &memory)
    }

    fn lost(seq: u64) -> Delivery {
        Delivery::Lost {
            from: seq,
            to: seq + 1,
            gap: Gap::at_most(1),
        }
    }

    #[test]
    fn a_full_queue_drops_what_follows_until_it_is_taken() {
        let inbox = inbox(2, 1 << 20);
        assert!(inbox.push(lost(1)) && inbox.push(lost(2)) && !inbox.push(lost(3)));
        let mut batch = Batch::default();
        inbox.take(&mut batch);
        assert!(batch.overrun && batch.items.len() == 2);
        assert!(inbox.push(lost(4)));
        inbox.take(&mut batch);
        assert!(!batch.overrun && batch.items.len() == 1);
    }

    #[test]
    fn nothing_is_kept_between_an_overrun_and_the_next_take() {
        let inbox = inbox(1, 1 << 20);
        inbox.push(lost(1));
        inbox.push(lost(2));
        assert!(!inbox.push(lost(3)), "or the worker would see 3 without 2");
    }

    fn large(seq: u64, memory: &Arc<Budget>) -> Delivery {
        let event = event(&["a"], None, None, None, &"x".repeat(1000)).unwrap();
        Delivery::Event(Arc::new(EncodedEvent::new(EPOCH, seq, event, memory)))
    }

    #[test]
    fn large_events_fill_it_by_their_bytes_but_one_always_fits() {
        let inbox = inbox(100, 2500);
        let memory = inbox.memory.clone();
        let mut batch = Batch::default();
        assert!(inbox.push(large(1, &memory)) && inbox.push(large(2, &memory)));
        assert!(!inbox.push(large(3, &memory)));
        inbox.take(&mut batch);
        assert!(batch.overrun && batch.items.len() == 2);
        assert!(inbox.push(large(4, &memory)), "the room is there again");
        let other = memory.charge(1 << 30);
        assert!(
            !inbox.push(large(5, &memory)),
            "nothing waits in full memory"
        );
        inbox.take(&mut batch);
        assert!(batch.overrun && inbox.push(large(6, &memory)));
        drop(other);
    }
}
