//! `askrd trace`: what happens to an event, from its publish to each worker's write, and who does not get it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::common;
use crate::common::grants::{SECRET, token};
use crate::common::{Daemon, askrd};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
    traced(daemon, channel, None);
    Trace { process, lines }
}

fn ask(daemon: &Daemon, channel: &str, after: Option<u64>) -> String {
    let ring = daemon.ring();
    let after = after.map_or(String::new(), |after| format!("&after={after}"));
    daemon.control(&format!(
        "/trace?ring={}&channel={channel}{after}",
        ring.display()
    ))
}

/// What happened on the channel since a record.
fn traced(daemon: &Daemon, channel: &str, after: Option<u64>) -> Value {
    let answer = ask(daemon, channel, after);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Bytes of the events that were read.
fn bytes_read(traced: &Value) -> Vec<u64> {
    let records = traced["records"].as_array().unwrap().iter();
    let read = records.filter(|record| record["what"] == "read");
    read.map(|record| record["bytes"].as_u64().unwrap())
        .collect()
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

#[test]
fn who_trace_different_channels_each_see_all_of_theirs_and_nothing_is_lost() {
    let daemon = Daemon::start("server.workers = 1");
    let channels = ["a", "b", "c", "d"];
    let mut viewers = channels.map(|channel| daemon.open(channel));
    let mut after = channels.map(|channel| traced(&daemon, channel, None)["next"].as_u64());
    for n in 1..=3 {
        for (channel, viewer) in channels.iter().zip(&mut viewers) {
            daemon.publish(channel, &"x".repeat(n));
            // What is noted of an event before it is sent is there by then.
            viewer.next();
        }
        for (channel, after) in channels.iter().zip(&mut after) {
            let seen = traced(&daemon, channel, *after);
            assert_eq!(bytes_read(&seen), [n as u64], "{channel}: {seen}");
            assert_eq!(seen["lost"], 0, "{channel}");
            assert_eq!(seen["interrupted"], false, "{channel}");
            *after = seen["next"].as_u64();
        }
    }
}

#[test]
fn an_event_of_several_channels_is_noted_for_each_that_is_traced() {
    let daemon = Daemon::start("server.workers = 1");
    let mut viewer = daemon.open_with("channel=a&channel=b&channel=c", &[]);
    for channel in ["a", "b"] {
        traced(&daemon, channel, None);
    }
    common::publish(&mut daemon.publisher(), &["a", "b", "c"], None, None, "1");
    viewer.next();
    for channel in ["a", "b"] {
        let mut trace = trace(&daemon, channel, &["--json", "--seconds", "30"]);
        assert_eq!(trace.next("sent")["streams"], 1);
        assert_eq!(trace.next("written")["waiting"], 0);
    }
}

#[test]
fn one_channel_too_many_is_refused_by_name_until_a_tracer_has_gone() {
    let daemon = Daemon::start("");
    let mut traces = ["a", "b", "c", "d"].map(|channel| Some(trace(&daemon, channel, &[])));
    let why = r#"4 channels are being traced already: "#;
    let said = ask(&daemon, "e", None);
    assert!(
        said.starts_with("HTTP/1.1 409 ") && said.contains(why),
        "{said}"
    );
    let mut fifth = askrd();
    fifth.args(["trace", "e", "--config"]).arg(daemon.config());
    let fifth = fifth.output().unwrap();
    let said = String::from_utf8(fifth.stderr).unwrap();
    assert_eq!(fifth.status.code(), Some(1), "{said}");
    for part in [why, "\"a\"", "\"b\"", "\"c\"", "\"d\"", "409"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(daemon.metric("askr_traces_refused_total"), 2);
    traced(&daemon, "c", None);
    traces[1] = None;
    common::until(|| ask(&daemon, "e", None).starts_with("HTTP/1.1 200 "));
    let said = ask(&daemon, "f", None);
    for (channel, is_traced) in [("a", true), ("b", false), ("c", true), ("e", true)] {
        let named = said.contains(&format!("\"{channel}\""));
        assert_eq!(named, is_traced, "{channel} in {said}");
    }
}

#[test]
fn what_was_lost_is_said_also_as_json() {
    const MANY: usize = 3000;
    let daemon = Daemon::start("");
    let mut trace = trace(&daemon, "a", &["--json"]);
    daemon.publish("a", "first");
    trace.next("read");
    let tracer = Pid::from_raw(trace.process.id() as i32);
    kill(tracer, Signal::SIGSTOP).unwrap();
    let mut viewer = daemon.open("b");
    let mut publisher = daemon.publisher();
    for _ in 0..MANY {
        common::publish(&mut publisher, &["a"], None, None, "x");
    }
    common::publish(&mut publisher, &["b"], None, None, "behind them");
    viewer.next();
    kill(tracer, Signal::SIGCONT).unwrap();
    let lost: Value = serde_json::from_str(&trace.line()).unwrap();
    assert_eq!(lost["what"], "lost", "{lost}");
    let lost = lost["records"].as_u64().unwrap() as usize;
    // One look may have been under way when it was stopped.
    for _ in lost..MANY {
        assert_eq!(trace.next("read")["bytes"], 1);
    }
    daemon.publish("a", "the last one");
    assert_eq!(trace.next("read")["bytes"], 12);
}
