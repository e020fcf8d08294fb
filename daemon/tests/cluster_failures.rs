//! What docs/CLUSTER.md says of each failure, with real askrds and a real Redis. Its table names the tests.

use std::ops::Range;
use std::os::unix::fs::symlink;

use crate::common;
use crate::common::hosts::{host, meet, numbers, publish_numbers};
use crate::common::redis::{Redis, free_port};
use crate::common::{Client, Daemon};
use cluster::node_state::NodeState;
use nix::sys::signal::Signal;
use serde_json::Value;
use shared::cursor::Epoch;
use shared::vector::{OriginId, Vector};

/// A host that is silent for so long is dead: two seconds.
const SOON: &str = "cluster.lease = 1.0\ncluster.grace = 1.0";
const EVENTS: &str = "askr_cluster_imported_total{what=\"event\"}";
const GAPS: &str = "askr_cluster_imported_total{what=\"gap\"}";

fn publish(host: &Daemon, range: Range<u64>) {
    publish_numbers(host, "c", range);
}

/// Waits until so many were relayed.
fn relayed(host: &Daemon, count: u64) {
    host.until("askr_cluster_relayed_total{what=\"event\"}", |n| n == count);
}

/// Ends it as a crash does, and waits until it is gone.
fn kill(host: &mut Daemon) {
    host.signal(Signal::SIGKILL);
    host.wait();
}

/// What a viewer gets until the event `last`: events and the bounds of gaps, in order.
#[derive(Debug, PartialEq)]
enum Got {
    Event(u64),
    /// None: there is no bound.
    Gap(Option<u64>),
}

fn until(viewer: &mut Client, last: u64) -> Vec<Got> {
    let mut all = Vec::new();
    loop {
        let message = viewer.next();
        if message.event == "askr:gap" {
            let gap: Value = serde_json::from_str(&message.data).unwrap();
            all.push(Got::Gap(gap["at_most"].as_u64()));
            continue;
        }
        let n = message.data.parse().unwrap();
        all.push(Got::Event(n));
        if n == last {
            return all;
        }
    }
}

/// Each event from `next` on came once, in order, or is in a gap of a known size. How many are in gaps.
fn whole(all: Vec<Got>, mut next: u64) -> u64 {
    let mut lost = 0;
    for got in all {
        match got {
            Got::Gap(bound) => {
                let bound = bound.expect("it is known how many");
                (lost, next) = (lost + bound, next + bound);
            }
            Got::Event(n) => {
                assert_eq!(n, next, "in order, once, and all that lies between is told");
                next += 1;
            }
        }
    }
    lost
}

