//! Every instruction of a publish: a real `Publisher::publish` in a child under a debugger is killed
//! there, stopped there while others go on for three laps, and stopped at two instructions.
//!
//! A `rep movsb` counts once per byte, so copies are interrupted in the middle as well. The last line
//! is the verdict; the exit code is 1 when a number that must be zero is not.

use std::process::ExitCode;

use askr_proof::common::pin_to_cpu;
use askr_proof::rng::Rng;
use askr_proof::scene::{Act, Scene, Shape, Totals};
use clap::Parser;

/// One shape inline, one in a single cell, one of two cells that is copied in two pieces, and the
/// first publish of a process, which attaches.
const SHAPES: [Shape; 4] = [
    Shape {
        name: "inline",
        len: 10,
        attached: true,
    },
    Shape {
        name: "cell",
        len: 700,
        attached: true,
    },
    Shape {
        name: "cells",
        len: 1500,
        attached: true,
    },
    Shape {
        name: "first",
        len: 10,
        attached: false,
    },
];

const PAUSES: [Act; 3] = [Act::Read, Act::LapsThenRead, Act::LapsReading];

/// A publish whose body wraps around the arena's end is copied in shorter pieces and takes fewer
/// instructions: only after so many short ones in a row is the end of the longest reached.
const SHORT: u64 = 12;

#[derive(Parser)]
struct Args {
    /// Act at every N-th instruction only; of a process's first publish, at every 16 N-th.
    #[arg(long, default_value_t = 1)]
    every: u64,
    /// How many pairs of instructions to stop at, for each shape (a sixteenth for the first publish).
    #[arg(long, default_value_t = 2000)]
    pairs: u64,
    /// For the choice of pairs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this shape: inline, cell, cells, first.
    #[arg(long)]
    shape: Option<String>,
    /// End at the first thing that is wrong.
    #[arg(long)]
    fail_fast: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = pin_to_cpu(args.seed as usize) {
        eprintln!("step: cannot choose a processor ({error}); it only takes longer");
    }
    let mut bad = 0;
    for shape in SHAPES {
        if args.shape.as_deref().is_some_and(|only| only != shape.name) {
            continue;
        }
        match step(&args, shape) {
            Ok(totals) => {
                report(shape.name, &totals);
                bad += totals.bad();
            }
            Err(error) => {
                eprintln!("step: {}: {error}", shape.name);
                return ExitCode::from(2);
            }
        }
        if bad > 0 && args.fail_fast {
            break;
        }
    }
    ExitCode::from(u8::from(bad > 0))
}

fn step(args: &Args, shape: Shape) -> std::io::Result<Totals> {
    let mut scene = Scene::new()?;
    // Attaching is a hundred times as long as publishing, and most of it is the kernel's and libc's.
    let every = if shape.attached {
        args.every
    } else {
        args.every * 16
    };
    let failed = |scene: &Scene| args.fail_fast && scene.totals.bad() > 0;
    let mut length = 0;
    for act in [Act::Kill].into_iter().chain(PAUSES) {
        let (mut at, mut short) = (0, 0);
        while short < SHORT && !failed(&scene) {
            let (steps, reached) = scene.run(shape, &[(at, act)])?;
            length = length.max(steps);
            short = if reached { 0 } else { short + 1 };
            at += every;
        }
    }
    let mut rng = Rng::new(args.seed);
    for _ in 0..args.pairs.div_ceil(every / args.every) {
        if failed(&scene) {
            break;
        }
        let (a, b) = (rng.below(length), rng.below(length));
        let second = if rng.one_in(4) {
            Act::Kill
        } else {
            *rng.pick(&PAUSES)
        };
        scene.run(
            shape,
            &[(a.min(b), *rng.pick(&PAUSES)), (a.max(b) + 1, second)],
        )?;
    }
    println!("step: {}: {length} instructions a publish", shape.name);
    Ok(scene.totals)
}

fn report(shape: &str, totals: &Totals) {
    for note in &totals.notes {
        println!("step: {note}");
    }
    let Totals {
        runs,
        instructions,
        kills,
        stops,
        events,
        damaged,
        duplicates,
        lost,
        stuck,
        ..
    } = totals;
    println!(
        "step: {shape}: {runs} runs, {instructions} instructions, {kills} kills, {stops} stops, \
         {events} events read; damaged {damaged}, duplicates {duplicates}, lost {lost}, stuck {stuck}"
    );
}
