//! A part that dies ends the whole: the process exits with an error that names it, for the service manager
//! to start it again.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::common;
use crate::common::{Client, Daemon, askrd, publish, write_settings};
use nix::sys::signal::Signal;
use shared::publisher::{AttachOptions, Publisher};

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
    write_settings(&config, &settings(directory.path()));
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
fn an_event_that_a_page_of_history_dies_of_is_skipped_after_the_second_death() {
    let mut daemon = Daemon::start_with_fault("panic history-event DEADLY", "");
    for data in ["before", "it is DEADLY", "behind"] {
        daemon.publish("a", data);
    }
    for _ in 0..2 {
        let mut client = Client::connect(daemon.address);
        client.ask("/askr/history?channel=a", &[]);
        let line = daemon.says("askrd ends");
        assert!(line.contains("fault in history-event"), "{line}");
        assert_eq!(daemon.wait().code(), Some(DIED));
        daemon.restart();
    }
    let page = common::pages::page(&daemon, "a", "");
    assert_eq!(common::pages::data(&page), ["before", "behind"]);
    assert_eq!(page["gap"]["at_most"], 1, "{page}");
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

/// Two applications on one daemon; the second has a ring and a publisher of its own.
struct Two {
    daemon: Daemon,
    blog: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

fn two(fault: &str) -> Two {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let blog = directory.path().join("ring");
    let settings = format!(
        "server.workers = 2\n[[app]]\nid = 'shop'\n[[app]]\nid = 'blog'\nring = '{}'\n",
        blog.display()
    );
    Two {
        daemon: Daemon::start_with_fault(fault, &settings),
        blog,
        _directory: directory,
    }
}

impl Two {
    fn publish(&self, app: &str, data: &str) {
        if app == "shop" {
            return self.daemon.publish("a", data);
        }
        let mut publisher = Publisher::new();
        let name = self.blog.to_str().unwrap().parse().unwrap();
        publisher.configure(AttachOptions {
            name,
            ..AttachOptions::default()
        });
        publish(&mut publisher, &["a"], None, None, data);
    }

    fn open(&self, app: &str, cursor: &str) -> Client {
        let headers: &[(&str, &str)] = match cursor {
            "" => &[],
            _ => &[("Last-Event-ID", cursor)],
        };
        self.daemon
            .open_with(&format!("app={app}&channel=a"), headers)
    }

    /// A client that keeps its cursor over restarts.
    fn back(&self, app: &str, before: &Client) -> Client {
        self.open(app, before.parser.last_event_id())
    }

    fn died(&mut self, how: &str) {
        let status = self.daemon.wait();
        match how {
            "panic" => assert_eq!(status.code(), Some(DIED)),
            _ => assert_eq!(status.signal(), Some(Signal::SIGABRT as i32)),
        }
    }
}

/// The other application's viewers get everything, its own get a gap in the place of the event.
fn after_two_deaths(two: &Two, shop: &Client, blog: &Client) {
    let log = two.daemon.log().join("\n");
    assert!(log.contains("(2 deaths): it is skipped"), "{log}");
    assert_eq!(
        two.daemon
            .metric("askr_positions_lost_total{reason=\"quarantined\"}"),
        1
    );
    let mut shop = two.back("shop", shop);
    let gap = shop.next();
    assert_eq!(
        (gap.event.as_str(), gap.data.as_str()),
        ("askr:gap", r#"{"lost":null,"at_most":1}"#)
    );
    assert_eq!(shop.next().data, "after it");
    two.publish("shop", "live");
    assert_eq!(shop.next().data, "live");
    let mut blog = two.back("blog", blog);
    two.publish("blog", "4");
    assert_eq!(blog.take(2), ["3", "4"]);
    // Also for one that asks for all there is.
    let mut late = two.open("shop", &format!("{}-1", &shop.parser.last_event_id()[..12]));
    while late.next().data != "live" {}
}

#[test]
fn an_event_that_kills_a_worker_twice_is_skipped_and_others_lose_nothing() {
    for how in ["panic", "abort"] {
        let mut two = two(&format!("{how} worker-event DEADLY"));
        let (mut shop, mut blog) = (two.open("shop", ""), two.open("blog", ""));
        two.publish("shop", "before it");
        assert_eq!(shop.next().data, "before it");
        two.publish("blog", "1");
        assert_eq!(blog.next().data, "1");
        two.publish("shop", "it is DEADLY");
        two.died(how);

        // The first restart: viewers come back, and it dies of the same one, replayed.
        two.publish("blog", "2");
        two.publish("shop", "after it");
        two.daemon.restart();
        let log = two.daemon.log().join("\n");
        assert!(log.contains("(1 death)"), "{log}");
        let mut blog = two.back("blog", &blog);
        assert_eq!(blog.next().data, "2");
        let mut again = Client::connect(two.daemon.address);
        let cursor = shop.parser.last_event_id();
        again.ask(
            "/askr/events?app=shop&channel=a",
            &[("Last-Event-ID", cursor)],
        );
        two.died(how);

        // The second one.
        two.publish("blog", "3");
        two.daemon.restart();
        after_two_deaths(&two, &shop, &blog);

        // It stays skipped.
        two.daemon.signal(Signal::SIGTERM);
        two.daemon.restart();
        assert_eq!(
            two.daemon
                .metric("askr_positions_lost_total{reason=\"quarantined\"}"),
            1
        );
    }
}

#[test]
fn an_event_that_kills_the_reader_of_the_ring_twice_is_skipped() {
    for how in ["panic", "abort"] {
        let mut two = two(&format!("{how} tailer-event DEADLY"));
        let (mut shop, mut blog) = (two.open("shop", ""), two.open("blog", ""));
        two.publish("blog", "1");
        two.publish("shop", "before it");
        assert_eq!(
            (shop.next().data, blog.next().data),
            ("before it".into(), "1".into())
        );
        two.publish("shop", "it is DEADLY");
        two.died(how);
        two.publish("blog", "3");
        two.publish("shop", "after it");
        // Its history has the same event.
        let done = two.daemon.restart_in_vain();
        let log = String::from_utf8(done.stderr).unwrap();
        assert!(
            log.contains("(1 death)") && !log.contains(" ready"),
            "{log}"
        );
        two.daemon.restart();
        after_two_deaths(&two, &shop, &blog);
    }
}

#[test]
fn a_death_that_is_no_events_doing_is_blamed_on_none() {
    let mut daemon = Daemon::start_with_fault("panic connection", "");
    for _ in 0..3 {
        daemon.publish("a", "x");
        let _client = Client::connect(daemon.address);
        assert_eq!(daemon.wait().code(), Some(DIED));
        daemon.restart();
        let log = daemon.log().join("\n");
        assert!(!log.contains("died"), "{log}");
        assert_eq!(
            daemon.metric("askr_positions_lost_total{reason=\"quarantined\"}"),
            0
        );
    }
}

#[test]
fn without_a_place_for_notes_it_serves_and_says_so() {
    let mut daemon = Daemon::start("");
    let notes = daemon.directory.path().join("ring.in-flight");
    assert!(notes.exists());
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    std::fs::remove_file(&notes).unwrap();
    std::os::unix::fs::symlink("/dev/null", &notes).unwrap();
    daemon.restart();
    let log = daemon.log().join("\n");
    assert!(
        log.contains("ring.in-flight: events that kill askrd cannot be noted"),
        "{log}"
    );
    let mut client = daemon.open("a");
    daemon.publish("a", "x");
    assert_eq!(client.next().data, "x");
}
