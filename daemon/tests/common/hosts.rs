//! Hosts of one cluster: askrds, each with a ring of its own, and a Redis between them.

use std::ops::Range;

use super::redis::Redis;
use super::{Daemon, publish, ws};

/// A host of the cluster of this Redis.
pub fn host(redis: &Redis, name: &str, more: &str) -> Daemon {
    let url = redis.url();
    Daemon::start(&format!(
        "cluster.url = '{url}'\ncluster.node = '{name}'\n{more}"
    ))
}

/// Waits until each of them sees so many that live.
pub fn meet(hosts: &[&Daemon]) {
    for host in hosts {
        host.until("askr_cluster_nodes", |nodes| nodes == hosts.len() as u64);
    }
}

/// Two with an application that has a key and a secret.
pub fn two(redis: &Redis) -> (Daemon, Daemon) {
    let named = |name| host(redis, name, &ws::app(""));
    let two = (named("a"), named("b"));
    meet(&[&two.0, &two.1]);
    two
}

/// Publishes these numbers on a host, one an event.
pub fn publish_numbers(host: &Daemon, channel: &str, numbers: Range<u64>) {
    let mut publisher = host.publisher();
    for n in numbers {
        publish(&mut publisher, &[channel], None, None, &n.to_string());
    }
}

/// The payloads of these numbers.
pub fn numbers(range: Range<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Waits until a host has imported so many events.
pub fn imported(host: &Daemon, count: u64) {
    host.until("askr_cluster_imported_total{what=\"event\"}", |n| {
        n == count
    });
}
