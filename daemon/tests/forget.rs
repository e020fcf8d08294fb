//! What was erased is given out no more: by no page, no replay, no cache channel and no command, also after a restart, and
//! whatever else the ring keeps. It is nobody's loss.

use crate::common;
use crate::common::pages::{MARK, ask, data, forget, page, replay};
use crate::common::{Daemon, askrd, publish};
use nix::sys::signal::Signal;
use serde_json::Value;

/// What nothing may say.
const SECRET: &str = "what is forgotten";

/// Everything there is of a channel says nothing of what was erased, and tells of no loss; `left` is what is left.
fn is_forgotten(daemon: &Daemon, channel: &str, since: &str, left: &[&str]) {
    for query in [
        String::new(),
        format!("since={since}"),
        "limit=1000".to_owned(),
    ] {
        let page = page(daemon, channel, &query);
        assert_eq!(data(&page), left, "{query}");
        assert_eq!(page["gap"], Value::Null);
    }
    let replay = replay(daemon, channel, since);
    let replayed: Vec<String> = replay.rows.into_iter().map(|(_, data)| data).collect();
    assert_eq!(replayed, left);
    assert_eq!(replay.gap, (Some(0), Some(0)));
}

fn tail(daemon: &Daemon, channel: &str, count: usize) -> String {
    let mut command = askrd();
    command.args([
        "tail",
        channel,
        "--history",
        "--count",
        &count.to_string(),
        "--config",
    ]);
    let output = command.arg(daemon.config()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn events_of_one_channel_are_gone_and_those_of_several_stay_for_the_others() {
    let mut daemon = Daemon::start("");
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["a"], None, None, SECRET);
    publish(&mut publisher, &["a", "b"], None, None, SECRET);
    publish(&mut publisher, &["b"], None, None, "b's");
    // What was published before is erased, however far askrd has read.
    assert_eq!(forget(&daemon, "a"), 2);
    daemon.publish("a", "later");
    is_forgotten(&daemon, "a", &since, &["later"]);
    assert_eq!(data(&page(&daemon, "b", "")), [SECRET, "b's"]);
    for killed in [false, true] {
        daemon.signal(if killed {
            Signal::SIGKILL
        } else {
            Signal::SIGTERM
        });
        daemon.restart();
        let left = page(&daemon, "a", "");
        assert!(!data(&left).contains(&SECRET.to_owned()), "{left}");
        assert_eq!(data(&page(&daemon, "b", "")), [SECRET, "b's"]);
        let told = replay(&daemon, "a", &since);
        assert!(
            !told.rows.iter().any(|(_, data)| data == SECRET),
            "{told:?}"
        );
        assert_eq!(told.gap, (Some(0), Some(0)));
    }
    // Forgotten is forgotten: nothing is counted twice.
    assert_eq!(forget(&daemon, "nobody"), 0);
    assert_eq!(forget(&daemon, "b"), 2);
    assert_eq!(data(&page(&daemon, "b", "")), [] as [String; 0]);
    daemon.until("askr_events_erased_total", |erased| erased == 2);
    daemon.until("askr_channels_erased", |channels| channels == 3);
}

#[test]
fn both_kinds_of_streams_skip_what_was_erased_without_a_gap() {
    let daemon = Daemon::start("");
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    for n in 0..200 {
        let channels: &[&str] = if n % 2 == 0 { &["a"] } else { &["a", "b"] };
        publish(&mut publisher, channels, None, None, SECRET);
    }
    publish(&mut publisher, &["b"], None, None, "b's");
    assert_eq!(forget(&daemon, "a"), 200);
    // A stream of both gets what is b's, once.
    let mut both = daemon.open_with(
        "channel=a&channel=b&format=json",
        &[("Last-Event-ID", &since)],
    );
    for _ in 0..100 {
        let (_, event) = both.next_json();
        assert_eq!(event["channel"], "b", "{event}");
    }
    assert_eq!(both.next_json().1["data"], "b's");
    is_forgotten(&daemon, "a", &since, &[]);
}

#[test]
fn what_the_index_forgot_is_erased_too() {
    let mut daemon = Daemon::start(
        "ring.slots = 1024\nbroadcast.index_entries = 50\nbroadcast.index_channels = 2",
    );
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    for n in 0..300 {
        let other = format!("c{n}");
        publish(&mut publisher, &["a"], None, None, SECRET);
        publish(&mut publisher, &["a", &other], None, None, SECRET);
    }
    assert_eq!(forget(&daemon, "a"), 600);
    is_forgotten(&daemon, "a", &since, &[]);
    assert_eq!(data(&page(&daemon, "c7", "")), [SECRET]);
    daemon.signal(Signal::SIGKILL);
    daemon.restart();
    let told = replay(&daemon, "a", &since);
    assert_eq!(told.gap, (Some(0), Some(0)));
    assert!(
        told.rows.iter().all(|(_, data)| data.starts_with(MARK)),
        "{told:?}"
    );
    assert_eq!(data(&page(&daemon, "c7", "")), [SECRET]);
}

#[test]
fn a_ring_that_is_replaced_with_its_history_keeps_what_was_erased() {
    let mut daemon = Daemon::start("ring.slots = 256");
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["a", "b"], None, None, SECRET);
    assert_eq!(forget(&daemon, "a"), 1);
    let settings = std::fs::read_to_string(daemon.config()).unwrap();
    common::write_settings(
        &daemon.config(),
        &settings.replace("slots = 256", "slots = 512"),
    );
    daemon.signal(Signal::SIGTERM);
    daemon.restart();
    assert_eq!(data(&page(&daemon, "b", "")), [SECRET]);
    is_forgotten(&daemon, "a", &since, &[]);
    // And erases what the old one holds.
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["b"], None, None, "new");
    assert_eq!(forget(&daemon, "b"), 2);
    is_forgotten(&daemon, "b", &since, &[]);
}