/// A gap of which nobody knows how large it is.
const UNKNOWN: (&str, &str) = ("askr:gap", r#"{"lost":null,"at_most":null}"#);

/// The next events, in order of their numbers, and how many gaps there were of which nobody knows how large they are.
fn sorted(viewer: &mut Client, count: usize) -> (Vec<u64>, usize) {
    let (mut all, mut gaps) = (Vec::new(), 0);
    while all.len() < count {
        let message = viewer.next();
        if message.event == UNKNOWN.0 {
            assert_eq!(message.data, UNKNOWN.1);
            gaps += 1;
        } else {
            all.push(message.data.parse().unwrap());
        }
    }
    all.sort_unstable();
    (all, gaps)
}

fn events(range: Range<u64>) -> Vec<Got> {
    range.map(Got::Event).collect()
}

/// The origin that a host's ring is.
fn origin(host: &Daemon) -> OriginId {
    let ring = shared::segment::Segment::open(&host.ring(), |_| true).unwrap();
    ring.epoch().into()
}

fn vector(cursor: &str) -> Vector {
    Vector::parse(cursor.as_bytes()).unwrap_or_else(|| panic!("{cursor}"))
}

/// A batch that was published and not noted, of which the ring has overwritten a part when askrd is back.
#[test]
fn what_the_ring_overwrote_before_a_killed_host_noted_it_is_a_gap() {
    let mut redis = Redis::start();
    let a = host(&redis, "a", "");
    let url = redis.url();
    let settings = format!("cluster.url = '{url}'\ncluster.node = 'b'\nring.slots = 64");
    let mut b = Daemon::start_with_fault("abort import-published 41", &settings);
    meet(&[&a, &b]);
    let mut viewer = b.open("c");
    publish(&a, 0..2);
    assert_eq!(viewer.take(2), numbers(0..2));
    let before = vector(&viewer.cursor());
    drop(viewer);
    // What is relayed together is imported together.
    redis.kill();
    a.says("other hosts cannot be reached");
    publish(&a, 2..42);
    redis.restart();
    b.wait();
    publish_numbers(&b, "other", 0..44);
    b.restart();
    b.until("askr_cluster_nodes", |nodes| nodes == 2);
    // One that has all that B published, and of A what came before.
    let mut cursor = vector(&b.open("c").cursor());
    let of_a = origin(&a);
    assert!(cursor.set(of_a, before.get(of_a).unwrap()));
    let mut back = b.resume("c", &cursor.to_string());
    publish(&a, 42..43);
    let got = until(&mut back, 42);
    let first = match &got[..] {
        [Got::Gap(Some(bound)), Got::Event(first), ..] => {
            assert_eq!(first - 2, *bound, "all that lies between");
            *first
        }
        other => panic!("{other:?}"),
    };
    assert!(first > 2 && first < 42, "the ring has the end of the batch");
    assert_eq!(got[1..], events(first..43));
}

/// Viewers come back to it, or to another one, with what they have.
#[test]
fn viewers_of_a_host_that_was_killed_or_restarted_go_on_at_it_and_at_another_one() {
    let redis = Redis::start();
    let (mut a, b) = (host(&redis, "a", ""), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let mut viewer = a.open("c");
    publish(&a, 0..5);
    assert_eq!(viewer.take(5), numbers(0..5));
    for (signal, first) in [(Signal::SIGKILL, 5), (Signal::SIGTERM, 16)] {
        let cursor = viewer.cursor();
        a.signal(signal);
        a.wait();
        // What is published meanwhile lies in its ring.
        publish(&a, first..first + 5);
        publish(&b, first + 5..first + 10);
        let mut at_b = b.resume("c", &cursor);
        assert_eq!(at_b.take(5), numbers(first + 5..first + 10));
        a.restart();
        assert_eq!(at_b.take(5), numbers(first..first + 5));
        viewer = a.resume("c", &cursor);
        let all = (first..first + 10).collect();
        assert_eq!(sorted(&mut viewer, 10), (all, 0));
        publish(&a, first + 10..first + 11);
        for viewer in [&mut viewer, &mut at_b] {
            assert_eq!(viewer.take(1), numbers(first + 10..first + 11));
        }
    }
}

#[test]
fn what_a_ring_overwrote_while_redis_was_away_is_a_gap_for_viewers_of_other_hosts() {
    let mut redis = Redis::start();
    let (a, b) = (host(&redis, "a", "ring.slots = 64"), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let mut on_b = b.open("c");
    publish(&a, 0..1);
    assert_eq!(on_b.take(1), ["0"]);
    redis.kill();
    a.says("other hosts cannot be reached");
    publish(&a, 1..200);
    redis.restart();
    let got = until(&mut on_b, 199);
    assert!(whole(got, 1) > 0);
}

/// The log lost what a host published last, and the host is dead.
#[test]
fn what_nobody_has_of_a_dead_host_is_a_gap() {
    let redis = Redis::start();
    let (mut a, b) = (host(&redis, "a", SOON), host(&redis, "b", SOON));
    meet(&[&a, &b]);
    let mut on_b = b.open("c");
    publish(&a, 0..5);
    assert_eq!(on_b.take(5), numbers(0..5));
    b.hold_up();
    // The first one may be the answer to a read that waits.
    publish(&a, 5..6);
    relayed(&a, 6);
    publish(&a, 6..10);
    relayed(&a, 10);
    let _: () = redis.ask("DEL askr:{askr}:log");
    publish(&a, 10..12);
    relayed(&a, 12);
    kill(&mut a);
    b.signal(Signal::SIGCONT);
    let lost = whole(until(&mut on_b, 11), 5);
    assert!((4..=5).contains(&lost), "{lost}");
    b.until(GAPS, |n| n == 1);
}

/// Its own viewers alone have it: they lack nothing elsewhere, and others are not told of what nobody there knows of.
#[test]
fn what_a_dead_host_had_not_relayed_is_gone_with_it() {
    let mut redis = Redis::start();
    let (mut a, b) = (host(&redis, "a", SOON), host(&redis, "b", SOON));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..5);
    assert_eq!(on_a.take(5), numbers(0..5));
    assert_eq!(on_b.take(5), numbers(0..5));
    redis.kill();
    a.says("other hosts cannot be reached");
    publish(&a, 5..8);
    assert_eq!(on_a.take(3), numbers(5..8));
    let cursor = on_a.cursor();
    kill(&mut a);
    redis.restart();
    meet(&[&b]);
    publish(&b, 8..10);
    let mut back = b.resume("c", &cursor);
    for viewer in [&mut back, &mut on_b] {
        assert_eq!(until(viewer, 9), events(8..10));
    }
    assert_eq!(b.metric(GAPS), 0);
}

#[test]
fn what_others_have_of_a_dead_host_they_send_to_those_who_lack_it() {
    let redis = Redis::start();
    let [mut a, b, c] = ["a", "b", "c"].map(|name| host(&redis, name, SOON));
    meet(&[&a, &b, &c]);
    let mut on_c = c.open("c");
    publish(&a, 0..5);
    assert_eq!(on_c.take(5), numbers(0..5));
    c.hold_up();
    publish(&a, 5..6);
    relayed(&a, 6);
    publish(&a, 6..10);
    b.until(EVENTS, |n| n == 10);
    kill(&mut a);
    let _: () = redis.ask("DEL askr:{askr}:log");
    c.signal(Signal::SIGCONT);
    assert_eq!(until(&mut on_c, 9), events(5..10));
    assert_eq!(c.metric(GAPS), 0);
    b.until("askr_cluster_relayed_total{what=\"again\"}", |n| n >= 4);
}

/// Of what was erased an heir says that there is nothing.
#[test]
fn what_was_erased_of_a_dead_host_is_no_gap() {
    let redis = Redis::start();
    let [mut a, b, c] = ["a", "b", "c"].map(|name| host(&redis, name, SOON));
    meet(&[&a, &b, &c]);
    let mut on_c = c.open("c");
    publish(&a, 0..1);
    assert_eq!(on_c.take(1), ["0"]);
    c.hold_up();
    publish(&a, 1..2);
    relayed(&a, 2);
    publish_numbers(&a, "secret", 2..3);
    publish(&a, 3..4);
    b.until(EVENTS, |n| n == 4);
    assert_eq!(common::pages::forget(&b, "secret"), 1);
    kill(&mut a);
    let _: () = redis.ask("DEL askr:{askr}:log");
    c.signal(Signal::SIGCONT);
    let mut expected = events(1..2);
    expected.extend(events(3..4));
    assert_eq!(until(&mut on_c, 3), expected);
    assert_eq!(c.metric(GAPS), 0);
}

/// A Redis that another one can take the place of: at the same address, for each host its own.
struct Stores {
    first: Redis,
    second: Redis,
    directory: tempfile::TempDir,
}

impl Stores {
    /// A master and its replica.
    fn start() -> Self {
        let port = free_port();
        let first = Redis::with(&[&format!("--port {port}")]);
        let second = Redis::with(&["--port 0", &format!("--replicaof 127.0.0.1 {port}")]);
        common::until(|| {
            let state: String = second.ask("INFO replication");
            state.contains("master_link_status:up")
        });
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        Self {
            first,
            second,
            directory,
        }
    }

    fn host(&self, name: &str, more: &str) -> Daemon {
        self.lead(name, &self.first);
        let at = self.directory.path().join(name);
        Daemon::start(&format!(
            "cluster.url = 'unix://{}'\ncluster.node = '{name}'\n{more}",
            at.display()
        ))
    }

    /// From now on a host finds this one.
    fn lead(&self, name: &str, to: &Redis) {
        let (at, new) = (
            self.directory.path().join(name),
            self.directory.path().join("new"),
        );
        symlink(to.socket(), &new).unwrap();
        std::fs::rename(new, at).unwrap();
    }

    /// The replica is a master from now on, and has what it had.
    fn promote(&self) {
        let offset = |redis: &Redis, key: &str| -> String {
            let state: String = redis.ask("INFO replication");
            let line = state.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap().trim().to_owned()
        };
        common::until(|| {
            offset(&self.second, "slave_repl_offset:") == offset(&self.first, "master_repl_offset:")
        });
        let _: () = self.second.ask("REPLICAOF NO ONE");
    }
}

#[test]
fn what_a_replica_lacks_that_takes_over_is_sent_again() {
    let mut stores = Stores::start();
    let (a, b) = (stores.host("a", ""), stores.host("b", ""));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..5);
    assert_eq!(on_b.take(5), numbers(0..5));
    b.hold_up();
    stores.promote();
    publish(&a, 5..6);
    relayed(&a, 6);
    publish(&a, 6..20);
    relayed(&a, 20);
    for name in ["a", "b"] {
        stores.lead(name, &stores.second);
    }
    stores.first.kill();
    b.signal(Signal::SIGCONT);
    publish(&a, 20..25);
    assert_eq!(until(&mut on_a, 24), events(0..25));
    assert_eq!(until(&mut on_b, 24), events(5..25));
    assert_eq!((a.metric(GAPS), b.metric(GAPS)), (0, 0));
}

#[test]
fn what_both_sides_of_a_cut_network_published_is_on_both_when_it_is_whole_again() {
    let mut stores = Stores::start();
    let (a, b) = (stores.host("a", ""), stores.host("b", ""));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..5);
    assert_eq!(on_a.take(5), numbers(0..5));
    assert_eq!(on_b.take(5), numbers(0..5));
    stores.promote();
    stores.lead("b", &stores.second);
    let _: u64 = stores.first.ask("CLIENT KILL TYPE normal SKIPME yes");
    let connected = |redis: &Redis, name: &str| {
        let clients: String = redis.ask("CLIENT LIST");
        clients.matches(name).count() > 0
    };
    common::until(|| connected(&stores.second, "cmd=xread"));
    common::until(|| connected(&stores.first, "cmd=xread"));
    publish(&a, 5..10);
    publish(&b, 10..15);
    assert_eq!(on_a.take(5), numbers(5..10));
    assert_eq!(on_b.take(5), numbers(10..15));
    relayed(&a, 10);
    relayed(&b, 5);
    stores.lead("a", &stores.second);
    stores.first.kill();
    assert_eq!(on_a.take(5), numbers(10..15));
    assert_eq!(on_b.take(5), numbers(5..10));
    publish(&a, 15..16);
    assert_eq!(
        (on_a.take(1), on_b.take(1)),
        (numbers(15..16), numbers(15..16))
    );
    assert_eq!((a.metric(GAPS), b.metric(GAPS)), (0, 0));
}

