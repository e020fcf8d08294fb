//! Presence: who is there, told once each over every transport, whatever connections break and whoever restarts.

use std::collections::BTreeSet;

use crate::common;
use crate::common::api::{get, ok};
use crate::common::grants::{SECRET, signature, token, token_of};
use crate::common::ws::{KEY, Pusher, Socket, app, data, frame};
use crate::common::{Client, Daemon};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const ROOM: &str = "presence-room";
const NOTHING: Value = Value::Null;

/// `grace`: seconds.
fn daemon(grace: f64, settings: &str) -> Daemon {
    Daemon::start(&format!(
        "app.key = 'public'\napp.secret = '{SECRET}'\napp.presence_grace = {grace:?}\n{settings}"
    ))
}

fn enter(daemon: &Daemon, user: &str) -> Client {
    enter_with(daemon, user, "")
}

/// `more`: of the query.
fn enter_with(daemon: &Daemon, user: &str, more: &str) -> Client {
    let token = token_of(user, &[ROOM], 600);
    daemon.open_with(&format!("channel={ROOM}&token={token}{more}"), &[])
}

fn member(user: &str) -> Value {
    json!({"id": user, "info": {"name": format!("user {user}")}})
}

fn snapshot(users: &[&str]) -> (String, Value) {
    let members: Vec<Value> = users.iter().map(|user| member(user)).collect();
    let data = json!({"channel": ROOM, "count": members.len(), "members": members});
    ("askr:members".to_owned(), data)
}

fn joined(user: &str) -> (String, Value) {
    let mut data = member(user);
    data["channel"] = ROOM.into();
    ("askr:joined".to_owned(), data)
}

fn left(user: &str) -> (String, Value) {
    ("askr:left".to_owned(), json!({"channel": ROOM, "id": user}))
}

/// What comes next for each of them is this event, so that nothing was told before it.
fn nothing_until(daemon: &Daemon, data: &str, clients: &mut [&mut Client]) {
    daemon.publish(ROOM, data);
    for client in clients {
        let message = client.next();
        assert_eq!((&*message.event, &*message.data), ("message", data));
    }
}

#[test]
fn two_users_in_three_tabs_are_two_members_and_each_is_announced_once() {
    // Nobody waits for the grace time here: leaving is said.
    let daemon = daemon(3600.0, "");
    let mut ann = enter(&daemon, "ann");
    assert_eq!(ann.next_json(), snapshot(&["ann"]));
    let mut bob = enter(&daemon, "bob");
    assert_eq!(bob.next_json(), snapshot(&["ann", "bob"]));
    assert_eq!(ann.next_json(), joined("bob"));
    let mut tab = enter_with(&daemon, "ann", "&format=json");
    assert_eq!(tab.next_json(), snapshot(&["ann", "bob"]));
    nothing_until(&daemon, "three tabs", &mut [&mut ann, &mut bob]);
    assert_eq!(tab.next_json().1["data"], "three tabs");
    assert_eq!(daemon.members(ROOM), ["ann", "bob"]);
    assert_eq!(daemon.channels(), json!({ROOM: 3}));
    assert_eq!(daemon.metric("askr_presence_members"), 2);

    // One of her tabs goes: she is still there.
    assert!(daemon.unsubscribe(&ann.me(), &[ROOM]).is_empty());
    nothing_until(&daemon, "one tab fewer", &mut [&mut bob]);
    assert_eq!(tab.next_json().1["data"], "one tab fewer");
    assert!(daemon.unsubscribe(&tab.me(), &[ROOM]).is_empty());
    assert_eq!(bob.next_json(), left("ann"));
    assert_eq!(daemon.members(ROOM), ["bob"]);

    // Back on the same stream, by a Pusher signature for its socket id.
    let me = ann.me();
    let data = json!({"user_id": "ann", "user_info": {"name": "user ann"}}).to_string();
    let auth = json!({"auth": {ROOM: signature("public", &me.id, ROOM, Some(&data))}});
    assert_eq!(daemon.subscribe(&me, &[ROOM], auth.clone()), [ROOM]);
    assert_eq!(ann.next_json(), snapshot(&["ann", "bob"]));
    assert_eq!(bob.next_json(), joined("ann"));
    // Who asks again is told again, and nobody else hears of it.
    assert_eq!(daemon.subscribe(&me, &[ROOM], auth), [ROOM]);
    assert_eq!(ann.next_json(), snapshot(&["ann", "bob"]));
    nothing_until(&daemon, "the same again", &mut [&mut ann, &mut bob]);
    let stolen = json!({"auth": {ROOM: signature("public", "1.2", ROOM, Some(&data))}});
    assert_eq!(daemon.try_subscribe(&tab.me(), &[ROOM], stolen).status, 401);
    nothing_until(&daemon, "the end", &mut [&mut ann, &mut bob]);
}

