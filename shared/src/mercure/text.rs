//! Which text topics, matchers, ids and types may be: anything that is seen as what it is.

use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};

/// Bytes of a matcher.
pub const MAX: usize = 4096;

/// Why text is refused. `Display` is the phrase after the field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("cannot be empty")]
    Empty,
    #[error("must be at most 4096 bytes long")]
    TooLong,
    #[error("must not contain control or format characters")]
    Characters,
}

/// Text of 1 to 4,096 bytes without control characters (C0, DEL, C1) and format characters (Unicode's Cf).
///
/// # Errors
/// Which of these it is not.
pub fn check(text: &str) -> Result<(), Unfit> {
    match text.len() {
        0 => Err(Unfit::Empty),
        n if n > MAX => Err(Unfit::TooLong),
        _ if is_plain(text) => Ok(()),
        _ => Err(Unfit::Characters),
    }
}

/// Whether `text` has none of the characters above.
pub fn is_plain(text: &str) -> bool {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return true;
    }
    let categories = CodePointMapData::<GeneralCategory>::new();
    let hidden = GeneralCategoryGroup::Control.union(GeneralCategoryGroup::Format);
    !text.chars().any(|c| hidden.contains(categories.get(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_refused() {
        for text in ["a", "https://example.com/ü/{id}", "🙂 x", &"x".repeat(MAX)] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        assert_eq!(check(""), Err(Unfit::Empty));
        assert_eq!(check(&"x".repeat(MAX + 1)), Err(Unfit::TooLong));
        for character in [
            '\0',
            '\n',
            '\r',
            '\t',
            '\u{1f}',
            '\u{7f}',
            '\u{80}',
            '\u{85}',
            '\u{9f}',
            '\u{ad}',
            '\u{600}',
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{2066}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            let text = format!("a{character}b");
            assert_eq!(check(&text), Err(Unfit::Characters), "{text:?}");
        }
    }
}
