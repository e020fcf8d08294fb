//! What the process has once, whatever its applications: one [`Process`], which every application's hub, the
//! workers, the acceptor and the control socket share.

use std::sync::Arc;

use crate::process::admission::Limits;
use crate::process::budget::Budget;
use crate::process::heartbeats::Heartbeats;
use crate::process::metrics::Metrics;
use crate::process::requests::Requests;
use crate::process::worker_counters::Workers;

/// Parts that live on in what they count (a connection's place, bytes of an event or a request) are shared by
/// themselves as well.
pub struct Process {
    /// How many connections there may be.
    pub limits: Arc<Limits>,
    pub metrics: Arc<Metrics>,
    /// What is counted for every event, by each worker for itself.
    pub workers: Workers,
    /// Memory for events, in every form.
    pub memory: Arc<Budget>,
    /// Requests in progress.
    pub requests: Arc<Requests>,
    pub heartbeats: Heartbeats,
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
    pub fn new(workers: usize, limits: Limits, sizes: Sizes) -> Self {
        let metrics: Arc<Metrics> = Arc::default();
        Self {
            limits: Arc::new(limits),
            requests: Arc::new(Requests::new(
                sizes.requests,
                sizes.largest_request,
                metrics.clone(),
            )),
            metrics,
            workers: Workers::new(workers),
            memory: Arc::new(Budget::new(sizes.events)),
            heartbeats: Heartbeats::default(),
        }
    }
}
