//! WebSockets: what a client sends is read, decoded, and given to the session of its protocol; the session's actions
//! are carried out.
//!
//! ```text
//! socket ─► reading: decoder ─► session (pusher, plain) ─► actions ─► subscriptions, client events, frames
//! ```

mod actions;
mod authorize;
pub mod input;
mod reading;
pub mod session;
mod sign_in;
mod view;
