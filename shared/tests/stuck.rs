//! A replacement of the ring that fails: nothing is left behind, it is said why, what can be read is read,
//! and it is made good when the obstacle has gone.

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use common::*;
use shared::keeper::{Keeper, Next};
use shared::publisher::{AttachOptions, Publisher};

/// Reads on until `ready`; what came meanwhile.
fn until(keeper: &mut Keeper, what: &str, mut ready: impl FnMut(&Keeper) -> bool) -> Vec<Next> {
    let patience = Instant::now() + Duration::from_secs(60);
    let mut found = Vec::new();
    while !ready(keeper) {
        assert!(Instant::now() < patience, "waited in vain: {what}");
        match keeper.step() {
            Next::Empty => keeper.wait(Duration::from_millis(20)),
            next => found.push(next),
        }
    }
    found
}

/// A directory at the ring's name: no file can be renamed over it, whoever tries.
fn obstruct(home: &Home) {
    let _ = fs::remove_file(home.path());
    fs::create_dir(home.path()).unwrap();
}

fn debris(home: &Home) -> Vec<String> {
    let known = ["ring", "ring.lock"];
    let mut files = home.files();
    files.retain(|file| !known.contains(&&**file));
    files
}

#[test]
fn a_name_that_cannot_be_taken_back_is_told_and_taken_back_later() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let epoch = keeper.current().epoch();
    let mut attached = home.publisher();
    attached.publish(&event(b"before")).unwrap();
    obstruct(&home);
    let found = until(&mut keeper, "trouble", |keeper| keeper.trouble().is_some());
    assert_eq!(texts(&found), ["before"]);
    let said = keeper.trouble().unwrap_or_default().to_owned();
    assert!(said.contains(&home.path().display().to_string()), "{said}");
    let failed = keeper.failures();
    // More than one try fails, and none leaves anything.
    until(&mut keeper, "another try", |keeper| {
        keeper.failures() > failed + 1
    });
    assert_eq!(debris(&home), [""; 0]);
    assert_eq!(keeper.trouble(), Some(&*said), "the same words each time");
    // Who was attached goes on, and who comes now is told.
    attached.publish(&event(b"meanwhile")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["meanwhile"]);
    home.publisher().publish(&event(b"refused")).unwrap_err();

    fs::remove_dir(home.path()).unwrap();
    until(&mut keeper, "an end of the trouble", |keeper| {
        keeper.trouble().is_none()
    });
    attached.publish(&event(b"attached")).unwrap();
    home.publisher().publish(&event(b"attaching")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["attached", "attaching"]);
    assert_eq!(keeper.current().epoch(), epoch, "nothing was given up");
    assert_eq!(debris(&home), [""; 0]);
}

#[test]
fn a_distrusted_ring_that_cannot_be_replaced_is_told_and_replaced_later() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let epoch = keeper.current().epoch();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(home.path())
        .unwrap();
    obstruct(&home);
    file.write_at(b"BADMAGIC", 0).unwrap();
    until(&mut keeper, "trouble", |keeper| keeper.trouble().is_some());
    until(&mut keeper, "another try", |keeper| keeper.failures() > 2);
    let said = keeper.trouble().unwrap_or_default();
    assert_eq!(said.matches("the header changed").count(), 1, "{said}");
    assert_eq!(keeper.distrusts(), 0, "it was not replaced");
    assert_eq!(debris(&home), [""; 0]);
    fs::remove_dir(home.path()).unwrap();
    let found = until(&mut keeper, "an end of the trouble", |keeper| {
        keeper.trouble().is_none()
    });
    drop(found);
    assert_ne!(keeper.current().epoch(), epoch);
    assert_eq!(keeper.distrusts(), 1);
    home.publisher().publish(&event(b"after")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["after"]);
}

#[test]
fn a_name_that_is_put_back_ends_the_trouble_too() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let epoch = keeper.current().epoch();
    let aside = home.dir.path().join("aside");
    fs::rename(home.path(), &aside).unwrap();
    fs::create_dir(home.path()).unwrap();
    until(&mut keeper, "trouble", |keeper| keeper.trouble().is_some());
    fs::remove_dir(home.path()).unwrap();
    fs::rename(&aside, home.path()).unwrap();
    until(&mut keeper, "an end of the trouble", |keeper| {
        keeper.trouble().is_none()
    });
    assert_eq!(keeper.current().epoch(), epoch);
    home.publisher().publish(&event(b"after")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["after"]);
}

#[test]
fn a_directory_that_was_removed_with_everything_in_it_is_served_when_it_is_there_again() {
    let home = Home::small();
    let inner = home.dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let name: shared::name::RingName = format!("{}/ring", inner.display()).parse().unwrap();
    let spec = shared::spec::RingSpec {
        name: name.clone(),
        ..home.spec.clone()
    };
    let mut keeper = Keeper::start(spec).unwrap();
    fs::remove_dir_all(&inner).unwrap();
    until(&mut keeper, "trouble", |keeper| keeper.trouble().is_some());
    fs::create_dir(&inner).unwrap();
    until(&mut keeper, "an end of the trouble", |keeper| {
        keeper.trouble().is_none()
    });
    let mut publisher = Publisher::new();
    publisher.configure(AttachOptions {
        name,
        ..AttachOptions::default()
    });
    publisher.publish(&event(b"after")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["after"]);
    assert!(inner.join("ring.lock").exists());
}

#[test]
fn a_start_that_fails_leaves_nothing_and_the_next_one_succeeds() {
    let home = Home::small();
    drop(home.keeper());
    home.publisher().publish(&event(b"kept")).unwrap();
    let aside = home.dir.path().join("aside");
    fs::rename(home.path(), &aside).unwrap();
    fs::create_dir(home.path()).unwrap();
    for _ in 0..2 {
        assert!(Keeper::start(home.spec.clone()).is_err());
        assert_eq!(home.files(), ["aside", "ring", "ring.lock"]);
    }
    fs::remove_dir(home.path()).unwrap();
    fs::rename(&aside, home.path()).unwrap();
    assert_eq!(texts(&drain(&mut home.keeper())), ["kept"]);
}

#[test]
fn names_that_others_put_in_the_way_of_a_new_segment_are_in_nobodys_way() {
    // In a sticky directory anybody may make such files, and only they can remove them.
    let home = Home::small();
    let pid = std::process::id();
    fs::create_dir(home.spec.name.beside(&format!(".new-{pid}"))).unwrap();
    let mut keeper = home.keeper();
    home.publisher().publish(&event(b"one")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["one"]);
}
