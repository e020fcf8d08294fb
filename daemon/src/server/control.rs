//! The local socket for operators and for PHP. Never on an address that viewers reach.
//!
//! | | |
//! |---|---|
//! | `GET /healthz`, `/readyz`, `/metrics` | of the daemon |
//! | `GET /nodes` | the hosts of each application (`cluster::seen`) |
//! | `GET /channels?ring=R&prefix=P` | `{"channels":{"orders":3}}` subscribers of each channel |
//! | `GET /members?ring=R&channel=C` | `{"members":[{"id":"7","info":null}]}` |
//! | `GET /trace?ring=R&channel=C&after=N` | what happened on the channel since record `N`, and from now on for ten seconds (`hub::trace`) |
//! | `POST /disconnect?ring=R` | `{"socket_id":"1.2"}`, `{"user":"7"}` or `{"all":true}` → `{"ended":2}` |
//! | `GET /history?ring=R&channel=C&limit=N&since=C&before=C&form=F` | a page of the channel's events (`protocol::history`); `F`: `json`, or `parts` |
//! | `POST /forget?ring=R&channel=C` | erases the channel's events → `{"forgotten":3}` |
//! | `GET /drain` | `{"draining":true,"turns_away":true,"left":12,"seconds":3.5}`: viewers that are left, and for how long the last ones may stay |
//! | `POST /drain` | `{"over":30,"notice":5}`, seconds, or `{"stop":true}` → the same |
//! | `POST /reload` | reads the settings again → `{"taken":["server.ping"],"restart":["ring.slots"],"obstacles":[]}`, the last: why a restart would fail; 422 with the reason if they cannot be used |
//!
//! On several hosts `channels`, `members` and `disconnect` are about all of them. Of `channels` and `disconnect`
//! `"hosts_missing":N` says how many did not answer in time, as the header `Askr-Hosts-Missing` does; members are known on
//! each host. While Redis is away `Askr-Members: stale` and `Askr-History: stale` say that what is known of others is as it was.
//!
//! No user waits for another one's connections: each has places of its own (`control_places.rs`).
//!
//! Those with `ring` concern the application whose ring is `R`, and are for users who may publish to it; `POST /drain` and
//! `/reload` are for root and the daemon's own user.

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
use serde_json::json;
use shared::name::RingName;
use shared::rules;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::app::application::App;
use crate::app::lacking::Lacking;
use crate::app::{forget, history, queries};
use crate::cluster::seen::Seen;
use crate::engine::lingering;
use crate::engine::lingering::{Ending, Lingering};
use crate::hub::command::Which;
use crate::observe::metrics_page;
use crate::observe::observed::Observed;
use crate::process::budget::Held;
use crate::process::client_key::ClientKey;
use crate::process::control_places;
use crate::process::control_places::{Askers, Full as FullPlaces, Place, Turn};
use crate::process::state::Process;
use crate::server::control_bodies as bodies;
use crate::server::control_bodies::Wanted;
use crate::server::peer_credentials::PeerCredentials;
use crate::server::reload;

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
    pub reloads: mpsc::Sender<reload::Request>,
    /// What is seen of the other hosts; nothing, if there is one.
    pub nodes: Vec<Arc<Seen>>,
    pub observed: Observed,
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
            Ok(place) => drop(tokio::task::spawn_local(serve(
                control.clone(),
                lingering.clone(),
                socket,
                peer,
                place,
            ))),
            Err(full) => {
                let metrics = &control.process.metrics;
                metrics.control_refused.add(1);
                match full {
                    FullPlaces::User => metrics.control_full_user.add(1),
                    FullPlaces::All => metrics.control_full_all.add(1),
                }
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
            (&Method::GET, "/readyz") => match self.process.unready() {
                None => (StatusCode::OK, format!("ready\n{}", self.alone())),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            (&Method::GET, "/metrics") => {
                return metrics_page::metrics(&self.observed, &parts.headers);
            }
            (&Method::GET, "/nodes") => {
                let all: Vec<_> = self.nodes.iter().map(|seen| seen.view()).collect();
                let text = json!({ "applications": all }).to_string();
                return answer(StatusCode::OK, "application/json", text.into());
            }
            (&Method::GET, "/channels" | "/members" | "/history" | "/trace")
            | (&Method::POST, "/disconnect" | "/forget") => {
                match self.about_an_app(peer, place, &parts.uri, body).await {
                    Ok((json, lacking)) => {
                        let mut answer = answer(StatusCode::OK, "application/json", json);
                        lacking.say(answer.headers_mut());
                        return answer;
                    }
                    Err((status, why)) => (status, format!("{why}\n")),
                }
            }
            (&Method::GET, "/drain") => {
                return answer(StatusCode::OK, "application/json", self.drained());
            }
            (&Method::POST, "/drain") => match self.drain(peer, body).await {
                Ok(json) => return answer(StatusCode::OK, "application/json", json),
                Err((status, why)) => (status, format!("{why}\n")),
            },
            (&Method::POST, "/reload") => match self.reload(peer).await {
                Ok(json) => return answer(StatusCode::OK, "application/json", json),
                Err((status, why)) => (status, format!("{why}\n")),
            },
            (_, "/healthz" | "/readyz" | "/metrics" | "/nodes" | "/channels" | "/members" | "/history" | "/trace") => {
                (StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned())
            }
            (_, "/drain") => (StatusCode::METHOD_NOT_ALLOWED, "use GET or POST\n".to_owned()),
            (_, "/disconnect" | "/forget" | "/reload") => (StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned()),
            _ => (
                StatusCode::NOT_FOUND,
                "not found; there are /healthz, /readyz, /metrics, /nodes, /channels, /members, /history, /trace, /disconnect, /forget, /drain, /reload\n"
                    .to_owned(),
            ),
        };
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        answer(status, kind, Bytes::from(text))
    }

    /// Reads the settings again, for root and the daemon's own user.
    async fn reload(&self, peer: &PeerCredentials) -> Result<Bytes, Reply> {
        if !peer.is_operator() {
            let why = "only root and askrd's own user may have the settings reloaded";
            return Err((StatusCode::FORBIDDEN, why.to_owned()));
        }
        let busy = || {
            let why = "too many reloads are waiting, or askrd stops";
            (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
        };
        let (request, outcome) = oneshot::channel();
        self.reloads.try_send(request).map_err(|_| busy())?;
        match outcome.await.map_err(|_| busy())? {
            Ok(changes) => Ok(json!(changes).to_string().into()),
            Err(why) => Err((StatusCode::UNPROCESSABLE_ENTITY, why)),
        }
    }

    /// Begins or stops a drain, for root and the daemon's own user.
    async fn drain(&self, peer: &PeerCredentials, body: Incoming) -> Result<Bytes, Reply> {
        if !peer.is_operator() {
            let why = "only root and askrd's own user may drain it";
            return Err((StatusCode::FORBIDDEN, why.to_owned()));
        }
        match bodies::drain(&read(body).await?).map_err(|why| bad(&why))? {
            Some(Wanted { notice, over }) => self.process.drain.begin(notice, over),
            None => self.process.drain.stop(),
        }
        Ok(self.drained())
    }

    fn drained(&self) -> Bytes {
        let plan = self.process.drain.plan();
        let seconds = plan.map_or(0.0, |plan| plan.left().as_secs_f64());
        json!({
            "draining": plan.is_some(),
            "turns_away": plan.is_some_and(|plan| plan.has_begun()),
            "left": self.process.metrics.streams.get(),
            "seconds": (10.0 * seconds).ceil() / 10.0,
        })
        .to_string()
        .into()
    }

    /// Why other hosts cannot be reached, a line for each application: this one goes on alone, so it is ready.
    fn alone(&self) -> String {
        let all = self.nodes.iter().filter_map(|seen| seen.trouble());
        all.map(|why| why + "\n").collect()
    }

    async fn about_an_app(
        &self,
        peer: &PeerCredentials,
        place: Arc<Place>,
        uri: &Uri,
        body: Incoming,
    ) -> Result<(Bytes, Lacking), Reply> {
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
        let mut lacking = Lacking::default();
        let text: Bytes = match uri.path() {
            "/channels" => {
                let prefix = parameter(uri, "prefix")?.unwrap_or_default();
                let channels = queries::channels(app, Which::Prefix(prefix)).await;
                lacking.of_hosts(channels.missing);
                told(json!({ "channels": channels.all }), channels.missing)
            }
            "/members" => {
                lacking.of_members(app);
                members(&app.roster.list(&channel(uri)?)).into()
            }
            "/history" => {
                lacking.of_events(app);
                history(app, uri).await?.into()
            }
            "/trace" => trace(app, uri)?.into(),
            "/forget" => json!({ "forgotten": forget(app, published(uri)?).await? })
                .to_string()
                .into(),
            _ => {
                let target = bodies::target(&body).map_err(|why| bad(&why))?;
                let ended = queries::end(app, target).await;
                lacking.of_hosts(ended.missing);
                told(json!({ "ended": ended.all }), ended.missing)
            }
        };
        Ok((Bytes::from_owner(Taken { text, turn }), lacking))
    }
}

/// An answer, and how many other hosts' part is lacking.
fn told(mut answer: serde_json::Value, missing: usize) -> Bytes {
    if missing > 0 {
        answer["hosts_missing"] = missing.into();
    }
    answer.to_string().into()
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
        bytes: app.reloadable.get().history_bytes,
        form,
    };
    let page = history::page(&app.hub, &ask).await;
    page.map_err(|why| (StatusCode::SERVICE_UNAVAILABLE, why.to_string()))
}

fn trace(app: &App, uri: &Uri) -> Result<String, Reply> {
    let after = parameter(uri, "after")?.map(|after| after.parse());
    let after = after
        .transpose()
        .map_err(|_| bad("after must be a number"))?;
    let traced = app.hub.trace(&published(uri)?, after);
    let traced = traced.map_err(|why| (StatusCode::CONFLICT, why.to_string()))?;
    Ok(json!(traced).to_string())
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
