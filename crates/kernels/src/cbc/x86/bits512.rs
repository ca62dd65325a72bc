//! The kernel instance for 512-bit vectors.

use core::arch::x86_64::{
    __m512i, __mmask8, _mm_loadu_si128, _mm_storeu_si128, _mm256_loadu2_m128i, _mm512_aesdec_epi128,
    _mm512_aesdeclast_epi128, _mm512_aesenc_epi128, _mm512_aesenclast_epi128, _mm512_alignr_epi64,
    _mm512_broadcast_i32x4, _mm512_castsi256_si512, _mm512_castsi512_si128, _mm512_extracti32x4_epi32,
    _mm512_inserti64x4, _mm512_loadu_si512, _mm512_mask_storeu_epi64, _mm512_maskz_loadu_epi64, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

mod lanes;

use self::lanes::encrypt_lanes;
use super::RoundKeys;
use super::lanes::{Lanes, MAX_LANES};
use crate::cbc::{BLOCK, Job};

type Vector = __m512i;

/// Blocks in a vector.
const WIDE: usize = 4;
/// Vectors that are worked on at a time.
const GROUP: usize = 8;

cbc_kernel!("aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl", 1 2 3 4 5 6 7 8);

#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn zero() -> Vector {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm512_xor_si512(left, right)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn xor3(first: Vector, second: Vector, third: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<0x96>(first, second, third)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn splat(bytes: &[u8; BLOCK]) -> Vector {
    // SAFETY: the reference is to 16 readable bytes; the load is unaligned.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn encrypt_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn encrypt_last_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesenclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn decrypt_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesdec_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn decrypt_last_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesdeclast_epi128(state, key)
}

/// The blocks that precede those of `current`, if `previous` came before it.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn shift_in(previous: Vector, current: Vector) -> Vector {
    _mm512_alignr_epi64::<6>(current, previous)
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDE` blocks must be readable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load(bytes: *const u8) -> Vector {
    // SAFETY: readable by contract; the load is unaligned.
    unsafe { _mm512_loadu_si512(bytes.cast()) }
}

/// Writes a vector.
///
/// # Safety
///
/// `WIDE` blocks must be writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm512_storeu_si512(bytes.cast(), vector) }
}

/// The quadwords of the first `count` blocks.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn mask(count: usize) -> __mmask8 {
    debug_assert!((1..=WIDE).contains(&count));
    u8::MAX >> (2 * (WIDE - count))
}

/// Reads the first `count` blocks of a vector.
///
/// # Safety
///
/// `count`, from 1 to `WIDE`, blocks must be readable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_blocks(bytes: *const u8, count: usize) -> Vector {
    // SAFETY: masked lanes are not read; the others are readable by contract.
    unsafe { _mm512_maskz_loadu_epi64(mask(count), bytes.cast()) }
}

/// Writes the first `count` blocks of a vector.
///
/// # Safety
///
/// `count`, from 1 to `WIDE`, blocks must be writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store_blocks(bytes: *mut u8, vector: Vector, count: usize) {
    // SAFETY: masked lanes are not written; the others are writable by contract.
    unsafe { _mm512_mask_storeu_epi64(bytes.cast(), mask(count), vector) }
}

/// Reads a block of each of `WIDE` lanes, `offset` bytes into it.
///
/// # Safety
///
/// `WIDE` pointers must be readable, and a block at `offset` of each.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn gather(sources: *const *const u8, offset: usize) -> Vector {
    // SAFETY: readable by contract; the loads are unaligned.
    unsafe {
        let low = _mm256_loadu2_m128i((*sources.add(1)).add(offset).cast(), (*sources).add(offset).cast());
        let high = _mm256_loadu2_m128i((*sources.add(3)).add(offset).cast(), (*sources.add(2)).add(offset).cast());
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    }
}

/// Writes a block of each of `WIDE` lanes, `offset` bytes into it.
///
/// # Safety
///
/// `WIDE` pointers must be readable, and a block at `offset` of each writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn scatter(outputs: *const *mut u8, offset: usize, vector: Vector) {
    // SAFETY: writable by contract; the stores are unaligned.
    unsafe {
        _mm_storeu_si128((*outputs).add(offset).cast(), _mm512_castsi512_si128(vector));
        _mm_storeu_si128((*outputs.add(1)).add(offset).cast(), _mm512_extracti32x4_epi32::<1>(vector));
        _mm_storeu_si128((*outputs.add(2)).add(offset).cast(), _mm512_extracti32x4_epi32::<2>(vector));
        _mm_storeu_si128((*outputs.add(3)).add(offset).cast(), _mm512_extracti32x4_epi32::<3>(vector));
    }
}
