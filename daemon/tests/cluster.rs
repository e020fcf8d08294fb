//! Several hosts: real askrds, each with a ring of its own, and a real Redis between them.

use std::ops::Range;

use crate::common;
use crate::common::grants::{SECRET, token_of};
use crate::common::hosts::{host, meet, numbers, publish_numbers};
use crate::common::pages::{data, forget, page};
use crate::common::redis::Redis;
use crate::common::{Client, Daemon};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use shared::control::{self, Question};
use shared::cursor::Cursor;

fn publish(host: &Daemon, range: Range<u64>) {
    publish_numbers(host, "c", range);
}

#[test]
fn an_event_of_one_host_reaches_the_viewers_of_the_other_in_order_and_once() {
    let redis = Redis::start();
    let (a, b) = (host(&redis, "a", ""), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..1000);
    assert_eq!(on_a.take(1000), numbers(0..1000));
    assert_eq!(on_b.take(1000), numbers(0..1000));
    publish(&b, 1000..1010);
    assert_eq!(on_b.take(10), numbers(1000..1010));
    assert_eq!(on_a.take(10), numbers(1000..1010));
    assert_eq!(a.metric("askr_cluster_imported_total{what=\"gap\"}"), 0);
    assert_eq!(b.metric("askr_cluster_imported_total{what=\"gap\"}"), 0);
}

#[test]
fn what_is_published_while_redis_is_away_comes_when_it_is_back_and_nothing_twice() {
    let mut redis = Redis::start();
    let (a, b) = (host(&redis, "a", ""), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..10);
    assert_eq!(on_b.take(10), numbers(0..10));
    redis.kill();
    publish(&a, 10..200);
    // Viewers of the same host have it at once.
    assert_eq!(on_a.take(200), numbers(0..200));
    a.says("other hosts cannot be reached, this one goes on alone: cluster.url: ");
    let ready = a.control("/readyz");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(
        ready.contains("other hosts cannot be reached: cluster.url: "),
        "{ready}"
    );
    redis.restart();
    publish(&a, 200..210);
    assert_eq!(on_b.take(200), numbers(10..210));
    publish(&b, 210..220);
    assert_eq!(on_a.take(20), numbers(200..220));
    assert_eq!(on_b.take(10), numbers(210..220));
}

