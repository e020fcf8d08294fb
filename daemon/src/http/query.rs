//! What a request for a stream says in its query. Pure: text in, parameters or a refusal out.

use hyper::StatusCode;
use protocol::query::{Parameter, parameters};
use protocol::socket_id::{SESSION, SocketId};
use shared::rules;

use super::refusal::{Refusal, bad};

#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// Distinct, in the order they were named.
    pub channels: Vec<String>,
    pub json: bool,
    pub last_event_id: Option<Vec<u8>>,
    pub token: Option<String>,
    pub name: Name,
}

/// What `last_event_id` may be called: polyfills of EventSource cannot set headers, and each has its name.
const CURSORS: [&str; 4] = [
    "last_event_id",
    "lastEventId",
    "lastEventID",
    "last-event-id",
];

/// What its socket id is to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Name {
    New,
    /// That of a session.
    Session(String),
    /// One it had, and the secret told with it.
    Earlier(SocketId, String),
}

/// `most`: different channels.
///
/// # Errors
/// 400, or 403 for a channel that nobody may ask for by its name.
pub fn parse(text: &str, most: usize) -> Result<Query, Refusal> {
    let mut query = Query {
        channels: Vec::new(),
        json: false,
        last_event_id: None,
        token: None,
        name: Name::New,
    };
    let (mut socket, mut secret) = (None, None);
    for parameter in parameters(text) {
        let parameter = parameter?;
        if CURSORS.contains(&parameter.name.as_str()) {
            let before = query.last_event_id.replace(parameter.value);
            if before.is_some() {
                return Err(bad(
                    "last_event_id (or lastEventId, lastEventID, last-event-id) may be given once",
                ));
            }
            continue;
        }
        match parameter.name.as_str() {
            "channel" => add_channel(&mut query.channels, parameter.value, most)?,
            "format" => {
                query.json = match parameter.value.as_slice() {
                    b"raw" => false,
                    b"json" => true,
                    _ => return Err(bad("format must be raw or json")),
                }
            }
            "token" => query.token = Some(parameter.text()?),
            "session" => query.name = Name::Session(session(parameter)?),
            "socket_id" => socket = Some(parameter.text()?),
            "secret" => secret = Some(parameter.text()?),
            // Others may be a page's own, against caches.
            _ => {}
        }
    }
    if let Some(socket) = socket {
        let unknown = |()| bad("socket_id must be one that askr:connected told");
        let socket = socket.parse().map_err(unknown)?;
        query.name = Name::Earlier(socket, secret.unwrap_or_default());
    }
    Ok(query)
}

fn session(parameter: Parameter) -> Result<String, Refusal> {
    let session = parameter.text()?;
    let printable = session.bytes().all(|b| b.is_ascii_graphic());
    match printable && SESSION.contains(&session.len()) {
        true => Ok(session),
        false => Err(bad(
            "session must be 16 to 64 printable characters of the page's own making",
        )),
    }
}

/// One more of at most `most` different channels.
pub fn add_channel(channels: &mut Vec<String>, name: Vec<u8>, most: usize) -> Result<(), Refusal> {
    let number = channels.len() + 1;
    rules::channel(&name).map_err(|why| bad(format!("channel {number} {why}")))?;
    let name = String::from_utf8(name)
        .map_err(|_| bad(format!("channel {number} must be valid UTF-8")))?;
    // Who signs in over Pusher's protocol has such a channel; nobody else.
    if protocol::pusher::channel_name::is_of_user(&name) {
        let reason = format!("channel {number} is a user's own");
        return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
    }
    if !channels.contains(&name) {
        if channels.len() == most {
            return Err(bad(format!("at most {most} channels a stream")));
        }
        channels.push(name);
    }
    Ok(())
}
