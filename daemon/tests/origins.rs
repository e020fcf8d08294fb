//! Pages of other origins: those that are listed exactly count as this site's, those that only a pattern matches
//! listen without credentials, all others are refused.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::common;
use crate::common::grants::{SECRET, Said, request, token};
use crate::common::ws::{KEY, Socket, app};
use crate::common::{Daemon, check, next_request, refused};
use serde_json::{Value, json};

const PATTERNS: &str = "['https://exact.shop.example', 'https://*.shop.example', 'null']";

fn listed(more: &str) -> String {
    format!("server.allowed_origins = {PATTERNS}\n{more}")
}

/// Allowed origin and whether credentials are allowed, by the head of an answer; and that caches know why.
fn allowed(head: &str) -> (Option<String>, bool) {
    let head = head.to_ascii_lowercase();
    let of = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
    };
    assert_eq!(of("vary").as_deref(), Some("origin"), "{head}");
    let credentials = of("access-control-allow-credentials");
    assert!(
        credentials.as_deref().is_none_or(|value| value == "true"),
        "{head}"
    );
    (of("access-control-allow-origin"), credentials.is_some())
}

fn pattern() -> (Option<String>, bool) {
    (Some("*".into()), false)
}

fn exact(origin: &str) -> (Option<String>, bool) {
    (Some(origin.into()), true)
}

fn get(daemon: &Daemon, target: &str, headers: &str) -> Said {
    request(daemon.address, "GET", target, headers, "")
}

#[test]
fn a_page_that_a_pattern_matches_listens_without_credentials_and_an_exact_one_with() {
    let daemon = Daemon::start(&listed(""));
    for (origin, expected) in [
        ("https://www.shop.example", pattern()),
        ("https://a.b.shop.example", pattern()),
        ("null", pattern()),
        (
            "https://exact.shop.example",
            exact("https://exact.shop.example"),
        ),
    ] {
        let header = format!("Origin: {origin}\r\n");
        let stream = daemon.open_with("channel=a", &[("Origin", origin)]);
        assert_eq!(allowed(&stream.head), expected, "{origin}");
        // A refusal can be read, too.
        let refused = get(&daemon, "/askr/events", &header);
        assert_eq!(refused.status, 400);
        assert_eq!(allowed(&refused.head), expected, "{origin}");
        let preflight = request(
            daemon.address,
            "OPTIONS",
            "/askr/subscribe",
            &format!("{header}Access-Control-Request-Method: POST\r\n"),
            "",
        );
        assert_eq!(preflight.status, 204);
        assert_eq!(allowed(&preflight.head), expected, "{origin}");
        let change = request(
            daemon.address,
            "POST",
            "/askr/unsubscribe",
            &header,
            r#"{"socket_id":"1.2","secret":"x","channels":["a"]}"#,
        );
        assert_eq!(change.status, 403, "{change:?}");
        assert!(change.body.contains("secret"), "{change:?}");
        assert_eq!(allowed(&change.head), expected, "{origin}");
    }
    // The own site is no other origin, whatever is listed.
    let own = daemon.open_with("channel=a", &[("Origin", "http://x")]);
    assert_eq!(allowed(&own.head), (None, false));
}

#[test]
fn any_origin_but_null_is_matched_by_a_star() {
    let daemon = Daemon::start("server.allowed_origins = ['*']");
    for origin in [
        "https://a.example",
        "http://localhost:5173",
        "capacitor://localhost",
    ] {
        let stream = daemon.open_with("channel=a", &[("Origin", origin)]);
        assert_eq!(allowed(&stream.head), pattern(), "{origin}");
    }
    for origin in ["null", "", "https://", "https://a b", "x"] {
        let refused = get(
            &daemon,
            "/askr/events?channel=a",
            &format!("Origin: {origin}\r\n"),
        );
        assert_eq!(refused.status, 403, "{origin}");
        assert_eq!(allowed(&refused.head), (None, false), "{origin}");
    }
    let twice = "Origin: https://a.example\r\nOrigin: https://a.example\r\n";
    assert_eq!(get(&daemon, "/askr/events?channel=a", twice).status, 403);
}

