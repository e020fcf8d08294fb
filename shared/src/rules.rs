//! What a publisher may name things. Checked at the border (PHP, command line, HTTP) and again
//! after decoding, because whoever may write the ring can forge an event with a right checksum.

use std::fmt;

use crate::cursor::{looks_like_cluster_cursor, looks_like_cursor};

/// Channels per event. Pusher's API has the same bound.
pub const MAX_CHANNELS: usize = 100;
/// Bytes of a channel name. Pusher allows 164; Laravel users with long class names want a few more.
pub const MAX_CHANNEL: usize = 200;
pub const MAX_EVENT: usize = 200;
/// Bytes of a custom event id.
pub const MAX_ID: usize = 200;
/// Bytes of a key.
pub const MAX_KEY: usize = 200;
/// Topics per event, bytes of one, bytes of all.
pub const MAX_TOPICS: usize = 256;
pub const MAX_TOPIC: usize = 1024;
pub const MAX_TOPICS_LEN: usize = 32 * 1024;
/// Bytes of a socket id (`123.456` in practice).
pub const MAX_EXCEPT: usize = 100;

/// Prefixes of names that only the daemon may use.
pub const RESERVED: [&str; 3] = ["askr:", "pusher:", "pusher_internal:"];

/// Why a name is refused. `Display` is the phrase after the argument's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    Empty,
    TooLong { max: usize },
    TooMany { max: usize },
    Control,
    LineBreak,
    NotUtf8,
    Reserved { prefix: &'static str },
    CursorShaped,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "cannot be empty"),
            Self::TooLong { max } => write!(f, "must be at most {max} bytes long"),
            Self::TooMany { max } => write!(f, "must be at most {max}"),
            Self::Control => write!(f, "must not contain control characters"),
            Self::LineBreak => write!(f, "must not contain CR, LF or NUL bytes"),
            Self::NotUtf8 => write!(f, "must be valid UTF-8"),
            Self::Reserved { prefix } => write!(f, "must not start with \"{prefix}\""),
            Self::CursorShaped => write!(
                f,
                "must not have the form of a cursor (12 hexadecimal digits, a dash, digits; or a tilde and \
                 8 or more of A-Z, a-z, 0-9, - and _)"
            ),
        }
    }
}

/// A channel: 1 to 200 bytes of UTF-8 without control characters, not reserved.
pub fn channel(name: &[u8]) -> Result<(), Violation> {
    length(name, MAX_CHANNEL)?;
    printable(name)?;
    not_reserved(name)
}

fn printable(name: &[u8]) -> Result<(), Violation> {
    // Plain ASCII is the common case and needs no decoding. Every byte is looked at, not only those up to
    // the first odd one: without that exit the compiler takes sixteen at a time.
    let plain = |ok: bool, b: &u8| ok & (0x20..0x7f).contains(b);
    if name.iter().fold(true, plain) {
        return Ok(());
    }
    let text = std::str::from_utf8(name).map_err(|_| Violation::NotUtf8)?;
    if text.chars().any(char::is_control) {
        Err(Violation::Control)
    } else {
        Ok(())
    }
}

/// An event name: 1 to 200 bytes of UTF-8 without CR, LF or NUL, not reserved.
pub fn event(name: &[u8]) -> Result<(), Violation> {
    line(name, MAX_EVENT)?;
    not_reserved(name)
}

/// A custom id: one line of 1 to 200 bytes, never in a form of a cursor, which resumes by position.
pub fn id(id: &[u8]) -> Result<(), Violation> {
    held_id(id)?;
    if looks_like_cluster_cursor(id) {
        Err(Violation::CursorShaped)
    } else {
        Ok(())
    }
}

/// A custom id as it may lie in a ring: older publishers do not know the form that cursors have across hosts.
pub fn held_id(id: &[u8]) -> Result<(), Violation> {
    line(id, MAX_ID)?;
    if looks_like_cursor(id) {
        Err(Violation::CursorShaped)
    } else {
        Ok(())
    }
}

/// A key: one line of 1 to 200 bytes.
pub fn key(key: &[u8]) -> Result<(), Violation> {
    line(key, MAX_KEY)
}

/// A topic: 1 to 1,024 bytes of UTF-8 without control characters.
pub fn topic(topic: &[u8]) -> Result<(), Violation> {
    length(topic, MAX_TOPIC)?;
    printable(topic)
}

/// The topics of an event together: at most 256, of 32 KiB.
pub fn topics(topics: &[&[u8]]) -> Result<(), Violation> {
    if topics.len() > MAX_TOPICS {
        return Err(Violation::TooMany { max: MAX_TOPICS });
    }
    match topics.iter().map(|topic| topic.len()).sum::<usize>() <= MAX_TOPICS_LEN {
        true => Ok(()),
        false => Err(Violation::TooLong {
            max: MAX_TOPICS_LEN,
        }),
    }
}

