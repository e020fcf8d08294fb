//! HMAC-SHA256 (RFC 2104), compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of an HMAC-SHA256.
pub const BYTES: usize = 32;

fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// The HMAC of the concatenated parts.
pub fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; BYTES] {
    keyed(key, parts).finalize().into_bytes().into()
}

/// Whether `code` is the HMAC of the concatenated parts. Compares in constant time.
pub fn verify(key: &[u8], parts: &[&[u8]], code: &[u8]) -> bool {
    keyed(key, parts).verify_slice(code).is_ok()
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
    fn hexadecimal_is_exact() {
        assert_eq!(from_hex::<2>("0aFf"), Some([10, 255]));
        for bad in ["", "0a", "0aFf0", "0aFf00", "0aFg", "+aFf", "é0f"] {
            assert_eq!(from_hex::<2>(bad), None, "{bad}");
        }
    }
}
