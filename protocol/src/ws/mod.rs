//! WebSockets (RFC 6455), the transport alone: values and bytes in, values and bytes out. No extension is
//! supported; in particular no compression, since an event is encoded once for all its receivers.
//!
//! ```text
//! request ─► handshake ─► 101 │ refusal          bytes ─► decoder ─► messages │ violation
//!                                              payload ─► frame ─► bytes for any number of receivers
//! ```
//!
//! The protocols over it also use [`rate_limit`](crate::rate_limit) to bound what a client sends, and
//! [`keepalive`](crate::keepalive) to detect dead connections.

pub mod decoder;
pub mod frame;
pub mod handshake;

/// Close codes for a peer that violates the protocol (RFC 6455, section 7.4.1).
pub mod code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// A protocol error.
    pub const PROTOCOL: u16 = 1002;
    /// A binary message where only text is accepted.
    pub const UNSUPPORTED: u16 = 1003;
    /// Text that is not UTF-8.
    pub const NOT_UTF8: u16 = 1007;
    /// A message longer than allowed.
    pub const TOO_LARGE: u16 = 1009;
}
