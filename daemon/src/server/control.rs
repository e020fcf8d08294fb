//! The local socket for operators and for PHP. Never on an address that viewers reach.
//!
//! | | |
//! |---|---|
//! | `GET /healthz`, `/readyz`, `/metrics` | of the daemon |
//! | `GET /channels?ring=R&prefix=P` | `{"channels":{"orders":3}}` subscribers of each channel |
//! | `GET /members?ring=R&channel=C` | `{"members":[{"id":"7","info":null}]}` |
//! | `POST /disconnect?ring=R` | `{"socket_id":"1.2"}`, `{"user":"7"}` or `{"all":true}` → `{"ended":2}` |
//! | `GET /history?ring=R&channel=C&limit=N&since=C&before=C&form=F` | a page of the channel's events (`protocol::history`); `F`: `json`, or `parts` |
//! | `POST /forget?ring=R&channel=C` | erases the channel's events → `{"forgotten":3}` |
//!
//! No user waits for another one's connections: each has places of its own (`control_places.rs`).
//!
//! All but the first concern the application whose ring is `R`, and are for users who may publish to it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::history::{Form, Window};
use protocol::member::Member;
use protocol::query;
use serde::Deserialize;
use serde_json::json;
use shared::grant;
use shared::name::RingName;
use shared::rules;
use tokio::net::UnixStream;

use crate::app::application::App;
use crate::app::{forget, history, queries};
use crate::engine::lingering;
use crate::engine::lingering::{Ending, Lingering};
use crate::hub::command::{Target, Which};
use crate::process::budget::Held;
use crate::process::client_key::ClientKey;
use crate::process::control_places;
use crate::process::control_places::{Askers, Place, Turn};
use crate::process::state::Process;
use crate::server::peer_credentials::PeerCredentials;
use crate::server::scrape;

/// Bytes of a request's body.
const MAX_BODY: usize = 4096;
/// For a whole request to arrive, and then for the response to be made and written.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The response to a connection that finds no place.
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
        let Ok(peer) = PeerCredentials::of(&socket) else {
            continue;
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
        // However many connect at once, accepted connections are answered in between.
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
    let (held, peer) = (place.clone(), Rc::new(peer));
    let service = service_fn(|request: Request<Incoming>| {
        let (control, peer, place) = (control.clone(), peer.clone(), place.clone());
        async move { Ok::<_, Infallible>(control.answer(&peer, place, request).await) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIMEOUT)
        .max_buf_size(control_places::HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    let _ = tokio::time::timeout(2 * TIMEOUT, &mut connection).await;
    // The place is held until the client has closed too.
    if let Ok(socket) = connection.into_parts().io.into_inner().into_std() {
        let ending = Ending::new(socket.into(), Holding::Place(held));
        lingering.borrow_mut().end(ending);
    }
}

/// A response body that keeps its turn until it has been written.
struct Taken {
    text: Bytes,
    #[expect(dead_code, reason = "it is given back when this is dropped")]
    turn: Turn,
}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// Status and text of an error.
type Reply = (StatusCode, String);

impl Control {
    async fn answer(
        &self,
        peer: &PeerCredentials,
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
            (&Method::GET, "/metrics") => {
                (StatusCode::OK, scrape::text(&self.process, &self.apps))
            },
            (&Method::GET, "/channels" | "/members" | "/history")
            | (&Method::POST, "/disconnect" | "/forget") => {
                match self.about_an_app(peer, place, &parts.uri, body).await {
                    Ok(json) => return answer(StatusCode::OK, "application/json", json),
                    Err((status, why)) => (status, format!("{why}\n")),
                }
            }
            (_, "/healthz" | "/readyz" | "/metrics" | "/channels" | "/members" | "/history") => {
                (StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned())
            }
            (_, "/disconnect" | "/forget") => (StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned()),
            _ => (
                StatusCode::NOT_FOUND,
                "not found; there are /healthz, /readyz, /metrics, /channels, /members, /history, /disconnect, /forget\n"
                    .to_owned(),
            ),
        };
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        answer(status, kind, Bytes::from(text))
    }

    async fn about_an_app(
        &self,
        peer: &PeerCredentials,
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
        // The whole request first: a turn is not spent on waiting for a client.
        let body = read(body).await?;
        let turn = place.turn().await;
        peer.may_ask(name.path())
            .map_err(|why| (StatusCode::FORBIDDEN, why))?;
        let text: Bytes = match uri.path() {
            "/channels" => {
                let prefix = parameter(uri, "prefix")?.unwrap_or_default();
                let channels = queries::channels(app, Which::Prefix(prefix)).await;
                json!({ "channels": channels }).to_string().into()
            }
            "/members" => members(&app.roster.list(&channel(uri)?)).into(),
            "/history" => history(app, uri).await?.into(),
            "/forget" => json!({ "forgotten": forget(app, published(uri)?).await? })
                .to_string()
                .into(),
            _ => json!({ "ended": queries::end(app, target(&body)?).await })
                .to_string()
                .into(),
        };
        Ok(Bytes::from_owner(Taken { text, turn }))
    }
}

fn channel(uri: &Uri) -> Result<String, Reply> {
    parameter(uri, "channel")?.ok_or_else(|| bad("channel is missing"))
}

/// The channel of events, which has a name that they can be published to.
fn published(uri: &Uri) -> Result<String, Reply> {
    let channel = channel(uri)?;
    rules::channel(channel.as_bytes()).map_err(|why| bad(&format!("channel {why}")))?;
    Ok(channel)
}

async fn history(app: &App, uri: &Uri) -> Result<Held, Reply> {
    let window = Window::parse(uri.query().unwrap_or("")).map_err(|why| bad(&why.to_string()))?;
    let form = match parameter(uri, "form")?.as_deref() {
        None | Some("json") => Form::Json,
        Some("parts") => Form::Parts,
        Some(_) => return Err(bad("form must be json or parts")),
    };
    let ask = history::Ask {
        channel: &published(uri)?,
        window,
        client: ClientKey::NONE,
        bytes: app.history_bytes,
        form,
    };
    let page = history::page(&app.hub, &ask).await;
    page.map_err(|why| (StatusCode::SERVICE_UNAVAILABLE, why.to_string()))
}

/// Whoever asks may go away: what was begun is finished.
async fn forget(app: &Arc<App>, channel: String) -> Result<u64, Reply> {
    let app = app.clone();
    let job = tokio::task::spawn_local(async move { forget::forget(&app, &channel).await });
    let unavailable = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
    let forgotten = job.await.map_err(|why| unavailable(why.to_string()))?;
    forgotten.map_err(|why| unavailable(why.to_string()))
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

/// The body of a request, which must arrive in time.
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
        Body::User(user) => match grant::any_user(user.as_bytes()) {
            Ok(()) => Ok(Target::User(user)),
            Err(why) => Err(bad(&format!("user {why}"))),
        },
        Body::All(true) => Ok(Target::All),
        Body::All(false) => Err(shape()),
    }
}

fn bad(why: &str) -> Reply {
    (StatusCode::BAD_REQUEST, why.to_owned())
}

/// Not through a `serde_json::Value`: a member's info is JSON text already.
fn members(list: &[Member]) -> String {
    #[derive(serde::Serialize)]
    struct Members<'a> {
        members: &'a [Member],
    }
    serde_json::to_string(&Members { members: list }).unwrap_or_default()
}
