//! How long a user's id and info may be, which each application sets. The info is JSON that is shown to other users,
//! so every client must be able to parse it. Pure.

use serde_json::Value;
use serde_json::value::RawValue;
use shared::grant::{MAX_ALLOWED_USER, MAX_INFO, MAX_USER};

use crate::json::{UserId, one_line};
use crate::pusher::channel_name;

/// The most bytes that an id may be allowed.
pub const MAX_ID: usize = MAX_ALLOWED_USER;

/// The most bytes of a user's id and info.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserBounds {
    /// At most [`MAX_ID`]. Default: 128, as at Pusher.
    pub id: usize,
    /// Of the info as JSON. Default: 1,024, as at Pusher.
    pub info: usize,
}

impl Default for UserBounds {
    fn default() -> Self {
        Self {
            id: MAX_USER,
            info: MAX_INFO,
        }
    }
}

/// What is too long. `Display` is a phrase that names the limit and the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    #[error("the user's id is longer than {0} bytes (app.user_id_bytes)")]
    Id(usize),
    #[error("the user's info is longer than {0} bytes (app.user_info_bytes)")]
    Info(usize),
}

/// Why an id or an info is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    TooLong(TooLong),
    /// An id that is empty or has control characters; an info that is not JSON that every parser takes.
    Malformed,
}

impl UserBounds {
    /// The most bytes of the JSON that has one id and one info, in whatever way it is escaped.
    pub const fn data(self) -> usize {
        2 * self.info + 6 * self.id
    }

    /// Whether both may be as long as they are.
    ///
    /// # Errors
    /// The first one that is too long.
    pub fn check(self, id: &str, info: Option<&str>) -> Result<(), TooLong> {
        if id.len() > self.id {
            return Err(TooLong::Id(self.id));
        }
        match info {
            Some(info) if info.len() > self.info => Err(TooLong::Info(self.info)),
            _ => Ok(()),
        }
    }

    /// An id as text.
    ///
    /// # Errors
    /// If it is empty, too long, or has control characters.
    pub fn id(self, id: UserId) -> Result<String, Unfit> {
        let id = id.into_text();
        self.check(&id, None).map_err(Unfit::TooLong)?;
        match channel_name::user(&channel_name::of_user(&id)) {
            Some(_) => Ok(id),
            None => Err(Unfit::Malformed),
        }
    }

    /// An info on one line.
    ///
    /// # Errors
    /// If it is too long, or not JSON that every parser accepts: PHP and others reject a whole list of members if
    /// one has half a surrogate pair or is nested hundreds deep.
    pub fn info(self, info: &RawValue) -> Result<String, Unfit> {
        let info = one_line(info.get());
        if info.len() > self.info {
            return Err(Unfit::TooLong(TooLong::Info(self.info)));
        }
        match serde_json::from_str::<Value>(&info) {
            Ok(_) => Ok(info),
            Err(_) => Err(Unfit::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const BOUNDS: UserBounds = UserBounds { id: 9, info: 20 };

    fn info(json: &str) -> Result<String, Unfit> {
        BOUNDS.info(serde_json::from_str(json).unwrap())
    }

    fn id(json: &Value) -> Result<String, Unfit> {
        BOUNDS.id(serde_json::from_value(json.clone()).unwrap())
    }

    #[test]
    fn info_is_bounded_on_one_line_and_valid_for_every_parser() {
        assert_eq!(
            info("{\"a\":\r\n [1, \"\\n\"]}").unwrap(),
            "{\"a\":   [1, \"\\n\"]}"
        );
        assert!(info(&format!("\"{}\"", "x".repeat(18))).is_ok());
        let long = info(&format!("\"{}\"", "x".repeat(19)));
        assert_eq!(long, Err(Unfit::TooLong(TooLong::Info(20))));
        assert!(info(r#""\ud83d\ude00""#).is_ok());
        let large = UserBounds {
            info: 1000,
            ..BOUNDS
        };
        for harmful in [
            r#""\ud83d""#,
            r#"{"\ude00":1}"#,
            "1e999",
            &format!("{}{}", "[".repeat(200), "]".repeat(200)),
        ] {
            let raw: &RawValue = serde_json::from_str(harmful).unwrap();
            assert_eq!(large.info(raw), Err(Unfit::Malformed), "{harmful}");
        }
    }

    #[test]
    fn an_id_is_a_string_or_an_integer_within_bounds() {
        assert_eq!(id(&json!(-7)).as_deref(), Ok("-7"));
        assert_eq!(id(&json!("seven")).as_deref(), Ok("seven"));
        assert_eq!(id(&json!("123456789")).as_deref(), Ok("123456789"));
        let long = Err(Unfit::TooLong(TooLong::Id(9)));
        assert_eq!(id(&json!("1234567890")), long);
        assert_eq!(id(&json!(1_234_567_890)), long);
        for malformed in ["", "a\nb", "\u{85}"] {
            assert_eq!(
                id(&json!(malformed)),
                Err(Unfit::Malformed),
                "{malformed:?}"
            );
        }
    }

    proptest! {
        /// As long as they are allowed, both are, and the user has a channel.
        #[test]
        fn what_is_taken_is_within_the_bounds(text in ".{0,12}", most in 1..=MAX_ID) {
            let bounds = UserBounds { id: most, info: most };
            if let Ok(id) = bounds.id(serde_json::from_value(json!(text)).unwrap()) {
                prop_assert!(id == text && id.len() <= most);
                prop_assert_eq!(channel_name::published(&channel_name::of_user(&id)), Ok(()));
            }
            let raw = RawValue::from_string(json!(text).to_string()).unwrap();
            match bounds.info(&raw) {
                Ok(info) => prop_assert!(info.len() <= most && !info.contains('\n')),
                Err(why) => prop_assert_eq!(why, Unfit::TooLong(TooLong::Info(most))),
            }
        }
    }
}
