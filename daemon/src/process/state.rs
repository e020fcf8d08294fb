//! What the process has once, whatever its applications: one [`Process`], which every application's hub, the
//! workers, the acceptor and the control socket share.

use std::sync::Arc;

use shared::segment::now_ns;

use crate::process::admission::Limits;
use crate::process::budget::Budget;
use crate::process::drain::Drain;
use crate::process::heartbeats::Heartbeats;
use crate::process::metrics::Metrics;
use crate::process::publish_failures::PublishFailures;
use crate::process::requests::Requests;
use crate::process::statuses::Statuses;

/// Parts that live on in what they count (a connection's place, bytes of an event or a request) are shared by
/// themselves as well.
pub struct Process {
    /// When it began, in nanoseconds since 1970.
    pub started_ns: u64,
    /// How many connections there may be.
    pub limits: Arc<Limits>,
    pub metrics: Arc<Metrics>,
    /// Memory for events, in every form.
    pub memory: Arc<Budget>,
    /// Requests in progress.
    pub requests: Arc<Requests>,
    pub heartbeats: Heartbeats,
    /// Whether viewers are being let go.
    pub drain: Drain,
    /// Events that could not be published to a ring that no application here has.
    pub unclaimed: PublishFailures,
    /// Refused requests, by the status of the response.
    pub statuses: Statuses,
}

/// Sizes of what [`Process`] bounds, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Of events, in every form: `server.outbox_total`.
    pub events: u64,
    /// Of requests in progress, and of the largest request: `server.requests_total`.
    pub requests: usize,
    pub largest_request: usize,
}

impl Process {
    pub fn new(limits: Limits, sizes: Sizes) -> Self {
        let metrics: Arc<Metrics> = Arc::default();
        Self {
            started_ns: now_ns(),
            limits: Arc::new(limits),
            requests: Arc::new(Requests::new(
                sizes.requests,
                sizes.largest_request,
                metrics.clone(),
            )),
            metrics,
            memory: Arc::new(Budget::new(sizes.events)),
            heartbeats: Heartbeats::default(),
            drain: Drain::default(),
            unclaimed: PublishFailures::default(),
            statuses: Statuses::default(),
        }
    }

    /// Why no viewer should be sent here.
    pub fn unready(&self) -> Option<String> {
        let drains = || {
            let left = self.metrics.streams.get();
            let plan = self.drain.plan();
            plan.map(|_| format!("draining: {left} viewers are left"))
        };
        self.heartbeats.unready().or_else(drains)
    }
}
