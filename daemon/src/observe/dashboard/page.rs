//! The page's listener: what there is, and what of it needs a session.

use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::app::lacking::Lacking;
use crate::hub::command::Target;
use crate::observe::dashboard::asked;
use crate::observe::dashboard::door::{Client, Door, HTML, Session};
use crate::observe::dashboard::posted;
use crate::observe::dashboard::posted::Refused;
use crate::observe::dashboard::watching::{LOOKING, Watching};
use crate::observe::observed::Observed;
use crate::observe::serving::{Answer, Handler, Peer, answer, line};
use crate::process::refusals;

const INDEX: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/app.js");
const ICON: &str = include_str!("page/icon.svg");
/// Nothing of others, nothing inline: a name that got into the page as markup could do nothing there either.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
const JSON: &str = "application/json";

pub struct Dashboard {
    pub observed: Observed,
    pub watching: Rc<Watching>,
    pub door: Rc<Door>,
    pub places: asked::Places,
}

impl Handler for Dashboard {
    async fn answer(self: Rc<Self>, peer: Rc<Peer>, request: Request<Incoming>) -> Answer {
        let answer = self.route(&peer, request).await;
        let mut answer = answer.unwrap_or_else(|(status, why)| line(status, &why));
        let headers = answer.headers_mut();
        for (name, value) in [
            (CONTENT_SECURITY_POLICY, POLICY),
            (CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("x-content-type-options"), "nosniff"),
            // With "no-referrer" a browser would not say of which origin a form is.
            (HeaderName::from_static("referrer-policy"), "same-origin"),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                "same-origin",
            ),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    fn gives_way(&self) {
        let metrics = &self.observed.process.metrics;
        metrics.dashboard_connections_gave_way.add(1);
    }
}

impl Dashboard {
    async fn route(&self, peer: &Peer, request: Request<Incoming>) -> Result<Answer, Refused> {
        let (parts, body) = request.into_parts();
        let (method, path) = (&parts.method, parts.uri.path());
        if !self.door.is_open_to(&parts.headers) {
            let why = "this page is only for addresses and the host localhost (DNS rebinding)";
            return Err((StatusCode::FORBIDDEN, why.to_owned()));
        }
        if !matches!(*method, Method::GET | Method::HEAD | Method::POST) {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "use GET or POST".to_owned()));
        }
        let post = method == Method::POST;
        if path != "/" && is_of_another_site(&parts.headers)
            || post && !is_of_the_page(&parts.headers)
        {
            let why = "only for requests of the page itself";
            return Err((StatusCode::FORBIDDEN, why.to_owned()));
        }
        let client = self.door.client(peer, &parts.headers);
        // What has no data in it.
        match (path, post) {
            ("/style.css", false) => return Ok(answer(StatusCode::OK, "text/css", STYLE)),
            ("/icon.svg", false) => return Ok(answer(StatusCode::OK, "image/svg+xml", ICON)),
            ("/login", true) => return self.door.sign_in(client, &parts.headers, body).await,
            ("/logout", true) => return Ok(self.door.sign_out(client, &parts.headers)),
            _ => {}
        }
        let Some(session) = self.door.session(&parts.headers) else {
            return match path {
                "/" => Ok(self.door.page()),
                _ => Err((StatusCode::UNAUTHORIZED, "sign in first".to_owned())),
            };
        };
        peer.keeps_its_place();
        let query = parts.uri.query().unwrap_or("");
        let apps = &self.observed.apps;
        let json = |text: Vec<u8>| answer(StatusCode::OK, JSON, text);
        let mut lacking = Lacking::default();
        let held = |place: asked::Place, text: Vec<u8>, lacking: Lacking| {
            let mut answer = answer(StatusCode::OK, JSON, place.held_by(text));
            lacking.say(answer.headers_mut());
            Ok(answer)
        };
        match (path, post) {
            ("/", false) => Ok(answer(StatusCode::OK, HTML, INDEX)),
            ("/app.js", false) => Ok(answer(StatusCode::OK, "text/javascript", SCRIPT)),
            ("/live", false) => self.live(peer, session),
            ("/members", false) => {
                let (app, channel) = asked::named(apps, query)?;
                let place = self.places.one().await;
                lacking.of_members(app);
                held(place, asked::members(app, &channel).into_bytes(), lacking)
            }
            ("/events", false) => {
                let (app, channel) = asked::named(apps, query)?;
                let place = self.places.one().await;
                lacking.of_events(app);
                held(place, asked::events(app, &channel).await?, lacking)
            }
            ("/trace", false) => {
                let (app, channel) = asked::named(apps, query)?;
                let place = self.places.one().await;
                let records = asked::trace(app, &channel, query)?;
                held(place, records.into_bytes(), lacking)
            }
            ("/end", true) => {
                let (app, target) = asked::target(&posted::read(body).await?, apps)?;
                let whose = shown(&target);
                let (ended, missing) = asked::end(&app, target).await;
                let of = &app.id;
                tracing::info!(
                    "dashboard: {client} has ended {whose} of application {of}: {ended}"
                );
                let said = json!({ "ended": ended, "hosts_missing": missing });
                Ok(json(said.to_string().into_bytes()))
            }
            ("/drain", true) => {
                let order = asked::order(&posted::read(body).await?)?;
                self.drain(client, order);
                Ok(json(b"{}".to_vec()))
            }
            (
                "/" | "/style.css" | "/icon.svg" | "/app.js" | "/live" | "/members" | "/events"
                | "/trace",
                _,
            ) => Err((StatusCode::METHOD_NOT_ALLOWED, "use GET".to_owned())),
            ("/login" | "/logout" | "/end" | "/drain", _) => {
                Err((StatusCode::METHOD_NOT_ALLOWED, "use POST".to_owned()))
            }
            _ => Err((StatusCode::NOT_FOUND, "not found".to_owned())),
        }
    }

    fn drain(&self, client: Client, order: Option<Duration>) {
        let drain = &self.observed.process.drain;
        match order {
            Some(over) => {
                let seconds = over.as_secs();
                tracing::info!(
                    "dashboard: {client} has all viewers let go, over {seconds} seconds"
                );
                drain.begin(Duration::ZERO, over);
            }
            None => {
                tracing::info!("dashboard: {client} has the drain stopped");
                drain.stop();
            }
        }
    }

    /// What is so now, once a second, until the session ends or the client does not take it for too long.
    fn live(&self, peer: &Peer, session: Session) -> Result<Answer, Refused> {
        let metrics = self.observed.process.clone();
        let Some((viewer, first)) = self.watching.enter() else {
            metrics.metrics.dashboard_pages_refused.add(1);
            let why = format!("{LOOKING} pages are open, and more are not served: close one");
            return Err((StatusCode::SERVICE_UNAVAILABLE, why));
        };
        let rest = stream::unfold(viewer, |mut viewer| async move {
            // Who does not take them gets the newest, not all.
            viewer.latest.changed().await.ok()?;
            let text = viewer.latest.borrow_and_update().clone();
            Some((text, viewer))
        });
        let (door, in_force) = (self.door.clone(), self.observed.in_force.clone());
        let may = move |waits: Duration| {
            let is_stalled = waits >= in_force.get().server.write_timeout();
            if is_stalled {
                metrics.metrics.dashboard_pages_stalled.add(1);
            }
            !is_stalled && door.lasts(&session)
        };
        let mut answer = Response::new(peer.goes_on(stream::iter([first]).chain(rest), may));
        let kind = HeaderValue::from_static("text/event-stream");
        answer
            .headers_mut()
            .insert(hyper::header::CONTENT_TYPE, kind);
        Ok(answer)
    }
}

