//! The log when it cannot be written: its reader is gone, nobody reads it, its disk is full. Nothing else
//! stops for it, and nothing of it is lost silently.

use std::fs::File;
use std::io::{ErrorKind, Read, Write, pipe};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common;
use crate::common::{Client, PATIENCE, askrd, publish};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::publisher::{AttachOptions, Publisher};
use tempfile::TempDir;

/// A daemon whose standard error is what it is given.
struct Mute {
    directory: TempDir,
    process: Child,
}

impl Mute {
    fn start(stderr: impl Into<Stdio>) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = directory.path().display();
        let config = directory.path().join("askr.toml");
        let text = format!(
            "ring.name = '{at}/ring'\nserver.listen = ['unix:{at}/askrd.sock']\n\
             server.control = '{at}/control.sock'\nserver.state_directory = '{at}'\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = askrd();
        command.args(["serve", "--config"]).arg(config);
        let process = command.stderr(stderr).spawn().unwrap();
        let mut daemon = Self { directory, process };
        while !daemon.is_ready() {
            assert!(daemon.process.try_wait().unwrap().is_none(), "it ended");
        }
        daemon
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn control(&self, path: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.at("control.sock")).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn is_ready(&self) -> bool {
        let answer = self.control("/readyz");
        answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.control("/metrics").unwrap();
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    fn open(&self) -> Client<UnixStream> {
        let socket = UnixStream::connect(self.at("askrd.sock")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client::on(socket);
        client.request("/askr/events?channel=a", &[]);
        client
    }

    fn publisher(&self) -> Publisher {
        let mut publisher = Publisher::new();
        let name = self.at("ring").to_str().unwrap().parse().unwrap();
        publisher.configure(AttachOptions {
            name,
            ..AttachOptions::default()
        });
        publisher
    }

    /// Makes the thread that reads the ring log a line, again and again, and sees that events arrive after
    /// it. The line says how often the name of the ring was taken back.
    fn delivers_while_it_logs(&self) {
        let mut client = self.open();
        for n in 0..3 {
            let text = n.to_string();
            std::fs::remove_file(self.at("ring")).unwrap();
            while !self.at("ring").exists() {}
            publish(&mut self.publisher(), &["a"], None, None, &text);
            assert_eq!(client.next().data, text);
            self.signal(Signal::SIGHUP);
        }
        assert!(self.is_ready());
    }

    fn ends_with(mut self, code: i32) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.process.wait().unwrap().code(), Some(code));
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn events_flow_when_nobody_is_left_to_read_the_log() {
    let (reader, writer) = pipe().unwrap();
    let daemon = Mute::start(writer);
    drop(reader);
    daemon.delivers_while_it_logs();
    assert!(daemon.metric("askr_log_lines_waiting") > 0);
    daemon.ends_with(0);
}

#[test]
fn events_flow_when_the_logs_disk_is_full() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let daemon = Mute::start(full);
    daemon.delivers_while_it_logs();
    assert!(daemon.metric("askr_log_lines_waiting") > 0);
    daemon.ends_with(0);
}

#[test]
fn events_flow_when_the_log_is_not_read_and_what_was_lost_is_said_later() {
    let (mut reader, mut writer) = pipe().unwrap();
    let daemon = Mute::start(writer.try_clone().unwrap());
    // Not through the daemon's own descriptor: the flag is the pipe's end's, so it is taken back.
    let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).unwrap());
    fcntl(&writer, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    for size in [4096, 1] {
        while let Ok(1..) = writer.write(&vec![b'\n'; size]) {}
    }
    assert_eq!(
        writer.write(b"x").unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    fcntl(&writer, FcntlArg::F_SETFL(flags)).unwrap();
    drop(writer);

    daemon.delivers_while_it_logs();
    while daemon.metric("askr_log_lines_lost_total") == 0 {
        for _ in 0..100 {
            daemon.signal(Signal::SIGHUP);
        }
    }
    let mut client = daemon.open();
    publish(&mut daemon.publisher(), &["a"], None, None, "on");
    assert_eq!(client.next().data, "on");

    let mut log = String::new();
    while !log.contains("log lines were lost") {
        let mut bytes = [0; 4096];
        let n = reader.read(&mut bytes).unwrap();
        log += std::str::from_utf8(&bytes[..n]).unwrap();
    }
    assert!(
        log.contains("led elsewhere"),
        "what had room arrives: {log}"
    );
    let said = log.lines().find(|line| line.contains("were lost")).unwrap();
    let said: u64 = said
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap();
    assert!(said > 0 && said <= daemon.metric("askr_log_lines_lost_total"));

    daemon.signal(Signal::SIGTERM);
    reader.read_to_string(&mut log).unwrap();
    assert!(log.ends_with(" stopped\n"), "the last line arrives: {log}");
    daemon.ends_with(0);
}

#[test]
fn an_exit_code_does_not_depend_on_who_reads_why() {
    let gone = || {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        writer
    };
    let run = |arguments: &[&str], out: Stdio, err: Stdio| {
        let mut command: Command = askrd();
        let status = command.args(arguments).stdout(out).stderr(err).status();
        status.unwrap().code()
    };
    let bad = ["check", "--config", "/dev/null/askr.toml"];
    assert_eq!(run(&bad, gone().into(), gone().into()), Some(2));
    let bad = ["serve", "--config", "/dev/null/askr.toml"];
    assert_eq!(run(&bad, gone().into(), gone().into()), Some(2));
    let none = ["stats", "--ring", "/dev/null/ring"];
    assert_eq!(run(&none, gone().into(), gone().into()), Some(1));
    let none = ["serve", "--ring", "/dev/null/ring"];
    assert_eq!(run(&none, gone().into(), gone().into()), Some(1));
}

#[test]
fn a_command_whose_reader_is_gone_ends_quietly() {
    let daemon = common::Daemon::start("");
    daemon.publish("a", "1");
    let config = daemon.config();
    let quiet = |arguments: &[&str]| {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = askrd();
        command
            .args(arguments)
            .arg("--config")
            .arg::<&Path>(&config);
        let done = command.stdout(writer).output().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        assert_eq!(
            (done.status.code(), err.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    };
    quiet(&["check"]);
    quiet(&["stats"]);
    quiet(&["channels"]);
    quiet(&["tail", "--history"]);
}

/// Starts it with these settings and a file as its standard error, until it is ready; what it has written by then.
fn written(settings: &str, journal: bool) -> Vec<String> {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = directory.path().display();
    let config = directory.path().join("askr.toml");
    let text = format!(
        "ring.name = '{at}/ring'\nserver.listen = ['unix:{at}/askrd.sock']\n\
         server.control = '{at}/control.sock'\n{settings}"
    );
    std::fs::write(&config, text).unwrap();
    let path = directory.path().join("log");
    let file = File::create(&path).unwrap();
    let meta = file.metadata().unwrap();
    let mut command = askrd();
    command.args(["serve", "--config"]).arg(config).stderr(file);
    if journal {
        command.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
    } else {
        // Of another file: what it was before standard error was redirected.
        command.env("JOURNAL_STREAM", format!("{}:1", meta.dev()));
    }
    let process = command.spawn().unwrap();
    let mut daemon = Mute { directory, process };
    while !daemon.is_ready() {
        assert!(daemon.process.try_wait().unwrap().is_none(), "it ended");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.process.wait().unwrap().code(), Some(0));
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn settings_that_cannot_be_used_are_an_error_in_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let config = directory.path().join("askr.toml");
    std::fs::write(&config, "[server]\nretry = 'soon'\n").unwrap();
    for journal in [true, false] {
        let file = File::create(&path).unwrap();
        let meta = file.metadata().unwrap();
        let mut command = askrd();
        command
            .args(["serve", "--config"])
            .arg(&config)
            .stderr(file);
        if journal {
            command.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
        }
        assert_eq!(command.status().unwrap().code(), Some(2));
        let text = std::fs::read_to_string(&path).unwrap();
        let begins = if journal { "<3>askrd: " } else { "askrd: " };
        assert!(text.starts_with(begins) && text.contains("retry"), "{text}");
        // A problem is one line there, so that each of it has the priority.
        assert!(
            !journal || text.trim_end().lines().all(|line| line.starts_with("<3>")),
            "{text}"
        );
    }
}

#[test]
fn the_first_line_has_the_version_and_another_says_what_is_open_to_whom() {
    let lines = written("", false);
    let version = format!(" INFO askrd {} (", env!("CARGO_PKG_VERSION"));
    assert!(lines[0].contains(&version), "{lines:#?}");
    let open = "public channels are open to pages of the same origin";
    assert!(lines.iter().any(|line| line.contains(open)), "{lines:#?}");
}

#[test]
fn the_journal_is_told_the_priority_of_each_line() {
    let lines = written("", true);
    assert!(lines[0].starts_with("<6> INFO askrd "), "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with('<')), "{lines:#?}");
}

#[test]
fn json_is_one_object_a_line() {
    for line in written("log.format = 'json'\n", false) {
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["level"], "info");
        assert!(object["time"].is_string() && object["message"].is_string());
    }
}
