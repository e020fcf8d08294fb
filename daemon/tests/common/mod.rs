//! A running askrd on a ring of its own, and clients of it. Everything waits for what it expects; a
//! read that gets nothing for a long time fails the test.

pub mod api;
pub mod client;
pub mod dashboard;
pub mod grants;
pub mod hosts;
pub mod mercure;
pub mod pages;
pub mod redis;
pub mod ws;

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::event::EventRef;
use shared::publisher::{AttachOptions, Publisher};
use tempfile::TempDir;

pub use client::{Client, connect_from};

/// Long enough that only a missing event reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Closed to others, because there may be a secret in it.
pub fn write_settings(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub struct Daemon {
    pub directory: TempDir,
    process: Child,
    pub address: SocketAddr,
    log: Vec<String>,
    later: Mutex<Receiver<String>>,
    /// `ASKR_FAULT`, for this start and the next ones.
    fault: String,
}

pub fn askrd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_askrd"));
    command.env_clear();
    command
}

/// Exit code and words of `askrd check` about these settings, in a file `askr.toml`.
pub fn check(settings: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("askr.toml");
    write_settings(&config, settings);
    let output = askrd().args(["check", "--config"]).arg(&config).output();
    let output = output.unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), words)
}

/// `askrd check` refuses these settings and says the file, then `why`. Returns all of what it says.
#[track_caller]
pub fn refused(settings: &str, why: &str) -> String {
    let (code, words) = check(settings);
    assert_eq!(code, Some(2), "{settings}: {words}");
    let said = words.contains(&format!("askr.toml: {why}"));
    assert!(said, "{settings}: {words}");
    words
}

fn serve(config: &std::path::Path, fault: &str) -> Command {
    let mut command = askrd();
    command.args(["serve", "--config"]).arg(config);
    // The tests of what is asked for hold whoever reads a connection's first request.
    let fault = match std::env::var("ASKR_TEST_FIRST") {
        Ok(by) if by == "hyper" && fault.is_empty() => BY_HYPER,
        _ => fault,
    };
    command.env("ASKR_FAULT", fault);
    command
}

/// The fault with which hyper reads each request.
pub const BY_HYPER: &str = "error first";

impl Daemon {
    /// `settings`: lines of TOML, `section.key = value`.
    pub fn start(settings: &str) -> Self {
        Self::start_with_fault("", settings)
    }

    /// With a fault of `daemon/src/faults.rs`.
    pub fn start_with_fault(fault: &str, settings: &str) -> Self {
        let directory = Self::configured(settings);
        let command = serve(&directory.path().join("askr.toml"), fault);
        Self::of(directory, command, fault)
    }

    /// With so many KiB of address space: an allocation past that ends the process.
    pub fn start_within(kib: u64, settings: &str) -> Self {
        let directory = Self::configured(settings);
        let mut shell = Command::new("sh");
        let line = format!("ulimit -v {kib} && exec \"$0\" serve --config \"$1\"");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_askrd")]);
        shell.arg(directory.path().join("askr.toml"));
        Self::of(directory, shell, "")
    }

    fn of(directory: TempDir, command: Command, fault: &str) -> Self {
        let (process, address, log, later) = Self::spawn_as(command);
        Self {
            directory,
            process,
            address,
            log,
            later,
            fault: fault.to_owned(),
        }
    }

    fn configured(settings: &str) -> TempDir {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = directory.path().display();
        // `make test` runs some with each way of writing to sockets, and with one worker, which accepts by itself.
        let io = std::env::var("ASKR_TEST_IO")
            .map_or(String::new(), |io| format!("server.io = '{io}'\n"));
        let workers = std::env::var("ASKR_TEST_WORKERS")
            .ok()
            .filter(|_| !settings.contains("server.workers"))
            .map_or(String::new(), |n| format!("server.workers = {n}\n"));
        let text = format!(
            "{io}{workers}ring.name = '{at}/ring'\nserver.listen = ['127.0.0.1:0', 'unix:{at}/askrd.sock']\n\
             server.control = '{at}/control.sock'\n{settings}"
        );
        write_settings(&directory.path().join("askr.toml"), &text);
        directory
    }

    /// Takes over a listening socket, as from a service manager.
    pub fn activate(&mut self, listener: &std::net::TcpListener) {
        let mut shell = Command::new("sh");
        // Only the process itself knows the number that it will have.
        let line = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --config \"$1\" 3<&0 </dev/null";
        shell.args(["-c", line, env!("CARGO_BIN_EXE_askrd")]);
        shell.arg(self.config());
        let listener: std::os::fd::OwnedFd = listener.try_clone().unwrap().into();
        shell.stdin(listener);
        (self.process, self.address, self.log, self.later) = Self::spawn_as(shell);
    }

