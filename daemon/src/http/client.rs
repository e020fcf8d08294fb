//! What a connection's handler and the task around hyper share: the client, and what is to become of its socket.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use protocol::socket_id::SocketId;

use super::policy::Policy;
use super::request::SubscribeRequest;
use super::socket::Progress;
use super::viewer::viewer;
use crate::app::application::App;
use crate::auth::authorizer::{Access, Claim};
use crate::engine::lingering::Lingering;
use crate::engine::{Engine, TopicOpening, WebSocketSession};
use crate::process::admission::{Admission, Place, Verdict};
use crate::process::client_key::ClientKey;
use crate::process::jitter::Jitter;
use crate::process::metrics::Metrics;
use crate::process::requests::Requests;
use crate::process::state::Process;

/// What every connection of a worker needs.
pub struct World {
    /// Each application and this worker's engine for it.
    pub apps: Vec<(Arc<App>, Rc<RefCell<Engine>>)>,
    /// This worker's connections that were sent their final bytes.
    pub lingering: Rc<RefCell<Lingering<Place>>>,
    pub requests: Arc<Requests>,
    /// Replaced at a reload: each request and each connection takes it once.
    pub policy: RefCell<Arc<Policy>>,
    pub jitter: Jitter,
}

impl World {
    /// What all applications share.
    pub fn process(&self) -> &Process {
        &self.apps[0].0.hub.process
    }

    pub fn metrics(&self) -> &Metrics {
        &self.process().metrics
    }

    /// A request is refused with this status.
    pub fn count_refused(&self, status: StatusCode) {
        let process = &self.apps[0].0.hub.process;
        process.metrics.refused_requests.add(1);
        process.statuses.count(status.as_u16());
    }

    pub fn policy(&self) -> Arc<Policy> {
        self.policy.borrow().clone()
    }

    /// Milliseconds after which a client comes back, spread at random.
    pub fn spread_retry(&self) -> u32 {
        self.jitter.around(self.policy.borrow().retry)
    }
}

/// What the handler leaves for the task around hyper: the socket becomes a stream.
pub struct Takeover {
    pub request: SubscribeRequest,
    pub accesses: Vec<Access>,
    pub socket: SocketId,
    pub head: Vec<u8>,
    pub websocket: Option<Box<WebSocketSession>>,
    /// Only for a subscriber of topics.
    pub topics: Option<Box<TopicOpening>>,
}

/// One connection's state, shared by its handler and the task around it.
pub struct Client {
    pub world: Rc<World>,
    pub admission: Admission,
    /// The viewer's address. None: the peer is a trusted proxy, which names it in X-Real-IP.
    pub address: Option<IpAddr>,
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
            && match self.viewer(request) {
                Some(address) => self.admission.identify(address),
                None => true,
            }
    }

    /// Adds what is known of the connection.
    pub fn identify(&self, request: &Request<Incoming>, claim: &mut Claim) {
        claim.client = self.admission.client();
        claim.address = self.viewer(request);
    }

    /// The client that a request's body counts as.
    pub fn of_request(&self, request: &Request<Incoming>) -> Option<ClientKey> {
        let address = self.viewer(request)?;
        Some(self.admission.key(address))
    }

    fn viewer(&self, request: &Request<Incoming>) -> Option<IpAddr> {
        viewer(self.address, request.headers())
    }
}
