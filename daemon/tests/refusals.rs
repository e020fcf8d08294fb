//! What a developer meets in the first hour: each refusal is in the log of askrd with what to change, once a minute
//! for each reason and subject, and counted. No secret is ever in it, and no client fills it.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::common;
use crate::common::grants::{SECRET, body, now, request, signature_by, token_by};
use crate::common::ws::{KEY, Pusher, Socket, app};
use crate::common::{Daemon, exchange};
use serde_json::{Value, json};

const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn counted(daemon: &Daemon, reason: &str) -> u64 {
    daemon.metric(&format!("askr_refusals_total{{reason=\"{reason}\"}}"))
}

/// The lines about refusals until that of an unknown host, which this causes last.
fn lines(daemon: &Daemon) -> Vec<String> {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let last = format!("last{}.example", LAST.fetch_add(1, Relaxed));
    let ask = format!("GET /askr/ws HTTP/1.1\r\nHost: {last}\r\nConnection: close\r\n\r\n");
    exchange(daemon.address, ask.as_bytes());
    let mut lines = daemon.says_until(&last);
    lines.pop();
    lines.retain(|line| line.contains("refused: "));
    lines
}

/// Causes refusals, and returns the one line that they leave.
fn line(daemon: &Daemon, cause: impl FnOnce()) -> String {
    cause();
    let lines = lines(daemon);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.into_iter().next().unwrap()
}

/// A daemon that serves the host `x` alone, which is where the clients of these tests ask.
fn start(more: &str) -> Daemon {
    Daemon::start(&format!("server.allowed_hosts = ['x', 'y']\n{more}"))
}

fn get(daemon: &Daemon, target: &str, headers: &str) -> u16 {
    request(daemon.address, "GET", target, headers, "").status
}

