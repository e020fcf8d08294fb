//! The body of `POST /askr/subscribe` and `/askr/unsubscribe`. Pure: JSON in, a change or a refusal out.
//!
//! ```json
//! {"socket_id": "1.2", "secret": "…", "channels": ["a", "private-b"],
//!  "last_event_id": "…", "rewind": 10, "token": "…", "auth": {"private-b": {"auth": "KEY:…", "channel_data": "…"}}}
//! ```
//!
//! `socket_id` and `secret` are those of `askr:connected`; the last four are for `subscribe` and may be left
//! out. `auth` has Pusher signatures for this socket id, as Laravel's /broadcasting/auth makes them.

use std::collections::HashMap;

use protocol::json::object_from_slice;
use protocol::rewind;
use protocol::rewind::Asked;
use protocol::socket_id::{Held, Prover, SocketId};
use protocol::wire_cursor::ClientCursor;
use serde::Deserialize;

use super::proof;
use super::query::add_channel;
use super::refusal::{Refusal, bad};
use crate::auth::authorizer::Signed;
use crate::hub::command::Since;

/// A change of a stream's channels.
#[derive(Debug)]
pub struct Change {
    pub socket: SocketId,
    /// Where the stream is held.
    pub held: Held,
    /// Distinct, at least one.
    pub channels: Vec<String>,
    /// From where on added channels are replayed.
    pub since: Option<Since>,
    /// Not checked.
    pub token: Option<String>,
    /// Not checked.
    pub signatures: Vec<Signed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    socket_id: String,
    secret: String,
    channels: Vec<String>,
    last_event_id: Option<String>,
    rewind: Option<Asked>,
    token: Option<String>,
    #[serde(default)]
    auth: HashMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: String,
    channel_data: Option<String>,
}