/// For the log.
fn shown(target: &Target) -> String {
    match target {
        Target::Socket(socket) => format!("the connection {socket}"),
        Target::User(user) => format!("the connections of user {}", refusals::shown(user)),
        Target::All => "all connections".to_owned(),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a request that changes something is of the page: browsers say of which origin each is.
fn is_of_the_page(headers: &HeaderMap) -> bool {
    let (host, origin) = (text(headers, &HOST), text(headers, &ORIGIN));
    let own = origin.and_then(|origin| origin.split_once("://"));
    host.is_some() && own.map(|(_, authority)| authority) == host
}

/// Whether a page of another site, or of another port of this host, asks for it: browsers say so (Fetch Metadata).
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let site = text(headers, &HeaderName::from_static("sec-fetch-site"));
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = include_str!("page/login.html");

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_changes_something_comes_from_the_page_itself() {
        let of = |pairs: &[(&str, &str)]| is_of_the_page(&headers(pairs));
        assert!(of(&[("host", "a:1"), ("origin", "http://a:1")]));
        assert!(of(&[
            ("host", "a.example"),
            ("origin", "https://a.example")
        ]));
        assert!(!of(&[("host", "a:1"), ("origin", "http://a:2")]));
        assert!(!of(&[("host", "a:1"), ("origin", "null")]));
        assert!(!of(&[("host", "a:1")]));
        assert!(!of(&[("origin", "http://a:1")]));
        assert!(!of(&[]));
    }

    #[test]
    fn the_page_has_nothing_inline() {
        for page in [INDEX, LOGIN] {
            assert!(!page.contains("style=") && !page.contains("<style"));
            let handler = |word: &str| word.starts_with("on") && word.contains('=');
            assert!(!page.split_whitespace().any(handler));
            assert_eq!(
                page.matches("<script").count(),
                page.matches("<script src=").count()
            );
            assert!(!page.contains("http://") && !page.contains("https://"));
        }
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!SCRIPT.contains(way), "{way}");
        }
    }
}
