//! Signals: blocked in every thread from the first moment to the last, and received one after another by a thread
//! of its own. None kills the process and none is lost, whatever the main thread is doing.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::watch;

use crate::process::parts;

/// They request a shutdown.
const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];
/// It requests a reload.
const RELOAD: Signal = Signal::SIGHUP;
/// Their default action would end the process.
const IGNORED: [Signal; 2] = [Signal::SIGUSR1, Signal::SIGUSR2];

/// Pending signals, until `listen` or `release`.
pub struct Held(SigSet);

/// Blocks them. Called in the main thread before there is any other: threads inherit the mask.
pub fn hold() -> Held {
    let set: SigSet = STOP.into_iter().chain(IGNORED).chain([RELOAD]).collect();
    // Fails only for an invalid set; so below.
    let _ = set.thread_block();
    Held(set)
}

impl Held {
    /// Restores their default actions: for commands, which a signal may end.
    pub fn release(&self) {
        let _ = self.0.thread_unblock();
    }

    /// Receives pending and all further signals.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn listen(self) -> io::Result<(Stops, Reloads)> {
        let (asked, stops) = watch::channel(0);
        let (reload, reloads) = watch::channel(());
        parts::thread("signals", move || {
            loop {
                match self.0.wait() {
                    Ok(signal) if STOP.contains(&signal) => {
                        tracing::info!("{signal}: asked to stop");
                        asked.send_modify(|times| *times += 1);
                    }
                    Ok(RELOAD) => {
                        tracing::info!("{RELOAD}: asked to reload");
                        let _ = reload.send(());
                    }
                    Ok(signal) => tracing::info!("{signal}: ignored, it means nothing here"),
                    Err(_) => {}
                }
            }
        })?;
        let stops = Stops {
            asked: stops,
            taken: 0,
        };
        Ok((stops, Reloads(reloads)))
    }
}

/// Requests to reload. Several that come before the next one is waited for are one.
pub struct Reloads(watch::Receiver<()>);

impl Reloads {
    /// The next one, also if it came before.
    pub async fn next(&mut self) {
        // The thread that sends never ends.
        let _ = self.0.changed().await;
    }
}

/// Requests to stop: the first, and those that repeat it.
pub struct Stops {
    asked: watch::Receiver<u32>,
    taken: u32,
}

impl Stops {
    /// Whether there has been any.
    pub fn asked(&self) -> bool {
        *self.asked.borrow() > 0
    }

    /// The next one, also if it came before.
    pub async fn next(&mut self) {
        let taken = self.taken;
        // The thread that sends never ends.
        let _ = self.asked.wait_for(|times| *times > taken).await;
        self.taken += 1;
    }
}
