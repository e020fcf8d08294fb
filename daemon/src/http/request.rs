//! What a request asks for. Pure: a request in, a route or a refusal out.

use std::borrow::Cow;

use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::{Method, Request, StatusCode, Version};
use protocol::channel::Kind;
use protocol::format::Format;
use protocol::history::Window;
use protocol::pusher::{api, code, connect};
use protocol::query::parameter;
use protocol::wire_cursor::ClientCursor;
use protocol::ws::handshake;
use protocol::ws::handshake::Accept;
use shared::rules;

use super::bearer;
use super::cors::{Origin, origin};
use super::mercure::target::target;
use super::notes;
use super::path;
use super::policy::Policy;
use super::query::{self, Name};
use super::refusal::{Refusal, bad};
use crate::auth::authorizer::Claim;
use crate::engine::Resume;
use crate::process::refusals::{Note, listed};

const EVENTS: &str = "/askr/events";
const SOCKET: &str = "/askr/ws";
const HISTORY: &str = "/askr/history";
const SUBSCRIBE: &str = "/askr/subscribe";
const UNSUBSCRIBE: &str = "/askr/unsubscribe";
const CLIENT_EVENT: &str = "/askr/client-event";

/// What a request asks for.
#[derive(Debug)]
pub enum Route {
    /// OPTIONS: which requests a page may send.
    Preflight,
    Stream(SubscribeRequest),
    /// A page of the one channel's events, for whoever may subscribe to it.
    History {
        subscribe: SubscribeRequest,
        window: Window,
    },
    /// A Pusher connection that is refused. Browsers show a page the reason only over the open WebSocket.
    Refused {
        accept: Accept,
        code: u16,
        reason: Cow<'static, str>,
        note: Option<Note>,
    },
    /// A request to Pusher's HTTP API of this application. The signature is not verified yet.
    Api {
        app: usize,
    },
    /// The health check of Pusher's HTTP API.
    Up,
    /// A request to this application's Mercure hub.
    Mercure {
        app: usize,
    },
    /// A change of a stream's channels: its body names the stream and the channels.
    Change {
        app: usize,
        /// Whether channels are added; else they are removed.
        subscribe: bool,
        claim: Claim,
    },
    /// A client event of a stream: its body, of at most `max` bytes, names the stream and has the event.
    ClientEvent {
        app: usize,
        max: u64,
    },
}

/// A request for a stream.
#[derive(Debug)]
pub struct SubscribeRequest {
    /// The application's index in [`Policy::apps`].
    pub app: usize,
    /// Distinct, in the order they were named.
    pub channels: Vec<String>,
    pub format: Format,
    /// The handshake, if it is a WebSocket.
    pub accept: Option<Accept>,
    pub resume: Option<Resume>,
    /// The credentials, if a channel needs authorization or one may be added over a WebSocket later.
    pub claim: Option<Claim>,
    pub name: Name,
}

/// Routes a request. The origin is returned in any case: a page of an allowed origin may read why it was refused.
pub fn route<B>(request: &Request<B>, policy: &Policy) -> (Origin, Result<Route, Refusal>) {
    if path::has_dot_segments(request.uri().path()) {
        let reason =
            "the path has a dot segment or an empty one, which a proxy may read differently";
        let note = notes::dot_segments(request.uri().path());
        return (Origin::Foreign, Err(bad(reason).noted(note)));
    }
    if let Some(target) = api::target(request.uri().path()) {
        let sized = check_head(request, policy).and_then(|()| check_host(request, policy));
        return (Origin::Own, sized.and_then(|()| api_route(target, policy)));
    }
    if let Some((app, _)) = target(request.uri().path(), &policy.apps) {
        let origin = origin(request.headers(), &policy.apps[app].origins);
        let sized = check_head(request, policy).and_then(|()| check_host(request, policy));
        return (origin, sized.map(|()| Route::Mercure { app }));
    }
    let key = connect::key(request.uri().path());
    let app = match &key {
        Some(key) => Ok(policy.apps.iter().position(|app| app.key == *key)),
        None => app(request, policy).map(Some),
    };
    let index = app.as_ref().ok().copied().flatten().unwrap_or(0);
    let origin = origin(request.headers(), &policy.apps[index].origins);
    let max = match request.uri().path() {
        CLIENT_EVENT => policy.apps[index].client_event_bytes,
        _ => policy.body_bytes,
    };
    let checked = check_size(request, policy, max).and_then(|()| check_host(request, policy));
    let route = checked.and(app).and_then(|app| match (key, app) {
        (None, app) => askr_route(request, policy, app.unwrap_or(0), &origin),
        (Some(key), app) => pusher_route(request, policy, &key, app, &origin),
    });
    (origin, route)
}

