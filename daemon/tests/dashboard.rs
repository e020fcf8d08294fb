//! The dashboard as HTTP: who may see it, and that what it shows is what is so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::common;
use crate::common::grants::{SECRET, now, token_by, token_of};
use crate::common::{Daemon, PATIENCE, askrd, publish, refused, write_settings};
use askrd::observe::dashboard::snapshot;
use askrd::observe::metrics_page;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const OPERATOR: &str = "the-operators-own-secret";
const ROOM: &str = "presence-room";

struct Page {
    daemon: Daemon,
    at: SocketAddr,
    _secrets: TempDir,
}

/// A file with the operator's secret.
fn secrets() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    write_settings(&file, OPERATOR);
    let name = file.to_str().unwrap().to_owned();
    (directory, name)
}

fn page(settings: &str) -> Page {
    let (secrets, file) = secrets();
    let daemon = Daemon::start(&format!(
        "server.dashboard = '127.0.0.1:0'\nserver.dashboard_secret_file = '{file}'\n{settings}"
    ));
    Page {
        at: daemon.operators("server.dashboard"),
        daemon,
        _secrets: secrets,
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}{}", self.head, self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }
}

fn ask(mut socket: impl Read + Write, head: &str, body: &str) -> Answer {
    let length = body.len();
    write!(socket, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

impl Page {
    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn get(&self, path: &str, cookie: &str) -> Answer {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n",
            self.at
        );
        ask(self.connect(), &head, "")
    }

    fn post(&self, path: &str, cookie: &str, origin: &str, body: &str) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n{origin}",
            self.at
        );
        ask(self.connect(), &head, body)
    }

    fn origin(&self) -> String {
        format!("Origin: http://{}\r\n", self.at)
    }

    fn try_secret(&self, secret: &str) -> Answer {
        self.post("/login", "", &self.origin(), &format!("secret={secret}"))
    }

    /// The cookie of a session.
    fn login(&self) -> String {
        let answer = self.try_secret(OPERATOR);
        assert_eq!(answer.status, 303, "{}{}", answer.head, answer.body);
        let cookie = answer.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    fn live(&self, cookie: &str) -> Live {
        let mut socket = self.connect();
        write!(
            socket,
            "GET /live HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n",
            self.at
        )
        .unwrap();
        Live(BufReader::new(socket))
    }
}

struct Live(BufReader<TcpStream>);

impl Live {
    /// The data of the next message of this name.
    fn next(&mut self, name: &str) -> Value {
        let mut event = String::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "it ended");
            if let Some(other) = line.trim_end().strip_prefix("event: ") {
                event = other.to_owned();
            }
            if let Some(data) = line
                .trim_end()
                .strip_prefix("data: ")
                .filter(|_| event == name)
            {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// The first picture of which this is so.
    fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let now = self.next("now");
            if is(&now) {
                return now;
            }
        }
    }
}

#[test]
fn without_the_secret_nothing_is_readable() {
    let page = page("");
    let _client = page.daemon.open("a-name-that-nobody-sees");
    let forged = format!("askr_dashboard=9999999999.{}", "0".repeat(64));
    for cookie in ["", "askr_dashboard=", &forged] {
        let index = page.get("/", cookie);
        assert_eq!(index.status, 401);
        assert!(index.body.contains("The operator's secret") && !index.body.contains("app.js"));
        for path in [
            "/app.js",
            "/live",
            "/members?app=askr&channel=presence-a",
            "/events?app=askr&channel=a",
            "/end",
            "/nothing",
        ] {
            let answer = page.get(path, cookie);
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (401, "sign in first\n"),
                "{path}"
            );
        }
        let end = page.post(
            "/end",
            cookie,
            &page.origin(),
            r#"{"app":"askr","user":"7"}"#,
        );
        assert_eq!(end.status, 401);
    }
    // Nor is it on the listener of viewers.
    for path in ["/", "/live", "/login", "/askr/dashboard"] {
        let said = common::exchange(
            page.daemon.address,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    }
}

