//! Client events: from one subscriber to the others of its channel, by whichever way it sends them.

use protocol::client_event::{ClientEvent, Refused};
use protocol::json::one_line;

use crate::app::client_events;
use crate::app::quota::Full;
use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::outbound::webhooks;

impl Engine {
    /// Sends a client event to the other subscribers of its channel.
    ///
    /// # Errors
    /// If it is refused, which is counted here.
    pub(super) fn client_event(&mut self, slot: u32, event: ClientEvent) -> Result<(), Refused> {
        let admitted = self.admit_client_event(slot, &event);
        let metrics = &self.hub.process.metrics;
        let counter = match &admitted {
            Ok(()) => &metrics.client_events,
            Err(Refused::Rate(_)) => &metrics.talk_rate,
            Err(Refused::Share(_)) => &metrics.talk_client_event_share,
            Err(Refused::Unlisted(_)) => &metrics.talk_event_name,
            Err(_) => &metrics.talk_client_event,
        };
        counter.add(1);
        admitted.map(|()| self.forward_client_event(slot, event))
    }

    fn admit_client_event(&mut self, slot: u32, event: &ClientEvent) -> Result<(), Refused> {
        let limits = self.rules.client_events;
        let subscribed = self.find_channel(slot, &event.channel).is_some();
        event.check(subscribed, &limits)?;
        let now = self.clock.millis();
        let rate = self.client_event_rates.entry(slot).or_default();
        if !rate.take(limits.rate, now) {
            return Err(Refused::Rate(limits.rate.per_second));
        }
        let client = self.streams[slot as usize].client;
        let all = &self.app.client_events;
        all.take(client)
            .map_err(|full| match (full, all.limits()) {
                (Full::Application, (all, _)) => Refused::Total(all),
                (Full::Client, (_, share)) => Refused::Share(share),
            })?;
        // Behind the rates: the nearest of many names is not found for nothing.
        let listed = self.settings.event_names.check(&event.event);
        listed.map_err(Refused::Unlisted)
    }

    fn forward_client_event(&self, slot: u32, event: ClientEvent) {
        let Stream {
            socket: from,
            client,
            ref identity,
            ..
        } = self.streams[slot as usize];
        let number = self.subscriptions.number(&event.channel);
        let user = number.and_then(|number| identity.member_of(number));
        let data = one_line(&event.data);
        // The webhook is sent the text of a JSON string, and any other data as JSON.
        let text = serde_json::from_str::<String>(&data);
        let hook = webhooks::event::What::ClientEvent {
            event: event.event.as_str().into(),
            data: text.as_deref().unwrap_or(&data).into(),
            socket: from.to_string().into(),
            user: user.map(Into::into),
        };
        self.hub.hook(client, &event.channel, hook);
        let user = user.map(Into::into);
        client_events::forward(&self.app, event.channel, event.event, data, user, from);
    }
}