/// The application that the query names; without a name the first.
fn app<B>(request: &Request<B>, policy: &Policy) -> Result<usize, Refusal> {
    let query = request.uri().query().unwrap_or("");
    let Some(id) = parameter(query, "app")? else {
        return Ok(0);
    };
    find(&id, policy)
}

/// The application with this id.
fn find(id: &str, policy: &Policy) -> Result<usize, Refusal> {
    let app = policy.apps.iter().position(|app| app.id == id);
    app.ok_or_else(|| {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, "there is no such app");
        refusal.noted(notes::app(id, policy))
    })
}

/// A request to Pusher's HTTP API comes from a server, not a page: responses allow no origin.
fn api_route(target: api::Target, policy: &Policy) -> Result<Route, Refusal> {
    let id = match target {
        api::Target::Up => return Ok(Route::Up),
        api::Target::App(id) => id,
    };
    find(&id, policy).map(|app| Route::Api { app })
}

/// `GET /app/{key}`. `app`: None if no application has this key.
fn pusher_route<B>(
    request: &Request<B>,
    policy: &Policy,
    key: &str,
    app: Option<usize>,
    origin: &Origin,
) -> Result<Route, Refusal> {
    let accept = handshake(request)?;
    let refused = |accept, why: connect::Refused, note| {
        Ok(Route::Refused {
            accept,
            code: why.code,
            reason: why.reason,
            note,
        })
    };
    let Some(app) = app else {
        let note = notes::key(key, policy);
        return refused(accept, connect::Refused::NO_SUCH_APP, Some(note));
    };
    if *origin == Origin::Foreign {
        let why = connect::Refused {
            code: code::UNAUTHORIZED,
            reason: "this origin is not allowed (app.allowed_origins)".into(),
        };
        let note = notes::origin(request.headers(), &policy.apps[app]);
        return refused(accept, why, Some(note));
    }
    match connect::parse(request.uri().query().unwrap_or("")) {
        Err(why) => refused(accept, why, None),
        Ok(connect) => Ok(Route::Stream(SubscribeRequest {
            app,
            channels: Vec::new(),
            format: match connect.recovery {
                true => Format::Recovery,
                false => Format::Pusher,
            },
            accept: Some(accept),
            resume: None,
            // For what it subscribes to later. No query: pages cannot add to it, and proxies log it.
            claim: Some(claim(request.headers(), None, origin)),
            name: Name::New,
        })),
    }
}

fn handshake<B>(request: &Request<B>) -> Result<Accept, Refusal> {
    let accept = handshake::accept(request.method(), request.version(), request.headers());
    accept.map_err(|why| {
        let refusal = Refusal::handshake(why);
        match notes::handshake(why) {
            Some(note) => refusal.noted(note),
            None => refusal,
        }
    })
}

