//! Pusher's protocol against the daemon: client events, counts, users and their watchlists, presence,
//! cache channels, and recovery.

use crate::common;
use crate::common::grants::token_of;
use crate::common::ws::{KEY, Pusher, Socket, app, data};
use crate::common::{Daemon, publish};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Sends a client event.
fn whisper(client: &mut Pusher, channel: &str, event: &str, data: Value) {
    client
        .ws
        .say(&json!({"event": event, "channel": channel, "data": data}));
}

#[test]
fn client_events_go_to_the_others_of_private_channels_only() {
    let daemon = Daemon::start(&app("server.workers = 2"));
    let mut clients: Vec<Pusher> = (0..4).map(|_| Pusher::connect(&daemon)).collect();
    for client in &mut clients {
        client.subscribe("private-a");
        client.subscribe("open");
    }
    let (one, others) = clients.split_first_mut().unwrap();
    let data = json!({"x": [1, null, "é"]});
    whisper(one, "private-a", "client-typing", data.clone());
    let expected = json!({"event": "client-typing", "channel": "private-a", "data": data});
    for other in &mut *others {
        assert_eq!(other.next(), expected);
    }
    for (channel, why) in [
        ("open", "private and presence"),
        ("private-b", "subscription"),
    ] {
        whisper(one, channel, "client-x", json!(1));
        let told = one.next();
        assert_eq!(
            (&told["event"], &told["data"]["code"]),
            (&json!("pusher:error"), &Value::Null)
        );
        assert!(
            told["data"]["message"].as_str().unwrap().contains(why),
            "{told}"
        );
    }
    // It got none of its own, and the others none of what was refused.
    daemon.publish("open", "after");
    for client in &mut clients {
        assert_eq!(client.take("open", 1), ["after"]);
    }
    assert_eq!(daemon.metric("askr_client_events_total"), 1);
    assert_eq!(
        daemon.metric("askr_websocket_refused_total{what=\"client_event\"}"),
        2
    );
    // It is nowhere to be replayed from: the ring has the published event alone.
    assert_eq!(daemon.metric("askr_events_read_total"), 1);
}

#[test]
fn client_events_have_a_rate_and_the_application_a_budget() {
    let flood = |settings: &str, told: &str, counted: &str| {
        let daemon = Daemon::start(&app(settings));
        let (mut one, mut two) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
        one.subscribe("private-a");
        two.subscribe("private-a");
        for n in 0..20 {
            whisper(&mut one, "private-a", "client-n", json!(n));
        }
        one.send("pusher:ping", json!({}));
        let (mut refused, reason) = (0, told);
        loop {
            let told = one.next();
            if told["event"] == "pusher:pong" {
                break;
            }
            assert_eq!(told["data"]["code"], 4301, "{told}");
            let message = told["data"]["message"].as_str().unwrap();
            assert!(message.contains(reason), "{told}");
            refused += 1;
        }
        // What was not refused has arrived, in order.
        let passed = daemon.metric("askr_client_events_total");
        assert_eq!(passed + refused, 20);
        let counted = format!("askr_websocket_refused_total{{what=\"{counted}\"}}");
        assert_eq!(daemon.metric(&counted), refused);
        assert!(refused > 0);
        let got: Vec<u64> = (0..passed)
            .map(|_| two.next()["data"].as_u64().unwrap())
            .collect();
        assert!(got[0] == 0 && got.is_sorted(), "{got:?}");
    };
    flood("app.client_event_rate = 3", "at most 3", "rate");
    let budget = "app.client_events_total = 2\napp.client_event_rate = 1000";
    flood(budget, "the application has as many", "client_event");
}

#[test]
fn client_events_can_be_switched_off_and_have_a_size() {
    let daemon = Daemon::start(&app("app.client_events = false"));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("private-a");
    whisper(&mut client, "private-a", "client-x", json!(1));
    assert!(
        client.next()["data"]["message"]
            .as_str()
            .unwrap()
            .contains("not enabled")
    );

    let daemon = Daemon::start(&app("app.client_event_bytes = '100'"));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("private-a");
    whisper(&mut client, "private-a", "client-x", json!("x".repeat(99)));
    assert!(
        client.next()["data"]["message"]
            .as_str()
            .unwrap()
            .contains("at most 100 bytes")
    );
}