    fn spawn_as(mut command: Command) -> (Child, SocketAddr, Vec<String>, Mutex<Receiver<String>>) {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        while !log
            .last()
            .is_some_and(|line: &String| line.ends_with(" ready"))
        {
            log.push(
                lines
                    .next()
                    .unwrap_or_else(|| panic!("it ended: {log:#?}"))
                    .unwrap(),
            );
        }
        // What it says later must not fill the pipe.
        let (said, later) = mpsc::channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| drop(said.send(line)));
        });
        let address = log
            .iter()
            .find_map(|line| line.split_once("listening on http://"));
        let address = address
            .expect("it says where it listens")
            .1
            .parse()
            .unwrap();
        (process, address, log, Mutex::new(later))
    }

    /// Waits for a line that it says after it was ready.
    pub fn says(&self, text: &str) -> String {
        self.says_until(text).pop().unwrap()
    }

    /// The same, with the lines before it.
    pub fn says_until(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.later.lock().unwrap().recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it does not say {text:?}, but {lines:#?}"));
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains(text)) {
                return lines;
            }
        }
    }

    /// Bytes of anonymous memory it has now: what it allocated itself, without the ring.
    pub fn anonymous(&self) -> u64 {
        anonymous(self.process.id())
    }

    /// The most anonymous memory it was seen to have while `job` went on.
    pub fn peak<T>(&self, job: impl FnOnce() -> T) -> (u64, T) {
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let (done, id) = (AtomicBool::new(false), self.process.id());
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut most = 0;
                while !done.load(Relaxed) {
                    most = most.max(anonymous(id));
                    std::thread::sleep(Duration::from_millis(1));
                }
                most
            });
            let ended = Done(&done);
            let value = job();
            drop(ended);
            (watch.join().unwrap(), value)
        })
    }

    /// What it said until it was ready.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// Where it said that the listener for operators of this setting is.
    pub fn operators(&self, key: &str) -> SocketAddr {
        let said = format!("{key} is at http://");
        let at = self.log.iter().find_map(|line| line.split_once(&said));
        at.expect("it says where").1.parse().unwrap()
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("askr.toml")
    }

    pub fn ring(&self) -> PathBuf {
        self.directory.path().join("ring")
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// Stops it until SIGCONT; returns when none of its threads runs any more.
    pub fn hold_up(&self) {
        self.signal(Signal::SIGSTOP);
        let stopped = |task: std::io::Result<std::fs::DirEntry>| {
            // A thread that ends meanwhile has no file.
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
            stat.map_or(true, |stat| {
                stat.rsplit(')').next().unwrap().starts_with(" T")
            })
        };
        let tasks = format!("/proc/{}/task", self.process.id());
        while !std::fs::read_dir(&tasks).unwrap().all(stopped) {}
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// Starts it again on the same ring, at a new port.
    pub fn restart(&mut self) {
        self.wait();
        let command = serve(&self.config(), &self.fault);
        (self.process, self.address, self.log, self.later) = Self::spawn_as(command);
    }

    /// Starts it again, to see it end before it is ready: its exit status and its log.
    pub fn restart_in_vain(&mut self) -> Output {
        self.wait();
        serve(&self.config(), &self.fault).output().unwrap()
    }

    pub fn publisher(&self) -> Publisher {
        let mut publisher = Publisher::new();
        let name = self.ring().to_str().unwrap().parse().unwrap();
        publisher.configure(AttachOptions {
            name,
            ..AttachOptions::default()
        });
        publisher
    }

    pub fn publish(&self, channel: &str, data: &str) {
        publish(&mut self.publisher(), &[channel], None, None, data);
    }

    pub fn open(&self, channel: &str) -> Client {
        self.open_with(&format!("channel={channel}"), &[])
    }

    pub fn resume(&self, channel: &str, cursor: &str) -> Client {
        self.open_with(&format!("channel={channel}"), &[("Last-Event-ID", cursor)])
    }

    pub fn open_with(&self, query: &str, headers: &[(&str, &str)]) -> Client {
        let mut client = Client::connect(self.address);
        client.request(&format!("/askr/events?{query}"), headers);
        assert!(
            client.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            client.head
        );
        client
    }

    pub fn control(&self, path: &str) -> String {
        let mut socket = UnixStream::connect(self.directory.path().join("control.sock")).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn metric(&self, name: &str) -> u64 {
        metric_of(&self.control("/metrics"), name)
    }

    /// Asks until it is so.
    #[track_caller]
    pub fn until(&self, name: &str, is: impl Fn(u64) -> bool) {
        let last = Cell::new(0);
        until_or(
            || {
                last.set(self.metric(name));
                is(last.get())
            },
            || format!("{name} is {}", last.get()),
        );
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The value that this answer of `/metrics` gives.
#[track_caller]
pub fn metric_of(text: &str, name: &str) -> u64 {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}

/// Asks until it is so, at first without a pause, then such that what is waited for has the processor.
#[track_caller]
pub fn until(is: impl FnMut() -> bool) {
    until_or(is, || "it never is".to_owned());
}

/// The same; otherwise it says how things are.
#[track_caller]
pub fn until_or(mut is: impl FnMut() -> bool, how: impl Fn() -> String) {
    let (mut asked, since) = (0, Instant::now());
    while !is() {
        assert!(since.elapsed() < 3 * PATIENCE, "{}", how());
        asked += 1;
        if asked > 20 {
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

/// 0 once the process is gone.
fn anonymous(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.map_or(0, |kib| kib.parse::<u64>().unwrap() << 10)
}

pub fn publish(
    publisher: &mut Publisher,
    channels: &[&str],
    event: Option<&str>,
    id: Option<&str>,
    data: &str,
) -> u64 {
    let channels: Vec<&[u8]> = channels.iter().map(|c| c.as_bytes()).collect();
    let event = EventRef {
        channels: &channels,
        event: event.map(str::as_bytes),
        id: id.map(str::as_bytes),
        data: data.as_bytes(),
        ..EventRef::default()
    };
    event.check().unwrap();
    publisher.publish(&event).unwrap().seq
}

/// The head and body of the next request that askrd makes of an application; None if it has hung up.
pub fn next_request(socket: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if socket.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    let mut lines = lower.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    socket.read_exact(&mut body).unwrap();
    Some((head, body))
}

/// Sends raw bytes, returns everything until the end.
pub fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be refused before it has been sent.
    let _ = socket.write_all(request);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // A reset after the answer is the server's right when it did not read everything.
    while let Ok(n @ 1..) = socket.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8(answer).unwrap()
}
