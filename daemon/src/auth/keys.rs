//! The keys that verify tokens. A key belongs to one algorithm, so that a token cannot choose to have its
//! signature verified in a way that the key is not meant for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use protocol::mac;
use shared::secret::{self, NamedSecret, Secret};

/// The most keys of one application.
pub const MAX_KEYS: usize = 16;

/// The supported algorithms. No other (`none`, RS256, ES256, …) is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256 (RFC 7518, section 3.2).
    Hs256,
    /// Ed25519 (RFC 8037; RFC 9864 calls it `Ed25519`).
    Ed25519,
}

impl Algorithm {
    /// The algorithm named by `alg` in a token's header. None: it is not supported.
    pub fn named(alg: &str) -> Option<Self> {
        match alg {
            "HS256" => Some(Self::Hs256),
            "EdDSA" | "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }
}

/// A key, with its id (`kid`) if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    kid: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq)]
enum Material {
    Secret(Secret),
    Public(Box<VerifyingKey>),
}

impl Key {
    /// Parses a public key, `KEY` or `KID KEY`: 32 bytes in base64url, the `x` of a JWK (RFC 8037).
    ///
    /// # Errors
    /// What the key must be.
    pub fn public(text: &str) -> Result<Self, String> {
        let (kid, key) = match text.trim().split_once(' ') {
            Some((kid, key)) => (Some(secret::check_kid(kid)?), key.trim_start()),
            None => (None, text.trim()),
        };
        let bad = || "must be an Ed25519 public key: 32 bytes in base64url, 43 characters";
        let bytes = URL_SAFE_NO_PAD.decode(key).map_err(|_| bad())?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| bad())?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| bad())?;
        // Anybody can forge signatures of a key of small order.
        if key.is_weak() {
            return Err("is a weak Ed25519 key".into());
        }
        Ok(Self {
            kid,
            material: Material::Public(Box::new(key)),
        })
    }

    /// The only algorithm that this key is used with.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Public(_) => Algorithm::Ed25519,
        }
    }

    /// Whether this key may verify a token with this algorithm and `kid`. A token without `kid` is tried with
    /// every key of its algorithm.
    pub fn is_for(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        self.algorithm() == algorithm && (kid.is_none() || self.kid.as_deref() == kid)
    }

    /// Whether `signature` is this key's signature of `signed`.
    pub fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(secret) => mac::verify(secret.bytes(), &[signed], signature),
            Material::Public(key) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
        }
    }
}

impl From<NamedSecret> for Key {
    fn from(named: NamedSecret) -> Self {
        Self {
            kid: named.kid,
            material: Material::Secret(named.secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_43_characters_with_an_optional_kid() {
        // RFC 8037, appendix A.2.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert!(Key::public(x).unwrap().is_for(Algorithm::Ed25519, None));
        let named = Key::public(&format!("a-1 {x}")).unwrap();
        assert!(named.is_for(Algorithm::Ed25519, Some("a-1")));
        assert!(!named.is_for(Algorithm::Ed25519, Some("a-2")));
        assert!(!named.is_for(Algorithm::Hs256, Some("a-1")));
        let weak = URL_SAFE_NO_PAD.encode([0; 32]);
        for bad in [
            "",
            &x[1..],
            &format!("{x}="),
            &format!("a\u{e9} {x}"),
            &weak,
        ] {
            assert!(Key::public(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_verifies_the_signature_of_rfc_8037() {
        let key = Key::public("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let signature = URL_SAFE_NO_PAD
            .decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
            .unwrap();
        let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        assert!(key.verify(signed, &signature));
        assert!(!key.verify(b"other", &signature));
        assert!(!key.verify(signed, &signature[..63]));
    }
}
