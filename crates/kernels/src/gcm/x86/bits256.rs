//! The kernel instance for 256-bit vectors.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm_set_epi64x, _mm_setzero_si128, _mm_xor_si128, _mm256_add_epi32,
    _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_castsi256_si128, _mm256_clmulepi64_epi128, _mm256_cmpgt_epi8, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_set_epi32, _mm256_set_epi64x, _mm256_set_m128i, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_shuffle_epi32, _mm256_storeu_si256, _mm256_xor_si256, _mm256_zextsi128_si256,
};

use super::block::{
    BLOCK, byte_reversal, counter_one, i8_len, length_block, load_block, load_partial_block, store_block,
    store_partial_block, swap_block_bytes,
};
use super::tables::{NARROW_POWERS, Tables};
use super::{Input, Job, Span};
use crate::gcm::{NONCE_LEN, TAG_LEN};

type Vector = __m256i;

/// Blocks in a vector.
const LANES: usize = 2;
/// Vectors in a chunk of the main loop.
const GROUP: usize = 8;

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn zero() -> Vector {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm256_xor_si256(left, right)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn xor3(first: Vector, second: Vector, third: Vector) -> Vector {
    xor(xor(first, second), third)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn splat(block: __m128i) -> Vector {
    _mm256_broadcastsi128_si256(block)
}

/// The block in the first lane, zero in the others.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn from_block(block: __m128i) -> Vector {
    _mm256_zextsi128_si256(block)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn first_lane(vector: Vector) -> __m128i {
    _mm256_castsi256_si128(vector)
}

/// The sum of the lanes.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn fold(vector: Vector) -> __m128i {
    let upper = _mm256_extracti128_si256::<1>(vector);
    _mm_xor_si128(upper, _mm256_castsi256_si128(vector))
}

/// Two blocks as a vector.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn pair(first: __m128i, second: __m128i) -> [Vector; 1] {
    [_mm256_set_m128i(second, first)]
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
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
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm256_storeu_si256(bytes.cast(), vector) }
}

/// Reads a block into every lane.
///
/// # Safety
///
/// `BLOCK` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
unsafe fn load_splat(bytes: *const u8) -> Vector {
    // SAFETY: readable by contract; the load is unaligned.
    splat(unsafe { _mm_loadu_si128(bytes.cast()) })
}

/// Reads `len` bytes, at most `WIDTH`; the others are zero.
///
/// # Safety
///
/// `len` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
unsafe fn load_partial(bytes: *const u8, len: usize) -> Vector {
    if len <= BLOCK {
        // SAFETY: readable by contract.
        return from_block(unsafe { load_partial_block(bytes, len) });
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
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
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
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
unsafe fn store_partial(bytes: *mut u8, len: usize, vector: Vector) {
    let first = first_lane(vector);
    // SAFETY: writable by contract.
    unsafe {
        store_partial_block(bytes, len, first);
        if len > BLOCK {
            let second = _mm256_extracti128_si256::<1>(vector);
            store_partial_block(bytes.add(BLOCK), len - BLOCK, second);
        }
    }
}

/// Clears all but the first `len` bytes, at most `WIDTH`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn keep_first(vector: Vector, len: usize) -> Vector {
    // A byte is kept if its index is below `len`.
    let indexes =
        _mm256_set_epi64x(0x1f1e_1d1c_1b1a_1918, 0x1716_1514_1312_1110, 0x0f0e_0d0c_0b0a_0908, 0x0706_0504_0302_0100);
    let kept = _mm256_cmpgt_epi8(_mm256_set1_epi8(i8_len(len)), indexes);
    _mm256_and_si256(vector, kept)
}

/// Reverses the bytes of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn swap_bytes(vector: Vector) -> Vector {
    _mm256_shuffle_epi8(vector, splat(byte_reversal()))
}

/// Swaps the 64-bit halves of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn swap_halves(vector: Vector) -> Vector {
    _mm256_shuffle_epi32::<0x4e>(vector)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn add_counters(left: Vector, right: Vector) -> Vector {
    _mm256_add_epi32(left, right)
}

/// What the counters advance by from one vector to the next.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn step() -> Vector {
    _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 2)
}

/// The counters of the first vector, less that of the tag mask.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn ascending() -> Vector {
    _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 1)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn aes_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn aes_last_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesenclast_epi128(state, key)
}

/// Carry-less products of the chosen halves of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
fn carryless<const HALVES: i32>(left: Vector, right: Vector) -> Vector {
    _mm256_clmulepi64_epi128::<HALVES>(left, right)
}

gcm_kernel!("aes,pclmulqdq,avx2,vaes,vpclmulqdq", 0 1 2 3 4 5 6 7 8; 9);
