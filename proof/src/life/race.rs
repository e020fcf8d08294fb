//! Eight processes want to be the daemon of a new ring at the same moment, two hundred times.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use shared::keeper::{Keeper, KeeperError};
use shared::segment::{Segment, Unusable};
use shared::spec::RingSpec;

use super::children::{Verdict, await_that, child, done};
use crate::common::Words;

const RACERS: u64 = 8;
const ROUNDS: usize = 200;
/// Words of a round: who is at the line, who won, who is through, who looked.
const EACH: usize = 3;

pub fn run() -> Verdict {
    let dir = tempfile::Builder::new()
        .prefix("askr-race-")
        .tempdir_in("/dev/shm")?;
    let words = Words::anonymous(ROUNDS * EACH)?;
    let spec = |round: usize| -> Result<RingSpec, Box<dyn std::error::Error>> {
        let name = format!("{}/ring-{round}", dir.path().display()).parse()?;
        Ok(RingSpec {
            name,
            slots: 16,
            arena: 16 << 10,
            writers: 16,
            ..RingSpec::default()
        })
    };
    let mut racers = Vec::new();
    for _ in 0..RACERS {
        racers.push(child(|| {
            for (round, word) in words.chunks(EACH).enumerate() {
                let spec = spec(round)?;
                word[0].fetch_add(1, AcqRel);
                await_that("the others at the line", || word[0].load(Acquire) == RACERS)?;
                let started = Keeper::start(spec.clone());
                match &started {
                    Ok(_) => drop(word[1].fetch_add(1, AcqRel)),
                    Err(KeeperError::Served { .. }) => {}
                    Err(error) => return Err(error.to_string().into()),
                }
                // Whoever comes at any moment finds nothing, or a whole ring.
                match Segment::open(spec.name.path(), |_| true) {
                    Ok(_) | Err(Unusable::Missing) => {}
                    Err(why) => return Err(format!("a half-made ring was seen: {why}").into()),
                }
                word[2].fetch_add(1, AcqRel);
                // The winner serves until all have tried.
                await_that("the others to have tried", || {
                    word[2].load(Acquire) == RACERS
                })?;
            }
            Ok(())
        })?);
    }
    for racer in racers {
        done(racer)?;
    }
    let winners: Vec<u64> = words
        .chunks(EACH)
        .map(|word| word[1].load(Acquire))
        .collect();
    match winners.iter().position(|won| *won != 1) {
        Some(round) => Err(format!("{} daemons served in round {round}", winners[round]).into()),
        None => Ok(format!(
            "{RACERS} processes, {ROUNDS} rounds: one winner each"
        )),
    }
}
