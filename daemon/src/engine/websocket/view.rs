//! What a session may know of the engine: its stream's channels and user, and the limits.

use protocol::pusher::signature;
use protocol::pusher::signature::Credentials;
use protocol::{plain, pusher};

use crate::auth::authorizer::Claim;
use crate::auth::notes;
use crate::engine::streams::Engine;
use crate::process::refusals;

pub struct View<'a> {
    pub engine: &'a Engine,
    pub slot: u32,
    pub claim: Option<&'a Claim>,
}

impl View<'_> {
    /// The stream's number of this channel, if it is subscribed.
    fn channel(&self, name: &str) -> Option<u32> {
        let found = self.engine.find_channel(self.slot, name);
        found.map(|(_, channel)| channel)
    }

    fn count(&self) -> usize {
        self.engine.streams[self.slot as usize].subscriptions.len()
    }
}

impl pusher::session::World for View<'_> {
    fn socket(&self) -> String {
        self.engine.streams[self.slot as usize].socket.to_string()
    }

    fn credentials(&self) -> &Credentials {
        &self.engine.settings.credentials
    }

    fn limits(&self) -> &pusher::session::Limits {
        &self.engine.rules.pusher
    }

    fn subscribed(&self, channel: &str) -> pusher::session::Subscribed<'_> {
        use pusher::session::Subscribed;
        let Some(number) = self.channel(channel) else {
            return Subscribed::No;
        };
        let identity = &self.engine.streams[self.slot as usize].identity;
        identity
            .member_of(number)
            .map_or(Subscribed::Yes, Subscribed::As)
    }

    fn channels(&self) -> usize {
        self.count()
    }

    fn has_token(&self) -> bool {
        self.claim.is_some_and(|claim| claim.token.is_some())
    }

    fn signature_refused(&self, why: &signature::Refused) {
        refusals::report(notes::signature(&self.engine.settings.credentials, why));
    }
}

impl plain::World for View<'_> {
    fn limits(&self) -> &plain::Limits {
        &self.engine.rules.plain
    }

    fn is_subscribed(&self, channel: &str) -> bool {
        self.channel(channel).is_some()
    }

    fn channels(&self) -> usize {
        self.count()
    }
}
