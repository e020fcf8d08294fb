//! Private channels: who gets in with which token, and for how long.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common;
use crate::common::grants;
use crate::common::grants::body;
use crate::common::ws::Socket;
use crate::common::{Client, Daemon, check, exchange, refused};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A token for `channels` (a JSON list) that ends in `seconds`.
fn token(secret: &str, channels: &str, seconds: u64) -> String {
    signed("{\"alg\":\"HS256\"}", secret, channels, seconds)
}

/// The same, by the secret of this name.
fn token_by(kid: &str, secret: &str, channels: &str) -> String {
    signed(
        &json!({"alg": "HS256", "kid": kid}).to_string(),
        secret,
        channels,
        60,
    )
}

fn signed(header: &str, secret: &str, channels: &str, seconds: u64) -> String {
    let claims = format!("{{\"channels\":{channels},\"exp\":{}}}", now() + seconds);
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(header), part(&claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// A daemon that knows the secret.
fn daemon(settings: &str) -> (Daemon, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = secret_file(&directory);
    replace(&path, &format!("{SECRET}\n"));
    let at = path.display();
    (
        Daemon::start(&format!("auth.secret_file = '{at}'\n{settings}")),
        directory,
    )
}

fn secret_file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("secret")
}

/// Replaces a file of secrets as a whole.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&new, path).unwrap();
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
    // The token ends so soon that the notice is due at once: either may be the first.
    let mut came = [client.next(), client.next()];
    came.sort_by_key(|message| message.event != "askr:expiring");
    let [notice, before] = came;
    assert_eq!(before.data, "before");
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
    let settings = format!("auth.secret_file = '{}'", secret.display());
    refused(&settings, "auth.secret_file: ");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = refused(&settings, "auth.secret_file: ");
    assert!(
        open.contains("open to everybody") && !open.contains(SECRET),
        "{open}"
    );
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(check(&settings).0, Some(0));
}

const ALL: &str = r#"["*"]"#;

/// A secret like no other.
fn secret(n: usize) -> String {
    format!("secret-number-{n}-which-is-long-enough")
}

#[test]
fn a_new_secret_is_taken_at_every_door_without_a_restart() {
    let (daemon, directory) = daemon("");
    let path = secret_file(&directory);
    // Each door is the first to see a token of its own key.
    let rotate = |n: usize| {
        replace(&path, &format!("k{n} {}\n{SECRET}\n", secret(n)));
        token_by(&format!("k{n}"), &secret(n), ALL)
    };
    let mut client = daemon.open_with(&format!("channel=private-a&token={}", rotate(1)), &[]);
    let me = client.me();
    let more = json!({ "token": rotate(2) });
    let said = daemon.post("/askr/subscribe", &body(&me, &["private-b"], more));
    assert_eq!(said.status, 200, "{said:?}");
    let mut at_once = Socket::open(
        daemon.address,
        &format!("/askr/ws?channel=private-a&token={}", rotate(3)),
        &[],
    );
    at_once.until(|said| said["connected"].is_object());
    let mut later = Socket::open(daemon.address, "/askr/ws", &[]);
    later.say(&json!({"subscribe": ["private-b"], "token": rotate(4)}));
    later.until(|said| said["subscribed"] == json!(["private-b"]));
    daemon.publish("private-b", "to whom it was opened");
    assert_eq!(client.next().data, "to whom it was opened");

    // A secret without a name, and another one of the same name, are no different.
    replace(&path, &secret(5));
    drop(daemon.open_with(
        &format!("channel=private-a&token={}", token(&secret(5), ALL, 60)),
        &[],
    ));
    replace(&path, &format!("k {}\n", secret(6)));
    drop(daemon.open_with(
        &format!("channel=private-a&token={}", token_by("k", &secret(6), ALL)),
        &[],
    ));
    replace(&path, &format!("k {}\n", secret(7)));
    drop(daemon.open_with(
        &format!("channel=private-a&token={}", token_by("k", &secret(7), ALL)),
        &[],
    ));
    // What is not in the file any more is refused.
    let gone = status(
        &daemon,
        &format!("channel=private-a&token={}", token_by("k", &secret(6), ALL)),
        "",
    );
    assert!(gone.starts_with("HTTP/1.1 401 "), "{gone}");
    assert!(gone.ends_with("the token's signature is wrong\n"), "{gone}");
    let changed = daemon.metric("askr_secret_reads_total{result=\"changed\"}");
    assert_eq!(changed, 7);
}