/// Away for longer than the log goes back, and than the other's ring does.
#[test]
fn a_host_that_was_away_for_too_long_says_what_cannot_be_had_any_more() {
    let redis = Redis::start();
    let short = "cluster.stream_length = 1000\nring.slots = 64";
    let (a, mut b) = (host(&redis, "a", short), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let mut viewer = b.open("c");
    publish(&a, 0..10);
    assert_eq!(viewer.take(10), numbers(0..10));
    let cursor = viewer.cursor();
    kill(&mut b);
    for n in (10..410).step_by(50) {
        publish(&a, n..n + 50);
        relayed(&a, n + 50);
    }
    let _: () = redis.ask("XTRIM askr:{askr}:log MAXLEN 1");
    b.restart();
    let mut back = b.resume("c", &cursor);
    let got = until(&mut back, 409);
    let lost = whole(got, 10);
    assert!(lost > 300, "{lost}");
}

/// What comes before its predecessors and finds no room is dropped, and comes again.
#[test]
fn what_finds_no_room_to_wait_is_sent_again() {
    let redis = Redis::start();
    let small = "cluster.held_back = '64 KiB'";
    let (a, b) = (host(&redis, "a", small), host(&redis, "b", small));
    meet(&[&a, &b]);
    let mut on_b = b.open("c");
    publish(&a, 0..1);
    assert_eq!(on_b.take(1), ["0"]);
    b.hold_up();
    publish(&a, 1..2);
    relayed(&a, 2);
    publish(&a, 2..5);
    relayed(&a, 5);
    let _: () = redis.ask("DEL askr:{askr}:log");
    let mut publisher = a.publisher();
    let more = " ".repeat(1000);
    for n in 5..205 {
        common::publish(&mut publisher, &["c"], None, None, &format!("{more}{n}"));
    }
    relayed(&a, 205);
    b.signal(Signal::SIGCONT);
    let came = on_b.take(204);
    assert!(
        came.iter()
            .map(|n| n.trim().parse::<u64>().unwrap())
            .eq(1..205)
    );
    assert!(b.metric("askr_cluster_held_back_total{result=\"dropped\"}") > 0);
    assert_eq!(b.metric(GAPS), 0);
}

/// Whoever may write to a ring can spoil it; askrd puts another one in its place.
#[test]
fn a_ring_that_is_replaced_is_a_new_origin_and_nothing_comes_twice() {
    let redis = Redis::start();
    let (a, b) = (host(&redis, "a", SOON), host(&redis, "b", SOON));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..10);
    publish(&b, 10..20);
    for viewer in [&mut on_a, &mut on_b] {
        assert_eq!(sorted(viewer, 20), ((0..20).collect(), 0));
    }
    let cursor = on_a.cursor();
    let file = std::fs::OpenOptions::new().write(true).open(a.ring());
    file.unwrap().set_len(4096).unwrap();
    // The gap is reported to its viewers at once.
    let message = on_a.next();
    assert_eq!((message.event.as_str(), message.data.as_str()), UNKNOWN);
    let after = on_a.cursor_after(&cursor);
    publish(&a, 20..30);
    publish(&b, 30..40);
    let new: Vec<u64> = (20..40).collect();
    assert_eq!(sorted(&mut on_a, 20), (new.clone(), 0));
    // With what they had before they are told at once, too; with what they were told then, never again.
    assert_eq!(sorted(&mut a.resume("c", &cursor), 20), (new.clone(), 1));
    for host in [&a, &b] {
        assert_eq!(sorted(&mut host.resume("c", &after), 20), (new.clone(), 0));
    }
    // The others' are when the former ring is known to be dead: it may have had what nobody read.
    let (came, mut gaps) = sorted(&mut on_b, 20);
    assert_eq!(came, new);
    while gaps == 0 {
        let message = on_b.next();
        assert_eq!((message.event.as_str(), message.data.as_str()), UNKNOWN);
        gaps += 1;
    }
    publish(&a, 40..41);
    assert_eq!((sorted(&mut on_b, 1), gaps), ((vec![40], 0), 1));
    assert_eq!(sorted(&mut on_a, 1), (vec![40], 0));
}

