//! Erases a channel's events: what the ring holds now is given out no more, by nothing, also after a restart
//! (`docs/HISTORY.md`). Events of this channel alone are taken out of the ring. Those that are on others too stay for
//! them: that they are erased for this one is written down first.

use std::io;
use std::time::Duration;

use shared::cursor::Cursor;
use shared::vector::Vector;
use tokio::task::yield_now;

use crate::app::application::App;
use crate::app::erasures;
use crate::app::history::{Read, Reader, read_up_to_now};
use crate::hub::erased::{self, Erasure};
use crate::hub::erased_file;
use crate::hub::hub::Hub;
use crate::hub::origins::Origins;

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

/// Erases what was published to `channel` until now, and tells other hosts. Returns the number of events here. It has to
/// run to its end: whoever asks for it may go away meanwhile.
///
/// # Errors
/// Then nothing was erased.
pub async fn forget(app: &App, channel: &str) -> Result<u64, Failed> {
    let hub = &app.hub;
    let _alone = app.erasing.lock().await;
    read_up_to_now(hub, PATIENCE).await;
    let (last, vector) = now(hub);
    let here = Erasure::here(channel, last);
    let across = vector.clone();
    let across = across.map(|vector| Erasure::across(channel, last, vector));
    let more = [here].into_iter().chain(across).collect();
    let erased = &hub.index.erased;
    // None: the ring is just being replaced by one without its history.
    let Some(known) = erased.with(more, hub.store.held_from(0)) else {
        return Ok(0);
    };
    if erased::are_too_many(&known) {
        return Err(Failed::Full);
    }
    write(app, &known).map_err(Failed::File)?;

    let taken = take_out(app, channel, last, None).await;
    // From here on nobody finds what stays for other channels, nor counts what was taken out as lost.
    erased.set(known);
    done(app, channel, &taken);
    if let Some(vector) = vector {
        erasures::keep(app, channel, &vector);
    }
    Ok(taken.count)
}

/// Erases here what was erased on other hosts: of each channel what the vector has, also if it comes later.
///
/// # Errors
/// Then nothing was erased of what is here.
pub async fn learn(app: &App, mut told: Vec<(Box<str>, Vector)>) -> Result<(), Failed> {
    let hub = &app.hub;
    let Some(origins) = &hub.origins else {
        return Ok(());
    };
    let _alone = app.erasing.lock().await;
    let (erased, oldest) = (&hub.index.erased, hub.store.held_from(0));
    told.retain(|(channel, vector)| {
        !erased.knows(channel, vector) && origins.may_hold(vector, oldest)
    });
    if told.is_empty() {
        return Ok(());
    }
    read_up_to_now(hub, PATIENCE).await;
    let last = {
        // What was imported before lies in the ring; what will be is refused.
        let _importing = origins.import();
        erased.refuse(&told);
        newest(hub)
    };
    let across =
        |(channel, vector): &(Box<str>, Vector)| Erasure::across(channel, last, vector.clone());
    let more = told.iter().map(across).collect();
    let Some(known) = erased.with(more, oldest) else {
        return Ok(());
    };
    if erased::are_too_many(&known) {
        return Err(Failed::Full);
    }
    if let Err(why) = write(app, &known) {
        let app = &app.id;
        tracing::warn!(
            "application {app}: what other hosts erased cannot be written down, a restart has to hear of it again: {why}"
        );
    }
    let mut all = Vec::new();
    for (channel, vector) in &told {
        all.push(take_out(app, channel, last, Some((origins, vector))).await);
    }
    erased.set(known);
    for ((channel, _), taken) in told.iter().zip(&all) {
        done(app, channel, taken);
    }
    Ok(())
}

/// The last position, and what lies up to there of each host, if there are several.
fn now(hub: &Hub) -> (Cursor, Option<Vector>) {
    let Some(origins) = &hub.origins else {
        return (newest(hub), None);
    };
    // What is being imported is noted, then.
    let _importing = origins.import();
    let last = newest(hub);
    let mut vector = origins.vector_at(last.seq);
    if let Some(vector) = &mut vector {
        // The tailer may not have read so far.
        let _ = vector.set(origins.own(), last.seq);
    }
    (last, vector)
}

fn newest(hub: &Hub) -> Cursor {
    Cursor {
        epoch: hub.segments.epoch(),
        seq: hub.segments.head().max(1) - 1,
    }
}

fn write(app: &App, known: &[Erasure]) -> io::Result<()> {
    let path = app.ring.beside(erased_file::SUFFIX);
    erased_file::write(&path, app.ring.path(), known)
}

fn done(app: &App, channel: &str, taken: &Taken) {
    let hub = &app.hub;
    hub.index.erase(channel, taken.all_up_to);
    hub.last_events.erase(channel, taken.last);
    hub.process.metrics.erased.add(taken.count);
    let (app, count) = (&app.id, taken.count);
    tracing::info!("application {app}: {count} events of a channel were erased");
}

/// What was taken out of a channel.
struct Taken {
    /// Events, those that stay for other channels among them.
    count: u64,
    /// Everything up to here.
    all_up_to: u64,
    /// Nothing behind it.
    last: u64,
}

/// Takes the events up to `last` that are on no other channel out of the ring; `only`: of those the ones that this vector
/// has.
async fn take_out(
    app: &App,
    channel: &str,
    last: Cursor,
    only: Option<(&Origins, &Vector)>,
) -> Taken {
    let hub = &app.hub;
    let mut taken = Taken {
        count: 0,
        // What the tailer has not read yet may be something else.
        all_up_to: only.map_or(last.seq, |_| {
            last.seq.min(hub.watermarks.completed().max(1) - 1)
        }),
        last: only.map_or(last.seq, |_| 0),
    };
    let mut reader = Reader::new(hub, channel, None);
    let (mut at, end) = (hub.index.first(), last.seq + 1);
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
            if only.is_some_and(|(origins, vector)| !origins.is_covered(seq, vector)) {
                taken.all_up_to = taken.all_up_to.min(seq - 1);
                continue;
            }
            let mut others = event.channels().filter(|name| *name != channel);
            if others.all(|name| hub.index.erased.hides(name, seq)) {
                hub.segments.erase(reader.cursor(seq));
            }
            taken.count += 1;
            taken.last = taken.last.max(seq);
        }
        at = stretch.next;
        yield_now().await;
    }
    taken
}