#[test]
fn a_file_that_cannot_be_used_leaves_the_secrets_as_they_were() {
    let (daemon, directory) = daemon("");
    let path = secret_file(&directory);
    let unknown = format!(
        "channel=private-a&token={}",
        token_by("new", &secret(1), ALL)
    );
    let refused = || {
        let said = status(&daemon, &unknown, "");
        assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
        assert!(said.ends_with("the token's key is not known\n"), "{said}");
    };
    replace(&path, "short\n");
    refused();
    let line = daemon.says("line 1: a secret must be");
    assert!(
        line.contains("the secrets of before stay in force"),
        "{line}"
    );
    assert!(line.contains(&*path.to_string_lossy()), "{line}");
    std::fs::remove_file(&path).unwrap();
    refused();
    daemon.says("cannot be read: No such file");
    drop(daemon.open_with(
        &format!("channel=private-a&token={}", token(SECRET, ALL, 60)),
        &[],
    ));
    assert_eq!(
        daemon.metric("askr_secret_reads_total{result=\"failed\"}"),
        2
    );
    replace(&path, &format!("new {}\n", secret(1)));
    drop(daemon.open_with(&unknown, &[]));
    daemon.says("were read again");
}

#[test]
fn made_up_keys_do_not_have_the_file_read_more_often_than_it_may_be() {
    let (daemon, directory) = daemon("");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..10 {
            let daemon = &daemon;
            scope.spawn(move || {
                for n in 0..10 {
                    let forged = token_by(&format!("k{thread}.{n}"), &secret(n), ALL);
                    let said = status(daemon, &format!("channel=private-a&token={forged}"), "");
                    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
                    // Whoever has a good token does not wait for a read.
                    let good = token(SECRET, ALL, 60);
                    drop(daemon.open_with(&format!("channel=private-a&token={good}"), &[]));
                }
            });
        }
    });
    let reads = || daemon.metric("askr_secret_reads_total{result=\"unchanged\"}");
    // As `auth/rotation.rs` has it.
    let most = began.elapsed().as_millis() / Duration::from_millis(250).as_millis() + 1;
    assert!(
        (1..=most as u64).contains(&reads()),
        "{} of {most}",
        reads()
    );
    // In the midst of it a new key is still taken.
    replace(&secret_file(&directory), &format!("new {}\n", secret(1)));
    let query = format!(
        "channel=private-a&token={}",
        token_by("new", &secret(1), ALL)
    );
    std::thread::scope(|scope| {
        for n in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                let forged = token_by(&format!("k{n}"), &secret(2), ALL);
                status(daemon, &format!("channel=private-a&token={forged}"), "")
            });
        }
        drop(daemon.open_with(&query, &[]));
    });
}

#[test]
fn a_revocation_in_the_future_is_logged_with_its_user_and_time_and_counts_as_made_at_the_start() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("revoked-askr");
    // The clock was ahead when somebody was put out, and everybody.
    replace(
        &file,
        "askr revocations 1\nall 4102444800\n4102444800 ada\n",
    );
    let settings = format!("server.state_directory = '{}'", state.path().display());
    let (daemon, _secret) = daemon(&settings);
    for whose in ["tokens of user \"ada\"", "everybody's tokens"] {
        let said = |line: &&String| line.contains(whose);
        let line = daemon.log().iter().find(said);
        let line = line.unwrap_or_else(|| panic!("{whose}: {:?}", daemon.log()));
        for part in [
            "WARN",
            "issued until Fri, 01 Jan 2100 00:00:00 GMT are revoked, which is in the future",
            "tokens issued from now on are taken",
            &file.to_string_lossy(),
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    let answer = |token: &str| status(&daemon, &format!("channel=private-a&token={token}"), "");
    let before = grants::token_by(
        SECRET,
        &json!({"channels": ["*"], "iat": now() - 60, "exp": now() + 60}),
    );
    assert!(answer(&before).ends_with("the token was revoked\n"));
    // From the next second on.
    let opens = || {
        let mut client = Client::connect(daemon.address);
        let token = grants::token(&["*"], 60);
        client.request(
            &format!("/askr/events?channel=private-a&token={token}"),
            &[],
        );
        client.head.starts_with("HTTP/1.1 200 OK\r\n")
    };
    common::until(opens);
    assert_eq!(daemon.metric("askr_revocations_in_future"), 0);
}
