//! The application's answer to an authorization request. Pure.
//!
//! ```json
//! {"channels": {
//!   "private-a": true,
//!   "private-b": false,
//!   "presence-c": {"user": 7, "info": {"name": "Ada"}, "expires": 1800000000}
//! }}
//! ```
//!
//! `true` or an object grants access to a channel; `false`, `null` and a missing entry do not. `user` is a string
//! or an integer, `expires` is in seconds since 1970. `channels` may also be `[]`, since PHP encodes an empty
//! object that way. Other keys are ignored.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::json;
use protocol::json::UserId;
use protocol::user_bounds::UserBounds;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::authorizer::{Access, Answer, Closed, Wanted};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    channels: &'a RawValue,
}

#[derive(Deserialize)]
struct Opened<'a> {
    user: Option<UserId>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    expires: Option<u64>,
}

/// Parses the answer that was given at `now` (seconds since 1970): one result for each of `channels`, in order.
///
/// # Errors
/// Why the answer is invalid, as a phrase. It then decides nothing about any channel.
pub fn read(
    body: &[u8],
    channels: &[Wanted],
    now: u64,
    users: UserBounds,
) -> Result<Vec<Answer>, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "is not UTF-8")?;
    let entries = entries(text)?;
    let one = |channel: &Wanted| match entries.get(channel.name) {
        Some(entry) => decide(entry.get(), channel, now, users),
        None => Ok(closed(channel, "stays closed")),
    };
    channels.iter().map(one).collect()
}

/// The entries of `channels`, by channel.
fn entries(text: &str) -> Result<HashMap<String, &RawValue>, &'static str> {
    const SHAPE: &str = "is not {\"channels\": {…}}";
    let body: Body = json::object(text).map_err(|_| SHAPE)?;
    let channels = body.channels.get();
    if channels.starts_with('[') && channels[1..].trim_start() == "]" {
        return Ok(HashMap::new());
    }
    serde_json::from_str(channels).map_err(|_| SHAPE)
}

fn decide(
    entry: &str,
    channel: &Wanted,
    now: u64,
    users: UserBounds,
) -> Result<Answer, &'static str> {
    let opened = match entry.as_bytes() {
        b"false" | b"null" => return Ok(closed(channel, "stays closed")),
        b"true" => Opened {
            user: None,
            info: None,
            expires: None,
        },
        [b'{', ..] => serde_json::from_str(entry)
            .map_err(|_| "has a channel whose user, info or expires is not what it must be")?,
        _ => return Err("has a channel that is neither true, false nor an object"),
    };
    let UserBounds { id, info } = users;
    let user = opened.user.map(|user| users.id(user));
    let Ok(user) = user.transpose() else {
        let what = format!("1 to {id} bytes (app.user_id_bytes) without control characters");
        return Ok(closed(channel, &format!("has a user that is not {what}")));
    };
    let given = opened.info.map(|raw| users.info(raw));
    let Ok(info) = given.transpose() else {
        let what = format!("JSON of at most {info} bytes (app.user_info_bytes)");
        let why = format!("has an info that is not {what} that every reader takes");
        return Ok(closed(channel, &why));
    };
    if opened.expires.is_some_and(|at| at <= now) {
        return Ok(closed(channel, "has expired"));
    }
    Ok(Ok(Access {
        user: user.map(Arc::from),
        info: info.map(Arc::from),
        expires: opened.expires,
        issued: Some(now),
    }))
}