/// A path of Askr's own interface.
fn askr_route<B>(
    request: &Request<B>,
    policy: &Policy,
    app: usize,
    origin: &Origin,
) -> Result<Route, Refusal> {
    let (path, method) = (request.uri().path(), request.method());
    let reads = match path {
        EVENTS | SOCKET | HISTORY => true,
        SUBSCRIBE | UNSUBSCRIBE | CLIENT_EVENT => false,
        _ => {
            let reason = format!("not found; events are at {EVENTS}");
            return Err(Refusal::new(StatusCode::NOT_FOUND, reason).noted(notes::path(path)));
        }
    };
    if *origin == Origin::Foreign {
        let reason = "this origin is not allowed (server.allowed_origins)";
        let note = notes::origin(request.headers(), &policy.apps[app]);
        return Err(Refusal::new(StatusCode::FORBIDDEN, reason).noted(note));
    }
    match *method {
        Method::OPTIONS => Ok(Route::Preflight),
        Method::GET if reads => {
            if body_length(request.headers()) != Some(0) {
                return Err(bad("a request for events has no body"));
            }
            let mut subscribe = subscribe_request(request, policy, app, origin)?;
            if path == HISTORY {
                let window = Window::parse(request.uri().query().unwrap_or(""));
                let window = window.map_err(|why| bad(why.to_string()))?;
                return match subscribe.channels.len() {
                    1 => Ok(Route::History { subscribe, window }),
                    _ => Err(bad("name one channel: ?channel=NAME")),
                };
            }
            if path == SOCKET {
                subscribe.accept = Some(handshake(request)?);
                subscribe.format = Format::Plain;
            } else if subscribe.channels.is_empty() && matches!(subscribe.name, Name::New) {
                // With an id of its own making it is a page that adds its channels by POST.
                return Err(bad("name at least one channel: ?channel=NAME"));
            }
            Ok(Route::Stream(subscribe))
        }
        Method::POST if path == CLIENT_EVENT => Ok(Route::ClientEvent {
            app,
            max: policy.apps[app].client_event_bytes,
        }),
        Method::POST if !reads => Ok(Route::Change {
            app,
            subscribe: path == SUBSCRIBE,
            claim: claim(request.headers(), None, origin),
        }),
        _ if reads => Err(Refusal::method("use GET", "GET, OPTIONS")),
        _ => Err(Refusal::method("use POST", "POST, OPTIONS")),
    }
}

/// The token of a request. `query`: the one in it. What else the application may be shown is added where it is asked
/// (`handler.rs`).
fn claim(headers: &HeaderMap, query: Option<String>, origin: &Origin) -> Claim {
    Claim {
        token: bearer::token(headers, query, origin),
        ..Claim::default()
    }
}

/// `max`: bytes of a body.
fn check_size<B>(request: &Request<B>, policy: &Policy, max: u64) -> Result<(), Refusal> {
    check_head(request, policy)?;
    if body_length(request.headers()).is_some_and(|length| length > max) {
        let reason = format!("the body is longer than {max} bytes");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    Ok(())
}

fn check_head<B>(request: &Request<B>, policy: &Policy) -> Result<(), Refusal> {
    // Its bytes on the wire, including "GET  HTTP/1.1\r\n", ": " and "\r\n".
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |p| p.as_str().len());
    let headers = request
        .headers()
        .iter()
        .map(|(k, v)| k.as_str().len() + v.len() + 4);
    if target + headers.sum::<usize>() + 16 > policy.header_bytes {
        return Err(Refusal::head(policy.header_bytes));
    }
    Ok(())
}

/// None: the length is not known in advance. hyper has checked that Content-Length is a number.
fn body_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    match headers.get(CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None => Some(0),
    }
}

