//! The control socket under askers who do not finish, and at its limits.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::grants::{Socket, token_of};
use crate::common::ws::{Pusher, app};
use crate::common::{Client, Daemon, askrd, metric_of};
use serde_json::json;

/// As `askers.rs` has it.
const OF_A_USER: usize = 64;

/// A connection that has said this, and has yet to say more.
fn begin(daemon: &Daemon, said: &str) -> UnixStream {
    let path = daemon.directory.path().join("control.sock");
    let mut socket = UnixStream::connect(path).unwrap();
    // It may have been refused at once.
    let _ = socket.write_all(said.as_bytes());
    socket
}

fn is_open(mut socket: &UnixStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let read = socket.read(&mut [0]);
    socket.set_nonblocking(false).unwrap();
    read.is_err_and(|why| why.kind() == ErrorKind::WouldBlock)
}

fn answer(mut socket: UnixStream) -> String {
    let patience = Duration::from_secs(60);
    socket.set_read_timeout(Some(patience)).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = socket.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn requests_that_are_not_finished_keep_nobody_waiting() {
    let daemon = Daemon::start("");
    let at = daemon.ring();
    let body = format!(
        "POST /disconnect?ring={} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n",
        at.display()
    );
    let unfinished = ["", "GET /healthz HT", &body].map(|said| {
        let all = (0..OF_A_USER / 4).map(|_| begin(&daemon, said));
        all.collect::<Vec<UnixStream>>()
    });
    // Its answer, while not one of the others has ended by its time.
    assert!(daemon.control("/healthz").ends_with("\r\n\r\nok\n"));
    let channels = daemon.control(&format!("/channels?ring={}", at.display()));
    assert!(channels.ends_with("{\"channels\":{}}"), "{channels}");
    assert!(unfinished.iter().flatten().all(is_open));
    // When a request times out, one whose body was being read is answered with the reason.
    let [_, _, mut bodies] = unfinished;
    let said = answer(bodies.remove(0));
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
}

#[test]
fn who_has_too_many_connections_is_told_so_and_has_room_again() {
    let daemon = Daemon::start("");
    let mut held: Vec<UnixStream> = (0..OF_A_USER).map(|_| begin(&daemon, "GET")).collect();
    for _ in 0..100 {
        let said = answer(begin(&daemon, ""));
        assert!(said.starts_with("HTTP/1.1 503 "), "{said:?}");
        assert!(said.ends_with("ask too much at one time\n"), "{said:?}");
    }
    assert!(held.iter().all(is_open));
    held.pop();
    // Until it has been seen that it is gone, as each answered connection too holds its place until then.
    let metrics = loop {
        let said = answer(begin(&daemon, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
        if !said.starts_with("HTTP/1.1 503 ") {
            break said;
        }
    };
    assert!(metric_of(&metrics, "askr_control_refused_total") >= 100);
}

#[test]
fn who_takes_no_answers_makes_its_own_wait_only_for_their_turn() {
    let daemon = Daemon::start("");
    // Answers that fill a socket, which is a few hundred kilobytes.
    let names = |n: usize| {
        let all: Vec<String> = (0..100)
            .map(|m| format!("channel={}{n}.{m}", "x".repeat(100)))
            .collect();
        all.join("&")
    };
    let _streams: Vec<_> = (0..100).map(|n| daemon.open_with(&names(n), &[])).collect();
    let ring = daemon.ring();
    let question = format!(
        "GET /channels?ring={} HTTP/1.1\r\nHost: x\r\n\r\n",
        ring.display()
    );
    let asked: Vec<UnixStream> = (0..20).map(|_| begin(&daemon, &question)).collect();
    // What needs no turn is answered meanwhile.
    assert!(daemon.control("/healthz").ends_with("\r\n\r\nok\n"));
    assert_eq!(daemon.metric("askr_channels"), 10_000);
    // Each is answered wholly once those before it have taken theirs.
    for socket in asked {
        let said = answer(socket);
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("}}"));
    }
}

#[test]
fn a_malformed_parameter_is_refused_by_its_name() {
    let daemon = Daemon::start("");
    let ring = daemon.ring();
    let ring = ring.display();
    for (target, reason) in [
        (
            format!("/channels?ring={ring}&prefix=%ff"),
            "prefix must be valid UTF-8",
        ),
        (
            format!("/members?ring={ring}&channel=%zz"),
            "channel has a % without two hexadecimal digits",
        ),
        ("/channels?ring=%ff".to_owned(), "ring must be valid UTF-8"),
        (
            format!("/channels?ring={ring}&ring={ring}"),
            "ring must be given once",
        ),
    ] {
        let answer = daemon.control(&target);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
        assert!(
            answer.ends_with(&format!("\r\n\r\n{reason}\n")),
            "{target}: {answer}"
        );
    }
}

/// A stream of this user.
fn listen(daemon: &Daemon, user: &str) -> Client {
    let bearer = format!("Bearer {}", token_of(user, &["private-a"], 60));
    daemon.open_with("channel=private-a", &[("Authorization", &bearer)])
}

/// What `askrd disconnect` says: exit code, standard output, standard error.
fn disconnect(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = askrd();
    command.arg("disconnect").args(arguments);
    let said = command
        .arg("--config")
        .arg(daemon.config())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (said.status.code(), text(said.stdout), text(said.stderr))
}

#[test]
fn a_user_called_like_a_socket_id_is_disconnected_where_a_user_is_meant() {
    let daemon = Daemon::start(&app(""));
    let (mut first, mut second) = (listen(&daemon, "3.17"), listen(&daemon, "3.17"));
    let mut other = listen(&daemon, "7");
    let Socket { id, .. } = other.me();
    assert_eq!(
        disconnect(&daemon, &["--user", "3.17"]),
        (Some(0), "2 connections ended\n".into(), String::new())
    );
    first.end();
    second.end();
    assert_eq!(
        disconnect(&daemon, &["--socket", &id]),
        (Some(0), "1 connection ended\n".into(), String::new())
    );
    other.end();
    // By the socket itself, as PHP asks.
    let mut again = listen(&daemon, "4.5");
    assert_eq!(daemon.disconnect(&json!({"user": "4.5"})), 1);
    again.end();
}

/// As long as `app.user_id_bytes` allows.
#[test]
fn a_user_with_the_longest_id_is_disconnected() {
    let daemon = Daemon::start(&app("app.user_id_bytes = 184\n"));
    let user = "x".repeat(184);
    for arguments in [&["--user", &*user][..], &[&user]] {
        let mut member = Pusher::connect(&daemon);
        member.join("presence-a", &user);
        let said = (Some(0), "1 connection ended\n".into(), String::new());
        assert_eq!(disconnect(&daemon, arguments), said);
        assert_eq!(member.ws.code(), 4009);
    }
}

#[test]
fn who_is_not_found_is_no_success() {
    let daemon = Daemon::start(&app(""));
    let failed = |why: &str| (Some(1), String::new(), format!("askrd: {why}\n"));
    for (arguments, why) in [
        (
            &["3.17"][..],
            "no connection has the socket id 3.17; if it is a user's id, say --user 3.17",
        ),
        (
            &["--socket", "3.17"],
            "no connection has the socket id 3.17",
        ),
        (
            &["--user", "3.17"],
            "user 3.17 has no connection; tokens issued to them until now are refused from now on",
        ),
        (
            &["ada"],
            "user ada has no connection; tokens issued to them until now are refused from now on",
        ),
        (
            &["--socket", "ada"],
            "--socket must be a socket id, such as 123.456",
        ),
        (
            &["--socket", "01.2"],
            "--socket must be a socket id, such as 123.456",
        ),
        (&["--user", ""], "--user cannot be empty"),
    ] {
        assert_eq!(disconnect(&daemon, arguments), failed(why), "{arguments:?}");
    }
    // Everybody is nobody in particular.
    assert_eq!(
        disconnect(&daemon, &["--all"]),
        (Some(0), "0 connections ended\n".into(), String::new())
    );
    for arguments in [
        &[][..],
        &["ada", "--all"],
        &["ada", "--user", "ada"],
        &["--user", "ada", "--socket", "1.2"],
    ] {
        assert_eq!(disconnect(&daemon, arguments).0, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_user_who_cannot_exist_is_refused() {
    let daemon = Daemon::start(&app(""));
    let path = format!("/disconnect?ring={}", daemon.ring().display());
    for (user, why) in [
        (String::new(), "user cannot be empty\n"),
        ("x".repeat(185), "user must be at most 184 bytes long\n"),
        ("a\nb".into(), "user must not contain control characters\n"),
    ] {
        let said = daemon.ask("POST", &path, &json!({ "user": user }).to_string());
        assert_eq!((said.status, &*said.body), (400, why), "{user:?}");
    }
}