#[test]
fn subscribers_are_told_how_many_they_are_where_it_is_set_so() {
    let daemon = Daemon::start(&app("app.subscription_counts = true\nserver.workers = 2"));
    let count = |client: &mut Pusher| {
        let told = client.next();
        assert_eq!(
            told["event"], "pusher_internal:subscription_count",
            "{told}"
        );
        assert_eq!(told["channel"], "a");
        data(&told)["subscription_count"].as_u64().unwrap()
    };
    let mut one = Pusher::connect(&daemon);
    one.subscribe("a");
    assert_eq!(count(&mut one), 1);
    let mut two = Pusher::connect(&daemon);
    two.subscribe("a");
    assert_eq!((count(&mut one), count(&mut two)), (2, 2));
    // Over SSE there are subscribers as well.
    let sse = daemon.open("a");
    assert_eq!((count(&mut one), count(&mut two)), (3, 3));
    drop(sse);
    assert_eq!((count(&mut one), count(&mut two)), (2, 2));
    two.send("pusher:unsubscribe", json!({"channel": "a"}));
    assert_eq!(count(&mut one), 1);
    // Presence channels tell of their members instead.
    one.join("presence-a", "7");
    two.join("presence-a", "8");
    assert_eq!(one.next()["event"], "pusher_internal:member_added");

    let daemon = Daemon::start(&app(""));
    let (mut one, mut two) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    one.subscribe("a");
    two.subscribe("a");
    daemon.publish("a", "x");
    assert_eq!(
        one.take("a", 1),
        ["x"],
        "nothing is told where it is not set"
    );
}

#[test]
fn a_watchlist_tells_who_comes_and_goes_whichever_worker_they_are_on() {
    let daemon = Daemon::start(&app("server.workers = 2"));
    let changes = |client: &mut Pusher| {
        let told = client
            .ws
            .until(|m| m["event"] == "pusher_internal:watchlist_events");
        data(&told)["events"].clone()
    };
    let change = |name: &str, ids: &[&str]| json!({"name": name, "user_ids": ids});
    let mut ada = Pusher::connect(&daemon);
    ada.sign_in("ada", &["bob", "cyd"]);
    let success = ada.next();
    assert_eq!(success["event"], "pusher:signin_success");
    let user = data(&success)["user_data"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&user).unwrap()["id"], "ada");
    assert_eq!(
        changes(&mut ada),
        json!([change("offline", &["bob", "cyd"])])
    );
    // Enough connections that both workers have some.
    let mut bobs: Vec<Pusher> = (0..4).map(|_| Pusher::connect(&daemon)).collect();
    for bob in &mut bobs {
        bob.sign_in("bob", &[]);
        bob.ws
            .until(|m| m["event"] == "pusher_internal:subscription_succeeded");
    }
    assert_eq!(changes(&mut ada), json!([change("online", &["bob"])]));
    let mut eve = Pusher::connect(&daemon);
    eve.sign_in("eve", &["ada", "bob", "nobody"]);
    assert_eq!(
        changes(&mut eve),
        json!([
            change("online", &["ada", "bob"]),
            change("offline", &["nobody"])
        ])
    );
    // Only the last one's going is told, to everybody who watches.
    drop(bobs);
    assert_eq!(changes(&mut ada), json!([change("offline", &["bob"])]));
    assert_eq!(changes(&mut eve), json!([change("offline", &["bob"])]));
    drop(ada);
    assert_eq!(changes(&mut eve), json!([change("offline", &["ada"])]));
}

#[test]
fn a_user_has_a_channel_of_its_own_and_a_wrong_sign_in_is_closed() {
    let daemon = Daemon::start(&app(""));
    let (mut ada, mut bob) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    for (client, user) in [(&mut ada, "ada"), (&mut bob, "bob")] {
        client.sign_in(user, &[]);
        let told = client
            .ws
            .until(|m| m["event"] == "pusher_internal:subscription_succeeded");
        assert_eq!(told["channel"], format!("#server-to-user-{user}"));
    }
    daemon.publish("#server-to-user-bob", "for bob");
    daemon.publish("#server-to-user-ada", "for ada");
    assert_eq!(ada.take("#server-to-user-ada", 1), ["for ada"]);
    assert_eq!(bob.take("#server-to-user-bob", 1), ["for bob"]);
    ada.send(
        "pusher:signin",
        json!({"auth": format!("{KEY}:{}", "0".repeat(64)), "user_data": "{\"id\":\"bob\"}"}),
    );
    let (told, code, _) = ada.ws.end();
    assert_eq!((told[0]["data"]["code"].as_u64(), code), (Some(4009), 4009));
    // 101 users are more than a watchlist has.
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut eve = Pusher::connect(&daemon);
    eve.sign_in("eve", &many);
    assert_eq!(eve.next()["event"], "pusher:signin_success");
    assert_eq!(eve.next()["data"]["code"], 4302);
}

