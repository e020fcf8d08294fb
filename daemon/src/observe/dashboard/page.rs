//! The page's listener: who may come in, and what there is.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE,
};
use hyper::{Method, Request, Response, StatusCode};
use protocol::query;
use shared::segment::now_s;

use crate::observe::dashboard::asked;
use crate::observe::dashboard::asked::Refused;
use crate::observe::dashboard::login::{
    COOKIE as SESSION, Login, SESSION as LASTS, Tried, cookies_of,
};
use crate::observe::dashboard::watching::Watching;
use crate::observe::observed::Observed;
use crate::observe::serving::{Answer, Body, Handler, Peer, answer, line};
use crate::process::client_key::ClientKey;

const INDEX: &str = include_str!("page/index.html");
const LOGIN: &str = include_str!("page/login.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/app.js");
const ICON: &str = include_str!("page/icon.svg");
/// Where the login says why it refuses.
const WHY: &str = "<!--WHY-->";
/// Nothing of others, nothing inline: a name that got into the page as markup could do nothing there either.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// Bytes of a request's body, and seconds that it may take.
const MAX_BODY: usize = 4096;
const BODY: Duration = Duration::from_secs(5);

pub struct Dashboard {
    pub observed: Observed,
    pub watching: Rc<Watching>,
    /// None: whoever may connect to the socket may look.
    pub login: Option<RefCell<Login>>,
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
}

