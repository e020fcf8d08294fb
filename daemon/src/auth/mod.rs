//! Who may listen to what. Nothing here knows a transport.
//!
//! `tokens` is what a request meets. `token` (by `keys`, against `revoked`) and `pusher` check what was signed, both with `mac`;
//! `http_call` asks the application; `authority` combines them as an application is set up.

pub mod keys;
pub mod mac;
pub mod pusher;
pub mod revoked;
pub mod token;
pub mod tokens;
