//! What the fuzz targets share: an application's secret, and what plain readers make of JSON.

use protocol::channel::Kind;
use protocol::client_event::{ClientEvent, Limits};
use protocol::mac;
use protocol::pusher::signature::Credentials;
use protocol::user_bounds::UserBounds;

pub const KEY: &str = "278d425bdf160c739803";
pub const SECRET: &str = "7ad3773142a6692b25b8";

pub fn credentials() -> Credentials {
    Credentials {
        key: KEY.into(),
        secrets: vec![shared::secret::Secret::new(SECRET).expect("long enough")],
    }
}

/// Lower-case digits of the right code.
pub fn code(text: &str) -> String {
    mac::hex(&mac::sign(SECRET.as_bytes(), &[text.as_bytes()]))
}

/// A user and an info as they may leave the daemon.
pub fn check_user(user: Option<&str>, info: Option<&str>, bounds: UserBounds) {
    if let Some(user) = user {
        assert!((1..=bounds.id).contains(&user.len()));
        assert!(!user.contains(char::is_control));
    }
    if let Some(info) = info {
        assert!(info.len() <= bounds.info);
        assert!(!info.contains(['\n', '\r']));
        assert!(serde_json::from_str::<serde_json::Value>(info).is_ok());
    }
}

/// A client event as it would be forwarded, or refused.
pub fn check_client_event(event: &ClientEvent, subscribed: bool) {
    let limits = Limits {
        enabled: true,
        bytes: 200,
        ..Limits::default()
    };
    match event.check(subscribed, &limits) {
        Ok(()) => {
            assert!(subscribed && Kind::of(&event.channel).allows_client_events());
            assert!(event.event.starts_with("client-") && event.data.len() <= limits.bytes);
            assert!(serde_json::from_str::<serde_json::Value>(&event.data).is_ok());
        }
        Err(why) => assert!(!why.to_string().contains(['\n', '\r'])),
    }
}

/// What a plain reader makes of JSON that was accepted. None where it goes deeper, or has a larger number or
/// half a surrogate pair, in a part that means nothing here and is skipped.
pub fn plain(json: &[u8]) -> Option<serde_json::Value> {
    match serde_json::from_slice(json) {
        Ok(value) => Some(value),
        Err(why) => {
            let why = why.to_string();
            let known = ["recursion limit", "number out of range", "hex escape"];
            assert!(known.iter().any(|known| why.contains(known)), "{why}");
            None
        }
    }
}
