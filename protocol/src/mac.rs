//! HMAC (RFC 2104), compared in constant time: with SHA-256, and for tokens with others.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384, Sha512};

/// Bytes of an HMAC-SHA256.
pub const BYTES: usize = 32;

fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// A key that signs often: what depends on it alone is computed once.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    pub fn new(key: &[u8]) -> Self {
        Self(keyed(key, &[]))
    }

    /// The HMAC of a text.
    pub fn sign(&self, text: &[u8]) -> [u8; BYTES] {
        self.after(text).finalize().into_bytes().into()
    }

    /// Whether `code` is the HMAC of a text. Compares in constant time.
    pub fn verify(&self, text: &[u8], code: &[u8]) -> bool {
        self.after(text).verify_slice(code).is_ok()
    }

    fn after(&self, text: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(text)
    }
}

/// The HMAC of the concatenated parts.
pub fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; BYTES] {
    keyed(key, parts).finalize().into_bytes().into()
}

/// Whether `code` is the HMAC of the concatenated parts. Compares in constant time.
pub fn verify(key: &[u8], parts: &[&[u8]], code: &[u8]) -> bool {
    keyed(key, parts).verify_slice(code).is_ok()
}

/// A hash that a MAC is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Bytes of the MAC, and the least that a key should have (RFC 7518, section 3.2).
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Whether `code` is the HMAC of `text` with this hash. Compares in constant time.
pub fn verify_with(hash: Hash, key: &[u8], text: &[u8], code: &[u8]) -> bool {
    fn verify<M: Mac + KeyInit>(key: &[u8], text: &[u8], code: &[u8]) -> bool {
        let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(text);
        mac.verify_slice(code).is_ok()
    }
    match hash {
        Hash::Sha256 => verify::<Hmac<Sha256>>(key, text, code),
        Hash::Sha384 => verify::<Hmac<Sha384>>(key, text, code),
        Hash::Sha512 => verify::<Hmac<Sha512>>(key, text, code),
    }
}

/// The bytes in lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The bytes of exactly `N` pairs of hexadecimal digits, in either case. None if `text` is anything else.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_hashes_are_those_of_rfc_4231() {
        // Test case 2.
        let (key, text) = (b"Jefe", b"what do ya want for nothing?");
        for (hash, code) in [
            (
                Hash::Sha256,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                Hash::Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
                 8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                Hash::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            let bytes: Vec<u8> = (0..code.len() / 2)
                .map(|at| u8::from_str_radix(&code[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            assert_eq!(bytes.len(), hash.bytes());
            assert!(verify_with(hash, key, text, &bytes));
            assert!(!verify_with(hash, key, b"other", &bytes));
            assert!(!verify_with(hash, key, text, &bytes[1..]));
        }
    }

    #[test]
    fn it_is_the_hmac_of_rfc_4231() {
        // Test case 2.
        let code = sign(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&code), expected);
        assert!(verify(b"Jefe", &[b"what do ya want for nothing?"], &code));
        assert!(!verify(b"jefe", &[b"what do ya want for nothing?"], &code));
        assert!(!verify(b"Jefe", &[b"what do ya want for nothing!"], &code));
        assert!(!verify(
            b"Jefe",
            &[b"what do ya want for nothing?"],
            &code[..31]
        ));
        assert!(!verify(b"Jefe", &[b"what do ya want for nothing?"], b""));
    }

    #[test]
    fn a_key_that_is_kept_signs_as_any() {
        let key = Key::new(b"Jefe");
        let code = key.sign(b"what do ya want for nothing?");
        assert_eq!(code, sign(b"Jefe", &[b"what do ya want for nothing?"]));
        assert!(key.verify(b"what do ya want for nothing?", &code));
        assert!(!key.verify(b"what do ya want for nothing!", &code));
        assert!(!key.verify(b"what do ya want for nothing?", &code[..31]));
    }

    #[test]
    fn hexadecimal_is_exact() {
        assert_eq!(from_hex::<2>("0aFf"), Some([10, 255]));
        for bad in ["", "0a", "0aFf0", "0aFf00", "0aFg", "+aFf", "é0f"] {
            assert_eq!(from_hex::<2>(bad), None, "{bad}");
        }
    }
}
