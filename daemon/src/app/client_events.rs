//! Client events on several hosts: sent to the subscribers of this one, and told to the others. Best effort, as everything
//! that has no position.

use protocol::channel::Kind;
use protocol::client_event;
use protocol::ephemeral::Ephemeral;
use protocol::socket_id::SocketId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::{grant, rules};

use crate::app::application::App;
use crate::app::peers::To;
use crate::hub::ephemeral::EncodedEphemeral;

pub const TOPIC: &str = "client_event";

/// A client event that another node accepted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    channel: String,
    event: String,
    data: Box<RawValue>,
    user: Option<String>,
    from: String,
}

/// Sends a client event to the others of its channel, wherever they are. `data`: JSON on one line.
pub fn forward(
    app: &App,
    channel: String,
    event: String,
    data: String,
    user: Option<String>,
    from: SocketId,
) {
    if app.peers.bus().is_some()
        && let Ok(raw) = RawValue::from_string(data.clone())
    {
        let told = Told {
            channel: channel.clone(),
            event: event.clone(),
            data: raw,
            user: user.clone(),
            from: from.to_string(),
        };
        app.peers.tell(To::All, TOPIC, &told);
    }
    let what = Ephemeral::Client {
        event,
        data,
        user,
        from,
    };
    app.hub
        .send_ephemeral(EncodedEphemeral::new(channel.into(), what));
}

/// Another node accepted one. None: it is none that could have been.
pub fn told(app: &App, told: Told) -> Option<()> {
    let from: SocketId = told.from.parse().ok()?;
    let event = client_event::ClientEvent {
        channel: told.channel,
        event: told.event,
        data: told.data.get().to_owned(),
    };
    let user = told.user;
    let sound = rules::channel(event.channel.as_bytes()).is_ok()
        && Kind::of(&event.channel).allows_client_events()
        && user
            .as_ref()
            .is_none_or(|user| grant::any_user(user.as_bytes()).is_ok());
    let limits = client_event::Limits {
        enabled: true,
        bytes: MOST,
        ..client_event::Limits::default()
    };
    if !sound || event.check(true, &limits).is_err() {
        return None;
    }
    let what = Ephemeral::Client {
        event: event.event,
        data: protocol::json::one_line(&event.data),
        user,
        from,
    };
    app.hub
        .send_ephemeral(EncodedEphemeral::new(event.channel.into(), what));
    Some(())
}

/// Bytes of its data; its own node may allow less.
const MOST: usize = 1 << 20;
