//! What is logged of refused credentials: what was wrong, and what to change; nothing of the credentials. Pure.

use protocol::pusher::signature;
use protocol::pusher::signature::Credentials;

use super::token;
use crate::process::refusals::{Note, Reason, shown};

/// A token. `audience`: the id of the application that it was for.
pub fn token(why: token::Refused, audience: &str) -> Note {
    let advice = match why {
        token::Refused::Signature => {
            ": it is signed with another secret than app.secret or auth.secret_file (PHP signs with the file of \
             askr.secret_file)"
        }
        token::Refused::Key => {
            ": none of app.secret, auth.secret_file and auth.public_keys has its kid and algorithm (PHP signs with the \
             file of askr.secret_file)"
        }
        token::Refused::Expired => {
            ": the page needs a new one (askr:expiring comes before the end), or the clock of one of the two machines \
             is wrong"
        }
        token::Refused::NotYet => ": the clock of one of the two machines is wrong",
        token::Refused::Audience => {
            ": its aud must be this application's id (app.id, auth.audience)"
        }
        _ => "",
    };
    let text = format!("a token for application \"{audience}\": {why}{advice}");
    Note::new(Reason::Token, format!("{audience} {why}"), text)
}

/// A signature of a channel or a user.
pub fn signature(app: &Credentials, why: &signature::Refused) -> Note {
    let advice = match why {
        _ if app.secrets.is_empty() => {
            "app.secret is not set, or app.authorizers does not have \"pusher\""
        }
        signature::Refused::Signature => {
            "the application signs with another secret than app.secret (PUSHER_APP_SECRET, REVERB_APP_SECRET), or for \
             another socket id"
        }
        signature::Refused::Key => {
            "the application signs for another key than app.key (PUSHER_APP_KEY, REVERB_APP_KEY)"
        }
        signature::Refused::TooLong(_) => "sign less of the user, or raise the setting",
        _ => "it is not what Pusher's libraries sign",
    };
    let key = &app.key;
    let text = format!("a channel's signature or a user's for key \"{key}\": {why}: {advice}");
    Note::new(Reason::Signature, format!("{key} {why}"), text)
}

/// Neither a token nor anything else was shown for a channel. `needed`: what would be accepted.
pub fn no_credentials(channel: &str, needed: &str) -> Note {
    let text = format!(
        "no credentials for {}: it needs {needed}; cookies do not count for pages of another origin unless \
         allowed_origins lists it exactly",
        shown(channel)
    );
    Note::new(Reason::Credentials, needed, text)
}

/// What was shown is valid, and does not open this channel. Of the users of a site that works some meet this, too: one
/// line is enough for all channels.
pub fn not_granted(channel: &str, reason: &str) -> Note {
    let text = format!(
        "{} for who showed valid credentials: {reason}: askr_token() has to name the channel or a pattern for it, and \
         the user on a presence- channel; or app.auth_url to open it",
        shown(channel)
    );
    let subject: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
    Note::new(Reason::Grant, subject, text)
}

/// The application at app.auth_url has said no, for all channels.
pub fn application_refuses(channel: &str, status: u16) -> Note {
    let text = format!(
        "{}: app.auth_url answered with status {status}: the application does not know the viewer (401: does its cookie \
         reach askrd? the same site, app.allowed_origins), or refuses it (403)",
        shown(channel)
    );
    Note::new(Reason::Grant, format!("auth_url {status}"), text)
}

/// With these settings nobody is let into such a channel.
pub fn nobody_authorizes(channel: &str) -> Note {
    let text = format!(
        "nobody can authorize {}: private- and presence- channels need app.secret, auth.secret_file, auth.public_keys or \
         app.auth_url, and the authorizer in app.authorizers",
        shown(channel)
    );
    Note::new(Reason::Authorizers, channel, text)
}
