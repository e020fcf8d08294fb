//! Erases a channel's events: what the ring holds now is given out no more, by nothing, also after a restart
//! (`docs/HISTORY.md`). Events of this channel alone are taken out of the ring. Those that are on others too stay for
//! them: that they are erased for this one is written down first.

use std::io;
use std::time::Duration;

use shared::cursor::Cursor;
use tokio::task::yield_now;

use crate::app::application::App;
use crate::app::history::{Read, Reader, read_up_to_now};
use crate::hub::{erased, erased_file};

/// For the tailer to read what was published before.
const PATIENCE: Duration = Duration::from_secs(1);
/// Positions looked up at a time.
const PLAN: usize = 64;

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error(
        "{most} channels were erased, and the ring still holds events that old: try again when it does not",
        most = erased::MOST
    )]
    Full,
    #[error("it cannot be written down, so nothing was erased: {0}")]
    File(io::Error),
}

/// Erases what was published to `channel` until now. Returns the number of events. It has to run to its end: whoever
/// asks for it may go away meanwhile.
///
/// # Errors
/// Then nothing was erased.
pub async fn forget(app: &App, channel: &str) -> Result<u64, Failed> {
    let hub = &app.hub;
    let _alone = app.erasing.lock().await;
    read_up_to_now(hub, PATIENCE).await;
    let last = Cursor {
        epoch: hub.segments.epoch(),
        seq: hub.segments.head().max(1) - 1,
    };
    let erased = &hub.index.erased;
    // None: the ring is just being replaced by one without its history.
    let Some(known) = erased.with(channel, last, hub.store.held_from(0)) else {
        return Ok(0);
    };
    if known.len() > erased::MOST {
        return Err(Failed::Full);
    }
    erased_file::write(
        &app.ring.beside(erased_file::SUFFIX),
        app.ring.path(),
        &known,
    )
    .map_err(Failed::File)?;

    let count = take_out(app, channel, last).await;
    // From here on nobody finds what stays for other channels, nor counts what was taken out as lost.
    erased.set(known);
    hub.index.erase(channel, last.seq);
    hub.last_events.erase(channel, last.seq);
    let metrics = &hub.process.metrics;
    metrics.erased.add(count);
    tracing::info!(
        "application {}: {count} events of a channel were erased",
        app.id
    );
    Ok(count)
}

/// Takes the events up to `last` that are on no other channel out of the ring. Returns how many there are, others among
/// them.
async fn take_out(app: &App, channel: &str, last: Cursor) -> u64 {
    let hub = &app.hub;
    let mut reader = Reader::new(hub, channel, None);
    let (mut at, end, mut count) = (hub.index.first(), last.seq + 1, 0);
    while at < end && hub.segments.epoch() == last.epoch {
        let plan = reader.plan(at, end, PLAN);
        // Without a bound of scanning there is always a stretch.
        let Some(stretch) = reader.stretch(plan).await else {
            break;
        };
        for seq in stretch.seqs {
            let Read::Event(event) = reader.read(seq) else {
                continue;
            };
            let mut others = event.channels().filter(|name| *name != channel);
            if others.all(|name| hub.index.erased.hides(name, seq)) {
                hub.segments.erase(reader.cursor(seq));
            }
            count += 1;
        }
        at = stretch.next;
        yield_now().await;
    }
    count
}
