//! Webhooks with an application on a real socket.

use std::sync::atomic::AtomicU64;

use protocol::mac;
use serde_json::{Value, json};
use shared::secret::Secret;

use super::event::What;
use super::*;
use crate::outbound::http_client::testing::{App, Reply, app, ok};
use crate::process::heartbeats::Beat;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn credentials() -> Credentials {
    Credentials {
        key: "the-key".into(),
        secrets: [SECRET, "an older one, which signs no more"]
            .map(|text| Secret::new(&text.replace(' ', "-")).unwrap())
            .into(),
    }
}

/// Short times, but events held back stay so until the end.
fn limits() -> Limits {
    Limits {
        gather: Duration::ZERO,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(4),
        hold: Duration::from_secs(600),
        ..Limits::default()
    }
}

fn start(url: &str, limits: Limits) -> Webhooks {
    let endpoint = Endpoint {
        url: url.into(),
        ..Endpoint::default()
    };
    Webhooks::start(vec![endpoint], &credentials(), limits, Beat::unwatched()).unwrap()
}

fn occupied(channel: &str) -> Event {
    Event::new(channel, What::ChannelOccupied)
}

/// An event that is not held back, and whose channel shows its order.
fn miss(n: usize) -> Event {
    Event::new(format!("cache-{n}"), What::CacheMiss)
}

/// The events of the next request; checks its signature.
async fn events(app: &mut App) -> Vec<Value> {
    let request = app.request().await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    };
    assert_eq!(header("X-Pusher-Key"), Some("the-key"));
    assert_eq!(header("Content-Type"), Some("application/json"));
    let signature = mac::hex(&mac::sign(SECRET.as_bytes(), &[body.as_bytes()]));
    assert_eq!(header("X-Pusher-Signature"), Some(signature.as_str()));
    let body: Value = serde_json::from_str(body).unwrap();
    let age = (now_ms() as i64 - body["time_ms"].as_i64().unwrap()).unsigned_abs();
    assert!(age < 600_000, "milliseconds since 1970: {body}");
    body["events"].as_array().unwrap().clone()
}

fn now_ms() -> u64 {
    shared::segment::now_ns() / 1_000_000
}

/// The events of the next requests, until there are `count`.
async fn collect(app: &mut App, count: usize) -> Vec<Value> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(events(app).await);
    }
    all
}

