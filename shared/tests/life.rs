//! The life of a ring: creation, a second daemon, restart, replacement, damage.

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::time::Duration;

use common::*;
use shared::fetch::Fetch;
use shared::keeper::{Keeper, KeeperError, Next};
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::publisher::{AttachOptions, Failure, Publisher};
use shared::spec::RingSpec;

#[test]
fn a_publisher_waits_for_nobody_and_recovers_when_the_ring_appears() {
    let home = Home::small();
    let mut publisher = home.publisher();
    let error = publisher.publish(&event(b"lost")).unwrap_err();
    assert_eq!(error.failure, Failure::Missing);
    assert!(
        error.message.contains(&home.path().display().to_string()),
        "{error}"
    );
    let mut keeper = home.keeper();
    publisher.publish(&event(b"found")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["found"]);
    assert_eq!(publisher.status().failures[Failure::Missing as usize], 1);
}

#[test]
fn the_segment_has_the_permissions_that_were_asked_for() {
    let home = Home::small();
    let _keeper = home.keeper();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(home.path()), 0o660);
    assert_eq!(mode(home.spec.name.beside(".lock")), 0o600);
    assert_eq!(home.files(), ["ring", "ring.lock"]);
}

#[test]
fn a_second_daemon_is_refused_and_told_why() {
    let home = Home::small();
    let _keeper = home.keeper();
    let error = Keeper::start(home.spec.clone()).map(|_| ()).unwrap_err();
    assert!(matches!(error, KeeperError::Served { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&format!("another askrd (pid {})", std::process::id())),
        "{text}"
    );
}

#[test]
fn the_segment_outlives_the_daemon_with_its_history() {
    let home = Home::small();
    let mut publisher = home.publisher();
    let first = home.keeper();
    publisher.publish(&event(b"before")).unwrap();
    let epoch = first.current().epoch();
    drop(first);
    publisher.publish(&event(b"while away")).unwrap();
    let mut second = home.keeper();
    assert_eq!(second.current().epoch(), epoch);
    publisher.publish(&event(b"after")).unwrap();
    assert_eq!(
        texts(&drain(&mut second)),
        ["before", "while away", "after"]
    );
}

#[test]
fn a_change_of_size_keeps_history_epoch_and_publishers() {
    let home = Home::small();
    let mut publisher = home.publisher();
    let first = home.keeper();
    publisher.publish(&event(b"small")).unwrap();
    let epoch = first.current().epoch();
    drop(first);
    let spec = RingSpec {
        slots: 256,
        arena: 128 << 10,
        ..home.spec.clone()
    };
    let mut second = Keeper::start(spec.clone()).unwrap();
    // The attached publisher moves over by itself, at its next claim.
    let seq = publisher.publish(&event(b"large")).unwrap().seq;
    assert!(seq > 1 << 24);
    assert_eq!(second.current().epoch(), epoch);
    assert_eq!(second.current().geometry().slots(), 256);
    assert_eq!(texts(&drain(&mut second)), ["small", "large"]);
    assert_eq!(
        home.files().len(),
        3,
        "the retired one is kept: {:?}",
        home.files()
    );
    // A third daemon adopts both.
    drop(second);
    let mut third = Keeper::start(spec).unwrap();
    assert_eq!(texts(&drain(&mut third)), ["small", "large"]);
    assert!(matches!(third.segments()[0].read(64), Fetch::Event(_)));
    // Once the new ring holds a lap of its own, the old one has served.
    for n in 0..256 {
        publisher.publish(&event(n.to_string().as_bytes())).unwrap();
    }
    let mut dropped = false;
    while !dropped {
        dropped = drain(&mut third)
            .iter()
            .any(|next| matches!(next, Next::Changed { .. }));
        third.wait(Duration::from_millis(300));
    }
    assert_eq!(home.files(), ["ring", "ring.lock"]);
}

#[test]
fn a_removed_or_replaced_name_is_taken_back() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    publisher.publish(&event(b"one")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["one"]);
    for intruder in [false, true] {
        std::fs::remove_file(home.path()).unwrap();
        if intruder {
            std::fs::write(home.path(), b"not a ring").unwrap();
        }
        await_change(&mut keeper, false);
        publisher.publish(&event(b"attached")).unwrap();
        home.publisher().publish(&event(b"attaching")).unwrap();
        assert_eq!(
            texts(&drain(&mut keeper)),
            ["attached", "attaching"],
            "intruder: {intruder}"
        );
    }
}

