//! Who may see the dashboard: the secret and its file, sessions and their cookies, tries and places.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::common;
use crate::common::dashboard::{OPERATOR, Page, ask, page, read, secrets};
use crate::common::{Daemon, askrd, connect_from, refused, write_settings};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn without_the_secret_nothing_is_readable() {
    let page = page("");
    let _client = page.daemon.open("a-name-that-nobody-sees");
    let name = format!("askr_dashboard_{}", page.at.port());
    let forged = format!("{name}=9999999999.{}", "0".repeat(64));
    for cookie in ["", &format!("{name}="), &forged] {
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
    let name = format!("askr_dashboard_{}=", page.at.port());
    assert!(cookie.starts_with(&name), "{cookie}");
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
    assert_eq!(get("127.0.0.1:8091"), 200);
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

const OTHER: &str = "another-operators-secret";

#[test]
fn another_secret_counts_with_a_reload_and_ends_the_sessions_of_the_one_before() {
    let page = page("");
    let cookie = page.login();
    let mut live = page.live(&cookie);
    live.next("past");
    let reload = |lines: &[&str]| {
        write_settings(&page.file, &lines.join("\n"));
        page.daemon.signal(Signal::SIGHUP);
        let line = page.daemon.says("reloaded: ");
        assert!(
            line.ends_with("reloaded: the secrets of the dashboard"),
            "{line}"
        );
    };
    // The one of before may go on beside the new one, and then not any more.
    reload(&[OTHER, OPERATOR]);
    assert_eq!(page.get("/", &cookie).status, 200);
    let by_both = page.login();
    reload(&[OTHER]);
    assert_eq!(page.get("/", &cookie).status, 401);
    live.end();
    assert_eq!(page.get("/", &by_both).status, 200, "made with the first");
    assert_eq!(page.try_secret(OPERATOR).status, 403);
    let cookie = page.try_secret(OTHER).cookie();
    assert_eq!(page.get("/", &cookie).status, 200);
    let said = page.daemon.ask("POST", "/reload", "").json();
    assert_eq!(said["taken"], json!([]), "nothing is another one now");
}

#[test]
fn another_secret_counts_for_the_next_who_signs_in() {
    let page = page("");
    let cookie = page.login();
    write_settings(&page.file, OTHER);
    assert_eq!(page.try_secret(OPERATOR).status, 403);
    let line = page.daemon.says("the secrets were read again");
    assert!(
        line.contains(page.file.to_str().unwrap()) && !line.contains(OTHER),
        "{line}"
    );
    assert_eq!(page.get("/", &cookie).status, 401);
    let cookie = page.try_secret(OTHER).cookie();
    assert_eq!(page.get("/", &cookie).status, 200);
}

#[test]
fn a_file_that_cannot_be_used_leaves_the_secret_of_before_in_force_and_says_so() {
    let page = page("");
    let cookie = page.login();
    let open = std::fs::Permissions::from_mode(0o644);
    let breaks: [(&str, &dyn Fn()); 3] = [
        ("a secret must be 20 to 512 bytes long", &|| {
            write_settings(&page.file, "short");
        }),
        ("must not be open to everybody", &|| {
            write_settings(&page.file, OTHER);
            std::fs::set_permissions(&page.file, open.clone()).unwrap();
        }),
        ("cannot be read", &|| {
            std::fs::remove_file(&page.file).unwrap()
        }),
    ];
    for (why, breaks) in breaks {
        breaks();
        assert_eq!(page.try_secret(OTHER).status, 403, "{why}");
        let line = page.daemon.says("the secrets of before stay in force");
        assert!(line.contains(why) && line.contains("ERROR"), "{line}");
        assert_eq!(page.try_secret(OPERATOR).status, 303, "{why}");
        assert_eq!(page.get("/", &cookie).status, 200, "{why}");
        let said = page.daemon.ask("POST", "/reload", "");
        assert_eq!(said.status, 422, "{said:?}");
        assert!(
            said.body.contains("server.dashboard_secret_file: ") && said.body.contains(why),
            "{said:?}"
        );
        page.daemon.says("not reloaded");
        assert_eq!(page.get("/", &cookie).status, 200, "{why}");
    }
}

/// A request to sign in of which the secret is missing.
fn unfinished(page: &Page) -> TcpStream {
    let mut socket = page.connect();
    let (host, origin) = (&page.host, page.origin());
    write!(
        socket,
        "POST /login HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Length: 100\r\n\r\nsecret="
    )
    .unwrap();
    socket
}

#[test]
fn who_does_not_finish_signing_in_keeps_nobody_out() {
    let page = page("");
    let held: Vec<TcpStream> = (0..40).map(|_| unfinished(&page)).collect();
    let cookie = page.login();
    // The eldest has given way to those after it.
    let eldest = read(&held[0]);
    assert_eq!(eldest.status, 503, "{}{}", eldest.head, eldest.body);
    assert_eq!(page.get("/", &cookie).status, 200);
    let gave_way = "askr_dashboard_sign_ins_total{result=\"gave_way\"}";
    page.daemon.until(gave_way, |count| count > 0);
    assert_eq!(
        page.daemon
            .metric("askr_dashboard_sign_ins_total{result=\"signed_in\"}"),
        1
    );
}

#[test]
fn who_asks_for_nothing_keeps_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.sock");
    let daemon = Daemon::start(&format!("server.dashboard = 'unix:{}'\n", path.display()));
    let held: Vec<UnixStream> = (0..64)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\n";
    let socket = UnixStream::connect(&path).unwrap();
    assert_eq!(ask(socket, head, "").status, 200);
    let gave_way = "askr_operator_connections_given_way_total{listener=\"dashboard\"}";
    daemon.until(gave_way, |count| count > 0);
    // It was the eldest.
    assert_eq!((&held[0]).read(&mut [0]).unwrap(), 0);
}

#[test]
fn pages_that_are_open_leave_room_for_who_signs_in() {
    let page = page("");
    let cookie = page.login();
    let mut open: Vec<_> = (0..48).map(|_| page.live(&cookie)).collect();
    for live in &mut open {
        live.next("past");
    }
    let refused = page.get("/live", &cookie);
    assert_eq!(refused.status, 503);
    assert_eq!(
        refused.body,
        "48 pages are open, and more are not served: close one\n"
    );
    let _held: Vec<TcpStream> = (0..64).map(|_| unfinished(&page)).collect();
    assert_eq!(page.get("/", &page.login()).status, 200);
    assert_eq!(
        page.daemon
            .metric("askr_dashboard_pages_total{result=\"refused\"}"),
        1
    );
    // Who was there has not been in anybody's way.
    open[0].next("now");
    open.truncate(40);
    page.live(&cookie).next("now");
}

#[test]
fn a_page_that_is_not_read_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.sock");
    let daemon = Daemon::start(&format!(
        "server.dashboard = 'unix:{}'\nserver.write_timeout = 1\n",
        path.display()
    ));
    // Pictures of some 30 KiB, so that the socket is soon full.
    let name = |n: usize| format!("{}{n:03}", "%22".repeat(197));
    let _viewers: Vec<_> = (0..30).map(|n| daemon.open(&name(n))).collect();
    let live = || {
        let mut socket = UnixStream::connect(&path).unwrap();
        write!(socket, "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        socket
    };
    let (mut unread, mut read) = (live(), live());
    let reading = std::thread::spawn(move || {
        let mut bytes = [0; 1 << 16];
        while read.read(&mut bytes).unwrap() > 0 {}
    });
    let stalled = "askr_dashboard_pages_total{result=\"stalled\"}";
    daemon.until(stalled, |count| count == 1);
    // What it was sent, and the end.
    std::io::copy(&mut unread, &mut std::io::sink()).unwrap();
    assert!(!reading.is_finished(), "who reads goes on");
    assert_eq!(daemon.metric(stalled), 1);
}

/// Shows a secret as a proxy that says for whom.
fn try_as(page: &Page, client: &str, secret: &str) -> u16 {
    let headers = format!("{}X-Real-IP: {client}\r\n", page.origin());
    page.post("/login", "", &headers, &format!("secret={secret}"))
        .status
}

#[test]
fn behind_a_trusted_proxy_each_address_has_tries_of_its_own() {
    let page = page("server.trusted_proxies = ['127.0.0.0/8']\n");
    for _ in 0..5 {
        assert_eq!(try_as(&page, "203.0.113.7", "wrong"), 403);
        let line = page.daemon.says("a wrong secret");
        assert!(line.ends_with("from 203.0.113.7"), "{line}");
    }
    for _ in 0..2 {
        assert_eq!(try_as(&page, "203.0.113.7", OPERATOR), 429);
    }
    assert_eq!(try_as(&page, "203.0.113.8", OPERATOR), 303);
    // Each that may not try any more is logged once.
    let lines = page.daemon.says_until("203.0.113.8 has signed in");
    let told = lines
        .iter()
        .filter(|line| line.contains("203.0.113.7 may not sign in"));
    assert_eq!(told.count(), 1, "{lines:?}");
    assert_eq!(
        page.daemon
            .metric("askr_dashboard_sign_ins_total{result=\"too_many\"}"),
        2
    );
    assert_eq!(
        page.daemon
            .metric("askr_dashboard_sign_ins_total{result=\"wrong\"}"),
        5
    );
    // Whom it does not trust any more it does not believe.
    let settings = std::fs::read_to_string(page.daemon.config()).unwrap();
    write_settings(
        &page.daemon.config(),
        &settings.replace("127.0.0.0/8", "192.0.2.1"),
    );
    assert_eq!(page.daemon.ask("POST", "/reload", "").status, 200);
    assert_eq!(try_as(&page, "203.0.113.7", OPERATOR), 303);
    page.daemon.says("127.0.0.1 has signed in");
}

#[test]
fn who_is_no_trusted_proxy_is_not_believed() {
    let page = page("");
    for n in 0..5 {
        assert_eq!(try_as(&page, &format!("203.0.113.{n}"), "wrong"), 403);
        let line = page.daemon.says("a wrong secret");
        assert!(line.ends_with("from 127.0.0.1"), "{line}");
    }
    assert_eq!(try_as(&page, "203.0.113.99", OPERATOR), 429);
}

#[test]
fn on_a_unix_socket_the_proxy_says_whose_try_it_is() {
    let (_secrets, file) = secrets();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.sock");
    let daemon = Daemon::start(&format!(
        "server.dashboard = 'unix:{}'\nserver.dashboard_secret_file = '{file}'\n",
        path.display()
    ));
    let try_as = |client: &str, secret: &str| {
        let socket = UnixStream::connect(&path).unwrap();
        let head = format!(
            "POST /login HTTP/1.1\r\nHost: ops.example\r\nOrigin: https://ops.example\r\n{client}"
        );
        ask(socket, &head, &format!("secret={secret}")).status
    };
    for _ in 0..5 {
        assert_eq!(try_as("X-Real-IP: 203.0.113.7\r\n", "wrong"), 403);
        assert_eq!(try_as("", "wrong"), 403);
    }
    assert_eq!(try_as("X-Real-IP: 203.0.113.7\r\n", OPERATOR), 429);
    assert_eq!(try_as("", OPERATOR), 429, "those that nobody names are one");
    daemon.says("a Unix socket may not sign in");
    assert_eq!(try_as("X-Real-IP: 203.0.113.8\r\n", OPERATOR), 303);
}

#[test]
fn what_is_done_is_logged_with_who_did_it_and_never_the_secret() {
    let page = page("");
    let answer = page.try_secret(OPERATOR);
    let cookie = answer.cookie();
    let mut client = page.daemon.open("a");
    let id = client.me().id;
    let post = |path: &str, body: &str| {
        assert!(
            page.post(path, &cookie, &page.origin(), body).status < 400,
            "{path} {body}"
        );
    };
    post("/end", &json!({"app": "askr", "socket": id}).to_string());
    post(
        "/end",
        &json!({"app": "askr", "user": "a\"\u{e9}"}).to_string(),
    );
    post("/drain", r#"{"over":3}"#);
    post("/drain", r#"{"stop":true}"#);
    post("/logout", "");
    let lines = page.daemon.says_until("has signed out");
    let by = |text: &str| {
        let line = format!(" dashboard: 127.0.0.1 {text}");
        assert!(
            lines.iter().any(|said| said.ends_with(&line)),
            "{text} in {lines:?}"
        );
    };
    by("has signed in");
    by(&format!(
        "has ended the connection {id} of application askr: 1"
    ));
    by(r#"has ended the connections of user "a\"\u{e9}" of application askr: 0"#);
    by("has all viewers let go, over 3 seconds");
    by("has the drain stopped");
    by("has signed out");
    let value = cookie.split_once('=').unwrap().1;
    let all = lines.join("\n");
    assert!(!all.contains(OPERATOR) && !all.contains(value), "{all}");
}

#[test]
fn two_dashboards_of_one_host_do_not_sign_each_other_out() {
    let (one, other) = (page(""), page(""));
    // A browser has one jar for all ports of a host.
    let jar = format!("{}; {}", one.login(), other.login());
    let names: Vec<&str> = jar
        .split("; ")
        .map(|pair| pair.split_once('=').unwrap().0)
        .collect();
    assert_ne!(names[0], names[1], "{jar}");
    for page in [&one, &other] {
        assert_eq!(page.get("/", &jar).status, 200);
    }
    let out = one.post("/logout", &jar, &one.origin(), "");
    let gone = out.header("set-cookie").unwrap();
    assert!(gone.starts_with(&format!("{}=;", names[0])), "{gone}");
}

#[test]
fn the_cookie_is_secure_where_the_browser_speaks_tls() {
    let page = page("server.trusted_proxies = ['127.0.0.2']\n");
    let sign_in = |from: &str, headers: &str| {
        let socket = connect_from(page.at, from);
        let head = format!("POST /login HTTP/1.1\r\nHost: ops.example:8443\r\n{headers}");
        let answer = ask(socket, &head, &format!("secret={OPERATOR}"));
        answer.header("set-cookie").unwrap().to_owned()
    };
    let https = "Origin: https://ops.example:8443\r\n";
    let http = "Origin: http://ops.example:8443\r\n";
    let forwarded = &format!("{http}X-Forwarded-Proto: https\r\n");
    for (from, headers, is_secure) in [
        ("127.0.0.1", https, true),
        ("127.0.0.1", http, false),
        ("127.0.0.1", forwarded, false),
        ("127.0.0.2", forwarded, true),
    ] {
        let cookie = sign_in(from, headers);
        assert_eq!(cookie.ends_with("; Secure"), is_secure, "{from} {headers}");
        let own = cookie.starts_with("__Host-askr_dashboard_8443=");
        assert_eq!(own, is_secure, "{cookie}");
        let cookie = cookie.split(';').next().unwrap();
        let head = format!("GET / HTTP/1.1\r\nHost: ops.example:8443\r\nCookie: {cookie}\r\n");
        assert_eq!(ask(page.connect(), &head, "").status, 200);
    }
}
