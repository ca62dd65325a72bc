//! The kernel instance for 128-bit vectors.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_loadu_si128, _mm_set_epi32, _mm_setzero_si128,
    _mm_shuffle_epi8, _mm_storeu_si128, _mm_xor_si128,
};

use super::{BLOCK, RoundKeys, Span};
use crate::gcm::x86::block::{byte_reversal, load_block, load_partial_block, store_partial_block, swap_block_bytes};

type Vector = __m128i;

/// Blocks in a vector.
const WIDE: usize = 1;
/// Vectors that are worked on at a time.
const GROUP: usize = 8;

ctr_kernel!("aes,avx", 1 2 3 4 5 6 7 8);

#[inline]
#[target_feature(enable = "aes,avx")]
fn zero() -> Vector {
    _mm_setzero_si128()
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm_xor_si128(left, right)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,avx")]
fn splat(block: __m128i) -> Vector {
    block
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,avx")]
unsafe fn load(bytes: *const u8) -> Vector {
    // SAFETY: readable by contract; the load is unaligned.
    unsafe { _mm_loadu_si128(bytes.cast()) }
}

/// Writes a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be writable.
#[inline]
#[target_feature(enable = "aes,avx")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm_storeu_si128(bytes.cast(), vector) }
}

/// Reverses the bytes of each lane.
#[inline]
#[target_feature(enable = "aes,avx")]
fn swap_bytes(vector: Vector) -> Vector {
    _mm_shuffle_epi8(vector, splat(byte_reversal()))
}

/// Adds the counters, modulo 2^32.
#[inline]
#[target_feature(enable = "aes,avx")]
fn add_counters(left: Vector, right: Vector) -> Vector {
    _mm_add_epi32(left, right)
}

/// What the counters advance by from one vector to the next.
#[inline]
#[target_feature(enable = "aes,avx")]
fn step() -> Vector {
    _mm_set_epi32(0, 0, 0, 1)
}

/// What the counters of the first vector exceed the first counter by.
#[inline]
#[target_feature(enable = "aes,avx")]
fn ascending() -> Vector {
    zero()
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn aes_round(state: Vector, key: Vector) -> Vector {
    _mm_aesenc_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn aes_last_round(state: Vector, key: Vector) -> Vector {
    _mm_aesenclast_si128(state, key)
}

/// Reads `len` bytes, at most `WIDTH`; the others are zero.
///
/// # Safety
///
/// `len` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,avx")]
unsafe fn load_partial(bytes: *const u8, len: usize) -> Vector {
    // SAFETY: readable by contract.
    unsafe { load_partial_block(bytes, len) }
}

/// Reads `len` bytes, at most `WIDTH`: the first `split` of them, fewer than
/// `len`, from `source`, the others from `output`; the rest is zero. The bytes
/// from `source` are copied to `output`.
///
/// # Safety
///
/// The bytes must be readable, those of `output` also writable.
#[inline]
#[target_feature(enable = "aes,avx")]
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
#[target_feature(enable = "aes,avx")]
unsafe fn store_partial(bytes: *mut u8, len: usize, vector: Vector) {
    // SAFETY: writable by contract.
    unsafe { store_partial_block(bytes, len, vector) }
}