fn check_host<B>(request: &Request<B>, policy: &Policy) -> Result<(), Refusal> {
    let mut all = request.headers().get_all(HOST).iter();
    let host = match (all.next(), all.next()) {
        (Some(host), None) => host
            .to_str()
            .map_err(|_| bad("the Host header is not text"))?,
        (Some(_), Some(_)) => return Err(bad("there is more than one Host header")),
        // HTTP/1.0, which nginx uses for its upstreams by default, needs none.
        (None, _) if request.version() == Version::HTTP_10 && policy.hosts.is_empty() => {
            return Ok(());
        }
        (None, _) => return Err(bad("the Host header is missing")),
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let known =
        |listed: &String| listed.eq_ignore_ascii_case(host) || listed.eq_ignore_ascii_case(name);
    if policy.hosts.is_empty() || policy.hosts.iter().any(known) {
        return Ok(());
    }
    let reason = "this host is not served (server.allowed_hosts)";
    let note = notes::host(host, name, &listed(&policy.hosts));
    Err(Refusal::new(StatusCode::FORBIDDEN, reason).noted(note))
}

fn subscribe_request<B>(
    request: &Request<B>,
    policy: &Policy,
    app: usize,
    origin: &Origin,
) -> Result<SubscribeRequest, Refusal> {
    let text = request.uri().query().unwrap_or("");
    let query = query::parse(text, policy.channels, policy.rewind)?;
    // The header is newer: a browser sends it when it reconnects, while the URL stays the same.
    let header = request
        .headers()
        .get("last-event-id")
        .map(|id| id.as_bytes().to_vec());
    let resume = header
        .filter(|id| !id.is_empty())
        .or(query.last_event_id)
        .and_then(|id| resume(&id))
        .or(query.rewind.map(Resume::Rewind));
    let needs_authorization = |name: &String| Kind::of(name).needs_authorization();
    let claims = request.uri().path() == SOCKET || query.channels.iter().any(needs_authorization);
    Ok(SubscribeRequest {
        app,
        channels: query.channels,
        format: match query.json {
            true => Format::Json,
            false => Format::Raw,
        },
        accept: None,
        resume,
        claim: claims.then(|| claim(request.headers(), query.token, origin)),
        name: query.name,
    })
}

/// An empty id counts as none: that is how a page resets it.
fn resume(id: &[u8]) -> Option<Resume> {
    if id.is_empty() {
        return None;
    }
    // An id that no event can have is not found, and is reported as unknown.
    let text =
        || Resume::Id(String::from_utf8_lossy(&id[..id.len().min(4 * rules::MAX_ID)]).into_owned());
    Some(match ClientCursor::parse(id) {
        Some(ClientCursor::Cursor(cursor)) => Resume::Cursor(cursor),
        Some(ClientCursor::Vector(vector)) => Resume::Vector(vector),
        None => text(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::rewind;
    use protocol::rewind::Rewind;

    use super::super::policy::AppPolicy;
    use super::*;
    use crate::config;
    use crate::config::Server;

    fn policy() -> Policy {
        Policy::new(
            &Server::default(),
            rewind::Limits::default(),
            [config::App::default()].iter(),
        )
    }

    fn get(
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<SubscribeRequest, (u16, String)> {
        let mut request = Request::builder().uri(target).header("host", "a.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match route(&request.body(()).unwrap(), &policy()).1 {
            Ok(Route::Stream(ask)) => Ok(ask),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err((refusal.status.as_u16(), refusal.reason)),
        }
    }

    fn channels(query: &str) -> Result<Vec<String>, u16> {
        get(&format!("/askr/events?{query}"), &[])
            .map(|ask| ask.channels)
            .map_err(|(status, _)| status)
    }

    #[test]
    fn channels_are_decoded_and_each_is_taken_once() {
        assert_eq!(
            channels("channel=a&x=%20&channel=b+c&channel=r%C3%A4k%26&channel=a"),
            Ok(vec!["a".into(), "b c".into(), "räk&".into()])
        );
        assert_eq!(channels("ch%61nnel=a%2Bb"), Ok(vec!["a+b".into()]));
    }

    #[test]
    fn bad_channels_are_refused_with_a_reason() {
        for (query, status) in [
            ("", 400),
            ("channel", 400),
            ("channel=", 400),
            ("channel=a%00", 400),
            ("channel=%ff", 400),
            ("channel=a%zz", 400),
            ("channel=a%4", 400),
            ("channel=askr:gap", 400),
            ("channel=a&format=xml", 400),
            ("channel=a&session=short", 400),
            ("channel=a&socket_id=1", 400),
            ("channel=a&app=other", 404),
            ("channel=%23server-to-user-7", 403),
        ] {
            assert_eq!(channels(query), Err(status), "{query}");
        }
        let many: Vec<String> = (0..101).map(|n| format!("channel=c{n}")).collect();
        assert_eq!(channels(&many.join("&")), Err(400));
        assert_eq!(channels(&many[..100].join("&")).map(|c| c.len()), Ok(100));
        let (_, reason) =
            get(&format!("/askr/events?channel={}", "a".repeat(201)), &[]).unwrap_err();
        assert_eq!(reason, "channel 1 must be at most 200 bytes long");
    }

    #[test]
    fn a_malformed_parameter_is_refused_by_its_name() {
        for (query, reason) in [
            ("channel=a&token=%ff", "token must be valid UTF-8"),
            (
                "channel=a&secret=%ff&socket_id=1.2",
                "secret must be valid UTF-8",
            ),
            ("channel=a&session=%ff", "session must be valid UTF-8"),
            ("channel=a&app=%ff", "app must be valid UTF-8"),
            (
                "channel=a&token=%zz",
                "token has a % without two hexadecimal digits",
            ),
            (
                "channel=a&mine=%",
                "mine has a % without two hexadecimal digits",
            ),
            (
                "channel=%f",
                "channel has a % without two hexadecimal digits",
            ),
        ] {
            let refused = get(&format!("/askr/events?{query}"), &[]).unwrap_err();
            assert_eq!(refused, (400, reason.to_owned()), "{query}");
        }
    }

    #[test]
    fn the_app_is_decoded_like_any_parameter() {
        let id = config::App::default().id;
        let escaped: String = id.bytes().map(|b| format!("%{b:02x}")).collect();
        assert_eq!(
            channels(&format!("channel=a&app={escaped}")),
            Ok(vec!["a".into()])
        );
    }

    #[test]
    fn a_claim_is_made_only_where_one_is_needed() {
        let claim = |query: &str, headers: &[(&'static str, &str)]| {
            get(&format!("/askr/events?{query}"), headers)
                .unwrap()
                .claim
        };
        assert!(claim("channel=a", &[("authorization", "Bearer t")]).is_none());
        let private = "channel=a&channel=private-b&token=q";
        assert_eq!(claim(private, &[]).unwrap().token.as_deref(), Some("q"));
    }

    #[test]
    fn a_stream_may_name_its_earlier_id() {
        let name = |query: &str| {
            get(&format!("/askr/events?channel=a{query}"), &[])
                .unwrap()
                .name
        };
        assert_eq!(name(""), Name::New);
        let page = "0b4f6f0e-5f0c-4f57-9c9e-2f7d9f6f9a11";
        assert_eq!(
            name(&format!("&session={page}")),
            Name::Session(page.into())
        );
        let earlier = Name::Earlier("1.2".parse().unwrap(), "x".into());
        assert_eq!(name("&socket_id=1.2&secret=x"), earlier);
    }

    #[test]
    fn the_header_wins_over_the_parameter() {
        let resume = |query: &str, headers: &[(&'static str, &str)]| {
            get(&format!("/askr/events?channel=a{query}"), headers)
                .unwrap()
                .resume
        };
        let held = |text: &str| Some(Resume::Cursor(text.parse().unwrap()));
        let id = |text: &str| Some(Resume::Id(text.into()));
        assert_eq!(resume("", &[]), None);
        assert_eq!(resume("&last_event_id=", &[("last-event-id", "")]), None);
        assert_eq!(
            resume("&last_event_id=0a0b0c0d0e0f-7", &[]),
            held("0a0b0c0d0e0f-7")
        );
        assert_eq!(
            resume(
                "&last_event_id=0a0b0c0d0e0f-7",
                &[("last-event-id", "0a0b0c0d0e0f-9")]
            ),
            held("0a0b0c0d0e0f-9")
        );
        assert_eq!(resume("&last_event_id=order%207", &[]), id("order 7"));
        assert_eq!(
            resume("", &[("last-event-id", "0A0b0c0d0e0f-9")]),
            id("0A0b0c0d0e0f-9")
        );
    }

    #[test]
    fn a_cursor_wins_over_a_rewind_and_a_bad_rewind_is_refused_by_its_name() {
        let ask = |query: &str, header: &str| {
            let target = format!("/askr/events?channel=a&{query}");
            get(&target, &[("last-event-id", header)])
        };
        let resume = |query: &str, header: &str| ask(query, header).unwrap().resume;
        let ten = Some(Resume::Rewind(Rewind::Events(10)));
        assert_eq!(resume("rewind=10", ""), ten);
        assert_eq!(resume("rewind=10&last_event_id=", ""), ten);
        assert_eq!(
            resume("rewind=2m", ""),
            Some(Resume::Rewind(Rewind::Seconds(120)))
        );
        let held = Some(Resume::Cursor("0a0b0c0d0e0f-7".parse().unwrap()));
        assert_eq!(resume("rewind=10", "0a0b0c0d0e0f-7"), held);
        assert_eq!(resume("rewind=10&last_event_id=0a0b0c0d0e0f-7", ""), held);
        assert_eq!(resume("rewind=10", "x"), Some(Resume::Id("x".into())));
        for bad in ["", "0", "10001", "-1", "x", "1d", "%ff", "10&rewind=10"] {
            for header in ["", "0a0b0c0d0e0f-7"] {
                let (status, reason) = ask(&format!("rewind={bad}"), header).unwrap_err();
                assert_eq!(status, 400, "{bad}");
                assert!(reason.starts_with("rewind must be "), "{bad}: {reason}");
            }
        }
    }

    #[test]
    fn the_cursor_has_several_names_in_the_query_and_is_given_once() {
        let ask = |query: &str| get(&format!("/askr/events?channel=a{query}"), &[]);
        let names = [
            "last_event_id",
            "lastEventId",
            "lastEventID",
            "last-event-id",
        ];
        let held = Some(Resume::Cursor("0a0b0c0d0e0f-7".parse().unwrap()));
        for name in names {
            let resume = ask(&format!("&{name}=0a0b0c0d0e0f-7")).unwrap().resume;
            assert_eq!(resume, held, "{name}");
            for other in names {
                for value in ["0a0b0c0d0e0f-7", "0a0b0c0d0e0f-8", ""] {
                    let query = format!("&{name}=0a0b0c0d0e0f-7&{other}={value}");
                    let (status, reason) = ask(&query).unwrap_err();
                    assert_eq!(status, 400, "{query}");
                    assert!(names.iter().all(|name| reason.contains(name)), "{reason}");
                }
            }
        }
        // A name is what it is written as.
        assert_eq!(ask("&LASTEVENTID=0a0b0c0d0e0f-7").unwrap().resume, None);
    }

    #[test]
    fn hosts_and_methods_and_sizes_are_checked() {
        let status = |request: hyper::http::request::Builder, policy: &Policy| match route(
            &request.body(()).unwrap(),
            policy,
        )
        .1
        {
            Ok(_) => 200,
            Err(refusal) => refusal.status.as_u16(),
        };
        let target = "/askr/events?channel=a";
        let get = || Request::builder().uri(target);
        let listed = Policy {
            hosts: vec!["a.example".into(), "b.example:81".into()],
            ..policy()
        };
        for (host, expected) in [
            ("a.example", 200),
            ("A.EXAMPLE:8080", 200),
            ("b.example:81", 200),
            ("b.example", 403),
            ("a.example.evil", 403),
            ("", 403),
        ] {
            assert_eq!(
                status(get().header("host", host), &listed),
                expected,
                "{host}"
            );
        }
        assert_eq!(status(get(), &policy()), 400, "no Host in HTTP/1.1");
        assert_eq!(status(get().version(Version::HTTP_10), &policy()), 200);
        assert_eq!(status(get().version(Version::HTTP_10), &listed), 400);
        assert_eq!(
            status(get().header("host", "a").header("host", "b"), &policy()),
            400
        );
        let named = || get().header("host", "a");
        assert_eq!(status(named().method("POST"), &policy()), 405);
        assert_eq!(status(named().method("HEAD"), &policy()), 405);
        assert_eq!(status(named().method("OPTIONS"), &policy()), 200);
        assert_eq!(status(named().uri("/askr/event"), &policy()), 404);
        assert_eq!(status(named().uri("/askr/subscribe"), &policy()), 405);
        let post = named().uri("/askr/subscribe").method("POST");
        assert_eq!(status(post, &policy()), 200);
        assert_eq!(status(named().uri("/askr/client-event"), &policy()), 405);
        let post = named().uri("/askr/client-event").method("POST");
        assert_eq!(status(post, &policy()), 200);
        assert_eq!(
            status(named().header("origin", "https://x"), &policy()),
            403
        );
        assert_eq!(
            status(named().header("content-length", "5"), &policy()),
            400
        );
        assert_eq!(
            status(named().header("content-length", "65537"), &policy()),
            413
        );
        assert_eq!(
            status(named().header("x-large", "a".repeat(16 << 10)), &policy()),
            431
        );
    }

    /// Requests that are mostly valid, of every kind.
    fn any_request() -> impl Strategy<Value = Request<()>> {
        let path = prop_oneof![
            5 => Just(EVENTS),
            5 => Just(SOCKET),
            3 => Just(HISTORY),
            1 => Just(SUBSCRIBE),
            1 => Just(CLIENT_EVENT),
            4 => Just("/app/KEY"),
            1 => Just("/app/other"),
            1 => Just("/apps/askr/events"),
            1 => Just("/other"),
        ];
        let query = prop_oneof![
            3 => query::tests::query(),
            2 => "protocol=[4-8]&askr=[01]",
        ];
        let method = prop::sample::select(vec!["GET", "GET", "GET", "POST", "OPTIONS"]);
        let origin = prop::option::of("http://(a|b)\\.example");
        let id = prop::option::of("0a0b0c0d0e0f-[1-9]{1,5}|[ -~]{0,300}");
        let all = (path, query, method, origin, id);
        let request =
            |(path, query, method, origin, id): (_, String, _, Option<String>, Option<String>)| {
                let mut request = Request::builder()
                    .method(method)
                    .uri(format!("{path}?{query}"))
                    .header("host", "a.example")
                    .header("upgrade", "websocket")
                    .header("connection", "Upgrade")
                    .header("sec-websocket-version", "13")
                    .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
                if let Some(origin) = origin {
                    request = request.header("origin", origin);
                }
                if let Some(id) = id {
                    request = request.header("last-event-id", id);
                }
                request.body(()).ok()
            };
        all.prop_filter_map("not a URI", request)
    }

    #[test]
    fn the_generated_requests_reach_every_route() {
        let policy = Policy {
            apps: [AppPolicy {
                key: "KEY".into(),
                ..policy().apps[0].clone()
            }]
            .into(),
            ..policy()
        };
        let routes: Vec<_> = query::tests::samples(&any_request())
            .map(|request| route(&request, &policy).1)
            .collect();
        let streams = |format: Format| {
            let of = |route: &&Route| matches!(route, Route::Stream(ask) if ask.format == format);
            routes.iter().flatten().filter(of).count()
        };
        for format in [
            Format::Raw,
            Format::Json,
            Format::Plain,
            Format::Pusher,
            Format::Recovery,
        ] {
            assert!(streams(format) > 0, "{format:?}");
        }
        let reached = |is: fn(&Route) -> bool| routes.iter().flatten().any(is);
        assert!(reached(|route| matches!(route, Route::Preflight)));
        assert!(reached(|route| matches!(route, Route::Refused { .. })));
        assert!(reached(|route| matches!(route, Route::Api { .. })));
        assert!(reached(|route| matches!(route, Route::Change { .. })));
        assert!(reached(|route| matches!(route, Route::ClientEvent { .. })));
        assert!(reached(|route| matches!(route, Route::History { .. })));
        let is = |route: &&Route| matches!(route, Route::Stream(ask) if ask.resume.is_some() && ask.claim.is_some());
        assert!(routes.iter().flatten().any(|route| is(&route)));
    }

    proptest! {
        #[test]
        fn an_accepted_request_obeys_the_rules(request in any_request()) {
            let policy = policy();
            match route(&request, &policy).1 {
                Ok(Route::Stream(ask)) => {
                    query::tests::check_channels(&ask.channels, policy.channels);
                    let closed = ask.channels.iter().any(|name| rules::needs_authorization(name.as_bytes()));
                    prop_assert!(ask.claim.is_some() || !closed, "a private channel is authorized");
                    prop_assert_eq!(ask.accept.is_some(), ask.format.is_websocket());
                }
                Ok(Route::History { subscribe: ask, .. }) => {
                    query::tests::check_channels(&ask.channels, 1);
                    prop_assert_eq!(ask.channels.len(), 1);
                    let closed = rules::needs_authorization(ask.channels[0].as_bytes());
                    prop_assert!(ask.claim.is_some() || !closed, "a private channel is authorized");
                }
                Ok(_) => {}
                Err(why) => prop_assert!(!why.reason.contains(['\r', '\n']), "one line"),
            }
        }

        #[test]
        fn every_allowed_channel_can_be_asked_for(name in "[^\\p{Cc}]{1,50}") {
            if rules::channel(name.as_bytes()).is_ok() && !rules::needs_authorization(name.as_bytes()) {
                let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
                prop_assert_eq!(channels(&format!("channel={encoded}")), Ok(vec![name]));
            }
        }
    }
}
