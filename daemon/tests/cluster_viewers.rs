//! What crosses hosts beside events: members, client events, disconnects and revocations, questions, changes of streams,
//! counts and watchlists. Real askrds and a real Redis.

use crate::common;
use crate::common::api::{get, ok, post};
use crate::common::grants::{SECRET, now, token_by, token_of};
use crate::common::hosts::{self, meet};
use crate::common::redis::Redis;
use crate::common::ws::{KEY, Pusher, data};
use crate::common::{Client, Daemon};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const ROOM: &str = "presence-room";

/// A host of the cluster of this Redis. `grace`: of members, in seconds.
fn host(redis: &Redis, name: &str, grace: f64) -> Daemon {
    host_with(redis, name, grace, "")
}

fn host_with(redis: &Redis, name: &str, grace: f64, more: &str) -> Daemon {
    let app = format!(
        "{more}\napp.id = 'shop'\napp.key = '{KEY}'\napp.secret = '{SECRET}'\napp.presence_grace = {grace:?}\napp.client_events = true\n\
         cluster.lease = 1.0\ncluster.grace = 1.0"
    );
    hosts::host(redis, name, &app)
}

fn pair(redis: &Redis, grace: f64) -> (Daemon, Daemon) {
    let (a, b) = (host(redis, "a", grace), host(redis, "b", grace));
    meet(&[&a, &b]);
    (a, b)
}

fn enter(daemon: &Daemon, user: &str) -> Client {
    let token = token_of(user, &[ROOM], 600);
    daemon.open_with(&format!("channel={ROOM}&token={token}"), &[])
}

/// The next change of members: who joined (true) or left.
fn change(client: &mut Client) -> (bool, String) {
    loop {
        let (event, data) = client.next_json();
        match event.as_str() {
            "askr:joined" => return (true, data["id"].as_str().unwrap().to_owned()),
            "askr:left" => return (false, data["id"].as_str().unwrap().to_owned()),
            "askr:members" => {}
            other => panic!("{other}"),
        }
    }
}

