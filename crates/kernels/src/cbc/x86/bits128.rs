//! The kernel instance for 128-bit vectors.

use core::arch::x86_64::{
    __m128i, _mm_aesdec_si128, _mm_aesdeclast_si128, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_loadu_si128,
    _mm_setzero_si128, _mm_storeu_si128, _mm_xor_si128,
};

use super::RoundKeys;
use super::lanes::{Lanes, MAX_LANES};
use crate::cbc::{BLOCK, Job};

type Vector = __m128i;

/// Blocks in a vector.
const WIDE: usize = 1;
/// Vectors that are worked on at a time.
const GROUP: usize = 8;

cbc_lanes!("aes,avx");
cbc_kernel!("aes,avx", 1 2 3 4 5 6 7 8);

/// Encrypts the jobs one after the other.
#[target_feature(enable = "aes,avx")]
pub(super) fn encrypt_each<const KEYS: usize>(round_keys: &RoundKeys, jobs: &mut [Job<'_>]) {
    let keys = splat_keys::<KEYS>(round_keys);
    for job in jobs {
        let mut chain = splat(&job.iv);
        let (payload, body) = job.prepare();
        for (index, block) in body.iter_mut().enumerate() {
            let text = splat(payload.get(index).unwrap_or(block));
            chain = xor3(chain, text, keys[0]);
            for key in &keys[1..KEYS - 1] {
                chain = encrypt_round(chain, *key);
            }
            chain = encrypt_last_round(chain, keys[KEYS - 1]);
            // SAFETY: the reference is to a writable block.
            unsafe { store(block.as_mut_ptr(), chain) };
        }
    }
}

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

/// The sum; `second` is the last to be added.
#[inline]
#[target_feature(enable = "aes,avx")]
fn xor3(first: Vector, second: Vector, third: Vector) -> Vector {
    _mm_xor_si128(_mm_xor_si128(first, third), second)
}

/// The block in every lane.
#[inline]
#[target_feature(enable = "aes,avx")]
fn splat(bytes: &[u8; BLOCK]) -> Vector {
    // SAFETY: the reference is to 16 readable bytes; the load is unaligned.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn encrypt_round(state: Vector, key: Vector) -> Vector {
    _mm_aesenc_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn encrypt_last_round(state: Vector, key: Vector) -> Vector {
    _mm_aesenclast_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn decrypt_round(state: Vector, key: Vector) -> Vector {
    _mm_aesdec_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn decrypt_last_round(state: Vector, key: Vector) -> Vector {
    _mm_aesdeclast_si128(state, key)
}

/// The blocks that precede those of `current`, if `previous` came before it.
#[inline]
#[target_feature(enable = "aes,avx")]
fn shift_in(previous: Vector, current: Vector) -> Vector {
    let _ = current;
    previous
}

/// Reads a vector.
///
/// # Safety
///
/// `WIDE` blocks must be readable.
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
/// `WIDE` blocks must be writable.
#[inline]
#[target_feature(enable = "aes,avx")]
unsafe fn store(bytes: *mut u8, vector: Vector) {
    // SAFETY: writable by contract; the store is unaligned.
    unsafe { _mm_storeu_si128(bytes.cast(), vector) }
}

/// Reads the first `count` blocks of a vector.
///
/// # Safety
///
/// `count`, from 1 to `WIDE`, blocks must be readable.
#[inline]
#[target_feature(enable = "aes,avx")]
unsafe fn load_blocks(bytes: *const u8, count: usize) -> Vector {
    debug_assert_eq!(count, WIDE);
    // SAFETY: readable by contract.
    unsafe { load(bytes) }
}

/// Writes the first `count` blocks of a vector.
///
/// # Safety
///
/// `count`, from 1 to `WIDE`, blocks must be writable.
#[inline]
#[target_feature(enable = "aes,avx")]
unsafe fn store_blocks(bytes: *mut u8, vector: Vector, count: usize) {
    debug_assert_eq!(count, WIDE);
    // SAFETY: writable by contract.
    unsafe { store(bytes, vector) }
}

/// Reads a block of each of `WIDE` lanes, `offset` bytes into it.
///
/// # Safety
///
/// `WIDE` pointers must be readable, and a block at `offset` of each.
#[inline]
#[target_feature(enable = "aes,avx")]
unsafe fn gather(sources: *const *const u8, offset: usize) -> Vector {
    // SAFETY: readable by contract; the loads are unaligned.
    unsafe { _mm_loadu_si128((*sources).add(offset).cast()) }
}

/// Writes a block of each of `WIDE` lanes, `offset` bytes into it.
///
/// # Safety
///
/// `WIDE` pointers must be readable, and a block at `offset` of each writable.
#[inline]
#[target_feature(enable = "aes,avx")]
unsafe fn scatter(outputs: *const *mut u8, offset: usize, vector: Vector) {
    // SAFETY: writable by contract; the stores are unaligned.
    unsafe {
        _mm_storeu_si128((*outputs).add(offset).cast(), vector);
    }
}
