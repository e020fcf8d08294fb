//! A client event: what one subscriber sends to the others of its channel. The rules are the same by whichever way it
//! comes: Pusher's protocol, the plain one, or an HTTP request beside a stream. Pure.

use serde_json::Value;
use shared::rules;
use shared::rules::Violation;

use crate::channel::Kind;
use crate::pusher;
use crate::rate_limit::Bound;

/// What the name of a client event begins with.
const PREFIX: &str = "client-";

/// A client event as it was received: nothing is checked but its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientEvent {
    pub channel: String,
    pub event: String,
    /// JSON, as it was written.
    pub data: String,
}

/// What an application allows each connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Whether client events are enabled. Default: no.
    pub enabled: bool,
    /// Those beyond it are refused. Default: 10 a second, as at Pusher.
    pub rate: Bound,
    /// Bytes of data. Default: 10,240.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enabled: false,
            rate: Bound::per_second(10),
            bytes: 10 << 10,
        }
    }
}

/// Why a client event is not forwarded. `Display` is one line for its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The sender's stream has ended, or reconnected.
    #[error("there is no such stream now; use what the last askr:connected said")]
    Gone,
    #[error("client events are not enabled for this application")]
    Disabled,
    #[error("client events need a subscription to their channel")]
    NotSubscribed,
    #[error("client events are for private and presence channels")]
    Channel,
    #[error("a client event's name begins with client-")]
    Prefix,
    #[error("a client event's name {0}")]
    Name(Violation),
    #[error("a client event's data is at most {0} bytes long (app.client_event_bytes)")]
    TooLong(usize),
    #[error("a client event's data must be JSON that every reader takes")]
    Data,
    /// More a second than one connection may send.
    #[error("at most {0} client events a second (app.client_event_rate)")]
    Rate(u32),
    /// More a second than one address may send.
    #[error(
        "this address sends as many as are allowed, {0} client events a second (app.client_events_total)"
    )]
    Share(u32),
    /// More a second than all connections of the application may send.
    #[error(
        "the application has as many as are allowed, {0} client events a second (app.client_events_total)"
    )]
    Total(u32),
    /// The application is strict, and does not list the name.
    #[error("event {0}")]
    Unlisted(String),
}

impl Refused {
    /// The HTTP status with this meaning.
    pub fn status(&self) -> u16 {
        match self {
            Self::Gone => 404,
            Self::Disabled | Self::NotSubscribed | Self::Channel => 403,
            Self::Prefix | Self::Name(_) | Self::Data | Self::Unlisted(_) => 400,
            Self::TooLong(_) => 413,
            Self::Rate(_) | Self::Share(_) | Self::Total(_) => 429,
        }
    }

    /// The code of `pusher:error`. None: Pusher's protocol defines none.
    pub fn pusher_code(&self) -> Option<u16> {
        (self.status() == 429).then_some(pusher::code::RATE)
    }
}

