//! What is logged of a refused request: what was refused, and what to change. Pure.

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use protocol::pusher::signature;
use protocol::ws::handshake;

use super::policy::{AppPolicy, Policy};
use crate::config::AllowedOrigin;
use crate::process::refusals::{Note, Reason, listed, shown, shown_name};

/// The most bytes of an origin: its host has 253 at most.
const MAX_ORIGIN: usize = 300;

/// An origin that is not allowed, with the line of settings that allows it.
pub fn origin(headers: &HeaderMap, app: &AppPolicy) -> Note {
    let origin = text(headers, ORIGIN);
    let mut line = format!("origin {} is not allowed", shown(&origin));
    if origin.len() <= MAX_ORIGIN
        && let Some(entry) = AllowedOrigin::of(&origin)
    {
        let entries = listed(app.origins.iter().chain([&entry]));
        let section = app.origins_section;
        line += &format!(": {section} allowed_origins = [{entries}] allows it");
        let host = shown(&text(headers, HOST));
        line += &format!(
            "; if it is this site's own, a proxy does not pass on its Host (Host is {host})"
        );
    }
    Note::new(Reason::Origin, origin, line)
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers.get(name).map_or(&[][..], |value| value.as_bytes());
    String::from_utf8_lossy(value).into_owned()
}

/// A host that is not served. `name`: without its port. `hosts`: those that are.
pub fn host(host: &str, name: &str, hosts: &str) -> Note {
    let text = format!(
        "host {} is not served: [server] allowed_hosts = [{hosts}, {}] allows it",
        shown(host),
        shown(name)
    );
    Note::new(Reason::Host, host, text)
}

/// A path that leads nowhere.
pub fn path(path: &str) -> Note {
    let mut text = format!("there is nothing at path {}", shown(path));
    let known = ["/app/", "/apps/", "/askr/"];
    let prefix = known.iter().filter_map(|known| path.find(known)).min();
    if let Some(prefix @ 1..) = prefix {
        let prefix = shown(&path[..prefix]);
        text += &format!(": {prefix} is in front of it, which a client (wsPath) or a proxy adds");
    }
    text += ": events are at /askr/events and /askr/ws, Pusher's clients connect to /app/KEY, \
             its server libraries post to /apps/ID/events";
    Note::new(Reason::Path, path, text)
}

/// A path with a dot segment or an empty one.
pub fn dot_segments(path: &str) -> Note {
    let text = format!(
        "path {} has a dot segment or an empty one: a client (wsPath) or a proxy puts a slash too many into it, or somebody \
         looks for what a proxy keeps closed",
        shown(path)
    );
    Note::new(Reason::Path, path, text)
}

/// An id that no application has.
pub fn app(id: &str, policy: &Policy) -> Note {
    let ids = listed(policy.apps.iter().map(|app| &app.id));
    let text = format!(
        "there is no application {}: app.id is {ids} (PUSHER_APP_ID, REVERB_APP_ID; ?app= of Askr's own paths)",
        shown_name(id)
    );
    Note::new(Reason::App, id, text)
}

/// A key that no application has.
pub fn key(key: &str, policy: &Policy) -> Note {
    let keys = listed(policy.apps.iter().map(|app| &app.key));
    let text = format!(
        "no application has the key {}: app.key is {keys} (PUSHER_APP_KEY, REVERB_APP_KEY, and what the page has of it)",
        shown_name(key)
    );
    Note::new(Reason::Key, key, text)
}

/// A handshake without what a proxy leaves out. None: the client has made it so.
pub fn handshake(why: handshake::Refused) -> Option<Note> {
    use handshake::Refused;
    match why {
        Refused::Http | Refused::NoUpgrade => {}
        Refused::Method | Refused::Version | Refused::Key => return None,
    }
    let text = "a request for a WebSocket has no Upgrade: a proxy has to pass it on (nginx: proxy_http_version 1.1, \
                proxy_set_header Upgrade $http_upgrade, proxy_set_header Connection \"upgrade\")";
    Some(Note::new(Reason::Upgrade, "", text))
}

/// Whether these bytes, in place of a request, are a TLS client's: a handshake's record, of any version.
pub fn is_tls(input: &[u8]) -> bool {
    input.starts_with(&[0x16, 0x03])
}

/// A client that begins with TLS: browsers tell a protocol error, and not whose.
pub fn tls() -> Note {
    let text = "a client speaks TLS to an address without it: set REVERB_SCHEME=http (PUSHER_SCHEME; in the page \
                VITE_REVERB_SCHEME, forceTLS: false), or have it connect to nginx, which ends TLS; a pusher-js that was \
                refused without TLS tries this next";
    Note::new(Reason::Tls, "", text)
}

/// A request to the HTTP API of application `id` whose signature is refused. `has_secret`: whether there is one to
/// sign with.
pub fn api_signature(id: &str, why: &signature::Refused, has_secret: bool) -> Note {
    let advice = match why {
        _ if !has_secret => "app.secret is not set",
        signature::Refused::Signature => {
            "the client signs with another secret than app.secret (PUSHER_APP_SECRET, REVERB_APP_SECRET), \
             or a proxy changes path or query"
        }
        signature::Refused::Key => {
            "the client has another key than app.key (PUSHER_APP_KEY, REVERB_APP_KEY)"
        }
        signature::Refused::Timestamp => "the clock of one of the two machines is wrong",
        _ => "it is not what Pusher's libraries send",
    };
    let text = format!("a request to the HTTP API of application \"{id}\": {why}: {advice}");
    Note::new(Reason::ApiSignature, format!("{id} {why}"), text)
}
