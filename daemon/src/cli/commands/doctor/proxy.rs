//! The way of a browser through a proxy: that events come at once and as they are, that a quiet stream stays open, that
//! pages of another origin may read it, that WebSockets get through, and what a monitor sees.

use std::path::Path;
use std::time::Duration;

use super::finding::Findings;
use super::http::{Answer, Url};
use super::permissions::group_name;
use super::{clock, daemon, nginx};
use crate::config::Settings;

const PART: &str = "proxy";
const QUERY: &str = "?channel=askr-doctor";
/// How long a quiet stream is watched, at least and at most.
const SHORT: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
const SNIPPET: &str =
    "in nginx: include snippets/askr.conf; in the site's server block, then: nginx -s reload";
const HELD_BACK: &str = "the proxy holds events back: nothing came within 10 seconds";
const UNBUFFERED: &str = "proxy_buffering off; for /askr/, or the whole snippets/askr.conf";

/// Without a URL: whether any site passes something on. A proxy other than nginx is not looked for.
pub fn is_there(settings: &Settings, root: &Path, findings: &mut Findings) {
    let behind = !settings.server.sockets().is_empty();
    if behind && nginx::speaks_of_askr(root) == Some(false) {
        let what = "no site of nginx passes anything on to askrd, so no event comes to a browser";
        findings.warning(PART, what.into(), SNIPPET);
    }
}

/// Whether events come through.
pub fn examine(
    settings: &Settings,
    url: &str,
    origin: Option<&str>,
    is_away: bool,
    findings: &mut Findings,
) -> bool {
    let url = match Url::parse(url) {
        Ok(url) => url,
        Err(why) => {
            findings.problem(
                PART,
                why,
                "askrd doctor --url https://shop.example/askr/events",
            );
            return false;
        }
    };
    if is_away {
        away(&url, origin, findings);
        return false;
    }
    let Some(mut stream) = stream(settings, &url, findings) else {
        return false;
    };
    if let Some(date) = stream.header_as_it_is("date") {
        clock::compare(url.site(), &date, findings);
    }
    if let Some(origin) = origin {
        cross_origin(&url, origin, findings);
    }
    websocket(&url, findings);
    monitor(&url, findings);
    protocol(&url, findings);
    stays_open(settings, &mut stream, findings);
    true
}

/// An answer that an EventSource takes for a stream.
fn events(url: &Url, more: &str, findings: &mut Findings) -> Option<Answer> {
    let headers = format!("Accept: text/event-stream\r\nAccept-Encoding: gzip, br\r\n{more}");
    let answer = match url.get(QUERY, &headers) {
        Ok(answer) => answer,
        // A refusal is a whole answer: if that comes, the proxy waits for more of a stream before it passes on its head.
        Err(_) if url.get("", &headers).is_ok() => {
            findings.problem(PART, HELD_BACK.into(), UNBUFFERED);
            return None;
        }
        Err(why) => {
            let what = format!("{} cannot be asked: {why}", url.path);
            findings.problem(PART, what, SNIPPET);
            return None;
        }
    };
    let status = answer.status();
    if status != 200 {
        let what = format!(
            "{} answers with status {status}, at which an EventSource gives up for good",
            url.path
        );
        let mend = match status {
            403 => {
                "server.allowed_hosts in askr.toml, if it is set; the log says which: journalctl -u askrd"
            }
            429 | 500.. => "systemctl status askrd; the proxy's error log",
            _ => SNIPPET,
        };
        findings.problem(PART, what, mend);
        return None;
    }
    let kind = answer.header("content-type").unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        let what = format!(
            "{} answers with {kind:?}, not with events: somebody else answers there",
            url.path
        );
        findings.problem(PART, what, SNIPPET);
        return None;
    }
    if let Some(encoding) = answer.header("content-encoding") {
        let what = format!("the proxy compresses events ({encoding}), and so holds them back");
        findings.problem(PART, what, "gzip off; (and brotli off;) for /askr/");
        return None;
    }
    Some(answer)
}

/// What the proxy answers while askrd is away: a time to come back, also to pages of another origin.
fn away(url: &Url, origin: Option<&str>, findings: &mut Findings) {
    let more = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
    let Some(mut answer) = events(url, &more, findings) else {
        return;
    };
    if !answer.waits_for("retry:") {
        let what = "askrd is away, and the proxy does not say when to come back".to_owned();
        findings.warning(PART, what, SNIPPET);
    }
    let allowed = answer.header_as_it_is("access-control-allow-origin");
    if let Some(origin) = origin
        && allowed.is_none_or(|allowed| allowed != origin && allowed != "*")
    {
        let what = format!(
            "pages of {origin} do not come back from a restart: the proxy's answer is not for them"
        );
        let mend = format!("{origin:?} $http_origin; in conf.d/askr.conf, then: nginx -s reload");
        findings.warning(PART, what, mend);
    }
}