#[test]
fn entries_end_when_the_ring_holds_nothing_that_old_and_an_old_cursor_is_still_told_no_loss() {
    let daemon = Daemon::start("ring.slots = 64");
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    let mut fill = |count: u64| {
        for _ in 0..count {
            let read = daemon.metric("askr_events_read_total");
            publish(&mut publisher, &["b"], None, None, "");
            daemon.until("askr_events_read_total", |now| now > read);
        }
    };
    daemon.publish("a", SECRET);
    assert_eq!(forget(&daemon, "a"), 1);
    fill(100);
    assert_eq!(forget(&daemon, "c"), 0);
    daemon.until("askr_channels_erased", |channels| channels == 1);
    let file = std::fs::read_to_string(daemon.directory.path().join("ring.forgotten")).unwrap();
    assert!(
        file.ends_with(" c\n") && file.lines().count() == 2,
        "{file}"
    );
    is_forgotten(&daemon, "a", &since, &[]);
}

#[test]
fn a_cache_channel_gives_a_new_subscriber_nothing_of_it() {
    let mut daemon = Daemon::start("");
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["cache-a", "b"], None, None, SECRET);
    assert_eq!(daemon.open("cache-a").next().data, SECRET);
    assert_eq!(forget(&daemon, "cache-a"), 1);
    for _ in 0..2 {
        let mut stream = daemon.open("cache-a");
        daemon.publish("cache-a", "live");
        assert_eq!(stream.next().data, "live");
        assert_eq!(forget(&daemon, "cache-a"), 1);
        daemon.signal(Signal::SIGKILL);
        daemon.restart();
    }
}

#[test]
fn no_command_prints_it() {
    let daemon = Daemon::start("");
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["a"], None, None, SECRET);
    publish(&mut publisher, &["a", "b"], None, None, SECRET);
    publish(&mut publisher, &["b"], None, None, "b's");
    let mut command = askrd();
    let said = command
        .args(["forget", "a", "--config"])
        .arg(daemon.config())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "2 events forgotten\n",
        "{said:?}"
    );
    daemon.publish("a", "later");
    let printed = tail(&daemon, "a", 1);
    assert!(
        printed.contains("later") && !printed.contains(SECRET),
        "{printed}"
    );
    // For b it stays, and nothing says that it was a's.
    let printed = tail(&daemon, "b", 2);
    assert!(
        printed.contains(SECRET) && !printed.contains("\"a\""),
        "{printed}"
    );
}