#[test]
fn members_are_the_same_over_websockets_and_sse() {
    let daemon = Daemon::start(&app("app.presence_grace = 0.0\nserver.workers = 2"));
    let mut ada = Pusher::connect(&daemon);
    let told = ada.join("presence-a", "ada");
    let ada_alone =
        json!({"presence": {"ids": ["ada"], "hash": {"ada": {"name": "ada"}}, "count": 1}});
    assert_eq!(data(&told), ada_alone);
    let token = token_of("bob", &["presence-a"], 60);
    let sse = daemon.open_with(&format!("channel=presence-a&token={token}"), &[]);
    let told = ada.next();
    assert_eq!(told["event"], "pusher_internal:member_added");
    assert_eq!(
        data(&told),
        json!({"user_id": "bob", "user_info": {"name": "user bob"}})
    );
    let mut plain = Socket::open(
        daemon.address,
        &format!(
            "/askr/ws?channel=presence-a&token={}",
            token_of("cyd", &["presence-a"], 60)
        ),
        &[],
    );
    let members = plain.until(|m| m["members"].is_object())["members"].clone();
    assert_eq!(
        (&members["channel"], &members["count"]),
        (&json!("presence-a"), &json!(3))
    );
    assert_eq!(data(&ada.next())["user_id"], "cyd");
    // A second connection of a user is nobody new, and its leaving nobody's.
    let mut again = Pusher::connect(&daemon);
    again.join("presence-a", "ada");
    drop(again);
    drop(sse);
    let told = ada.next();
    assert_eq!(
        (&told["event"], data(&told)),
        (
            &json!("pusher_internal:member_removed"),
            json!({"user_id": "bob"})
        )
    );
    assert_eq!(
        plain.until(|m| m["left"].is_object())["left"],
        json!({"channel": "presence-a", "id": "bob"})
    );
    whisper(&mut ada, "presence-a", "client-hi", json!({"n": 1}));
    let hi = plain.until(|m| m["event"] == "client-hi");
    assert_eq!(
        (&hi["data"], &hi["id"]),
        (&json!("{\"n\":1}"), &Value::Null)
    );
}

#[test]
fn a_cache_channel_gives_its_last_event_or_says_that_there_is_none() {
    let daemon = Daemon::start(&app(""));
    let mut client = Pusher::connect(&daemon);
    client.subscribe("cache-a");
    let miss = client.next();
    assert_eq!(
        (&miss["event"], &miss["channel"]),
        (&json!("pusher:cache_miss"), &json!("cache-a"))
    );
    daemon.publish("cache-a", "1");
    daemon.publish("cache-a", "2");
    assert_eq!(client.take("cache-a", 2), ["1", "2"]);
    let mut late = Pusher::connect(&daemon);
    late.subscribe("cache-a");
    assert_eq!(late.take("cache-a", 1), ["2"]);
    daemon.publish("cache-a", "3");
    assert_eq!(late.take("cache-a", 1), ["3"]);
    // A client that comes back with a cursor gets what it missed, and that once.
    let mut back = Pusher::recovering(&daemon);
    let told = back.subscribe("cache-a");
    assert_eq!(back.take("cache-a", 1), ["3"]);
    let cursor = told["id"].as_str().unwrap().to_owned();
    drop(back);
    daemon.publish("cache-a", "4");
    let mut back = Pusher::recovering(&daemon);
    back.subscribe_since("cache-a", Some(&cursor));
    daemon.publish("cache-a", "5");
    assert_eq!(back.take("cache-a", 2), ["4", "5"]);
}

