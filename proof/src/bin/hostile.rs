//! A hostile writer: while a reading daemon serves and honest publishers publish, others scribble over
//! the whole mapped segment, cut the file short, replace and remove its name.
//!
//! The daemon must neither crash nor stand still, must accept nothing that no publisher sent, must not
//! replace the ring more often than once a second, and must work again as soon as it is left alone.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use askr_proof::besieged;
use askr_proof::book::{Board, Book};
use askr_proof::rng::Rng;
use askr_proof::roles::wait_until;
use askr_proof::scribble;
use clap::{Parser, Subcommand};

/// Replacing what cannot be trusted: at most once a second.
const PAUSE: Duration = Duration::from_millis(990);
/// A daemon that takes no step for so long hangs; a step takes microseconds.
const HANG: Duration = Duration::from_secs(30);
const PUBLISHERS: usize = 4;
const SCRIBBLERS: usize = 2;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[arg(long)]
    seed: Option<u64>,
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

/// Ends with what it started.
struct Siege<'a> {
    dir: &'a Path,
    key: u64,
    rng: Rng,
    next_id: u32,
    publishers: Vec<(u32, Child)>,
    scribblers: Vec<Child>,
    keeper: Child,
    /// Publishers ended by a signal (SIGBUS: the file was cut under them) and started anew.
    struck: u64,
}

fn start(args: &[String]) -> io::Result<Child> {
    let mut own = Command::new(std::env::current_exe()?);
    own.args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}

impl Siege<'_> {
    fn start_publisher(&mut self, book: &Book) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        book.begin(id, true)?;
        let words = [u64::from(id), self.key, self.rng.word() >> 32].map(|word| word.to_string());
        let args = [
            vec!["publish".into(), self.dir.display().to_string()],
            words.to_vec(),
        ]
        .concat();
        self.publishers.push((id, start(&args)?));
        Ok(())
    }

    fn start_scribbler(&mut self) -> io::Result<()> {
        let seed = (self.rng.word() >> 32).to_string();
        self.scribblers.push(start(&[
            "scribble".into(),
            self.dir.display().to_string(),
            seed,
        ])?);
        Ok(())
    }

    /// Starts anew what did not survive; an honest publisher may only have died of a signal.
    fn refill(&mut self, book: &Book, scribbling: bool) -> io::Result<u64> {
        let mut failed = 0;
        for n in (0..self.publishers.len()).rev() {
            if let Some(status) = self.publishers[n].1.try_wait()? {
                let (id, _) = self.publishers.remove(n);
                match status.signal() {
                    Some(libc::SIGBUS) => self.struck += 1,
                    None if status.success() => {}
                    _ => {
                        eprintln!("hostile: publisher {id} ended: {status}");
                        failed += 1;
                    }
                }
                self.start_publisher(book)?;
            }
        }
        let before = self.scribblers.len();
        self.scribblers
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        for _ in self.scribblers.len()..before {
            if scribbling {
                self.start_scribbler()?;
            }
        }
        Ok(failed)
    }
}

