//! The parts of the daemon: its threads, and the tasks that last as long as it does. One that dies ends the
//! process: half a daemon would still report that it is healthy. The service manager starts it again,
//! and clients come back by themselves and miss nothing.
//!
//! So does any panic, also in a connection's task: it may have left an engine half changed. The panic hook ends
//! the process on the thread that panicked. It needs no other thread, so it works while the main thread reads
//! history, serves or drains.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write;
use std::future::Future;
use std::panic::{self, PanicHookInfo};
use std::thread::{self, JoinHandle};
use std::{io, process};

use crate::process::{faults, logging, quarantine};

/// Exit code after a part has died (EX_SOFTWARE).
const DIED: i32 = 70;

/// From now on a panic ends the process.
pub fn end_at_a_panic() {
    panic::set_hook(Box::new(|info| died(&describe(info))));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let mut described = format!("thread {}", thread.name().unwrap_or("without a name"));
    if let Some(place) = info.location() {
        let _ = write!(described, " panicked at {place}");
    }
    let _ = write!(described, ": {}", text.unwrap_or("no message"));
    // Only where RUST_BACKTRACE asks for it.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _ = write!(described, "\n{trace}");
    }
    described
}

/// Ends the process because a part of it cannot go on.
pub fn died(why: &str) -> ! {
    quarantine::blame();
    let event =
        quarantine::in_hand().map(|event| format!(", while it worked on the event {event}"));
    logging::finish_with(&format!("askrd ends: {why}{}", event.unwrap_or_default()));
    process::exit(DIED)
}

/// Starts a thread. An error of its work ends the process.
///
/// # Errors
/// If no thread can be started.
pub fn thread(
    name: &str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let own = name.to_owned();
    thread::Builder::new().name(name.into()).spawn(move || {
        if let Err(why) = faults::part(&own).and_then(|()| work()) {
            died(&format!("thread {own} cannot go on: {why}"));
        }
    })
}

/// A task that lasts as long as the process: resolves to the reason why it ended.
pub async fn task(name: &str, work: impl Future<Output = io::Result<()>>) -> String {
    let outcome = match faults::part(name) {
        Ok(()) => work.await,
        fault => fault,
    };
    match outcome {
        Ok(()) => format!("{name} has ended"),
        Err(why) => format!("{name} cannot go on: {why}"),
    }
}