#[test]
fn what_only_looks_like_a_pattern_is_refused_everywhere() {
    let daemon = Daemon::start(&app(&format!(
        "app.allowed_origins = {PATTERNS}\nserver.ping = 300\n"
    )));
    for origin in [
        "https://shop.example",
        "http://www.shop.example",
        "https://www.shop.example:8443",
        "https://www.shop.example.evil.example",
        "https://evilshop.example",
        "https://www.shop.example@evil.example",
        "https://evil.example#.shop.example",
        "https://.shop.example",
        "https://www..shop.example",
        "https://www.shop.example/",
        "NULL",
    ] {
        let header = format!("Origin: {origin}\r\n");
        for (method, target) in [
            ("GET", "/askr/events?channel=a"),
            ("GET", "/askr/ws"),
            ("POST", "/askr/subscribe"),
            ("POST", "/askr/unsubscribe"),
            ("OPTIONS", "/askr/events"),
        ] {
            let refused = request(daemon.address, method, target, &header, "");
            assert_eq!(refused.status, 403, "{origin} {target}");
            assert_eq!(allowed(&refused.head), (None, false), "{origin} {target}");
        }
        let target = format!("/app/{KEY}?protocol=7");
        let mut socket = Socket::open(daemon.address, &target, &[("Origin", origin)]);
        assert_eq!(socket.code(), 4009, "{origin}");
    }
    for origin in ["https://www.shop.example", "null"] {
        let target = format!("/app/{KEY}?protocol=7");
        let mut socket = Socket::open(daemon.address, &target, &[("Origin", origin)]);
        assert_eq!(socket.next()["event"], "pusher:connection_established");
    }
}

#[test]
fn a_token_in_a_cookie_does_not_count_for_a_pattern_and_another_one_does() {
    let daemon = Daemon::start(&listed(&format!("app.secret = '{SECRET}'")));
    let token = token(&["private-a"], 60);
    let cookie = format!("Cookie: askr_token={token}\r\n");
    let target = "/askr/events?channel=private-a";
    for origin in ["https://www.shop.example", "null"] {
        // A page cannot leave this header out or change it; an older browser sends none.
        for site in ["", "Sec-Fetch-Site: same-site\r\n"] {
            let headers = format!("Origin: {origin}\r\n{site}{cookie}");
            let refused = get(&daemon, target, &headers);
            assert_eq!(refused.status, 401, "{origin} {refused:?}");
        }
        let bearer = format!("Bearer {token}");
        drop(daemon.open_with(
            "channel=private-a",
            &[("Origin", origin), ("Authorization", &bearer)],
        ));
        let query = format!("channel=private-a&token={token}");
        drop(daemon.open_with(&query, &[("Origin", origin)]));
    }
    let cookie = format!("askr_token={token}");
    let headers = [
        ("Origin", "https://exact.shop.example"),
        ("Cookie", &*cookie),
    ];
    drop(daemon.open_with("channel=private-a", &headers));

    // The same of a WebSocket's handshake.
    for (origin, expected) in [
        ("https://www.shop.example", "401"),
        ("null", "401"),
        ("https://exact.shop.example", "101"),
    ] {
        let handshake = format!(
            "GET /askr/ws?channel=private-a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\nCookie: {cookie}\r\n\r\n"
        );
        let mut client = common::Client::connect(daemon.address);
        client.socket.write_all(handshake.as_bytes()).unwrap();
        client.read_head();
        let begins = format!("HTTP/1.1 {expected} ");
        assert!(
            client.head.starts_with(&begins),
            "{origin}: {}",
            client.head
        );
    }
}

#[test]
fn what_a_browser_adds_by_itself_is_not_forwarded_for_a_pattern() {
    let (url, asked) = application();
    let daemon = Daemon::start(&listed(&format!(
        "app.auth_url = '{url}'\napp.auth_anonymous = true\napp.auth_cache = 0"
    )));
    let own = "Cookie: session=ada\r\nAuthorization: Basic YWRhOng=\r\n";
    let target = "/askr/events?channel=private-a";
    let open = |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Cookie", "session=ada"),
            ("Authorization", "Basic YWRhOng="),
        ];
        drop(daemon.open_with("channel=private-a", &headers));
        asked.recv().unwrap().to_lowercase()
    };
    for origin in ["https://www.shop.example", "null"] {
        let head = open(origin);
        assert!(
            !head.contains("ada") && !head.contains("ywrhong"),
            "{origin}: {head}"
        );
    }
    let head = open("https://exact.shop.example");
    assert!(
        head.contains("session=ada") && head.contains("ywrhong"),
        "{head}"
    );

    // A token is shown by the page itself: the browser adds none.
    let bearer = "Origin: https://www.shop.example\r\nAuthorization: Bearer mine\r\n";
    drop(get_head(&daemon, target, bearer));
    assert!(asked.recv().unwrap().contains("Bearer mine"));

    // Over a WebSocket the application is asked later, with what the handshake had.
    let headers = [
        ("Origin", "https://www.shop.example"),
        ("Cookie", "session=ada"),
        ("Authorization", "Basic YWRhOng="),
    ];
    let mut socket = Socket::open(daemon.address, "/askr/ws?channel=public", &headers);
    socket.say(&json!({"subscribe": ["private-a"]}));
    let head = asked.recv().unwrap().to_lowercase();
    assert!(!head.contains("ada") && !head.contains("ywrhong"), "{head}");

    // A change of a stream's channels.
    let mut stream = daemon.open("public");
    let me = stream.me();
    let body = common::grants::body(&me, &["private-a"], Value::Null);
    let headers = format!("Origin: https://www.shop.example\r\n{own}");
    let said = request(daemon.address, "POST", "/askr/subscribe", &headers, &body);
    assert_eq!(said.status, 200, "{said:?}");
    let head = asked.recv().unwrap().to_lowercase();
    assert!(!head.contains("ada") && !head.contains("ywrhong"), "{head}");
}