#[test]
fn a_lost_connection_leaves_after_the_grace_time_and_one_that_is_back_has_never_left() {
    let short = daemon(0.3, "");
    let mut ann = enter(&short, "ann");
    assert_eq!(ann.next_json(), snapshot(&["ann"]));
    let bob = enter(&short, "bob");
    assert_eq!(ann.next_json(), joined("bob"));
    drop(bob);
    assert_eq!(ann.next_json(), left("bob"));
    // And he may come again.
    let mut bob = enter(&short, "bob");
    assert_eq!(bob.next_json(), snapshot(&["ann", "bob"]));
    assert_eq!(ann.next_json(), joined("bob"));

    let long = daemon(3600.0, "");
    let mut ann = enter(&long, "ann");
    assert_eq!(ann.next_json(), snapshot(&["ann"]));
    let mut bob = enter(&long, "bob");
    assert_eq!(ann.next_json(), joined("bob"));
    assert_eq!(bob.next_json(), snapshot(&["ann", "bob"]));
    nothing_until(&long, "before", &mut [&mut ann, &mut bob]);
    let cursor = bob.parser.last_event_id().to_owned();
    drop(bob);
    long.until("askr_streams", |n| n == 1);
    assert_eq!(
        long.members(ROOM),
        ["ann", "bob"],
        "he may be back in a moment"
    );
    long.publish(ROOM, "meanwhile");
    let mut bob = enter_with(&long, "bob", &format!("&last_event_id={cursor}"));
    // A resume gets a snapshot, and what it missed.
    assert_eq!(bob.next_json(), snapshot(&["ann", "bob"]));
    assert_eq!(bob.next().data, "meanwhile");
    assert_eq!(ann.next().data, "meanwhile");
    nothing_until(&long, "after", &mut [&mut ann, &mut bob]);
}

#[test]
fn a_killed_daemon_is_not_seen_as_everybody_leaving_and_coming() {
    let mut daemon = daemon(2.0, "");
    let mut users = Vec::new();
    for (n, user) in ["ann", "bob", "carol"].into_iter().enumerate() {
        let mut client = enter(&daemon, user);
        assert_eq!(client.next_json().1["count"], n + 1);
        users.push((user, client));
    }
    let mut held = Vec::new();
    for (n, (user, mut client)) in users.into_iter().enumerate() {
        ["bob", "carol"][n..]
            .iter()
            .for_each(|next| assert_eq!(client.next_json(), joined(next)));
        held.push((user, client.cursor_after("")));
    }
    daemon.signal(Signal::SIGKILL);
    daemon.publish(ROOM, "while it was away");
    daemon.restart();
    // Carol is gone for good.
    let back = |(user, cursor): &(&str, String)| {
        enter_with(&daemon, user, &format!("&last_event_id={cursor}"))
    };
    let (mut ann, mut bob) = (back(&held[0]), back(&held[1]));
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.next().data, "while it was away");
        assert_eq!(client.next_json(), snapshot(&["ann", "bob"]));
    }
    nothing_until(&daemon, "no flicker", &mut [&mut ann, &mut bob]);
    let mut dave = enter(&daemon, "dave");
    assert_eq!(dave.next_json(), snapshot(&["ann", "bob", "dave"]));
    assert_eq!(ann.next_json(), joined("dave"));
    assert_eq!(bob.next_json(), joined("dave"));

    // A restart on purpose announces nothing either.
    daemon.signal(Signal::SIGTERM);
    for client in [&mut ann, &mut bob, &mut dave] {
        assert_eq!(client.end(), [], "only the end");
    }
}

