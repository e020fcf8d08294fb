//! Bulk copies to and from memory that other processes may be writing.
//!
//! `memcpy` on racing memory is undefined behaviour, and volatile does not change that. On x86-64 the
//! copy is opaque assembly, which the compiler must assume to do what the instructions do; elsewhere,
//! under loom and under Miri it goes word by word through relaxed atomics. Whether what was read is
//! whole is decided by the stamps, never here.

use crate::prim::AtomicU64;

/// Stores `src` at the start of `dst`. Up to 7 bytes after it, within the same word, are undefined.
///
/// # Panics
/// If `src` does not fit.
#[inline]
pub fn store(dst: &[AtomicU64], src: &[u8]) {
    assert!(src.len() <= dst.len() * 8);
    imp::store(dst, src);
}

/// Appends the first `len` bytes of `src` to `out`.
///
/// # Panics
/// If `src` is shorter.
#[inline]
pub fn load(src: &[AtomicU64], len: usize, out: &mut Vec<u8>) {
    assert!(len <= src.len() * 8);
    out.reserve(len);
    imp::load(src, len, out);
}

/// Asks for the first `len` bytes of `words` to be brought near, for writing. Only a hint: it turns the
/// cache misses of a walk through the ring into something that happens while other work is done.
#[inline(always)]
pub fn prefetch_for_write(words: &[AtomicU64], len: usize) {
    let words = &words[..len.div_ceil(8).min(words.len())];
    for line in words.chunks(8) {
        imp::prefetch_for_write(&line[0]);
    }
}

#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
mod imp {
    use super::AtomicU64;
    use std::arch::asm;

    #[inline]
    pub fn store(dst: &[AtomicU64], src: &[u8]) {
        // SAFETY: the caller checked that `src` fits; the words are interior-mutable, so writing
        // through the shared reference's pointer is allowed.
        unsafe { copy(dst.as_ptr() as *mut u8, src.as_ptr(), src.len()) }
    }

    #[inline]
    pub fn load(src: &[AtomicU64], len: usize, out: &mut Vec<u8>) {
        let filled = out.len();
        // SAFETY: the caller checked the source's length and reserved `len` bytes of capacity; the
        // bytes are initialised by the copy before the length covers them.
        unsafe {
            copy(out.as_mut_ptr().add(filled), src.as_ptr().cast::<u8>(), len);
            out.set_len(filled + len);
        }
    }

    #[inline(always)]
    pub fn prefetch_for_write(word: &AtomicU64) {
        // SAFETY: a prefetch reads and writes nothing and cannot fault; processors without it treat
        // it as a no-op (AMD64 manual, PREFETCHW).
        unsafe {
            asm!("prefetchw [{}]", in(reg) word.as_ptr(), options(nostack, preserves_flags, readonly))
        }
    }

    /// From here on the microcoded copy is faster than a loop of 16-byte moves.
    const REP_FROM: usize = 16 << 10;

    /// # Safety
    /// `src` is readable and `dst` writable for `len` bytes, and they do not overlap.
    #[inline]
    unsafe fn copy(dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: each block touches exactly `len` bytes at both ends, which the caller vouches for;
        // the direction flag is clear on entry to asm blocks (Rust reference, inline assembly rules).
        unsafe {
            if len >= REP_FROM {
                asm!(
                    "rep movsb",
                    inout("rcx") len => _, inout("rdi") dst => _, inout("rsi") src => _,
                    options(nostack, preserves_flags)
                );
            } else if len >= 16 {
                // 32 bytes a turn, then one or two moves that may overlap what is already there.
                asm!(
                    "xor {i:e}, {i:e}",
                    "sub {n}, 32",
                    "jb 3f",
                    "2:",
                    "movups {a}, [{src} + {i}]",
                    "movups {b}, [{src} + {i} + 16]",
                    "movups [{dst} + {i}], {a}",
                    "movups [{dst} + {i} + 16], {b}",
                    "add {i}, 32",
                    "cmp {i}, {n}",
                    "jbe 2b",
                    "3:",
                    "add {n}, 32",
                    "lea {b2}, [{n} - 16]",
                    "cmp {i}, {b2}",
                    "jae 4f",
                    "movups {a}, [{src} + {i}]",
                    "movups [{dst} + {i}], {a}",
                    "4:",
                    "movups {a}, [{src} + {n} - 16]",
                    "movups [{dst} + {n} - 16], {a}",
                    src = in(reg) src, dst = in(reg) dst, n = inout(reg) len => _,
                    i = out(reg) _, b2 = out(reg) _,
                    a = out(xmm_reg) _, b = out(xmm_reg) _,
                    options(nostack)
                );
            } else {
                asm!(
                    "test {n}, {n}",
                    "jz 3f",
                    "2:",
                    "mov {t}, byte ptr [{src} + {n} - 1]",
                    "mov byte ptr [{dst} + {n} - 1], {t}",
                    "dec {n}",
                    "jnz 2b",
                    "3:",
                    src = in(reg) src, dst = in(reg) dst, n = inout(reg) len => _, t = out(reg_byte) _,
                    options(nostack)
                );
            }
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
mod imp {
    use super::AtomicU64;
    use crate::prim::Ordering::Relaxed;

    pub fn prefetch_for_write(_: &AtomicU64) {}

    pub fn store(dst: &[AtomicU64], src: &[u8]) {
        for (word, bytes) in dst.iter().zip(src.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Relaxed);
        }
    }

    pub fn load(src: &[AtomicU64], len: usize, out: &mut Vec<u8>) {
        let end = out.len() + len;
        for word in &src[..len.div_ceil(8)] {
            out.extend_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        out.truncate(end);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_length_around_the_thresholds_round_trips_and_stays_inside() {
        for len in (0..300).chain(16_300..16_400).chain([4096, 100_001]) {
            let words: Vec<AtomicU64> = (0..len / 8 + 3)
                .map(|_| AtomicU64::new(0xA5A5_A5A5_A5A5_A5A5))
                .collect();
            let src: Vec<u8> = (0..len).map(|i| (i * 31 + len) as u8).collect();
            store(&words, &src);
            let mut out = b"kept".to_vec();
            load(&words, len, &mut out);
            assert_eq!(&out[..4], b"kept");
            assert_eq!(&out[4..], src, "{len}");
            let next = len.div_ceil(8);
            assert_eq!(
                words[next].load(crate::prim::Ordering::Relaxed),
                0xA5A5_A5A5_A5A5_A5A5
            );
        }
    }
}
