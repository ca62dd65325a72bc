//! The kernel instance for 256-bit vectors.

use core::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_storeu_si128, _mm256_aesdec_epi128, _mm256_aesdeclast_epi128, _mm256_aesenc_epi128,
    _mm256_aesenclast_epi128, _mm256_broadcastsi128_si256, _mm256_castsi256_si128, _mm256_loadu_si256,
    _mm256_loadu2_m128i, _mm256_permute2x128_si256, _mm256_setzero_si256, _mm256_storeu_si256, _mm256_storeu2_m128i,
    _mm256_xor_si256, _mm256_zextsi128_si256,
};

use super::RoundKeys;
use super::lanes::{Lanes, MAX_LANES};
use crate::cbc::{BLOCK, Job};

type Vector = __m256i;

/// Blocks in a vector.
const WIDE: usize = 2;
/// Vectors that are worked on at a time.
const GROUP: usize = 8;

cbc_lanes!("aes,avx2,vaes");
cbc_kernel!("aes,avx2,vaes", 1 2 3 4 5 6 7 8);

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

/// The sum; `second` is the last to be added.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn xor3(first: Vector, second: Vector, third: Vector) -> Vector {
    _mm256_xor_si256(_mm256_xor_si256(first, third), second)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn splat(bytes: &[u8; BLOCK]) -> Vector {
    // SAFETY: the reference is to 16 readable bytes; the load is unaligned.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn encrypt_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn encrypt_last_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesenclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn decrypt_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesdec_epi128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn decrypt_last_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesdeclast_epi128(state, key)
}

/// The blocks that precede those of `current`, if `previous` came before it.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn shift_in(previous: Vector, current: Vector) -> Vector {
    _mm256_permute2x128_si256::<0x21>(previous, current)
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDE` blocks must be readable.
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
/// `WIDE` blocks must be writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm256_storeu_si256(bytes.cast(), vector) }
}

/// Reads the first `count` blocks of a vector.
///
/// # Safety
///
/// `count`, from 1 to `WIDE`, blocks must be readable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn load_blocks(bytes: *const u8, count: usize) -> Vector {
    if count < WIDE {
        // SAFETY: one block is readable by contract.
        return _mm256_zextsi128_si256(unsafe { _mm_loadu_si128(bytes.cast()) });
    }
    // SAFETY: readable by contract.
    unsafe { load(bytes) }
}

/// Writes the first `count` blocks of a vector.
///
/// # Safety
///
/// `count`, from 1 to `WIDE`, blocks must be writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn store_blocks(bytes: *mut u8, vector: Vector, count: usize) {
    // SAFETY: writable by contract.
    unsafe {
        if count < WIDE {
            _mm_storeu_si128(bytes.cast(), _mm256_castsi256_si128(vector));
        } else {
            store(bytes, vector);
        }
    }
}

/// Reads a block of each of `WIDE` lanes, `offset` bytes into it.
///
/// # Safety
///
/// `WIDE` pointers must be readable, and a block at `offset` of each.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn gather(sources: *const *const u8, offset: usize) -> Vector {
    // SAFETY: readable by contract; the loads are unaligned.
    unsafe { _mm256_loadu2_m128i((*sources.add(1)).add(offset).cast(), (*sources).add(offset).cast()) }
}

/// Writes a block of each of `WIDE` lanes, `offset` bytes into it.
///
/// # Safety
///
/// `WIDE` pointers must be readable, and a block at `offset` of each writable.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn scatter(outputs: *const *mut u8, offset: usize, vector: Vector) {
    // SAFETY: writable by contract; the stores are unaligned.
    unsafe {
        _mm256_storeu2_m128i((*outputs.add(1)).add(offset).cast(), (*outputs).add(offset).cast(), vector);
    }
}
