//! A daemon that starts with other sizes is killed before and after each of its system calls. The next
//! one finds what it left: no event is missing or doubled, the epoch stays, publishers go on.

use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use shared::keeper::{Keeper, Next};
use shared::publisher::Publisher;
use shared::spec::RingSpec;

use super::children::{Verdict, await_that, child, done};
use crate::common::Words;
use crate::payload::{Sender, verify};
use crate::stage;
use crate::trace::{Child, mark};

const KEY: u64 = 5;
/// Words shared with the last daemon: epoch before, epoch after, events read, asked to go on.
const BEFORE: usize = 0;
const AFTER: usize = 1;
const READ: usize = 2;

pub fn run() -> Verdict {
    let mut stop = 0;
    while killed_at(stop)? {
        stop += 1;
    }
    if stop < 40 {
        return Err(format!("a rotation of only {stop} stops proves nothing").into());
    }
    Ok(format!(
        "killed at each of {stop} stops at system calls: history whole, publishers go on"
    ))
}

/// False when the rotation was over before that stop.
fn killed_at(stop: u64) -> Result<bool, Box<dyn std::error::Error>> {
    let dir = tempfile::Builder::new()
        .prefix("askr-rotation-")
        .tempdir_in("/dev/shm")?;
    let name: shared::name::RingName = format!("{}/ring", dir.path().display()).parse()?;
    let small = RingSpec {
        name,
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
    let words = Words::anonymous(3)?;
    let mut sent = Vec::new();
    let mut sender = Sender::new(KEY, 1, 4000);
    let mut publisher = stage::publisher(&small.name);

    done(child(|| {
        let keeper = Keeper::start(small.clone())?;
        words[BEFORE].store(epoch(&keeper), Release);
        Ok(())
    })?)?;
    for _ in 0..5 {
        publish(&mut publisher, &mut sender, &mut sent)?;
    }
    let mut rotating = Child::spawn(|| {
        mark();
        i32::from(Keeper::start(large.clone()).is_err())
    })?;
    rotating.wait()?;
    rotating.bind()?;
    let over = rotating.kill_at_syscall(stop)?;
    for _ in 0..5 {
        publish(&mut publisher, &mut sender, &mut sent)?;
    }

    let last = child(|| last_daemon(&large, &words))?;
    await_that("the first ten", || {
        words[READ].load(Acquire) >= 10 || gone(last)
    })?;
    for _ in 0..5 {
        publish(&mut publisher, &mut sender, &mut sent)?;
    }
    done(last).map_err(|error| format!("killed at stop {stop}: {error}"))?;
    if words[BEFORE].load(Acquire) != words[AFTER].load(Acquire) {
        return Err(format!("killed at stop {stop}: the epoch changed").into());
    }
    let left: Vec<String> = std::fs::read_dir(dir.path())?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    // The ring, the lock, the retired ring.
    if left.iter().any(|file| file.contains(".new-")) || left.len() > 3 {
        return Err(format!("killed at stop {stop}: left over: {left:?}").into());
    }
    Ok(!over)
}

fn publish(
    publisher: &mut Publisher,
    sender: &mut Sender,
    sent: &mut Vec<u64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let counter = sent.len() as u64;
    let len = if counter.is_multiple_of(2) { 20 } else { 3000 };
    sent.push(sender.publish(publisher, counter, len)?);
    Ok(())
}

/// Must see events 0 to 14, each once and in order, and nothing else.
fn last_daemon(spec: &RingSpec, words: &Words) -> Result<(), Box<dyn std::error::Error>> {
    let mut keeper = Keeper::start(spec.clone())?;
    words[AFTER].store(epoch(&keeper), Release);
    let mut next = 0;
    await_that("all events", || {
        match keeper.step() {
            Next::Event { event, .. } => match verify(KEY, &event) {
                Ok(sent) if sent.counter == next => {
                    next += 1;
                    words[READ].store(next, Release);
                }
                other => panic!("{other:?} instead of {next}"),
            },
            Next::Empty => keeper.wait(Duration::from_millis(50)),
            Next::Changed {
                fresh_epoch: false, ..
            } => {}
            other => panic!("{other:?}"),
        }
        next == 15
    })?;
    Ok(())
}

fn epoch(keeper: &Keeper) -> u64 {
    let [a, b, c, d, e, f] = keeper.current().epoch().0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

fn gone(pid: nix::unistd::Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}
