//! An application: everything that belongs to it alone. Nothing here is shared with another application.

use std::sync::Arc;

use protocol::pusher::signature::Credentials;
use protocol::socket_id::Prover;
use shared::name::RingName;

use crate::app::client_event_rate::ClientEventRate;
use crate::app::event_names::EventNames;
use crate::app::publishing::Publishing;
use crate::app::quota::Quota;
use crate::auth::authority::Authority;
use crate::hub::hub::Hub;
use crate::hub::roster::Roster;
use crate::hub::watchlists::Watchlists;
use crate::process::client_rates::ClientRates;

/// One application, shared by all workers.
pub struct App {
    pub id: String,
    pub ring: RingName,
    pub hub: Arc<Hub>,
    pub authority: Authority,
    pub roster: Roster,
    pub prover: Prover,
    pub quota: Quota,
    /// The key and secrets whose signatures are accepted in Pusher's protocol; without a secret, none are.
    pub credentials: Credentials,
    /// The key and secrets of the HTTP API, which does not depend on how subscribers are authorized.
    pub api_credentials: Credentials,
    pub publishing: Publishing,
    pub watchlists: Watchlists,
    /// The rate limit of client events, of all connections together.
    pub client_events: ClientEventRate,
    /// The names that events of the HTTP API and client events may have.
    pub event_names: EventNames,
    /// How often one client may have a page of history by HTTP, and the bytes of a page.
    pub history_calls: ClientRates,
    pub history_bytes: usize,
    /// Held while events are erased.
    pub erasing: tokio::sync::Mutex<()>,
}
