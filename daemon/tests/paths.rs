//! Paths with dot segments: a proxy that resolves them chooses by another path than the one that it passes on, so that
//! what it keeps closed would be reached through what it opens. askrd answers none, however they are written.

use crate::common::exchange;
use crate::common::ws::{KEY, app};
use crate::common::{Daemon, PATIENCE};

fn ask(daemon: &Daemon, method: &str, target: &str) -> (u16, String) {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let answer = exchange(daemon.address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| {
        panic!("no answer to {target} in {PATIENCE:?}: {answer:?}");
    });
    (head[9..12].parse().unwrap(), body.trim_end().to_owned())
}

#[test]
fn no_path_with_dot_segments_leads_anywhere_in_any_encoding() {
    let daemon = Daemon::start(&app(""));
    for path in [
        "/askr/../apps/7/channels",
        "/askr/./../apps/7/channels",
        "/askr/%2e%2e/apps/7/channels",
        "/askr/%2E./apps/7/channels",
        "/askr/.%2e/apps/7/channels",
        "/askr/%2e/apps/7/channels",
        "/askr/..%2fapps/7/channels",
        "/askr%2f..%2fapps/7/channels",
        "/askr/..%5Capps/7/channels",
        "/askr/..\\apps/7/channels",
        "/askr/%252e%252e/apps/7/channels",
        "/askr/%25252e%25252e%25252fapps/7/channels",
        "/apps/7/channels/../../../askr/events",
        "/apps/7/channels/%2e%2e/%2e%2e/%2e%2e/askr/events",
        "/apps/7/channels/..%2f..%2f..%2faskr/events",
        "/apps/7/channels/..",
        "/apps/7/channels/.",
        "/apps/7/users/%2e%2e/terminate_connections",
        "/apps/../up",
        "/apps/7/../../askr/ws",
        "/askr/events/..",
        "/askr/events/.",
        "/..",
        "/.",
        "/up/.",
        "//apps/7/channels",
        "/apps//7/channels",
        "/apps/7//channels",
        "/askr//events",
        "/askr/events//",
        "//",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let (status, reason) = ask(&daemon, method, &format!("{path}?channel=a&protocol=7"));
            assert_eq!(status, 400, "{method} {path}: {reason}");
            assert!(reason.contains("dot segment"), "{path}: {reason}");
        }
    }
    for target in [
        format!("/app/{KEY}/../../askr/events?protocol=7"),
        format!("/app/../app/{KEY}?protocol=7"),
        format!("/app/%2e%2e%2fapp%2f{KEY}?protocol=7"),
        "http://x/askr/../apps/7/channels".to_owned(),
    ] {
        let (status, reason) = ask(&daemon, "GET", &target);
        assert_eq!(status, 400, "{target}: {reason}");
    }
    assert_eq!(daemon.metric("askr_streams"), 0);
}

#[test]
fn dots_and_encoded_slashes_that_are_part_of_a_name_are_no_segments() {
    let daemon = Daemon::start(&app(""));
    // Unsigned: refused by the API itself.
    for path in [
        "/apps/7/channels/private-a.b..c",
        "/apps/7/channels/...",
        "/apps/7/channels/.hidden",
        "/apps/7/users/a%2Fb/terminate_connections",
        "/apps/7/users/a%2F..b/terminate_connections",
        "/apps/7/users/1..2/terminate_connections",
        "/apps/7/users/%25/terminate_connections",
    ] {
        let (status, reason) = ask(&daemon, "GET", path);
        assert_eq!(status, 401, "{path}: {reason}");
    }
    // Dots in a query are nobody's business.
    let (status, reason) = ask(&daemon, "GET", "/askr/events?x=/../");
    assert_eq!(
        (status, reason.contains("dot segment")),
        (400, false),
        "{reason}"
    );
    assert_eq!(ask(&daemon, "GET", "/up").0, 200);
}
