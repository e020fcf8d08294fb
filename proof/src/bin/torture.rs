//! Torture: publishers (of this binary, and real PHP where askr.so is built) are killed and stopped at
//! random while others publish; the reading daemon is killed and started again, now and then with other
//! sizes. Everything that was acknowledged must be read whole, once, in order, or be told to be lost.
//!
//! The last lines are the verdict; the exit code is 1 when a number that must be zero is not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use askr_proof::driver::{Driver, Options};
use askr_proof::{burn, fpm, roles};
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// How long to go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Repeats a run's choices, though not its timing.
    #[arg(long)]
    seed: Option<u64>,
    /// Publishers of this binary.
    #[arg(long, default_value_t = 6)]
    publishers: usize,
    /// Publishers in `php`; needs askr.so.
    #[arg(long, default_value_t = 2)]
    php: usize,
    /// Workers of a php-fpm; needs askr.so.
    #[arg(long, default_value_t = 2)]
    fpm: usize,
    /// The extension that the PHP publishers load.
    #[arg(long, default_value = "target/release/libaskr.so")]
    askr_so: PathBuf,
    /// The daemon to kill and start again, read by a subscriber; without it, a reader of the proof's own.
    #[arg(long)]
    askrd: Option<PathBuf>,
    /// The publishers' mean pause, microseconds: 0 laps the reader all the time.
    #[arg(long, default_value_t = 60)]
    calm: u64,
}

/// What the driver starts; not for people.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Publish {
        dir: PathBuf,
        id: u32,
        key: u64,
        seed: u64,
        calm: u64,
    },
    #[command(hide = true)]
    Keep {
        dir: PathBuf,
        key: u64,
        #[arg(action = clap::ArgAction::Set)]
        second: bool,
    },
    #[command(hide = true)]
    Fpm {
        dir: PathBuf,
        id: u32,
        key: u64,
        seed: u64,
        socket: PathBuf,
        script: PathBuf,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.role {
        Some(Role::Publish {
            dir,
            id,
            key,
            seed,
            calm,
        }) => roles::publish(&dir, id, key, seed, calm)
            .map(|()| 0)
            .map_err(Into::into),
        Some(Role::Keep { dir, key, second }) => roles::keep(&dir, key, second).map(|()| 0),
        Some(Role::Fpm {
            dir,
            id,
            key,
            seed,
            socket,
            script,
        }) => fpm::publish(&dir, id, key, seed, &socket, &script)
            .map(|()| 0)
            .map_err(Into::into),
        None => torture(args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::from(2)
        }
    }
}

fn torture(args: Args) -> Result<u8, Box<dyn std::error::Error>> {
    let seed = args
        .seed
        .unwrap_or_else(|| shared::segment::now_ns() & 0xffff_ffff);
    let php = args.askr_so.exists();
    if !php && args.php + args.fpm > 0 {
        println!(
            "torture: {} is not built: no PHP publishers",
            args.askr_so.display()
        );
    }
    let daemon = args
        .askrd
        .as_deref()
        .map_or("own reader".into(), Path::to_string_lossy);
    println!("torture: {} s, {daemon}, seed {seed}", args.seconds);
    let burnt = burn::run()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("php/publish.php");
    let options = Options {
        seconds: args.seconds,
        seed,
        publishers: args.publishers,
        php: if php { args.php } else { 0 },
        fpm: if php { args.fpm } else { 0 },
        askr_so: std::path::absolute(&args.askr_so)?,
        script,
        calm: args.calm,
        askrd: args.askrd,
    };
    let bad = Driver::run(options)?;
    Ok(u8::from(bad || !burnt))
}
