//! The daemon's modules that read what is hostile and need no runtime. The daemon is a program, so they
//! are taken by their files.
#![allow(dead_code)]

#[path = "../../src/auth/answer.rs"]
pub mod answer;
#[path = "../../src/auth/authorizer.rs"]
pub mod authorizer;
#[path = "../../src/auth/info.rs"]
pub mod info;
#[path = "../../src/auth/keys.rs"]
pub mod keys;
#[path = "../../src/auth/mac.rs"]
pub mod mac;
#[path = "../../src/auth/revoked.rs"]
pub mod revoked;
#[path = "../../src/auth/token.rs"]
pub mod token;

/// A user and an info as they may leave the daemon.
pub fn check_user(user: Option<&str>, info: Option<&str>) {
    assert!(user.is_none_or(|user| shared::grant::user(user.as_bytes()).is_ok()));
    if let Some(info) = info {
        assert!(info.len() <= shared::grant::MAX_INFO);
        assert!(!info.contains(['\n', '\r']));
        assert!(serde_json::from_str::<serde_json::Value>(info).is_ok());
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