#[test]
fn a_reader_that_does_not_read_gets_a_snapshot_when_it_goes_on() {
    let daemon = daemon(0.0, "server.outbox_frames = 4\nring.arena = '64MiB'");
    let mut slow = enter(&daemon, "slow");
    assert_eq!(slow.next_json(), snapshot(&["slow"]));
    let large = "x".repeat(1 << 20);
    let mut sent = 0;
    while daemon.metric("askr_slow_clients_total{action=\"replay\"}") == 0 {
        daemon.publish(ROOM, &large);
        sent += 1;
        daemon.until("askr_events_read_total", |n| n == sent);
    }
    let mut witness = enter(&daemon, "witness");
    assert_eq!(witness.next_json().1["count"], 2);
    let mut here = Vec::new();
    for n in 0..20 {
        let user = format!("u{n}");
        here.push(enter(&daemon, &user));
        assert_eq!(witness.next_json(), joined(&user));
    }
    while here.len() > 3 {
        drop(here.remove(0));
        let (event, _) = witness.next_json();
        assert_eq!(event, "askr:left");
    }
    assert!(daemon.metric("askr_ephemeral_missed_total") > 0);
    daemon.publish(ROOM, "the last");
    // What it puts together from all it is told.
    let mut seen: BTreeSet<String> = BTreeSet::from(["slow".to_owned()]);
    let (mut snapshots, mut last) = (0, false);
    let due: BTreeSet<String> = ["slow", "witness", "u17", "u18", "u19"]
        .map(str::to_owned)
        .into();
    while !last || snapshots == 0 || seen != due {
        let message = slow.next();
        let data: Value = serde_json::from_str(&message.data).unwrap_or_default();
        match message.event.as_str() {
            "askr:members" => {
                snapshots += 1;
                let members = data["members"].as_array().unwrap();
                let id = |member: &Value| member["id"].as_str().unwrap().to_owned();
                seen = members.iter().map(id).collect();
            }
            "askr:joined" => assert!(seen.insert(data["id"].as_str().unwrap().to_owned())),
            "askr:left" => assert!(seen.remove(data["id"].as_str().unwrap())),
            "message" => last |= message.data == "the last",
            other => panic!("{other}"),
        }
    }
    // And from then on everything again.
    drop(here.pop());
    assert_eq!(slow.next_json(), left("u19"));
}

#[test]
fn who_has_no_name_stays_outside() {
    let daemon = daemon(1.0, "");
    let nameless = token(&["presence-*"], 60);
    let query = format!("channel={ROOM}&token={nameless}");
    let mut client = Client::connect(daemon.address);
    client.request(&format!("/askr/events?{query}"), &[]);
    assert!(client.head.starts_with("HTTP/1.1 403 "), "{}", client.head);
    let mut stream = daemon.open("a");
    let me = stream.me();
    let said = daemon.try_subscribe(&me, &[ROOM], json!({"token": nameless}));
    assert_eq!(said.status, 403, "{said:?}");
    assert!(said.body.contains("no user is named"), "{said:?}");
    assert_eq!(daemon.try_subscribe(&me, &[ROOM], NOTHING).status, 401);
    let auth = json!({"auth": {ROOM: signature("public", &me.id, ROOM, None)}});
    assert_eq!(daemon.try_subscribe(&me, &[ROOM], auth).status, 401);
    assert!(daemon.members(ROOM).is_empty());
}

