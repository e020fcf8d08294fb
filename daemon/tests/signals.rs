//! Signals: which of them end askrd and how, and that none kills it or is lost, from the first moment on.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::common::{Daemon, askrd, publish};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

#[test]
fn usr1_and_usr2_are_logged_and_ignored_and_hup_disturbs_nobody() {
    let mut daemon = Daemon::start("");
    let mut client = daemon.open("a");
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        daemon.signal(signal);
        let line = daemon.says(signal.as_str());
        let expected = match signal {
            Signal::SIGHUP => "asked to reload",
            _ => "ignored",
        };
        assert!(line.contains(expected), "{line}");
        daemon.publish("a", signal.as_str());
        assert_eq!(client.next().data, signal.as_str());
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(client.end(), []);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn quit_and_int_drain_like_term() {
    for signal in [Signal::SIGQUIT, Signal::SIGINT, Signal::SIGTERM] {
        let mut daemon = Daemon::start("");
        let mut client = daemon.open("a");
        daemon.publish("a", "last");
        assert_eq!(client.next().data, "last");
        daemon.signal(signal);
        assert_eq!(client.end(), []);
        assert_eq!(client.parser.retries(), 2, "{signal}: it takes leave");
        assert_eq!(daemon.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn while_it_drains_others_are_ignored_and_a_second_quit_ends_it_at_once() {
    let room = "server.outbox_bytes = '64MiB'\nserver.outbox_frames = 100000";
    let mut daemon = Daemon::start(&format!("server.drain = 600\nring.arena = '64MiB'\n{room}"));
    let slow = daemon.open("a");
    let mut publisher = daemon.publisher();
    while daemon.metric("askr_outbox_bytes") == 0 {
        publish(&mut publisher, &["a"], None, None, &"x".repeat(200_000));
    }
    daemon.signal(Signal::SIGQUIT);
    daemon.says("taking leave");
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        daemon.signal(signal);
        daemon.says(signal.as_str());
    }
    daemon.signal(Signal::SIGQUIT);
    daemon.says("stopping at once");
    assert_eq!(daemon.wait().code(), Some(0));
    drop(slow);
}

/// It waits for its settings, which come through a pipe: so the signals find it before it has done anything.
#[test]
fn signals_during_the_start_are_neither_lost_nor_fatal() {
    for stop in [
        None,
        Some(Signal::SIGTERM),
        Some(Signal::SIGINT),
        Some(Signal::SIGQUIT),
    ] {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let config = directory.path().join("askr.toml");
        mkfifo(&config, Mode::S_IRWXU).unwrap();
        let mut process = askrd()
            .args(["serve", "--config"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Resolves when it has opened the other end.
        let mut settings = std::fs::File::options().write(true).open(&config).unwrap();
        let pid = Pid::from_raw(process.id() as i32);
        let others = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
        for signal in others.into_iter().chain(stop) {
            kill(pid, signal).unwrap();
        }
        let at = directory.path().display();
        let text = format!(
            "ring.name = '{at}/ring'\nserver.listen = ['unix:{at}/askrd.sock']\nserver.control = 'none'\n"
        );
        settings.write_all(text.as_bytes()).unwrap();
        drop(settings);
        let mut log = String::new();
        let mut stderr = process.stderr.take().unwrap();
        if stop.is_none() {
            while !log.contains(" ready\n") {
                let mut bytes = [0; 4096];
                let n = stderr.read(&mut bytes).unwrap();
                assert!(n > 0, "it ended: {log}");
                log += std::str::from_utf8(&bytes[..n]).unwrap();
            }
            kill(pid, Signal::SIGTERM).unwrap();
        }
        stderr.read_to_string(&mut log).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(0), "{stop:?}: {log}");
        for signal in others {
            assert!(log.contains(signal.as_str()), "{stop:?}: {log}");
        }
        assert_eq!(log.contains("listening on"), stop.is_none(), "{log}");
        assert!(!directory.path().join("askrd.sock").exists());
    }
}

#[test]
fn a_command_is_ended_by_a_signal_as_any_other() {
    use std::os::unix::process::ExitStatusExt;
    let daemon = Daemon::start("");
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut tail = askrd()
            .args(["tail", "--ring"])
            .arg(daemon.ring())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = tail.stdout.take().unwrap();
        // It has its ring once something comes.
        let mut publisher = daemon.publisher();
        let reader = std::thread::spawn(move || (out.read(&mut [0; 4096]).unwrap(), out));
        while !reader.is_finished() {
            publish(&mut publisher, &["a"], None, None, "x");
        }
        let still_read = reader.join().unwrap();
        kill(Pid::from_raw(tail.id() as i32), signal).unwrap();
        assert_eq!(tail.wait().unwrap().signal(), Some(signal as i32));
        drop(still_read);
    }
}