/// The file is taken away while askrd is, with what nobody had read.
#[test]
fn a_ring_that_was_taken_away_is_a_gap_that_nobody_knows_the_size_of() {
    let mut redis = Redis::start();
    let (mut a, b) = (host(&redis, "a", SOON), host(&redis, "b", SOON));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..5);
    assert_eq!(on_b.take(5), numbers(0..5));
    redis.kill();
    a.says("other hosts cannot be reached");
    publish(&a, 5..8);
    assert_eq!(on_a.take(8), numbers(0..8));
    let cursor = on_a.cursor();
    kill(&mut a);
    publish(&a, 8..10);
    std::fs::remove_file(a.ring()).unwrap();
    a.restart();
    redis.restart();
    meet(&[&a, &b]);
    let mut back = a.resume("c", &cursor);
    publish(&a, 10..12);
    for viewer in [&mut back, &mut on_b] {
        let (came, mut gaps) = sorted(viewer, 2);
        assert_eq!(came, [10, 11]);
        while gaps == 0 {
            let message = viewer.next();
            assert_eq!((message.event.as_str(), message.data.as_str()), UNKNOWN);
            gaps += 1;
        }
        assert_eq!(gaps, 1);
    }
    // It is told once, also to who comes back, to any of them.
    publish(&a, 12..13);
    let cursors = [&mut back, &mut on_b].map(|viewer| {
        assert_eq!(viewer.take(1), numbers(12..13));
        viewer.cursor()
    });
    publish(&a, 13..14);
    for host in [&a, &b] {
        for cursor in &cursors {
            assert_eq!(host.resume("c", cursor).take(1), numbers(13..14));
        }
    }
}

