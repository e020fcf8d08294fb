//! A tmpfs that fills up while the real askrd serves, and a ring that is removed then: askrd goes on with
//! what it has and says why it is not ready; with room, it takes the name back, and nothing was lost.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use shared::event::EventRef;

use super::children::{Verdict, await_that, child, done};
use crate::roles;
use crate::served::Served;
use crate::sse::{Block, Stream};
use crate::stage;

type Failed = Box<dyn std::error::Error>;

const FAILED: &str = "askr_ring_replacements_failed_total";
/// The ring takes about 9 MiB.
const SIZE: &str = "size=24m";
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run() -> Verdict {
    let dir = tempfile::Builder::new().prefix("askr-filled-").tempdir()?;
    let path = dir.path().to_owned();
    done(child(|| in_a_room_that_fills_up(&path))?)?;
    Ok("not ready with a reason, nothing left over, everything delivered, ready when there was room".into())
}

fn in_a_room_that_fills_up(dir: &Path) -> Result<(), Failed> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|e| format!("no mount namespace ({e}): run as root"))?;
    let (none, tmpfs) = (None::<&str>, Some("tmpfs"));
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(tmpfs, dir, tmpfs, MsFlags::empty(), Some(SIZE))?;
    // Beside this program, where both are built.
    let askrd = std::env::current_exe()?.with_file_name("askrd");
    let served = Served::new(&askrd, dir)?;
    let mut daemon = served
        .start(false)
        .map_err(|error| format!("{}: {error}; run 'make build' first", askrd.display()))?;
    let seen = watch(dir, &served);
    let ended = daemon.kill().and_then(|()| daemon.wait());
    seen?;
    ended?;
    Ok(())
}

fn watch(dir: &Path, served: &Served) -> Result<(), Failed> {
    let spec = roles::spec(dir, false)?;
    await_that("askrd to be ready", || ready(served))?;
    let mut stream = Stream::open(served.port, "room", None, PATIENCE)?;
    let mut publisher = stage::publisher(&spec.name);
    publisher.publish(&event(b"before"))?;
    expect(&mut stream, "before")?;

    let filler = dir.join("filler");
    fill(&filler)?;
    fs::remove_file(spec.name.path())?;
    await_that("askrd not to be ready", || {
        served
            .asked("/readyz")
            .is_ok_and(|(status, _)| status == 503)
    })?;
    let (_, why) = served.asked("/readyz")?;
    if !why.contains("no room") || !why.contains(&spec.name.path().display().to_string()) {
        return Err(format!("an unclear reason: {why}").into());
    }
    await_that("more tries", || served.metric(FAILED).is_ok_and(|n| n >= 3))?;
    if let Some(left) = files(dir)?.iter().find(|file| file.starts_with("ring.new")) {
        return Err(format!("left over: {left}").into());
    }
    publisher.publish(&event(b"meanwhile"))?;
    expect(&mut stream, "meanwhile")?;

    fs::remove_file(&filler)?;
    await_that("askrd to be ready again", || ready(served))?;
    publisher.publish(&event(b"attached"))?;
    stage::publisher(&spec.name).publish(&event(b"attaching"))?;
    expect(&mut stream, "attached")?;
    expect(&mut stream, "attaching")
}

fn ready(served: &Served) -> bool {
    served
        .asked("/readyz")
        .is_ok_and(|(status, _)| status == 200)
}

/// The next event that is not about the stream itself.
fn expect(stream: &mut Stream, text: &str) -> Result<(), Failed> {
    loop {
        match stream.block()? {
            Block { data: None, .. } => {}
            Block {
                event: Some(name), ..
            } if name == "askr:connected" => {}
            Block {
                event: None,
                data: Some(data),
                ..
            } if data == text.as_bytes() => return Ok(()),
            other => return Err(format!("{other:?} instead of {text}").into()),
        }
    }
}

fn fill(path: &Path) -> Result<(), Failed> {
    let mut file = fs::File::create(path)?;
    let page = [0u8; 4096];
    while file.write_all(&page).is_ok() {}
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<String>, Failed> {
    let names =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

fn event(data: &[u8]) -> EventRef<'_> {
    EventRef {
        channels: &[b"room"],
        data,
        ..EventRef::default()
    }
}
