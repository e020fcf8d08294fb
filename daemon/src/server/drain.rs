//! Carries out a drain at a pace (`process/drain.rs`): at each tick every engine lets go such a share of its streams that
//! the last ones are gone in time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::app::application::App;
use crate::config::Settings;
use crate::hub::command::Command;
use crate::process::current::Current;
use crate::process::drain::Plan;
use crate::process::reconnect::Window;
use crate::process::state::Process;

const TICK: Duration = Duration::from_millis(100);

pub struct Drainer {
    pub apps: Vec<Arc<App>>,
    pub process: Arc<Process>,
    pub in_force: Arc<Current<Settings>>,
}

impl Drainer {
    /// Runs until dropped.
    ///
    /// # Errors
    /// None while the process lives.
    pub async fn run(self) -> io::Result<()> {
        let mut orders = self.process.drain.watch();
        loop {
            let ordered = orders.wait_for(Option::is_some).await;
            ordered.map_err(io::Error::other)?;
            tracing::info!("draining: {} viewers are left", self.left());
            let mut is_told = false;
            while let Some(plan) = self.process.drain.plan() {
                if plan.has_begun() {
                    self.let_go(plan);
                    if self.left() == 0 && !std::mem::replace(&mut is_told, true) {
                        tracing::info!("drained: no viewer is left");
                    }
                }
                tokio::time::sleep(TICK).await;
            }
            tracing::info!("the drain was stopped: new viewers are welcome again");
        }
    }

    fn left(&self) -> u64 {
        self.process.metrics.streams.get()
    }

    /// Lets go what is due. A stream that was being authorized meanwhile is turned away when it opens.
    fn let_go(&self, plan: Plan) {
        let left = self.left();
        if left == 0 {
            return;
        }
        let ticks = plan.left().as_millis() / TICK.as_millis() + 1;
        let one_of = u32::try_from(ticks).unwrap_or(u32::MAX);
        let now = (left / u64::from(one_of)) as usize;
        let window = Window::new(now, self.in_force.get().server.reconnect_rate);
        for inbox in self.apps.iter().flat_map(|app| &app.hub.inboxes) {
            inbox.command(Command::LetGo { one_of, window });
        }
    }
}