/// The head of an answer whose body does not end.
fn get_head(daemon: &Daemon, target: &str, headers: &str) -> common::Client {
    let mut client = common::Client::connect(daemon.address);
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    client.socket.write_all(request.as_bytes()).unwrap();
    client.read_head();
    client
}

/// An application that opens private-a to everybody; the heads of what it is asked.
fn application() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/auth", listener.local_addr().unwrap());
    let (tell, asked) = channel();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut socket = BufReader::new(socket.unwrap());
                while let Some((head, _)) = next_request(&mut socket) {
                    let _ = tell.send(head);
                    let answer = r#"{"channels":{"private-a":true}}"#;
                    let length = answer.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}");
                    socket.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    (url, asked)
}

#[test]
fn a_pattern_that_cannot_be_is_told_by_file_key_and_reason() {
    for bad in [
        "*.shop.example",
        "https://*",
        "https://*shop.example",
        "https://www.*.example",
        "https://*.*.example",
        "https://*.shop.example/",
        "https://*.shop.example:443",
        "http://*.shop.example:80",
        "https://*.shop.example:*",
        "https://*.Shop.example",
        "https://*.0.0.1",
        "*://shop.example",
        "https://a@*.shop.example",
        "NULL",
        "",
    ] {
        for key in ["server.allowed_origins", "app.allowed_origins"] {
            let settings = format!("{key} = ['https://a.example', '{bad}']");
            refused(&settings, &format!("{key}: \"{bad}\" "));
        }
    }
    let (code, why) = check(
        "server.allowed_origins = ['*', 'null', 'https://*.shop.example', \
         'http://*.localhost:5173', 'https://a.example:8443', 'capacitor://localhost']",
    );
    assert_eq!((code, why.as_str()), (Some(0), ""));
}

#[test]
fn a_preflight_allows_what_frameworks_send_and_what_the_settings_name() {
    let names = |daemon: &Daemon, path: &str| {
        let headers = "Origin: https://exact.shop.example\r\n\
                       Access-Control-Request-Method: POST\r\n\
                       Access-Control-Request-Headers: x-csrf-token,x-socket-id\r\n";
        let said = request(daemon.address, "OPTIONS", path, headers, "");
        assert_eq!(said.status, 204, "{said:?}");
        let head = said.head.to_ascii_lowercase();
        let mut lines = head.lines();
        let names = lines.find_map(|line| line.strip_prefix("access-control-allow-headers: "));
        let names = names.unwrap_or_else(|| panic!("no names in {head}"));
        names.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let always = [
        "authorization",
        "content-type",
        "last-event-id",
        "cache-control",
        "x-csrf-token",
        "x-xsrf-token",
        "x-requested-with",
        "x-socket-id",
    ];
    let daemon = Daemon::start(&listed(""));
    for path in ["/askr/events", "/askr/subscribe", "/askr/unsubscribe"] {
        assert_eq!(names(&daemon, path), always, "{path}");
    }
    let daemon = Daemon::start(&listed(
        "server.allowed_headers = ['X-Tenant', 'traceparent']",
    ));
    let more = names(&daemon, "/askr/subscribe");
    assert_eq!(more[..always.len()], always);
    assert_eq!(more[always.len()..], ["x-tenant", "traceparent"]);
}

#[test]
fn a_header_that_is_no_name_is_told_by_file_key_and_reason() {
    let long = "x".repeat(65);
    for bad in ["", "*", "X Tenant", "X-Tenant:", "X-Täg", "a, b", &long] {
        let (code, why) = check(&format!("server.allowed_headers = ['X-A', '{bad}']"));
        assert_eq!(code, Some(2), "{bad}: {why}");
        let place = format!("askr.toml: server.allowed_headers: \"{bad}\" must be");
        assert!(why.contains(&place), "{bad}: {why}");
    }
    let many: Vec<_> = (0..33).map(|n| format!("'x-{n}'")).collect();
    let (code, why) = check(&format!("server.allowed_headers = [{}]", many.join(", ")));
    assert!(code == Some(2) && why.contains("32 names at most"), "{why}");
}
