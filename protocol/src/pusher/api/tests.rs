//! Requests signed as Pusher's libraries sign them.

use md5::{Digest, Md5};
use proptest::prelude::*;
use serde_json::json;
use shared::secret::Secret;

use super::*;
use crate::mac;

const NOW: u64 = 1_353_088_179;
const SECRET: &str = "7ad3773142a6692b25b8";

fn credentials() -> Credentials {
    Credentials {
        key: "278d425bdf160c739803".into(),
        secrets: vec![Secret::new(SECRET).unwrap()],
    }
}

/// The query with the parameters that a library adds. `extra`: further pairs, values unescaped.
fn signed(method: &str, path: &str, extra: &[(&str, &str)], body: &[u8]) -> String {
    let mut pairs = vec![
        ("auth_key", credentials().key),
        ("auth_timestamp", NOW.to_string()),
        ("auth_version", "1.0".to_owned()),
    ];
    if !body.is_empty() {
        pairs.push(("body_md5", mac::hex(&Md5::digest(body))));
    }
    pairs.extend(extra.iter().map(|(key, value)| (*key, (*value).to_owned())));
    pairs.sort();
    let text = |escape: fn(&str) -> String| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| format!("{key}={}", escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    };
    let plain = format!("{method}\n{path}\n{}", text(str::to_owned));
    let code = mac::hex(&mac::sign(SECRET.as_bytes(), &[plain.as_bytes()]));
    let escaped = text(|value| {
        value
            .replace('%', "%25")
            .replace(',', "%2C")
            .replace('&', "%26")
    });
    format!("{escaped}&auth_signature={code}")
}

fn ask(method: &str, rest: &str, extra: &[(&str, &str)], body: &[u8]) -> Result<Call, Refusal> {
    let path = format!("/apps/3/{rest}");
    let query = signed(method, &path, extra, body);
    let request = ApiRequest {
        method,
        path: &path,
        query: &query,
        body,
    };
    let limits = Limits {
        payload: 20,
        ..Limits::default()
    };
    call(&request, &credentials(), NOW, &limits)
}

fn get(rest: &str, extra: &[(&str, &str)]) -> Result<Call, Refusal> {
    ask("GET", rest, extra, b"")
}

fn post(rest: &str, body: serde_json::Value) -> Result<Call, Refusal> {
    ask("POST", rest, &[], body.to_string().as_bytes())
}

fn status(refused: Result<Call, Refusal>) -> u16 {
    let refused = refused.expect_err("refused");
    assert!(!refused.reason.contains('\n') && !refused.reason.is_empty());
    refused.status.as_u16()
}

fn publish(channels: &[&str]) -> Publish {
    Publish {
        name: "foo".into(),
        data: "{\"some\":\"data\"}".into(),
        channels: channels.iter().map(ToString::to_string).collect(),
        except: None,
        key: None,
        info: Info::default(),
    }
}

#[test]
fn a_path_names_its_application() {
    assert_eq!(target("/up"), Some(Target::Up));
    assert_eq!(target("/askr/up"), Some(Target::Up));
    for (path, id) in [
        ("/apps/3/events", Some("3")),
        ("/apps/my%20app/channels", Some("my app")),
        ("/apps/3/", Some("3")),
        ("/apps/3", None),
        ("/apps//events", None),
        ("/apps/%ff/events", None),
        ("/app/3/events", None),
        ("/", None),
    ] {
        assert_eq!(target(path), id.map(|id| Target::App(id.into())), "{path}");
    }
}

/// The request of Pusher's documentation, byte by byte.
#[test]
fn the_documented_request_is_accepted() {
    let body = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    let query = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
                 &body_md5=ec365a775a4cd0599faeb73354201b6f\
                 &auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
    let request = ApiRequest {
        method: "POST",
        path: "/apps/3/events",
        query,
        body,
    };
    let called = call(&request, &credentials(), NOW, &Limits::default());
    assert_eq!(called, Ok(Call::Publish(publish(&["project-3"]))));

    let late = call(&request, &credentials(), NOW + 601, &Limits::default());
    assert_eq!(status(late), 401);
    let altered = ApiRequest {
        path: "/apps/4/events",
        ..request
    };
    assert_eq!(
        status(call(&altered, &credentials(), NOW, &Limits::default())),
        401
    );
    let unsigned = ApiRequest {
        query: "",
        path: "/apps/3/no/such",
        ..request
    };
    let refused = call(&unsigned, &credentials(), NOW, &Limits::default());
    assert_eq!(
        status(refused),
        401,
        "an unsigned request learns nothing else"
    );
}

#[test]
fn events() {
    let data = "{\"some\":\"data\"}";
    assert_eq!(
        post(
            "events",
            json!({"name": "foo", "data": data, "channel": "a", "more": 1})
        ),
        Ok(Call::Publish(publish(&["a"])))
    );
    let all = json!({"name": "foo", "data": data, "channels": ["a", "#server-to-user-7", "a"],
                     "socket_id": "12.34", "info": "subscription_count,user_count"});
    let expected = Publish {
        except: Some("12.34".into()),
        info: Info {
            user_count: true,
            subscription_count: true,
            ..Info::default()
        },
        ..publish(&["a", "#server-to-user-7"])
    };
    assert_eq!(post("events", all), Ok(Call::Publish(expected)));
}

