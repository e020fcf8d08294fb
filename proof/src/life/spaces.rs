//! Processes that share nothing but the file: other pid namespaces, other users.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering::{Acquire, Release};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use shared::publisher::Failure;

use super::children::{Verdict, await_that, child, done};
use crate::common::Words;
use crate::payload::Sender;
use crate::scene::GEOMETRY;
use crate::stage::{Stage, publisher};
use crate::trace::{Child, Stop, mark};

const KEY: u64 = 7;
const NOBODY: u32 = 65534;

/// A publisher of another pid namespace is stopped in a publish: it is not reaped. It is killed: it is.
pub fn pids() -> Verdict {
    let mut stage = Stage::new(GEOMETRY, 4000)?;
    let words = Words::anonymous(2)?;
    let (name, share) = (stage.name.clone(), &words);
    let pinned = |stage: &Stage| stage.pins();
    let view = &stage;
    let away = child(move || {
        unshare(CloneFlags::CLONE_NEWPID)
            .map_err(|error| format!("no pid namespace ({error}): run as root"))?;
        let mut inside = Child::spawn(|| {
            let mut publisher = publisher(&name);
            let mut sender = Sender::new(KEY, 1, 2000);
            if std::process::id() != 1 || sender.publish(&mut publisher, 0, 5).is_err() {
                return 1;
            }
            sender.prepare(1, 1500);
            mark();
            i32::from(publisher.publish(&sender.event(1, 1500)).is_err())
        })?;
        if inside.wait()? != Stop::Trap {
            return Err("the publisher in the namespace could not start".into());
        }
        inside.bind()?;
        while pinned(view) == 0 {
            if inside.step()? != Stop::Trap {
                return Err("it ended before it held anything".into());
            }
        }
        share[0].store(1, Release);
        await_that("the word to kill", || share[1].load(Acquire) == 1)?;
        inside.kill()?;
        Ok(())
    })?;
    await_that("a publisher that holds memory", || {
        words[0].load(Acquire) == 1
    })?;
    for _ in 0..3 {
        let swept = stage.sweep()?;
        if swept.reaped > 0 || stage.pins() == 0 {
            return Err("a live publisher of another namespace was reaped".into());
        }
    }
    words[1].store(1, Release);
    done(away)?;
    let reaped = stage.sweep()?.reaped + stage.sweep()?.reaped;
    if reaped != 1 || stage.pins() + stage.dirty() > 0 {
        return Err(format!("{reaped} reaped, {} pins remain", stage.pins()).into());
    }
    Ok("a stopped publisher of another namespace is left alone, a killed one is reaped".into())
}

/// Who does not belong to the ring's group is told so; who does, publishes.
pub fn group() -> Verdict {
    const GROUP: u32 = 54321;
    let mut stage = Stage::new(GEOMETRY, 4000)?;
    let path = stage.name.path().to_owned();
    let parent = path.parent().ok_or("no directory")?;
    std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755))?;
    std::os::unix::fs::chown(&path, None, Some(GROUP)).map_err(|e| format!("{e}: run as root"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    let name = stage.name.clone();
    let publish_as = |gid: u32, counter: u64| {
        let name = name.clone();
        child(move || {
            setgroups(&[])?;
            let (gid, uid) = (Gid::from_raw(gid), Uid::from_raw(NOBODY));
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
            let said = Sender::new(KEY, 1, 10).publish(&mut publisher(&name), counter, 10);
            match (gid.as_raw() == GROUP, said) {
                (true, Ok(_)) => Ok(()),
                (false, Err(error)) if error.failure == Failure::Permission => {
                    let text = error.message;
                    let clear =
                        text.contains(&name.path().display().to_string()) && text.contains("group");
                    if clear {
                        Ok(())
                    } else {
                        Err(format!("an unclear refusal: {text}").into())
                    }
                }
                (_, said) => Err(format!("as gid {gid}: {said:?}").into()),
            }
        })
    };
    done(publish_as(NOBODY, 0)?)?;
    done(publish_as(GROUP, 1)?)?;
    if stage.drain().events.len() != 1 {
        return Err("the member's event did not arrive".into());
    }
    Ok("a stranger is refused with a sentence, a member of the group publishes".into())
}
