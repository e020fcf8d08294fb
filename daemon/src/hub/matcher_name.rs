//! Matchers of topics as channels: names that no channel of a client can have, since those have no control characters.
//!
//! ```text
//! \0=  and the topic         exactly this topic
//! \0~  and the pattern's key a pattern
//! ```
//!
//! What is longer than a channel's name may be is named by its hash, so that every bound on channels holds for matchers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use shared::rules::MAX_CHANNEL;

const EXACT: char = '=';
const PATTERN: char = '~';
/// Before a hash, which no text is taken for: it has a control character.
const HASHED: char = '\u{1}';

/// What the marks of all events of topics have in common, and all names of matchers begin with.
pub const ANY: &str = "\0";

/// Whether it is the name of a matcher, and no channel of a client.
pub fn is_matcher(name: &str) -> bool {
    name.starts_with(ANY)
}

/// Whether it is the name of a pattern.
pub fn is_pattern(name: &str) -> bool {
    let rest = name.strip_prefix(ANY);
    rest.is_some_and(|rest| rest.starts_with(PATTERN))
}

/// The name of a matcher of exactly this topic.
pub fn exact(topic: &str) -> String {
    named(EXACT, topic)
}

/// The name of a pattern.
pub fn pattern(key: &str) -> String {
    named(PATTERN, key)
}

fn named(kind: char, text: &str) -> String {
    if text.len() <= MAX_CHANNEL {
        return format!("{ANY}{kind}{text}");
    }
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
    format!("{ANY}{kind}{HASHED}{hash}")
}

#[cfg(test)]
mod tests {
    use shared::rules;

    use super::*;

    #[test]
    fn each_matcher_has_a_name_of_its_own_that_is_no_channel_s() {
        let long = |last: &str| format!("{}{last}", "a".repeat(MAX_CHANNEL));
        let texts = ["a", "~a", "=a", "", &long(""), &long("b"), &long("c")];
        let names = texts.iter().flat_map(|text| [exact(text), pattern(text)]);
        let mut names: Vec<String> = names.collect();
        for name in &names {
            assert!(is_matcher(name) && name.len() <= MAX_CHANNEL + 2);
            assert!(rules::channel(name.as_bytes()).is_err(), "{name:?}");
        }
        assert_eq!(
            names.iter().filter(|name| is_pattern(name)).count(),
            texts.len()
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 2 * texts.len());
        assert!(!is_matcher("a") && !is_pattern("~a"));
    }
}
