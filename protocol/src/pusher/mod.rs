//! Pusher's protocol, version 7, as pusher-js, Laravel Echo and the servers' libraries speak it. Pure:
//! neither sockets nor clocks nor the bus are known here.
//!
//! ```text
//! GET /app/{key} ─► connect            text ─► message ─► session ─► actions ─► the engine
//!                                                                  encode ◄─────┘  JSON text for frames
//! ```
//!
//! Beside the protocol, and invisible to who does not ask: recovery. A client that connects with `askr=1`
//! finds a top-level `id` with each event of a channel, with `subscription_succeeded` and with `pusher:ping`:
//! a cursor, "I have everything up to here". It gives the last one it saw back when it subscribes again
//! (`"askr":{"cursor":"…"}` in the data; in that of `pusher:signin`, for the user's own channel), and gets
//! what it missed, or `askr:gap` for what is no longer
//! there. There are thus two texts of an event at the most, however many receive it. An event of two
//! channels comes twice with the same `id`, so a client keeps a cursor for each channel, and moves all of
//! them at `pusher:ping`.

pub mod api;
pub mod channel_name;
pub mod connect;
pub mod encode;
pub mod message;
pub mod session;
pub mod signature;

/// Codes of errors and of closing (from 4000 on a client acts on them: 4000 to 4099 it stays away, 4100
/// to 4199 it comes back later, 4200 to 4299 at once, from 4300 it stays away).
pub mod code {
    pub const NO_SUCH_APP: u16 = 4001;
    pub const QUOTA: u16 = 4004;
    pub const VERSION_MALFORMED: u16 = 4006;
    pub const VERSION_UNSUPPORTED: u16 = 4007;
    pub const VERSION_MISSING: u16 = 4008;
    pub const UNAUTHORIZED: u16 = 4009;
    pub const OVER_CAPACITY: u16 = 4100;
    /// Of a restart.
    pub const RECONNECT: u16 = 4200;
    pub const NO_PONG: u16 = 4201;
    pub const INACTIVE: u16 = 4202;
    /// Any other error: what cannot be read.
    pub const OTHER: u16 = 4300;
    pub const RATE: u16 = 4301;
    pub const WATCHLIST: u16 = 4302;
}
