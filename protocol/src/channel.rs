//! The kind of a channel, which its name's prefix decides as in Pusher's protocol.
//!
//! | prefix | authorized | members | encrypted | last event kept | client events |
//! |---|---|---|---|---|---|
//! | none | | | | | |
//! | `private-` | yes | | | | yes |
//! | `presence-` | yes | yes | | | yes |
//! | `private-encrypted-` | yes | | yes | | |
//! | `cache-` | | | | yes | |
//! | `private-cache-` | yes | | | yes | yes |
//! | `private-encrypted-cache-` | yes | | yes | yes | |
//! | `presence-cache-` | yes | yes | | yes | yes |
//!
//! Askr cannot read an encrypted channel: it carries `{nonce,ciphertext}` like any other payload.

use shared::rules;

/// What a channel's prefix says: who may subscribe, and whether its last event is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    access: Access,
    cached: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Access {
    Public,
    Private,
    Encrypted,
    Presence,
}

impl Kind {
    /// The kind of a channel whose name was checked with [`rules::channel`].
    pub fn of(channel: &str) -> Self {
        let (access, rest) = if let Some(rest) = channel.strip_prefix("private-encrypted-") {
            (Access::Encrypted, rest)
        } else if let Some(rest) = channel.strip_prefix("private-") {
            (Access::Private, rest)
        } else if let Some(rest) = channel.strip_prefix("presence-") {
            (Access::Presence, rest)
        } else {
            (Access::Public, channel)
        };
        let kind = Self {
            access,
            cached: rest.starts_with("cache-"),
        };
        // The ring's rule and this table must never disagree about who may subscribe.
        debug_assert_eq!(
            kind.needs_authorization(),
            rules::needs_authorization(channel.as_bytes())
        );
        kind
    }

    /// Whether a subscriber must be authorized.
    pub fn needs_authorization(self) -> bool {
        self.access != Access::Public
    }

    /// Whether the channel has members, who see one another.
    pub fn is_presence(self) -> bool {
        self.access == Access::Presence
    }

    /// Whether a new subscriber receives the channel's last event.
    pub fn is_cached(self) -> bool {
        self.cached
    }

    #[cfg(test)]
    pub fn is_encrypted(self) -> bool {
        self.access == Access::Encrypted
    }

    /// Whether subscribers may send client events to one another: not on public channels, where anybody
    /// could, and not on encrypted ones, where a server cannot check what it forwards (Pusher's rule).
    pub fn allows_client_events(self) -> bool {
        matches!(self.access, Access::Private | Access::Presence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Authorization, members, encrypted, cached, client events.
    fn row(channel: &str) -> [bool; 5] {
        let kind = Kind::of(channel);
        [
            kind.needs_authorization(),
            kind.is_presence(),
            kind.is_encrypted(),
            kind.is_cached(),
            kind.allows_client_events(),
        ]
    }

    #[test]
    fn the_prefix_decides() {
        let (t, f) = (true, false);
        for (channel, expected) in [
            ("orders", [f, f, f, f, f]),
            ("private-orders", [t, f, f, f, t]),
            ("presence-room", [t, t, f, f, t]),
            ("private-encrypted-x", [t, f, t, f, f]),
            ("cache-x", [f, f, f, t, f]),
            ("private-cache-x", [t, f, f, t, t]),
            ("private-encrypted-cache-x", [t, f, t, t, f]),
            ("presence-cache-x", [t, t, f, t, t]),
            // These only look like prefixes.
            ("privately", [f, f, f, f, f]),
            ("Private-x", [f, f, f, f, f]),
            ("presence", [f, f, f, f, f]),
            ("cache-private-x", [f, f, f, t, f]),
            ("cached", [f, f, f, f, f]),
            ("presence-encrypted-x", [t, t, f, f, t]),
            ("private-cached", [t, f, f, f, t]),
            ("private-encrypted", [t, f, f, f, t]),
            ("private-", [t, f, f, f, t]),
            ("cache-", [f, f, f, t, f]),
        ] {
            assert_eq!(row(channel), expected, "{channel}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_rings_rule(head in "(private-|presence-|cache-|encrypted-|x){0,4}", tail in ".{0,10}") {
            let channel = format!("{head}{tail}");
            prop_assert_eq!(Kind::of(&channel).needs_authorization(), rules::needs_authorization(channel.as_bytes()));
        }
    }
}
