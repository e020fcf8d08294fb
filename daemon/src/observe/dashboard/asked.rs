//! What the page asks for only when somebody wants it: members, events, the end of a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use protocol::history::{Form, Window};
use protocol::query;
use serde::{Deserialize, Serialize};
use shared::{grant, rules};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::application::App;
use crate::app::{history, queries};
use crate::hub::command::Target;
use crate::hub::trace;
use crate::observe::dashboard::posted::Refused;
use crate::process::client_key::ClientKey;

/// Members of a channel, and events, at most.
pub const MEMBERS: usize = 1000;
pub const EVENTS: usize = 50;
/// Bytes of the events at most, and of the members; one always fits.
const BYTES: usize = 256 << 10;
/// Answers that are made, or have not been taken yet, at one time.
const ANSWERS: usize = 4;

/// Bytes that all answers come to at the most: records of a trace as they are, as values and as text, or events of which the
/// largest has `event` bytes, as JSON.
pub fn ceiling(event: u64) -> u64 {
    ANSWERS as u64 * (3 * trace::EACH).max(3 * (BYTES as u64 + event))
}

/// Who asks waits for a place, and has it until the answer is taken.
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ANSWERS)))
    }
}

impl Places {
    pub async fn one(&self) -> Place {
        Place {
            _permit: self.0.clone().acquire_owned().await.ok(),
        }
    }
}

pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// The bytes of an answer, whose place is free when they are gone.
    pub fn held_by(self, answer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held {
            answer,
            _place: self,
        })
    }
}

struct Held {
    answer: Vec<u8>,
    _place: Place,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

fn bad(why: &str) -> Refused {
    (StatusCode::BAD_REQUEST, why.to_owned())
}

pub fn app<'a>(apps: &'a [Arc<App>], id: &str) -> Result<&'a Arc<App>, Refused> {
    let found = apps.iter().find(|app| app.id == id);
    found.ok_or_else(|| (StatusCode::NOT_FOUND, "no such application".to_owned()))
}

/// The application and the channel of a query, both text.
pub fn named<'a>(apps: &'a [Arc<App>], query: &str) -> Result<(&'a Arc<App>, String), Refused> {
    let parameter = |name: &str| {
        let value = query::parameter(query, name).map_err(|why| bad(&why.to_string()))?;
        value.ok_or_else(|| bad(&format!("{name} is missing")))
    };
    let app = app(apps, &parameter("app")?)?;
    let channel = parameter("channel")?;
    rules::channel(channel.as_bytes()).map_err(|why| bad(&format!("channel {why}")))?;
    Ok((app, channel))
}

pub fn members(app: &App, channel: &str) -> String {
    #[derive(Serialize)]
    struct Members<'a> {
        members: &'a [protocol::member::Member],
        all: usize,
    }
    let all = app.roster.list(channel);
    let mut left = BYTES;
    let fit = all.iter().take(MEMBERS).take_while(|member| {
        let fits = left > 0;
        let info = member.info.as_ref().map_or(0, |info| info.len());
        left = left.saturating_sub(member.id.len() + info);
        fits
    });
    let some = Members {
        members: &all[..fit.count()],
        all: all.len(),
    };
    serde_json::to_string(&some).unwrap_or_default()
}

pub async fn events(app: &App, channel: &str) -> Result<Vec<u8>, Refused> {
    let ask = history::Ask {
        channel,
        window: Window {
            limit: EVENTS,
            since: None,
            before: None,
        },
        client: ClientKey::NONE,
        bytes: BYTES,
        form: Form::Json,
    };
    match history::page(&app.hub, &ask).await {
        Ok(page) => Ok(page.to_vec()),
        Err(why) => Err((StatusCode::SERVICE_UNAVAILABLE, why.to_string())),
    }
}

/// What happened on the channel since a record; from now on it is noted for a while.
///
/// # Errors
/// If the record's number is none, or as many other channels are traced as can be.
pub fn trace(app: &App, channel: &str, query: &str) -> Result<String, Refused> {
    let after = query::parameter(query, "after").map_err(|why| bad(&why.to_string()))?;
    let after = after.map(|after| after.parse()).transpose();
    let after = after.map_err(|_| bad("after must be a number"))?;
    let traced = app.hub.trace(channel, after);
    let traced = traced.map_err(|why| (StatusCode::CONFLICT, why.to_string()))?;
    Ok(serde_json::to_string(&traced).unwrap_or_default())
}

/// Whose connections are to end.
pub fn target(body: &[u8], apps: &[Arc<App>]) -> Result<(Arc<App>, Target), Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        app: String,
        socket: Option<String>,
        user: Option<String>,
    }
    let shape = || bad(r#"the body must be {"app":"…","socket":"1.2"} or {"app":"…","user":"7"}"#);
    let body: Body = serde_json::from_slice(body).map_err(|_| shape())?;
    let target = match (body.socket, body.user) {
        (Some(socket), None) => Target::Socket(socket.parse().map_err(|()| shape())?),
        (None, Some(user)) => {
            let sound = grant::any_user(user.as_bytes());
            sound.map_err(|why| bad(&format!("user {why}")))?;
            Target::User(user)
        }
        _ => return Err(shape()),
    };
    Ok((app(apps, &body.app)?.clone(), target))
}

/// Over how long viewers are to be let go. None: not any more.
///
/// # Errors
/// If the body says neither.
pub fn order(body: &[u8]) -> Result<Option<Duration>, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Order {
        Over(u32),
        Stop(bool),
    }
    let shape = || bad(r#"the body must be {"over":30}, 0 to 3600 seconds, or {"stop":true}"#);
    match serde_json::from_slice(body).map_err(|_| shape())? {
        Order::Over(seconds @ 0..=3600) => Ok(Some(Duration::from_secs(seconds.into()))),
        Order::Stop(true) => Ok(None),
        _ => Err(shape()),
    }
}

/// Ends them. How many were ended, and how many hosts did not say.
pub async fn end(app: &App, target: Target) -> (usize, usize) {
    let ended = queries::end(app, target).await;
    (ended.all, ended.missing)
}
