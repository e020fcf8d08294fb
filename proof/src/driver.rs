//! The driver of the torture: starts, kills, stops and continues; settles the books of those who ended.

mod ending;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::segment::Segment;
use tempfile::TempDir;

use crate::book::{Account, Board, Book};
use crate::rng::Rng;
use crate::roles::{self, wait_until};
use crate::served::Served;
use crate::subscriber;

pub struct Options {
    pub seconds: u64,
    pub seed: u64,
    pub publishers: usize,
    pub php: usize,
    pub fpm: usize,
    pub askr_so: PathBuf,
    pub script: PathBuf,
    pub calm: u64,
    /// The real daemon, read by a subscriber; None: a reader of the proof's own.
    pub askrd: Option<PathBuf>,
}

/// Nothing that works takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Own,
    Php,
    /// A client; what is killed and stopped are the workers.
    Fpm,
}

struct Runner {
    kind: Kind,
    id: u32,
    process: Child,
}

/// An incarnation whose publisher is gone. Everything it can have claimed lies below `fence`.
struct Ended {
    id: u32,
    words: bool,
    fence: u64,
}

#[derive(Default)]
struct Counts {
    kills: u64,
    stops: u64,
    restarts: u64,
    rotations: u64,
    /// Processes that ended by themselves with an error.
    failures: u64,
}

pub struct Driver {
    options: Options,
    dir: TempDir,
    book: Book,
    key: u64,
    rng: Rng,
    runners: Vec<Runner>,
    fpm: Option<Child>,
    /// The daemon: askrd, or the proof's own reader.
    keeper: Option<Child>,
    served: Option<Served>,
    subscriber: Option<JoinHandle<()>>,
    keeper_due: Instant,
    keeper_ends: Instant,
    /// Starts of daemons before the present one.
    starts: u64,
    second: bool,
    /// Stopped processes and when they go on.
    stopped: Vec<(Pid, Instant)>,
    ended: Vec<Ended>,
    next_id: u32,
    ring_made: u64,
    account: Account,
    counts: Counts,
    wound_down: String,
}

impl Driver {
    /// Prints the verdict; true when something that must be zero is not.
    pub fn run(options: Options) -> io::Result<bool> {
        let dir = tempfile::Builder::new()
            .prefix("askr-torture-")
            .tempdir_in("/dev/shm")?;
        let mut rng = Rng::new(options.seed);
        let now = Instant::now();
        let mut driver = Self {
            book: Book::open(dir.path())?,
            key: rng.word() >> 1,
            runners: Vec::new(),
            fpm: None,
            keeper: None,
            served: None,
            subscriber: None,
            keeper_due: now,
            keeper_ends: now + Duration::from_secs(2),
            starts: 0,
            second: false,
            stopped: Vec::new(),
            ended: Vec::new(),
            next_id: 1,
            ring_made: 0,
            account: Account::default(),
            counts: Counts::default(),
            wound_down: String::new(),
            rng,
            dir,
            options,
        };
        driver.go()
    }

    fn go(&mut self) -> io::Result<bool> {
        if let Some(binary) = &self.options.askrd {
            let served = Served::new(binary, self.dir.path())?;
            let seed = self.rng.word();
            let subscriber =
                subscriber::start(self.dir.path(), served.port, self.key, seed, false)?;
            (self.served, self.subscriber) = (Some(served), Some(subscriber));
        }
        self.start_keeper()?;
        if !wait_until(Duration::from_secs(20), || self.book.get(Board::Starts) > 0) {
            return Err(io::Error::other("the reading daemon did not start"));
        }
        self.start_fpm()?;
        let kinds = [
            (Kind::Own, self.options.publishers),
            (Kind::Php, self.options.php),
            (Kind::Fpm, self.options.fpm),
        ];
        for (kind, count) in kinds {
            for _ in 0..count {
                self.start(kind)?;
            }
        }
        let end = Instant::now() + Duration::from_secs(self.options.seconds);
        let mut settle = Instant::now();
        while Instant::now() < end {
            std::thread::sleep(Duration::from_micros(500 + self.rng.below(4000)));
            self.disturb()?;
            self.bury()?;
            if settle.elapsed() > Duration::from_millis(500) {
                self.settle()?;
                settle = Instant::now();
            }
        }
        let stuck = self.finish()?;
        Ok(self.verdict(stuck))
    }