#[test]
fn events_that_are_refused() {
    let good = json!({"name": "foo", "data": "x", "channels": ["a"]});
    assert!(post("events", good.clone()).is_ok());
    let many: Vec<String> = (0..101).map(|n| format!("c{n}")).collect();
    for (member, value, code) in [
        ("name", json!(null), 400),
        ("name", json!(""), 400),
        ("name", json!("a\nb"), 400),
        ("name", json!("x".repeat(201)), 400),
        ("name", json!("pusher:x"), 400),
        ("name", json!("pusher_internal:member_added"), 400),
        ("name", json!("askr:gap"), 400),
        ("data", json!({"a": 1}), 400),
        ("data", json!(null), 400),
        ("data", json!("x".repeat(21)), 413),
        ("channels", json!([]), 400),
        ("channels", json!(many), 400),
        ("channels", json!("a"), 400),
        ("channels", json!(["a", "b c"]), 400),
        ("channels", json!(["#else"]), 400),
        ("channels", json!(["x".repeat(165)]), 400),
        ("channels", json!(null), 400),
        ("channel", json!("b"), 400),
        ("socket_id", json!("12"), 400),
        ("socket_id", json!(""), 400),
        ("socket_id", json!(".1"), 400),
        ("socket_id", json!("1.1\r\n"), 400),
        ("socket_id", json!("1.".to_owned() + &"1".repeat(100)), 400),
    ] {
        let mut event = good.clone();
        event[member] = value.clone();
        assert_eq!(status(post("events", event)), code, "{member}: {value}");
    }
    let longest = json!({"name": "foo", "data": "x".repeat(20), "channel": "a"});
    assert!(post("events", longest).is_ok());
    for body in [
        "",
        "x",
        "[]",
        r#"["foo","x",["a"],null,null,null]"#,
        "\u{0}",
    ] {
        assert_eq!(
            status(ask("POST", "events", &[], body.as_bytes())),
            400,
            "{body}"
        );
    }
    assert_eq!(status(ask("POST", "events", &[], b"\xff")), 400);
}

#[test]
fn a_batch_is_accepted_as_a_whole_or_not_at_all() {
    let event =
        |channel: &str| json!({"name": "foo", "data": "{\"some\":\"data\"}", "channel": channel});
    assert_eq!(
        post("batch_events", json!({"batch": [event("a"), event("b")]})),
        Ok(Call::Batch(vec![publish(&["a"]), publish(&["b"])]))
    );
    let of = |n: usize| json!({"batch": vec![event("a"); n]});
    assert!(post("batch_events", of(10)).is_ok());
    assert_eq!(status(post("batch_events", of(11))), 400);
    assert_eq!(status(post("batch_events", of(0))), 400);
    let any = |n: usize| {
        let limits = Limits {
            batch: 0,
            payload: 20,
            ..Limits::default()
        };
        body::batch(of(n).to_string().as_bytes(), &limits).map(|all| all.len())
    };
    assert_eq!(any(2000), Ok(2000));
    assert_eq!(any(0), Err(bad("a batch has at least one event")));
    let refused = post("batch_events", json!({"batch": [event("a"), event("b c")]}));
    assert!(
        refused
            .as_ref()
            .unwrap_err()
            .reason
            .starts_with("event 2: ")
    );
    assert_eq!(status(refused), 400);
    let mut long = event("a");
    long["data"] = json!("x".repeat(21));
    assert_eq!(status(post("batch_events", json!({"batch": [long]}))), 413);
    let two = json!({"batch": [{"name": "foo", "data": "x", "channels": ["a"]}]});
    assert_eq!(status(post("batch_events", two)), 400);
}

