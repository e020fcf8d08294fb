//! What happens when an event could not be published: `askr.on_failure`.
//!
//! Live updates that are away must not take the site with them. So by default a failure is `false`
//! for the caller, and one line per outage for the log; never a notice, which frameworks such as
//! Laravel turn into an exception.

use std::time::{Duration, Instant};

use shared::publisher::{Failure, PublishError};

use crate::line::{Line, line};
use crate::outage::{OnFailure, Outage};
use crate::state::state;
use crate::zend::{self, Thrown};

/// Failures of a ring that works but was too busy come and go with each call; at most one line in
/// this time for them, with the number that it stands for.
const BUSY_LINE_EVERY: Duration = Duration::from_secs(60);

/// An event was published: the next failure is a new outage.
#[inline]
pub fn over() {
    let outage = &state().outage;
    let now = outage.get();
    if now.logged.is_some() {
        outage.set(Outage {
            logged: None,
            ..now
        });
    }
}

/// An event was not published. Returns what `askr_broadcast()` returns.
///
/// # Errors
/// If the policy is to throw.
#[cold]
pub fn report(error: PublishError) -> Result<bool, Thrown> {
    let log = line!("askr_broadcast(): event not published");
    tell(error, &log, &line!("Event not published"))?;
    Ok(false)
}

/// The same for `mercure_publish()`, where the policy is to go on.
///
/// # Errors
/// Never, by such a policy.
#[cold]
pub fn report_update(error: PublishError) -> Result<(), Thrown> {
    let log = line!("mercure_publish(): event not published");
    tell(error, &log, &line!("Event not published"))
}

/// Only the first of several events were published.
///
/// # Errors
/// If the policy is to throw.
#[cold]
pub fn report_all(error: PublishError, published: usize, count: usize) -> Result<(), Thrown> {
    let log = line!("askr_broadcast_all(): {published} of {count} events published");
    tell(
        error,
        &log,
        &line!("{published} of {count} events published"),
    )
}

/// `log` begins the line of a log, `what` that of a warning or an exception, which name the function themselves.
fn tell(error: PublishError, log: &Line, what: &Line) -> Result<(), Thrown> {
    let failure = error.failure;
    let message = line!("{}", error.message);
    // The heap is clean from here on: what follows may leave by longjmp.
    drop(error);
    let (text, log, what) = (message.as_str(), log.as_str(), what.as_str());
    match state().on_failure.get() {
        OnFailure::Silent => {}
        OnFailure::Log => {
            if let Some(unmentioned) = due(failure) {
                zend::log(&match unmentioned {
                    0 => line!("{log}: {text}"),
                    n => line!("{log}: {text} ({n} more since the last line)"),
                });
            }
        }
        OnFailure::Warning => zend::warning(&line!("{what}: {text}")),
        OnFailure::Exception => return Err(zend::exception(&line!("{what}: {text}"))),
    }
    Ok(())
}

/// Whether this failure deserves a line, and how many went without one since the last.
fn due(failure: Failure) -> Option<u64> {
    let cell = &state().outage;
    let outage = cell.get();
    if matches!(failure, Failure::Contended | Failure::ArenaFull) {
        return match outage.busy {
            Some((at, unmentioned)) if at.elapsed() < BUSY_LINE_EVERY => {
                cell.set(Outage {
                    busy: Some((at, unmentioned + 1)),
                    ..outage
                });
                None
            }
            busy => {
                cell.set(Outage {
                    busy: Some((Instant::now(), 0)),
                    ..outage
                });
                Some(busy.map_or(0, |(_, unmentioned)| unmentioned))
            }
        };
    }
    cell.set(Outage {
        logged: Some(failure),
        ..outage
    });
    (outage.logged != Some(failure)).then_some(0)
}
