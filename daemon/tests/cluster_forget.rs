//! What was erased on one host is given out by none: not by those that have it, not by those that get it later, not by
//! those that were away. With real askrds and a real Redis.

use crate::common;
use crate::common::hosts::{imported, two};
use crate::common::pages::{data, forget, page, replay};
use crate::common::redis::Redis;
use crate::common::{Daemon, publish};
use nix::sys::signal::Signal;
use serde_json::Value;

const SECRET: &str = "what is forgotten";

fn publish_on(host: &Daemon, channels: &[&str], data: &str) {
    publish(&mut host.publisher(), channels, None, None, data);
}

fn erased(host: &Daemon, count: u64) {
    host.until("askr_events_erased_total", |n| n == count);
}

/// A page, a replay and a rewind of channel `c` have `left` and nothing else, and tell of no loss.
fn has_only(host: &Daemon, since: &str, left: &[&str]) {
    let page = page(host, "c", "limit=1000");
    assert_eq!((data(&page), &page["gap"]), (strings(left), &Value::Null));
    publish_on(host, &["c"], "end");
    let all = [left, &["end"]].concat();
    assert_eq!(host.open("c&rewind=100").take(all.len()), all);
    let replay = replay(host, "c", since);
    let rows: Vec<String> = replay.rows.into_iter().map(|(_, data)| data).collect();
    assert_eq!((rows, replay.gap), (strings(&all), (Some(0), Some(0))));
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_erased_on_one_host_is_gone_on_the_others_and_what_came_later_stays() {
    let redis = Redis::start();
    let (a, b) = two(&redis);
    let since = b.open("c").cursor();
    publish_on(&b, &["c"], SECRET);
    publish_on(&b, &["c", "d"], SECRET);
    imported(&a, 2);
    publish_on(&a, &["c"], SECRET);
    publish_on(&a, &["c", "d"], SECRET);
    imported(&b, 2);
    assert_eq!(forget(&a, "c"), 4);
    publish_on(&b, &["c"], "later");
    publish_on(&a, &["c"], "later");
    erased(&b, 4);
    imported(&b, 3);
    has_only(&b, &since, &["later", "later"]);
    assert_eq!(data(&page(&b, "d", "")), [SECRET, SECRET], "it stays there");
}

/// B had published something before it had what was erased: they lie in another order there.
#[test]
fn what_another_host_published_that_the_first_one_did_not_have_stays() {
    let mut redis = Redis::start();
    let (a, b) = two(&redis);
    let since = b.open("c").cursor();
    redis.kill();
    publish_on(&b, &["c"], "unknown to A");
    publish_on(&a, &["c"], SECRET);
    publish_on(&a, &["c", "d"], SECRET);
    assert_eq!(forget(&a, "c"), 2);
    // What is on another channel comes without this one; what was erased does not come at all.
    redis.restart();
    imported(&a, 1);
    imported(&b, 1);
    assert_eq!(data(&page(&b, "d", "")), [SECRET]);
    assert_eq!(data(&page(&b, "c", "")), ["unknown to A"]);
    assert_eq!(data(&page(&a, "c", "")), ["unknown to A"]);
    has_only(&b, &since, &["unknown to A"]);
    assert_eq!(data(&page(&b, "d", "")), [SECRET]);
}

#[test]
fn a_host_that_was_away_does_not_bring_it_back() {
    let redis = Redis::start();
    let (a, mut b) = two(&redis);
    let since = b.open("c").cursor();
    publish_on(&b, &["c"], SECRET);
    imported(&a, 1);
    publish_on(&a, &["c", "d"], SECRET);
    imported(&b, 1);
    // Between what is erased, and not known to A when it is.
    b.signal(Signal::SIGKILL);
    publish_on(&b, &["c", "d"], "B's own");
    publish_on(&a, &["c", "d"], SECRET);
    assert_eq!(forget(&a, "c"), 3);
    for _ in 0..2 {
        b.restart();
        b.until("askr_cluster_nodes", |nodes| nodes == 2);
        let left = page(&b, "c", "limit=1000");
        assert_eq!(data(&left), ["B's own"], "{left}");
        b.signal(Signal::SIGKILL);
    }
    b.restart();
    has_only(&b, &since, &["B's own"]);
    assert_eq!(data(&page(&b, "d", "")).len(), 3);
}

#[test]
fn a_redis_that_was_emptied_has_it_again_for_those_that_come_back_later() {
    let redis = Redis::start();
    let (a, mut b) = two(&redis);
    publish_on(&b, &["c"], SECRET);
    imported(&a, 1);
    b.signal(Signal::SIGKILL);
    assert_eq!(forget(&a, "c"), 1);
    let is_kept = || common::until(|| redis.ask::<u64>("HLEN askr:{7}:erased") > 0);
    is_kept();
    let _: () = redis.ask("FLUSHALL");
    is_kept();
    b.restart();
    b.until("askr_cluster_nodes", |nodes| nodes == 2);
    assert!(data(&page(&b, "c", "")).is_empty());
}
