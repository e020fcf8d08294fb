//! What the unit tests share: an application without a ring.

use std::sync::Arc;

use protocol::pusher::signature::Credentials;
use protocol::rate_limit::Bound;
use protocol::socket_id::Prover;

use crate::app::application::{App, Reloadable};
use crate::app::client_event_rate::ClientEventRate;
use crate::app::peers::Peers;
use crate::app::quota::Quota;
use crate::auth::authority::Authority;
use crate::hub::hub::Hub;
use crate::hub::presence;
use crate::hub::roster::Roster;
use crate::process::client_rates::ClientRates;
use crate::process::current::Current;

/// An application that nobody may enter but by public channels.
pub fn app(hub: Arc<Hub>) -> Arc<App> {
    app_after(hub, presence::Before::Nobody)
}

/// The same after a restart, before which these were on presence channels.
pub fn app_after(hub: Arc<Hub>, before: presence::Before) -> Arc<App> {
    Arc::new(App {
        id: "test".into(),
        ring: "/test".parse().unwrap(),
        hub,
        authority: Authority::default(),
        roster: Roster::new(presence::Limits::default(), before, None),
        peers: Peers::alone(),
        prover: Prover::new("test", &[]).unwrap(),
        quota: Quota::new(0, 0),
        reloadable: Current::new(Reloadable {
            credentials: Credentials {
                key: "test".into(),
                secrets: Vec::new(),
            },
            api_credentials: Credentials {
                key: "test".into(),
                secrets: Vec::new(),
            },
            api_limits: protocol::pusher::api::Limits::default(),
            event_names: Default::default(),
            history_bytes: 1 << 20,
            change_limits: crate::app::application::ChangeLimits {
                channels: 100,
                rewind: Default::default(),
            },
            mercure: None,
        }),
        publishing: crate::app::publishing::Publishing::new(shared::publisher::Publisher::new()),
        active: Default::default(),
        watchlists: Default::default(),
        client_events: ClientEventRate::new(1000),
        history_calls: ClientRates::new(Bound::per_second(1000)),
        erasing: tokio::sync::Mutex::default(),
    })
}
