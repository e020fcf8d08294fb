//! Pusher's protocol, version 7, as implemented by pusher-js, Laravel Echo and the server libraries. Pure: it
//! knows no sockets, no clock and no hub.
//!
//! ```text
//! GET /app/{key} ─► connect            text ─► message ─► session ─► actions ─► the engine
//!                                                                  encode ◄─────┘  JSON text for frames
//! ```
//!
//! Recovery is an extension, invisible to clients that do not ask for it. A client that connects with `askr=1`
//! receives a top-level `id` with each event of a channel, with `subscription_succeeded` and with
//! `pusher:ping`: a cursor, "I have everything up to here". When it subscribes again, it sends back the last
//! one it received (`"askr":{"cursor":"…"}` in the data; in that of `pusher:signin`, for the user's own
//! channel), and receives the events it missed, or `askr:gap` for those that are no longer held. So an event
//! has at most two encodings, however many clients receive it. An event of two channels is sent twice with
//! the same `id`, so a client keeps a cursor for each channel, and moves all of them at `pusher:ping`.

pub mod api;
pub mod channel_name;
pub mod connect;
pub mod encode;
pub mod message;
pub mod session;
pub mod signature;

/// Error codes and close codes, from Pusher's documentation of the protocol. A client acts on them: with 4000 to
/// 4099 it does not reconnect, with 4100 to 4199 it reconnects after a pause, with 4200 to 4299 at once, and
/// from 4300 it does not reconnect.
pub mod code {
    /// No application has the key.
    pub const NO_SUCH_APP: u16 = 4001;
    /// The application has as many connections as it may have.
    pub const QUOTA: u16 = 4004;
    pub const VERSION_MALFORMED: u16 = 4006;
    pub const VERSION_UNSUPPORTED: u16 = 4007;
    /// A signin failed, or the application disconnected the user.
    pub const UNAUTHORIZED: u16 = 4009;
    /// The daemon has as many connections as it may have, or a channel is full.
    pub const OVER_CAPACITY: u16 = 4100;
    /// The daemon restarts, or the client has to reconnect for another reason.
    pub const RECONNECT: u16 = 4200;
    /// A ping was not answered in time.
    pub const NO_PONG: u16 = 4201;
    /// There was no event for too long.
    pub const INACTIVE: u16 = 4202;
    /// Any other error: malformed messages.
    pub const OTHER: u16 = 4300;
    /// Too many messages or client events a second.
    pub const RATE: u16 = 4301;
    /// A watchlist that is too long.
    pub const WATCHLIST: u16 = 4302;
}
