//! Client events: from one subscriber to the others of its channel.

use std::ops::ControlFlow;

use protocol::ephemeral::Ephemeral;
use protocol::{format, pusher};

use crate::app::quota::Full;
use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::hub::ephemeral::EncodedEphemeral;
use crate::outbound::webhooks;

impl Engine {
    /// Sends a client event to the other subscribers of its channel.
    pub(super) fn forward_client_event(
        &mut self,
        slot: u32,
        channel: String,
        event: String,
        data: String,
        user: Option<String>,
    ) -> ControlFlow<()> {
        let Stream {
            socket: from,
            client,
            ..
        } = self.streams[slot as usize];
        if let Err(full) = self.app.client_events.take(client) {
            let (all, share) = self.app.client_events.limits();
            let metrics = &self.hub.process.metrics;
            let (counter, who, most) = match full {
                Full::Application => (&metrics.talk_client_event, "the application has", all),
                Full::Client => (
                    &metrics.talk_client_event_share,
                    "this address sends",
                    share,
                ),
            };
            counter.add(1);
            let reason = format!(
                "{who} as many as are allowed, {most} client events a second \
                 (app.client_events_total)"
            );
            let message = pusher::encode::error(Some(pusher::code::RATE), &reason);
            return self.reply(slot, format::text(message));
        }
        // Behind the rate: the nearest of many names is not found for nothing.
        if let Err(why) = self.app.event_names.check(&event) {
            self.hub.process.metrics.talk_event_name.add(1);
            let message = pusher::encode::error(None, &format!("event {why}"));
            return self.reply(slot, format::text(message));
        }
        self.hub.process.metrics.client_events.add(1);
        // The webhook is sent the text of a JSON string, and any other data as JSON.
        let text = serde_json::from_str::<String>(&data);
        let hook = webhooks::event::What::ClientEvent {
            event: event.as_str().into(),
            data: text.as_deref().unwrap_or(&data).into(),
            socket: from.to_string().into(),
            user: user.as_deref().map(Into::into),
        };
        self.hub.hook(client, &channel, hook);
        let what = Ephemeral::Client {
            event,
            data,
            user,
            from,
        };
        self.hub
            .send_ephemeral(EncodedEphemeral::new(channel.into(), what));
        ControlFlow::Continue(())
    }
}