#[test]
fn the_secret_makes_a_strict_session_that_outlives_a_restart() {
    let mut page = page("");
    let answer = page.try_secret(OPERATOR);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("askr_dashboard="), "{cookie}");
    for attribute in [
        "; Path=/",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Max-Age=43200",
    ] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains(OPERATOR));
    let cookie = page.login();
    let index = page.get("/", &cookie);
    assert_eq!(index.status, 200);
    let policy = index.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(index.header("cache-control"), Some("no-store"));
    assert_eq!(page.get("/app.js", &cookie).status, 200);
    assert_eq!(page.get("/nothing", &cookie).status, 404);
    page.daemon.signal(Signal::SIGKILL);
    page.daemon.restart();
    page.at = page.daemon.operators("server.dashboard");
    assert_eq!(page.get("/", &cookie).status, 200);
    let out = page.post("/logout", &cookie, &page.origin(), "");
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[test]
fn tries_are_limited() {
    let page = page("");
    for _ in 0..5 {
        let answer = page.try_secret("wrong");
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("That is not the secret."));
    }
    let cookie = page.try_secret(OPERATOR);
    assert_eq!(cookie.status, 429, "also the right one now");
    assert_eq!(cookie.header("retry-after"), Some("60"));
    assert_eq!(cookie.header("set-cookie"), None);
    let log = page.daemon.says("a wrong secret");
    assert!(!log.contains("wrong\""), "{log}");
}

#[test]
fn pages_of_others_change_nothing() {
    let page = page("");
    let cookie = page.login();
    let mut client = page.daemon.open("a");
    let body = json!({"app": "askr", "socket": client.me().id}).to_string();
    for origin in ["", "Origin: http://evil.example\r\n", "Origin: null\r\n"] {
        assert_eq!(
            page.post("/end", &cookie, origin, &body).status,
            403,
            "{origin}"
        );
        assert_eq!(
            page.post("/login", "", origin, "secret=x").status,
            403,
            "{origin}"
        );
    }
    // Nor do they have anything traced, or hold a stream.
    for site in ["cross-site", "same-site"] {
        for path in ["/trace?app=askr&channel=a", "/live", "/app.js"] {
            let headers = format!("{cookie}\r\nSec-Fetch-Site: {site}");
            assert_eq!(page.get(path, &headers).status, 403, "{site} {path}");
        }
    }
    let ended = page.post("/end", &cookie, &page.origin(), &body).json();
    assert_eq!(ended["ended"], 1);
}

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
fn on_a_unix_socket_without_a_secret_its_mode_decides_and_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.sock");
    let _daemon = Daemon::start(&format!("server.dashboard = 'unix:{}'\n", path.display()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let get = |host: &str| {
        let socket = UnixStream::connect(&path).unwrap();
        ask(socket, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n"), "").status
    };
    assert_eq!(get("localhost:8091"), 200);
    assert_eq!(get("rebound.example:8091"), 403);
}

#[test]
fn settings_that_would_leave_it_open_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("askr.toml");
    let (_secrets, secret) = secrets();
    for (lines, why) in [
        (
            "dashboard = '127.0.0.1:8091'",
            "server.dashboard_secret_file: must name a file",
        ),
        (
            "dashboard = '127.0.0.1:8080'\ndashboard_secret_file = 'SECRET'",
            "server.dashboard: must be an address of its own",
        ),
        (
            "dashboard = '127.0.0.1:1'\nmetrics = '127.0.0.1:1'\ndashboard_secret_file = 'SECRET'",
            "server.dashboard: must be an address of its own",
        ),
    ] {
        let lines = lines.replace("SECRET", &secret);
        refused(
            &format!("[server]\nlisten = ['127.0.0.1:8080']\n{lines}\n"),
            why,
        );
    }
    let open = Path::new(&secret);
    std::fs::set_permissions(open, PermissionsExt::from_mode(0o644)).unwrap();
    write_settings(
        &file,
        &format!(
            "[ring]\nname = '{}'\n[server]\nlisten = ['127.0.0.1:0']\ncontrol = 'none'\n\
             dashboard = '127.0.0.1:0'\ndashboard_secret_file = '{secret}'\n",
            directory.path().join("ring").display()
        ),
    );
    let said = askrd()
        .args(["serve", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(2), "{text}");
    assert!(
        text.contains("server.dashboard_secret_file: ")
            && text.contains("must not be open to everybody"),
        "{text}"
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
