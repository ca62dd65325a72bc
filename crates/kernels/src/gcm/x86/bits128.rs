//! The kernel instance for 128-bit vectors, also used for key expansion.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_and_si128, _mm_clmulepi64_si128,
    _mm_cmpgt_epi8, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x, _mm_set1_epi8, _mm_setzero_si128, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128, _mm_xor_si128,
};

use super::block::{
    BLOCK, byte_reversal, counter_one, i8_len, length_block, load_block, load_partial_block, store_block,
    store_partial_block, swap_block_bytes,
};
use super::tables::{NARROW_POWERS, Tables};
use super::{Input, Job, Span};
use crate::gcm::{NONCE_LEN, TAG_LEN};

type Vector = __m128i;

/// Blocks in a vector.
const LANES: usize = 1;
/// Vectors in a chunk of the main loop.
const GROUP: usize = 8;

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn zero() -> Vector {
    _mm_setzero_si128()
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm_xor_si128(left, right)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn xor3(first: Vector, second: Vector, third: Vector) -> Vector {
    xor(xor(first, second), third)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn splat(block: __m128i) -> Vector {
    block
}

/// The block in the first lane, zero in the others.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn from_block(block: __m128i) -> Vector {
    block
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn first_lane(vector: Vector) -> __m128i {
    vector
}

/// The sum of the lanes.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn fold(vector: Vector) -> __m128i {
    vector
}

/// Two blocks as vectors.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn pair(first: __m128i, second: __m128i) -> [Vector; 2] {
    [first, second]
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
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
#[target_feature(enable = "aes,pclmulqdq,avx")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm_storeu_si128(bytes.cast(), vector) }
}

/// Reads a block into every lane.
///
/// # Safety
///
/// `BLOCK` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
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
#[target_feature(enable = "aes,pclmulqdq,avx")]
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
#[target_feature(enable = "aes,pclmulqdq,avx")]
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
#[target_feature(enable = "aes,pclmulqdq,avx")]
unsafe fn store_partial(bytes: *mut u8, len: usize, vector: Vector) {
    // SAFETY: writable by contract.
    unsafe { store_partial_block(bytes, len, vector) }
}

/// Clears all but the first `len` bytes, at most `WIDTH`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn keep_first(vector: Vector, len: usize) -> Vector {
    // A byte is kept if its index is below `len`.
    let indexes = _mm_set_epi64x(0x0f0e_0d0c_0b0a_0908, 0x0706_0504_0302_0100);
    let kept = _mm_cmpgt_epi8(_mm_set1_epi8(i8_len(len)), indexes);
    _mm_and_si128(vector, kept)
}

/// Reverses the bytes of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn swap_bytes(vector: Vector) -> Vector {
    _mm_shuffle_epi8(vector, splat(byte_reversal()))
}

/// Swaps the 64-bit halves of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn swap_halves(vector: Vector) -> Vector {
    _mm_shuffle_epi32::<0x4e>(vector)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn add_counters(left: Vector, right: Vector) -> Vector {
    _mm_add_epi32(left, right)
}

/// What the counters advance by from one vector to the next.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn step() -> Vector {
    _mm_set_epi32(0, 0, 0, 1)
}

/// The counters of the first vector, less that of the tag mask.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn ascending() -> Vector {
    _mm_set_epi32(0, 0, 0, 1)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn aes_round(state: Vector, key: Vector) -> Vector {
    _mm_aesenc_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn aes_last_round(state: Vector, key: Vector) -> Vector {
    _mm_aesenclast_si128(state, key)
}

/// Carry-less products of the chosen halves of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn carryless<const HALVES: i32>(left: Vector, right: Vector) -> Vector {
    _mm_clmulepi64_si128::<HALVES>(left, right)
}

/// Multiplies two elements of the GHASH field, one of them shifted.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
pub(super) fn multiply(left: __m128i, right: __m128i) -> __m128i {
    reduce(add_products(no_products(), left, right))
}

/// Encrypts one block with `KEYS` round keys.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
pub(super) fn encrypt_block<const KEYS: usize>(tables: &Tables, block: __m128i) -> __m128i {
    let mut state = xor(block, round_key(tables, 0));
    for round in 1..KEYS - 1 {
        state = aes_round(state, round_key(tables, round));
    }
    aes_last_round(state, round_key(tables, KEYS - 1))
}

gcm_kernel!("aes,pclmulqdq,avx", 0 1 2 3 4 5 6 7; 8);
