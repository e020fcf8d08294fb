//! Cache channels: whoever comes new gets the last event, whoever comes back does not, and nobody twice.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use crate::common;
use crate::common::grants::{SECRET, token, token_of};
use crate::common::{Daemon, publish};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const ALL: [&str; 4] = [
    "cache-a",
    "private-cache-a",
    "private-encrypted-cache-a",
    "presence-cache-a",
];

fn daemon(settings: &str) -> Daemon {
    Daemon::start(&format!("app.secret = '{SECRET}'\n{settings}"))
}

#[test]
fn a_new_subscriber_gets_the_last_event_and_one_that_comes_back_does_not() {
    let daemon = daemon("");
    let token = token_of("7", &["*"], 600);
    let open = |channel: &str, more: &str| {
        daemon.open_with(&format!("channel={channel}&token={token}{more}"), &[])
    };
    // Without an event there is nothing to get.
    for channel in ALL {
        let mut empty = open(channel, "");
        let known = empty.cursor();
        daemon.publish(channel, "first");
        let mut next = empty.next();
        if next.event == "askr:members" {
            next = empty.next();
        }
        assert_eq!(next.data, "first", "{channel}");
        let mut publisher = daemon.publisher();
        publish(&mut publisher, &[channel], Some("Named"), None, "last");
        assert_eq!(empty.next().data, "last");

        let last = |client: &mut common::Client| {
            let mut message = client.next();
            if message.event == "askr:members" {
                message = client.next();
            }
            message
        };
        let mut new = open(channel, "");
        let message = last(&mut new);
        assert_eq!(
            (&*message.event, &*message.data),
            ("Named", "last"),
            "{channel}"
        );
        // It is older than the stream: no cursor goes back with it.
        assert_eq!(message.id, new.parser.last_event_id());
        let mut shown = open(channel, "&format=json");
        let message = last(&mut shown);
        let data: Value = serde_json::from_str(&message.data).unwrap();
        assert_eq!(
            (&data["channel"], &data["data"]),
            (&json!(channel), &json!("last"))
        );

        // Coming back, it gets what it missed, once; and nothing if it missed nothing.
        let mut back = open(channel, &format!("&last_event_id={known}"));
        assert_eq!(last(&mut back).data, "first");
        assert_eq!(back.next().data, "last");
        let held = back.parser.last_event_id().to_owned();
        let mut back = open(channel, &format!("&last_event_id={held}"));
        daemon.publish(channel, "after");
        assert_eq!(last(&mut back).data, "after", "{channel}");
    }
    // By POST as well, with a cursor or without.
    let mut stream = daemon.open("x");
    let known = stream.cursor();
    let me = stream.me();
    daemon.subscribe(&me, &["cache-a"], Value::Null);
    assert_eq!(stream.next().data, "after");
    daemon.unsubscribe(&me, &["cache-a"]);
    daemon.subscribe(&me, &["cache-a"], json!({"last_event_id": known}));
    daemon.publish("cache-a", "later");
    assert_eq!(stream.next().data, "later");
    // An ordinary channel has no last event.
    let mut earlier = daemon.open("a");
    daemon.publish("a", "gone");
    // It has been read, so that a stream that opens now does not get it live.
    assert_eq!(earlier.next().data, "gone");
    let mut stream = daemon.open_with("channel=a&channel=cache-b", &[]);
    daemon.publish("cache-b", "b");
    assert_eq!(stream.next().data, "b");
}

#[test]
fn the_last_event_is_still_there_after_a_restart() {
    let mut daemon = daemon("");
    let mut publisher = daemon.publisher();
    for n in 0..100 {
        let data = n.to_string();
        publish(
            &mut publisher,
            &["cache-a", "private-cache-a"],
            None,
            None,
            &data,
        );
    }
    daemon.signal(Signal::SIGKILL);
    daemon.restart();
    assert_eq!(daemon.open("cache-a").next().data, "99");
    let query = format!("channel=private-cache-a&token={}", token(&["*"], 60));
    assert_eq!(daemon.open_with(&query, &[]).next().data, "99");
    // Of those published while nobody read, too.
    daemon.signal(Signal::SIGKILL);
    daemon.publish("cache-a", "100");
    daemon.restart();
    assert_eq!(daemon.open("cache-a").next().data, "100");
}

#[test]
fn under_publishing_the_last_event_and_the_live_ones_are_one_sequence() {
    let daemon = daemon("server.workers = 2");
    let mut publisher = daemon.publisher();
    publish(&mut publisher, &["cache-a"], None, None, "0");
    daemon.until("askr_events_read_total", |n| n == 1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (daemon, stop) = (&daemon, &stop);
        // Also if this fails.
        let _stop = Stop(stop);
        scope.spawn(move || {
            // Some are there already, so that hand-offs are on their way in each worker; and they keep
            // the publisher from running round the ring.
            let mut there = [daemon.open("cache-a"), daemon.open("cache-a")];
            there.iter_mut().for_each(|client| drop(client.next()));
            let mut n = 0;
            while !stop.load(Relaxed) {
                for _ in 0..8 {
                    n += 1;
                    publish(&mut publisher, &["cache-a"], None, None, &n.to_string());
                    publish(&mut publisher, &["x"], None, None, "of another");
                }
                there.iter_mut().for_each(|client| drop(client.take(8)));
            }
        });
        for turn in 0..150 {
            let mut client = match turn % 3 {
                0 => daemon.open("cache-a"),
                // A stream that is live already, and one that has other events on their way.
                n => {
                    let mut client = daemon.open(["", "y", "x"][n]);
                    daemon.subscribe(&client.me(), &["cache-a"], Value::Null);
                    client
                }
            };
            let mut number = || loop {
                let data = client.next().data;
                if data != "of another" {
                    return data.parse::<u64>().unwrap();
                }
            };
            let first = number();
            for next in first + 1..first + 20 {
                assert_eq!(number(), next, "turn {turn}: neither twice nor left out");
            }
        }
    });
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