fn all_in(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

#[test]
fn a_foreign_origin_is_logged_with_the_line_of_settings_that_allows_it() {
    let daemon = start("server.allowed_origins = ['https://a.example']");
    let said = line(&daemon, || {
        for _ in 0..3 {
            let headers = "Origin: http://localhost:8000\r\n";
            assert_eq!(get(&daemon, "/askr/events?channel=a", headers), 403);
        }
    });
    all_in(
        &said,
        &[
            "WARN refused: origin \"http://localhost:8000\"",
            "[server] allowed_origins = [\"https://a.example\", \"http://localhost:8000\"]",
            // Where it is this site's own the proxy has changed the name.
            "Host is \"x\"",
        ],
    );
    assert_eq!(counted(&daemon, "origin"), 3);

    // Over WebSockets too, with the list of the application where it has one.
    let own = format!(
        "server.allowed_hosts = ['x']\n{}",
        app("app.allowed_origins = ['null']")
    );
    let daemon = Daemon::start(&own);
    let said = line(&daemon, || {
        let target = format!("/app/{KEY}?protocol=7");
        let headers = [("Origin", "https://b.example")];
        assert_eq!(Socket::open(daemon.address, &target, &headers).code(), 4009);
        assert_eq!(
            get(&daemon, "/askr/ws", "Origin: https://b.example\r\n"),
            403
        );
    });
    all_in(
        &said,
        &["[app] allowed_origins = [\"null\", \"https://b.example\"]"],
    );
    assert_eq!(counted(&daemon, "origin"), 2);
    // What no setting can allow gets none.
    let said = line(&daemon, || {
        assert_eq!(
            get(&daemon, "/askr/ws", "Origin: https://B.example/\r\n"),
            403
        );
    });
    assert!(!said.contains("allowed_origins ="), "{said}");
}

#[test]
fn host_path_and_application_are_logged_with_what_there_is() {
    let daemon = start(&app(""));
    let said = line(&daemon, || {
        let ask = "GET /askr/events?channel=a HTTP/1.1\r\nHost: shop.example:81\r\nConnection: close\r\n\r\n";
        assert!(exchange(daemon.address, ask.as_bytes()).starts_with("HTTP/1.1 403 "));
    });
    all_in(
        &said,
        &[
            "refused: host \"shop.example:81\"",
            "[server] allowed_hosts = [\"x\", \"y\", \"shop.example\"]",
        ],
    );
    // That of the lines' own end is another.
    assert_eq!(counted(&daemon, "host"), 2);

    let said = line(&daemon, || assert_eq!(get(&daemon, "/event", ""), 404));
    all_in(
        &said,
        &[
            "path \"/event\"",
            "/askr/events",
            "/app/KEY",
            "/apps/ID/events",
        ],
    );
    let said = line(&daemon, || {
        assert_eq!(get(&daemon, "/reverb/app/key?protocol=7", ""), 404);
    });
    all_in(
        &said,
        &["path \"/reverb/app/key\"", "\"/reverb\" is in front of it"],
    );
    assert_eq!(counted(&daemon, "path"), 2);

    let said = line(&daemon, || {
        let post = request(daemon.address, "POST", "/apps/8/events", "", "{}");
        assert_eq!(post.status, 404);
    });
    all_in(&said, &["application \"8\"", "\"7\"", "REVERB_APP_ID"]);
    let said = line(&daemon, || {
        assert_eq!(get(&daemon, "/askr/events?channel=a&app=shop", ""), 404);
    });
    all_in(&said, &["application \"shop\"", "\"7\""]);
    assert_eq!(counted(&daemon, "app"), 2);

    let said = line(&daemon, || {
        let mut socket = Socket::open(daemon.address, "/app/wrong?protocol=7", &[]);
        assert_eq!(socket.code(), 4001);
    });
    all_in(&said, &["key \"wrong\"", KEY, "REVERB_APP_KEY"]);
    assert_eq!(counted(&daemon, "key"), 1);

    // nginx without its lines for WebSockets.
    let said = line(&daemon, || {
        assert_eq!(get(&daemon, &format!("/app/{KEY}?protocol=7"), ""), 426);
    });
    all_in(&said, &["WebSocket", "proxy_set_header Upgrade"]);
    assert_eq!(counted(&daemon, "upgrade"), 1);
}

#[test]
fn tls_on_a_port_without_it_is_logged_with_the_settings_of_its_clients() {
    let daemon = start(&app(""));
    let said = line(&daemon, || {
        // How a TLS client begins: a record with a handshake, of a ClientHello.
        let hello = [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            &[7; 506],
        ]
        .concat();
        for _ in 0..2 {
            assert!(exchange(daemon.address, &hello).starts_with("HTTP/1.1 400 "));
        }
        // What else is no request is nobody's setup.
        exchange(daemon.address, b"\x15\x03\r\n\r\n");
    });
    all_in(
        &said,
        &[
            "TLS",
            "REVERB_SCHEME=http",
            "VITE_REVERB_SCHEME",
            "forceTLS",
            "nginx",
        ],
    );
    assert_eq!(counted(&daemon, "tls"), 2);
}

/// A request to the HTTP API, signed by this secret at this time.
fn signed(daemon: &Daemon, secret: &str, key: &str, time: u64, rest: &str) -> u16 {
    let path = format!("/apps/7/{rest}");
    let query = format!("auth_key={key}&auth_timestamp={time}&auth_version=1.0");
    let code = common::grants::code_by(secret, &format!("GET\n{path}\n{query}"));
    get(daemon, &format!("{path}?{query}&auth_signature={code}"), "")
}

#[test]
fn a_wrong_signature_is_logged_with_where_its_secret_or_key_is_set() {
    let daemon = start(&app("app.allowed_origins = ['*']"));
    let api = |secret: &str, key: &str, time| signed(&daemon, secret, key, time, "channels");
    assert_eq!(api(SECRET, KEY, now()), 200);
    let said = line(&daemon, || assert_eq!(api(OTHER, KEY, now()), 401));
    all_in(
        &said,
        &["HTTP API", "\"7\"", "app.secret", "REVERB_APP_SECRET"],
    );
    let said = line(&daemon, || assert_eq!(api(SECRET, "key", now()), 401));
    all_in(&said, &["HTTP API", "app.key", "REVERB_APP_KEY"]);
    let said = line(&daemon, || assert_eq!(api(SECRET, KEY, now() - 3600), 401));
    all_in(&said, &["HTTP API", "clock"]);
    assert_eq!(counted(&daemon, "api_signature"), 3);
    let said = line(&daemon, || {
        assert_eq!(signed(&daemon, SECRET, KEY, now(), "event"), 404)
    });
    all_in(&said, &["path \"/apps/7/event\"", "/apps/ID/events"]);
    assert_eq!(counted(&daemon, "path"), 1);

    let mut client = Pusher::connect(&daemon);
    let said = line(&daemon, || {
        for channel in ["private-a", "private-b"] {
            let wrong = signature_by(OTHER, KEY, &client.id, channel, None);
            let told = client.try_subscribe(channel, wrong);
            assert_eq!(told["event"], "pusher:subscription_error", "{told}");
        }
    });
    all_in(
        &said,
        &["a channel's signature", "app.secret", "REVERB_APP_SECRET"],
    );
    let said = line(&daemon, || {
        let wrong = signature_by(SECRET, "key", &client.id, "private-a", None);
        let told = client.try_subscribe("private-a", wrong);
        assert_eq!(told["event"], "pusher:subscription_error", "{told}");
    });
    all_in(
        &said,
        &["a channel's signature", "app.key", "REVERB_APP_KEY"],
    );
    assert_eq!(counted(&daemon, "signature"), 3);

    // A stream that adds a channel with Laravel's signature, and a sign-in.
    let mut stream = daemon.open("public");
    let me = stream.me();
    let auth = json!({"auth": {"private-a": signature_by(OTHER, KEY, &me.id, "private-a", None)}});
    assert_eq!(daemon.try_subscribe(&me, &["private-a"], auth).status, 401);
    client.sign_in("7", &[]);
    client.send(
        "pusher:signin",
        json!({"auth": format!("{KEY}:{}", "0".repeat(64)), "user_data": "{\"id\":\"7\"}"}),
    );
    client.ws.end();
    assert_eq!(counted(&daemon, "signature"), 5);
}

#[test]
fn without_a_secret_it_is_said_that_none_is_set() {
    let daemon = start("app.id = '7'\napp.key = 'app-key'\napp.allowed_origins = ['*']");
    let said = line(&daemon, || {
        assert_eq!(signed(&daemon, OTHER, KEY, now(), "channels"), 401);
    });
    all_in(&said, &["HTTP API", "app.secret is not set"]);
    let mut client = Pusher::connect(&daemon);
    let said = line(&daemon, || {
        let wrong = signature_by(OTHER, KEY, &client.id, "private-a", None);
        client.try_subscribe("private-a", wrong);
    });
    all_in(&said, &["app.secret is not set"]);
    let said = line(&daemon, || {
        assert_eq!(get(&daemon, "/askr/events?channel=private-a", ""), 403);
    });
    all_in(
        &said,
        &[
            "\"private-a\"",
            "app.secret",
            "auth.secret_file",
            "app.auth_url",
        ],
    );
    assert_eq!(counted(&daemon, "authorizers"), 1);
}

#[test]
fn a_token_is_logged_by_what_is_wrong_with_it_and_never_itself() {
    let settings = format!("app.secret = '{SECRET}'");
    let daemon = start(&settings);
    let claims = |seconds: i64| {
        let exp = now().saturating_add_signed(seconds);
        json!({"channels": ["private-a"], "exp": exp})
    };
    let ask = |token: &str| {
        get(
            &daemon,
            &format!("/askr/events?channel=private-a&token={token}"),
            "",
        )
    };
    let mut shown = vec![SECRET.to_owned(), OTHER.to_owned()];
    let mut said = Vec::new();
    let mut refused = |token: String, parts: &[&str]| {
        let one = line(&daemon, || assert_eq!(ask(&token), 401));
        all_in(&one, parts);
        shown.push(token);
        said.push(one);
    };
    let other = token_by(OTHER, &claims(60));
    refused(
        other,
        &[
            "a token",
            "signature is wrong",
            "app.secret",
            "askr.secret_file",
        ],
    );
    refused(
        token_by(SECRET, &claims(-10)),
        &["a token", "expired", "clock"],
    );
    let kid = common::grants::token_with_kid(SECRET, "k9", &claims(60));
    refused(
        kid,
        &[
            "a token",
            "key is not known",
            "auth.secret_file",
            "auth.public_keys",
        ],
    );
    let mut audience = claims(60);
    audience["aud"] = json!("shop");
    refused(
        token_by(SECRET, &audience),
        &["a token", "another application", "\"askr\""],
    );
    refused("x".to_owned(), &["a token", "compact form"]);
    assert_eq!(counted(&daemon, "token"), 5);
    for (line, secret) in said
        .iter()
        .flat_map(|line| shown.iter().map(move |one| (line, one)))
    {
        let found = line.contains(secret.as_str()) && secret.len() > 1;
        assert!(!found, "{secret} in {line}");
    }
    // None at all: one line, whatever is asked for.
    let one = line(&daemon, || {
        for channel in ["private-a", "presence-b"] {
            assert_eq!(
                get(&daemon, &format!("/askr/events?channel={channel}"), ""),
                401
            );
        }
    });
    all_in(
        &one,
        &["credentials", "a token (Authorization, cookie or query)"],
    );
    assert_eq!(counted(&daemon, "credentials"), 2);
}

#[test]
fn what_a_client_wrote_is_escaped_cut_and_no_secret_even_if_it_was_in_the_wrong_place() {
    let daemon = start(&app(""));
    let said = line(&daemon, || {
        let target = "/app/%1b%5b31m%0aWARN%20forged%e2%80%ae?protocol=7";
        assert_eq!(Socket::open(daemon.address, target, &[]).code(), 4001);
    });
    assert!(said.is_ascii() && !said.contains('\u{1b}'), "{said:?}");
    assert!(said.contains("\\u{1b}[31m"), "{said}");

    // A developer who took the secret for the key, or for the id.
    let said = line(&daemon, || {
        let target = format!("/app/{SECRET}?protocol=7");
        assert_eq!(Socket::open(daemon.address, &target, &[]).code(), 4001);
    });
    assert!(
        !said.contains(SECRET) && said.contains(&SECRET[..8]),
        "{said}"
    );
    let said = line(&daemon, || {
        assert_eq!(get(&daemon, &format!("/apps/{SECRET}/channels"), ""), 404);
    });
    assert!(!said.contains(SECRET), "{said}");

    let said = line(&daemon, || {
        let long = format!("https://{}.example", "a".repeat(8000));
        assert_eq!(
            get(&daemon, "/askr/ws", &format!("Origin: {long}\r\n")),
            403
        );
    });
    assert!(said.len() < 1000, "{} bytes", said.len());
    let said = line(&daemon, || {
        assert_eq!(
            get(
                &daemon,
                "/askr/ws",
                "Origin: https://a\u{e9}\"\\.example\r\n"
            ),
            403
        );
    });
    assert!(
        said.is_ascii() && !said.contains("allowed_origins ="),
        "{said}"
    );
    // The query, where tokens are, is in none.
    let said = line(&daemon, || {
        assert_eq!(get(&daemon, "/nowhere?token=HIDDEN", ""), 404);
    });
    assert!(!said.contains("HIDDEN"), "{said}");
}

#[test]
fn many_subjects_leave_a_bounded_number_of_lines_and_are_counted_all() {
    let daemon = start("");
    for n in 0..100 {
        let headers = format!("Origin: https://a{n}.example\r\n");
        assert_eq!(get(&daemon, "/askr/events?channel=a", &headers), 403);
    }
    let said = lines(&daemon);
    let (full, each): (Vec<_>, Vec<_>) = said.iter().partition(|line| line.contains("not logged"));
    assert_eq!((each.len(), full.len()), (32, 1), "{said:#?}");
    all_in(full[0], &["askr_refusals_total{reason=\"origin\"}"]);
    assert_eq!(counted(&daemon, "origin"), 100);
    assert_eq!(daemon.metric("askr_refusals_unlogged_total"), 68);
    // Another reason has its own room.
    let said = line(&daemon, || assert_eq!(get(&daemon, "/other", ""), 404));
    assert!(said.contains("\"/other\""), "{said}");
}

#[test]
fn a_channel_that_is_not_granted_is_logged_once_whoever_meets_it() {
    let daemon = start(&app(""));
    let token = token_by(
        SECRET,
        &json!({"channels": ["private-a"], "exp": now() + 60}),
    );
    let said = line(&daemon, || {
        for channel in ["private-b", "private-c", "private-b&channel=private-a"] {
            let target = format!("/askr/events?channel={channel}&token={token}");
            assert_eq!(get(&daemon, &target, ""), 403, "{channel}");
        }
    });
    all_in(
        &said,
        &[
            "\"private-b\" for who showed valid credentials",
            "the token does not grant channel 1",
            "askr_token()",
        ],
    );
    assert!(!said.contains(&token), "{said}");
    assert_eq!(counted(&daemon, "grant"), 3);
}

#[test]
fn an_applications_no_is_logged_with_what_it_may_be() {
    use std::io::{BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/auth", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (socket, n) in listener.incoming().zip(0..) {
            let mut socket = BufReader::new(socket.unwrap());
            common::next_request(&mut socket);
            let status = if n < 2 {
                "403 Forbidden"
            } else {
                "401 Unauthorized"
            };
            let _ = write!(
                socket.get_mut(),
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    let daemon = start(&app(&format!("app.auth_url = '{url}'\n")));
    let ask = |channel: &str| {
        let target = format!("/askr/events?channel={channel}");
        get(&daemon, &target, "Cookie: session=s3cr3t\r\n")
    };
    let said = line(&daemon, || {
        assert_eq!((ask("private-a"), ask("private-b")), (403, 403));
    });
    all_in(
        &said,
        &["\"private-a\": app.auth_url answered with status 403"],
    );
    let said = line(&daemon, || assert_eq!(ask("private-c"), 401));
    all_in(&said, &["status 401", "does its cookie reach askrd?"]);
    assert!(!said.contains("s3cr3t"), "{said}");
    assert_eq!(counted(&daemon, "grant"), 3);
}

#[test]
fn what_is_not_refused_leaves_no_line() {
    let daemon = start(&app("app.allowed_origins = ['https://*.shop.example']"));
    drop(daemon.open_with("channel=a", &[("Origin", "https://www.shop.example")]));
    drop(Pusher::connect(&daemon));
    let mut stream = daemon.open("a");
    let me = stream.me();
    let said = request(
        daemon.address,
        "POST",
        "/askr/subscribe",
        "",
        &body(&me, &["b"], Value::Null),
    );
    assert_eq!(said.status, 200);
    assert_eq!(lines(&daemon), Vec::<String>::new());
}
