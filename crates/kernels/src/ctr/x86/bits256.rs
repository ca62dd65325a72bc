//! The kernel instance for 256-bit vectors.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_aesenc_epi128, _mm256_aesenclast_epi128,
    _mm256_broadcastsi128_si256, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_set_epi32, _mm256_set_m128i, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_storeu_si256,
    _mm256_xor_si256, _mm256_zextsi128_si256,
};

use super::{BLOCK, RoundKeys, Span};
use crate::gcm::x86::block::{byte_reversal, load_block, load_partial_block, store_partial_block, swap_block_bytes};

type Vector = __m256i;

/// Blocks in a vector.
const WIDE: usize = 2;
/// Vectors that are worked on at a time.
const GROUP: usize = 8;

ctr_kernel!("aes,avx2,vaes", 1 2 3 4 5 6 7 8);

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn zero() -> Vector {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm256_xor_si256(left, right)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn splat(block: __m128i) -> Vector {
    _mm256_broadcastsi128_si256(block)
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn load(bytes: *const u8) -> Vector {
    // SAFETY: readable by contract; the load is unaligned.
    unsafe { _mm256_loadu_si256(bytes.cast()) }
}

/// Writes a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm256_storeu_si256(bytes.cast(), vector) }
}

/// Reverses the bytes of each lane.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn swap_bytes(vector: Vector) -> Vector {
    _mm256_shuffle_epi8(vector, splat(byte_reversal()))
}

/// Adds the counters, modulo 2^32.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn add_counters(left: Vector, right: Vector) -> Vector {
    _mm256_add_epi32(left, right)
}

/// What the counters advance by from one vector to the next.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn step() -> Vector {
    _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 2)
}

/// What the counters of the first vector exceed the first counter by.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn ascending() -> Vector {
    _mm256_set_epi32(0, 0, 0, 1, 0, 0, 0, 0)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn aes_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn aes_last_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesenclast_epi128(state, key)
}

/// Reads `len` bytes, at most `WIDTH`; the others are zero.
///
/// # Safety
///
/// `len` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn load_partial(bytes: *const u8, len: usize) -> Vector {
    if len <= BLOCK {
        // SAFETY: readable by contract.
        return _mm256_zextsi128_si256(unsafe { load_partial_block(bytes, len) });
    }
    // SAFETY: readable by contract; the first block is whole.
    unsafe {
        let first = _mm_loadu_si128(bytes.cast());
        let second = load_partial_block(bytes.add(BLOCK), len - BLOCK);
        _mm256_set_m128i(second, first)
    }
}

/// Reads `len` bytes, at most `WIDTH`: the first `split` of them, fewer than
/// `len`, from `source`, the others from `output`; the rest is zero. The bytes
/// from `source` are copied to `output`.
///
/// # Safety
///
/// The bytes must be readable, those of `output` also writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn load_joined(source: *const u8, split: usize, output: *mut u8, len: usize) -> Vector {
    // SAFETY: readable and writable by contract; `split` is below `len`.
    unsafe {
        store_partial(output, split, load_partial(source, split));
        load_partial(output, len)
    }
}

/// Writes the first `len` bytes, at most `WIDTH`.
///
/// # Safety
///
/// `len` bytes must be writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn store_partial(bytes: *mut u8, len: usize, vector: Vector) {
    // SAFETY: writable by contract; beyond `BLOCK` bytes the first block is whole.
    unsafe {
        store_partial_block(bytes, len, _mm256_castsi256_si128(vector));
        if len > BLOCK {
            store_partial_block(bytes.add(BLOCK), len - BLOCK, _mm256_extracti128_si256::<1>(vector));
        }
    }
}