#[test]
fn members_are_limited_and_the_next_is_refused_and_counted() {
    let daemon = daemon(0.0, "app.channel_members = 2\napp.members = 3");
    let (mut ann, bob) = (enter(&daemon, "ann"), enter(&daemon, "bob"));
    let refused = || {
        let by = daemon.metric("askr_refused_total{limit=\"members\"}");
        (by, daemon.metric("askr_presence_refused_total"))
    };
    // An EventSource is told to come back.
    let mut third = enter(&daemon, "third");
    assert!(third.end().is_empty() && third.parser.retry().is_some());
    assert_eq!(refused(), (1, 1));
    // A page that has a stream is told why, and keeps what it had.
    let mut stream = daemon.open("a");
    let more = |user: &str, room: &str| json!({"token": token_of(user, &[room], 60)});
    let said = daemon.try_subscribe(&stream.me(), &["b", ROOM], more("third", ROOM));
    assert_eq!(said.status, 409, "{said:?}");
    assert!(said.body.contains("as many members"), "{said:?}");
    assert_eq!(refused(), (2, 2));
    assert_eq!(daemon.channels(), json!({"a": 1, ROOM: 2}));
    // A second tab is no new member.
    let mut tab = enter(&daemon, "ann");
    assert_eq!(tab.next_json(), snapshot(&["ann", "bob"]));
    // All channels together.
    let other = daemon.subscribe(&stream.me(), &["presence-b"], more("third", "presence-b"));
    assert_eq!(other, ["a", "presence-b"]);
    let said = daemon.try_subscribe(&stream.me(), &["presence-c"], more("third", "presence-c"));
    assert_eq!(said.status, 409, "{said:?}");
    assert_eq!(daemon.metric("askr_presence_members"), 3);
    // Whoever goes makes room.
    assert_eq!(ann.next_json().0, "askr:members");
    assert_eq!(ann.next_json(), joined("bob"));
    drop(bob);
    assert_eq!(ann.next_json(), left("bob"));
    let mut third = enter(&daemon, "third");
    assert_eq!(third.next_json(), snapshot(&["ann", "third"]));
    assert_eq!(ann.next_json(), joined("third"));
}

#[test]
fn refused_at_one_channel_a_user_is_a_member_of_none() {
    let daemon = daemon(3600.0, "app.channel_members = 1");
    let mut watcher = daemon.open_with(
        &format!("channel=presence-b&token={}", token_of("ann", &["*"], 60)),
        &[],
    );
    assert_eq!(watcher.next_json().0, "askr:members");
    let both = format!(
        "channel={ROOM}&channel=presence-b&token={}",
        token_of("bob", &["*"], 60)
    );
    let mut bob = daemon.open_with(&both, &[]);
    assert!(bob.end().is_empty());
    assert!(daemon.members(ROOM).is_empty(), "he never got in");
    assert_eq!(daemon.metric("askr_presence_members"), 1);
}

/// A client asks for the room as this user, and does not wait for the answer.
fn ask(client: &mut Pusher, user: &str) {
    let text = json!({"user_id": user, "user_info": {"name": user}}).to_string();
    let mut more = signature(KEY, &client.id, ROOM, Some(&text));
    more["channel"] = ROOM.into();
    client.send("pusher:subscribe", more);
}

fn ids(told: &Value) -> Value {
    assert_eq!(
        told["event"], "pusher_internal:subscription_succeeded",
        "{told}"
    );
    data(told)["presence"]["ids"].clone()
}

/// What the HTTP API says of the room.
fn of_room(daemon: &Daemon) -> Value {
    let info = [("info", "user_count,subscription_count")];
    let said = ok(get(daemon, &format!("/apps/7/channels/{ROOM}"), &info));
    let listed = ok(get(daemon, "/apps/7/channels", &[("info", "user_count")]));
    let (said, listed): (Value, Value) = (
        serde_json::from_str(&said).unwrap(),
        serde_json::from_str(&listed).unwrap(),
    );
    let is_listed = listed["channels"].get(ROOM).is_some();
    assert_eq!(said["occupied"], is_listed, "{said} {listed}");
    assert_eq!(said["occupied"], said["user_count"] != 0, "{said}");
    said
}

