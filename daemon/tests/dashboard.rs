//! The dashboard as HTTP: that what it shows is what is so, and what is asked for and done there.

use crate::common;
use crate::common::dashboard::{Live, Page, page, secrets};
use crate::common::grants::{SECRET, now, token_by, token_of};
use crate::common::hosts::{self, meet};
use crate::common::publish;
use crate::common::redis::Redis;
use askrd::observe::dashboard::snapshot;
use askrd::observe::metrics_page;
use serde_json::{Value, json};

const ROOM: &str = "presence-room";

#[test]
fn bad_requests_are_refused_by_what_is_wrong() {
    let page = page("");
    let cookie = page.login();
    for (path, status, why) in [
        ("/members", 400, "app is missing"),
        ("/members?app=askr", 400, "channel is missing"),
        ("/members?app=other&channel=a", 404, "no such application"),
        ("/events?app=askr&channel=%ff", 400, "channel"),
        ("/events?app=askr&channel=%0a", 400, "channel"),
    ] {
        let answer = page.get(path, &cookie);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.contains(why), "{path}: {}", answer.body);
    }
    for body in [
        "",
        "{}",
        "[]",
        r#"{"app":"askr"}"#,
        r#"{"app":"askr","socket":"1.2","user":"7"}"#,
        r#"{"app":"askr","socket":"x"}"#,
        r#"{"app":"askr","user":""}"#,
    ] {
        let answer = page.post("/end", &cookie, &page.origin(), body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
    }
    let long = "x".repeat(5000);
    assert_eq!(
        page.post("/end", &cookie, &page.origin(), &long).status,
        413
    );
    assert_eq!(page.get("/end", &cookie).status, 405);
    assert_eq!(page.post("/live", &cookie, &page.origin(), "").status, 405);
}

