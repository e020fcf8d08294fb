//! Signals, from the first moment to the last: blocked in every thread, and taken one after another by a
//! thread of its own. So none kills the process and none is lost, whatever the main thread is doing.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::watch;

use crate::process::parts;

/// They ask for the end.
const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];
/// Others would end the process, and may be meant for a reload, which there is none of.
const IGNORED: [Signal; 3] = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Signals that wait, until somebody listens or they are released.
pub struct Held(SigSet);

/// Holds them back. In the main thread before there is any other: threads inherit it.
pub fn hold() -> Held {
    let set: SigSet = STOP.into_iter().chain(IGNORED).collect();
    // Fails for a set that is none; so below.
    let _ = set.thread_block();
    Held(set)
}

impl Held {
    /// They do what they do to any process: for commands, which a signal may end.
    pub fn release(&self) {
        let _ = self.0.thread_unblock();
    }

    /// Takes those that wait and all that come.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn listen(self) -> io::Result<Stops> {
        let (asked, stops) = watch::channel(0);
        parts::thread("signals", move || {
            loop {
                match self.0.wait() {
                    Ok(signal) if STOP.contains(&signal) => {
                        tracing::info!("{signal}: asked to stop");
                        asked.send_modify(|times| *times += 1);
                    }
                    Ok(signal) => tracing::info!("{signal}: ignored, there is no reload"),
                    Err(_) => {}
                }
            }
        })?;
        Ok(Stops {
            asked: stops,
            taken: 0,
        })
    }
}

/// Requests to stop, the first and those that repeat it.
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