fn closed(channel: &Wanted, why: &str) -> Answer {
    let number = channel.number;
    Err(Closed::NotGranted(format!(
        "channel {number} {why}: the application's answer"
    )))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::grant::MAX_INFO;

    use super::*;

    const WANTED: [Wanted; 2] = [
        Wanted {
            number: 1,
            name: "private-a",
        },
        Wanted {
            number: 3,
            name: "presence-b",
        },
    ];

    fn answers(body: &str) -> Result<Vec<Answer>, &'static str> {
        read(body.as_bytes(), &WANTED, 1000, UserBounds::default())
    }

    fn stays_closed(number: usize) -> Answer {
        let reason = format!("channel {number} stays closed: the application's answer");
        Err(Closed::NotGranted(reason))
    }

    #[test]
    fn true_and_an_object_open_a_channel_and_anything_else_does_not() {
        let open = Access {
            issued: Some(1000),
            ..Access::default()
        };
        let ada = Access {
            user: Some("7".into()),
            info: Some(r#"{"name": "Ada"}"#.into()),
            expires: Some(1001),
            issued: Some(1000),
        };
        let text = r#"{"x":1,"channels":{"private-a":true,"private-z":true,
            "presence-b":{"user":7,"info":{"name":
"Ada"},"expires":1001}}}"#;
        let decided = answers(&text.replace('\n', "")).unwrap();
        assert_eq!(decided[0], Ok(open.clone()));
        let ada_access = decided[1].clone().unwrap();
        assert_eq!(ada_access.user, ada.user);
        assert_eq!(
            (ada_access.expires, ada_access.issued),
            (Some(1001), Some(1000))
        );
        let broken = answers(text).unwrap()[1].clone().unwrap().info.unwrap();
        assert_eq!(&*broken, r#"{"name": "Ada"}"#, "on one line");
        for closed in [
            r#"{"channels":{}}"#,
            r#"{"channels":[]}"#,
            r#"{"channels":[ ]}"#,
            r#"{"channels":{"private-a":false,"presence-b":null}}"#,
            r#"{"channels":{"private-A":true,"presence-":{"user":"7"}}}"#,
        ] {
            let expected = vec![stays_closed(1), stays_closed(3)];
            assert_eq!(answers(closed), Ok(expected), "{closed}");
        }
        let empty = answers(r#"{"channels":{"private-a":{}}}"#).unwrap();
        assert_eq!(empty, [Ok(open), stays_closed(3)]);
        let text = answers(r#"{"channels":{"presence-b":{"user":"seven"}}}"#).unwrap();
        assert_eq!(text[1].clone().unwrap().user.as_deref(), Some("seven"));
    }

    #[test]
    fn an_invalid_answer_decides_nothing_about_any_channel() {
        for bad in [
            "",
            "true",
            "[]",
            r#"[{"private-a":true}]"#,
            "{}",
            r#"{"channels":true}"#,
            r#"{"channels":[true]}"#,
            r#"{"channels":{"private-a":1}}"#,
            r#"{"channels":{"private-a":"true"}}"#,
            r#"{"channels":{"private-a":[]}}"#,
            r#"{"channels":{"private-a":{"user":1.5}}}"#,
            r#"{"channels":{"private-a":{"user":true}}}"#,
            r#"{"channels":{"private-a":{"expires":"soon"}}}"#,
            r#"{"channels":{"private-a":{"expires":-1}}}"#,
            r#"{"channels":{"private-a":{"user":"1","user":"2"}}}"#,
            r#"{"channels":{"private-a":true}"#,
            r#"{"channels":{"private-a":true}}x"#,
            "<html>",
        ] {
            assert!(answers(bad).is_err(), "{bad}");
        }
        assert!(read(b"\xff", &WANTED, 0, UserBounds::default()).is_err());
    }

    #[test]
    fn a_value_over_a_bound_closes_its_channel_only() {
        let b = |value: &str| {
            let text = format!(r#"{{"channels":{{"private-a":true,"presence-b":{value}}}}}"#);
            let decided = answers(&text).unwrap();
            assert!(decided[0].is_ok());
            match &decided[1] {
                Err(Closed::NotGranted(why)) => why.clone(),
                other => panic!("{value}: {other:?}"),
            }
        };
        assert!(b(r#"{"user":""}"#).contains("128 bytes"));
        assert!(b(r#"{"user":"a\nb"}"#).contains("128 bytes"));
        assert!(b(&format!(r#"{{"user":"{}"}}"#, "x".repeat(129))).contains("128 bytes"));
        assert!(b(&format!(r#"{{"info":"{}"}}"#, "x".repeat(1023))).contains("1024 bytes"));
        assert!(b(r#"{"user":"7","expires":1000}"#).contains("expired"));
        assert!(b(r#"{"user":"7","expires":0}"#).contains("expired"));
    }

    proptest! {
        #[test]
        fn no_text_panics(body in r#"(\{"channels":\{"private-a":)?(true|\{"user":|\{"info":|[^a-z]{0,9}|é){1,4}\}{0,3}"#) {
            for answer in answers(&body).into_iter().flatten().flatten() {
                prop_assert!(answer.info.is_none_or(|info| info.len() <= MAX_INFO));
            }
        }
    }
}
