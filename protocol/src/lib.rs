//! The protocols between Askr, browsers and applications: bytes or text and a time in, values and actions out.
//! Pure: no runtime, no sockets, no clock. Leans on `shared` alone.

pub mod channel;
pub mod client_event;
pub mod close_reason;
pub mod ephemeral;
pub mod event_object;
pub mod format;
pub mod gap;
pub mod history;
pub mod json;
pub mod keepalive;
pub mod mac;
pub mod member;
pub mod mercure;
pub mod plain;
pub mod pusher;
pub mod query;
pub mod rate_limit;
pub mod rewind;
pub mod session_guard;
pub mod socket_id;
pub mod sse;
pub mod user_bounds;
pub mod wire_cursor;
pub mod ws;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