#[test]
fn channels_and_the_attributes_that_may_be_requested() {
    let none = Info::default();
    let users = Info {
        user_count: true,
        ..none
    };
    let prefix = Some("presence-".to_owned());
    assert_eq!(
        get("channels", &[]),
        Ok(Call::Channels {
            prefix: None,
            info: none
        })
    );
    let asked = get(
        "channels",
        &[("filter_by_prefix", "presence-"), ("info", "user_count")],
    );
    assert_eq!(
        asked,
        Ok(Call::Channels {
            prefix,
            info: users
        })
    );
    // What does not apply, to some of them or at all, is left out.
    for (asked, info) in [
        ("user_count", users),
        ("cache", none),
        ("everything,,", none),
        ("cache, user_count,x", users),
    ] {
        let expected = Call::Channels { prefix: None, info };
        assert_eq!(get("channels", &[("info", asked)]), Ok(expected), "{asked}");
        let event = json!({"name": "foo", "data": "x", "channel": "a", "info": asked});
        let Ok(Call::Publish(event)) = post("events", event) else {
            panic!("{asked}")
        };
        assert_eq!(event.info, info, "{asked}");
    }

    let channel = || "presence-cache-a".to_owned();
    let all = Info {
        user_count: true,
        subscription_count: true,
        cache: true,
        occupied: true,
    };
    let occupied = Info {
        occupied: true,
        ..none
    };
    assert_eq!(
        get(
            "channels/presence-cache-a",
            &[("info", "user_count,subscription_count,cache")]
        ),
        Ok(Call::Channel {
            channel: channel(),
            info: all
        })
    );
    assert_eq!(
        get("channels/%23server-to-user-7", &[]),
        Ok(Call::Channel {
            channel: "#server-to-user-7".into(),
            info: occupied
        })
    );
    assert_eq!(
        get("channels/a", &[("info", "everything")]),
        Ok(Call::Channel {
            channel: "a".into(),
            info: occupied
        })
    );
    assert_eq!(status(get("channels/a%20b", &[])), 400);
    assert_eq!(status(get("channels/%ff", &[])), 400);
    assert_eq!(status(get("channels/", &[])), 400);

    assert_eq!(
        get("channels/presence-cache-a/users", &[]),
        Ok(Call::Users { channel: channel() })
    );
    assert_eq!(status(get("channels/private-a/users", &[])), 400);
}

#[test]
fn users_and_connections() {
    let user = "7 é".to_owned();
    assert_eq!(
        ask("POST", "users/7%20%C3%A9/terminate_connections", &[], b""),
        Ok(Call::Terminate { user: user.clone() })
    );
    // Some libraries send an empty object.
    assert_eq!(
        ask("POST", "users/7%20%C3%A9/terminate_connections", &[], b"{}"),
        Ok(Call::Terminate { user })
    );
    for bad in [
        "users//terminate_connections",
        "users/%00/terminate_connections",
        &format!("users/{}/terminate_connections", "x".repeat(185)),
    ] {
        assert_eq!(status(ask("POST", bad, &[], b"")), 400, "{bad}");
    }
    let longest = "x".repeat(184);
    assert_eq!(
        ask(
            "POST",
            &format!("users/{longest}/terminate_connections"),
            &[],
            b""
        ),
        Ok(Call::Terminate { user: longest })
    );
    assert_eq!(get("connections", &[]), Ok(Call::Connections));
}

#[test]
fn methods_and_paths() {
    for (method, rest, expected) in [
        ("GET", "events", 405),
        ("PUT", "batch_events", 405),
        ("POST", "channels", 405),
        ("POST", "channels/a", 405),
        ("DELETE", "channels/presence-a/users", 405),
        ("GET", "users/7/terminate_connections", 405),
        ("POST", "connections", 405),
        ("GET", "", 404),
        ("GET", "channel", 404),
        ("GET", "channels/a/b", 404),
        ("GET", "channels/a/users/b", 404),
        ("GET", "connections/", 404),
    ] {
        assert_eq!(
            status(ask(method, rest, &[], b"")),
            expected,
            "{method} {rest}"
        );
    }
}

proptest! {
    #[test]
    fn no_body_and_no_query_panics(
        body in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,80}", rest in "[a-z/%0-9]{0,40}",
        info in "[a-z_,]{0,30}",
    ) {
        let _ = ask("POST", "events", &[], &body);
        let _ = ask("POST", "batch_events", &[], text.as_bytes());
        let _ = ask("GET", &rest, &[("info", &info)], b"");
        let _ = target(&text);
    }

    /// What is accepted can be published.
    #[test]
    fn accepted_events_obey_the_rings_rules(
        name in ".{0,210}", channels in prop::collection::vec("(#server-to-user-)?[a-z@ \n]{0,20}", 0..4), socket in "[0-9.]{0,8}",
    ) {
        let body = json!({"name": name, "data": "x", "channels": channels, "socket_id": socket});
        if let Ok(Call::Publish(event)) = post("events", body) {
            prop_assert!(shared::rules::event(event.name.as_bytes()).is_ok());
            prop_assert!(event.channels.iter().all(|c| shared::rules::channel(c.as_bytes()).is_ok()));
            prop_assert!(event.except.iter().all(|c| shared::rules::except(c.as_bytes()).is_ok()));
            prop_assert!((1..=100).contains(&event.channels.len()));
        }
    }
}

#[test]
fn a_malformed_query_is_refused_by_the_parameters_name() {
    let asked = |extra: &str| {
        let path = "/apps/3/channels";
        let query = format!("{}&{extra}", signed("GET", path, &[], b""));
        let request = ApiRequest {
            method: "GET",
            path,
            query: &query,
            body: b"",
        };
        call(&request, &credentials(), NOW, &Limits::default()).unwrap_err()
    };
    for (extra, reason) in [
        ("info=%ff", "info must be valid UTF-8"),
        ("info=%zz", "info has a % without two hexadecimal digits"),
    ] {
        assert_eq!(asked(extra), bad(reason), "{extra}");
    }
}
