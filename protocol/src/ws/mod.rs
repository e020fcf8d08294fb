//! WebSockets (RFC 6455), the transport alone: values and bytes in, values and bytes out. No extension
//! is spoken; compression in particular is not, since an event is encoded once for all its receivers.
//!
//! ```text
//! request ─► handshake ─► 101 │ refusal          bytes ─► decoder ─► messages │ violation
//!                                              payload ─► frame ─► bytes for any number of receivers
//! ```
//!
//! What every protocol over it needs as well: `rate` bounds what comes, `silence` notices who is gone.

pub mod decoder;
pub mod frame;
pub mod handshake;

/// What a connection is closed with when the peer breaks the protocol (RFC 6455, 7.4.1).
pub mod code {
    pub const PROTOCOL: u16 = 1002;
    /// A binary message where only text is understood.
    pub const UNSUPPORTED: u16 = 1003;
    pub const NOT_UTF8: u16 = 1007;
    pub const TOO_LARGE: u16 = 1009;
}