#[test]
fn after_a_planned_restart_a_channel_waits_for_its_own_members_and_no_longer() {
    let long = format!("app.presence_grace = 3600.0\n{}", app(""));
    let mut daemon = Daemon::start(&long);
    let (mut ada, mut bob) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    ada.join(ROOM, "ada");
    bob.join(ROOM, "bob");
    assert_eq!(ada.next()["event"], "pusher_internal:member_added");
    daemon.signal(Signal::SIGTERM);
    assert_eq!((ada.ws.code(), bob.ws.code()), (4200, 4200));
    assert!(daemon.wait().success());
    daemon.restart();
    let expected = json!({"occupied": true, "user_count": 2, "subscription_count": 0});
    assert_eq!(of_room(&daemon), expected, "they may be back in a moment");
    // A channel that nobody was on before does not wait, and hers does until he is back, too.
    let (mut ada, mut bob) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    let mut cyd = Pusher::connect(&daemon);
    cyd.join("presence-other", "cyd");
    ask(&mut ada, "ada");
    ada.send("pusher:ping", json!({}));
    assert_eq!(ada.next()["event"], "pusher:pong", "not yet");
    // Who was not there before is news to the application alone.
    ask(&mut cyd, "cyd");
    cyd.send("pusher:ping", json!({}));
    assert_eq!(cyd.next()["event"], "pusher:pong", "not yet");
    assert_eq!(ids(&bob.join(ROOM, "bob")), json!(["ada", "bob", "cyd"]));
    for client in [&mut ada, &mut cyd] {
        assert_eq!(ids(&client.next()), json!(["ada", "bob", "cyd"]));
    }
    // From here on everything is told.
    bob.send("pusher:unsubscribe", json!({"channel": ROOM}));
    for client in [&mut ada, &mut cyd] {
        let told = client.next();
        assert_eq!(told["event"], "pusher_internal:member_removed", "{told}");
        assert_eq!(data(&told), json!({"user_id": "bob"}));
    }
}

#[test]
fn after_a_planned_restart_who_is_not_back_in_time_has_left() {
    let mut daemon = Daemon::start(&format!("app.presence_grace = 1.0\n{}", app("")));
    let (mut ada, mut bob) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    ada.join(ROOM, "ada");
    bob.join(ROOM, "bob");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    daemon.restart();
    let mut ada = Pusher::connect(&daemon);
    ask(&mut ada, "ada");
    assert_eq!(ids(&ada.next()), json!(["ada"]));
    assert_eq!(of_room(&daemon)["user_count"], 1);
}

#[test]
fn after_a_start_nobody_waits_where_nobody_was_before() {
    let settings = format!("app.presence_grace = 3600.0\n{}", app(""));
    let mut daemon = Daemon::start(&settings);
    let note = daemon.ring().with_added_extension("present");
    let join = |daemon: &Daemon| {
        let mut ada = Pusher::connect(daemon);
        assert_eq!(ids(&ada.join(ROOM, "ada")), json!(["ada"]));
        ada
    };
    // She leaves before each end, whatever end it is.
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGKILL] {
        let mut ada = join(&daemon);
        ada.send("pusher:unsubscribe", json!({"channel": ROOM}));
        ada.send("pusher:ping", json!({}));
        assert_eq!(ada.next()["event"], "pusher:pong");
        common::until(|| !std::fs::read_to_string(&note).unwrap().contains("somebody"));
        daemon.signal(signal);
        daemon.wait();
        daemon.restart();
    }
    // She is there at the end, and the only one: she does not wait for herself.
    let ada = join(&daemon);
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    drop(ada);
    daemon.restart();
    let ada = join(&daemon);
    // After a kill it is not known who was there. A note that cannot be read is the same.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    drop(ada);
    assert!(std::fs::read_to_string(&note).unwrap().contains("somebody"));
    std::fs::write(&note, "askr present 1\nmembers 1\nprivate-a\tada\n").unwrap();
    daemon.restart();
    let why = "line 3 must be a presence channel and a user";
    assert!(daemon.log().iter().any(|line| line.contains(why)));
    let mut ada = Pusher::connect(&daemon);
    ask(&mut ada, "ada");
    ada.send("pusher:ping", json!({}));
    assert_eq!(ada.next()["event"], "pusher:pong", "she waits");
}

