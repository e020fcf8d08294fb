//! Private channels: who gets in with which token, and for how long.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Client, Daemon, askrd, exchange};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A token for `channels` (a JSON list) that ends in `seconds`.
fn token(secret: &str, channels: &str, seconds: u64) -> String {
    let claims = format!("{{\"channels\":{channels},\"exp\":{}}}", now() + seconds);
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part("{\"alg\":\"HS256\"}"), part(&claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// A daemon that knows the secret.
fn daemon(settings: &str) -> (Daemon, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let at = path.display();
    (
        Daemon::start(&format!("auth.secret_file = '{at}'\n{settings}")),
        directory,
    )
}

fn status(daemon: &Daemon, query: &str, headers: &str) -> String {
    let request = format!(
        "GET /askr/events?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
    );
    exchange(daemon.address, request.as_bytes())
}

#[test]
fn a_token_opens_what_it_grants_and_nothing_else() {
    let (daemon, _secret) = daemon("");
    let mine = token(SECRET, r#"["private-a", "private-b.*"]"#, 60);
    let bearer = format!("Bearer {mine}");
    let mut client = daemon.open_with(
        "channel=private-a&channel=private-b.7&channel=public",
        &[("Authorization", &bearer)],
    );
    for channel in ["private-a", "private-c", "private-b.7", "public"] {
        daemon.publish(channel, channel);
    }
    assert_eq!(client.take(3), ["private-a", "private-b.7", "public"]);

    let mut by_cookie = daemon.open_with(
        "channel=private-a",
        &[("Cookie", &format!("x=1; askr_token={mine}"))],
    );
    let mut by_query = daemon.open_with(&format!("channel=private-a&token={mine}"), &[]);
    daemon.publish("private-a", "again");
    assert_eq!(by_cookie.next().data, "again");
    assert_eq!(by_query.next().data, "again");
    // A public channel needs none, not even a good one.
    drop(daemon.open_with("channel=public", &[("Authorization", "Bearer nonsense")]));
}

#[test]
fn everybody_else_is_refused_with_a_reason() {
    let (daemon, _secret) = daemon("");
    let good = token(SECRET, r#"["private-a"]"#, 60);
    let forged = token("another secret of the same length", r#"["*"]"#, 60);
    let stale = token(SECRET, r#"["private-a"]"#, 0);
    let cookie = format!("Cookie: askr_token={good}\r\nSec-Fetch-Site: cross-site\r\n");
    let none = {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = format!("{{\"channels\":[\"*\"],\"exp\":{}}}", now() + 60);
        format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims))
    };
    for (wanted, reason, query, headers) in [
        (401, "needs a token", "channel=private-a".to_owned(), ""),
        (
            401,
            "signature",
            format!("channel=private-a&token={forged}"),
            "",
        ),
        (
            401,
            "expired",
            format!("channel=private-a&token={stale}"),
            "",
        ),
        (
            401,
            "algorithm",
            format!("channel=private-a&token={none}"),
            "",
        ),
        (
            401,
            "compact form",
            "channel=private-a&token=x".to_owned(),
            "",
        ),
        (
            401,
            "signature",
            format!(
                "channel=private-a&token={}",
                &good[..=good.rfind('.').unwrap()]
            ),
            "",
        ),
        (
            401,
            "needs a token",
            "channel=private-a".to_owned(),
            cookie.as_str(),
        ),
        (
            403,
            "channel 2",
            format!("channel=private-a&channel=private-b&token={good}"),
            "",
        ),
    ] {
        let answer = status(&daemon, &query, headers);
        let line = answer.lines().last().unwrap_or_default();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {wanted} ")),
            "{query}: {answer}"
        );
        assert!(line.contains(reason), "{query}: {line}");
        assert!(!answer.contains(&good), "a token is not repeated");
    }
    assert_eq!(daemon.metric("askr_tokens_refused_total"), 7);
    assert_eq!(daemon.metric("askr_streams"), 0);
}

#[test]
fn a_stream_is_told_before_its_token_ends_and_ends_with_it() {
    let (daemon, _secret) = daemon("auth.expiry_notice = 60");
    let short = token(SECRET, r#"["private-a"]"#, 3);
    let mut client = daemon.open_with(&format!("channel=private-a&token={short}"), &[]);
    daemon.publish("private-a", "before");
    assert_eq!(client.next().data, "before");
    let notice = client.next();
    assert_eq!(notice.event, "askr:expiring");
    assert!(notice.data.starts_with("{\"expires\":"), "{}", notice.data);
    assert!(client.end().is_empty());
    assert_eq!(
        daemon.metric("askr_streams_ended_total{reason=\"token\"}"),
        1
    );
    // With the next token it goes on where it was.
    let cursor = client.parser.last_event_id().to_owned();
    daemon.publish("private-a", "meanwhile");
    let long = token(SECRET, r#"["private-a"]"#, 600);
    let mut back = Client::connect(daemon.address);
    let target = format!("/askr/events?channel=private-a&token={long}");
    back.request(&target, &[("Last-Event-ID", &cursor)]);
    assert_eq!(back.next().data, "meanwhile");
}

#[test]
fn a_secret_that_cannot_be_used_is_told_by_file_key_and_reason() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    let config = directory.path().join("askr.toml");
    std::fs::write(
        &config,
        format!("auth.secret_file = '{}'", secret.display()),
    )
    .unwrap();
    let check = || {
        let output = askrd().args(["check", "--config"]).arg(&config).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    };
    let (code, missing) = check();
    assert_eq!(code, Some(2));
    assert!(
        missing.contains("askr.toml: auth.secret_file: "),
        "{missing}"
    );
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, open) = check();
    assert_eq!(code, Some(2));
    assert!(
        open.contains("open to everybody") && !open.contains(SECRET),
        "{open}"
    );
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(check().0, Some(0));
}
