//! Channel names as Pusher documents them: stricter than the ring's own rules, so that a name accepted here is
//! accepted there.
//!
//! A user's own channel, `#server-to-user-ID`, is the one exception: the application publishes to it, and the
//! server subscribes the connections that signed in as that user.

use shared::rules;

/// The most bytes of a channel's name.
pub const MAX: usize = 164;
const USER: &str = "#server-to-user-";

/// The name is invalid. `Display` says what a name must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a channel's name is 1 to 164 of the characters A-Z a-z 0-9 _ - = @ , . ;")]
pub struct Invalid;

/// Checks the name of a channel that is subscribed to.
///
/// # Errors
/// If the name is invalid.
pub fn channel(name: &str) -> Result<(), Invalid> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b);
    match (1..=MAX).contains(&name.len()) && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err(Invalid),
    }
}

/// Checks the name of a channel that is published to, which may also be a user's own channel.
///
/// # Errors
/// If the name is invalid.
pub fn published(name: &str) -> Result<(), Invalid> {
    match user(name) {
        Some(_) => Ok(()),
        None => channel(name),
    }
}

/// The id of the user whose own channel this is. None for every other channel.
pub fn user(channel: &str) -> Option<&str> {
    let id = channel.strip_prefix(USER)?;
    let sound = !id.is_empty() && rules::channel(channel.as_bytes()).is_ok();
    sound.then_some(id)
}

/// Whether a name is reserved for users' own channels, even if the id in it is invalid.
pub fn is_of_user(channel: &str) -> bool {
    channel.starts_with(USER)
}

/// The own channel of a user. `id` must have been checked.
pub fn of_user(id: &str) -> String {
    format!("{USER}{id}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::user_bounds::MAX_ID;

    #[test]
    fn the_documented_characters_and_length() {
        assert_eq!(channel("presence-Room_1=@,.;"), Ok(()));
        assert_eq!(channel(&"a".repeat(164)), Ok(()));
        for bad in [
            "",
            "a b",
            "a:b",
            "été",
            "#x",
            "a/b",
            "a\n",
            "#server-to-user-1",
        ] {
            assert_eq!(channel(bad), Err(Invalid), "{bad}");
        }
        assert_eq!(channel(&"a".repeat(165)), Err(Invalid));
    }

    #[test]
    fn a_users_own_channel() {
        assert_eq!(user(&of_user("a b")), Some("a b"));
        assert_eq!(published("#server-to-user-7"), Ok(()));
        for bad in [
            "#server-to-user-",
            "#server-to-user-\n",
            "#server",
            "#else-1",
        ] {
            assert_eq!((user(bad), published(bad)), (None, Err(Invalid)), "{bad}");
        }
        // As long as an application may allow its users' ids to be.
        let longest = of_user(&"x".repeat(MAX_ID));
        assert_eq!(published(&longest), Ok(()));
        assert_eq!(published(&of_user(&"x".repeat(MAX_ID + 1))), Err(Invalid));
    }

    proptest! {
        #[test]
        fn accepted_names_obey_the_rings_rules(name in "(#server-to-user-)?.{0,200}") {
            if published(&name).is_ok() {
                prop_assert_eq!(rules::channel(name.as_bytes()), Ok(()));
            }
        }
    }
}