#[test]
fn what_it_shows_is_what_is_so() {
    let page = page(&format!(
        "app.secret = '{SECRET}'\napp.key = 'app-key'\napp.max_channels = 500\n"
    ));
    let cookie = page.login();
    let hostile = "<img src=x onerror=alert(1)>\"'&lt;";
    let token = token_of("7", &[ROOM], 600);
    let mut members = page
        .daemon
        .open_with(&format!("channel={ROOM}&token={token}"), &[]);
    members.me();
    let escaped: String = hostile.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut one = page
        .daemon
        .open_with(&format!("channel=a&channel={escaped}"), &[]);
    let _two = page.daemon.open("a");
    let mut live = page.live(&cookie);
    let past = live.next("past");
    assert_eq!(past["values"][0], "streams");
    // Counted from when somebody looks.
    live.next("now");
    let mut publisher = page.daemon.publisher();
    for n in 0..30 {
        publish(&mut publisher, &["a"], None, None, &n.to_string());
        if n % 3 == 0 {
            publish(&mut publisher, &[hostile], None, None, hostile);
        }
    }
    for _ in 0..40 {
        one.next();
    }
    let now = live.until(|now| {
        now["applications"][0]["looked"]["busiest"][1]["count"] == 10
            && now["applications"][0]["looked"]["largest"][0]["count"] == 2
    });
    let app = &now["applications"][0];
    assert_eq!(app["id"], "askr");
    assert_eq!(
        app["streams"],
        json!({"sse": 3, "websocket": 0, "pusher": 0})
    );
    assert_eq!((&app["channels"], &app["members"]), (&json!(3), &json!(1)));
    assert_eq!((&app["events"], &app["frames"]), (&json!(40), &json!(70)));
    assert_eq!(now["totals"]["streams"], 3);
    assert_eq!(
        app["looked"]["busiest"],
        json!([{"channel": "a", "count": 30}, {"channel": hostile, "count": 10}])
    );
    assert_eq!(app["looked"]["busiest_exact"], true);
    assert_eq!(
        app["looked"]["largest"][0],
        json!({"channel": "a", "count": 2})
    );
    let channels = app["limits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|l| l["name"] == "channels");
    assert_eq!(
        (&channels.unwrap()["used"], &channels.unwrap()["most"]),
        (&json!(3), &json!(500))
    );
    let said = page
        .get(&format!("/members?app=askr&channel={ROOM}"), &cookie)
        .json();
    assert_eq!(
        (&said["all"], &said["members"][0]["id"]),
        (&json!(1), &json!("7"))
    );
    let said = page
        .get(&format!("/events?app=askr&channel={escaped}"), &cookie)
        .json();
    let events = said["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[9]["data"]), (10, &json!(hostile)));
    // A user's connections end on request.
    let body = json!({"app": "askr", "user": "7"}).to_string();
    assert_eq!(
        page.post("/end", &cookie, &page.origin(), &body).json()["ended"],
        1
    );
    live.until(|now| now["totals"]["streams"] == 2);
    // What is refused says what to change.
    let said = common::exchange(
        page.daemon.address,
        b"GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\nOrigin: https://other.example\r\nConnection: close\r\n\r\n",
    );
    assert!(said.starts_with("HTTP/1.1 403 "), "{said}");
    let now = live.until(|now| !now["refusals"]["notes"].as_array().unwrap().is_empty());
    let note = now["refusals"]["notes"][0]["text"].as_str().unwrap();
    assert!(
        note.contains("allowed_origins") && note.contains("https://other.example"),
        "{note}"
    );
    assert_eq!(
        now["refusals"]["reasons"],
        json!([{"reason": "origin", "count": 1}])
    );
    assert_eq!(
        now["refusals"]["statuses"],
        json!([{"status": "403", "count": 1}])
    );
}

#[test]
fn viewers_are_let_go_and_welcome_again() {
    let page = page("");
    let cookie = page.login();
    let order = |body: &str| page.post("/drain", &cookie, &page.origin(), body).status;
    for body in [
        "",
        "{}",
        r#"{"over":-1}"#,
        r#"{"over":3601}"#,
        r#"{"stop":false}"#,
    ] {
        assert_eq!(order(body), 400, "{body}");
    }
    assert_eq!(
        page.post("/drain", "", &page.origin(), r#"{"over":0}"#)
            .status,
        401
    );
    let _viewer = page.daemon.open("a");
    let mut live = page.live(&cookie);
    live.until(|now| now["totals"]["streams"] == 1 && now["draining"].is_null());
    assert_eq!(order(r#"{"over":0}"#), 200);
    let now = live.until(|now| now["totals"]["streams"] == 0);
    assert_eq!(now["draining"], 0);
    assert_eq!(order(r#"{"stop":true}"#), 200);
    live.until(|now| now["draining"].is_null());
    let _viewer = page.daemon.open("a");
    live.until(|now| now["totals"]["streams"] == 1);
}

#[test]
fn slow_clients_are_shown_with_what_waits_for_them() {
    let page = page("server.outbox_bytes = '64KiB'\n");
    let cookie = page.login();
    let mut slow = page.daemon.open("a");
    let id = slow.me().id;
    let mut live = page.live(&cookie);
    let mut publisher = page.daemon.publisher();
    let mut found = Value::Null;
    // Its socket takes some megabytes before it is full.
    while found.is_null() {
        for _ in 0..50 {
            publish(&mut publisher, &["a"], None, None, &"x".repeat(100_000));
        }
        found = live.next("now")["applications"][0]["looked"]["slow"][0].clone();
    }
    assert_eq!(
        (&found["socket"], &found["transport"]),
        (&json!(id), &json!("sse"))
    );
    assert_eq!(
        (&found["channels"], &found["user"]),
        (&json!(1), &Value::Null)
    );
}

#[test]
fn who_does_not_read_holds_up_nobody_and_who_goes_away_is_forgotten() {
    let page = page("");
    let cookie = page.login();
    let held: Vec<Live> = (0..20).map(|_| page.live(&cookie)).collect();
    let mut live = page.live(&cookie);
    (0..3).for_each(|_| drop(live.next("now")));
    drop(held);
    live.next("now");
    drop(live);
    // Counted anew for the next one: nothing is held for those who are gone.
    page.daemon.publish("a", "1");
    let mut live = page.live(&cookie);
    live.next("now");
}

#[test]
fn members_are_cut_where_there_are_many_with_large_infos() {
    let page = page(&format!(
        "app.secret = '{SECRET}'\napp.key = 'app-key'\napp.channel_members = 1000\n"
    ));
    let cookie = page.login();
    let info = json!({"about": "x".repeat(900)});
    let _members: Vec<_> = (0..400)
        .map(|n| {
            let claims = json!({"channels": [ROOM], "sub": n.to_string(), "info": info,
                "iat": now(), "exp": now() + 600});
            let query = format!("channel={ROOM}&token={}", token_by(SECRET, &claims));
            page.daemon.open_with(&query, &[])
        })
        .collect();
    let answer = page.get(&format!("/members?app=askr&channel={ROOM}"), &cookie);
    let said = answer.json();
    assert_eq!(said["all"], 400);
    let some = said["members"].as_array().unwrap().len();
    assert!((200..400).contains(&some), "{some}");
    assert!(answer.body.len() < 300 << 10, "{}", answer.body.len());
}

#[test]
fn what_is_sent_to_operators_is_no_longer_than_the_ceiling_counts() {
    let page = page("server.max_channels = 1000\n");
    let cookie = page.login();
    // As long as names may be, of what takes two characters as JSON.
    let name = |n: usize| format!("{}{n:03}", "\"".repeat(197));
    let escaped = |n: usize| format!("{}{n:03}", "%22".repeat(197));
    let _viewers: Vec<_> = (0..30).map(|n| page.daemon.open(&escaped(n))).collect();
    let mut live = page.live(&cookie);
    live.next("now");
    let mut publisher = page.daemon.publisher();
    for n in 0..30 {
        publish(&mut publisher, &[&name(n)], None, None, "x");
    }
    for n in 0..32 {
        let origin = format!("https://{n}{}", "\"".repeat(300));
        let head = format!(
            "GET /askr/events?channel=a HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        );
        common::exchange(page.daemon.address, head.as_bytes());
    }
    let now = live.until(|now| {
        let looked = &now["applications"][0]["looked"];
        let all = |list: &str| looked[list].as_array().unwrap().len();
        let notes = now["refusals"]["notes"].as_array().unwrap().len();
        all("busiest") == 20 && all("largest") == 20 && notes == 32
    });
    let (picture, most) = (now.to_string().len() as u64, snapshot::ceiling(1));
    assert!(picture > 20_000 && picture < most, "{picture} of {most}");
    let (text, most) = (
        page.daemon.control("/metrics").len() as u64,
        metrics_page::ceiling(1),
    );
    assert!(text > 20_000 && text < most, "{text} of {most}");
}

#[test]
fn what_other_hosts_part_is_of_before_is_said() {
    let mut redis = Redis::start();
    let (secrets, file) = secrets();
    let more = format!(
        "server.dashboard = '127.0.0.1:0'\nserver.dashboard_secret_file = '{file}'\napp.id = 'shop'\napp.secret = '{SECRET}'\n\
         app.key = 'app-key'"
    );
    let page = Page::of(hosts::host(&redis, "a", &more), secrets);
    let cookie = page.login();
    let says = |path: &str, name: &str| {
        let answer = page.get(&format!("{path}?app=shop&channel={ROOM}"), &cookie);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.header(name).map(str::to_owned)
    };
    let both = || {
        [
            says("/members", "askr-members"),
            says("/events", "askr-history"),
        ]
    };
    meet(&[&page.daemon]);
    assert_eq!(both(), [None, None]);
    redis.kill();
    page.daemon.says("other hosts cannot be reached");
    assert_eq!(both(), [Some("stale".to_owned()), Some("stale".to_owned())]);
}
