//! The parts of the daemon: its threads, and the tasks that last as long as it does. One that dies ends the
//! process: half a daemon would go on reporting that it is well. The service manager starts it again,
//! and clients come back by themselves and miss nothing.
//!
//! A panic anywhere is such a death, also in a connection's task: it may have happened in the middle of a
//! change to an engine, which is of use to nobody then. The panic hook ends the process, on the thread that
//! panicked: it needs no other thread to take notice, so it works while the main thread reads history,
//! serves or drains.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write;
use std::future::Future;
use std::panic::{self, PanicHookInfo};
use std::thread::{self, JoinHandle};
use std::{io, process};

use crate::process::{faults, logging, quarantine};

/// Exit code of a process of which a part has died (EX_SOFTWARE).
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
    let mut told = format!("thread {}", thread.name().unwrap_or("without a name"));
    if let Some(place) = info.location() {
        let _ = write!(told, " panicked at {place}");
    }
    let _ = write!(told, ": {}", text.unwrap_or("no message"));
    // Only where RUST_BACKTRACE asks for it.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _ = write!(told, "\n{trace}");
    }
    told
}

/// Ends the process because a part of it cannot go on.
pub fn died(why: &str) -> ! {
    quarantine::blame();
    let event =
        quarantine::in_hand().map(|event| format!(", while it worked on the event {event}"));
    logging::finish_with(&format!("askrd ends: {why}{}", event.unwrap_or_default()));
    process::exit(DIED)
}

/// A thread. An error of its work ends the process.
///
/// # Errors
/// If there is none to be had.
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

/// A task that is to last: resolves to the reason why it does not.
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