/// What is written beside the ring of what was imported.
#[test]
fn a_host_whose_journal_is_lost_gives_nobody_anything_twice() {
    let redis = Redis::start();
    let (a, mut b) = (host(&redis, "a", ""), host(&redis, "b", ""));
    meet(&[&a, &b]);
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    publish(&a, 0..5);
    assert_eq!(on_b.take(5), numbers(0..5));
    let early = on_b.cursor();
    publish(&a, 5..10);
    assert_eq!(on_b.take(5), numbers(5..10));
    publish(&b, 100..105);
    assert_eq!(on_b.take(5), numbers(100..105));
    assert_eq!(on_a.take(15).split_off(10), numbers(100..105));
    let cursor = on_b.cursor();
    kill(&mut b);
    std::fs::remove_file(b.directory.path().join("ring.imports")).unwrap();
    publish(&a, 10..15);
    b.restart();
    let (mut back, mut of_early) = (b.resume("c", &cursor), b.resume("c", &early));
    publish(&b, 105..106);
    assert_eq!(on_a.take(6).split_off(5), ["105"]);
    publish(&a, 15..16);
    let had = |viewer: &mut Client| -> (Vec<u64>, usize) {
        let (mut came, mut gaps) = (Vec::new(), 0);
        for got in until(viewer, 15) {
            match got {
                Got::Event(n) => came.push(n),
                Got::Gap(_) => gaps += 1,
            }
        }
        came.sort_unstable();
        (came, gaps)
    };
    assert_eq!(had(&mut back).0, [10, 11, 12, 13, 14, 15, 105]);
    // The log still has what it lacks. Which of the records in B's ring were A's events nobody can tell any more.
    let (came, gaps) = had(&mut of_early);
    let expected: Vec<u64> = (5..16).chain(100..106).collect();
    assert_eq!((came, gaps > 0), (expected, true));
}

