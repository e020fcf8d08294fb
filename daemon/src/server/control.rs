//! The local socket for operators and for PHP. Never on an address that viewers reach.
//!
//! | | |
//! |---|---|
//! | `GET /healthz`, `/readyz`, `/metrics` | of the daemon |
//! | `GET /channels?ring=R&prefix=P` | `{"channels":{"orders":3}}` subscribers of each channel |
//! | `GET /members?ring=R&channel=C` | `{"members":[{"id":"7","info":null}]}` |
//! | `POST /disconnect?ring=R` | `{"socket_id":"1.2"}`, `{"user":"7"}` or `{"all":true}` → `{"ended":2}` |
//!
//! Nobody waits for a user who does not finish: `askers` has places for each.
//!
//! The last three are about the application whose ring is `R`, for those who may publish to it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::member::Member;
use protocol::query;
use serde::Deserialize;
use serde_json::json;
use shared::name::RingName;
use tokio::net::UnixStream;

use crate::app::application::App;
use crate::app::queries;
use crate::auth::http_call;
use crate::engine::lingering;
use crate::engine::lingering::{Ending, Lingering};
use crate::hub::command::{Target, Which};
use crate::hub::hub::Hub;
use crate::outbound::webhooks;
use crate::process::control_places::{Askers, Place, Turn};
use crate::process::state::Process;
use crate::process::{control_places, faults, logging};
use crate::server::peer_credentials::PeerCredentials;

/// Bytes of a request's body.
const MAX_BODY: usize = 4096;
/// For a whole request to come, and then for the answer to be found and taken.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What somebody is told who finds no place.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
    Content-Length: 53\r\nConnection: close\r\n\r\nthis user, or all together, ask too much at one time\n";

pub struct Control {
    pub apps: Vec<Arc<App>>,
    pub process: Arc<Process>,
}

/// Answers on `listener` until dropped. Runs on a LocalSet.
pub async fn run(control: Control, listener: UnixListener) -> std::io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let control = Rc::new(control);
    let askers = Askers::new();
    let metrics = control.process.metrics.clone();
    let lingering = Rc::new(RefCell::new(Lingering::new(metrics)?));
    let refused = Rc::new(());
    let mut endings = pin!(lingering::drive(lingering.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            ended = &mut endings => return ended,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(peer) = socket.peer_cred() else {
            continue;
        };
        let peer = PeerCredentials {
            uid: peer.uid(),
            gid: peer.gid(),
        };
        match askers.enter(peer.uid) {
            Some(place) => drop(tokio::task::spawn_local(serve(
                control.clone(),
                lingering.clone(),
                socket,
                peer,
                place,
            ))),
            None => {
                control.process.metrics.control_refused.add(1);
                // Its request is not read, so it is not simply closed: that would reset what it is sent.
                if Rc::strong_count(&refused) <= control_places::REFUSED
                    && let Ok(socket) = socket.into_std()
                {
                    let held = Holding::Refused(refused.clone());
                    lingering.borrow_mut().end(Ending {
                        message: Bytes::from_static(BUSY),
                        ..Ending::new(socket.into(), held)
                    });
                }
            }
        }
        // However many come at once, those who were accepted are answered between them.
        tokio::task::yield_now().await;
    }
}

/// What an ending connection holds until it is closed.
#[expect(dead_code, reason = "it is given back when this is dropped")]
enum Holding {
    Place(Arc<Place>),
    Refused(Rc<()>),
}

