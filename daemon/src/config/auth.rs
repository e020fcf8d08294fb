//! `[auth]`: signed tokens, which authorize subscribers of private channels.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// How signed tokens (JWT, HS256 or Ed25519) are verified. Their bearer may subscribe to the channels they name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// File of secrets, one a line, `SECRET` or `NAME SECRET`: the one that PHP's askr.secret_file names.
    /// Read at the start, and again when a token comes that no key verifies. Empty: no token is accepted by a secret.
    pub secret_file: String,
    /// Ed25519 public keys, `KEY` or `KID KEY` in base64url, for tokens signed elsewhere.
    pub public_keys: Vec<String>,
    /// A token with an `aud` must name this. Empty: its application's id.
    pub audience: String,
    /// Whether a token without `aud` is refused.
    pub audience_required: bool,
    /// Seconds before a token expires at which its stream is sent `askr:expiring`.
    pub expiry_notice: u32,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secret_file: String::new(),
            public_keys: Vec::new(),
            audience: String::new(),
            audience_required: false,
            expiry_notice: 30,
        }
    }
}

impl Auth {
    pub fn secret_file(&self) -> Option<&Path> {
        (!self.secret_file.is_empty()).then(|| Path::new(&self.secret_file))
    }
}
