//! A file cut short under those who have it mapped: nobody dies of it, and nobody is told that an event
//! was published which was not.

mod common;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use common::*;
use shared::keeper::{Keeper, Next};
use shared::layout::*;
use shared::publisher::Failure;

fn file(home: &Home) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).open(home.path()).unwrap()
}

fn fresh_epoch(keeper: &mut Keeper) -> String {
    loop {
        match keeper.step() {
            Next::Changed {
                fresh_epoch: true,
                reason,
            } => return reason,
            _ => keeper.wait(Duration::from_millis(50)),
        }
    }
}

#[test]
fn the_old_file_gets_its_length_back_and_is_closed() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let old = file(&home);
    let len = old.metadata().unwrap().len();
    old.set_len(0).unwrap();
    assert_eq!(fresh_epoch(&mut keeper), "the file was cut short");
    assert_eq!(old.metadata().unwrap().len(), len);
    let mut tail = [0; 8];
    old.read_exact_at(&mut tail, W_TAIL as u64 * 8).unwrap();
    assert_ne!(u64::from_le_bytes(tail) & CLOSED, 0);
}

#[test]
fn a_publisher_survives_and_does_not_claim_to_have_published() {
    let home = Home::small();
    drop(home.keeper());
    for data in [&b"small"[..], &[b'x'; 3000]] {
        let mut publisher = home.publisher();
        publisher.publish(&event(b"attaches")).unwrap();
        let cut = file(&home);
        let len = cut.metadata().unwrap().len();
        // No daemon watches: nothing but this process's own handler stands between it and its end.
        cut.set_len(0).unwrap();
        let error = publisher.publish(&event(data)).unwrap_err();
        assert_eq!(error.failure, Failure::WrongVersion, "{error}");
        // A daemon that starts puts another ring there, and the publisher finds it.
        cut.set_len(len).unwrap();
        let mut keeper = home.keeper();
        publisher.publish(&event(data)).unwrap();
        assert_eq!(events(&drain(&mut keeper)).len(), 1);
    }
}