async fn serve(
    control: Rc<Control>,
    lingering: Rc<RefCell<Lingering<Holding>>>,
    socket: UnixStream,
    peer: PeerCredentials,
    place: Arc<Place>,
) {
    let held = place.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (control, place) = (control.clone(), place.clone());
        async move { Ok::<_, Infallible>(control.answer(peer, place, request).await) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIMEOUT)
        .max_buf_size(control_places::HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    let _ = tokio::time::timeout(2 * TIMEOUT, &mut connection).await;
    // The place is held until the asker has gone too.
    if let Ok(socket) = connection.into_parts().io.into_inner().into_std() {
        let ending = Ending::new(socket.into(), Holding::Place(held));
        lingering.borrow_mut().end(ending);
    }
}

/// An answer that somebody had a turn for, which lasts until it is taken.
struct Taken {
    text: String,
    #[expect(dead_code, reason = "it is given back when this is dropped")]
    turn: Turn,
}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// What was answered: status and text, JSON if it is 200 and about an application.
type Reply = (StatusCode, String);

impl Control {
    async fn answer(
        &self,
        peer: PeerCredentials,
        place: Arc<Place>,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let (method, path) = (&parts.method, parts.uri.path());
        let (status, text) = match (method, path) {
            (&Method::GET, "/healthz") => match self.process.heartbeats.hanging() {
                None => (StatusCode::OK, "ok\n".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            (&Method::GET, "/readyz") => match self.process.heartbeats.unready() {
                None => (StatusCode::OK, "ready\n".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            (&Method::GET, "/metrics") => (StatusCode::OK, self.metrics()),
            (&Method::GET, "/channels" | "/members") | (&Method::POST, "/disconnect") => {
                match self.about_an_app(peer, place, &parts.uri, body).await {
                    Ok(json) => return answer(StatusCode::OK, "application/json", json),
                    Err((status, why)) => (status, format!("{why}\n")),
                }
            }
            (_, "/healthz" | "/readyz" | "/metrics" | "/channels" | "/members") => {
                (StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned())
            }
            (_, "/disconnect") => (StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned()),
            _ => (
                StatusCode::NOT_FOUND,
                "not found; there are /healthz, /readyz, /metrics, /channels, /members, /disconnect\n"
                    .to_owned(),
            ),
        };
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        answer(status, kind, Bytes::from(text))
    }

    async fn about_an_app(
        &self,
        peer: PeerCredentials,
        place: Arc<Place>,
        uri: &Uri,
        body: Incoming,
    ) -> Result<Bytes, Reply> {
        let ring = parameter(uri, "ring")?.ok_or_else(|| bad("ring must name the ring"))?;
        let name: RingName = ring.parse().map_err(|why| bad(&format!("ring {why}")))?;
        // "/askr" and "/dev/shm/askr" are the same.
        let same = |app: &&Arc<App>| app.ring.path() == name.path();
        let app = self.apps.iter().find(same).ok_or_else(|| {
            let why = "no application of this askrd has this ring";
            (StatusCode::NOT_FOUND, why.to_owned())
        })?;
        // All of it first: a turn is for who has asked.
        let body = read(body).await?;
        let turn = place.turn().await;
        let path = name.path().to_owned();
        // It may have to ask for a user's groups over the network. The turn goes along: it lasts as long as
        // that does, also if the connection does not.
        let asked = tokio::task::spawn_blocking(move || {
            faults::at("asker", b"");
            (peer.may_publish(&path), turn)
        });
        let Ok((true, turn)) = asked.await else {
            let why = "this user may not ask about this ring";
            return Err((StatusCode::FORBIDDEN, why.to_owned()));
        };
        let text = match uri.path() {
            "/channels" => {
                let prefix = parameter(uri, "prefix")?.unwrap_or_default();
                json!({ "channels": queries::channels(app, Which::Prefix(prefix)).await })
                    .to_string()
            }
            "/members" => {
                let channel = parameter(uri, "channel")?;
                let channel = channel.ok_or_else(|| bad("channel is missing"))?;
                members(&app.roster.list(&channel))
            }
            _ => json!({ "ended": queries::end(app, target(&body)?).await }).to_string(),
        };
        Ok(Bytes::from_owner(Taken { text, turn }))
    }

    fn metrics(&self) -> String {
        let all = self.apps.iter().map(|app| &*app.hub);
        let metrics = &self.process.metrics;
        metrics
            .connections
            .set(self.process.limits.connections() as u64);
        let channels: usize = all.clone().map(|hub| hub.routes.channels()).sum();
        metrics.channels.set(channels as u64);
        metrics.outbox_bytes.set(self.process.memory.waiting.get());
        metrics.held_bytes.set(self.process.memory.used());
        let lag = |hub: &Hub| {
            hub.segments
                .head()
                .saturating_sub(hub.watermarks.completed())
        };
        metrics.behind.set(all.clone().map(lag).sum());
        let entries: usize = all.clone().map(|hub| hub.index.entries()).sum();
        metrics.index_entries.set(entries as u64);
        let forgotten: u64 = all.clone().map(|hub| hub.last_events.forgotten()).sum();
        metrics.last_events_forgotten.set(forgotten);
        let counts = self.apps.iter().map(|app| app.roster.counts());
        let (members, refused) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        metrics.members.set(members as u64);
        metrics.members_refused.set(refused);
        let http = self.apps.iter().filter_map(|app| app.authority.http());
        let sum = |of: fn(&http_call::Counts) -> &AtomicU64| -> u64 {
            http.clone()
                .map(|http| of(&http.counts).load(Relaxed))
                .sum()
        };
        metrics.auth_asked.set(sum(|counts| &counts.asked));
        metrics.auth_refused.set(sum(|counts| &counts.refused));
        metrics.auth_away.set(sum(|counts| &counts.away));
        metrics.auth_full.set(sum(|counts| &counts.full));
        metrics.auth_share.set(sum(|counts| &counts.share));
        metrics.auth_anonymous.set(sum(|counts| &counts.anonymous));
        metrics.auth_cached.set(sum(|counts| &counts.cached));
        let hooks = all.clone().filter_map(|hub| hub.webhooks.as_ref());
        let sum = |of: fn(&webhooks::Counts) -> &AtomicU64| -> u64 {
            hooks
                .clone()
                .map(|hooks| of(&hooks.counts).load(Relaxed))
                .sum()
        };
        metrics.hooks_delivered.set(sum(|counts| &counts.delivered));
        metrics.hooks_dropped.set(sum(|counts| &counts.dropped));
        metrics.hooks_share.set(sum(|counts| &counts.share));
        metrics.hooks_given_up.set(sum(|counts| &counts.given_up));
        metrics.hooks_failed.set(sum(|counts| &counts.failed));
        metrics
            .hooks_waiting
            .set(hooks.map(|hooks| hooks.waiting() as u64).sum());
        let tokens = self.apps.iter().filter_map(|app| app.authority.tokens());
        let unsaved = tokens
            .filter_map(|tokens| tokens.file())
            .map(|file| file.failed());
        metrics.revocations_unsaved.set(unsaved.sum());
        let (waiting, lost) = logging::counts();
        metrics.log_waiting.set(waiting as u64);
        metrics.log_lost.set(lost);
        let ages = all.map(|hub| hub.segments.history_seconds());
        let seconds = ages.fold(f64::INFINITY, f64::min);
        let mut text = metrics.to_text();
        let _ = write!(
            text,
            "# HELP askr_history_seconds Age of the oldest event held, of the application with the shortest history.\n\
             # TYPE askr_history_seconds gauge\naskr_history_seconds {seconds}\n"
        );
        self.process.latency.write_to(
            &mut text,
            "askr_publish_to_write_seconds",
            "From the publish of an event until a worker wrote it to its streams.",
        );
        self.process.turns.write_to(
            &mut text,
            "askr_worker_turn_seconds",
            "What a worker takes for the events of one wake.",
        );
        text
    }
}

fn parameter(uri: &Uri, name: &str) -> Result<Option<String>, Reply> {
    query::parameter(uri.query().unwrap_or(""), name).map_err(|why| bad(&why.to_string()))
}

fn answer(status: StatusCode, kind: &'static str, text: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text));
    *answer.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    answer
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, kind);
    answer
}

/// The body of a request, which comes in time.
async fn read(body: Incoming) -> Result<Bytes, Reply> {
    let body = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(bad(&format!("the body must be at most {MAX_BODY} bytes"))),
        Err(_) => {
            let why = "the request did not come in time";
            Err((StatusCode::REQUEST_TIMEOUT, why.to_owned()))
        }
    }
}

fn target(body: &[u8]) -> Result<Target, Reply> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Body {
        SocketId(String),
        User(String),
        All(bool),
    }
    let shape = || bad(r#"the body must be {"socket_id":"1.2"}, {"user":"7"} or {"all":true}"#);
    match serde_json::from_slice(body).map_err(|_| shape())? {
        Body::SocketId(id) => Ok(Target::Socket(id.parse().map_err(|()| shape())?)),
        Body::User(user) => Ok(Target::User(user)),
        Body::All(true) => Ok(Target::All),
        Body::All(false) => Err(shape()),
    }
}

fn bad(why: &str) -> Reply {
    (StatusCode::BAD_REQUEST, why.to_owned())
}

/// Not by way of a value: a member's info is text that is JSON already.
fn members(list: &[Member]) -> String {
    #[derive(serde::Serialize)]
    struct Members<'a> {
        members: &'a [Member],
    }
    serde_json::to_string(&Members { members: list }).unwrap_or_default()
}