fn count(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

/// Runs on another thread than the application.
async fn finish(webhooks: &Arc<Webhooks>, within: Duration) {
    let webhooks = webhooks.clone();
    let ended = tokio::task::spawn_blocking(move || webhooks.finish(within));
    ended.await.unwrap();
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn events_arrive_signed_in_order_and_in_batches() {
    let mut app = app(|_, _| Reply::Answer("204 No Content", String::new())).await;
    let limits = Limits {
        gather: LONG,
        ..limits()
    };
    let webhooks = Arc::new(start(&app.url, limits));
    for n in 0..250 {
        webhooks.submit(ClientKey::NONE, miss(n));
    }
    let sizes = [events(&mut app).await, events(&mut app).await];
    assert!(sizes.iter().all(|batch| batch.len() == 100));
    webhooks.submit(ClientKey::NONE, Event::new("c", What::ChannelVacated));
    finish(&webhooks, LONG).await;
    let rest = events(&mut app).await;
    assert_eq!(rest.len(), 51);
    assert_eq!(rest[50], json!({"name": "channel_vacated", "channel": "c"}));
    let all = sizes.into_iter().flatten().chain(rest).take(250);
    for (n, event) in all.enumerate() {
        let channel = format!("cache-{n}");
        assert_eq!(event, json!({"name": "cache_miss", "channel": channel}));
    }
    let counts = &webhooks.counts;
    assert_eq!(
        (count(&counts.delivered), count(&counts.requests)),
        (251, 3)
    );
    assert_eq!((count(&counts.failed), webhooks.waiting()), (0, 0));
    webhooks.submit(ClientKey::NONE, miss(1));
    assert_eq!(count(&counts.dropped), 1, "after the end");
}

#[tokio::test]
async fn a_batch_that_is_not_accepted_is_retried_in_the_same_order() {
    let mut app = app(|number, _| match number {
        0 => Reply::Answer("500 Internal Server Error", String::new()),
        1 => Reply::Answer("302 Found", String::new()),
        2 => Reply::Raw("nonsense\r\n\r\n".into()),
        // Part of the attempt before: the client sends a request again if the connection failed.
        3 => Reply::Answer("404 Not Found", String::new()),
        _ => ok("anything"),
    })
    .await;
    let webhooks = Arc::new(start(&app.url, limits()));
    webhooks.submit(ClientKey::NONE, occupied("a"));
    let first = events(&mut app).await;
    webhooks.submit(ClientKey::NONE, miss(1));
    for _ in 1..5 {
        assert_eq!(events(&mut app).await, first);
    }
    let next = json!([{"name": "cache_miss", "channel": "cache-1"}]);
    assert_eq!(Value::from(events(&mut app).await), next);
    finish(&webhooks, LONG).await;
    assert_eq!(app.waiting(), 0);
    let counts = &webhooks.counts;
    assert_eq!((count(&counts.delivered), count(&counts.failed)), (2, 3));
    assert_eq!(count(&counts.requests), 5);
}

#[tokio::test]
async fn an_endpoint_that_was_down_gets_its_events_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("app.sock");
    let webhooks = Arc::new(start(
        &format!("unix:{}:/askr?x=1", socket.display()),
        limits(),
    ));
    webhooks.submit(ClientKey::NONE, occupied("a"));
    while count(&webhooks.counts.failed) < 3 {
        tokio::task::yield_now().await;
    }
    let mut app = crate::outbound::http_client::testing::app_at(&socket, |_, _| ok(""));
    let received = events(&mut app).await;
    assert_eq!(
        Value::from(received),
        json!([{"name": "channel_occupied", "channel": "a"}])
    );
    finish(&webhooks, LONG).await;
    assert_eq!(
        (
            count(&webhooks.counts.delivered),
            count(&webhooks.counts.given_up)
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn a_batch_is_given_up_after_its_time_and_the_next_one_is_tried() {
    let mut app = app(|_, text| match text.contains("\"a\"") {
        true => Reply::Answer("500 Internal Server Error", String::new()),
        false => ok(""),
    })
    .await;
    let limits = Limits {
        patience: Duration::from_millis(20),
        batch: 1,
        ..limits()
    };
    let webhooks = Arc::new(start(&app.url, limits));
    webhooks.submit(ClientKey::NONE, occupied("a"));
    webhooks.submit(ClientKey::NONE, occupied("b"));
    let mut tries = 0;
    while events(&mut app).await[0]["channel"] == "a" {
        tries += 1;
    }
    assert!(tries >= 1);
    finish(&webhooks, LONG).await;
    let counts = &webhooks.counts;
    assert_eq!((count(&counts.given_up), count(&counts.delivered)), (1, 1));
    assert_eq!(webhooks.waiting(), 0);
}

#[tokio::test]
async fn room_is_bounded_by_events_and_by_bytes() {
    let app = app(|_, _| Reply::Hang).await;
    let few = Limits {
        events: 10,
        ..limits()
    };
    let small = Limits {
        bytes: 10 * miss(0).bytes(),
        ..limits()
    };
    for limits in [few, small] {
        let webhooks = Arc::new(start(&app.url, limits));
        for _ in 0..25 {
            webhooks.submit(ClientKey::NONE, miss(0));
        }
        assert_eq!(webhooks.waiting(), 10);
        assert_eq!(count(&webhooks.counts.dropped), 15);
        finish(&webhooks, Duration::ZERO).await;
        assert_eq!(
            count(&webhooks.counts.given_up),
            10,
            "nothing is lost silently"
        );
    }
}

#[tokio::test]
async fn events_of_many_threads_all_arrive_in_order() {
    let mut app = app(|_, _| ok("")).await;
    let webhooks = Arc::new(start(&app.url, limits()));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let webhooks = webhooks.clone();
            std::thread::spawn(move || {
                for n in 0..500 {
                    webhooks.submit(ClientKey::NONE, miss(1000 * thread + n));
                }
            })
        })
        .collect();
    let all = collect(&mut app, 2000).await;
    for thread in threads {
        thread.join().unwrap();
    }
    for thread in 0..4 {
        let of = |event: &Value| {
            let number: usize = event["channel"].as_str()?[6..].parse().ok()?;
            (number / 1000 == thread).then_some(number % 1000)
        };
        let order: Vec<usize> = all.iter().filter_map(of).collect();
        assert_eq!(
            order,
            (0..500).collect::<Vec<_>>(),
            "each thread's in its order"
        );
    }
    finish(&webhooks, LONG).await;
    assert_eq!(count(&webhooks.counts.delivered), 2000);
}

#[tokio::test]
async fn a_page_reload_causes_no_events() {
    let mut app = app(|_, _| ok("")).await;
    let webhooks = Arc::new(start(&app.url, limits()));
    webhooks.submit(ClientKey::NONE, occupied("a"));
    assert_eq!(events(&mut app).await.len(), 1);
    webhooks.submit(ClientKey::NONE, Event::new("a", What::ChannelVacated));
    webhooks.submit(ClientKey::NONE, occupied("a"));
    webhooks.submit(ClientKey::NONE, miss(1));
    let received = events(&mut app).await;
    assert_eq!(
        Value::from(received),
        json!([{"name": "cache_miss", "channel": "cache-1"}])
    );
    finish(&webhooks, LONG).await;
    assert_eq!((app.waiting(), count(&webhooks.counts.cancelled)), (0, 2));
}

#[tokio::test]
async fn each_endpoint_gets_the_events_it_wants_and_none_waits_for_another() {
    let hanging = app(|_, _| Reply::Hang).await;
    let mut members = app(|_, _| ok("")).await;
    let endpoint = |app: &App, events: &[&str], prefix: &str| Endpoint {
        url: app.url.clone(),
        events: events.iter().map(ToString::to_string).collect(),
        channel_prefix: prefix.into(),
        ..Endpoint::default()
    };
    let endpoints = vec![
        endpoint(&hanging, &["cache_miss"], ""),
        endpoint(&members, &["member_added", "cache_miss"], "presence-"),
    ];
    let webhooks =
        Arc::new(Webhooks::start(endpoints, &credentials(), limits(), Beat::unwatched()).unwrap());
    assert!(webhooks.wants("cache_miss") && !webhooks.wants("client_event"));
    let added = || What::MemberAdded { user: "7".into() };
    webhooks.submit(
        ClientKey::NONE,
        Event::new("presence-cache-a", What::CacheMiss),
    );
    webhooks.submit(ClientKey::NONE, Event::new("private-a", What::CacheMiss));
    webhooks.submit(
        ClientKey::NONE,
        Event::new("presence-a", What::ChannelOccupied),
    );
    webhooks.submit(ClientKey::NONE, Event::new("presence-a", added()));
    webhooks.submit(ClientKey::NONE, Event::new("other", added()));
    let names: Vec<_> = collect(&mut members, 2).await;
    let names: Vec<_> = names
        .iter()
        .map(|event| event["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cache_miss", "member_added"]);
    // The two events for the endpoint that hangs.
    while webhooks.waiting() != 2 {
        tokio::task::yield_now().await;
    }
    finish(&webhooks, Duration::ZERO).await;
}

#[test]
fn an_invalid_endpoint_is_refused_with_the_reason() {
    let bad = |url: &str, events: &[&str]| {
        let endpoint = Endpoint {
            url: url.into(),
            events: events.iter().map(ToString::to_string).collect(),
            ..Endpoint::default()
        };
        endpoint.check()
    };
    assert_eq!(bad("http://app/x", &["cache_miss"]), Ok(()));
    assert_eq!(bad("https://app/x", &[]).unwrap_err().0, "url");
    let (key, why) = bad("http://app/x", &["channel_vacant"]).unwrap_err();
    assert_eq!(key, "events");
    assert!(
        why.starts_with("\"channel_vacant\" must be one of channel_occupied,"),
        "{why}"
    );
    let unsigned = Credentials {
        secrets: Vec::new(),
        ..credentials()
    };
    let why = Webhooks::start(Vec::new(), &unsigned, limits(), Beat::unwatched()).unwrap_err();
    assert!(why.contains("a secret must be set"), "{why}");
}
