//! The Mercure protocol, in its versions 1.0 and 0.x: what publishers and subscribers send, what tokens grant, what
//! topics match, and what the hub sends.
//!
//! ```text
//! subscribe, publish    a query or a form, parsed
//!    └─ matcher         a string, a URL pattern or a URI template: which topics it matches
//!         ├─ pattern, template ─► expression
//!         └─ topic      a topic, and its parts as a URL
//! claims ─► grants      what a token says, and what it allows
//! id                    the ids that the hub makes
//! subscription          active subscriptions: their paths and documents
//! stream                what subscribers are sent
//! hub_url, text         what all of these lean on, and `askr.so` too
//! ```

pub mod claims;
mod expression;
pub mod grants;
pub mod id;
pub mod matcher;
mod pattern;
pub mod publish;
pub mod stream;
pub mod subscribe;
pub mod subscription;
mod template;
pub mod topic;

pub use shared::mercure::{hub_url, text};

/// Matchers of a request, and topics of a token.
pub const MAX_MATCHERS: usize = 100;

/// Bytes that a pattern takes once it is compiled, beside its text. A topic has no more than 1,024 bytes, of each of which
/// an expression makes 24.
pub const MAX_PATTERN: usize = 32 << 10;

/// Bytes that an ordinary pattern takes so at the most. A larger one counts as several.
pub const ORDINARY_PATTERN: usize = 4 << 10;

/// Bytes that the topics of a token take once they are compiled.
pub const MAX_GRANTS: usize = 256 << 10;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 1.0.
    One,
    /// The drafts before it.
    Legacy,
}
