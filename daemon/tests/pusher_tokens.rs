//! Tokens over Pusher's protocol: what `auth` is one, what it opens and as whom, and how that ends.

use crate::common::Daemon;
use crate::common::grants::{SECRET, now, token, token_by, token_of};
use crate::common::ws::{KEY, Pusher, Socket, app, data};
use serde_json::{Value, json};

/// A client whose connection request has these headers.
fn connect(daemon: &Daemon, headers: &[(&str, &str)]) -> Pusher {
    let target = format!("/app/{KEY}?protocol=7&client=js&version=8.4.0");
    let mut ws = Socket::open(daemon.address, &target, headers);
    let id = data(&ws.next())["socket_id"].as_str().unwrap().to_owned();
    Pusher { ws, id }
}

fn succeeds(told: &Value, channel: &str) {
    let expected = json!("pusher_internal:subscription_succeeded");
    assert_eq!(
        (&told["event"], &told["channel"]),
        (&expected, &json!(channel)),
        "{told}"
    );
}

/// Status and reason.
fn refused(told: &Value) -> (u64, String) {
    assert_eq!(told["event"], "pusher:subscription_error", "{told}");
    let data = data(told);
    assert_eq!(data["type"], "AuthError", "{told}");
    let reason = data["error"].as_str().unwrap();
    (data["status"].as_u64().unwrap(), reason.to_owned())
}

#[test]
fn a_token_opens_what_it_grants_as_whom_it_says() {
    let daemon = Daemon::start(&app(""));
    let mine = token_of(
        "ada",
        &["private-a", "private-encrypted-a", "presence-a"],
        60,
    );
    let (mut ada, mut bob) = (Pusher::connect(&daemon), Pusher::connect(&daemon));
    for channel in ["private-a", "private-encrypted-a"] {
        succeeds(&ada.try_subscribe(channel, json!({"auth": mine})), channel);
    }
    // Who a member is, the token says, whatever the page does.
    let claimed = json!({"user_id": "eve", "user_info": {"name": "Eve"}}).to_string();
    let told = ada.try_subscribe("presence-a", json!({"auth": mine, "channel_data": claimed}));
    succeeds(&told, "presence-a");
    let ada_alone =
        json!({"presence": {"ids": ["ada"], "hash": {"ada": {"name": "user ada"}}, "count": 1}});
    assert_eq!(data(&told), ada_alone);
    // Signatures are worth what they were, also beside a token.
    bob.join("presence-a", "bob");
    assert_eq!(data(&ada.next())["user_id"], "bob");
    bob.subscribe("private-a");
    daemon.publish("private-a", "for both");
    assert_eq!(
        (ada.take("private-a", 1), bob.take("private-a", 1)),
        (vec!["for both".into()], vec!["for both".into()])
    );
    ada.ws
        .say(&json!({"event": "client-hi", "channel": "presence-a", "data": 1}));
    let hi = bob.next();
    assert_eq!(
        (&hi["event"], &hi["user_id"]),
        (&json!("client-hi"), &json!("ada"))
    );
    // The same user by another door is the same member.
    let mut again = connect(&daemon, &[]);
    succeeds(
        &again.try_subscribe("presence-a", json!({"auth": mine})),
        "presence-a",
    );
    assert_eq!(daemon.members("presence-a"), ["ada", "bob"]);
}

#[test]
fn the_cookie_of_the_handshake_is_enough() {
    let daemon = Daemon::start(&app(
        "app.allowed_origins = ['https://shop.example', 'https://*.shop.example']",
    ));
    let mine = token_of("ada", &["private-a", "presence-a"], 60);
    let cookie = format!("laravel_session=x; askr_token={mine}");
    for headers in [
        &[("Cookie", cookie.as_str())][..],
        &[("Cookie", &cookie), ("Origin", "https://shop.example")],
        &[("Authorization", &format!("Bearer {mine}"))],
    ] {
        let mut page = connect(&daemon, headers);
        succeeds(
            &page.try_subscribe("private-a", json!({"auth": ""})),
            "private-a",
        );
        let told = page.try_subscribe("presence-a", Value::Null);
        succeeds(&told, "presence-a");
        assert_eq!(data(&told)["presence"]["ids"], json!(["ada"]));
        let (status, reason) = refused(&page.try_subscribe("private-b", Value::Null));
        assert_eq!(status, 403, "{reason}");
        // One that the page shows itself comes first.
        let other = token(&["private-b"], 60);
        succeeds(
            &page.try_subscribe("private-b", json!({"auth": other})),
            "private-b",
        );
    }
    // A page of an origin that only a pattern matches is not who its cookies are.
    let pattern = [
        ("Cookie", cookie.as_str()),
        ("Origin", "https://www.shop.example"),
    ];
    let mut page = connect(&daemon, &pattern);
    let (status, reason) = refused(&page.try_subscribe("private-a", json!({"auth": ""})));
    assert_eq!(
        (status, reason.as_str()),
        (401, "this channel needs auth, a signature or a token")
    );
    succeeds(
        &page.try_subscribe("private-a", json!({"auth": mine})),
        "private-a",
    );
}

#[test]
fn a_plain_websocket_adds_channels_by_the_cookie_of_its_handshake() {
    let daemon = Daemon::start(&app(""));
    let cookie = format!("askr_token={}", token(&["private-a"], 60));
    let mut socket = Socket::open(daemon.address, "/askr/ws", &[("Cookie", &cookie)]);
    socket.say(&json!({"subscribe": ["private-a"]}));
    let told = socket.until(|m| m["subscribed"].is_array() || m["error"].is_object());
    assert_eq!(told["subscribed"], json!(["private-a"]), "{told}");
    socket.say(&json!({"subscribe": ["private-b"]}));
    let told = socket.until(|m| m["subscribed"].is_array() || m["error"].is_object());
    assert_eq!(told["error"]["code"], 403, "{told}");
}

