//! Channels that a WebSocket asks for, and that its session cannot decide on: the application's authorizers do. Of Pusher's
//! protocol that is what a token opens; its signatures are verified in its session.

use protocol::channel::Kind;
use protocol::format;
use protocol::format::{Denied, Format};

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
        let Stream {
            socket,
            client,
            format,
            ..
        } = self.streams[slot as usize];
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
            let authority = &app.authority;
            let granted = match format {
                Format::Pusher | Format::Recovery => {
                    authority.authorize_by_token(&claim, &channels).await
                }
                _ => authority.authorize(&claim, &channels).await,
            };
            let command = match granted {
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
                    let why = (Denied::Authorization(status), why.reason());
                    let bytes = format::denied(format, &channels, why.0, why.1);
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