/// What a verb of this host's command line prints: exit code, output, errors.
fn cli(host: &Daemon, verb: &[&str]) -> (Option<i32>, String, String) {
    let mut command = common::askrd();
    let output = command.args(verb).arg("--config").arg(host.config());
    let output = output.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_command_line_says_how_many_hosts_did_not_answer() {
    let redis = Redis::start();
    let (a, b) = (host(&redis, "a", ""), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let _viewers = (a.open("c"), b.open("c"));
    let all = (Some(0), "        2  c\n".into(), String::new());
    assert_eq!(cli(&a, &["channels"]), all);
    b.hold_up();
    let lacking = "askrd: 1 host did not answer in time: its part is lacking\n";
    let here = (Some(0), "        1  c\n".into(), lacking.into());
    assert_eq!(cli(&a, &["channels"]), here);
    let ended = (Some(0), "1 connection ended\n".into(), lacking.into());
    assert_eq!(cli(&a, &["disconnect", "--all"]), ended);
}

/// As PHP asks, which waits no longer than `LIMITS`.
#[test]
fn a_host_that_does_not_answer_is_waited_for_once() {
    const EACH: u64 = 100;
    const STREAMS: u64 = 50;
    let redis = Redis::start();
    let [a, b, c] = ["a", "b", "c"].map(|name| host(&redis, name, ""));
    meet(&[&a, &b, &c]);
    // More than one answer has.
    let names = |stream: u64| (stream * EACH..(stream + 1) * EACH).map(|n| format!("channel={n}"));
    let query = |stream: u64| names(stream).collect::<Vec<_>>().join("&");
    let _viewers: Vec<_> = (0..STREAMS)
        .map(|stream| b.open_with(&query(stream), &[]))
        .collect();
    c.hold_up();
    let ring = a.ring();
    let question = Question {
        path: "/channels",
        query: &[("ring", ring.to_str().unwrap())],
        body: None,
    };
    let socket = a.directory.path().join("control.sock");
    let answer = control::ask(&socket, &question, &control::LIMITS).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let channels = answer["channels"].as_object().unwrap();
    assert_eq!(channels.len() as u64, STREAMS * EACH, "{answer}");
    assert_eq!(answer["hosts_missing"], 1);
}

#[test]
fn tail_says_what_can_no_longer_be_had_from_another_host() {
    let mut redis = Redis::start();
    let (a, b) = (host(&redis, "a", "ring.slots = 64"), host(&redis, "b", ""));
    meet(&[&a, &b]);
    redis.kill();
    a.says("other hosts cannot be reached");
    publish(&a, 0..200);
    redis.restart();
    b.until("askr_cluster_imported_total{what=\"event\"}", |n| n > 0);
    // Also where it is about one channel: what is lost may have been of it.
    for channel in [&[][..], &["c"]] {
        let verb = [&["tail"], channel, &["--history", "--count", "1"]].concat();
        let (code, said, errors) = cli(&b, &verb);
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        let mut lines: Vec<Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let event = lines.pop().unwrap();
        let first: u64 = event["data"].as_str().unwrap().parse().unwrap();
        assert!(first > 0, "the ring overwrote some");
        let lost = lines.iter().map(|line| line["lost_at_most"].as_u64());
        assert_eq!(lost.sum::<Option<u64>>(), Some(first), "{said}");
        for line in &lines {
            assert_eq!(line["why"], "no longer to be had from another host");
            assert!(line["up_to"].as_str().unwrap().parse::<Cursor>().is_ok());
        }
    }
}

/// A page that was open when the hosts were joined comes back with a cursor of one host.
#[test]
fn a_cursor_from_before_the_host_had_others_is_understood() {
    let redis = Redis::start();
    let mut a = Daemon::start("");
    let mut viewer = a.open("c");
    publish(&a, 0..5);
    assert_eq!(viewer.take(5), numbers(0..5));
    let cursor = viewer.cursor();
    a.publish("c", "5");
    a.signal(Signal::SIGTERM);
    a.wait();
    let mut settings = std::fs::read_to_string(a.config()).unwrap();
    settings += &format!("\ncluster.url = '{}'\n", redis.url());
    common::write_settings(&a.config(), &settings);
    a.restart();
    let b = host(&redis, "b", "");
    meet(&[&a, &b]);
    publish(&a, 6..7);
    let mut back = a.resume("c", &cursor);
    assert_eq!(back.take(2), numbers(5..7));
    // What was published before is nobody's business elsewhere.
    b.until("askr_cluster_imported_total{what=\"event\"}", |n| n == 1);
    assert_eq!(b.metric("askr_cluster_imported_total{what=\"gap\"}"), 0);
}

/// What a viewer has of one host it is not sent by another one, and the rest it is.
#[test]
fn a_viewer_that_changes_hosts_has_every_event_once() {
    let redis = Redis::start();
    let (a, b) = (host(&redis, "a", ""), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let mut viewer = a.open("c");
    publish(&a, 0..10);
    publish(&b, 10..20);
    let mut seen = viewer.take(20);
    let cursor = viewer.cursor();
    drop(viewer);
    publish(&b, 20..30);
    publish(&a, 30..40);
    let mut back = b.resume("c", &cursor);
    seen.extend(back.take(20));
    let mut all: Vec<u64> = seen.iter().map(|n| n.parse().unwrap()).collect();
    let of = |range: Range<u64>| all.iter().copied().filter(move |n| range.contains(n));
    // Each host's in the order in which it published them.
    assert!(
        of(0..10).chain(of(30..40)).eq((0..10).chain(30..40)),
        "{all:?}"
    );
    assert!(of(10..30).eq(10..30), "{all:?}");
    all.sort_unstable();
    assert!(all.into_iter().eq(0..40));
}

#[test]
fn what_flushall_takes_from_redis_is_sent_again() {
    let redis = Redis::start();
    let (a, b) = (host(&redis, "a", ""), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..10);
    assert_eq!(on_b.take(10), numbers(0..10));
    // It does not read now. What is relayed first is the answer to the read that waits; what is published after that is in
    // Redis alone.
    b.hold_up();
    publish(&a, 10..11);
    a.until("askr_cluster_relayed_total{what=\"event\"}", |n| n == 11);
    publish(&a, 11..21);
    a.until("askr_cluster_relayed_total{what=\"event\"}", |n| n == 21);
    let _: () = redis.ask("FLUSHALL");
    b.signal(Signal::SIGCONT);
    publish(&a, 21..30);
    assert_eq!(on_a.take(30), numbers(0..30));
    assert_eq!(on_b.take(20), numbers(10..30));
    a.until("askr_cluster_relayed_total{what=\"again\"}", |n| n >= 10);
    b.says("was emptied or replaced");
}

/// What others published comes into the same ring: before it takes the place of what only this host has, that is sent again.
#[test]
fn what_the_log_lost_is_sent_again_before_others_events_take_its_place_in_the_ring() {
    let mut redis = Redis::start();
    let small = "ring.slots = 1024";
    let (a, b) = (host(&redis, "a", small), host(&redis, "b", small));
    meet(&[&a, &b]);
    let imported = "askr_cluster_imported_total{what=\"event\"}";
    publish(&a, 0..1);
    b.until(imported, |n| n == 1);
    // B reads nothing of this, and Redis loses it. Either ring has room for its own, and not for both.
    b.hold_up();
    publish(&a, 1..600);
    a.until("askr_cluster_relayed_total{what=\"event\"}", |n| n == 600);
    publish(&b, 0..700);
    redis.kill();
    a.says("other hosts cannot be reached");
    b.signal(Signal::SIGCONT);
    redis.restart();
    a.until(imported, |n| n == 700);
    b.until(imported, |n| n == 600);
    for host in [&a, &b] {
        assert_eq!(host.metric("askr_cluster_imported_total{what=\"gap\"}"), 0);
    }
}

#[test]
fn a_redis_that_hangs_for_a_while_loses_nothing() {
    let redis = Redis::start();
    let more = "cluster.timeout = 0.3";
    let (a, b) = (host(&redis, "a", more), host(&redis, "b", more));
    meet(&[&a, &b]);
    let mut on_b = b.open("c");
    redis.signal(Signal::SIGSTOP);
    publish(&a, 0..100);
    a.says("does not respond in time (cluster.timeout)");
    redis.signal(Signal::SIGCONT);
    publish(&a, 100..110);
    assert_eq!(on_b.take(110), numbers(0..110));
}

#[test]
fn what_waits_to_be_relayed_is_counted_also_while_the_server_is_away() {
    let redis = Redis::start();
    let more = "cluster.timeout = 0.3";
    let (a, b) = (host(&redis, "a", more), host(&redis, "b", more));
    meet(&[&a, &b]);
    let lag = "askr_cluster_lag_events{direction=\"out\"}";
    let seconds = || {
        let text = a.control("/metrics");
        let row = "askr_application_cluster_lag_seconds{application=\"askr\",direction=\"out\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(row));
        line.unwrap().parse::<f64>().unwrap()
    };
    redis.signal(Signal::SIGSTOP);
    publish(&a, 0..70);
    a.says("does not respond in time (cluster.timeout)");
    a.until(lag, |n| n == 70);
    common::until(|| seconds() > 1.0);
    redis.signal(Signal::SIGCONT);
    a.until(lag, |n| n == 0);
    common::until(|| seconds() == 0.0);
}

#[test]
fn a_host_that_was_killed_goes_on_where_it_was() {
    let redis = Redis::start();
    let (mut a, mut b) = (host(&redis, "a", ""), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let mut on_b = b.open("c");
    publish(&a, 0..100);
    assert_eq!(on_b.take(100), numbers(0..100));
    // The one that publishes: its ring keeps what is published meanwhile.
    a.signal(Signal::SIGKILL);
    a.wait();
    publish(&a, 100..150);
    a.restart();
    publish(&a, 150..160);
    assert_eq!(on_b.take(60), numbers(100..160));
    // The one that imports: the log keeps it.
    b.signal(Signal::SIGKILL);
    b.wait();
    publish(&a, 160..200);
    b.restart();
    publish(&a, 200..210);
    let imported = |host: &Daemon| host.metric("askr_cluster_imported_total{what=\"event\"}");
    b.until("askr_cluster_imported_total{what=\"event\"}", |n| n == 50);
    assert_eq!(imported(&b), 50);
    assert_eq!(b.metric("askr_cluster_imported_total{what=\"gap\"}"), 0);
    assert_eq!(a.metric("askr_cluster_imported_total{what=\"gap\"}"), 0);
}

#[test]
fn a_host_that_was_away_for_longer_than_the_log_goes_back_is_sent_what_it_lacks() {
    let redis = Redis::start();
    let short = "cluster.stream_length = 1000";
    let (a, mut b) = (host(&redis, "a", short), host(&redis, "b", short));
    meet(&[&a, &b]);
    publish(&a, 0..10);
    b.until("askr_cluster_imported_total{what=\"event\"}", |n| n == 10);
    b.signal(Signal::SIGKILL);
    b.wait();
    publish(&a, 10..5010);
    a.until("askr_cluster_relayed_total{what=\"event\"}", |n| n == 5010);
    type Piece = (String, Vec<(String, Vec<u8>)>);
    let pieces: Vec<Piece> = redis.ask("XRANGE askr:{askr}:log - +");
    let entries: usize = pieces.iter().map(|(_, entries)| entries.len()).sum();
    assert!(entries < 2000, "{entries} in {}", pieces.len());
    b.restart();
    b.until("askr_cluster_imported_total{what=\"event\"}", |n| n == 5000);
    assert_eq!(b.metric("askr_cluster_imported_total{what=\"gap\"}"), 0);
}

#[test]
fn two_applications_in_one_redis_never_meet() {
    let redis = Redis::start();
    let app =
        |id: &str| format!("app.id = '{id}'\napp.secret = '{SECRET}'\napp.presence_grace = 0.0");
    let (a, b) = (
        host(&redis, "a", &app("shop")),
        host(&redis, "b", &app("shop")),
    );
    let blog = host(&redis, "c", &app("blog"));
    meet(&[&a, &b]);
    let (mut on_b, mut on_blog) = (b.open("c"), blog.open("c"));
    publish(&a, 0..10);
    assert_eq!(on_b.take(10), numbers(0..10));
    publish(&blog, 100..101);
    assert_eq!(on_blog.take(1), numbers(100..101));
    publish(&a, 10..11);
    assert_eq!(on_b.take(1), numbers(10..11));

    // Members, counts, disconnects, what is erased and cursors neither.
    const ROOM: &str = "presence-room";
    let enter = |host: &Daemon, user: &str| {
        let token = token_of(user, &[ROOM], 600);
        host.open_with(&format!("channel={ROOM}&token={token}"), &[])
    };
    let (mut ann, mut ann_of_blog) = (enter(&a, "ann"), enter(&blog, "ann"));
    common::until(|| b.members(ROOM) == ["ann"]);
    let _bob = enter(&blog, "bob");
    assert_eq!(blog.members(ROOM), ["ann", "bob"]);
    assert_eq!(b.members(ROOM), ["ann"]);
    assert_eq!(blog.channels(), json!({"c": 1, ROOM: 2}));
    assert_eq!(b.channels(), json!({"c": 1, ROOM: 1}));
    assert_eq!(forget(&blog, "c"), 1);
    assert_eq!(data(&page(&b, "c", "limit=100")), numbers(0..11));
    let mut stranger = blog.resume("c", &on_b.cursor());
    assert_eq!(stranger.next().event, "askr:gap");
    assert_eq!(b.disconnect(&json!({"user": "ann"})), 1);
    ann.end();
    assert_eq!(blog.disconnect(&json!({"user": "nobody"})), 0);
    blog.publish(ROOM, "still here");
    while ann_of_blog.next().data != "still here" {}

    assert_eq!(a.metric("askr_cluster_nodes"), 2);
    assert_eq!(blog.metric("askr_cluster_nodes"), 1);
    let keys: Vec<String> = redis.ask("KEYS *");
    let of = |key: &String| {
        ["askr:{shop}:", "askr:{blog}:"]
            .iter()
            .any(|app| key.starts_with(app))
    };
    assert!(!keys.is_empty() && keys.iter().all(of), "{keys:?}");
}

#[test]
fn an_application_whose_name_another_one_has_stays_alone_with_a_sentence() {
    let redis = Redis::start();
    let first = host(&redis, "a", "app.key = 'first'");
    first.until("askr_cluster_connected", |n| n == 1);
    let other = host(&redis, "b", "app.key = 'other'");
    let sentence = "cluster.name: another application, with another key, is called \"askr\" in ";
    let ready = other.control("/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains(sentence),
        "{ready}"
    );
    let (mut on_first, mut on_other) = (first.open("c"), other.open("c"));
    publish(&first, 0..1);
    publish(&other, 1..2);
    assert_eq!(on_first.take(1), numbers(0..1));
    assert_eq!(on_other.take(1), numbers(1..2));
    assert_eq!(first.metric("askr_cluster_nodes"), 1);
}

/// What is wrong with the store is said with the setting's name, and this host goes on alone.
fn goes_on_alone(settings: &str, sentence: &str) {
    let daemon = Daemon::start(settings);
    let ready = daemon.control("/readyz");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains(sentence), "{ready}");
    let mut viewer: Client = daemon.open("c");
    daemon.publish("c", "here");
    assert_eq!(viewer.next().data, "here");
}

#[test]
fn a_store_that_cannot_be_used_is_a_sentence_and_this_host_goes_on_alone() {
    let redis = Redis::with(&["--port 0", "--requirepass hunter2hunter2"]);
    let url = format!("cluster.url = '{}'", redis.url());
    goes_on_alone(&url, "cluster.password_file: ");
    let wrong = format!("{url}\ncluster.password = 'another'");
    goes_on_alone(&wrong, "refuses the password of the user \"default\"");
    let right = format!("{url}\ncluster.password = 'hunter2hunter2'");
    let database = right.replace("redis.sock'", "redis.sock?db=99'");
    goes_on_alone(&database, "has no database of that number");
    let _: () = redis.ask("SET askr:{askr}:log text");
    goes_on_alone(&right, "cluster.name: ");
    goes_on_alone(
        "cluster.url = 'unix:///nowhere/redis.sock'",
        "cluster.url: /nowhere/redis.sock cannot be reached: ",
    );
}