impl Drop for Siege<'_> {
    fn drop(&mut self) {
        let publishers = self.publishers.iter_mut().map(|(_, child)| child);
        for child in publishers
            .chain(&mut self.scribblers)
            .chain([&mut self.keeper])
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// True when something that must be zero is not.
fn siege(args: &Args) -> io::Result<bool> {
    let seed = args
        .seed
        .unwrap_or_else(|| shared::segment::now_ns() & 0xffff_ffff);
    println!("hostile: {} s, seed {seed}", args.seconds);
    let dir = tempfile::Builder::new()
        .prefix("askr-hostile-")
        .tempdir_in("/dev/shm")?;
    let dir = dir.path();
    let book = Book::open(dir)?;
    let mut rng = Rng::new(seed);
    let key = rng.word() >> 1;
    let words = [key, rng.word() >> 32].map(|word| word.to_string());
    let keeper = start(
        &[
            vec!["keep".into(), dir.display().to_string()],
            words.to_vec(),
        ]
        .concat(),
    )?;
    let mut siege = Siege {
        dir,
        key,
        rng,
        next_id: 1,
        publishers: Vec::new(),
        scribblers: Vec::new(),
        keeper,
        struck: 0,
    };
    if !wait_until(Duration::from_secs(20), || book.get(Board::Starts) > 0) {
        return Err(io::Error::other("the reading daemon did not start"));
    }
    for _ in 0..PUBLISHERS {
        siege.start_publisher(&book)?;
    }
    for _ in 0..SCRIBBLERS {
        siege.start_scribbler()?;
    }
    let mut wrong = Vec::new();
    let mut failed = 0;
    let (mut beat, mut moved) = (0, Instant::now());
    let end = Instant::now() + Duration::from_secs(args.seconds);
    while Instant::now() < end && wrong.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        failed += siege.refill(&book, true)?;
        if let Some(status) = siege.keeper.try_wait()? {
            wrong.push(format!("the reading daemon crashed: {status}"));
        }
        if book.get(Board::Beat) != beat {
            (beat, moved) = (book.get(Board::Beat), Instant::now());
        } else if moved.elapsed() > HANG {
            wrong.push("the reading daemon stands still".into());
        }
    }
    for child in &mut siege.scribblers {
        child.kill()?;
        child.wait()?;
    }
    siege.scribblers.clear();
    if wrong.is_empty() {
        failed += recovery(&mut siege, &book, &mut wrong)?;
    }
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", siege.keeper.id()))?;
    let maps = maps.lines().filter(|line| line.contains("/ring")).count();
    if maps > 6 {
        wrong.push(format!("{maps} mappings of rings remain"));
    }
    Ok(verdict(&book, &siege, failed, wrong))
}

/// Left alone, the ring works: each publisher that lives gets events through again.
fn recovery(siege: &mut Siege<'_>, book: &Book, wrong: &mut Vec<String>) -> io::Result<u64> {
    let mut failed = 0;
    for _ in 0..3 {
        let before = book.get(Board::Events);
        let more = || book.get(Board::Events) >= before + 50 * PUBLISHERS as u64;
        let mut children = io::Result::Ok(0);
        let recovered = wait_until(Duration::from_secs(30), || {
            children = siege.refill(book, false);
            children.is_err() || more()
        });
        failed += children?;
        if !recovered {
            wrong.push("left alone, the ring did not recover".into());
            return Ok(failed);
        }
    }
    let arrived = |id: u32| {
        let seen = book.seen(id);
        seen.map_or(0, |words| {
            words
                .iter()
                .filter(|w| w.load(std::sync::atomic::Ordering::Acquire) != 0)
                .count()
        })
    };
    let ids: Vec<u32> = siege.publishers.iter().map(|(id, _)| *id).collect();
    let before: Vec<usize> = ids.iter().map(|id| arrived(*id)).collect();
    let each = || {
        let mut pairs = ids.iter().zip(&before);
        pairs.all(|(id, before)| arrived(*id) > *before || arrived(*id) > 30_000)
    };
    if !wait_until(Duration::from_secs(30), each) {
        wrong.push("a publisher did not find its way back".into());
    }
    Ok(failed)
}

fn verdict(book: &Book, siege: &Siege<'_>, failed: u64, mut wrong: Vec<String>) -> bool {
    let get = |word| book.get(word);
    let gap = Duration::from_nanos(get(Board::Stall));
    if gap < PAUSE {
        wrong.push(format!("two replacements within {gap:?}"));
    }
    wrong.iter().for_each(|note| println!("hostile: {note}"));
    println!(
        "hostile: {} honest events read, {} foreign ones; {} steps of the reader, {} records unreadable, \
         {} ranges told to be lost; {} replacements, {} of them with a new epoch; {} publishers killed \
         by SIGBUS and started again",
        get(Board::Events),
        get(Board::Forged),
        get(Board::Beat),
        get(Board::Unreadable),
        get(Board::Told),
        get(Board::Epoch),
        get(Board::Distrusts),
        siege.struck
    );
    let (torn, twice) = (get(Board::Torn), get(Board::Duplicates));
    println!(
        "hostile: false events accepted {torn}, duplicates {twice}, publishers failed {failed}, other \
         faults {}",
        wrong.len()
    );
    torn + twice + failed + wrong.len() as u64 > 0 || get(Board::Events) == 0
}
