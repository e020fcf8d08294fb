//! A daemon that changes the sizes, publishes and hands out is killed before and after each of its system
//! calls; then somebody takes the ring away, or puts another state of it there. Whatever the next daemons
//! find, no position that was handed out names another event.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use shared::event::EventRef;
use shared::keeper::{Keeper, Next};
use shared::spec::RingSpec;

use super::children::{Verdict, await_that, child, done};
use crate::stage;
use crate::trace::{Child, mark};

type Failed = Box<dyn std::error::Error>;

/// What happens after the kill, to the ring and a copy made before the sizes changed.
type Mischief = (&'static str, fn(&Path, &Path) -> std::io::Result<()>);

const MISCHIEF: [Mischief; 4] = [
    ("nothing", |_, _| Ok(())),
    ("the ring is removed", |ring, _| fs::remove_file(ring)),
    ("an older copy is put there", |ring, copy| {
        fs::remove_file(ring)?;
        fs::copy(copy, ring).map(drop)
    }),
    ("the retired ring is moved there", |ring, _| {
        for entry in fs::read_dir(ring.with_file_name(""))? {
            let path = entry?.path();
            if path.to_string_lossy().contains(".old-") {
                fs::rename(path, ring)?;
            }
        }
        Ok(())
    }),
];

pub fn run() -> Verdict {
    let mut stops = 0;
    for (what, mischief) in MISCHIEF {
        let mut stop = 0;
        while killed_at(stop, mischief)
            .map_err(|error| format!("killed at stop {stop}, then {what}: {error}"))?
        {
            stop += 1;
        }
        if stop < 60 {
            return Err(format!("only {stop} stops prove nothing").into());
        }
        stops += stop;
    }
    Ok(format!(
        "killed at each of {stops} stops, and the ring removed, exchanged or put back: no position has two events"
    ))
}

/// False when all was over before that stop.
fn killed_at(stop: u64, mischief: fn(&Path, &Path) -> std::io::Result<()>) -> Result<bool, Failed> {
    let dir = tempfile::Builder::new()
        .prefix("askr-taken-")
        .tempdir_in("/dev/shm")?;
    let ring = dir.path().join("ring");
    let small = RingSpec {
        name: ring.display().to_string().parse()?,
        slots: 64,
        arena: 64 << 10,
        writers: 16,
        ..RingSpec::default()
    };
    let large = RingSpec {
        slots: 128,
        arena: 128 << 10,
        ..small.clone()
    };
    let book = dir.path().join("book");
    let copy = dir.path().join("copy");
    serve(&small, "first", &book)?;
    fs::copy(&ring, &copy)?;
    serve(&small, "second", &book)?;
    let mut killed = Child::spawn(|| {
        mark();
        i32::from(hand_out(&large, "third", &book).is_err())
    })?;
    killed.wait()?;
    killed.bind()?;
    let over = killed.kill_at_syscall(stop)?;
    mischief(&ring, &copy)?;
    serve(&large, "fourth", &book)?;
    serve(&small, "fifth", &book)?;
    Ok(!over)
}

/// `hand_out` in a process of its own.
fn serve(spec: &RingSpec, text: &str, book: &Path) -> Result<(), Failed> {
    done(child(|| hand_out(spec, text, book))?)
}

/// A daemon hands out what it finds and what is published, and writes down which event had which position,
/// unless the book says otherwise.
fn hand_out(spec: &RingSpec, text: &str, book: &Path) -> Result<(), Failed> {
    let mut keeper = Keeper::start(spec.clone())?;
    let mut publisher = stage::publisher(&spec.name);
    for n in 0..3 {
        publisher.publish(&event(format!("{text} {n}").as_bytes()))?;
    }
    let known = fs::read_to_string(book).unwrap_or_default();
    let mut known: HashMap<String, String> = known
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(cursor, event)| (cursor.to_owned(), event.to_owned()))
        .collect();
    let mut book = OpenOptions::new().append(true).create(true).open(book)?;
    let mut wrong = None;
    await_that("what was published last", || match keeper.step() {
        Next::Event { seq, event } => {
            let cursor = format!("{}-{seq}", keeper.current().epoch());
            let event = event.data_str().to_owned();
            let last = event == format!("{text} 2");
            // A line is whole or not there: one system call.
            if let Err(error) = book.write_all(format!("{cursor}: {event}\n").as_bytes()) {
                wrong = Some(error.to_string());
            }
            if let Some(former) = known.insert(cursor.clone(), event.clone())
                && former != event
            {
                wrong = Some(format!("{cursor} is \"{former}\" and \"{event}\""));
            }
            last || wrong.is_some()
        }
        Next::Empty => {
            keeper.wait(Duration::from_millis(50));
            false
        }
        _ => false,
    })?;
    wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
}

fn event(data: &[u8]) -> EventRef<'_> {
    EventRef {
        channels: &[b"taken"],
        data,
        ..EventRef::default()
    }
}