impl ClientEvent {
    /// Whether a connection may send this, but for how often. `subscribed`: whether it is, to the channel.
    ///
    /// # Errors
    /// If it may not.
    pub fn check(&self, subscribed: bool, limits: &Limits) -> Result<(), Refused> {
        if !limits.enabled {
            return Err(Refused::Disabled);
        }
        if !subscribed {
            return Err(Refused::NotSubscribed);
        }
        if !Kind::of(&self.channel).allows_client_events() {
            return Err(Refused::Channel);
        }
        if !self.event.starts_with(PREFIX) {
            return Err(Refused::Prefix);
        }
        rules::event(self.event.as_bytes()).map_err(Refused::Name)?;
        if self.data.len() > limits.bytes {
            return Err(Refused::TooLong(limits.bytes));
        }
        // The data is forwarded unchanged, to webhooks too: PHP rejects a whole body if one string in it has half a
        // surrogate pair.
        match serde_json::from_str::<Value>(&self.data) {
            Ok(_) => Ok(()),
            Err(_) => Err(Refused::Data),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        enabled: true,
        rate: Bound::per_second(10),
        bytes: 12,
    };

    fn made(channel: &str, event: &str, data: &str) -> ClientEvent {
        ClientEvent {
            channel: channel.into(),
            event: event.into(),
            data: data.into(),
        }
    }

    #[test]
    fn they_go_to_private_and_presence_channels_that_are_subscribed_to() {
        for (channel, expected) in [
            ("private-a", Ok(())),
            ("presence-a", Ok(())),
            ("private-cache-a", Ok(())),
            ("public", Err(Refused::Channel)),
            ("private-encrypted-a", Err(Refused::Channel)),
            ("#server-to-user-7", Err(Refused::Channel)),
        ] {
            let event = made(channel, "client-x", "1");
            assert_eq!(event.check(true, &LIMITS), expected, "{channel}");
            let elsewhere = event.check(false, &LIMITS);
            assert_eq!(elsewhere, Err(Refused::NotSubscribed), "{channel}");
        }
        // A name that no channel can have is subscribed to by nobody.
        let none = made("\u{0}", "client-x", "1").check(false, &LIMITS);
        assert_eq!(none, Err(Refused::NotSubscribed));
    }

    #[test]
    fn they_are_off_unless_enabled_and_bounded_in_size_and_name() {
        let check = |event: &str, data: &str| made("private-a", event, data).check(true, &LIMITS);
        assert_eq!(check("client-x", "\"0123456789\""), Ok(()));
        let long = check("client-x", "\"0123456789a\"");
        assert_eq!(long, Err(Refused::TooLong(12)));
        for name in ["", "typing", "Client-x", "pusher:subscribe"] {
            assert_eq!(check(name, "1"), Err(Refused::Prefix), "{name}");
        }
        let longest = "client-".to_owned() + &"x".repeat(193);
        assert_eq!(check(&longest, "1"), Ok(()));
        for name in ["client-a\nb".to_owned(), longest + "x"] {
            assert!(matches!(check(&name, "1"), Err(Refused::Name(_))), "{name}");
        }
        let off = Limits {
            enabled: false,
            ..LIMITS
        };
        let refused = made("private-a", "client-x", "1").check(true, &off);
        assert_eq!(refused, Err(Refused::Disabled));
    }

    #[test]
    fn data_is_json_that_every_reader_takes() {
        let limits = Limits {
            bytes: 1000,
            ..LIMITS
        };
        let nested = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        for data in [r#""\ud800""#, "1e400", &nested, "", "{", "1 2"] {
            let refused = made("private-a", "client-x", data).check(true, &limits);
            assert_eq!(refused, Err(Refused::Data), "{data}");
        }
    }

    #[test]
    fn only_a_rate_has_a_code_of_pushers_protocol() {
        let rates = [Refused::Rate(1), Refused::Share(1), Refused::Total(1)];
        for rate in rates {
            assert_eq!((rate.status(), rate.pusher_code()), (429, Some(4301)));
        }
        assert_eq!(Refused::NotSubscribed.pusher_code(), None);
    }

    proptest! {
        #[test]
        fn what_is_taken_obeys_the_rules(
            channel in "(private-|presence-|private-encrypted-)?[a-z]{0,3}",
            event in "(client-)?.{0,9}",
            data in r#"["\[\]{}:,a-z0-9\\]{0,16}"#,
        ) {
            let event = made(&channel, &event, &data);
            match event.check(true, &LIMITS) {
                Ok(()) => {
                    prop_assert!(Kind::of(&channel).allows_client_events());
                    prop_assert!(event.event.starts_with(PREFIX) && data.len() <= LIMITS.bytes);
                    prop_assert!(serde_json::from_str::<Value>(&data).is_ok());
                }
                Err(why) => prop_assert!(!why.to_string().contains(['\r', '\n']), "one line"),
            }
        }
    }
}
