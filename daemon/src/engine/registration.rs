//! A stream's channels, wherever they count: in the limits, the routes and the subscribers of this worker.

use protocol::channel::Kind;

use crate::engine::streams::Engine;
use crate::engine::subscriptions::{Member, Subscription};
use crate::hub::command::Denied;
use crate::hub::matcher_name;
use crate::hub::routes::Room;
use crate::hub::subscriber_counts::CountChanges;
use crate::outbound::webhooks;
use crate::process::client_key::ClientKey;
use crate::process::holdings;

impl Engine {
    /// Room for these channels beside those that the application has, kept until they were added.
    pub(super) fn room_for<'a>(
        &self,
        channels: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<Room> {
        let (routes, most) = (&self.hub.routes, self.rules.max_channels);
        let new = |name: &&str| routes.workers(std::iter::once(*name)) == 0;
        // Which of them are new only matters near the limit.
        let room = routes
            .room(channels.clone().count(), most)
            .or_else(|| routes.room(channels.filter(new).count(), most));
        if room.is_none() {
            self.hub.process.metrics.over_channels.add(1);
        }
        room
    }

    /// Counts a subscription of `client` to each of `channels`, which are distinct.
    ///
    /// # Errors
    /// If the client or a channel has as many as it may have. Then nothing is counted.
    pub(super) fn count_subscriptions(
        &self,
        client: ClientKey,
        channels: &[String],
    ) -> Result<CountChanges, Denied> {
        let (hub, metrics) = (&self.hub, &self.hub.process.metrics);
        if let Err(full) = hub.holdings.enter(client, channels) {
            match full {
                holdings::Full::Channels => metrics.over_address_channels.add(1),
                holdings::Full::Subscriptions => metrics.over_address_subscribers.add(1),
            }
            return Err(Denied::Share);
        }
        hub.subscriber_counts.enter(channels).ok_or_else(|| {
            metrics.over_subscribers.add(1);
            hub.holdings
                .leave(client, channels.iter().map(String::as_str));
            Denied::Full
        })
    }

    /// Takes back what `count_subscriptions` counted.
    pub(super) fn uncount_subscriptions<'a>(
        &self,
        client: ClientKey,
        channels: impl Iterator<Item = &'a str> + Clone,
    ) -> CountChanges {
        self.hub.holdings.leave(client, channels.clone());
        self.hub.subscriber_counts.leave(channels)
    }

    /// Adds a stream of `client` to the subscribers of a channel.
    pub(super) fn add_subscriber(
        &mut self,
        client: ClientKey,
        name: &str,
        member: Member,
        room: &mut Room,
    ) -> Subscription {
        self.hub.process.metrics.subscriptions.add(1);
        self.hub.open.subscriptions.add(1);
        let (subscription, first) = self.subscriptions.join(name, member);
        if first {
            let notify = || self.hook(client, name, webhooks::event::What::ChannelOccupied);
            self.hub.routes.add(name, self.worker, room, notify);
        }
        subscription
    }

    /// Removes a stream of `client` from the subscribers of a channel.
    pub(super) fn remove_subscriber(&mut self, client: ClientKey, subscription: Subscription) {
        self.hub.process.metrics.subscriptions.sub(1);
        self.hub.open.subscriptions.sub(1);
        let left = self.subscriptions.leave(subscription);
        if let Some(moved) = left.moved
            && let Some(other) = self.streams.get_mut(moved.slot as usize)
        {
            other.subscriptions[moved.sub as usize].at = subscription.at;
        }
        if let Some(name) = left.last {
            let notify = || self.hook(client, &name, webhooks::event::What::ChannelVacated);
            self.hub.routes.remove(&name, self.worker, notify);
        }
    }

    /// A presence channel is occupied as long as it has members: its roster announces it, in order with them. On several
    /// hosts a channel is as long as it has subscribers anywhere: that is announced with their counts.
    fn hook(&self, client: ClientKey, channel: &str, what: webhooks::event::What) {
        let is_matcher = matcher_name::is_matcher(channel);
        if !is_matcher && !Kind::of(channel).is_presence() && self.hub.facts.is_none() {
            self.hub.hook(client, channel, what);
        }
    }
}
