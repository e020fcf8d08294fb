//! Channels that a plain WebSocket asks for: the application's authorizers decide.

use protocol::channel::Kind;
use protocol::format;
use protocol::format::Format;

use crate::auth::authorizer::{Access, Claim, Refused};
use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::hub::command::{Command, Since};

impl Engine {
    /// Subscribes once the authorizers have granted access, which may take time.
    pub(super) fn authorize(
        &mut self,
        slot: u32,
        channels: Vec<String>,
        since: Option<Since>,
        token: Option<String>,
        claim: &Option<Box<Claim>>,
    ) {
        let Stream { socket, client, .. } = self.streams[slot as usize];
        if !channels
            .iter()
            .any(|name| Kind::of(name).needs_authorization())
        {
            let public = channels.into_iter().map(|name| (name, Access::default()));
            return self.command(Command::Subscribe {
                slot,
                socket,
                revocations: self.app.authority.revocations(),
                channels: public.collect(),
                since,
                answer: None,
            });
        }
        let shown = claim.as_deref();
        let claim = Claim {
            client,
            socket: Some(socket.to_string()),
            token: token.or_else(|| shown.and_then(|claim| claim.token.clone())),
            address: shown.and_then(|claim| claim.address),
            headers: shown.map(|claim| claim.headers.clone()).unwrap_or_default(),
            ..Claim::default()
        };
        let (app, worker) = (self.app.clone(), self.worker);
        tokio::task::spawn_local(async move {
            let revocations = app.authority.revocations();
            let command = match app.authority.authorize(&claim, &channels).await {
                Ok(accesses) => Command::Subscribe {
                    slot,
                    socket,
                    revocations,
                    channels: std::iter::zip(channels, accesses).collect(),
                    since,
                    answer: None,
                },
                Err(why) => {
                    app.hub.process.metrics.talk_subscription.add(1);
                    let status = match why {
                        Refused::Unauthorized(_) => 401,
                        Refused::Forbidden(_) => 403,
                        Refused::Away(_) => 503,
                    };
                    let bytes = format::denied(Format::Plain, &channels, status, why.reason());
                    Command::Tell {
                        slot,
                        socket,
                        bytes,
                    }
                }
            };
            app.hub.inboxes[worker].command(command);
        });
    }
}
