//! A Mercure hub and somebody hostile: tokens that are not what they seem, what was granted once and is not any more, lists
//! that nobody takes, patterns that cost much.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::common::Client;
use crate::common::api::Call;
use crate::common::grants::{SECRET, request};
use crate::common::mercure::{
    Hub, OLD, ONE, P, all, bearer, claims, encode, member, old, one, presence, sign, sign_text,
    start, until,
};
use crate::common::ws::{APP, Pusher};

const AT: &str = r#"{"alg":"HS256","typ":"at+jwt"}"#;

#[test]
fn a_token_is_what_it_says_once_and_in_the_form_that_it_must_have() {
    let hub = start("");
    let good = claims(&["publish"], &[("exact", "a")]).to_string();
    let with = |more: &str| format!("{}{more}}}", &good[..good.len() - 1]);
    let exp = |value: &str| {
        let mut claims: Value = serde_json::from_str(&good).unwrap();
        claims["exp"] = json!("EXP");
        claims.to_string().replace("\"EXP\"", value)
    };
    let status = |header: &str, claims: &str| {
        let token = sign_text(ONE, header, claims);
        hub.post(&bearer(&token), &[("topic", "a")]).status
    };
    assert_eq!(status(AT, &good), 200);
    for header in [
        // Its algorithm, its type and what it demands are read as they stand, once.
        r#"{"typ":"at+jwt"}"#,
        r#"{"alg":["HS256"],"typ":"at+jwt"}"#,
        r#"{"alg":null,"typ":"at+jwt"}"#,
        r#"{"alg":"HS256 ","typ":"at+jwt"}"#,
        r#"{"alg":"none","alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","typ":"JWT","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","typ":["at+jwt"]}"#,
        r#"{"alg":"HS256","typ":null}"#,
        r#"{"alg":"HS256","typ":"at+jwt;x"}"#,
        r#"{"alg":"HS256","typ":"application/application/at+jwt"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","crit":["exp"]}"#,
        r#"{"alg":"HS256","typ":"at+jwt","crit":null}"#,
        r#"["HS256"]"#,
    ] {
        assert_eq!(status(header, &good), 401, "{header}");
    }
    for claims in [
        with(r#","iss":"https://evil.example""#),
        good.replacen('{', r#"{"iss":"https://evil.example","#, 1),
        with(r#","\u0069ss":"https://evil.example""#),
        with(r#","exp":9999999999"#),
        with(r#","\u0065xp":9999999999"#),
        with(r#","aud":"https://x/.well-known/mercure""#),
        with(r#","authorization_details":[]"#),
        with(r#","nbf":1e300"#),
        with(r#","nbf":"0""#),
        exp("1e999"),
        exp("-1e999"),
        exp("0"),
        exp("1e3"),
        exp("true"),
        exp("null"),
        exp("\"9999999999\""),
        exp("[9999999999]"),
        good.replace("\"type\":", "\"type\":\"x\",\"type\":"),
        good.replace("\"actions\":", "\"actions\":[\"publish\"],\"actions\":"),
        good.replace("\"match\":", "\"match\":\"b\",\"match\":"),
        good.replace("[\"publish\"]", "[\"publish\",1]"),
        format!("\u{feff}{good}"),
        format!("{good}{good}"),
    ] {
        assert_eq!(status(AT, &claims), 401, "{claims}");
    }
    for claims in [
        exp("1e300"),
        exp("18446744073709551616"),
        exp("9999999999.9"),
        with(r#","nbf":-1e300"#),
        with(r#","nbf":null"#),
        // What is not read may be anything.
        with(r#","x":"\ud800","y":1,"y":2"#),
        with(&format!(",\"x\":{}{}", "[".repeat(4000), "]".repeat(4000))),
    ] {
        assert_eq!(status(AT, &claims), 200, "{claims}");
    }
    // The end of one that has a very late one.
    let late = sign_text(ONE, AT, &exp("1e300").replace("publish", "subscribe"));
    let mut viewer = hub.subscribe("match=a", &late);
    hub.publish(&[("topic", "a"), ("private", ""), ("data", "1")]);
    assert_eq!(viewer.next().data, "1");
    for claims in [
        r#"{"mercure":{"publish":[]},"mercure":{"publish":["*"]}}"#,
        r#"{"mercure":{"publish":[],"publish":["*"]}}"#,
        r#"{"mercure":{"publish":["*"]},"authorization_details":null}"#,
    ] {
        let token = sign_text(OLD, r#"{"alg":"HS256"}"#, claims);
        let said = hub.post(&bearer(&token), &[("topic", "a")]);
        assert_eq!(said.status, 401, "{claims}");
    }
    // The signature as it is written, and nothing after it.
    let token = sign_text(ONE, AT, &good);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for changed in [
        format!("{token}="),
        format!("{token}.a.b"),
        format!("{signed}."),
        format!("{signed}.{signature}A"),
        format!("\"{token}\""),
        format!("{token}, Basic x"),
    ] {
        let said = hub.post(&bearer(&changed), &[("topic", "a")]);
        assert_eq!(said.status, 401, "{changed}");
    }
}

#[test]
fn cookies_have_the_names_that_are_set_and_no_others() {
    let hub = start("app.mercure_cookie = 'hub'\napp.mercure_legacy_cookie = 'older_hub'\n");
    let (new, old) = (all(), old(&["*"], &["*"]));
    let status = |name: &str, token: &str| {
        let headers = format!("Cookie: a=b; {name}={token}; c=d\r\nOrigin: https://x\r\n");
        let posted = hub.post(&headers, &[("topic", "a")]).status;
        let listed = hub.get(&format!("{P}/subscriptions"), &headers).status;
        assert_eq!(posted, listed, "{name}");
        posted
    };
    assert_eq!((status("hub", &new), status("older_hub", &old)), (200, 200));
    for name in [
        "__Secure-mercure_access_token",
        "HUB",
        "xhub",
        "hub2",
        "older_hub",
    ] {
        assert_eq!(status(name, &new), 401, "{name}");
    }
    for name in ["mercureAuthorization", "hub", "older"] {
        assert_eq!(status(name, &old), 401, "{name}");
    }
    let metadata = hub.get(&format!("/.well-known/oauth-protected-resource{P}"), "");
    assert_eq!(metadata.json()["mercure_cookie"], "hub");
    let cookie = format!("hub={new}");
    let mut viewer = hub.open("match=a", &[("Cookie", &cookie)]);
    hub.publish(&[("topic", "a"), ("private", ""), ("data", "1")]);
    assert_eq!(viewer.next().data, "1");
}

#[test]
fn a_replay_has_nothing_of_what_a_token_grants_no_more() {
    let hub = start("");
    let first = hub.publish(&[("topic", "start"), ("id", "urn:start"), ("data", "start")]);
    let start = hub.publish(&[("topic", "start"), ("data", "start")]);
    for (topic, private, data) in [
        ("https://x/a/1", true, "private"),
        ("https://x/a/1", false, "public"),
        ("https://x/b", true, "of b"),
    ] {
        let mut fields = vec![("topic", topic), ("data", data)];
        fields.extend(private.then_some(("private", "")));
        hub.publish(&fields);
    }
    hub.publish(&[
        ("topic", "https://x/a/2"),
        ("topic", "https://x/b"),
        ("private", ""),
        ("data", "of both"),
    ]);
    hub.publish(&[("topic", "end"), ("data", "end")]);
    // It could have all of it with the token of before.
    let before = one(
        &["subscribe"],
        &[("urlpattern", "/a/:id"), ("exact", "https://x/b")],
    );
    let narrowed = one(&["subscribe"], &[("exact", "https://x/b")]);
    let (a, ids) = (
        encode("/a/:id"),
        [&*first, &*start, "earliest", "urn:unknown"],
    );
    for (query, may, still) in [
        (
            format!("match_urlpattern={a}"),
            "private public of both",
            "public of both",
        ),
        (
            "match=https://x/a/1&match=https://x/a/2".to_owned(),
            "private public of both",
            "public of both",
        ),
        (
            "match=*".to_owned(),
            "private public of b of both",
            "public of b of both",
        ),
        (
            format!("match_urlpattern={a}&match=https://x/b"),
            "private public of b of both",
            "public of b of both",
        ),
    ] {
        for id in ids {
            let query = format!("{query}&match=end&last_event_id={}", encode(id));
            let got = |token: &str| {
                let got = until(&mut hub.subscribe(&query, token), "end");
                let got = got
                    .into_iter()
                    .filter(|data| data != "start" && !data.starts_with('{'));
                got.collect::<Vec<_>>().join(" ")
            };
            assert_eq!(got(&before), may, "{query}");
            assert_eq!(got(&narrowed), still, "{query}");
            assert_eq!(
                got(&one(&["publish"], &[("exact", "*")])),
                "public",
                "{query}"
            );
        }
    }
}

#[test]
fn who_is_there_is_no_business_of_who_was_not_granted_it() {
    let hub = start("app.mercure_anonymous = true\n");
    let room = "https://x/room";
    let mut ada = hub.subscribe(&presence(room), &member(room, "ada", 600));
    let path = format!("{P}/subscriptions/exact/{}", encode(room));
    let listed = hub.get(&path, &bearer(&member(room, "bob", 600))).json();
    let id = listed["subscriptions"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // What is granted is the path alone. And who only asks for the head is nobody who is there.
    let query = format!("{path}?x={P}/subscriptions");
    assert_eq!(
        hub.get(&query, &bearer(&member(room, "bob", 600))).status,
        200
    );
    let target = format!("{P}?match={}", encode(room));
    let head = request(
        hub.0.address,
        "HEAD",
        &target,
        &bearer(&member(room, "bob", 600)),
        "",
    );
    assert_eq!(head.status, 200, "{head:?}");
    let all_of_them = hub
        .get(&format!("{P}/subscriptions"), &bearer(&all()))
        .json();
    assert_eq!(
        all_of_them["subscriptions"].as_array().unwrap().len(),
        2,
        "{all_of_them}"
    );
    let strangers = [
        one(
            &["subscribe"],
            &[("exact", room), ("urlpattern", "https://x/:a")],
        ),
        // A grant to be told of each is none of the list, and one of the list none of each.
        one(&["subscribe"], &[("exact", &format!("{path}/x"))]),
        one(&["publish"], &[("exact", "*")]),
        old(&["*"], &[room, "https://x/{a}"]),
    ];
    for stranger in &strangers {
        for path in [
            &format!("{P}/subscriptions"),
            &path,
            &id,
            // It is not told whether there is such a one.
            &format!("{path}/urn%3Auuid%3A0"),
            &format!("{P}/subscriptions/exact/nobody"),
            &format!("{P}/subscriptions/nobody"),
        ] {
            let said = hub.get(path, &bearer(stranger));
            assert_eq!(said.status, 403, "{path}: {said:?}");
            assert!(!said.body.contains("urn"), "{said:?}");
            assert_eq!(hub.get(path, "").status, 401, "{path}");
        }
    }
    // Live, in a replay, and when it comes back.
    let cursor = ada.cursor();
    let everything = format!("match=*&last_event_id={}", encode(&cursor));
    let mut viewers: Vec<Client> = strangers
        .iter()
        .flat_map(|token| {
            [
                hub.subscribe("match=*", token),
                hub.subscribe(&everything, token),
            ]
        })
        .collect();
    viewers.push(hub.open(&everything, &[]));
    let _bob = hub.subscribe(&presence(room), &member(room, "bob", 600));
    while !ada.next().data.contains("bob") {}
    hub.publish(&[("topic", "end"), ("data", "end")]);
    for viewer in &mut viewers {
        assert_eq!(until(viewer, "end"), [""; 0]);
    }
}

#[test]
fn what_is_told_of_channels_has_nothing_of_topics() {
    let hub = start(&format!("{APP}{SECRET}'\n"));
    let _viewer = hub.subscribe("match=topic&match_urlpattern=/:pattern", &all());
    let mut pusher = Pusher::connect(&hub.0);
    pusher.subscribe("channel");
    let channels = Call::new("GET", "/apps/7/channels", &[], "").send(&hub.0);
    assert_eq!(channels.json(), json!({"channels": {"channel": {}}}));
    for name in ["%00=topic", "%00~u/:pattern", "=topic"] {
        let path = format!("/apps/7/channels/{name}");
        let said = Call::new("GET", &path, &[], "").send(&hub.0);
        assert!(!said.body.contains("\"occupied\":true"), "{name}: {said:?}");
    }
}

/// A connection that asks for this and takes nothing of the answer.
fn ask(hub: &Hub, target: &str, token: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&hub.0.address.into()).unwrap();
    let mut socket = TcpStream::from(socket);
    write!(
        socket,
        "GET {target} HTTP/1.1\r\nHost: x\r\n{}\r\n",
        bearer(token)
    )
    .unwrap();
    socket
}

/// Whoever is there can have the list of all, as often as it has connections.
#[test]
fn a_list_that_nobody_takes_counts_as_memory_that_is_held() {
    const VIEWERS: usize = 40;
    const LISTS: usize = 30;
    let hub = start("server.outbox_total = '16MiB'\nserver.connections_per_address = 1000\n");
    let (room, name) = ("https://x/room", "x".repeat(8000));
    let token = |user: &str| {
        let mut claims = claims(&["subscribe"], &[("exact", "*")]);
        claims["authorization_details"][0]["payload"] = json!({"user_id": user, "name": name});
        sign("at+jwt", ONE, &claims)
    };
    let viewers: Vec<Client> = (0..VIEWERS)
        .map(|n| {
            hub.subscribe(
                &format!("match={room}&match={n}&match=a&match=b"),
                &token(&n.to_string()),
            )
        })
        .collect();
    let list = format!("{P}/subscriptions");
    let length = hub.get(&list, &bearer(&all())).body.len();
    assert!(length > VIEWERS * 4 * 8000, "{length}");
    // What is in the sockets' buffers is the kernel's.
    let before = hub.0.metric("askr_held_bytes");
    let asked: Vec<TcpStream> = (0..LISTS).map(|_| ask(&hub, &list, &all())).collect();
    let least = before + 4 * length as u64;
    hub.0.until("askr_held_bytes", |held| held >= least);
    // Beyond the bound the next is asked to come back.
    crate::common::until(|| {
        let said = hub.get(&list, &bearer(&all()));
        said.status == 503 && said.head.to_lowercase().contains("retry-after: 1")
    });
    drop(asked);
    crate::common::until(|| hub.get(&list, &bearer(&all())).status == 200);
    drop(viewers);
}

#[test]
fn a_large_pattern_counts_as_several() {
    let hub = start(
        "server.connections_per_address = 1000\napp.mercure_patterns = 100\napp.mercure_patterns_per_address = 40\n",
    );
    let opens = |texts: &[String]| {
        let texts = texts
            .iter()
            .map(|text| format!("match_urlpattern={}", encode(text)));
        let mut client = Client::connect(hub.0.address);
        let authorization = format!("Bearer {}", all());
        client.request(
            &format!("{P}?{}", texts.collect::<Vec<_>>().join("&")),
            &[("Authorization", &authorization)],
        );
        while client.parser.comments() == 0 {
            if !client.read() {
                return None;
            }
        }
        Some(client)
    };
    // What each costs for every update grows with what is compiled of it.
    let large = |n: usize| format!("/{n}/({}x)", ".*".repeat(200));
    let ordinary: Vec<String> = (0..40).map(|n| format!("/{n}/:a/:b(\\d+)")).collect();
    let held = opens(&ordinary).expect("as many as there may be");
    drop(held);
    hub.0.until("askr_streams", |streams| streams == 0);
    let held: Vec<Client> = (0..40).map_while(|n| opens(&[large(n)])).collect();
    assert!((1..=13).contains(&held.len()), "{}", held.len());
    assert_eq!(hub.0.metric("askr_refused_total{limit=\"patterns\"}"), 1);
    // One that is known is held once, and costs its subscribers no more.
    let again: Vec<Client> = (0..held.len()).map_while(|n| opens(&[large(n)])).collect();
    assert_eq!(again.len(), held.len());
    drop((held, again));
    hub.0.until("askr_streams", |streams| streams == 0);
    // All is given back, and those that nobody has any more make room for as many others as they are large.
    let held: Vec<Client> = (40..140).map_while(|n| opens(&[large(n)])).collect();
    assert!((1..=13).contains(&held.len()), "{}", held.len());
    drop(held);
    hub.0.until("askr_streams", |streams| streams == 0);
    opens(&ordinary).expect("as many as before");
}

#[test]
fn an_id_is_known_to_who_comes_as_soon_as_it_was_published() {
    const TIMES: usize = 100;
    let hub = start("");
    let known = (0..TIMES).filter(|n| {
        let id = format!("urn:{n}");
        hub.publish(&[("topic", "a"), ("id", &id), ("data", "x")]);
        let target = format!("{P}?match=a&last_event_id={id}");
        let said = request(hub.0.address, "HEAD", &target, &bearer(&all()), "");
        let head = said.head.to_lowercase();
        let told = head
            .lines()
            .find_map(|line| line.trim_end().strip_prefix("mercure-last-event-id: "));
        told.expect("it is told") == id
    });
    // Where askrd gets no processor for long, it may be taken for unknown.
    let known = known.count();
    assert!(known > TIMES / 2, "{known}");
}
