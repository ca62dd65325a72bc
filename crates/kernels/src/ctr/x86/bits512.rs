//! The kernel instance for 512-bit vectors.

use core::arch::x86_64::{
    __m128i, __m512i, __mmask64, _bzhi_u64, _mm512_add_epi32, _mm512_aesenc_epi128, _mm512_aesenclast_epi128,
    _mm512_broadcast_i32x4, _mm512_loadu_si512, _mm512_mask_loadu_epi8, _mm512_mask_storeu_epi8,
    _mm512_maskz_loadu_epi8, _mm512_set_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_storeu_si512,
    _mm512_xor_si512,
};

use super::{BLOCK, RoundKeys, Span};
use crate::gcm::x86::block::{byte_reversal, load_block, swap_block_bytes};

type Vector = __m512i;

/// Blocks in a vector.
const WIDE: usize = 4;
/// Vectors that are worked on at a time.
const GROUP: usize = 8;

ctr_kernel!("aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl", 1 2 3 4 5 6 7 8);

#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn zero() -> Vector {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm512_xor_si512(left, right)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn splat(block: __m128i) -> Vector {
    _mm512_broadcast_i32x4(block)
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDTH` bytes must be readable.
#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
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
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm512_storeu_si512(bytes.cast(), vector) }
}

/// Reverses the bytes of each lane.
#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn swap_bytes(vector: Vector) -> Vector {
    _mm512_shuffle_epi8(vector, splat(byte_reversal()))
}

/// Adds the counters, modulo 2^32.
#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn add_counters(left: Vector, right: Vector) -> Vector {
    _mm512_add_epi32(left, right)
}

/// What the counters advance by from one vector to the next.
#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn step() -> Vector {
    _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4)
}

/// What the counters of the first vector exceed the first counter by.
#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn ascending() -> Vector {
    _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0)
}

#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn aes_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn aes_last_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesenclast_epi128(state, key)
}

/// The mask of the first `len` bytes, at most `WIDTH`.
#[inline]
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
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
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
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
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
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
#[target_feature(enable = "aes,avx2,bmi2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store_partial(bytes: *mut u8, len: usize, vector: Vector) {
    // SAFETY: writable by contract; the masked store touches nothing else.
    unsafe { _mm512_mask_storeu_epi8(bytes.cast(), first_bytes(len), vector) }
}