#[test]
fn a_token_that_opens_nothing_is_refused_with_a_reason_and_the_connection_stays() {
    let daemon = Daemon::start(&app(""));
    let mut page = Pusher::connect(&daemon);
    let good = token(&["private-a", "presence-a"], 60);
    let forged = token_by(
        "another secret, as long as it must be",
        &json!({"channels": ["private-a"], "iat": now(), "exp": now() + 60}),
    );
    let expired = token_by(
        SECRET,
        &json!({"channels": ["private-a"], "iat": now() - 200, "exp": now() - 100}),
    );
    for (channel, auth, status, why) in [
        ("private-b", good.as_str(), 403, "does not grant"),
        ("presence-a", &good, 403, "no user is named"),
        ("private-a", &forged, 401, "signature"),
        ("private-a", &expired, 401, "expired"),
        ("private-a", "a.b.c", 401, ""),
        ("private-a", "", 401, "a signature or a token"),
        // No token: it is taken for a signature.
        ("private-a", "key:code.with.dots", 401, ""),
    ] {
        let (said, reason) = refused(&page.try_subscribe(channel, json!({"auth": auth})));
        assert_eq!(said, status, "{auth}: {reason}");
        assert!(
            reason.contains(why) && !reason.contains(&good[..20]),
            "{reason}"
        );
    }
    // The last one is counted when its answer is on its way already.
    let counter = "askr_websocket_refused_total{what=\"subscription\"}";
    daemon.until(counter, |count| count == 7);
    succeeds(
        &page.try_subscribe("private-a", json!({"auth": good})),
        "private-a",
    );

    let daemon = Daemon::start(&app("app.authorizers = ['pusher']"));
    let mut page = Pusher::connect(&daemon);
    let (status, reason) = refused(&page.try_subscribe("private-a", json!({"auth": good})));
    assert_eq!(
        (status, reason.contains("takes no tokens")),
        (401, true),
        "{reason}"
    );
    page.subscribe("private-a");
}

#[test]
fn a_connection_ends_with_its_token_and_comes_back_with_the_next() {
    let daemon = Daemon::start(&app("auth.expiry_notice = 30"));
    // Within the leeway of a clock the token would still be good: what ends it is its own time.
    let end = now() + 2;
    let short = token_by(
        SECRET,
        &json!({"channels": ["private-a"], "iat": now(), "exp": end}),
    );
    let mut page = Pusher::recovering(&daemon);
    let told = page.try_subscribe("private-a", json!({"auth": short}));
    succeeds(&told, "private-a");
    let cursor = told["id"].as_str().unwrap().to_owned();
    let expiring = page.ws.until(|m| m["event"] == "askr:expiring");
    assert_eq!(data(&expiring), json!({"expires": end}));
    let (_, code, reason) = page.ws.end();
    // At 4009 pusher-js would stay away for good.
    assert_eq!((code, reason.as_str()), (4200, "the token has expired"));
    assert_eq!(
        daemon.metric("askr_streams_ended_total{reason=\"token\"}"),
        1
    );

    daemon.publish("private-a", "meanwhile");
    let mut back = Pusher::recovering(&daemon);
    let more = json!({"auth": token(&["private-a"], 60), "askr": {"cursor": cursor}});
    succeeds(&back.try_subscribe("private-a", more), "private-a");
    assert_eq!(back.take("private-a", 1), ["meanwhile"]);
}

#[test]
fn who_is_put_out_is_out_and_an_older_token_opens_nothing() {
    let daemon = Daemon::start(&app(""));
    let mine = token_of("ada", &["private-a"], 60);
    let cookie = format!("askr_token={mine}");
    let (mut shown, mut by_cookie) = (
        Pusher::connect(&daemon),
        connect(&daemon, &[("Cookie", &cookie)]),
    );
    let mut later = connect(&daemon, &[("Cookie", &cookie)]);
    succeeds(
        &shown.try_subscribe("private-a", json!({"auth": mine})),
        "private-a",
    );
    succeeds(
        &by_cookie.try_subscribe("private-a", Value::Null),
        "private-a",
    );
    assert_eq!(daemon.disconnect(&json!({"user": "ada"})), 2);
    assert_eq!((shown.ws.code(), by_cookie.ws.code()), (4009, 4009));
    // It was open, and has subscribed to nothing yet.
    for auth in [json!(mine), Value::Null] {
        let (status, reason) = refused(&later.try_subscribe("private-a", json!({"auth": auth})));
        assert_eq!(
            (status, reason.contains("revoked")),
            (401, true),
            "{reason}"
        );
    }
}

#[test]
fn a_token_says_in_time_who_it_is() {
    let daemon = Daemon::start(&app("app.authorize_timeout = 1"));
    let mut silent = Pusher::connect(&daemon);
    let mut page = Pusher::connect(&daemon);
    succeeds(
        &page.try_subscribe("private-a", json!({"auth": token(&["private-a"], 60)})),
        "private-a",
    );
    assert_eq!(silent.ws.code(), 4009);
    daemon.publish("private-a", "still here");
    assert_eq!(page.take("private-a", 1), ["still here"]);
}
