//! Pusher's signatures as an authorizer: the application signed this socket id and this channel.

use protocol::pusher::signature;
use protocol::pusher::signature::Credentials;
use protocol::user_bounds::UserBounds;

use super::authorizer::{Access, Answer, Answers, Authorizer, Claim, Closed, Refused, Wanted};
use super::notes;
use crate::process::refusals;

/// What the application signs with, and how long the ids and infos of its users may be.
#[derive(Debug)]
pub struct Signatures {
    pub credentials: Credentials,
    pub users: UserBounds,
}

impl Authorizer for Signatures {
    fn authorize<'a>(
        &'a self,
        claim: &'a Claim,
        channels: &'a [Wanted<'a>],
        _now: u64,
    ) -> Answers<'a> {
        let answers = channels
            .iter()
            .map(|channel| authorize(self, claim, channel));
        Box::pin(std::future::ready(answers.collect()))
    }

    fn at_once(&self, claim: &Claim, channels: &[Wanted], _now: u64) -> Option<Vec<Answer>> {
        let none = claim.signatures.is_empty();
        none.then(|| channels.iter().map(|_| Err(NOT_SIGNED)).collect())
    }
}

const NOT_SIGNED: Closed = Closed::NotShown("a signature for its socket id");

fn authorize(app: &Signatures, claim: &Claim, channel: &Wanted) -> Result<Answer, Refused> {
    let mut all = claim.signatures.iter();
    let Some(signed) = all.find(|signed| signed.channel == channel.name) else {
        return Ok(Err(NOT_SIGNED));
    };
    let Some(socket) = &claim.socket else {
        let reason = "a signature is for a socket id, and none is named";
        return Err(Refused::Unauthorized(reason.into()));
    };
    let user = app
        .credentials
        .verify_subscription(
            socket,
            channel.name,
            signed.data.as_deref(),
            &signed.auth,
            app.users,
        )
        .map_err(|why| {
            refusals::report(notes::signature(&app.credentials, &why));
            let reason = format!("channel {}: {why}", channel.number);
            match why {
                signature::Refused::TooLong(_) => Refused::Forbidden(reason),
                _ => Refused::Unauthorized(reason),
            }
        })?;
    Ok(Ok(match user {
        Some(user) => Access {
            user: Some(user.id.into()),
            info: user.info.map(Into::into),
            ..Access::default()
        },
        None => Access::default(),
    }))
}
