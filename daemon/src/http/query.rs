//! The query of a request for a stream. Pure: text in, parameters or a refusal out.

use hyper::StatusCode;
use protocol::query::{Parameter, parameters};
use protocol::rewind;
use protocol::rewind::{Asked, Rewind};
use protocol::socket_id::{SESSION, SocketId};
use shared::rules;

use super::refusal::{Refusal, bad};

/// The parameters of a request for a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// Distinct, in the order they were named.
    pub channels: Vec<String>,
    /// Whether the format is JSON.
    pub json: bool,
    /// Where to resume: not checked, and not necessarily UTF-8.
    pub last_event_id: Option<Vec<u8>>,
    /// How far to look back, where there is nothing to resume from.
    pub rewind: Option<Rewind>,
    /// Not checked.
    pub token: Option<String>,
    pub name: Name,
}

/// The names of `last_event_id`: polyfills of EventSource cannot set headers, and each has its own name for it.
const CURSORS: [&str; 4] = [
    "last_event_id",
    "lastEventId",
    "lastEventID",
    "last-event-id",
];

/// The socket id that a stream asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Name {
    /// A new one.
    New,
    /// The one derived from this session.
    Session(String),
    /// An earlier one, with the secret that was sent with it.
    Earlier(SocketId, String),
}

/// Parses a query. `max`: the number of different channels. `limits`: of `rewind`.
///
/// # Errors
/// 400 for a malformed query or parameter, 403 for a user's own channel.
pub fn parse(text: &str, max: usize, limits: rewind::Limits) -> Result<Query, Refusal> {
    let mut query = Query {
        channels: Vec::new(),
        json: false,
        last_event_id: None,
        rewind: None,
        token: None,
        name: Name::New,
    };
    let (mut socket, mut secret) = (None, None);
    for parameter in parameters(text) {
        let parameter = parameter?;
        if CURSORS.contains(&&*parameter.name) {
            let before = query.last_event_id.replace(parameter.value.into_owned());
            if before.is_some() {
                return Err(bad(
                    "last_event_id (or lastEventId, lastEventID, last-event-id) may be given once",
                ));
            }
            continue;
        }
        match &*parameter.name {
            "channel" => add_channel(&mut query.channels, parameter.value.into_owned(), max)?,
            "format" => {
                query.json = match &*parameter.value {
                    b"raw" => false,
                    b"json" => true,
                    _ => return Err(bad("format must be raw or json")),
                }
            }
            "rewind" => {
                let rewind = rewind_of(&parameter.text()?, limits)?;
                if query.rewind.replace(rewind).is_some() {
                    return Err(bad("rewind must be given once: it is for all channels"));
                }
            }
            "token" => query.token = Some(parameter.text()?),
            "session" => query.name = Name::Session(session(parameter)?),
            "socket_id" => socket = Some(parameter.text()?),
            "secret" => secret = Some(parameter.text()?),
            // Other parameters may be the page's own, such as one against caches.
            _ => {}
        }
    }
    if let Some(socket) = socket {
        let unknown = |()| bad("socket_id must be one from askr:connected");
        let socket = socket.parse().map_err(unknown)?;
        query.name = Name::Earlier(socket, secret.unwrap_or_default());
    }
    Ok(query)
}

fn rewind_of(text: &str, limits: rewind::Limits) -> Result<Rewind, Refusal> {
    let rewind = Asked::parse(text).within(limits);
    rewind.map_err(|why| bad(why.to_string()))
}

fn session(parameter: Parameter<'_>) -> Result<String, Refusal> {
    let session = parameter.text()?;
    let printable = session.bytes().all(|b| b.is_ascii_graphic());
    match printable && SESSION.contains(&session.len()) {
        true => Ok(session),
        false => Err(bad(
            "session must be 16 to 64 printable characters of the page's own making",
        )),
    }
}