    fn start(&mut self, kind: Kind) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        self.book.begin(id, kind == Kind::Own)?;
        let (id_text, key) = (id.to_string(), self.key.to_string());
        let seed = (self.rng.word() >> 32).to_string();
        let dir = self.dir.path();
        let mut command = match kind {
            Kind::Php => {
                let mut php = self.php(Path::new(&php_binary()));
                let max = roles::spec(dir, false)?.max_payload().to_string();
                php.arg(&self.options.script).arg(dir);
                php.args([&id_text, &key, &seed, "0", "4000", &max]);
                php
            }
            Kind::Own => {
                let mut own = Command::new(std::env::current_exe()?);
                own.arg("publish").arg(dir).args([&id_text, &key, &seed]);
                own.arg(self.options.calm.to_string());
                own
            }
            Kind::Fpm => {
                let mut own = Command::new(std::env::current_exe()?);
                own.arg("fpm").arg(dir).args([&id_text, &key, &seed]);
                own.arg(dir.join("fpm.sock")).arg(&self.options.script);
                own
            }
        };
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        self.runners.push(Runner { kind, id, process });
        Ok(())
    }

    /// A PHP of ours: no php.ini of the machine, the extension, the ring.
    fn php(&self, binary: &Path) -> Command {
        let mut php = Command::new(binary);
        php.arg("-n")
            .arg("-d")
            .arg(format!("extension={}", self.options.askr_so.display()));
        php.arg("-d")
            .arg(format!("askr.ring={}/ring", self.dir.path().display()));
        php.args(["-d", "askr.on_failure=silent", "-d", "memory_limit=256M"]);
        php
    }

    fn start_fpm(&mut self) -> io::Result<()> {
        if self.options.fpm == 0 {
            return Ok(());
        }
        let dir = self.dir.path();
        let config = dir.join("fpm.conf");
        // Workers are recycled after 50 requests, as busy sites do.
        let text = format!(
            "[global]\ndaemonize = no\nerror_log = {0}/fpm.log\n[www]\nlisten = {0}/fpm.sock\n\
             user = root\ngroup = root\npm = static\npm.max_children = {1}\npm.max_requests = 50\n",
            dir.display(),
            self.options.fpm
        );
        std::fs::write(&config, text)?;
        let binary = std::env::var("PHP_FPM").unwrap_or_else(|_| "/usr/sbin/php-fpm8.2".into());
        let mut command = self.php(Path::new(&binary));
        command
            .arg("-R")
            .arg("-y")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let spawned = command.spawn();
        let fpm = spawned.map_err(|error| io::Error::other(format!("{binary}: {error}")))?;
        self.fpm = Some(fpm);
        let socket = dir.join("fpm.sock");
        if wait_until(Duration::from_secs(20), || socket.exists()) {
            Ok(())
        } else {
            Err(io::Error::other(format!("{binary} did not start")))
        }
    }

    fn start_keeper(&mut self) -> io::Result<()> {
        self.starts = self.book.get(Board::Starts);
        self.keeper = Some(match &self.served {
            Some(served) => served.start(self.second)?,
            None => {
                let mut own = Command::new(std::env::current_exe()?);
                own.arg("keep").arg(self.dir.path());
                own.args([self.key.to_string(), self.second.to_string()]);
                own.stdin(Stdio::null()).spawn()?
            }
        });
        // Now and then it does not live to see its ring: a rotation is cut short somewhere.
        let life = if self.rng.one_in(4) {
            self.rng.below(15)
        } else {
            1000 + self.rng.below(3000)
        };
        self.keeper_ends = Instant::now() + Duration::from_millis(life);
        Ok(())
    }

    fn disturb(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.stopped.retain(|(pid, until)| {
            let due = now >= *until;
            if due {
                let _ = kill(*pid, Signal::SIGCONT);
            }
            !due
        });
        match &mut self.keeper {
            Some(_) if now >= self.keeper_ends => self.kill_keeper()?,
            Some(process) if self.rng.one_in(1500) => {
                let pid = Pid::from_raw(process.id() as i32);
                let pause = 20 + self.rng.below(600);
                self.stop(pid, pause);
            }
            None if now >= self.keeper_due => {
                self.second ^= self.rng.one_in(3);
                self.start_keeper()?;
            }
            _ => {}
        }
        if self.rng.one_in(12) {
            self.disturb_publisher();
        }
        Ok(())
    }

    fn kill_keeper(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.keeper.take() {
            process.kill()?;
            let status = process.wait()?;
            // It may not have been ours to kill: a reader that ended by itself failed.
            if status.signal() != Some(Signal::SIGKILL as i32) {
                self.counts.failures += 1;
            }
            self.counts.restarts += 1;
        }
        let away = if self.rng.one_in(2) {
            0
        } else {
            self.rng.below(300)
        };
        self.keeper_due = Instant::now() + Duration::from_millis(away);
        Ok(())
    }

    fn disturb_publisher(&mut self) {
        if self.runners.is_empty() {
            return;
        }
        let n = self.rng.below(self.runners.len() as u64) as usize;
        let (kind, own) = (self.runners[n].kind, self.runners[n].process.id());
        // PHP takes long to start, so it is stopped more often than killed.
        let kills = self.rng.one_in(if kind == Kind::Own { 2 } else { 8 });
        let pid = match kind {
            Kind::Fpm => self.some_worker(),
            _ => Some(own),
        };
        let Some(pid) = pid.map(|pid| Pid::from_raw(pid as i32)) else {
            return;
        };
        if kills {
            self.counts.kills += u64::from(kill(pid, Signal::SIGKILL).is_ok());
        } else if !self.stopped.iter().any(|(stopped, _)| *stopped == pid) {
            let pause = 1 + self.rng.below(400);
            self.stop(pid, pause);
        }
    }

    fn stop(&mut self, pid: Pid, pause: u64) {
        if kill(pid, Signal::SIGSTOP).is_ok() {
            self.counts.stops += 1;
            self.stopped
                .push((pid, Instant::now() + Duration::from_millis(pause)));
        }
    }

    fn some_worker(&mut self) -> Option<u32> {
        let master = self.fpm.as_ref()?.id();
        let children =
            std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
        let pids: Vec<u32> = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect();
        (!pids.is_empty()).then(|| *self.rng.pick(&pids))
    }

    /// Notes who ended, and starts others in their place.
    fn bury(&mut self) -> io::Result<()> {
        let mut n = 0;
        while n < self.runners.len() {
            let Some(status) = self.runners[n].process.try_wait()? else {
                n += 1;
                continue;
            };
            let runner = self.runners.swap_remove(n);
            self.end(&runner, status)?;
            self.start(runner.kind)?;
        }
        Ok(())
    }

    fn end(&mut self, runner: &Runner, status: ExitStatus) -> io::Result<()> {
        let killed = status.signal() == Some(Signal::SIGKILL as i32);
        if !killed && !status.success() {
            eprintln!(
                "torture: publisher {} ({:?}) ended: {status}",
                runner.id, runner.kind
            );
            self.counts.failures += 1;
        }
        let fence = self.current()?.head();
        self.ended.push(Ended {
            id: runner.id,
            words: runner.kind == Kind::Own,
            fence,
        });
        Ok(())
    }

    fn current(&mut self) -> io::Result<Segment> {
        let name = roles::spec(self.dir.path(), false)?.name;
        let segment = Segment::open(name.path(), |_| true).map_err(io::Error::other)?;
        let made = segment.created_ns();
        self.counts.rotations += u64::from(self.ring_made != 0 && made != self.ring_made);
        self.ring_made = made;
        Ok(segment)
    }

    fn settle(&mut self) -> io::Result<()> {
        let next = self.book.get(Board::Next);
        let told = self.book.told();
        for Ended { id, words, .. } in self.ended.extract_if(.., |ended| ended.fence <= next) {
            self.account.add(self.book.settle(id, words, &told)?);
        }
        Ok(())
    }
}

/// The PHP that askr.so was built for.
pub fn php_binary() -> String {
    std::env::var("PHP").unwrap_or_else(|_| "php".into())
}

impl Drop for Driver {
    /// After an error as well, nothing that was started stays.
    fn drop(&mut self) {
        for process in self
            .runners
            .iter_mut()
            .map(|runner| &mut runner.process)
            .chain(&mut self.keeper)
        {
            let _ = process.kill();
            let _ = process.wait();
        }
        for (pid, _) in &self.stopped {
            let _ = kill(*pid, Signal::SIGCONT);
        }
        if let Some(master) = &mut self.fpm {
            let _ = kill(Pid::from_raw(master.id() as i32), Signal::SIGTERM);
            let _ = master.wait();
        }
    }
}