/// Parses a body and checks the secret. `max`: the number of different channels. `limits`: of `rewind`.
///
/// # Errors
/// 400 for a malformed body, 403 for a user's own channel or a secret that is not this socket's.
pub fn read(
    body: &[u8],
    prover: &Prover,
    max: usize,
    limits: rewind::Limits,
) -> Result<Change, Refusal> {
    let body: Body = object_from_slice(body).map_err(|why| {
        // The parser's own message may repeat what was sent.
        let place = format!("line {}, column {}", why.line(), why.column());
        let shape = r#"must be {"socket_id","secret","channels":[…]} and maybe "last_event_id", "rewind", "token", "auth""#;
        bad(format!("the body {shape} ({place})"))
    })?;
    let mut channels = Vec::new();
    for name in body.channels {
        add_channel(&mut channels, name.into_bytes(), max)?;
    }
    if channels.is_empty() {
        return Err(bad("channels must name at least one channel"));
    }
    let since = body.last_event_id.filter(|id| !id.is_empty()).map(|id| {
        let cursor = ClientCursor::parse(id.as_bytes());
        cursor.ok_or_else(|| bad("last_event_id must be a cursor, as events have it for their id"))
    });
    let rewind = body.rewind.map(|asked| asked.within(limits)).transpose();
    let rewind = rewind.map_err(|why| bad(why.to_string()))?;
    let (socket, held) = proof::check(prover, &body.socket_id, &body.secret)?;
    let signed = |(channel, auth): (String, Auth)| Signed {
        channel,
        auth: auth.auth,
        data: auth.channel_data,
    };
    Ok(Change {
        socket,
        held,
        channels,
        since: Since::of(since.transpose()?, rewind),
        token: body.token.filter(|token| !token.is_empty()),
        signatures: body.auth.into_iter().map(signed).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::query::tests::{channel, check_channels, samples};
    use protocol::socket_id::Place;

    use super::*;

    const LIMITS: rewind::Limits = rewind::Limits {
        events: 100,
        seconds: 60,
    };
    const HERE: Place = Place { worker: 1, slot: 2 };

    fn prover() -> Prover {
        Prover::new("shop", &[]).unwrap()
    }

    fn status(body: &str, prover: &Prover) -> u16 {
        read(body.as_bytes(), prover, 3, LIMITS).map_or_else(|why| why.status.as_u16(), |_| 200)
    }

    #[test]
    fn a_malformed_body_and_a_foreign_secret_are_refused() {
        let prover = prover();
        let secret = prover.prove("1.2".parse().unwrap(), HERE, 1000).to_string();
        let body = |rest: &str| format!(r#"{{"socket_id":"1.2","secret":"{secret}",{rest}}}"#);
        let good = body(r#""channels":["a","private-b"],"auth":{"private-b":{"auth":"k:1"}}"#);
        let change = read(good.as_bytes(), &prover, 3, LIMITS).unwrap();
        assert_eq!(change.held, HERE.into());
        assert_eq!(change.channels, ["a", "private-b"]);
        assert_eq!(change.signatures[0].channel, "private-b");
        for (rest, expected) in [
            (r#""channels":[]"#, 400),
            (r#""channels":["a","b","c","d"]"#, 400),
            (r#""channels":["a","a","b","c"]"#, 200),
            (r#""channels":["askr:x"]"#, 400),
            (r#""channels":["a"],"more":1"#, 400),
            (r#""channels":["a"],"last_event_id":"x""#, 400),
            (r#""channels":["a"],"last_event_id":"""#, 200),
            (r#""channels":["a"],"rewind":null"#, 200),
            (r#""channels":["a"],"rewind":100"#, 200),
            (r#""channels":["a"],"rewind":"30s""#, 200),
            (r#""channels":["a"],"rewind":101"#, 400),
            (r#""channels":["a"],"rewind":"61s""#, 400),
            (r#""channels":["a"],"rewind":[]"#, 400),
        ] {
            assert_eq!(status(&body(rest), &prover), expected, "{rest}");
        }
        let array = format!(r#"["1.2","{secret}",["a"],null,null,{{}}]"#);
        for bad in ["", "[]", "{}", "{\"socket_id\":1}", &array] {
            assert_eq!(status(bad, &prover), 400, "{bad}");
        }
        let other = good.replace("1.2", "1.3");
        assert_eq!(status(&other, &prover), 403, "the secret of another");
        assert_eq!(
            status(&good, &super::tests::prover()),
            403,
            "another application's"
        );
        assert_eq!(status(&good.replace("\"1.2\"", "\"x\""), &prover), 403);
    }

    /// Bodies that are mostly valid. `SECRET` stands for the proof of socket 1.2.
    fn body() -> impl Strategy<Value = String> {
        let channels = prop::collection::vec(channel(), 0..5);
        let id = prop::option::of("(0a0b0c0d0e0f-[1-9]{1,5}){0,1}|.{1,9}");
        let token = prop::option::of("[a-z.]{0,9}");
        let auth = prop::option::of(("private-[ab]", ".{0,9}", prop::option::of(".{0,9}")));
        let flaw = prop::option::weighted(0.3, 0..6_u8);
        let all = (channels, id, token, auth, flaw);
        all.prop_map(|(channels, id, token, auth, flaw)| {
            let mut body = json!({ "socket_id": "1.2", "secret": "SECRET", "channels": channels });
            if let Some(id) = id {
                body["last_event_id"] = json!(id);
            }
            if let Some(token) = token {
                body["token"] = json!(token);
            }
            if let Some((channel, auth, data)) = auth {
                body["auth"] = json!({ channel: { "auth": auth, "channel_data": data } });
            }
            match flaw {
                Some(0) => body["socket_id"] = json!("1.3"),
                Some(1) => body["secret"] = Value::Null,
                Some(2) => body["more"] = json!(1),
                Some(3) => body["channels"] = json!("a"),
                Some(4) => drop(body.as_object_mut().unwrap().remove("channels")),
                _ => {}
            }
            let mut text = body.to_string();
            if flaw == Some(5) {
                text.pop();
            }
            text
        })
    }

    fn read_with_proof(body: &str) -> Result<Change, Refusal> {
        let prover = prover();
        let secret = prover.prove("1.2".parse().unwrap(), HERE, 1000).to_string();
        read(
            body.replace("SECRET", &secret).as_bytes(),
            &prover,
            3,
            LIMITS,
        )
    }

    #[test]
    fn the_generated_bodies_reach_every_part() {
        let all: Vec<_> = samples(&body())
            .map(|body| read_with_proof(&body))
            .collect();
        let accepted: Vec<_> = all.iter().flatten().collect();
        assert!(accepted.len() > 50, "{}", accepted.len());
        assert!(accepted.iter().any(|change| change.channels.len() == 3));
        assert!(accepted.iter().any(|change| change.since.is_some()));
        assert!(accepted.iter().any(|change| change.token.is_some()));
        assert!(accepted.iter().any(|change| !change.signatures.is_empty()));
        for status in [400, 403] {
            let mut refused = all.iter().filter_map(|change| change.as_ref().err());
            assert!(refused.any(|why| why.status == status), "{status}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_body_obeys_the_rules(body in body()) {
            match read_with_proof(&body) {
                Ok(change) => {
                    prop_assert_eq!(change.held, HERE.into());
                    prop_assert!(!change.channels.is_empty());
                    check_channels(&change.channels, 3);
                    prop_assert_ne!(change.token.as_deref(), Some(""));
                }
                Err(why) => prop_assert!(!why.reason.contains(['\r', '\n']), "one line"),
            }
        }

        #[test]
        fn no_body_is_accepted_without_the_proof(body in body()) {
            prop_assert!(status(&body, &prover()) >= 400);
        }

        #[test]
        fn no_text_panics(body in "[ -~]{0,200}") {
            prop_assert!(status(&body, &prover()) >= 400);
        }
    }
}