#[test]
fn what_cannot_be_written_down_is_refused_and_nothing_was_erased() {
    let daemon = Daemon::start("");
    daemon.publish("a", "1");
    // Its name is taken.
    let file = daemon.directory.path().join("ring.forgotten");
    std::fs::create_dir(&file).unwrap();
    let ring = daemon.ring();
    let target = format!("/forget?ring={}&channel=a", ring.display());
    let (status, why) = ask(&daemon, "POST", &target);
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("nothing was erased"), "{why}");
    assert_eq!(data(&page(&daemon, "a", "")), ["1"]);
    std::fs::remove_dir(&file).unwrap();
    assert_eq!(forget(&daemon, "a"), 1);
    for (target, status) in [
        (format!("/forget?ring={}", ring.display()), 400),
        (
            format!("/forget?ring={}&channel=askr:x", ring.display()),
            400,
        ),
    ] {
        assert_eq!(ask(&daemon, "POST", &target).0, status, "{target}");
    }
    assert_eq!(ask(&daemon, "GET", &target), (405, "use POST\n".to_owned()));
}

#[test]
fn at_the_bound_nothing_is_erased() {
    let mut daemon = Daemon::start("");
    daemon.publish("a", "1");
    let page_before = page(&daemon, "a", "");
    let at = page_before["events"][0]["cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    daemon.signal(Signal::SIGKILL);
    let names: String = (0..10_000).map(|n| format!("{at} c{n}\n")).collect();
    let file = daemon.directory.path().join("ring.forgotten");
    common::write_settings(&file, &format!("askr forgotten 1\n{names}"));
    daemon.restart();
    daemon.until("askr_channels_erased", |channels| channels == 10_000);
    let target = format!("/forget?ring={}&channel=a", daemon.ring().display());
    let (status, why) = ask(&daemon, "POST", &target);
    assert_eq!(status, 503, "{why}");
    assert!(why.starts_with("10000 channels were erased"), "{why}");
    assert_eq!(data(&page(&daemon, "a", "")), ["1"]);
    assert_eq!(forget(&daemon, "c7"), 0, "it has a place");
}

#[test]
fn what_askrd_was_killed_in_the_middle_of_is_finished_at_the_next_start() {
    let mut daemon = Daemon::start("");
    let since = daemon.open("a").cursor();
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["a"], None, None, SECRET);
    publish(&mut publisher, &["a", "b"], None, None, SECRET);
    let all = page(&daemon, "a", "");
    let last = all["events"][1]["cursor"].as_str().unwrap();
    // Written down, and nothing else was done.
    daemon.signal(Signal::SIGKILL);
    let file = daemon.directory.path().join("ring.forgotten");
    common::write_settings(&file, &format!("askr forgotten 1\n{last} a\n"));
    daemon.restart();
    daemon.publish("a", "later");
    is_forgotten(&daemon, "a", &since, &["later"]);
    assert_eq!(data(&page(&daemon, "b", "")), [SECRET]);
    // Also for who reads the ring without the file.
    std::fs::remove_file(&file).unwrap();
    let printed = tail(&daemon, "a", 2);
    assert_eq!(
        printed.matches(SECRET).count(),
        1,
        "that of both channels: {printed}"
    );
}

#[test]
fn a_file_that_is_not_askrds_own_is_not_taken_for_nothing() {
    let mut daemon = Daemon::start("");
    daemon.signal(Signal::SIGTERM);
    let file = daemon.directory.path().join("ring.forgotten");
    std::fs::write(&file, "something else").unwrap();
    let output = daemon.restart_in_vain();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("ring.forgotten: line 1"), "{said}");
}