/// Adds a channel, unless it was named already.
///
/// # Errors
/// 400 for an invalid name or more than `max` channels, 403 for a user's own channel.
pub fn add_channel(channels: &mut Vec<String>, name: Vec<u8>, max: usize) -> Result<(), Refusal> {
    let number = channels.len() + 1;
    rules::channel(&name).map_err(|why| bad(format!("channel {number} {why}")))?;
    let name = String::from_utf8(name)
        .map_err(|_| bad(format!("channel {number} must be valid UTF-8")))?;
    // Only a user who signed in over Pusher's protocol has such a channel.
    if protocol::pusher::channel_name::is_of_user(&name) {
        let reason = format!("channel {number} is a user's own");
        return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
    }
    if !channels.contains(&name) {
        if channels.len() == max {
            return Err(bad(format!("at most {max} channels a stream")));
        }
        channels.push(name);
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;

    const MAX: usize = 5;
    const LIMITS: rewind::Limits = rewind::Limits {
        events: 100,
        seconds: 60,
    };

    /// Names that are mostly valid, of all kinds of channels.
    pub fn channel() -> impl Strategy<Value = String> {
        prop_oneof![
            20 => "[a-zA-Z0-9_.é -]{1,12}",
            5 => "(private|presence|cache|private-encrypted)-[a-c]{1,3}",
            1 => "(askr:|#server-to-user-)[a-z]{0,5}",
            1 => ".{0,12}",
        ]
    }

    /// Parameters that are mostly valid, as they stand in a query.
    fn parameter() -> impl Strategy<Value = String> {
        let pair = |name: &'static str, value: BoxedStrategy<String>| {
            value.prop_map(move |value| {
                format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC))
            })
        };
        prop_oneof![
            30 => pair("channel", channel().boxed()),
            3 => pair("format", "raw|json|xml".boxed()),
            3 => pair("token", "[a-zA-Z0-9._-]{0,40}".boxed()),
            3 => pair("session", "[a-f0-9-]{15,40}".boxed()),
            3 => pair("socket_id", "[1-9][0-9]{0,5}\\.[1-9][0-9]{0,5}".boxed()),
            3 => pair("secret", ".{0,20}".boxed()),
            2 => pair("last_event_id", "0a0b0c0d0e0f-[1-9]{1,6}|.{0,9}".boxed()),
            2 => pair("rewind", "[1-9][0-9]{0,2}s?|all|.{0,3}".boxed()),
            1 => pair("lastEventId", "0a0b0c0d0e0f-[1-9]{1,6}".boxed()),
            1 => "[ -~&&[^# ]]{0,12}",
            1 => Just("token=%ff".to_owned()),
        ]
    }

    /// Queries that are mostly valid.
    pub fn query() -> impl Strategy<Value = String> {
        prop::collection::vec(parameter(), 0..7).prop_map(|all| all.join("&"))
    }

    pub fn samples<T: Strategy>(strategy: &T) -> impl Iterator<Item = T::Value> {
        let mut runner = TestRunner::deterministic();
        (0..500).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
    }

    /// What holds for the channels of every accepted request.
    pub fn check_channels(channels: &[String], max: usize) {
        assert!(channels.len() <= max);
        for (n, channel) in channels.iter().enumerate() {
            assert!(rules::channel(channel.as_bytes()).is_ok(), "{channel:?}");
            assert!(!channel.starts_with("#server-to-user-"), "{channel:?}");
            assert!(!channels[..n].contains(channel), "distinct");
        }
    }

    #[test]
    fn the_generated_queries_reach_every_part() {
        let parsed: Vec<_> = samples(&query())
            .map(|query| parse(&query, MAX, LIMITS))
            .collect();
        let accepted: Vec<_> = parsed.iter().flatten().collect();
        assert!(accepted.len() > 100, "{}", accepted.len());
        assert!(accepted.iter().any(|query| query.channels.len() == MAX));
        assert!(accepted.iter().any(|query| query.json));
        assert!(accepted.iter().any(|query| query.last_event_id.is_some()));
        assert!(accepted.iter().any(|query| query.token.is_some()));
        assert!(accepted.iter().any(|query| query.rewind.is_some()));
        assert!(
            accepted
                .iter()
                .any(|query| matches!(query.name, Name::Session(_)))
        );
        assert!(
            accepted
                .iter()
                .any(|query| matches!(query.name, Name::Earlier(..)))
        );
        for status in [400, 403] {
            let mut refused = parsed.iter().filter_map(|query| query.as_ref().err());
            assert!(refused.any(|why| why.status == status), "{status}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_query_obeys_the_rules(query in query()) {
            match parse(&query, MAX, LIMITS) {
                Ok(query) => {
                    check_channels(&query.channels, MAX);
                    if let Name::Session(session) = query.name {
                        prop_assert!(SESSION.contains(&session.len()));
                    }
                }
                Err(why) => prop_assert!(!why.reason.contains(['\r', '\n']), "one line"),
            }
        }

        #[test]
        fn no_text_panics(query in ".{0,80}") {
            let _ = parse(&query, MAX, LIMITS);
        }
    }
}
