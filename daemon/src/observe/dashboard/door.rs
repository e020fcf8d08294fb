//! Who may come in: whose request it is, signing in and out, and the session of a request. What happens here is logged, with the
//! client's address, and never a secret or a cookie.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{COOKIE, HeaderMap, HeaderValue, LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE};
use protocol::query;
use shared::secret::Secret;
use shared::segment::now_s;

use crate::http::viewer::viewer;
use crate::observe::dashboard::login::{self, Login, SESSION, TooMany, Tried};
use crate::observe::dashboard::operator_secrets::OperatorSecrets;
use crate::observe::dashboard::posted;
use crate::observe::dashboard::posted::Refused;
use crate::observe::host;
use crate::observe::observed::Observed;
use crate::observe::places::Places;
use crate::observe::serving::{Answer, Peer, answer, line};
use crate::process::client_key::ClientKey;
use crate::process::metrics::Metrics;

const PAGE: &str = include_str!("page/login.html");
/// Where the page says why it refuses.
const WHY: &str = "<!--WHY-->";
pub const HTML: &str = "text/html; charset=utf-8";
/// Those who sign in and have not sent their secret yet: of more, the eldest is refused.
const SIGN_INS: usize = 8;
/// Only a disk that hangs takes as long to say whether the secret is another one.
const DISK: Duration = Duration::from_secs(5);

pub struct Door {
    observed: Observed,
    /// None: whoever may connect to the socket may come in.
    secrets: Option<Arc<OperatorSecrets>>,
    login: RefCell<Login>,
    sign_ins: Rc<Places>,
}

/// Whose request it is.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// None: it came by a Unix socket, and no proxy says from where.
    address: Option<IpAddr>,
    /// Whether its browser speaks TLS.
    is_https: bool,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("a Unix socket"),
        }
    }
}

/// By what somebody has come in.
pub enum Session {
    /// By its socket's mode.
    OfSocket,
    /// By this cookie.
    Cookie(String),
}