#[test]
fn each_channel_goes_on_at_its_own_cursor_also_across_a_kill() {
    let mut daemon = Daemon::start(&app("server.workers = 2"));
    let mut client = Pusher::recovering(&daemon);
    client.subscribe("a");
    client.subscribe("private-b");
    let mut publisher = daemon.publisher();
    let mut next = 0..;
    let mut send = |channels: &[&str]| {
        let n = next.next().unwrap().to_string();
        publish(&mut publisher, channels, None, None, &n);
    };
    send(&["a"]);
    let a = client.next()["id"].as_str().unwrap().to_owned();
    send(&["private-b"]);
    let b = client.next()["id"].as_str().unwrap().to_owned();
    drop(client);
    for _ in 0..50 {
        send(&["a"]);
        send(&["private-b", "a"]);
    }
    daemon.signal(Signal::SIGKILL);
    daemon.restart();
    for _ in 0..50 {
        send(&["private-b"]);
    }
    let mut client = Pusher::recovering(&daemon);
    // Asked for together, as pusher-js does: answers and events are in any order between channels.
    for (channel, cursor) in [("a", &a), ("private-b", &b)] {
        let mut data = json!({"channel": channel, "askr": {"cursor": cursor}});
        if channel.starts_with("private-") {
            data["auth"] =
                common::grants::signature(KEY, &client.id, channel, None)["auth"].clone();
        }
        client.send("pusher:subscribe", data);
    }
    for _ in 0..20 {
        send(&["a", "private-b"]);
    }
    let mut got: [Vec<u64>; 2] = Default::default();
    let mut answers = 0;
    while got[0].len() < 120 || got[1].len() < 120 {
        let message = client.next();
        if message["event"] == "pusher_internal:subscription_succeeded" {
            answers += 1;
            continue;
        }
        assert_eq!(message["event"], "message", "{message}");
        let of = usize::from(message["channel"] == "private-b");
        got[of].push(message["data"].as_str().unwrap().parse().unwrap());
    }
    assert_eq!(answers, 2);
    let all = |is: fn(u64) -> bool| (2..172).filter(|n| is(*n)).collect::<Vec<u64>>();
    assert_eq!(got[0], all(|n| !(102..152).contains(&n)));
    assert_eq!(got[1], all(|n| n >= 102 || n % 2 == 1));
    assert_eq!(daemon.metric("askr_gaps_told_total"), 0);
}

#[test]
fn what_the_ring_no_longer_has_is_told_to_the_channel_with_a_number() {
    let daemon = Daemon::start(&app("ring.slots = 64\nserver.ping = 0.2"));
    let mut client = Pusher::recovering(&daemon);
    let told = client.subscribe("a");
    let first = told["id"].as_str().unwrap().to_owned();
    daemon.publish("b", "moves the ring on");
    // A ping of the server moves the cursor of a quiet channel.
    let ping = client
        .ws
        .until(|m| m["event"] == "pusher:ping" && m["id"] != first.as_str());
    let cursor = ping["id"].as_str().unwrap().to_owned();
    drop(client);
    let mut publisher = daemon.publisher();
    for n in 0..100u64 {
        publish(
            &mut publisher,
            &[if n % 10 == 0 { "a" } else { "b" }],
            None,
            None,
            &n.to_string(),
        );
        daemon.until("askr_events_read_total", |read| read > n + 1);
    }
    let mut client = Pusher::recovering(&daemon);
    client.subscribe_since("a", Some(&cursor));
    let gap = client.next();
    let lost = data(&gap)["lost"].as_u64().unwrap();
    assert_eq!(
        (&gap["event"], &gap["channel"]),
        (&json!("askr:gap"), &json!("a"))
    );
    assert_eq!(data(&gap), json!({"lost": lost, "at_most": lost}));
    assert!(lost > 0 && gap["id"].is_string());
    let rest: Vec<String> = (lost..10).map(|n| (n * 10).to_string()).collect();
    assert_eq!(client.take("a", rest.len()), rest);
    // What is no cursor of this ring: everything it has, behind a gap of unknown size.
    for cursor in ["0123456789ab-7", "nonsense"] {
        let mut client = Pusher::recovering(&daemon);
        client.subscribe_since("a", Some(cursor));
        assert_eq!(
            data(&client.next()),
            json!({"lost": null, "at_most": null}),
            "{cursor}"
        );
        assert_eq!(client.take("a", rest.len()), rest);
    }
    // A cursor is of use to those who asked for recovery alone, and harms nobody.
    let mut stock = Pusher::connect(&daemon);
    let told = stock.subscribe("a");
    assert!(told.get("id").is_none());
    daemon.publish("a", "live");
    assert_eq!(stock.take("a", 1), ["live"]);
}

#[test]
fn what_was_sent_to_a_user_who_was_away_is_there_when_it_signs_in_again() {
    let daemon = Daemon::start(&app(""));
    let channel = "#server-to-user-ada";
    let mut ada = Pusher::recovering(&daemon);
    ada.sign_in("ada", &[]);
    let told = ada.ws.until(|m| m["channel"] == channel);
    let cursor = told["id"].as_str().unwrap().to_owned();
    drop(ada);
    daemon.publish(channel, "1");
    daemon.publish(channel, "2");
    let mut ada = Pusher::recovering(&daemon);
    let data = json!({"id": "ada"}).to_string();
    let auth = common::grants::code(&format!("{}::user::{data}", ada.id));
    ada.send(
        "pusher:signin",
        json!({"auth": format!("{KEY}:{auth}"), "user_data": data, "askr": {"cursor": cursor}}),
    );
    ada.ws
        .until(|m| m["event"] == "pusher_internal:subscription_succeeded");
    daemon.publish(channel, "3");
    assert_eq!(ada.take(channel, 3), ["1", "2", "3"]);
}
