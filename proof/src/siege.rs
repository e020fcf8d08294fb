//! The processes of a siege: a daemon that serves, honest publishers, and those who scribble.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Acquire;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::book::{Board, Book};
use crate::driver::php_binary;
use crate::rng::Rng;
use crate::roles::{self, wait_until};
use crate::served::Served;
use crate::subscriber::{self, PHP};

const PUBLISHERS: usize = 4;
const SCRIBBLERS: usize = 2;
/// Nothing that works takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Options {
    pub dir: PathBuf,
    pub seed: u64,
    /// The real daemon, with a subscriber; None: a reader of the proof's own.
    pub askrd: Option<PathBuf>,
    /// One of the publishers is PHP with this extension.
    pub askr_so: Option<PathBuf>,
}

/// Ends with what it started.
pub struct Siege {
    options: Options,
    key: u64,
    rng: Rng,
    next_id: u32,
    publishers: Vec<(u32, Child)>,
    scribblers: Vec<Child>,
    pub keeper: Child,
    pub served: Option<Served>,
    subscriber: Option<JoinHandle<()>>,
    /// Publishers ended by SIGBUS: the file was cut under them.
    pub struck: u64,
    /// Publishers that ended otherwise than they should.
    pub failed: u64,
}

fn own(args: &[&str]) -> io::Result<Child> {
    let mut own = Command::new(std::env::current_exe()?);
    let own = own.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    own.spawn()
}

impl Siege {
    pub fn begin(options: Options, book: &Book) -> io::Result<Self> {
        let mut rng = Rng::new(options.seed);
        let (key, seed) = (rng.word() >> 1, rng.word() >> 32);
        let dir = &options.dir;
        let (mut served, mut subscriber) = (None, None);
        let keeper = match &options.askrd {
            Some(binary) => {
                let askrd = Served::new(binary, dir)?;
                let keeper = askrd.start(false)?;
                subscriber = Some(subscriber::start(dir, askrd.port, key, seed, true)?);
                served = Some(askrd);
                keeper
            }
            None => own(&["keep", &text(dir), &key.to_string(), &seed.to_string()])?,
        };
        let mut siege = Self {
            options,
            key,
            rng,
            next_id: 1,
            publishers: Vec::new(),
            scribblers: Vec::new(),
            keeper,
            served,
            subscriber,
            struck: 0,
            failed: 0,
        };
        if !wait_until(PATIENCE, || book.get(Board::Starts) > 0) {
            return Err(io::Error::other("the daemon did not start"));
        }
        for _ in 0..PUBLISHERS {
            siege.start_publisher(book, false)?;
        }
        if siege.options.askr_so.is_some() {
            siege.start_publisher(book, true)?;
        }
        for _ in 0..SCRIBBLERS {
            siege.start_scribbler()?;
        }
        Ok(siege)
    }

    fn start_publisher(&mut self, book: &Book, php: bool) -> io::Result<()> {
        let id = self.next_id + if php { PHP } else { 0 };
        self.next_id += 1;
        book.begin(id, !php)?;
        let words = [u64::from(id), self.key, self.rng.word() >> 32].map(|word| word.to_string());
        let [id_text, key, seed] = &words;
        let dir = text(&self.options.dir);
        let child = match &self.options.askr_so {
            Some(askr_so) if php => {
                let max = roles::spec(&self.options.dir, false)?.max_payload() / 4;
                let mut php = Command::new(php_binary());
                php.args(["-n", "-d", "askr.on_failure=silent", "-d"]);
                php.arg(format!("extension={}", askr_so.display()));
                php.args(["-d", &format!("askr.ring={dir}/ring")]);
                php.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("php/publish.php"));
                php.args([&dir, id_text, key, seed, "0", "4000", &max.to_string()]);
                php.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?
            }
            _ => own(&["publish", &dir, id_text, key, seed])?,
        };
        self.publishers.push((id, child));
        Ok(())
    }

    fn start_scribbler(&mut self) -> io::Result<()> {
        let seed = (self.rng.word() >> 32).to_string();
        let scribbler = own(&["scribble", &text(&self.options.dir), &seed])?;
        self.scribblers.push(scribbler);
        Ok(())
    }

    /// Starts anew who ended; an honest publisher may only have come to its end.
    pub fn refill(&mut self, book: &Book) -> io::Result<()> {
        for n in (0..self.publishers.len()).rev() {
            let Some(status) = self.publishers[n].1.try_wait()? else {
                continue;
            };
            let (id, _) = self.publishers.remove(n);
            match status.signal() {
                Some(libc::SIGBUS) => self.struck += 1,
                None if status.success() => {}
                _ => {
                    eprintln!("hostile: publisher {id} ended: {status}");
                    self.failed += 1;
                }
            }
            self.start_publisher(book, id >= PHP)?;
        }
        let before = self.scribblers.len();
        self.scribblers
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        for _ in self.scribblers.len()..before {
            self.start_scribbler()?;
        }
        Ok(())
    }

    pub fn end_scribbling(&mut self) -> io::Result<()> {
        for mut child in self.scribblers.drain(..) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Left alone, the ring works: events arrive again, and in the end some of each publisher that lives.
    /// What does not, in words.
    pub fn recovery(&mut self, book: &Book) -> io::Result<Option<&'static str>> {
        for _ in 0..3 {
            let wanted = book.get(Board::Events) + 50 * self.publishers.len() as u64;
            let mut refilled = Ok(());
            let recovered = wait_until(PATIENCE, || {
                refilled = self.refill(book);
                refilled.is_err() || book.get(Board::Events) >= wanted
            });
            refilled?;
            if !recovered {
                return Ok(Some("left alone, the ring did not recover"));
            }
        }
        let arrived = |id: u32| {
            let seen = book.seen(id);
            seen.map_or(0, |words| {
                words.iter().filter(|w| w.load(Acquire) != 0).count()
            })
        };
        let ids: Vec<u32> = self.publishers.iter().map(|(id, _)| *id).collect();
        let before: Vec<usize> = ids.iter().map(|id| arrived(*id)).collect();
        let each = || {
            let mut pairs = ids.iter().zip(&before);
            // One that has come to its end meanwhile cannot send more.
            pairs.all(|(id, before)| {
                arrived(*id) > *before || arrived(*id) > 30_000 || (*id >= PHP && *before > 1000)
            })
        };
        let lost = "a publisher did not find its way back";
        Ok((!wait_until(PATIENCE, each)).then_some(lost))
    }
}

fn text(dir: &Path) -> String {
    dir.display().to_string()
}

impl Drop for Siege {
    fn drop(&mut self) {
        let publishers = self.publishers.iter_mut().map(|(_, child)| child);
        for child in publishers
            .chain(&mut self.scribblers)
            .chain([&mut self.keeper])
        {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Its thread ends when the board says so; without a board that can be opened it is left.
        if let (Some(subscriber), Ok(book)) =
            (self.subscriber.take(), Book::open(&self.options.dir))
        {
            book.set(Board::Stop, 2);
            let _ = subscriber.join();
        }
    }
}
