//! An application: everything that belongs to it alone. Nothing here is shared with another application.

use std::sync::Arc;

use protocol::pusher::api;
use protocol::pusher::signature::Credentials;
use protocol::rewind;
use protocol::socket_id::Prover;
use shared::name::RingName;
use shared::vector::OriginId;

use crate::app::client_event_rate::ClientEventRate;
use crate::app::event_names::EventNames;
use crate::app::peers::Peers;
use crate::app::publishing::Publishing;
use crate::app::quota::Quota;
use crate::auth::authority::Authority;
use crate::auth::mercure::tokens::HubTokens;
use crate::hub::active::Active;
use crate::hub::hub::Hub;
use crate::hub::roster::Roster;
use crate::hub::watchlists::Watchlists;
use crate::process::client_rates::ClientRates;
use crate::process::current::Current;

/// One application, shared by all workers.
pub struct App {
    pub id: String,
    pub ring: RingName,
    pub hub: Arc<Hub>,
    pub authority: Authority,
    pub roster: Roster,
    /// Subscriptions of topics, for others to see.
    pub active: Arc<Active>,
    /// The nodes of other hosts.
    pub peers: Peers,
    pub prover: Prover,
    pub quota: Quota,
    /// What a reload replaces as a whole; other limits are set where they are kept.
    pub reloadable: Current<Reloadable>,
    pub publishing: Publishing,
    pub watchlists: Watchlists,
    /// The rate limit of client events, of all connections together.
    pub client_events: ClientEventRate,
    /// How often one client may have a page of history by HTTP.
    pub history_calls: ClientRates,
    /// Held while events are erased.
    pub erasing: tokio::sync::Mutex<()>,
}

/// Settings of an application that may change while it is served.
pub struct Reloadable {
    /// The key and secrets whose signatures are accepted in Pusher's protocol; without a secret, none are.
    pub credentials: Credentials,
    /// The key and secrets of the HTTP API, which does not depend on how subscribers are authorized.
    pub api_credentials: Credentials,
    pub api_limits: api::Limits,
    /// The names that events of the HTTP API and client events may have.
    pub event_names: EventNames,
    /// The bytes of a page of history.
    pub history_bytes: usize,
    /// What a request that changes a stream may ask for.
    pub change_limits: ChangeLimits,
    /// None: it has no Mercure hub.
    pub mercure: Option<Mercure>,
}

/// How an application's Mercure hub is used.
#[derive(Debug)]
pub struct Mercure {
    pub tokens: HubTokens,
    /// Whether public updates are also for subscribers without a token.
    pub anonymous: bool,
    /// The cookies that a token may be in.
    pub cookie: String,
    pub legacy_cookie: String,
    /// Matchers of one subscriber.
    pub matchers: usize,
}

#[derive(Debug, Clone, Copy)]
pub struct ChangeLimits {
    /// The most channels of a request.
    pub channels: usize,
    /// How far it may look back.
    pub rewind: rewind::Limits,
}

impl App {
    /// What this host's ring is called among others. None: there are none.
    pub fn node(&self) -> Option<OriginId> {
        let others = self.peers.bus();
        others.map(|_| self.hub.segments.epoch().into())
    }
}
