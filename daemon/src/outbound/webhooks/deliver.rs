//! Delivers one endpoint's events: one batch at a time, so that they stay in order, each retried until the
//! endpoint accepts it or its time is over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use protocol::pusher::signature::Credentials;
use shared::segment::now_ns;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::endpoint::{Counts, Limits};
use super::event::{self, Event};
use super::queue::{Filter, Queue};
use super::room::QueuedEvent;
use crate::outbound::http_client;
use crate::outbound::http_client::{Bounds, Target};
use crate::process::current::Current;
use crate::process::jitter::Jitter;

/// The most bytes of a response's body, which is read and ignored.
const MAX_ANSWER: usize = 1 << 20;

/// Where to deliver to, and how.
#[derive(Debug)]
pub struct Receiver {
    pub target: Target,
    /// Of one request.
    pub timeout: Duration,
    /// The newest secret signs.
    pub credentials: Arc<Current<Credentials>>,
    pub limits: Limits,
    pub counts: Arc<Counts>,
}

/// Delivers `events` until all of their senders are gone, or `finishing` is set, and nothing is left to deliver.
pub async fn run(
    receiver: Receiver,
    filter: Filter,
    mut events: mpsc::UnboundedReceiver<QueuedEvent>,
    mut finishing: watch::Receiver<Option<Duration>>,
) {
    let start = Instant::now();
    let now = || start.elapsed().as_millis() as u64;
    let mut queue = Queue::new(filter, receiver.limits);
    let mut delivery: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
    let mut open = true;
    loop {
        queue.tick(now());
        if delivery.is_none()
            && let Some((since, batch)) = queue.take(now(), !open)
        {
            let until = start + Duration::from_millis(since) + receiver.limits.patience;
            delivery = Some(Box::pin(receiver.deliver(batch, until)));
        }
        let cancelled = std::mem::take(&mut queue.cancelled);
        receiver.counts.cancelled.fetch_add(cancelled, Relaxed);
        if !open && delivery.is_none() && queue.is_empty() {
            return;
        }
        // While one batch is being delivered, the next one needs no timer.
        let gathered = queue.next().filter(|_| delivery.is_none());
        tokio::select! {
            event = events.recv(), if open => match event {
                Some(event) => queue.put(event, now()),
                None => open = false,
            },
            ended = finishing.wait_for(Option::is_some), if open => {
                drop(ended);
                // Events sent before are still in the channel; no more are accepted.
                events.close();
                while let Ok(event) = events.try_recv() {
                    queue.put(event, now());
                }
                open = false;
            }
            () = finished(&mut delivery), if delivery.is_some() => delivery = None,
            () = at(start, gathered), if gathered.is_some() => {}
        }
        if !open {
            queue.release_all();
        }
    }
}

async fn finished(delivery: &mut Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>>) {
    if let Some(delivery) = delivery {
        delivery.await;
    }
}

async fn at(start: Instant, ms: Option<u64>) {
    tokio::time::sleep_until(start + Duration::from_millis(ms.unwrap_or_default())).await;
}

impl Receiver {
    /// Makes at least one attempt; no further one begins after `until`.
    async fn deliver(&self, batch: Vec<QueuedEvent>, until: Instant) {
        let count = batch.len() as u64;
        let body = event::body(now_ns() / 1_000_000, batch.iter().map(QueuedEvent::event));
        let headers = self.headers(&body);
        let body = Bytes::from(body);
        let jitter = Jitter::new();
        let mut pause = self.limits.pause;
        loop {
            let Err(why) = self.post(&headers, body.clone()).await else {
                self.counts.delivered.fetch_add(count, Relaxed);
                return;
            };
            let wait = jitter.around(pause.as_millis() as u32);
            let next = Instant::now() + Duration::from_millis(wait.into());
            if next > until {
                self.counts.given_up.fetch_add(count, Relaxed);
                tracing::error!("{} {why}: giving up on {count} webhook events", self.target);
                return;
            }
            tracing::debug!("{} {why}: retrying webhooks in {wait} ms", self.target);
            tokio::time::sleep_until(next).await;
            pause = (2 * pause).min(self.limits.longest_pause);
        }
    }

    async fn post(&self, headers: &HeaderMap, body: Bytes) -> Result<(), String> {
        self.counts.requests.fetch_add(1, Relaxed);
        let bounds = Bounds {
            time: self.timeout,
            answer: MAX_ANSWER,
        };
        let outcome = match http_client::post(&self.target, headers, body, bounds).await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) => Err(format!("answered with status {}", status.as_u16())),
            Err(why) => Err(why.to_string()),
        };
        let failed = u64::from(outcome.is_err());
        self.counts.failed.fetch_add(failed, Relaxed);
        outcome
    }

    fn headers(&self, body: &[u8]) -> HeaderMap {
        let credentials = self.credentials.get();
        let signature = credentials.sign(body).unwrap_or_default();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-pusher-key", credentials.key.as_str()),
            ("x-pusher-signature", &signature),
        ] {
            // Keys are checked with the settings, and a signature is hexadecimal digits: this does not fail.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

impl QueuedEvent {
    fn event(&self) -> &Event {
        &self.event
    }
}
