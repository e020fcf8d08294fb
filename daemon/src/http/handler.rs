//! Answers one request. A request for a stream gets no answer here: what the stream needs is left in the
//! [`Client`], for the task around hyper to take the socket.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use protocol::format;
use protocol::format::Format;
use protocol::history::{Form, Window};
use protocol::pusher::api::answer;
use protocol::pusher::code;
use protocol::socket_id::SocketId;
use protocol::ws::handshake::Accept;
use shared::segment::now_s;
use tokio::sync::oneshot;

use super::client::{Client, Takeover, World};
use super::cors::Origin;
use super::query::Name;
use super::refusal::Refusal;
use super::request::{Route, SubscribeRequest, route};
use super::respond::{self, Answer};
use super::socket::Progress;
use super::{api, body, change};
use crate::app::application::App;
use crate::app::history;
use crate::auth::authorizer::{Access, Claim, Refused};
use crate::auth::http_call::forwarded;
use crate::engine::WebSocketSession;
use crate::hub::command::{Command, Denied};
use crate::process::budget::Held;
use crate::process::refusals;

/// None: the socket is to be taken from hyper.
type Reply = Result<Option<Answer>, Refusal>;

pub async fn handle(
    client: Rc<RefCell<Client>>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    match answer(&client, request).await {
        Some(mut answer) => {
            let progress = &client.borrow().progress;
            if progress.is_unread() {
                respond::close(&mut answer);
            }
            progress.answered();
            Ok(answer)
        }
        None => {
            // The future is never ready, and must not hold the client meanwhile.
            drop(client);
            pending().await
        }
    }
}

async fn answer(client: &RefCell<Client>, request: Request<Incoming>) -> Option<Answer> {
    let (world, progress) = {
        let client = client.borrow();
        (client.world.clone(), client.progress.clone())
    };
    let (origin, route) = route(&request, &world.policy);
    let reply = match route {
        Err(refusal) => Err(refusal),
        Ok(Route::Preflight) => {
            let allowed = &world.policy.allowed_headers;
            Ok(Some(respond::preflight(&origin, allowed)))
        }
        Ok(Route::Up) => Ok(Some(respond::json(answer::up()))),
        Ok(Route::Api { app }) => {
            progress.body_begins(client.borrow().of_request(&request));
            let app = &world.apps[app].0;
            let answer = api::serve(app, request, world.header_timeout, &progress).await;
            answer.map(Some)
        }
        Ok(Route::Refused {
            accept,
            code,
            reason,
            note,
        }) => {
            world.metrics().refused_requests.add(1);
            if let Some(note) = note {
                refusals::report(note);
            }
            let refusal = format::refusal(Format::Pusher, code, &reason);
            client.borrow_mut().final_response = Some([accept.response(), refusal].concat());
            Ok(None)
        }
        Ok(Route::Stream(subscribe)) => stream(client, &world, &request, subscribe, &origin).await,
        Ok(Route::History { subscribe, window }) => {
            let page = page(client, &world, &request, subscribe, window).await;
            page.map(|page| Some(respond::page(page, &origin)))
        }
        Ok(Route::Change {
            app,
            subscribe,
            claim,
        }) => {
            let app = &world.apps[app].0;
            match admit_change(client, &request, claim, &progress) {
                Ok(claim) => {
                    let body = request.into_body();
                    let channels = change(&world, app, subscribe, claim, body, &progress).await;
                    channels.map(|channels| Some(respond::changed(&channels, &origin)))
                }
                Err(refusal) => Err(refusal),
            }
        }
    };
    reply.unwrap_or_else(|mut refusal| {
        world.metrics().refused_requests.add(1);
        if let Some(note) = refusal.note.take() {
            refusals::report(*note);
        }
        if refusal.status == StatusCode::UNAUTHORIZED {
            world.metrics().refused_tokens.add(1);
        }
        Some(respond::refusal(&refusal, &origin))
    })
}

/// Authorizes a stream, and leaves what it needs for the task around hyper.
async fn stream(
    client: &RefCell<Client>,
    world: &World,
    request: &Request<Incoming>,
    mut subscribe: SubscribeRequest,
    origin: &Origin,
) -> Reply {
    // Before any signature is verified: a client with too many connections causes no more work than this.
    if !client.borrow_mut().check_limits(request) {
        return Ok(turn_away(client, world, &subscribe, origin));
    }
    let app = &world.apps[subscribe.app].0;
    let mut claim = subscribe.claim.take();
    if let Some(claim) = &mut claim {
        client.borrow().identify(request, claim);
    }
    let accesses = match authorize(app, claim.as_ref(), &subscribe.channels).await {
        Ok(accesses) => accesses,
        Err(Refused::Away(_)) => return Ok(turn_away(client, world, &subscribe, origin)),
        Err(why) => return Err(why.into()),
    };
    let Some(socket) = socket_id(app, &subscribe.name) else {
        return Ok(turn_away(client, world, &subscribe, origin));
    };
    let head = match &subscribe.accept {
        None => respond::stream_head(origin),
        Some(accept) => accept.response(),
    };
    let claim = claim.and_then(|claim| claim_to_keep(app, subscribe.format, claim));
    client.borrow_mut().takeover = Some(Takeover {
        accesses,
        socket,
        head,
        websocket: WebSocketSession::new(subscribe.format, claim),
        request: subscribe,
    });
    Ok(None)
}