/// A stream that has begun.
fn stream(settings: &Settings, url: &Url, findings: &mut Findings) -> Option<Answer> {
    let mut answer = events(url, "", findings)?;
    if answer.waits_for("event: askr:connected") {
        return Some(answer);
    }
    match answer.body().contains("retry:") {
        true => in_its_place(settings, url, &answer, findings),
        false => findings.problem(PART, HELD_BACK.into(), UNBUFFERED),
    }
    None
}

/// The proxy answers for askrd, which runs.
fn in_its_place(settings: &Settings, url: &Url, answer: &Answer, findings: &mut Findings) {
    let is_nginx = answer
        .header("server")
        .is_some_and(|name| name.starts_with("nginx"));
    for socket in settings.server.sockets() {
        let Ok(meta) = std::fs::metadata(&socket) else {
            continue;
        };
        // Said by then.
        if daemon::is_shut(&meta) {
            return;
        }
        if let Some(user) = nginx::shut_out(&socket).filter(|_| is_nginx) {
            let at = socket.display();
            let what = format!(
                "the proxy answers in the place of askrd: nginx runs as {user}, who may not connect to {at}"
            );
            let group = group_name(&meta);
            let mend = format!("usermod -aG {group} {user} && systemctl restart nginx");
            return findings.problem(PART, what, mend);
        }
    }
    let up = url.at(&url.path.replace("/events", "/up"));
    let what = "the proxy answers in the place of askrd, which it cannot reach, or which is full";
    let mend = format!(
        "systemctl status askrd; curl http://{}{}, and then the proxy's error log has the reason (may it open the socket? group askr)",
        up.site(),
        up.path
    );
    findings.problem(PART, what.into(), mend);
}

fn websocket(url: &Url, findings: &mut Findings) {
    let headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let path = url.path.replace("/events", "/ws");
    let status = url
        .at(&path)
        .get(QUERY, headers)
        .map_or(0, |answer| answer.status());
    if status != 101 {
        let what = format!("{path} does not become a WebSocket (status {status})");
        let mend = "proxy_set_header Upgrade $http_upgrade; and Connection \"upgrade\"; for it: snippets/askr.conf";
        findings.warning(PART, what, mend);
    }
}

/// What a page of another origin is answered.
fn cross_origin(url: &Url, origin: &str, findings: &mut Findings) {
    let listed = |answer: &Answer| {
        let allowed = answer.header_as_it_is("access-control-allow-origin");
        allowed.is_some_and(|allowed| allowed == origin || allowed == "*")
    };
    let own = format!("Origin: {origin}\r\n");
    let mend = format!(
        "server.allowed_origins = [{origin:?}] in askr.toml (systemctl reload askrd), and \
         {origin:?} $http_origin; in conf.d/askr.conf"
    );
    let Ok(answer) = url.get(QUERY, &own) else {
        return;
    };
    if answer.status() == 403 {
        let what = format!("pages of {origin} are refused");
        return findings.problem(PART, what, mend);
    }
    if !listed(&answer) {
        let what = format!(
            "pages of {origin} may not read events: the proxy drops Access-Control-Allow-Origin"
        );
        return findings.problem(PART, what, "no proxy_hide_header for it below /askr/");
    }
    let asks = format!(
        "{own}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\nContent-Length: 0\r\n"
    );
    let change = url.at(&url.path.replace("/events", "/subscribe"));
    let answer = change.ask("OPTIONS", "", &asks);
    if !answer.is_ok_and(|answer| answer.status() == 204 && listed(&answer)) {
        let what = format!("pages of {origin} may not add channels: OPTIONS is not passed on");
        findings.warning(PART, what, SNIPPET);
    }
}

/// Whether a monitor sees that askrd is away.
fn monitor(url: &Url, findings: &mut Findings) {
    let up = url.at(&url.path.replace("/events", "/up"));
    let says = |mut answer: Answer| answer.status() == 200 && answer.waits_for("\"health\"");
    if !up.get("", "").is_ok_and(says) {
        let what = format!(
            "{} does not say whether askrd is there, so no monitor can ask",
            up.path
        );
        findings.warning(PART, what, SNIPPET);
    }
}

/// Over HTTP/1.1 a browser has six connections to a host, and each page with an EventSource keeps one.
fn protocol(url: &Url, findings: &mut Findings) {
    if let Ok(Some(false)) = url.speaks_http2() {
        let what = "it speaks HTTP/1.1 only, so the seventh tab of a browser gets no events, nor anything else";
        findings.warning(
            PART,
            what.into(),
            "http2 on; in the site's server block (before nginx 1.25: listen 443 ssl http2;)",
        );
    }
}

/// Whether a stream outlives the time between two pings.
fn stays_open(settings: &Settings, stream: &mut Answer, findings: &mut Findings) {
    let ping = settings.server.ping;
    // Checked once a ping, at one of many moments of it.
    let time = Duration::from_secs_f64(ping * 1.25).clamp(SHORT, LONGEST);
    if !stream.lasts(time) {
        let what = format!(
            "the proxy ends a stream that is quiet for less than the {ping} seconds between two pings"
        );
        let mend =
            "proxy_read_timeout 5m; for /askr/ (snippets/askr.conf), or a smaller server.ping";
        findings.problem(PART, what, mend);
    }
}
