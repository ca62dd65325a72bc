//! The kernel for 512-bit vectors: operations on them, and GHASH of data that is
//! not encrypted. Partial vectors are read and written with byte masks, so
//! nothing outside the buffers is touched.

#[macro_use]
mod packet;
mod crypt;
mod hash;
mod many;
mod order;

use core::arch::x86_64::{
    __m128i, __m512i, __mmask64, _bzhi_u64, _mm_loadu_si128, _mm_set_epi64x, _mm_setzero_si128, _mm_xor_si128,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_xor_si256, _mm512_aesenc_epi128, _mm512_aesenclast_epi128,
    _mm512_broadcast_i32x4, _mm512_castsi512_si256, _mm512_clmulepi64_epi128, _mm512_extracti64x4_epi64,
    _mm512_loadu_si512, _mm512_mask_loadu_epi8, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8,
    _mm512_maskz_mov_epi8, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_epi32, _mm512_storeu_si512,
    _mm512_ternarylogic_epi64, _mm512_xor_si512, _mm512_zextsi128_si512,
};

pub(super) use self::crypt::{crypt, mac};
pub(super) use self::many::crypt_many;
use super::Span;
use super::block::{BLOCK, byte_reversal, length_block, load_block, store_block, swap_block_bytes};
use super::tables::{MAX_POWER, NARROW_POWERS, Tables};
use crate::gcm::{NONCE_LEN, TAG_LEN};

type Vector = __m512i;

/// Blocks in a vector.
const LANES: usize = 4;
/// Vectors in a chunk of the main loop.
const GROUP: usize = 4;

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn zero() -> Vector {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm512_xor_si512(left, right)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn xor3(first: Vector, second: Vector, third: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<0x96>(first, second, third)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn splat(block: __m128i) -> Vector {
    _mm512_broadcast_i32x4(block)
}

/// The block in the first lane, zero in the others.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn from_block(block: __m128i) -> Vector {
    _mm512_zextsi128_si512(block)
}

/// The sum of the lanes.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn fold(vector: Vector) -> __m128i {
    let half = _mm512_extracti64x4_epi64::<1>(vector);
    let half = _mm256_xor_si256(half, _mm512_castsi512_si256(vector));
    let upper = _mm256_extracti128_si256::<1>(half);
    _mm_xor_si128(upper, _mm256_castsi256_si128(half))
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load(bytes: *const u8) -> Vector {
    // SAFETY: readable by contract; the load is unaligned.
    unsafe { _mm512_loadu_si512(bytes.cast()) }
}

/// Writes a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be writable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm512_storeu_si512(bytes.cast(), vector) }
}

/// Reads a block into every lane.
///
/// # Safety
///
/// `BLOCK` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_splat(bytes: *const u8) -> Vector {
    // SAFETY: readable by contract; the load is unaligned.
    splat(unsafe { _mm_loadu_si128(bytes.cast()) })
}

/// The mask of the first `len` bytes, at most `WIDTH`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn first_bytes(len: usize) -> __mmask64 {
    #[expect(clippy::cast_possible_truncation, reason = "at most WIDTH")]
    let len = len as u32;
    _bzhi_u64(u64::MAX, len)
}

/// Reads `len` bytes, at most `WIDTH`; the others are zero.
///
/// # Safety
///
/// `len` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_partial(bytes: *const u8, len: usize) -> Vector {
    // SAFETY: readable by contract; the masked load touches nothing else.
    unsafe { _mm512_maskz_loadu_epi8(first_bytes(len), bytes.cast()) }
}

/// Reads `len` bytes, at most `WIDTH`: the first `split` of them, fewer than
/// `len`, from `source`, the others from `output`; the rest is zero.
///
/// # Safety
///
/// The bytes must be readable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_joined(source: *const u8, split: usize, output: *mut u8, len: usize) -> Vector {
    let from_source = first_bytes(split);
    let from_output = first_bytes(len) & !from_source;
    // SAFETY: readable by contract; the masked loads touch nothing else.
    unsafe {
        let vector = _mm512_maskz_loadu_epi8(from_source, source.cast());
        _mm512_mask_loadu_epi8(vector, from_output, output.cast())
    }
}

/// Writes the first `len` bytes, at most `WIDTH`.
///
/// # Safety
///
/// `len` bytes must be writable.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store_partial(bytes: *mut u8, len: usize, vector: Vector) {
    // SAFETY: writable by contract; the masked store touches nothing else.
    unsafe { _mm512_mask_storeu_epi8(bytes.cast(), first_bytes(len), vector) }
}

/// Clears all but the first `len` bytes, at most `WIDTH`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn keep_first(vector: Vector, len: usize) -> Vector {
    _mm512_maskz_mov_epi8(first_bytes(len), vector)
}

/// Reverses the bytes of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn swap_bytes(vector: Vector) -> Vector {
    _mm512_shuffle_epi8(vector, splat(byte_reversal()))
}

/// Swaps the 64-bit halves of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn swap_halves(vector: Vector) -> Vector {
    _mm512_shuffle_epi32::<0x4e>(vector)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn aes_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn aes_last_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesenclast_epi128(state, key)
}

/// Carry-less products of the chosen halves of each lane.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn carryless<const HALVES: i32>(left: Vector, right: Vector) -> Vector {
    _mm512_clmulepi64_epi128::<HALVES>(left, right)
}

ghash_kernel!("aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl");