/// Reads until the keeper says that its segments changed.
fn await_change(keeper: &mut Keeper, fresh: bool) {
    loop {
        match keeper.step() {
            Next::Changed { fresh_epoch, .. } if fresh_epoch == fresh => return,
            Next::Empty => keeper.wait(Duration::from_secs(1)),
            _ => {}
        }
    }
}

#[test]
fn what_cannot_be_trusted_is_replaced_and_publishers_follow() {
    type Attack = (&'static str, fn(&Home, &Keeper));
    let attacks: [Attack; 6] = [
        ("truncated", |home, _| {
            OpenOptions::new()
                .write(true)
                .open(home.path())
                .unwrap()
                .set_len(0)
                .unwrap();
        }),
        ("forged header", |home, _| {
            let file = OpenOptions::new().write(true).open(home.path()).unwrap();
            file.write_at(&[0xff; 64], 0x10).unwrap();
        }),
        ("tail backwards", |_, keeper| {
            keeper.current().ring().tail().store(1, Release)
        }),
        ("tail far ahead", |_, keeper| {
            keeper.current().ring().tail().store(1 << 40, Release)
        }),
        ("tail closed", |_, keeper| {
            keeper.current().ring().tail().fetch_or(CLOSED, Release);
        }),
        ("slots a lap ahead", |_, keeper| {
            let ring = keeper.current().ring();
            for seq in 0..64 {
                ring.slot(seq)[S_STAMP].store(77 << 20 | 2, Release);
            }
        }),
    ];
    for (attack, run) in attacks {
        let home = Home::small();
        let mut keeper = home.keeper();
        home.publisher().publish(&event(b"before")).unwrap();
        drain(&mut keeper);
        let epoch = keeper.current().epoch();
        run(&home, &keeper);
        await_change(&mut keeper, true);
        assert_ne!(keeper.current().epoch(), epoch, "{attack}");
        let mut publisher = home.publisher();
        publisher.publish(&event(b"after")).unwrap();
        assert_eq!(texts(&drain(&mut keeper)), ["after"], "{attack}");
        assert_eq!(home.files(), ["ring", "ring.lock"], "{attack}");
    }
}

#[test]
fn an_attached_publisher_follows_a_distrusted_ring() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    publisher.publish(&event(b"before")).unwrap();
    let file = OpenOptions::new().write(true).open(home.path()).unwrap();
    file.write_at(b"BADMAGIC", 0).unwrap();
    await_change(&mut keeper, true);
    publisher.publish(&event(b"after")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["after"]);
}

#[test]
fn replacing_a_distrusted_ring_is_rate_limited() {
    let home = Home::small();
    let mut keeper = home.keeper();
    for _ in 0..50 {
        keeper.current().ring().tail().store(1, Release);
        keeper.step();
    }
    assert!(keeper.distrusts() <= 2, "{}", keeper.distrusts());
}

