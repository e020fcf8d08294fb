//! What a connection's handler and the task around hyper share: the client, and what is to become of its socket.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use protocol::socket_id::SocketId;

use super::request::{Policy, SubscribeRequest};
use super::socket::Progress;
use crate::app::application::App;
use crate::auth::authorizer::{Access, Claim};
use crate::engine::lingering::Lingering;
use crate::engine::{Engine, WebSocketSession};
use crate::process::admission::{Admission, Place, Verdict};
use crate::process::client_key::ClientKey;
use crate::process::jitter::Jitter;
use crate::process::metrics::Metrics;
use crate::process::requests::Requests;

/// What every connection of a worker needs.
pub struct World {
    /// Each application and this worker's engine for it.
    pub apps: Vec<(Arc<App>, Rc<RefCell<Engine>>)>,
    /// This worker's connections that were sent their final bytes.
    pub lingering: Rc<RefCell<Lingering<Place>>>,
    pub requests: Arc<Requests>,
    pub policy: Policy,
    pub header_timeout: Duration,
    pub write_timeout: Duration,
    /// Milliseconds.
    pub retry: u32,
    pub jitter: Jitter,
}

impl World {
    /// The metrics that all applications share.
    pub fn metrics(&self) -> &Metrics {
        &self.apps[0].0.hub.process.metrics
    }

    /// Milliseconds after which a client comes back, spread at random.
    pub fn spread_retry(&self) -> u32 {
        self.jitter.around(self.retry)
    }
}

/// What the handler leaves for the task around hyper: the socket becomes a stream.
pub struct Takeover {
    pub request: SubscribeRequest,
    pub accesses: Vec<Access>,
    pub socket: SocketId,
    pub head: Vec<u8>,
    pub websocket: Option<Box<WebSocketSession>>,
}

/// One connection's state, shared by its handler and the task around it.
pub struct Client {
    pub world: Rc<World>,
    pub admission: Admission,
    /// Whether it is a trusted proxy, whose X-Real-IP names the client.
    pub proxy: bool,
    pub progress: Rc<Progress>,
    pub takeover: Option<Takeover>,
    /// In place of a takeover: what is written before the connection ends.
    pub final_response: Option<Vec<u8>>,
}

impl Client {
    /// Whether hyper has nothing more to do with this connection.
    pub fn is_done(&self) -> bool {
        self.takeover.is_some() || self.final_response.is_some()
    }

    /// Whether this client may have one more stream. Behind a proxy, the client that it names is counted.
    pub fn check_limits(&mut self, request: &Request<Incoming>) -> bool {
        self.admission.verdict != Verdict::Over
            && match self.proxied_address(request) {
                Some(address) => self.admission.identify(address),
                None => true,
            }
    }

    /// Adds what is known of the connection. X-Forwarded-For is accepted from a proxy only.
    pub fn strip_untrusted_headers(&self, claim: &mut Claim) {
        claim.client = self.admission.client();
        if !self.proxy {
            claim.headers.remove("x-forwarded-for");
        }
    }

    /// The client behind a proxy, as the proxy names it.
    pub fn proxied_client(&self, request: &Request<Incoming>) -> Option<ClientKey> {
        let address = self.proxied_address(request)?;
        Some(self.admission.key(address))
    }

    fn proxied_address(&self, request: &Request<Incoming>) -> Option<IpAddr> {
        if !self.proxy {
            return None;
        }
        let header = request.headers().get("x-real-ip")?;
        header.to_str().ok()?.parse().ok()
    }
}
