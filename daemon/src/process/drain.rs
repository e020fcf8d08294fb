//! A drain at a pace: viewers are let go while askrd goes on, and new ones are asked to come back. Here is what was
//! ordered; `server/drain.rs` carries it out.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// When viewers are let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Until then askrd only says that it is not ready, so that load balancers notice first.
    pub begins: Instant,
    /// By then the last one is let go.
    pub ends: Instant,
}

impl Plan {
    pub fn has_begun(&self) -> bool {
        Instant::now() >= self.begins
    }

    /// Until the last one is let go.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

#[derive(Debug)]
pub struct Drain(watch::Sender<Option<Plan>>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Drain {
    /// Begins one, in place of one that goes on.
    pub fn begin(&self, notice: Duration, over: Duration) {
        let begins = Instant::now() + notice;
        let ends = begins + over;
        self.0.send_replace(Some(Plan { begins, ends }));
    }

    /// Ends it: new viewers are welcome again.
    pub fn stop(&self) {
        self.0.send_replace(None);
    }

    /// None: there is none.
    pub fn plan(&self) -> Option<Plan> {
        *self.0.borrow()
    }

    /// Whether new viewers are asked to come back.
    pub fn turns_away(&self) -> bool {
        self.plan().is_some_and(|plan| plan.has_begun())
    }

    /// Changes when one is ordered, or stopped.
    pub fn watch(&self) -> watch::Receiver<Option<Plan>> {
        self.0.subscribe()
    }
}