impl Dashboard {
    async fn route(&self, peer: &Peer, request: Request<Incoming>) -> Result<Answer, Refused> {
        let (parts, body) = request.into_parts();
        let (method, path) = (&parts.method, parts.uri.path());
        if self.login.is_none() && !is_local(&parts.headers) {
            let why = "this page is only for the host localhost (DNS rebinding)";
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
        // What has no data in it.
        match (path, post) {
            ("/style.css", false) => return Ok(answer(StatusCode::OK, "text/css", STYLE)),
            ("/icon.svg", false) => return Ok(answer(StatusCode::OK, "image/svg+xml", ICON)),
            ("/login", true) => return self.login(peer, &parts.headers, body).await,
            ("/logout", true) => return Ok(to_the_page("", 0, &parts.headers)),
            _ => {}
        }
        let Some(until) = self.session(&parts.headers) else {
            return match path {
                "/" => Ok(answer(StatusCode::UNAUTHORIZED, HTML, LOGIN)),
                _ => Err((StatusCode::UNAUTHORIZED, "sign in first".to_owned())),
            };
        };
        let query = parts.uri.query().unwrap_or("");
        let apps = &self.observed.apps;
        let json = |text: Vec<u8>| answer(StatusCode::OK, JSON, text);
        let held = |place: asked::Place, text: Vec<u8>| {
            Ok(answer(StatusCode::OK, JSON, place.held_by(text)))
        };
        match (path, post) {
            ("/", false) => Ok(answer(StatusCode::OK, HTML, INDEX)),
            ("/app.js", false) => Ok(answer(StatusCode::OK, "text/javascript", SCRIPT)),
            ("/live", false) => {
                peer.stays();
                Ok(self.live(until))
            }
            ("/members", false) => {
                let (app, channel) = asked::named(apps, query)?;
                let place = self.places.one().await;
                held(place, asked::members(app, &channel).into_bytes())
            }
            ("/events", false) => {
                let (app, channel) = asked::named(apps, query)?;
                let place = self.places.one().await;
                held(place, asked::events(app, &channel).await?)
            }
            ("/trace", false) => {
                let (app, channel) = asked::named(apps, query)?;
                let place = self.places.one().await;
                held(place, asked::trace(app, &channel, query)?.into_bytes())
            }
            ("/end", true) => {
                let (app, target) = asked::target(&read(body).await?, apps)?;
                Ok(json(asked::end(&app, target).await.into_bytes()))
            }
            ("/drain", true) => {
                let drain = &self.observed.process.drain;
                match asked::order(&read(body).await?)? {
                    Some(over) => drain.begin(Duration::ZERO, over),
                    None => drain.stop(),
                }
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

    /// Until when this request's session lasts. None: it has none.
    fn session(&self, headers: &HeaderMap) -> Option<u64> {
        let Some(login) = &self.login else {
            return Some(u64::MAX);
        };
        let all = headers.get_all(COOKIE).iter();
        let texts = all.filter_map(|value| value.to_str().ok());
        let mut own = texts.flat_map(cookies_of);
        own.find_map(|cookie| login.borrow().session(cookie, now_s()))
    }

    async fn login(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Answer, Refused> {
        let body = read(body).await?;
        let text = std::str::from_utf8(&body).unwrap_or("");
        let given = query::parameter(text, "secret").ok().flatten();
        let from = peer.address.map_or(ClientKey::NONE, ClientKey::of);
        let Some(login) = &self.login else {
            return Ok(to_the_page("", 0, headers));
        };
        let tried = login
            .borrow_mut()
            .attempt(from, &given.unwrap_or_default(), now_s());
        let refused = |status, why: &str| answer(status, HTML, LOGIN.replace(WHY, why));
        Ok(match tried {
            Tried::Session(cookie) => to_the_page(&cookie, LASTS, headers),
            Tried::Wrong => {
                tracing::warn!("dashboard: a wrong secret from {}", shown(peer));
                refused(StatusCode::FORBIDDEN, "That is not the secret.")
            }
            Tried::TooMany => {
                let why = "Too many tries. Wait a minute.";
                let mut answer = refused(StatusCode::TOO_MANY_REQUESTS, why);
                let wait = HeaderValue::from_static("60");
                answer.headers_mut().insert(RETRY_AFTER, wait);
                answer
            }
        })
    }

    /// What is so now, once a second, until the session ends.
    fn live(&self, until: u64) -> Answer {
        let (viewer, first) = self.watching.enter();
        let rest = stream::unfold(viewer, move |mut viewer| async move {
            // Who does not take them gets the newest, not all.
            viewer.latest.changed().await.ok()?;
            let text = viewer.latest.borrow_and_update().clone();
            (now_s() < until).then_some((text, viewer))
        });
        let all = stream::iter([first]).chain(rest);
        let mut answer = Response::new(Body::Stream(Box::pin(all)));
        let kind = HeaderValue::from_static("text/event-stream");
        answer
            .headers_mut()
            .insert(hyper::header::CONTENT_TYPE, kind);
        answer
    }
}

fn shown(peer: &Peer) -> String {
    peer.address
        .map_or("a Unix socket".to_owned(), |address| address.to_string())
}

/// Back to the page, with a session or without.
fn to_the_page(cookie: &str, seconds: u64, headers: &HeaderMap) -> Answer {
    let mut answer = line(StatusCode::SEE_OTHER, "see /");
    let https = headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto == "https");
    let secure = if https { "; Secure" } else { "" };
    let cookie =
        format!("{SESSION}={cookie}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let headers = answer.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static("/"));
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    answer
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

/// Whether a page on this machine asks, by a name that nobody else can make lead here.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, &HOST) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

async fn read(body: Incoming) -> Result<Bytes, Refused> {
    let body = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(BODY, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => {
            let why = format!("the body must be at most {MAX_BODY} bytes");
            Err((StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come in time".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn without_a_secret_only_this_machines_names_lead_here() {
        for host in [
            "localhost",
            "localhost:8091",
            "127.0.0.1:8091",
            "[::1]:8091",
        ] {
            assert!(is_local(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8091",
            "127.0.0.1.evil.example",
            "localhost.evil",
        ] {
            assert!(!is_local(&headers(&[("host", host)])), "{host}");
        }
        assert!(!is_local(&headers(&[])));
    }

    #[test]
    fn the_page_has_nothing_inline_and_the_login_says_why() {
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
        assert_eq!(LOGIN.matches(WHY).count(), 1);
    }
}
