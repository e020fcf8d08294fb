//! A ring of its own per test, in a directory that goes away with it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::time::Duration;

use shared::event::{Event, EventRef};
use shared::keeper::{Keeper, Next};
use shared::publisher::{AttachOptions, Publisher};
use shared::spec::RingSpec;
use tempfile::TempDir;

pub struct Home {
    pub dir: TempDir,
    pub spec: RingSpec,
}

impl Home {
    /// 64 slots of 128 bytes (88 inline), an arena of 64 KiB in 64 cells.
    pub fn small() -> Self {
        Self::new(RingSpec {
            slots: 64,
            slot_size: 128,
            arena: 64 << 10,
            writers: 16,
            ..RingSpec::default()
        })
    }

    /// On tmpfs, where a ring belongs: a damaged one is replaced only there.
    pub fn new(spec: RingSpec) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let name = format!("{}/ring", dir.path().display()).parse().unwrap();
        Self {
            dir,
            spec: RingSpec { name, ..spec },
        }
    }

    pub fn path(&self) -> PathBuf {
        self.spec.name.path().to_owned()
    }

    pub fn keeper(&self) -> Keeper {
        Keeper::start(self.spec.clone()).unwrap()
    }

    pub fn publisher(&self) -> Publisher {
        let mut publisher = Publisher::new();
        publisher.configure(AttachOptions {
            name: self.spec.name.clone(),
            ..AttachOptions::default()
        });
        publisher
    }

    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub fn event(data: &[u8]) -> EventRef<'_> {
    EventRef {
        channels: &[b"news"],
        data,
        ..EventRef::default()
    }
}

/// Everything up to the first moment at which there is nothing more.
pub fn drain(keeper: &mut Keeper) -> Vec<Next> {
    let mut found = Vec::new();
    loop {
        match keeper.step() {
            Next::Empty if caught_up(keeper) => return found,
            Next::Empty => keeper.wait(Duration::from_millis(10)),
            next => found.push(next),
        }
    }
}

fn caught_up(keeper: &Keeper) -> bool {
    keeper
        .segments()
        .iter()
        .all(|segment| keeper.position() >= segment.head())
}

pub fn events(found: &[Next]) -> Vec<(u64, Event)> {
    found
        .iter()
        .filter_map(|next| match next {
            Next::Event { seq, event } => Some((*seq, event.clone())),
            _ => None,
        })
        .collect()
}

pub fn texts(found: &[Next]) -> Vec<String> {
    events(found)
        .iter()
        .map(|(_, event)| event.data_str().to_owned())
        .collect()
}

pub fn lost(found: &[Next]) -> u64 {
    found
        .iter()
        .map(|next| {
            if let Next::Lapped { from, to } = next {
                to - from
            } else {
                0
            }
        })
        .sum()
}
