//! Who looks at the page, and what is done only for them. Once a second there is a sample, whoever looks: it is what the page
//! begins with. The rest is made once for all that look, and not at all if nobody does.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use protocol::sse;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::app::application::App;
use crate::app::queries;
use crate::observe::dashboard::samples::{Sample, Samples, VALUES};
use crate::observe::dashboard::snapshot;
use crate::observe::dashboard::snapshot::{Looked, Ranked, Totals};
use crate::observe::observed::Observed;
use crate::observe::serving;

/// Rows of each list.
const ROWS: usize = 20;
/// Seconds from one look at all channels to the next.
const LOOK: u64 = 5;
const _: () = assert!(LOOKING < serving::MOST);

/// Pages that look at one time; others of the dashboard's connections are left for who signs in or asks for something.
pub const LOOKING: usize = 48;

/// Bytes of all pictures at the most: what is made, as values and as text, and for each who looks one that is on its way, and
/// one that waits or what came first.
pub const fn ceiling(apps: u64) -> u64 {
    let picture = snapshot::ceiling(apps);
    8 * picture + LOOKING as u64 * 2 * picture
}

pub struct Watching {
    observed: Observed,
    samples: RefCell<Samples>,
    looked: RefCell<Vec<Looked>>,
    viewers: Cell<usize>,
    latest: watch::Sender<Bytes>,
}

/// One who looks.
pub struct Viewer {
    watching: Rc<Watching>,
    pub latest: watch::Receiver<Bytes>,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let viewers = &self.watching.viewers;
        viewers.set(viewers.get() - 1);
        if viewers.get() == 0 {
            self.watching.watch(false);
        }
    }
}

impl Watching {
    pub fn new(observed: Observed) -> Rc<Self> {
        let looked = observed.apps.iter().map(|_| Looked::default()).collect();
        Rc::new(Self {
            observed,
            samples: RefCell::default(),
            looked: RefCell::new(looked),
            viewers: Cell::new(0),
            latest: watch::Sender::new(Bytes::new()),
        })
    }

    /// Somebody begins to look; returns also what is sent first. None: as many look as may.
    pub fn enter(self: &Rc<Self>) -> Option<(Viewer, Bytes)> {
        if self.viewers.get() >= LOOKING {
            return None;
        }
        self.viewers.set(self.viewers.get() + 1);
        self.watch(true);
        let past = json!({ "values": VALUES, "past": *self.samples.borrow() });
        let mut first = sse::retry(1000);
        first.extend(sse::named("past", &past.to_string()));
        let viewer = Viewer {
            watching: self.clone(),
            latest: self.latest.subscribe(),
        };
        Some((viewer, first.into()))
    }

    fn watch(&self, watched: bool) {
        let apps = self.observed.apps.iter();
        apps.for_each(|app| app.hub.busy_channels.watch(watched));
    }

    /// Looks once a second, for as long as the process lives.
    pub async fn run(self: Rc<Self>) -> Infallible {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        let mut second = 0;
        loop {
            seconds.tick().await;
            let (sample, totals) = Totals::sample(&self.observed, before.as_ref());
            before = Some(totals);
            self.samples.borrow_mut().push(sample);
            if self.viewers.get() > 0 {
                self.look(second, &sample).await;
            }
            second += 1;
        }
    }

    async fn look(&self, second: u64, sample: &Sample) {
        let apps = &self.observed.apps;
        let first = self.latest.borrow().is_empty();
        if first || second.is_multiple_of(LOOK) {
            for (n, app) in apps.iter().enumerate() {
                let largest = queries::largest_here(app, ROWS).await;
                let ranked = |(channel, count)| Ranked {
                    channel,
                    count: count as u64,
                };
                self.looked.borrow_mut()[n].largest = largest.into_iter().map(ranked).collect();
                app.hub.busy_channels.turn();
            }
        }
        for (n, app) in apps.iter().enumerate() {
            let slow = slow(app).await;
            let looked = &mut self.looked.borrow_mut()[n];
            let (top, exact) = app.hub.busy_channels.top(ROWS);
            let ranked = |(channel, count)| Ranked { channel, count };
            looked.busiest = top.into_iter().map(ranked).collect();
            looked.busiest_exact = exact;
            looked.slow = slow;
        }
        let now = snapshot::now(&self.observed, sample, &self.looked.borrow());
        let text = sse::named("now", &now.to_string());
        self.latest.send_replace(text.into());
    }
}

async fn slow(app: &App) -> Vec<serde_json::Value> {
    let slow = queries::slow_here(app, ROWS).await;
    let each = slow.into_iter().map(|one| {
        json!({
            "socket": one.socket.to_string(),
            "user": one.user,
            "transport": one.transport,
            "channels": one.channels,
            "bytes": one.bytes,
            "replays": one.replays,
        })
    });
    each.collect()
}