/// The members of the next snapshot.
fn snapshot(client: &mut Client) -> Vec<String> {
    let (event, data) = client.next_json();
    assert_eq!(event, "askr:members");
    let members = data["members"].as_array().unwrap().iter();
    members
        .map(|member| member["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn members_of_all_hosts_are_members_on_each_and_are_announced_once() {
    let redis = Redis::start();
    // Who leaves before a host is sure of what the others have is announced there when it is.
    let (a, b) = pair(&redis, 5.0);
    let mut ann = enter(&a, "ann");
    assert_eq!(snapshot(&mut ann), ["ann"]);
    let mut bob = enter(&b, "bob");
    assert_eq!(change(&mut ann), (true, "bob".into()));
    let seen = snapshot(&mut bob);
    if seen == ["bob"] {
        assert_eq!(change(&mut bob), (true, "ann".into()));
    } else {
        assert_eq!(seen, ["ann", "bob"]);
    }
    // Another tab of hers, at the other host; the first one goes: nobody is told of either.
    let mut tab = enter(&b, "ann");
    assert_eq!(snapshot(&mut tab), ["ann", "bob"]);
    a.until("askr_cluster_facts", |facts| facts == 2);
    assert!(a.unsubscribe(&ann.me(), &[ROOM]).is_empty());
    // What comes next says that nothing came before.
    let mut cyd = enter(&a, "cyd");
    assert_eq!(snapshot(&mut cyd), ["ann", "bob", "cyd"]);
    assert_eq!(change(&mut bob), (true, "cyd".into()));
    for host in [&a, &b] {
        assert_eq!(host.members(ROOM), ["ann", "bob", "cyd"]);
        // One that does not answer in time is left out.
        common::until(|| host.channels() == json!({ROOM: 3}));
        let users = format!("/apps/shop/channels/{ROOM}/users");
        let users: Value = serde_json::from_str(&ok(get(host, &users, &[]))).unwrap();
        assert_eq!(users["users"].as_array().unwrap().len(), 3);
    }
    // Her last tab goes, from the other host: who forwards it is not who has it.
    assert!(a.unsubscribe(&tab.me(), &[ROOM]).is_empty());
    assert_eq!(change(&mut cyd), (false, "ann".into()));
    assert_eq!(change(&mut bob), (false, "ann".into()));
}

#[test]
fn a_user_who_goes_to_another_host_within_the_grace_time_is_not_seen_to() {
    let redis = Redis::start();
    let (a, b) = pair(&redis, 5.0);
    let (mut ann, bob) = (enter(&a, "ann"), enter(&b, "bob"));
    assert_eq!(change(&mut ann), (true, "bob".into()));
    a.until("askr_cluster_facts", |facts| facts == 1);
    drop(bob);
    let _bob = enter(&a, "bob");
    // The grace time is over there.
    a.until("askr_cluster_facts", |facts| facts == 0);
    let _cyd = enter(&b, "cyd");
    assert_eq!(change(&mut ann), (true, "cyd".into()));
    assert_eq!(b.members(ROOM), ["ann", "bob", "cyd"]);
}

/// It cannot know whom the dead one had, until that one is back and says so.
#[test]
fn a_host_that_starts_while_another_one_is_dead_does_not_list_its_members() {
    let redis = Redis::start();
    let app = format!(
        "app.id = 'shop'\napp.key = '{KEY}'\napp.secret = '{SECRET}'\ncluster.lease = 600.0"
    );
    let host = |name| hosts::host(&redis, name, &app);
    let (a, mut b) = (host("a"), host("b"));
    meet(&[&a, &b]);
    let mut ann = enter(&a, "ann");
    let _bob = enter(&b, "bob");
    assert_eq!(change(&mut ann), (true, "bob".into()));
    b.signal(Signal::SIGKILL);
    b.wait();
    let c = host("c");
    let mut cyd = enter(&c, "cyd");
    assert_eq!(snapshot(&mut cyd), ["ann", "cyd"]);
    assert_eq!(change(&mut ann), (true, "cyd".into()));
    assert_eq!(a.members(ROOM), ["ann", "bob", "cyd"]);
    b.restart();
    let _bob = enter(&b, "bob");
    assert_eq!(change(&mut cyd), (true, "bob".into()));
}

#[test]
fn a_host_that_died_takes_its_members_along_and_one_that_is_back_in_time_keeps_them() {
    let redis = Redis::start();
    let (a, mut b) = pair(&redis, 1.0);
    let mut ann = enter(&a, "ann");
    let _bob = enter(&b, "bob");
    let _eve = enter(&b, "eve");
    let mut came = [change(&mut ann), change(&mut ann)];
    came.sort();
    assert_eq!(came, [(true, "bob".into()), (true, "eve".into())]);
    b.signal(Signal::SIGKILL);
    b.restart();
    let mut bob = enter(&b, "bob");
    // Who does not come back leaves; who does never did.
    assert_eq!(change(&mut ann), (false, "eve".into()));
    assert_eq!(bob.next_json().0, "askr:members");
    assert_eq!(b.members(ROOM), ["ann", "bob"]);
    b.signal(Signal::SIGKILL);
    b.wait();
    assert_eq!(change(&mut ann), (false, "bob".into()));
    assert_eq!(a.members(ROOM), ["ann"]);
}

#[test]
fn members_of_others_stay_while_redis_is_away_and_are_right_when_it_is_back() {
    let mut redis = Redis::start();
    let (a, b) = pair(&redis, 0.0);
    let mut ann = enter(&a, "ann");
    let mut bob = enter(&b, "bob");
    assert_eq!(change(&mut ann), (true, "bob".into()));
    redis.kill();
    a.says("other hosts cannot be reached");
    b.says("other hosts cannot be reached");
    let _cyd = enter(&b, "cyd");
    let _ = bob.me();
    assert_eq!(a.members(ROOM), ["ann", "bob"]);
    drop(bob);
    redis.restart();
    let mut told = [change(&mut ann), change(&mut ann)];
    told.sort();
    assert_eq!(told, [(false, "bob".into()), (true, "cyd".into())]);
}

/// Who may be on a host that cannot be heard leaves when it can, and at once if it is not there; not a grace time later.
#[test]
fn who_leaves_while_redis_is_away_leaves_when_it_is_known_that_it_is_on_no_other_host() {
    let mut redis = Redis::start();
    let (a, b) = pair(&redis, 3600.0);
    let mut ann = enter(&a, "ann");
    let (mut bob, mut eve) = (enter(&a, "bob"), enter(&a, "eve"));
    assert_eq!(change(&mut ann), (true, "bob".into()));
    assert_eq!(change(&mut ann), (true, "eve".into()));
    redis.kill();
    a.says("other hosts cannot be reached");
    b.says("other hosts cannot be reached");
    let _tab = enter(&b, "eve");
    for gone in [&mut bob, &mut eve] {
        assert!(a.unsubscribe(&gone.me(), &[ROOM]).is_empty());
    }
    // What comes next says that nothing came before.
    let _cyd = enter(&a, "cyd");
    assert_eq!(change(&mut ann), (true, "cyd".into()));
    redis.restart();
    assert_eq!(change(&mut ann), (false, "bob".into()));
    let _dan = enter(&a, "dan");
    assert_eq!(change(&mut ann), (true, "dan".into()));
    for host in [&a, &b] {
        common::until(|| host.members(ROOM) == ["ann", "cyd", "dan", "eve"]);
    }
}

#[test]
fn a_user_is_disconnected_on_all_hosts_and_its_tokens_are_refused_everywhere_and_later() {
    let mut redis = Redis::start();
    let (a, b) = pair(&redis, 0.0);
    let claims =
        json!({"channels": ["private-x"], "sub": "7", "iat": now() - 5, "exp": now() + 600});
    let token = token_by(SECRET, &claims);
    let query = format!("channel=private-x&token={token}");
    let open = |host: &Daemon| host.open_with(&query, &[]);
    let (mut on_a, mut on_b) = (open(&a), open(&b));
    let status = |host: &Daemon| {
        let target = format!("/askr/events?{query}");
        common::grants::request(host.address, "GET", &target, "", "").status
    };
    assert_eq!(a.disconnect(&json!({"user": "7"})), 2);
    on_a.end();
    on_b.end();
    assert_eq!((status(&a), status(&b)), (401, 401));
    // One that starts later has it from Redis; and Redis, once it is empty, from those that know.
    let c = host(&redis, "c", 0.0);
    meet(&[&a, &b, &c]);
    assert_eq!(status(&c), 401);
    redis.restart();
    common::until(|| redis.ask::<usize>("HLEN askr:{shop}:revoked") > 0);
}

#[test]
fn a_stream_is_changed_by_way_of_any_host() {
    let redis = Redis::start();
    let (a, mut b) = pair(&redis, 0.0);
    let mut viewer = b.open("c");
    let me = viewer.me();
    let token = token_of("7", &["private-x"], 600);
    let channels = a.subscribe(&me, &["private-x", "d"], json!({"token": token}));
    assert_eq!(channels.len(), 3);
    assert_eq!(a.unsubscribe(&me, &["c", "private-x"]), ["d"]);
    // It is checked where the stream is.
    let refused = a.try_subscribe(&me, &["private-y"], json!({"token": token}));
    assert_eq!(refused.status, 403, "{refused:?}");
    a.publish("d", "one");
    assert_eq!(viewer.take(1), ["one"]);
    // Its host is gone: the page is to come back.
    b.signal(Signal::SIGKILL);
    b.wait();
    meet(&[&a]);
    assert_eq!(a.try_subscribe(&me, &["e"], json!({})).status, 404);
}

#[test]
fn client_events_and_counts_cross_hosts_and_the_sender_is_left_out() {
    let redis = Redis::start();
    let counted = "app.subscription_counts = true";
    let (a, b) = (
        host_with(&redis, "a", 0.0, counted),
        host_with(&redis, "b", 0.0, counted),
    );
    meet(&[&a, &b]);
    let (mut one, mut two) = (Pusher::connect(&a), Pusher::connect(&b));
    assert_ne!(one.id, two.id);
    one.subscribe("private-a");
    let count = |client: &mut Pusher| {
        let told = client.next();
        assert_eq!(
            told["event"], "pusher_internal:subscription_count",
            "{told}"
        );
        data(&told)["subscription_count"].as_u64().unwrap()
    };
    assert_eq!(count(&mut one), 1);
    two.subscribe("private-a");
    assert_eq!(count(&mut one), 2);
    while count(&mut two) < 2 {}
    one.ws
        .say(&json!({"event": "client-x", "channel": "private-a", "data": {"n": 1}}));
    let told = two.next();
    assert_eq!(
        (&told["event"], &told["data"]),
        (&json!("client-x"), &json!({"n": 1}))
    );
    // An event to others than the one at the other host.
    let event = |data: &str, socket: Option<&str>| {
        let event = json!({"name": "x", "channel": "private-a", "data": data, "socket_id": socket});
        ok(post(&a, "/apps/shop/events", &event))
    };
    event("1", Some(&two.id));
    event("2", None);
    assert_eq!(one.take("private-a", 2), ["1", "2"]);
    assert_eq!(two.take("private-a", 1), ["2"]);
    drop(one);
    assert_eq!(count(&mut two), 1);
}

#[test]
fn a_watchlist_tells_of_users_on_other_hosts() {
    let redis = Redis::start();
    let (a, b) = pair(&redis, 0.0);
    let mut ada = Pusher::connect(&a);
    let events = |client: &mut Pusher| {
        let told = client
            .ws
            .until(|m| m["event"] == "pusher_internal:watchlist_events");
        data(&told)["events"].clone()
    };
    ada.sign_in("ada", &["bob"]);
    assert_eq!(
        events(&mut ada),
        json!([{"name": "offline", "user_ids": ["bob"]}])
    );
    let mut bob = Pusher::connect(&b);
    bob.sign_in("bob", &["ada"]);
    assert_eq!(
        events(&mut ada),
        json!([{"name": "online", "user_ids": ["bob"]}])
    );
    // It may be known of her a moment later only.
    while events(&mut bob) != json!([{"name": "online", "user_ids": ["ada"]}]) {}
    drop(bob);
    assert_eq!(
        events(&mut ada),
        json!([{"name": "offline", "user_ids": ["bob"]}])
    );
}

/// Pusher's HTTP API and the client's recovery: what one host is asked for is of all, and a client comes to any.
#[test]
fn the_api_of_one_host_reaches_clients_of_the_other_and_a_client_recovers_there() {
    let redis = Redis::start();
    let (a, b) = pair(&redis, 0.0);
    let mut ada = Pusher::recovering(&b);
    ada.subscribe("news");
    ada.sign_in("ada", &[]);
    ada.ws
        .until(|m| m["event"] == "pusher_internal:subscription_succeeded");
    let event = |channel: &str, data: &str| json!({"name": "x", "channel": channel, "data": data});
    let batch = json!({"batch": [event("news", "1"), event("news", "2")]});
    ok(post(&a, "/apps/shop/batch_events", &batch));
    let (first, second) = (ada.next(), ada.next());
    assert_eq!(
        (&first["data"], &second["data"]),
        (&json!("1"), &json!("2"))
    );
    ok(post(
        &a,
        "/apps/shop/events",
        &event("#server-to-user-ada", "for her"),
    ));
    let told = ada.next();
    assert_eq!(told["channel"], "#server-to-user-ada", "{told}");
    assert_eq!(told["data"], "for her");
    let info: Value = serde_json::from_str(&ok(get(&a, "/apps/shop/channels/news", &[]))).unwrap();
    assert_eq!(info["occupied"], true, "{info}");

    // She comes back to the other host, with the cursor of the first event.
    let mut back = Pusher::recovering(&a);
    back.subscribe_since("news", first["id"].as_str());
    assert_eq!(back.take("news", 1), ["2"]);
    drop(back);

    ok(post(
        &a,
        "/apps/shop/users/ada/terminate_connections",
        &json!({}),
    ));
    assert_eq!(ada.ws.code(), 4009);
}

/// What answers of Pusher's API and of the control socket say in their heads about what they lack.
fn lacks(host: &Daemon, api: &str, control: &str) -> [Vec<String>; 2] {
    let of = |head: &str| -> Vec<String> {
        let lines = head.split("\r\n\r\n").next().unwrap().lines();
        let lines = lines.map(str::to_ascii_lowercase);
        lines.filter(|line| line.starts_with("askr-")).collect()
    };
    let ring = host.ring();
    let said = host.control(&format!("{control}ring={}", ring.display()));
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    [of(&get(host, api, &[]).head), of(&said)]
}

#[test]
fn an_answer_that_lacks_a_hosts_part_says_so_in_its_head() {
    let mut redis = Redis::start();
    let (a, b) = pair(&redis, 3600.0);
    let _ann = enter(&a, "ann");
    let users = format!("/apps/shop/channels/{ROOM}/users");
    let members = format!("/members?channel={ROOM}&");
    let events = "/apps/shop/channels/c/events";
    let nothing = [Vec::<String>::new(), Vec::new()];
    let both = |line: &str| [vec![line.to_owned()], vec![line.to_owned()]];
    assert_eq!(lacks(&a, "/apps/shop/connections", "/channels?"), nothing);
    assert_eq!(lacks(&a, &users, &members), nothing);
    assert_eq!(lacks(&a, events, "/history?channel=c&"), nothing);
    b.hold_up();
    let one = both("askr-hosts-missing: 1");
    assert_eq!(lacks(&a, "/apps/shop/connections", "/channels?"), one);
    assert_eq!(lacks(&a, &users, &members), nothing, "they are known here");
    b.signal(Signal::SIGCONT);
    redis.kill();
    a.says("other hosts cannot be reached");
    assert_eq!(lacks(&a, &users, &members), both("askr-members: stale"));
    let stale = both("askr-history: stale");
    assert_eq!(lacks(&a, events, "/history?channel=c&"), stale);
    redis.restart();
    meet(&[&a, &b]);
    assert_eq!(lacks(&a, &users, &members), nothing);
}