/// A page of a channel's history, for whoever may subscribe to the channel.
async fn page(
    client: &RefCell<Client>,
    world: &World,
    request: &Request<Incoming>,
    subscribe: SubscribeRequest,
    window: Window,
) -> Result<Held, Refusal> {
    if !client.borrow_mut().check_limits(request) {
        return Err(too_many_connections());
    }
    let app = &world.apps[subscribe.app].0;
    let key = client.borrow().admission.client();
    // Before any signature is verified.
    if !app.history_calls.take(key) {
        world.metrics().history_rate.add(1);
        return Err(Refusal::too_often(app.history_calls.bound().per_second));
    }
    let mut claim = subscribe.claim;
    if let Some(claim) = &mut claim {
        client.borrow().identify(request, claim);
    }
    authorize(app, claim.as_ref(), &subscribe.channels).await?;
    let ask = history::Ask {
        channel: &subscribe.channels[0],
        window,
        client: key,
        bytes: app.history_bytes,
        form: Form::Json,
    };
    let page = history::page(&app.hub, &ask).await;
    page.map_err(|why| Refusal::busy(&why.to_string()))
}

fn too_many_connections() -> Refusal {
    let reason = "there are as many connections as are allowed, here or of this address";
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, reason)
}

/// The client is to come back later. It learns that only from a stream or a WebSocket of its format.
fn turn_away(
    client: &RefCell<Client>,
    world: &World,
    subscribe: &SubscribeRequest,
    origin: &Origin,
) -> Option<Answer> {
    let retry = world.spread_retry();
    let turned_away = |accept: &Accept| {
        let message = format::turned_away(subscribe.format, code::OVER_CAPACITY, retry);
        [accept.response(), message].concat()
    };
    match &subscribe.accept {
        None => Some(respond::retry_later(retry, origin)),
        Some(accept) => {
            client.borrow_mut().final_response = Some(turned_away(accept));
            None
        }
    }
}

async fn authorize(
    app: &App,
    claim: Option<&Claim>,
    channels: &[String],
) -> Result<Vec<Access>, Refused> {
    match claim {
        Some(claim) => app.authority.authorize(claim, channels).await,
        None => Ok(vec![Access::default(); channels.len()]),
    }
}

/// None: the system has no random numbers.
fn socket_id(app: &App, name: &Name) -> Option<SocketId> {
    match name {
        Name::Session(session) => Some(app.prover.of_session(session)),
        Name::Earlier(socket, secret) if app.prover.resumes(*socket, secret, now_s()) => {
            Some(*socket)
        }
        // An id that is too old, or not this client's, is replaced: `askr:connected` has the new one.
        Name::Earlier(..) | Name::New => SocketId::random().ok(),
    }
}

/// The part of a claim by which the application may be asked about channels added later, over a WebSocket.
fn claim_to_keep(app: &App, format: Format, claim: Claim) -> Option<Claim> {
    let kept = format.is_websocket() && app.authority.http().is_some();
    kept.then(|| Claim {
        headers: forwarded(&claim.headers),
        ..claim
    })
}

/// Checks the limits of a client that changes a stream, before its body is read.
fn admit_change(
    client: &RefCell<Client>,
    request: &Request<Incoming>,
    mut claim: Claim,
    progress: &Progress,
) -> Result<Claim, Refusal> {
    if !client.borrow_mut().check_limits(request) {
        return Err(too_many_connections());
    }
    let client = client.borrow();
    client.identify(request, &mut claim);
    progress.body_begins(client.of_request(request));
    Ok(claim)
}

/// Has the worker that holds a stream change its channels. Returns all channels of the stream.
async fn change(
    world: &World,
    app: &App,
    subscribe: bool,
    mut claim: Claim,
    body: Incoming,
    progress: &Progress,
) -> Result<Vec<String>, Refusal> {
    let max = world.policy.body_bytes as usize;
    let body = body::read(body, max, body::Keep::All, world.header_timeout, progress).await?;
    let change = change::read(
        &body,
        &app.prover,
        world.policy.channels,
        world.policy.rewind,
    )?;
    let gone = || Refusal::new(StatusCode::NOT_FOUND, Denied::Gone.to_string());
    let inbox = app.hub.inboxes.get(change.place.worker).ok_or_else(gone)?;
    let (slot, socket) = (change.place.slot, change.socket);
    let (answer, answered) = oneshot::channel();
    inbox.command(if subscribe {
        claim.socket = Some(socket.to_string());
        claim.token = change.token.or(claim.token);
        claim.signatures = change.signatures;
        let revocations = app.authority.revocations();
        let granted = app.authority.authorize(&claim, &change.channels).await?;
        Command::Subscribe {
            revocations,
            slot,
            socket,
            channels: std::iter::zip(change.channels, granted).collect(),
            since: change.since,
            answer: Some(answer),
        }
    } else {
        Command::Unsubscribe {
            slot,
            socket,
            channels: change.channels,
            answer,
        }
    });
    match answered.await {
        Ok(Ok(channels)) => Ok(channels),
        Ok(Err(Denied::Gone)) | Err(_) => Err(gone()),
        Ok(Err(denied)) => Err(Refusal::new(StatusCode::CONFLICT, denied.to_string())),
    }
}
