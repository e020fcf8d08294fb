//! The checksum of a record: proof that what was read is what one publisher wrote, whole.
//!
//! It guards against damage, not against forgery: whoever may write the ring can compute it. The hash is
//! rapidhash V3 (wyhash's family, 64 bits, SMHasher3 clean), whose output is fixed for good. A CRC-32 took
//! three times as long for 240 bytes, needed carry-less multiplication to do so, and missed one damaged
//! record in 2^32.

use rapidhash::v3::rapidhash_v3;

/// The part that does not depend on the place in the ring, to be made before there is one.
#[inline]
pub fn of(head: &[u8], data: &[u8]) -> u64 {
    // Multiplied, so that head and data cannot change places.
    rapidhash_v3(head).wrapping_mul(ODD_A) ^ rapidhash_v3(data)
}

/// Binds it to the position and to the header words, so that an old body under a new header, or a header
/// moved to another slot, is not accepted.
#[inline]
pub fn bind(body: u64, position: u64, len: u64, arena: u64, published: u64) -> u64 {
    let fixed = len.wrapping_mul(ODD_B) ^ arena.rotate_left(32) ^ published.wrapping_mul(ODD_A);
    let mixed = (fixed ^ body ^ position.wrapping_mul(ODD_B)).wrapping_mul(ODD_A);
    mixed ^ mixed >> 32
}

const ODD_A: u64 = 0x9E37_79B9_7F4A_7C15;
const ODD_B: u64 = 0xC2B2_AE3D_27D4_EB4F;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_single_bit_counts() {
        let (head, data) = ([3u8; 40], [7u8; 300]);
        let whole = bind(of(&head, &data), 1, 2, 3, 4);
        for bit in 0..8 * head.len() {
            let mut damaged = head;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(bind(of(&damaged, &data), 1, 2, 3, 4), whole, "head {bit}");
        }
        for bit in 0..8 * data.len() {
            let mut damaged = data;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(bind(of(&head, &damaged), 1, 2, 3, 4), whole, "data {bit}");
        }
        for bit in 0..64 {
            let flip = 1u64 << bit;
            let sum = of(&head, &data);
            assert_ne!(bind(sum, 1 ^ flip, 2, 3, 4), whole, "position {bit}");
            assert_ne!(bind(sum, 1, 2 ^ flip, 3, 4), whole, "length {bit}");
            assert_ne!(bind(sum, 1, 2, 3 ^ flip, 4), whole, "arena {bit}");
            assert_ne!(bind(sum, 1, 2, 3, 4 ^ flip), whole, "time {bit}");
        }
        assert_ne!(of(&head, &data), of(&data, &head));
    }

    /// What lies in a ring must mean the same to the next version.
    #[test]
    fn the_function_is_fixed() {
        assert_eq!(of(b"head", b"data"), 7_398_069_028_198_764_959);
        assert_eq!(bind(1, 2, 3, 4, 5), 16283865240698078238);
    }
}
