//! JSON objects that clients and applications send.

use serde::Deserialize;
use serde::de::Error as _;

/// Parses a JSON object.
///
/// # Errors
/// If the text is anything else. The derived code alone would also accept an array of the fields in order.
pub fn object<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(serde_json::Error::custom("an object is needed"));
    }
    serde_json::from_str(text)
}

/// Parses a JSON object in UTF-8. All of it is checked: the decoder alone would not check values that it skips.
///
/// # Errors
/// If the bytes are anything else.
pub fn object_from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    object(std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?)
}

/// A user's id as applications send it, a string or an integer. Clients receive a string in any case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "TextOrNumber")]
pub struct UserId(String);

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(i64),
}

impl From<TextOrNumber> for UserId {
    fn from(id: TextOrNumber) -> Self {
        Self(match id {
            TextOrNumber::Text(text) => text,
            TextOrNumber::Number(number) => number.to_string(),
        })
    }
}

impl From<String> for UserId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl UserId {
    /// The id as text, not checked.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Replaces line breaks by spaces. JSON has line breaks only between tokens, where a space means the same.
pub fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Body {
        id: UserId,
    }

    #[test]
    fn only_an_object_is_accepted() {
        let id = |text: &str| object::<Body>(text).map(|body| body.id.0).ok();
        assert_eq!(id(r#" {"id":"7"}"#).as_deref(), Some("7"));
        for other in [
            r#"["7"]"#,
            r#""7""#,
            "",
            "null",
            r#"{"id":"7"}x"#,
            "\u{a0}{\"id\":\"7\"}",
        ] {
            assert_eq!(id(other), None, "{other}");
        }
        assert!(object_from_slice::<Body>(b"{\"id\":7}").is_ok());
        assert!(object_from_slice::<Body>(b"{\"id\":7,\"x\":\"\xff\"}").is_err());
    }

    #[test]
    fn an_id_is_a_string_or_an_integer() {
        let id = |json: &str| serde_json::from_str::<UserId>(json).map(UserId::into_text);
        assert_eq!(id("-7").unwrap(), "-7");
        assert_eq!(id(r#""seven""#).unwrap(), "seven");
        assert!(id("1.5").is_err() && id("true").is_err() && id("null").is_err());
    }
}
