//! What a request for a stream says in its query. Pure: text in, parameters or a refusal out.

use hyper::StatusCode;
use percent_encoding::percent_decode;
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
const CURSORS: [&[u8]; 4] = [
    b"last_event_id",
    b"lastEventId",
    b"lastEventID",
    b"last-event-id",
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
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key)?;
        if CURSORS.contains(&key.as_slice()) {
            let before = query.last_event_id.replace(decode(value)?);
            if before.is_some() {
                return Err(bad(
                    "last_event_id (or lastEventId, lastEventID, last-event-id) may be given once",
                ));
            }
            continue;
        }
        match key.as_slice() {
            b"channel" => add_channel(&mut query.channels, decode(value)?, most)?,
            b"format" => {
                query.json = match decode(value)?.as_slice() {
                    b"raw" => false,
                    b"json" => true,
                    _ => return Err(bad("format must be raw or json")),
                }
            }
            b"token" => query.token = String::from_utf8(decode(value)?).ok(),
            b"session" => query.name = Name::Session(session(decode(value)?)?),
            b"socket_id" => socket = Some(decode(value)?),
            b"secret" => secret = String::from_utf8(decode(value)?).ok(),
            // Others may be a page's own, against caches.
            _ => {}
        }
    }
    if let Some(socket) = socket {
        let socket = String::from_utf8(socket)
            .ok()
            .and_then(|id| id.parse().ok());
        let socket = socket.ok_or_else(|| bad("socket_id must be one that askr:connected told"))?;
        query.name = Name::Earlier(socket, secret.unwrap_or_default());
    }
    Ok(query)
}

fn session(text: Vec<u8>) -> Result<String, Refusal> {
    let text = String::from_utf8(text).ok();
    let sound =
        |text: &String| SESSION.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    text.filter(sound).ok_or_else(|| {
        bad("session must be 16 to 64 printable characters of the page's own making")
    })
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

/// As forms are encoded: `%xx`, and `+` for a space.
fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = text.as_bytes();
    let broken = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        !digits.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    };
    if memchr::memchr_iter(b'%', bytes).any(broken) {
        return Err(bad("the query has a % without two hexadecimal digits"));
    }
    let spaced = text.replace('+', " ");
    Ok(percent_decode(spaced.as_bytes()).collect())
}