/// A vector has room for 64: whoever is dead for longest makes room for a new one.
#[test]
fn an_origin_that_is_dead_for_longest_gives_way_where_there_are_too_many() {
    let redis = Redis::start();
    let (a, b) = (host(&redis, "a", SOON), host(&redis, "b", SOON));
    meet(&[&a, &b]);
    let former = |n: u8| Epoch([0x10 + n; 6]);
    let mut connection = redis.connection();
    // The last of them is dead before the others come.
    for of in [61..62, 0..61] {
        for n in of.clone() {
            let state = NodeState {
                epoch: former(n),
                name: format!("former-{n}"),
                askrd: "0".into(),
                beat: 1,
                start: 0,
                last: 0,
                through: 0,
                have: Vector::default(),
                wants: Vector::default(),
            };
            let mut set = redis::cmd("HSET");
            set.arg("askr:{askr}:nodes").arg(state.origin().to_string());
            let _: u64 = set.arg(state.encode()).query(&mut connection).unwrap();
        }
        for host in [&a, &b] {
            host.until("askr_cluster_nodes", |nodes| nodes == 2 + of.len() as u64);
        }
        meet(&[&a, &b]);
    }
    for n in 0..62 {
        let origin = OriginId::from(former(n));
        let _: u64 = redis.ask(&format!("HDEL askr:{{askr}}:nodes {origin}"));
    }
    let (mut on_a, mut on_b) = (a.open("c"), b.open("c"));
    let c = host(&redis, "c", SOON);
    meet(&[&a, &b, &c]);
    publish(&c, 0..5);
    assert_eq!(until(&mut on_a, 4), events(0..5));
    assert_eq!(until(&mut on_b, 4), events(0..5));
    let back = vector(&on_a.cursor());
    let has = |epoch: Epoch| back.get(epoch.into()).is_some();
    assert_eq!((back.len(), back.get(origin(&c)).is_some()), (64, true));
    assert!(!has(former(61)) && (0..61).all(|n| has(former(n))));
}

/// The rows of a table of the documentation, whose head begins so.
fn rows<'a>(text: &'a str, head: &str) -> Vec<&'a str> {
    let table = text.lines().skip_while(|line| !line.starts_with(head));
    table
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

/// Whoever adds a failure or renames a test has to say so there.
#[test]
fn the_documentation_names_tests_of_each_failure_and_there_they_are() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(here.join("../docs/CLUSTER.md")).unwrap();
    let failures = rows(&text, "| | live events on the same host |");
    let tests = rows(&text, "| failure | test |");
    assert!(failures.len() > 10, "{failures:?}");
    assert_eq!(failures.len(), tests.len());
    for row in tests {
        let (mut file, mut named) = (String::new(), 0);
        let tests = row.rsplit_once(" | ").unwrap().1;
        for name in tests.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                file = std::fs::read_to_string(here.join("tests").join(name)).unwrap();
                continue;
            }
            named += 1;
            assert!(file.contains(&format!("fn {name}()")), "{name}");
        }
        assert!(named > 0, "{row}");
    }
}
