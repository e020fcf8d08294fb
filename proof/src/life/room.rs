//! A tmpfs that is too small: a clear refusal, nothing left behind, and the ring that is there stays.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use shared::keeper::{Keeper, KeeperError};
use shared::spec::RingSpec;

use super::children::{Verdict, child, done};
use crate::stage;

pub fn run() -> Verdict {
    let dir = tempfile::Builder::new().prefix("askr-room-").tempdir()?;
    let path = dir.path().to_owned();
    done(child(|| in_a_small_room(&path))?)?;
    Ok("refused with a sentence, nothing left over, the ring that was there goes on".into())
}

fn in_a_small_room(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|e| format!("no mount namespace ({e}): run as root"))?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(
        Some("tmpfs"),
        dir,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=512k"),
    )?;
    let name: shared::name::RingName = format!("{}/ring", dir.display()).parse()?;

    let large = RingSpec {
        name: name.clone(),
        ..RingSpec::default()
    };
    refused(&large)?;
    expect_files(dir, &["ring.lock"])?;

    let small = RingSpec {
        slots: 64,
        arena: 64 << 10,
        writers: 16,
        ..large.clone()
    };
    drop(Keeper::start(small.clone())?);
    let mut publisher = stage::publisher(&name);
    publisher.publish(&EVENT)?;
    // A rotation for which there is no room leaves the ring as it is.
    refused(&large)?;
    expect_files(dir, &["ring", "ring.lock"])?;
    publisher.publish(&EVENT)?;
    let keeper = Keeper::start(small)?;
    if keeper.current().head() != keeper.current().first() + 2 {
        return Err("the ring lost its history".into());
    }
    Ok(())
}

const EVENT: shared::event::EventRef<'static> = shared::event::EventRef {
    channels: &[b"room"],
    data: b"x",
    ..shared::event::EventRef::EMPTY
};

fn refused(spec: &RingSpec) -> Result<(), String> {
    match Keeper::start(spec.clone()).map(drop) {
        Err(error @ KeeperError::Create(_)) => {
            let text = error.to_string();
            let clear = text.contains("no room") && text.contains("ring.slots");
            if clear {
                Ok(())
            } else {
                Err(format!("an unclear refusal: {text}"))
            }
        }
        Err(error) => Err(format!("another error: {error}")),
        Ok(()) => Err("a ring of 33 MiB in 512 KiB".into()),
    }
}

fn expect_files(dir: &Path, expected: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        found.push(entry?.file_name().to_string_lossy().into_owned());
    }
    found.sort();
    if found == expected {
        Ok(())
    } else {
        Err(format!("left over: {found:?}").into())
    }
}
