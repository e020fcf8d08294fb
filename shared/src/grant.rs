//! What a token may say, for whoever signs one and whoever checks it.
//!
//! A *pattern* stands for channels: a name stands for itself; with a `*` at its end, for every name
//! that begins with what is before it; a lone `*` for every channel of the application. A `*` anywhere
//! else is a `*`. `private-orders.*` stands for `private-orders.7`, but not for `private-orders`.

use crate::rules::{self, Violation};

/// Bytes of a token. A cookie has room for 4,096 with its name and attributes.
pub const MAX_TOKEN: usize = 4000;
/// Channels and patterns in a token.
pub const MAX_PATTERNS: usize = 100;
/// Bytes of a user's id. Pusher's bound. And of one that an application may allow elsewhere (`app.user_id_bytes`): the
/// user's own channel must have a name that the ring takes.
pub const MAX_USER: usize = 128;
pub const MAX_ALLOWED_USER: usize = 184;
/// Bytes of a user's info as JSON. Pusher's bound.
pub const MAX_INFO: usize = 1024;
/// Seconds from now to a token's expiry: 31 days. What revokes tokens is remembered as long.
pub const MAX_TTL: u64 = 31 * 24 * 3600;

/// A pattern: a channel's name, or the beginning of one and `*`.
///
/// # Errors
/// As for a channel's name, of which the `*` is a part.
pub fn pattern(text: &[u8]) -> Result<(), Violation> {
    rules::channel(text)
}

/// Whether a pattern stands for this channel.
pub fn stands_for(pattern: &str, channel: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => channel.starts_with(beginning),
        None => pattern == channel,
    }
}

/// The id of a token's user: 1 to 128 bytes of UTF-8 without control characters.
///
/// # Errors
/// Which of these it is not.
pub fn user(id: &[u8]) -> Result<(), Violation> {
    user_up_to(MAX_USER, id)
}

/// The same for a user of any application, who may have a longer id: for who names somebody that is there.
///
/// # Errors
/// As [`user`].
pub fn any_user(id: &[u8]) -> Result<(), Violation> {
    user_up_to(MAX_ALLOWED_USER, id)
}

fn user_up_to(max: usize, id: &[u8]) -> Result<(), Violation> {
    match id.len() {
        0 => return Err(Violation::Empty),
        n if n > max => return Err(Violation::TooLong { max }),
        _ => {}
    }
    let text = std::str::from_utf8(id).map_err(|_| Violation::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(Violation::Control);
    }
    Ok(())
}

/// The two numbers of a socket id: of 32 bits each, without leading zeros, with a dot between them.
pub fn socket_id(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let plain = digits && (text == "0" || !text.starts_with('0'));
        text.parse::<u32>().ok().filter(|_| plain)
    };
    let (high, low) = text.split_once('.')?;
    Some((number(high)?, number(low)?))
}

/// Where it is not said which of them is meant: whether somebody is named by a socket id, `DIGITS.DIGITS`; else by
/// a user's id. A user's id may have that form, so who knows which it is says so instead.
pub fn names_socket(whom: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    whom.split_once('.')
        .is_some_and(|(a, b)| number(a) && number(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_any_ending() {
        for (pattern, channel, expected) in [
            ("private-a", "private-a", true),
            ("private-a", "private-ab", false),
            ("private-a.*", "private-a.7", true),
            ("private-a.*", "private-a.", true),
            ("private-a.*", "private-a", false),
            ("private-a.*", "presence-a.7", false),
            ("*", "presence-x", true),
            ("private-*-x", "private-a-x", false),
            ("private-*-x", "private-*-x", true),
            ("private-**", "private-*a", true),
            ("private-**", "private-a", false),
        ] {
            assert_eq!(
                stands_for(pattern, channel),
                expected,
                "{pattern} {channel}"
            );
        }
    }

    #[test]
    fn a_user_is_short_and_printable() {
        assert_eq!(user("Ægir 7".as_bytes()), Ok(()));
        assert_eq!(user(b""), Err(Violation::Empty));
        assert_eq!(user(&[b'7'; 129]), Err(Violation::TooLong { max: 128 }));
        assert_eq!(user(b"a\nb"), Err(Violation::Control));
        assert_eq!(user(b"\xff"), Err(Violation::NotUtf8));
    }

    #[test]
    fn a_socket_id_is_two_numbers_of_32_bits() {
        assert_eq!(socket_id("0.4294967295"), Some((0, u32::MAX)));
        for other in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "1.2.3",
            "01.2",
            "1.00",
            "4294967296.1",
            "+1.2",
            " 1.2",
            "1.2 ",
        ] {
            assert_eq!(socket_id(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_socket_is_two_numbers_and_all_else_a_user() {
        assert!(names_socket("1.2") && names_socket("0123.456"));
        for user in [
            "7", "1.", ".2", "1.2.3", "1.x", "-1.2", "1,2", " 1.2", "", ".",
        ] {
            assert!(!names_socket(user), "{user:?}");
        }
    }
}
