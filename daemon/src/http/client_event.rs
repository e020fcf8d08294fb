//! The body of `POST /askr/client-event`. Pure: JSON in, a stream's client event or a refusal out.
//!
//! ```json
//! {"socket_id": "1.2", "secret": "…", "channel": "private-chat.7", "event": "client-typing", "data": {"by": "Ada"}}
//! ```
//!
//! `socket_id` and `secret` are those of `askr:connected`. `data` is any JSON, and `null` where it is left out.

use hyper::StatusCode;
use protocol::client_event::{ClientEvent, Refused};
use protocol::json::object_from_slice;
use protocol::socket_id::{Held, Prover, SocketId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::proof;
use super::refusal::{Refusal, bad};

/// A client event of a stream.
#[derive(Debug)]
pub struct Sent {
    pub socket: SocketId,
    /// Where the stream is held.
    pub held: Held,
    /// Checked where the stream is held.
    pub event: ClientEvent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    socket_id: String,
    secret: String,
    channel: String,
    event: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Parses a body and checks the secret.
///
/// # Errors
/// 400 for a malformed body, 403 for a secret that is not this socket's.
pub fn read(body: &[u8], prover: &Prover) -> Result<Sent, Refusal> {
    let body: Body = object_from_slice(body).map_err(|why| {
        // The parser's own message may repeat what was sent.
        let place = format!("line {}, column {}", why.line(), why.column());
        let shape = r#"must be {"socket_id","secret","channel","event"} and maybe "data""#;
        bad(format!("the body {shape} ({place})"))
    })?;
    let (socket, held) = proof::check(prover, &body.socket_id, &body.secret)?;
    let event = ClientEvent {
        channel: body.channel,
        event: body.event,
        data: body.data.map_or("null", RawValue::get).to_owned(),
    };
    Ok(Sent {
        socket,
        held,
        event,
    })
}

impl From<Refused> for Refusal {
    fn from(why: Refused) -> Self {
        // Every status of a refused client event is one of HTTP's.
        let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::BAD_REQUEST);
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::too_often(why.to_string()),
            _ => Self::new(status, why.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use protocol::socket_id::Place;

    use super::*;

    const HERE: Place = Place { worker: 1, slot: 2 };

    /// `SECRET` stands for the proof of socket 1.2.
    fn read_with_proof(body: &str) -> Result<Sent, Refusal> {
        let prover = Prover::new("shop", &[]).unwrap();
        let secret = prover.prove("1.2".parse().unwrap(), HERE, 1000).to_string();
        read(body.replace("SECRET", &secret).as_bytes(), &prover)
    }

    fn body(socket: &str, secret: &str, rest: &str) -> String {
        format!(r#"{{"socket_id":"{socket}","secret":"{secret}"{rest}}}"#)
    }

    #[test]
    fn the_data_is_kept_as_it_was_written() {
        for (data, kept) in [
            (
                r#","data":{"a" : [1.0, "\u0041"]}"#,
                r#"{"a" : [1.0, "\u0041"]}"#,
            ),
            (r#","data":"text""#, r#""text""#),
            (r#","data":null"#, "null"),
            ("", "null"),
        ] {
            let rest = format!(r#","channel":"private-a","event":"client-x"{data}"#);
            let sent = read_with_proof(&body("1.2", "SECRET", &rest)).unwrap();
            assert_eq!(
                (sent.held.place, sent.socket.to_string()),
                (HERE, "1.2".into())
            );
            assert_eq!(
                (&*sent.event.channel, &*sent.event.event),
                ("private-a", "client-x")
            );
            assert_eq!(sent.event.data, kept);
        }
    }

    #[test]
    fn a_malformed_body_and_a_foreign_secret_are_refused() {
        let event = r#","channel":"private-a","event":"client-x","data":1"#;
        for (body, status) in [
            (body("1.3", "SECRET", event), 403),
            (body("x", "SECRET", event), 403),
            (body("1.2", "secret", event), 403),
            (body("1.2", "SECRET", r#","channel":"private-a""#), 400),
            (body("1.2", "SECRET", r#","event":"client-x""#), 400),
            (
                body("1.2", "SECRET", r#","channel":7,"event":"client-x""#),
                400,
            ),
            (body("1.2", "SECRET", &format!(r#"{event},"more":1"#)), 400),
            (body("1.2", "SECRET", &format!(r#"{event},"data":1"#)), 400),
            (
                format!(r#"["1.2","SECRET"{}]"#, r#","private-a","client-x",1"#),
                400,
            ),
            (String::new(), 400),
            ("{}".into(), 400),
        ] {
            let why = read_with_proof(&body).unwrap_err();
            assert_eq!(why.status, status, "{body}");
            assert!(!why.reason.contains('\n') && !why.reason.contains("private-a"));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(body in "[ -~]{0,200}", data in ".{0,60}") {
            prop_assert!(read_with_proof(&body).is_err());
            let rest = format!(r#","channel":"private-a","event":"client-x","data":{data}"#);
            let _ = read_with_proof(&self::body("1.2", "SECRET", &rest));
        }
    }
}
