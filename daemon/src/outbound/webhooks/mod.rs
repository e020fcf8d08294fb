//! Webhooks: notifies an application of what happens on its channels, like Pusher.
//!
//! ```text
//! POST /path                     {"time_ms":1800000000123,"events":[
//! X-Pusher-Key: KEY                {"name":"channel_occupied","channel":"a"},
//! X-Pusher-Signature: HEX          {"name":"member_added","channel":"presence-b","user_id":"7"}]}
//!
//! any thread: submit ─► room ─► webhooks' own thread: queue ─► deliver, one batch at a time
//! ```
//!
//! The signature is the HMAC-SHA256 of the body by the application's newest secret. A status of 200 to 299
//! accepts the batch; after any other outcome it is retried with growing pauses for five minutes. A receiver
//! may get an event twice, but never out of order.
//!
//! Nothing waits for them: `tell` makes no system call beyond a wake-up, and where there is no room, for all or
//! for the client whose doing it is, an event is dropped and counted.

mod deliver;
mod endpoint;
pub mod event;
mod queue;
mod room;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

pub use endpoint::{Counts, Endpoint, Limits};
pub use event::Event;
use parking_lot::Mutex;
use protocol::pusher::signature::Credentials;
use room::{Full, QueuedEvent, Room};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::process::client_key::ClientKey;
use crate::process::current::Current;
use crate::process::heartbeats::Beat;
use crate::process::parts;

/// The webhooks of one application.
#[derive(Debug)]
pub struct Webhooks {
    endpoints: Vec<EndpointQueue>,
    /// What signs, shared with what delivers.
    credentials: Arc<Current<Credentials>>,
    pub counts: Arc<Counts>,
    finish: watch::Sender<Option<Duration>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where events for one endpoint go in.
#[derive(Debug)]
struct EndpointQueue {
    filter: queue::Filter,
    room: Arc<Room>,
    events: mpsc::UnboundedSender<QueuedEvent>,
}

impl Webhooks {
    /// Starts the thread that delivers.
    ///
    /// # Errors
    /// If an endpoint is invalid, there is no secret to sign with, or the thread cannot be started.
    pub fn start(
        endpoints: Vec<Endpoint>,
        credentials: &Credentials,
        limits: Limits,
        beat: Beat,
    ) -> Result<Self, String> {
        if credentials.secrets.is_empty() {
            return Err("webhooks are signed: a secret must be set".into());
        }
        let counts = Arc::new(Counts::default());
        let credentials = Arc::new(Current::new(credentials.clone()));
        let (finish, finishing) = watch::channel(None);
        let mut queues = Vec::new();
        let mut deliveries = Vec::new();
        for endpoint in endpoints {
            endpoint
                .check()
                .map_err(|(key, why)| format!("{key}: {why}"))?;
            let (events, receiving) = mpsc::unbounded_channel();
            let filter = queue::Filter::new(&endpoint);
            queues.push(EndpointQueue {
                filter: filter.clone(),
                room: Arc::new(Room::new(limits)),
                events,
            });
            let receiver = deliver::Receiver {
                target: endpoint.url.parse()?,
                timeout: endpoint.timeout,
                credentials: credentials.clone(),
                limits,
                counts: counts.clone(),
            };
            deliveries.push(deliver::run(receiver, filter, receiving, finishing.clone()));
        }
        let rooms = queues.iter().map(|one| one.room.clone()).collect();
        let thread = start_thread(deliveries, finishing, rooms, counts.clone(), beat)
            .map_err(|why| format!("webhooks cannot be started: {why}"))?;
        Ok(Self {
            endpoints: queues,
            credentials,
            counts,
            finish,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What the next batch is signed with.
    pub fn set_credentials(&self, credentials: Credentials) {
        self.credentials.set(credentials);
    }

    /// From any thread. Never waits. `client`: whose doing it is.
    pub fn submit(&self, client: ClientKey, event: Event) {
        let concerned = |entrance: &&EndpointQueue| entrance.filter.matches(&event);
        for entrance in self.endpoints.iter().filter(concerned) {
            let event = event.clone();
            let told = Room::reserve(&entrance.room, client, event.bytes()).and_then(|place| {
                let sent = entrance.events.send(QueuedEvent { event, place });
                // A thread that has finished takes nothing more.
                sent.map_err(|_| Full::All)
            });
            let dropped = match told {
                Ok(()) => continue,
                Err(Full::All) => &self.counts.dropped,
                Err(Full::Client) => &self.counts.share,
            };
            dropped.fetch_add(1, Relaxed);
        }
    }

    /// Whether any endpoint wants events of this name: if none does, they need not be created.
    pub fn wants(&self, name: &str) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|queue| queue.filter.includes(name))
    }

    /// Events waiting, including cancelled ones that still occupy their place.
    pub fn waiting(&self) -> usize {
        let rooms = self.endpoints.iter().map(|queue| &queue.room);
        rooms.map(|room| room.events.load(Relaxed)).sum()
    }

    /// Stops: delivers the events waiting, without holding any back, for at most `within`. The rest is discarded
    /// and counted as given up.
    pub fn finish(&self, within: Duration) {
        self.finish.send_replace(Some(within));
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

fn start_thread(
    deliveries: Vec<impl Future<Output = ()> + Send + 'static>,
    mut finishing: watch::Receiver<Option<Duration>>,
    rooms: Vec<Arc<Room>>,
    counts: Arc<Counts>,
    beat: Beat,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    parts::thread("webhooks", move || {
        runtime.block_on(async move {
            let mut all: JoinSet<()> = deliveries.into_iter().collect();
            let done = pin!(async { while all.join_next().await.is_some() {} });
            let timeout = pin!(async {
                // If the sender was dropped, the time is over at once.
                let finish = finishing.wait_for(Option::is_some).await;
                let within = finish.ok().and_then(|within| *within);
                tokio::time::sleep(within.unwrap_or_default()).await;
            });
            let heartbeats = async {
                let mut seconds = tokio::time::interval(Duration::from_secs(1));
                loop {
                    seconds.tick().await;
                    beat.beat();
                }
            };
            tokio::select! {
                () = done => {}
                () = timeout => {}
                () = heartbeats => {}
            }
            let left: usize = rooms.iter().map(|room| room.events.load(Relaxed)).sum();
            counts.given_up.fetch_add(left as u64, Relaxed);
        });
        Ok(())
    })
}
