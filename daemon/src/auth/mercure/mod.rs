//! Who may publish to a Mercure hub and subscribe to it: tokens of Mercure 1.0 by their issuers' keys, those of 0.x by keys
//! of their own. No key serves both, so that a token of 0.x, which may be without an end and travel in URLs, never counts
//! where 1.0 is asked for.

pub mod keys;
pub mod tokens;
