//! The keys of a hub. A file has one a line: `ALGORITHM KEY`, or `ALGORITHM KEY ROLE` with the role `publish` or
//! `subscribe`, for which alone it counts then. A key has one algorithm, whatever a token says.

use std::fmt;
use std::path::Path;

use protocol::mac;
use protocol::mac::Hash;
use zeroize::Zeroizing;

use crate::auth::keys::Key as PublicKey;

/// The most keys of one file.
pub const MAX_KEYS: usize = 16;

/// What a token is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Publish,
    Subscribe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hmac(Hash),
    EdDsa,
}

impl Algorithm {
    /// The algorithm named by `alg` in a token's header, or in a file. None: it is not supported.
    pub fn named(alg: &str) -> Option<Self> {
        match alg {
            "HS256" => Some(Self::Hmac(Hash::Sha256)),
            "HS384" => Some(Self::Hmac(Hash::Sha384)),
            "HS512" => Some(Self::Hmac(Hash::Sha512)),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

#[derive(Clone, PartialEq)]
pub struct Key {
    algorithm: Algorithm,
    material: Material,
    /// None: any.
    role: Option<Role>,
}

#[derive(Clone, PartialEq)]
enum Material {
    Secret(Zeroizing<Vec<u8>>),
    Public(Box<PublicKey>),
}

/// Without the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// Whether it may verify a token with this algorithm that is used for this.
    pub fn is_for(&self, algorithm: Algorithm, role: Role) -> bool {
        self.algorithm == algorithm && self.serves(role)
    }

    pub fn serves(&self, role: Role) -> bool {
        self.role.is_none_or(|own| own == role)
    }

    pub fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        match (&self.material, self.algorithm) {
            (Material::Secret(secret), Algorithm::Hmac(hash)) => {
                mac::verify_with(hash, secret, signed, signature)
            }
            (Material::Public(key), _) => key.verify(signed, signature),
            (Material::Secret(_), Algorithm::EdDsa) => false,
        }
    }

    /// Whether both are one key, whatever they are used for.
    pub fn is_same(&self, other: &Self) -> bool {
        self.material == other.material
    }
}

/// Reads a file of keys.
///
/// # Errors
/// One line, which names the file and says what to do, never what is in it.
pub fn read(path: &Path) -> Result<Vec<Key>, String> {
    let text = shared::secret::read_text(path)?;
    parse(&text).map_err(|why| format!("{}: {why}", path.display()))
}

/// The keys of a file's text.
///
/// # Errors
/// The line's number and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = key(line).map_err(|why| format!("line {number}: {why}"))?;
        if keys.len() == MAX_KEYS {
            return Err(format!(
                "line {number}: there may be at most {MAX_KEYS} keys"
            ));
        }
        keys.push(key);
    }
    match keys.is_empty() {
        true => Err("has no key".to_owned()),
        false => Ok(keys),
    }
}

fn key(line: &str) -> Result<Key, String> {
    const FORM: &str = "must be ALGORITHM KEY, or ALGORITHM KEY ROLE; algorithms are HS256, HS384, HS512 and EdDSA, \
                        roles publish and subscribe";
    let mut words = line.split_whitespace();
    let (Some(alg), Some(text), role, None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(FORM.to_owned());
    };
    let algorithm = Algorithm::named(alg).ok_or(FORM)?;
    let role = match role {
        None => None,
        Some("publish") => Some(Role::Publish),
        Some("subscribe") => Some(Role::Subscribe),
        Some(_) => return Err(FORM.to_owned()),
    };
    let material = match algorithm {
        Algorithm::EdDsa => Material::Public(Box::new(PublicKey::public(text)?)),
        Algorithm::Hmac(hash) => {
            let least = hash.bytes();
            if !(least..=512).contains(&text.len()) {
                return Err(format!(
                    "a key of {alg} must have {least} to 512 characters"
                ));
            }
            Material::Secret(Zeroizing::new(text.as_bytes().to_vec()))
        }
    };
    Ok(Key {
        algorithm,
        material,
        role,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_key_has_one_algorithm_and_may_have_one_role() {
        let text = format!(
            "# comment\nHS256 {SECRET}\n\nHS384 {SECRET}{SECRET} publish\nHS512 {SECRET}{SECRET} subscribe"
        );
        let keys = parse(&text).unwrap();
        let hs256 = Algorithm::Hmac(Hash::Sha256);
        assert!(keys[0].is_for(hs256, Role::Publish) && keys[0].is_for(hs256, Role::Subscribe));
        assert!(!keys[0].is_for(Algorithm::Hmac(Hash::Sha384), Role::Publish));
        assert!(keys[1].serves(Role::Publish) && !keys[1].serves(Role::Subscribe));
        assert!(keys[2].serves(Role::Subscribe) && !keys[2].serves(Role::Publish));
        assert!(keys[1].is_same(&keys[2]) && !keys[0].is_same(&keys[1]));
        assert!(!format!("{keys:?}").contains(SECRET));
    }

    #[test]
    fn what_is_no_key_is_named_by_its_line_and_not_shown() {
        let weak = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for (line, why) in [
            ("HS256".to_owned(), "must be ALGORITHM KEY"),
            (SECRET.to_owned(), "must be ALGORITHM KEY"),
            (format!("none {SECRET}"), "must be ALGORITHM KEY"),
            (format!("RS256 {SECRET}"), "must be ALGORITHM KEY"),
            (format!("HS256 {SECRET} both"), "must be ALGORITHM KEY"),
            (format!("HS256 {SECRET} publish x"), "must be ALGORITHM KEY"),
            ("HS256 short".to_owned(), "a key of HS256 must have 32"),
            (format!("HS384 {SECRET}"), "a key of HS384 must have 48"),
            (
                format!("HS512 {SECRET}{}", &SECRET[1..]),
                "a key of HS512 must have 64",
            ),
            (format!("EdDSA {SECRET}"), "must be an Ed25519 public key"),
            (format!("EdDSA {weak}"), "is a weak Ed25519 key"),
        ] {
            let found = parse(&format!("\n{line}")).unwrap_err();
            assert!(
                found.starts_with(&format!("line 2: {why}")),
                "{line}: {found}"
            );
            assert!(!found.contains(SECRET), "{found}");
        }
        assert_eq!(parse("# none").unwrap_err(), "has no key");
        assert!(parse(&format!("HS256 {SECRET}\n").repeat(17)).is_err());
    }
}
