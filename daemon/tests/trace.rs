//! `askrd trace`: what happens to an event, from its publish to each worker's write, and who does not get it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::common;
use crate::common::grants::{SECRET, token};
use crate::common::{Daemon, askrd};
use serde_json::Value;
use shared::event::EventRef;

struct Trace {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Nothing is missed from here on: what happened since somebody asked is held for a while.
fn trace(daemon: &Daemon, channel: &str, arguments: &[&str]) -> Trace {
    let mut command: Command = askrd();
    command
        .args(["trace", channel, "--config"])
        .arg(daemon.config());
    let mut process = command
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap());
    let path = format!("/trace?ring={}&channel={channel}", daemon.ring().display());
    assert!(daemon.control(&path).contains("\"next\":"));
    Trace { process, lines }
}

impl Trace {
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended");
        line
    }

    /// The next record of this kind.
    fn next(&mut self, what: &str) -> Value {
        loop {
            let record: Value = serde_json::from_str(&self.line()).unwrap();
            if record["what"] == what {
                return record;
            }
        }
    }
}

fn publish_but_to(daemon: &Daemon, channel: &str, except: &str) -> String {
    let event = EventRef {
        channels: &[channel.as_bytes()],
        except: Some(except.as_bytes()),
        data: b"{\"id\":7}",
        ..EventRef::default()
    };
    daemon.publisher().publish(&event).unwrap().to_string()
}

#[test]
fn an_event_is_followed_to_each_write_and_who_does_not_get_it_is_named() {
    let daemon = Daemon::start("server.workers = 1");
    let mut all: Vec<_> = (0..3).map(|_| daemon.open("a")).collect();
    let _other = daemon.open("b");
    let left_out = all[0].me().id;
    let mut trace = trace(&daemon, "a", &["--json"]);
    daemon.publish("b", "elsewhere");
    let mut cursor = publish_but_to(&daemon, "a", &left_out);
    let read = trace.next("read");
    if read["cursor"] != cursor.as_str() {
        cursor = read["cursor"].as_str().unwrap().to_owned();
    }
    assert_eq!((&read["bytes"], &read["channels"]), (&8.into(), &1.into()));
    assert_eq!(read["workers"], serde_json::json!([0]));
    let published = read["published"].as_u64().unwrap();
    let sent = trace.next("sent");
    assert_eq!(sent["cursor"], cursor.as_str());
    assert_eq!(
        (&sent["streams"], &sent["passed_over"]),
        (&2.into(), &1.into())
    );
    let one = serde_json::json!([{"socket": left_out, "why": "except"}]);
    assert_eq!(sent["some"], one);
    let written = trace.next("written");
    assert_eq!(
        (&written["worker"], &written["waiting"]),
        (&0.into(), &0.into())
    );
    let times = [&read, &sent, &written].map(|record| record["at"].as_u64().unwrap());
    assert!(published <= times[0] && times[0] <= times[1] && times[1] <= times[2]);
}

#[test]
fn a_slow_stream_replays_and_a_refused_subscriber_is_seen() {
    let daemon = Daemon::start(&format!(
        "server.workers = 1\napp.secret = '{SECRET}'\nserver.outbox_bytes = '64KiB'"
    ));
    let slow = daemon.open_with(
        &format!("channel=private-a&token={}", token(&["private-a"], 600)),
        &[],
    );
    let mut trace = trace(&daemon, "private-a", &["--json"]);
    let said = common::exchange(
        daemon.address,
        b"GET /askr/events?channel=private-a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    let refused = trace.next("refused");
    assert!(
        refused["why"].as_str().unwrap().contains("token"),
        "{refused}"
    );
    // Its socket takes some megabytes.
    let large = "x".repeat(500_000);
    loop {
        daemon.publish("private-a", &large);
        let sent = trace.next("sent");
        if sent["some"][0]["why"] == "replays" {
            assert_eq!(
                (&sent["streams"], &sent["passed_over"]),
                (&0.into(), &1.into())
            );
            break;
        }
    }
    drop(slow);
}

#[test]
fn a_person_reads_lines_and_the_time_bounds_it() {
    let daemon = Daemon::start("");
    let _viewer = daemon.open("a");
    let mut trace = trace(&daemon, "a", &["--seconds", "2"]);
    assert!(trace.line().starts_with("tracing \"a\""));
    daemon.publish("a", "1");
    let read = trace.line();
    assert!(
        read.contains(" µs  read from the ring: 1 bytes, 1 channels, for 1 of the workers"),
        "{read}"
    );
    assert!(trace.line().contains("1 streams get it, 0 do not"));
    assert!(trace.line().ends_with(": written\n"));
    assert!(trace.process.wait().unwrap().success());
}

#[test]
fn who_asks_wrongly_is_told() {
    let daemon = Daemon::start("");
    let ring = daemon.ring();
    for (query, why) in [
        ("", "channel is missing"),
        ("&channel=a&after=x", "after must be a number"),
        ("&channel=%0a", "channel "),
    ] {
        let said = daemon.control(&format!("/trace?ring={}{query}", ring.display()));
        assert!(
            said.starts_with("HTTP/1.1 400 ") && said.contains(why),
            "{said}"
        );
    }
}