impl Door {
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(
        observed: Observed,
        secrets: Option<Arc<OperatorSecrets>>,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self {
            observed,
            secrets,
            login: RefCell::new(Login::new()?),
            sign_ins: Places::new(SIGN_INS),
        })
    }

    /// Without a secret a name must not lead here: it may be that of others.
    pub fn is_open_to(&self, headers: &HeaderMap) -> bool {
        self.secrets.is_some() || host::is_no_name(headers)
    }

    /// As the listeners of viewers know them: by the address, or by what a trusted proxy says.
    pub fn client(&self, peer: &Peer, headers: &HeaderMap) -> Client {
        let settings = self.observed.in_force.get();
        let networks = &settings.server.trusted_proxies;
        let own = peer.ends.address;
        let trusts = own.is_none_or(|own| networks.iter().any(|net| net.contains(own)));
        let said_https = headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| trusts && proto == "https");
        let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        Client {
            address: viewer(own.filter(|_| !trusts), headers).or(own),
            is_https: said_https || origin.is_some_and(|origin| origin.starts_with("https://")),
        }
    }

    /// None: the request has none.
    pub fn session(&self, headers: &HeaderMap) -> Option<Session> {
        if self.secrets.is_none() {
            return Some(Session::OfSocket);
        }
        let names = &login::names(host::port(headers));
        let all = headers.get_all(COOKIE).iter();
        let texts = all.filter_map(|value| value.to_str().ok());
        let mut own = texts.flat_map(|text| {
            let each = names.iter();
            each.flat_map(move |name| login::cookies_of(text, name))
        });
        own.find(|cookie| self.is_session(cookie))
            .map(|cookie| Session::Cookie(cookie.to_owned()))
    }

    /// Whether it has neither ended, nor been made with a secret that is gone.
    pub fn lasts(&self, session: &Session) -> bool {
        match session {
            Session::OfSocket => true,
            Session::Cookie(cookie) => self.is_session(cookie),
        }
    }

    fn is_session(&self, cookie: &str) -> bool {
        let secrets = self.secrets.as_ref().map(|secrets| secrets.get());
        secrets.is_some_and(|secrets| login::session(&secrets, cookie, now_s()).is_some())
    }

    fn metrics(&self) -> &Metrics {
        &self.observed.process.metrics
    }

    /// What is shown to who has no session.
    pub fn page(&self) -> Answer {
        page(StatusCode::UNAUTHORIZED, "")
    }

    /// Somebody shows a secret.
    ///
    /// # Errors
    /// If its request is none that can be read.
    pub async fn sign_in(
        &self,
        client: Client,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Answer, Refused> {
        let Some(secrets) = &self.secrets else {
            return Ok(to_the_page());
        };
        let place = self.sign_ins.take().await;
        let body = tokio::select! {
            // A secret that has come is compared also where the place is needed.
            biased;
            body = posted::read(body) => body?,
            () = place.is_needed() => {
                self.metrics().dashboard_sign_ins_gave_way.add(1);
                let why = "Too many are signing in at this moment. Try again.";
                return Ok(page(StatusCode::SERVICE_UNAVAILABLE, why));
            }
        };
        drop(place);
        let text = std::str::from_utf8(&body).unwrap_or("");
        let given = query::parameter(text, "secret").ok().flatten();
        let given = given.unwrap_or_default();
        let from = client.address.map_or(ClientKey::NONE, ClientKey::of);
        if let Err(too_many) = self.may_try(from) {
            return Ok(self.refuse(client, too_many));
        }
        if tokio::time::timeout(DISK, secrets.clone().look())
            .await
            .is_err()
        {
            tracing::warn!(
                "dashboard: the file of secrets cannot be read in time; those of before stay in force"
            );
        }
        Ok(match self.attempt(&secrets.get(), from, &given) {
            Tried::Session(cookie) => {
                self.metrics().dashboard_signed_in.add(1);
                tracing::info!("dashboard: {client} has signed in");
                let mut answer = to_the_page();
                set_cookie(&mut answer, client, headers, &cookie, SESSION);
                answer
            }
            Tried::Wrong => {
                self.metrics().dashboard_wrong.add(1);
                tracing::warn!("dashboard: a wrong secret from {client}");
                page(StatusCode::FORBIDDEN, "That is not the secret.")
            }
            Tried::TooMany(too_many) => self.refuse(client, too_many),
        })
    }

    fn may_try(&self, from: ClientKey) -> Result<(), TooMany> {
        self.login.borrow_mut().may_try(from, now_s())
    }

    fn attempt(&self, secrets: &[Secret], from: ClientKey, given: &str) -> Tried {
        let mut login = self.login.borrow_mut();
        login.attempt(secrets, from, given, now_s())
    }

    fn refuse(&self, client: Client, TooMany { is_news }: TooMany) -> Answer {
        self.metrics().dashboard_too_many.add(1);
        if is_news {
            tracing::warn!(
                "dashboard: {client} may not sign in for up to a minute: too many secrets were wrong, of this address or of all"
            );
        }
        let why = "Too many tries. Wait a minute.";
        let mut answer = page(StatusCode::TOO_MANY_REQUESTS, why);
        let wait = HeaderValue::from_static("60");
        answer.headers_mut().insert(RETRY_AFTER, wait);
        answer
    }

    pub fn sign_out(&self, client: Client, headers: &HeaderMap) -> Answer {
        if let Some(Session::Cookie(_)) = self.session(headers) {
            tracing::info!("dashboard: {client} has signed out");
        }
        let mut answer = to_the_page();
        set_cookie(&mut answer, client, headers, "", 0);
        answer
    }
}

fn page(status: StatusCode, why: &str) -> Answer {
    answer(status, HTML, PAGE.replace(WHY, why))
}

fn to_the_page() -> Answer {
    let mut answer = line(StatusCode::SEE_OTHER, "see /");
    let page = HeaderValue::from_static("/");
    answer.headers_mut().insert(LOCATION, page);
    answer
}

/// The cookie of a session, or none any more.
fn set_cookie(answer: &mut Answer, client: Client, headers: &HeaderMap, value: &str, seconds: u64) {
    let [by_tls, plain] = login::names(host::port(headers));
    let (name, secure) = match client.is_https {
        true => (by_tls, "; Secure"),
        false => (plain, ""),
    };
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_why_it_refuses() {
        assert_eq!(PAGE.matches(WHY).count(), 1);
    }
}
