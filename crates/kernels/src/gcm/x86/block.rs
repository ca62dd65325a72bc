//! Operations on single 16-byte blocks that all vector widths share.

use core::arch::x86_64::{
    __m128i, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_loadu_si128, _mm_set_epi64x, _mm_shuffle_epi8, _mm_storeu_si128,
};

use crate::gcm::NONCE_LEN;

/// Bytes in a block.
pub(crate) const BLOCK: usize = 16;

/// Reads a block.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) fn load_block(bytes: &[u8; BLOCK]) -> __m128i {
    // SAFETY: the reference is to 16 readable bytes; the load is unaligned.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Writes a block.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) fn store_block(bytes: &mut [u8; BLOCK], block: __m128i) {
    // SAFETY: the reference is to 16 writable bytes; the store is unaligned.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), block) }
}

/// The shuffle that reverses the bytes of a block.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) fn byte_reversal() -> __m128i {
    _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f)
}

/// Reverses the bytes of a block: the kernel counts and hashes on blocks in
/// this order.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) fn swap_block_bytes(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, byte_reversal())
}

/// The byte-reversed first counter block of a nonce.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) fn counter_one(nonce: &[u8; NONCE_LEN]) -> __m128i {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *nonce;
    let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let low = u64::from(u32::from_be_bytes(rest)) << 32 | 1;
    _mm_set_epi64x(high.cast_signed(), low.cast_signed())
}

/// The byte-reversed last block of GHASH, from lengths in bytes.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) fn length_block(aad: usize, text: usize) -> __m128i {
    let bits = |bytes: usize| (bytes as u64).wrapping_mul(8).cast_signed();
    _mm_set_epi64x(bits(aad), bits(text))
}

/// Reads a block of which only the first `len` bytes exist; the others are
/// zero. `len` may be larger than a block.
///
/// # Safety
///
/// `len` bytes, but at most 16, must be readable at `bytes`.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) unsafe fn load_partial_block(bytes: *const u8, len: usize) -> __m128i {
    // SAFETY: each branch reads bytes below `len` only.
    unsafe {
        if len >= BLOCK {
            return _mm_loadu_si128(bytes.cast());
        }
        if len >= 8 {
            let low = bytes.cast::<u64>().read_unaligned();
            // The last eight bytes, less those that `low` already has.
            let high = bytes.add(len - 8).cast::<u64>().read_unaligned();
            let high = high.checked_shr(shift(BLOCK - len)).unwrap_or(0);
            return _mm_set_epi64x(high.cast_signed(), low.cast_signed());
        }
        let low = if len >= 4 {
            let low = bytes.cast::<u32>().read_unaligned();
            let high = bytes.add(len - 4).cast::<u32>().read_unaligned();
            u64::from(low) | u64::from(high) << shift(len - 4)
        } else if len > 0 {
            let first = u64::from(*bytes);
            let middle = u64::from(*bytes.add(len / 2)) << shift(len / 2);
            let last = u64::from(*bytes.add(len - 1)) << shift(len - 1);
            first | middle | last
        } else {
            0
        };
        _mm_set_epi64x(0, low.cast_signed())
    }
}

/// Writes the first `len` bytes of a block, or all of it if `len` is larger.
///
/// # Safety
///
/// `len` bytes, but at most 16, must be writable at `bytes`.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) unsafe fn store_partial_block(bytes: *mut u8, len: usize, block: __m128i) {
    // SAFETY: each branch writes bytes below `len` only.
    unsafe {
        if len >= BLOCK {
            _mm_storeu_si128(bytes.cast(), block);
            return;
        }
        let mut rest = _mm_cvtsi128_si64(block).cast_unsigned();
        let mut position = bytes;
        if len & 8 != 0 {
            position.cast::<u64>().write_unaligned(rest);
            position = position.add(8);
            rest = _mm_extract_epi64::<1>(block).cast_unsigned();
        }
        if len & 4 != 0 {
            let [a, b, c, d, ..] = rest.to_le_bytes();
            position.cast::<[u8; 4]>().write([a, b, c, d]);
            position = position.add(4);
            rest >>= 32;
        }
        if len & 2 != 0 {
            let [a, b, ..] = rest.to_le_bytes();
            position.cast::<[u8; 2]>().write([a, b]);
            position = position.add(2);
            rest >>= 16;
        }
        if len & 1 != 0 {
            let [a, ..] = rest.to_le_bytes();
            position.write(a);
        }
    }
}

/// Bits in a number of bytes below 16, as a shift distance.
#[inline]
fn shift(bytes: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "below 16")]
    let bytes = bytes as u32;
    bytes * 8
}

/// A number of bytes in a vector, for comparison with byte indexes.
#[inline]
pub(crate) fn i8_len(bytes: usize) -> i8 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
    let bytes = bytes as i8;
    bytes
}
