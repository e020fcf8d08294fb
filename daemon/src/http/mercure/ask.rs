//! A request to a hub: what is served, and to whom.

use std::cell::RefCell;

use hyper::Request;
use hyper::body::Incoming;
use protocol::mercure::grants::Grants;
use shared::segment::now_s;

use super::super::client::{Client, World};
use super::super::cors::Origin;
use super::super::respond::Answer;
use super::super::socket::Progress;
use super::credentials;
use super::credentials::Shown;
use super::refused::Refused;
use crate::app::application::{App, Mercure, Reloadable};
use crate::auth::mercure::keys::Role;

/// What a page of another origin may read of an answer.
pub const EXPOSED: &str = "Link, Mercure-Last-Event-ID, Last-Event-ID";

/// None: the socket is to be taken from hyper.
pub type Reply = Result<Option<Answer>, Refused>;

/// What is served, and to whom.
pub struct Ask<'a> {
    pub client: &'a RefCell<Client>,
    pub world: &'a World,
    /// The application's index.
    pub index: usize,
    pub app: &'a App,
    pub settings: &'a Reloadable,
    pub mercure: &'a Mercure,
    pub origin: &'a Origin,
    pub progress: &'a Progress,
}

impl Ask<'_> {
    /// The token that a request shows, and what its bearer may do.
    pub fn authorize(
        &self,
        request: &Request<Incoming>,
        role: Role,
    ) -> Result<Option<(Shown, Grants)>, Refused> {
        let query = request.uri().query().unwrap_or("");
        let found = credentials::find(request.headers(), query, self.mercure, self.origin);
        let Some(shown) = found.map_err(Refused::request)? else {
            return Ok(None);
        };
        let grants = self.grants(&shown, role)?;
        Ok(Some((shown, grants)))
    }

    /// Whether a request shows its token in a cookie alone, which does not count for what it asks.
    pub fn is_forged(&self, request: &Request<Incoming>) -> bool {
        let query = request.uri().query().unwrap_or("");
        credentials::is_forged(request.headers(), query, self.mercure, self.origin)
    }

    /// What the bearer of a token that was shown may do.
    pub fn grants(&self, shown: &Shown, role: Role) -> Result<Grants, Refused> {
        let tokens = &self.mercure.tokens;
        let verified = tokens.verify(&shown.token, shown.only, role, now_s());
        verified.map_err(Refused::token)
    }
}
