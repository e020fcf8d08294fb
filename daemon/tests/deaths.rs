//! A part that dies ends the whole: the process exits with an error that names it, for the service manager
//! to start it again.

mod common;

use std::io::Write;
use std::process::Command;

use common::{Client, Daemon, askrd, publish};
use nix::sys::signal::Signal;

/// Not 2, which the unit does not restart after.
const DIED: i32 = 70;

/// Settings with which there is every kind of part.
fn settings(at: &std::path::Path) -> String {
    let at = at.display();
    format!(
        "ring.name = '{at}/ring'\nserver.listen = ['unix:{at}/askrd.sock']\nserver.workers = 2\n\
         server.control = '{at}/control.sock'\nserver.state_directory = '{at}'\n\
         app.secret = 'a-secret-that-is-long-enough-to-be-one'\napp.webhook_url = 'http://127.0.0.1:1/'\n"
    )
}

fn serve(config: &std::path::Path, fault: &str) -> Command {
    let mut command = askrd();
    command.args(["serve", "--config"]).arg(config);
    command.env("ASKR_FAULT", fault);
    command
}

#[test]
fn a_part_that_dies_or_cannot_go_on_ends_the_process() {
    let parts = [
        "worker-0",
        "worker-1",
        "tailer",
        "webhooks",
        "revocations",
        "signals",
        "engine",
        "acceptor",
        "control",
        "presence",
        "counts",
    ];
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let config = directory.path().join("askr.toml");
    std::fs::write(&config, settings(directory.path())).unwrap();
    for part in parts {
        for kind in ["panic", "error"] {
            let done = serve(&config, &format!("{kind} {part}")).output().unwrap();
            let log = String::from_utf8(done.stderr).unwrap();
            assert_eq!(done.status.code(), Some(DIED), "{kind} {part}: {log}");
            // The other threads may log until the very end.
            let said = log.lines().find(|line| line.contains("ERROR askrd ends: "));
            let said = said.unwrap_or_else(|| panic!("{kind} {part}: {log}"));
            assert!(said.contains(&format!("fault in {part}")), "{said}");
        }
    }
}

#[test]
fn a_panic_at_an_event_ends_the_process() {
    for place in ["tailer-event", "worker-event"] {
        let mut daemon = Daemon::start_with_fault(&format!("panic {place} DEADLY"), "");
        let mut client = daemon.open("a");
        daemon.publish("a", "harmless");
        assert_eq!(client.next().data, "harmless");
        daemon.publish("a", "it is DEADLY");
        let line = daemon.says("askrd ends");
        assert!(line.contains(&format!("fault in {place}")), "{line}");
        assert_eq!(daemon.wait().code(), Some(DIED));
        assert_eq!(client.end(), []);
    }
}

#[test]
fn a_panic_in_the_task_of_one_connection_ends_the_process() {
    let mut daemon = Daemon::start_with_fault("panic connection", "");
    let _client = Client::connect(daemon.address);
    let line = daemon.says("askrd ends: thread worker-");
    assert!(line.contains("fault in connection"), "{line}");
    assert_eq!(daemon.wait().code(), Some(DIED));
}

#[test]
fn a_panic_where_a_user_is_looked_up_ends_the_process() {
    let mut daemon = Daemon::start_with_fault("panic asker", "");
    let socket = daemon.directory.path().join("control.sock");
    let mut socket = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let ring = daemon.ring();
    let request = format!(
        "GET /channels?ring={} HTTP/1.1\r\nHost: x\r\n\r\n",
        ring.display()
    );
    socket.write_all(request.as_bytes()).unwrap();
    daemon.says("fault in asker");
    assert_eq!(daemon.wait().code(), Some(DIED));
}

#[test]
fn a_panic_while_history_is_read_or_connections_are_drained_ends_the_process() {
    let mut daemon = Daemon::start("");
    daemon.publish("a", "it is DEADLY");
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let config = daemon.config();
    let done = serve(&config, "panic tailer-event DEADLY")
        .output()
        .unwrap();
    let log = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(DIED), "{log}");
    assert!(log.contains("askrd ends: thread main panicked"), "{log}");

    let room = "server.outbox_bytes = '64MiB'\nserver.outbox_frames = 100000";
    let settings = format!("server.drain = 600\nring.arena = '64MiB'\n{room}");
    let mut daemon = Daemon::start_with_fault("panic tailer-event DEADLY", &settings);
    let slow = daemon.open("a");
    let mut publisher = daemon.publisher();
    while daemon.metric("askr_outbox_bytes") == 0 {
        publish(&mut publisher, &["a"], None, None, &"x".repeat(200_000));
    }
    daemon.signal(Signal::SIGTERM);
    daemon.says("taking leave");
    daemon.publish("a", "it is DEADLY");
    assert_eq!(daemon.wait().code(), Some(DIED));
    drop(slow);
}