/// A socket id to leave out.
pub fn except(socket: &[u8]) -> Result<(), Violation> {
    line(socket, MAX_EXCEPT)
}

/// Channels that need an authorization.
pub fn needs_authorization(channel: &[u8]) -> bool {
    channel.starts_with(b"private-") || channel.starts_with(b"presence-")
}

fn length(name: &[u8], max: usize) -> Result<(), Violation> {
    match name.len() {
        0 => Err(Violation::Empty),
        n if n > max => Err(Violation::TooLong { max }),
        _ => Ok(()),
    }
}

fn line(text: &[u8], max: usize) -> Result<(), Violation> {
    length(text, max)?;
    let odd = |found: bool, b: &u8| found | matches!(b, b'\r' | b'\n' | 0);
    if text.iter().fold(false, odd) {
        return Err(Violation::LineBreak);
    }
    std::str::from_utf8(text)
        .map(|_| ())
        .map_err(|_| Violation::NotUtf8)
}

fn not_reserved(name: &[u8]) -> Result<(), Violation> {
    // The common case is decided by the first byte.
    if !matches!(name[0], b'a' | b'p') {
        return Ok(());
    }
    match RESERVED
        .iter()
        .find(|prefix| name.starts_with(prefix.as_bytes()))
    {
        Some(prefix) => Err(Violation::Reserved { prefix }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_short_printable_and_not_reserved() {
        assert_eq!(channel(b"orders.1"), Ok(()));
        assert_eq!(channel("été".as_bytes()), Ok(()));
        assert_eq!(channel(&[b'a'; 200]), Ok(()));
        assert_eq!(channel(b""), Err(Violation::Empty));
        assert_eq!(channel(&[b'a'; 201]), Err(Violation::TooLong { max: 200 }));
        for control in ["a\nb", "a\0", "\u{7f}", "x\u{85}"] {
            assert_eq!(
                channel(control.as_bytes()),
                Err(Violation::Control),
                "{control:?}"
            );
        }
        assert_eq!(channel(b"\xff"), Err(Violation::NotUtf8));
        for prefix in RESERVED {
            let name = format!("{prefix}x");
            assert_eq!(
                channel(name.as_bytes()),
                Err(Violation::Reserved { prefix })
            );
            assert_eq!(event(name.as_bytes()), Err(Violation::Reserved { prefix }));
        }
        assert_eq!(channel(b"pushers"), Ok(()));
    }

    #[test]
    fn an_event_and_an_id_are_one_line() {
        assert_eq!(event(b"App\\Events\\OrderShipped"), Ok(()));
        for text in ["a\r", "\n", "a\0b"] {
            assert_eq!(event(text.as_bytes()), Err(Violation::LineBreak));
            assert_eq!(id(text.as_bytes()), Err(Violation::LineBreak));
        }
        assert_eq!(id(b"0123456789ab-42"), Err(Violation::CursorShaped));
        assert_eq!(id(b"order-42"), Ok(()));
        assert_eq!(id(b"~AbC-_012"), Err(Violation::CursorShaped));
        assert_eq!(held_id(b"~AbC-_012"), Ok(()));
        for other in ["~short", "~has.a.dot", "~", "a~bcdefghi"] {
            assert_eq!(id(other.as_bytes()), Ok(()), "{other}");
        }
    }

    #[test]
    fn topics_are_printable_and_bounded_each_and_together() {
        assert_eq!(topic("https://example.com/é".as_bytes()), Ok(()));
        assert_eq!(topic(&[b'a'; MAX_TOPIC]), Ok(()));
        let long = Err(Violation::TooLong { max: MAX_TOPIC });
        assert_eq!(topic(&[b'a'; MAX_TOPIC + 1]), long);
        assert_eq!(topic(b"a\n"), Err(Violation::Control));
        let long = [b'a'; MAX_TOPIC];
        let all = |count| vec![&long[..]; count];
        assert_eq!(topics(&all(MAX_TOPICS_LEN / MAX_TOPIC)), Ok(()));
        let together = Err(Violation::TooLong {
            max: MAX_TOPICS_LEN,
        });
        assert_eq!(topics(&all(MAX_TOPICS_LEN / MAX_TOPIC + 1)), together);
        let many = Err(Violation::TooMany { max: MAX_TOPICS });
        assert_eq!(topics(&[&b"a"[..]; MAX_TOPICS]), Ok(()));
        assert_eq!(topics(&[&b"a"[..]; MAX_TOPICS + 1]), many);
    }

    #[test]
    fn private_and_presence_channels_need_an_authorization() {
        assert!(needs_authorization(b"private-encrypted-x") && needs_authorization(b"presence-y"));
        assert!(!needs_authorization(b"privately"));
    }
}