#[test]
fn who_closes_on_purpose_leaves_at_once_and_who_is_lost_may_come_back() {
    let daemon = Daemon::start(&format!("app.presence_grace = 3600.0\n{}", app("")));
    let mut ada = Pusher::connect(&daemon);
    ada.join(ROOM, "ada");
    let close = |code: Option<u16>| {
        let code = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
        frame(0x88, &code)
    };
    let mut told = |event: &str, user: &str| {
        let message = ada.next();
        let event = format!("pusher_internal:member_{event}");
        assert_eq!(message["event"], *event, "{message}");
        assert_eq!(data(&message)["user_id"], user);
    };
    let mut kept = Vec::new();
    for (user, code, leaves) in [
        ("normal", Some(1000), true),
        ("without", None, true),
        // A page that is loaded anew.
        ("away", Some(1001), false),
        ("other", Some(3000), false),
    ] {
        let mut client = Pusher::connect(&daemon);
        client.join(ROOM, user);
        told("added", user);
        client.ws.raw(&close(code));
        if let Some(code) = code {
            assert_eq!(client.ws.code(), code);
        }
        if leaves {
            told("removed", user);
        } else {
            kept.push(user);
        }
    }
    // The plain protocol is the same.
    let token = token_of("plain", &[ROOM], 60);
    let path = format!("/askr/ws?channel={ROOM}&token={token}");
    let mut plain = Socket::open(daemon.address, &path, &[]);
    told("added", "plain");
    plain.raw(&close(Some(1000)));
    told("removed", "plain");
    // Of two connections of a user one is closed: the user is still there.
    let mut two = [Pusher::connect(&daemon), Pusher::connect(&daemon)];
    two.iter_mut().for_each(|tab| drop(tab.join(ROOM, "two")));
    told("added", "two");
    two[0].ws.raw(&close(Some(1000)));
    assert_eq!(two[0].ws.code(), 1000);
    // Lost without a word, and ended by askrd.
    let mut lost = Pusher::connect(&daemon);
    lost.join(ROOM, "lost");
    told("added", "lost");
    drop(lost);
    let mut ended = Pusher::connect(&daemon);
    ended.join(ROOM, "ended");
    told("added", "ended");
    assert_eq!(daemon.disconnect(&json!({"socket_id": ended.id})), 1);
    ended.ws.code();
    daemon.until("askr_streams", |n| n == 2);
    kept.extend(["ada", "ended", "lost", "two"]);
    kept.sort_unstable();
    assert_eq!(daemon.members(ROOM), kept);
    assert_eq!(of_room(&daemon)["user_count"], kept.len());
    // Nothing else was told.
    daemon.publish(ROOM, "the end");
    assert_eq!(ada.take(ROOM, 1), ["the end"]);
}

#[test]
fn a_channel_is_occupied_as_long_as_it_has_a_member() {
    let daemon = Daemon::start(&format!("app.presence_grace = 3600.0\n{}", app("")));
    let nobody = json!({"occupied": false, "user_count": 0, "subscription_count": 0});
    assert_eq!(of_room(&daemon), nobody);
    let mut ada = Pusher::connect(&daemon);
    ada.join(ROOM, "ada");
    drop(ada);
    daemon.until("askr_streams", |n| n == 0);
    let in_grace = json!({"occupied": true, "user_count": 1, "subscription_count": 0});
    assert_eq!(of_room(&daemon), in_grace);
    let users = ok(get(&daemon, &format!("/apps/7/channels/{ROOM}/users"), &[]));
    assert_eq!(users, r#"{"users":[{"id":"ada"}]}"#);
    let mut ada = Pusher::connect(&daemon);
    ada.join(ROOM, "ada");
    ada.send("pusher:unsubscribe", json!({"channel": ROOM}));
    daemon.until("askr_presence_members", |n| n == 0);
    assert_eq!(of_room(&daemon), nobody);
}
