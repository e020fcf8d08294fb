//! A user's info: JSON that is shown to other users, so every client must be able to parse it. Pure.

use serde_json::Value;
use serde_json::value::RawValue;
use shared::grant::MAX_INFO;

/// The info on one line. None if it is longer than 1,024 bytes, or not JSON that every parser accepts: PHP and
/// others reject a whole list of members if one has half a surrogate pair or is nested hundreds deep.
pub fn read(info: &RawValue) -> Option<String> {
    let info = one_line(info.get());
    let sound = info.len() <= MAX_INFO && serde_json::from_str::<Value>(&info).is_ok();
    sound.then_some(info)
}

/// Replaces line breaks by spaces. JSON has line breaks only between tokens, where a space means the same.
pub fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(json: &str) -> Option<String> {
        read(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn info_is_bounded_on_one_line_and_valid_for_every_parser() {
        assert_eq!(
            info("{\"a\":\r\n [1, \"\\n\"]}").unwrap(),
            "{\"a\":   [1, \"\\n\"]}"
        );
        assert!(info(&format!("\"{}\"", "x".repeat(MAX_INFO - 2))).is_some());
        assert!(info(&format!("\"{}\"", "x".repeat(MAX_INFO - 1))).is_none());
        assert!(info(r#""\ud83d\ude00""#).is_some());
        for harmful in [
            r#""\ud83d""#,
            r#"{"\ude00":1}"#,
            "1e999",
            &format!("{}{}", "[".repeat(200), "]".repeat(200)),
        ] {
            assert_eq!(info(harmful), None, "{harmful}");
        }
    }
}
