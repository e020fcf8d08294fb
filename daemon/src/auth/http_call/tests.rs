use std::sync::Arc;

use super::*;
use crate::auth::authorizer::{Access, Closed};
use crate::outbound::http_client::testing::{App, Reply, app, nobody, ok};
use crate::process::client_key::testing::client;

const A: Wanted = Wanted {
    number: 1,
    name: "private-a",
};
const B: Wanted = Wanted {
    number: 2,
    name: "presence-b",
};
const NOW: u64 = 1000;
const OPEN: &str = r#"{"channels":{"private-a":true,"presence-b":{"user":7,"info":[1]}}}"#;

fn call(url: &str) -> HttpCall {
    HttpCall::new(url, Limits::default()).unwrap()
}

fn hasty(url: &str) -> HttpCall {
    let limits = Limits {
        time: Duration::from_millis(200),
        ..Limits::default()
    };
    HttpCall::new(url, limits).unwrap()
}

fn cookie(text: &'static str) -> Claim {
    let mut claim = Claim::default();
    let value = HeaderValue::from_static(text);
    claim.headers.insert(COOKIE, value);
    claim
}

fn open(user: Option<&str>, info: Option<&str>) -> Answer {
    Ok(Access {
        user: user.map(Into::into),
        info: info.map(Into::into),
        expires: None,
        issued: Some(NOW),
    })
}

fn away() -> Result<Vec<Answer>, Refused> {
    Err(Refused::Away("the application cannot be asked now".into()))
}

fn counts(call: &HttpCall) -> [u64; 5] {
    let c = &call.counts;
    [&c.asked, &c.refused, &c.away, &c.full, &c.cached].map(|count| count.load(Relaxed))
}

async fn always(body: &'static str) -> App {
    app(move |_, _| ok(body)).await
}

#[tokio::test]
async fn one_call_asks_about_all_channels() {
    let mut app = always(OPEN).await;
    let call = call(&app.url);
    let claim = Claim {
        socket: Some("1.2".into()),
        ..cookie("a=2")
    };
    let answers = call.authorize(&claim, &[A, B], NOW).await.unwrap();
    assert_eq!(answers, [open(None, None), open(Some("7"), Some("[1]"))]);
    let request = app.request().await;
    let body = request.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(
        body,
        r#"{"socket_id":"1.2","channels":["private-a","presence-b"]}"#
    );
    assert_eq!(app.waiting(), 0);
    assert_eq!(counts(&call), [1, 0, 0, 0, 0]);
    call.authorize(&cookie("a=1"), &[A], NOW).await.unwrap();
    let body = r#"{"socket_id":null,"channels":["private-a"]}"#;
    assert!(app.request().await.ends_with(body));
}