#[test]
fn a_file_that_is_no_ring_is_not_destroyed_outside_tmpfs() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("letters");
    std::fs::write(&path, b"dear reader").unwrap();
    let name = path.display().to_string().parse().unwrap();
    let error = Keeper::start(RingSpec {
        name,
        ..Home::small().spec
    })
    .map(|_| ())
    .unwrap_err();
    assert!(matches!(error, KeeperError::Foreign { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"dear reader");
}

#[test]
fn a_ring_of_an_untrusted_owner_or_version_is_refused() {
    let home = Home::small();
    drop(home.keeper());
    let mut publisher = home.publisher();
    publisher.publish(&event(b"ours")).unwrap();
    // Only root can give files away; another user sees the same through a file of somebody else's.
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(home.path(), Some(12345), None).unwrap();
        let error = home.publisher().publish(&event(b"x")).unwrap_err();
        assert_eq!(error.failure, Failure::WrongOwner);
        assert!(error.message.contains("uid 12345"), "{error}");
        let mut trusting = Publisher::new();
        let options = AttachOptions {
            name: home.spec.name.clone(),
            owner: Some("12345".into()),
            group: None,
        };
        trusting.configure(options);
        trusting.publish(&event(b"x")).unwrap();
        std::os::unix::fs::chown(home.path(), Some(0), None).unwrap();
    }
    let file = OpenOptions::new().write(true).open(home.path()).unwrap();
    file.write_at(b"ASKRRNG9", 0).unwrap();
    let error = home.publisher().publish(&event(b"x")).unwrap_err();
    assert_eq!(error.failure, Failure::WrongVersion);
    file.write_at(b"ASKRRNG2", 0).unwrap();
    // Another byte than it has, whatever that is.
    let mut byte = [0];
    OpenOptions::new()
        .read(true)
        .open(home.path())
        .and_then(|file| file.read_exact_at(&mut byte, 0x48))
        .unwrap();
    file.write_at(&[byte[0] ^ 1], 0x48).unwrap();
    let error = home.publisher().publish(&event(b"x")).unwrap_err();
    assert_eq!(error.failure, Failure::Invalid);
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(
        home.publisher().publish(&event(b"x")).is_err(),
        "writable by everybody"
    );
    assert_eq!(
        std::fs::metadata(home.path()).unwrap().mode() & 0o777,
        0o666
    );
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let home = Home::small();
    let other = Home::small();
    let _keeper = other.keeper();
    std::os::unix::fs::symlink(other.path(), home.path()).unwrap();
    assert!(home.publisher().publish(&event(b"x")).is_err());
}

#[test]
fn leftovers_of_a_killed_daemon_are_cleared_or_adopted_at_each_step_of_a_rotation() {
    // Killed while making the new segment.
    let home = Home::small();
    drop(home.keeper());
    home.publisher().publish(&event(b"kept")).unwrap();
    std::fs::write(home.spec.name.beside(".new-1"), b"half").unwrap();
    assert_eq!(texts(&drain(&mut home.keeper())), ["kept"]);
    assert_eq!(home.files(), ["ring", "ring.lock"]);
    // Killed between `link` and `rename`.
    std::fs::hard_link(home.path(), home.spec.name.beside(".old-0")).unwrap();
    assert_eq!(texts(&drain(&mut home.keeper())), ["kept"]);
    assert_eq!(home.files(), ["ring", "ring.lock"]);
    // Killed between `rename` and the close: a publisher goes on in the old one.
    let mut publisher = home.publisher();
    publisher.publish(&event(b"old")).unwrap();
    let spec = RingSpec {
        slots: 128,
        ..home.spec.clone()
    };
    let old = home.spec.name.beside(".old-0");
    std::fs::rename(home.path(), &old).unwrap();
    let first = make_continuation(&home, &old);
    let mut keeper = Keeper::start(spec).unwrap();
    assert!(keeper.current().first() >= first);
    publisher.publish(&event(b"new")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["kept", "old", "new"]);
}

/// The new segment of an interrupted rotation: same epoch, later positions, under the ring's name.
fn make_continuation(home: &Home, old: &std::path::Path) -> u64 {
    let old = shared::segment::Segment::open(old, |_| true).unwrap();
    let geometry = old.geometry();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(home.path())
        .unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o660))
        .unwrap();
    file.set_len(geometry.total_len() as u64).unwrap();
    let first = (old.head() + (1 << 24)).next_multiple_of(geometry.slots());
    let max = old.max_payload();
    shared::segment::Segment::format(&file, geometry, max, old.epoch_bytes(), first).unwrap();
    first
}

#[test]
fn a_forked_child_publishes_as_itself() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    publisher.publish(&event(b"parent")).unwrap();
    // SAFETY: the child only publishes (no locks held by other threads are needed for that) and
    // leaves with _exit.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let ok = publisher.publish(&event(b"child")).is_ok();
            // SAFETY: ends the child without running the harness's destructors.
            unsafe { libc::_exit(i32::from(!ok)) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert!(
                matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)),
                "{status:?}"
            );
        }
    }
    publisher.publish(&event(b"parent again")).unwrap();
    assert_eq!(
        texts(&drain(&mut keeper)),
        ["parent", "child", "parent again"]
    );
    let segment = keeper.current().clone();
    let ring = segment.ring();
    let writers = (1..16)
        .filter(|n| ring.writer(*n)[WR_PUBLISHED].load(Relaxed) > 0)
        .count();
    assert_eq!(writers, 2, "an entry each");
}
