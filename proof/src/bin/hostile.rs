//! A hostile writer: while a daemon serves and honest publishers publish, others scribble over the whole
//! mapped segment, cut the file short, replace and remove its name.
//!
//! The daemon must neither crash nor stand still, must accept nothing that no publisher sent, must not
//! replace the ring more often than once a second, and must work again as soon as it is left alone. No
//! publisher may die of it. With --askrd it is the real daemon, and what counts is what arrives at a
//! subscriber; without, a reader of the proof's own, which also looks at every position again.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use askr_proof::book::{Board, Book};
use askr_proof::siege::{Options, Siege};
use askr_proof::{besieged, scribble};
use clap::{Parser, Subcommand};

/// Replacing what cannot be trusted: at most once a second.
const PAUSE: Duration = Duration::from_millis(990);
/// A daemon that takes no step for so long hangs; a step takes microseconds.
const HANG: Duration = Duration::from_secs(30);
/// How often the real daemon is asked how it is.
const ASK: Duration = Duration::from_millis(200);

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[arg(long)]
    seed: Option<u64>,
    /// The daemon to besiege, read by a subscriber.
    #[arg(long)]
    askrd: Option<PathBuf>,
    /// The extension of one more publisher, in PHP.
    #[arg(long)]
    askr_so: Option<PathBuf>,
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
    },
    #[command(hide = true)]
    Keep { dir: PathBuf, key: u64, seed: u64 },
    #[command(hide = true)]
    Scribble { dir: PathBuf, seed: u64 },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.role {
        Some(Role::Publish { dir, id, key, seed }) => besieged::publish(&dir, id, key, seed)
            .map(|()| 0)
            .map_err(Into::into),
        Some(Role::Keep { dir, key, seed }) => besieged::keep(&dir, key, seed).map(|()| 0),
        Some(Role::Scribble { dir, seed }) => scribble::scribble(&dir, seed)
            .map(|()| 0)
            .map_err(Into::into),
        None => siege(&args).map(u8::from).map_err(Into::into),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::from(2)
        }
    }
}

/// True when something that must be zero is not.
fn siege(args: &Args) -> io::Result<bool> {
    let seed = args
        .seed
        .unwrap_or_else(|| shared::segment::now_ns() & 0xffff_ffff);
    let daemon = args.askrd.as_ref();
    let daemon = daemon.map_or("own reader".into(), |path| path.display().to_string());
    println!("hostile: {} s, {daemon}, seed {seed}", args.seconds);
    let dir = tempfile::Builder::new()
        .prefix("askr-hostile-")
        .tempdir_in("/dev/shm")?;
    let book = Book::open(dir.path())?;
    let options = Options {
        dir: dir.path().to_owned(),
        seed,
        askrd: args.askrd.clone(),
        askr_so: args
            .askr_so
            .as_deref()
            .map(std::path::absolute)
            .transpose()?,
    };
    let mut siege = Siege::begin(options, &book)?;
    let mut wrong = Vec::new();
    let (mut beat, mut moved, mut asked) = (0, Instant::now(), Instant::now());
    let end = Instant::now() + Duration::from_secs(args.seconds);
    while Instant::now() < end && wrong.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        siege.refill(&book)?;
        if let Some(status) = siege.keeper.try_wait()? {
            wrong.push(format!("the daemon crashed: {status}"));
        } else if let Some(served) = siege.served.as_ref().filter(|_| asked.elapsed() > ASK) {
            asked = Instant::now();
            match served.healthy() {
                Ok(true) => book.add(Board::Beat, 1),
                said => wrong.push(format!("askrd says of its health: {said:?}")),
            }
        }
        if book.get(Board::Beat) != beat {
            (beat, moved) = (book.get(Board::Beat), Instant::now());
        } else if moved.elapsed() > HANG {
            wrong.push("the daemon stands still".into());
        }
    }
    siege.end_scribbling()?;
    if wrong.is_empty() {
        wrong.extend(siege.recovery(&book)?.map(str::to_owned));
    }
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", siege.keeper.id()))?;
    let maps = maps.lines().filter(|line| line.contains("/ring")).count();
    if maps > 6 {
        wrong.push(format!("{maps} mappings of rings remain"));
    }
    counted(&siege, &book, args.seconds, &mut wrong)?;
    Ok(verdict(&book, &siege, wrong))
}

/// What the real daemon counted must be what happened.
fn counted(siege: &Siege, book: &Book, seconds: u64, wrong: &mut Vec<String>) -> io::Result<()> {
    let Some(served) = &siege.served else {
        return Ok(());
    };
    let replaced = served.metric("askr_ring_replaced_total")?;
    // Once a second at the most; recovery and the edges take a few more.
    if replaced == 0 || replaced > seconds + 60 {
        wrong.push(format!("askrd counted {replaced} replacements"));
    }
    if book.get(Board::Distrusts) == 0 {
        wrong.push("the subscriber was never told of a new epoch".into());
    }
    book.set(Board::Epoch, replaced);
    let unreadable = served.metric("askr_positions_lost_total{reason=\"unreadable\"}")?;
    book.set(Board::Unreadable, unreadable);
    Ok(())
}

fn verdict(book: &Book, siege: &Siege, mut wrong: Vec<String>) -> bool {
    let get = |word| book.get(word);
    let gap = Duration::from_nanos(get(Board::Stall));
    if siege.served.is_none() && gap < PAUSE {
        wrong.push(format!("two replacements within {gap:?}"));
    }
    wrong.iter().for_each(|note| println!("hostile: {note}"));
    println!(
        "hostile: {} honest events read, {} foreign ones; {} signs of life, {} records unreadable, {} \
         ranges told to be lost; {} replacements, {} new epochs seen; {} connections cut",
        get(Board::Events),
        get(Board::Forged),
        get(Board::Beat),
        get(Board::Unreadable),
        get(Board::Told),
        get(Board::Epoch),
        get(Board::Distrusts),
        get(Board::Cuts)
    );
    let (torn, twice) = (get(Board::Torn), get(Board::Duplicates));
    let (failed, struck) = (siege.failed, siege.struck);
    println!(
        "hostile: false events accepted {torn}, duplicates {twice}, publishers killed by SIGBUS \
         {struck}, publishers failed {failed}, other faults {}",
        wrong.len()
    );
    torn + twice + failed + struck + wrong.len() as u64 > 0 || get(Board::Events) == 0
}