#[tokio::test]
async fn only_headers_that_identify_the_viewer_are_forwarded() {
    let mut app = always(OPEN).await;
    let mut claim = Claim {
        address: Some("::ffff:192.0.2.1".parse().unwrap()),
        ..Claim::default()
    };
    for (name, value) in [
        ("cookie", "session=1"),
        ("cookie", "other=2"),
        ("authorization", "Bearer x"),
        ("user-agent", "Browser"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("accept-language", "is"),
        ("host", "evil"),
        ("content-length", "99"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("accept", "*/*"),
        ("x-askr-request", "forged"),
        ("x-forwarded-host", "evil"),
        ("x-real-ip", "10.0.0.1"),
        ("origin", "http://evil"),
        ("x-anything", "x"),
    ] {
        claim.headers.append(name, HeaderValue::from_static(value));
    }
    call(&app.url).authorize(&claim, &[A], NOW).await.unwrap();
    let request = app.request().await;
    let head = request.split_once("\r\n\r\n").unwrap().0;
    let mut lines: Vec<&str> = head.lines().skip(1).collect();
    lines.sort_unstable();
    let host = app.url.trim_start_matches("http://").split('/').next();
    let expected = [
        "Accept-Language: is",
        "Accept: application/json",
        "Authorization: Bearer x",
        "Content-Length: 43",
        "Content-Type: application/json",
        "Cookie: other=2",
        "Cookie: session=1",
        &format!("Host: {}", host.unwrap()),
        "User-Agent: Browser",
        "X-Askr-Request: authorize",
        "X-Forwarded-For: 192.0.2.1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_channel_that_the_application_does_not_grant_stays_closed() {
    let app = always(r#"{"channels":{"private-a":false}}"#).await;
    let call = call(&app.url);
    for round in 1..=2 {
        let answers = call.authorize(&cookie("a=1"), &[A, B], NOW).await.unwrap();
        for (number, answer) in answers.into_iter().enumerate() {
            let reason = format!(
                "channel {} stays closed: the application's answer",
                number + 1
            );
            assert_eq!(answer, Err(Closed::NotGranted(reason)));
        }
        assert_eq!(
            counts(&call),
            [round, 2 * round, 0, 0, 0],
            "a refusal is not remembered"
        );
    }
}

#[tokio::test]
async fn a_viewer_may_be_refused_as_a_whole() {
    let reason = || "the application refuses this viewer".to_owned();
    for (status, refused) in [
        ("401 Unauthorized", Refused::Unauthorized(reason())),
        ("403 Forbidden", Refused::Forbidden(reason())),
    ] {
        let app = app(move |_, _| Reply::Answer(status, OPEN.into())).await;
        let call = call(&app.url);
        let answers = call.authorize(&cookie("a=1"), &[A, B], NOW).await;
        assert_eq!(answers, Err(refused));
        assert_eq!(counts(&call), [1, 2, 0, 0, 0]);
    }
}

#[tokio::test]
async fn an_application_that_gives_no_answer_is_unavailable_and_grants_nothing() {
    let answer = |status, body: &str| Reply::Answer(status, body.to_owned());
    let padded = format!("{OPEN}{}", " ".repeat(256 << 10));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for reply in [
        Reply::Hang,
        Reply::Slowly("HTTP/1.1 200 OK\r\n\r\n{\"channels\":{\"private-a\":true}}"),
        Reply::Close,
        Reply::Raw("\u{1}\0\r\n\r\n".into()),
        Reply::Raw(format!(
            "{chunked}{:x}\r\n{padded}\r\n0\r\n\r\n",
            padded.len()
        )),
        Reply::Raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{OPEN}"
        )),
        answer("200 OK", &padded),
        answer("200 OK", "<html>"),
        answer("200 OK", ""),
        answer("200 OK", r#"{"channels":{"private-a":"yes"}}"#),
        answer("201 Created", OPEN),
        answer("204 No Content", ""),
        answer("302 Found", OPEN),
        answer("404 Not Found", OPEN),
        answer("419 Page Expired", OPEN),
        answer("500 Internal Server Error", OPEN),
        answer("503 Service Unavailable", OPEN),
    ] {
        let given = reply.clone();
        let app = app(move |_, _| given.clone()).await;
        let call = hasty(&app.url);
        let answers = call.authorize(&cookie("a=1"), &[A], NOW).await;
        assert_eq!(answers, away(), "{reply:?}");
        assert_eq!(counts(&call), [1, 0, 1, 0, 0], "{reply:?}");
    }
    let nobody = call(&nobody());
    assert_eq!(nobody.authorize(&cookie("a=1"), &[A], NOW).await, away());
    assert_eq!(counts(&nobody), [1, 0, 1, 0, 0]);
}

#[tokio::test]
async fn it_is_asked_again_as_soon_as_it_is_available() {
    let app = app(|number, _| match number {
        0 => Reply::Answer("500 Internal Server Error", String::new()),
        _ => ok(OPEN),
    })
    .await;
    let call = call(&app.url);
    assert_eq!(call.authorize(&cookie("a=1"), &[A], NOW).await, away());
    let answers = call.authorize(&cookie("a=1"), &[A], NOW).await;
    assert_eq!(answers, Ok(vec![open(None, None)]));
}

#[tokio::test]
async fn granted_access_is_remembered_for_this_viewer_and_for_a_while() {
    let body = r#"{"channels":{"private-a":true,"presence-b":{"user":"7","expires":1010}}}"#;
    let mut app = always(body).await;
    let call = call(&app.url);
    let mut asked = async |claim: &Claim, channels: &[Wanted], now| {
        let answers = call.authorize(claim, channels, now).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
        app.waiting()
    };
    let viewer = cookie("a=1");
    assert_eq!(asked(&viewer, &[A, B], NOW).await, 1);
    assert_eq!(asked(&viewer, &[A, B], NOW + 9).await, 0);
    assert_eq!(asked(&viewer, &[B, A], NOW + 9).await, 0, "in any order");
    assert_eq!(asked(&viewer, &[A], NOW + 29).await, 0);
    assert_eq!(asked(&cookie("a=2"), &[A], NOW).await, 1, "somebody else");
    assert_eq!(asked(&viewer, &[A], NOW + 30).await, 1, "too old");
    assert_eq!(counts(&call)[4], 5);
}

#[tokio::test]
async fn expired_access_is_not_remembered() {
    let mut app = app(|number, _| {
        let expires = 1010 + 10 * number;
        ok(&format!(
            r#"{{"channels":{{"private-a":true,"presence-b":{{"user":"7","expires":{expires}}}}}}}"#
        ))
    })
    .await;
    let call = call(&app.url);
    let viewer = cookie("a=1");
    call.authorize(&viewer, &[A, B], NOW).await.unwrap();
    app.request().await;
    let answers = call.authorize(&viewer, &[A, B], NOW + 10).await.unwrap();
    assert_eq!(answers[1].clone().unwrap().expires, Some(1020));
    let request = app.request().await;
    assert!(
        request.ends_with(r#""channels":["presence-b"]}"#),
        "only what it does not know"
    );
}

#[tokio::test]
async fn a_revocation_makes_it_ask_again() {
    let app = always(OPEN).await;
    let call = call(&app.url);
    let viewer = cookie("a=1");
    let asked = async || {
        call.authorize(&viewer, &[A, B], NOW).await.unwrap();
        call.counts.asked.load(Relaxed)
    };
    assert_eq!((asked().await, asked().await), (1, 1));
    // Access to A was granted without a user: it may be the revoked one.
    call.revoke(Some("8"), NOW);
    assert_eq!((asked().await, asked().await), (2, 2));
    call.revoke(Some("7"), NOW);
    assert_eq!((asked().await, asked().await), (3, 3));
    call.revoke(None, NOW);
    assert_eq!(asked().await, 4);
}

#[tokio::test]
async fn access_granted_during_a_revocation_does_not_count() {
    let call: Arc<std::sync::OnceLock<HttpCall>> = Arc::default();
    let other = call.clone();
    let app = app(move |number, _| {
        if number == 0 {
            other.get().unwrap().revoke(Some("7"), NOW);
        }
        ok(OPEN)
    })
    .await;
    let call = call.get_or_init(|| super::HttpCall::new(&app.url, Limits::default()).unwrap());
    let viewer = cookie("a=1");
    assert_eq!(call.authorize(&viewer, &[A, B], NOW).await, away());
    let again = call.authorize(&viewer, &[A, B], NOW).await.unwrap();
    assert!(again.iter().all(Answer::is_ok));
    assert_eq!(call.counts.asked.load(Relaxed), 2);
}

#[tokio::test]
async fn concurrent_calls_are_bounded_and_an_abandoned_one_makes_room() {
    let mut app = app(|number, _| match number {
        0 | 1 => Reply::Hang,
        _ => ok(OPEN),
    })
    .await;
    let limits = Limits {
        calls: 2,
        time: Duration::from_secs(600),
        ..Limits::default()
    };
    let call = Arc::new(HttpCall::new(&app.url, limits).unwrap());
    let hanging: Vec<_> = (0..2)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move { call.authorize(&cookie("a=1"), &[A], NOW).await })
        })
        .collect();
    app.request().await;
    app.request().await;
    for _ in 0..3 {
        assert_eq!(call.authorize(&cookie("a=1"), &[A], NOW).await, away());
    }
    assert_eq!(counts(&call), [2, 0, 0, 3, 0]);
    // The viewer went away.
    hanging[0].abort();
    for one in hanging {
        one.abort();
        let _ = one.await;
    }
    let answers = call.authorize(&cookie("a=1"), &[A], NOW).await;
    assert_eq!(answers, Ok(vec![open(None, None)]));
}

#[tokio::test]
async fn channels_of_a_call_are_bounded() {
    let app = always(OPEN).await;
    let limits = Limits {
        channels: 1,
        ..Limits::default()
    };
    let call = HttpCall::new(&app.url, limits).unwrap();
    let refused = call
        .authorize(&cookie("a=1"), &[A, B], NOW)
        .await
        .unwrap_err();
    assert_eq!(
        refused.reason(),
        "the application is asked about at most 1 channels at once"
    );
    assert_eq!(counts(&call), [0; 5]);
}

#[tokio::test]
async fn it_is_asked_about_a_viewer_without_credentials_only_if_configured() {
    let mut app = always(OPEN).await;
    let mut stranger = Claim {
        token: Some("x".into()),
        ..Claim::default()
    };
    let agent = HeaderValue::from_static("Browser");
    stranger.headers.insert(USER_AGENT, agent);
    let call = call(&app.url);
    let what = "a cookie or an Authorization header that the application knows";
    assert_eq!(
        call.authorize(&stranger, &[A, B], NOW).await,
        Ok(vec![Err(Closed::NotShown(what)); 2])
    );
    assert_eq!((app.waiting(), counts(&call)), (0, [0; 5]));
    assert_eq!(call.counts.anonymous.load(Relaxed), 1);
    let limits = Limits {
        anonymous: true,
        ..Limits::default()
    };
    let call = HttpCall::new(&app.url, limits).unwrap();
    for _ in 0..2 {
        let answers = call.authorize(&stranger, &[A], NOW).await;
        assert_eq!(answers, Ok(vec![open(None, None)]));
    }
    assert_eq!((app.waiting(), counts(&call)), (1, [1, 0, 0, 0, 1]));
}

#[tokio::test]
async fn a_client_has_its_share_of_the_calls() {
    let mut app = app(|_, _| Reply::Hang).await;
    let limits = Limits {
        calls: 2,
        calls_per_client: 1,
        time: Duration::from_secs(600),
        ..Limits::default()
    };
    let call = Arc::new(HttpCall::new(&app.url, limits).unwrap());
    let of = |n| Claim {
        client: client(n),
        ..cookie("a=1")
    };
    let ask = |n| {
        let call = call.clone();
        tokio::spawn(async move { call.authorize(&of(n), &[A], NOW).await })
    };
    let one = ask(1);
    app.request().await;
    assert_eq!(call.authorize(&of(1), &[A], NOW).await, away());
    assert_eq!(call.counts.share.load(Relaxed), 1);
    let two = ask(2);
    app.request().await;
    assert_eq!(call.authorize(&of(3), &[A], NOW).await, away());
    assert_eq!((call.counts.share.load(Relaxed), counts(&call)[3]), (1, 1));
    // An abandoned call gives its share back.
    one.abort();
    two.abort();
    assert!(one.await.is_err() && two.await.is_err());
    drop(ask(1));
    app.request().await;
}
