//! Encryption and decryption of several packets. Short ones with as many vectors go through the AES
//! rounds together, and their hashes are reduced together: one packet alone is too little work for the
//! time that each step takes.

use core::arch::x86_64::_mm512_shuffle_i64x2;

use super::crypt::crypt;
use super::hash::Hash;
use super::packet::{HEAD, Packet, head_block, load_vector, store_vector};
use super::{
    BLOCK, LANES, Products, TAG_LEN, Tables, Vector, WIDTH, aes_last_round, length_block, no_products, reduce,
    round_key, store, swap_bytes, xor, zero,
};
use crate::gcm::x86::{Input, Job, Span};

/// Encrypts (`SEAL`) or decrypts packets with `KEYS` round keys and gives them the tags over their
/// associated data and ciphertexts.
///
/// # Safety
///
/// The spans of the packets must be valid. Where one's output overlaps what another one reads or writes, which of
/// them comes first is not said.
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(in crate::gcm::x86) unsafe fn crypt_many<const KEYS: usize, const SEAL: bool>(
    tables: &Tables,
    mut jobs: &mut [impl Job],
) {
    while let Some(first) = jobs.first() {
        let vectors = vectors_of(first);
        let alike =
            |count: usize| jobs.get(..count).is_some_and(|some| some.iter().all(|job| vectors_of(job) == vectors));
        let together = match vectors {
            1 | 2 if alike(4) => 4,
            3 | 4 if alike(2) => 2,
            _ => 1,
        };
        let (now, later) = core::mem::take(&mut jobs).split_at_mut(together);
        jobs = later;
        // SAFETY: all of these packets have so many vectors; the rest is the caller's contract.
        unsafe {
            match (vectors, now.first_chunk_mut::<4>().is_some()) {
                (1, true) => crypt_short::<KEYS, SEAL, 1, 4>(tables, now),
                (2, true) => crypt_short::<KEYS, SEAL, 2, 4>(tables, now),
                _ => match (vectors, now) {
                    (3, now @ [_, _]) => crypt_short::<KEYS, SEAL, 3, 2>(tables, now),
                    (4, now @ [_, _]) => crypt_short::<KEYS, SEAL, 4, 2>(tables, now),
                    (_, now) => {
                        for job in now {
                            let Input { nonce, aad, span } = job.input();
                            let tag = crypt::<KEYS, SEAL>(tables, nonce, aad, span);
                            job.finish(&tag);
                        }
                    }
                },
            }
        }
    }
}

/// The vectors that a packet's text is in.
#[inline]
fn vectors_of(job: &impl Job) -> usize {
    (job.len() + HEAD).div_ceil(WIDTH)
}

/// Encrypts or decrypts `PACKETS` packets, at most four, of `VECTORS` vectors each.
///
/// # Safety
///
/// As for [`crypt_many`], and the packets must have that many vectors.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn crypt_short<const KEYS: usize, const SEAL: bool, const VECTORS: usize, const PACKETS: usize>(
    tables: &Tables,
    jobs: &mut [impl Job],
) {
    let Some(jobs) = jobs.first_chunk_mut::<PACKETS>() else { return };
    let mut packets = [Packet::empty(tables); PACKETS];
    let mut spans = [Span::in_place(&mut []); PACKETS];
    unrolled!(4: PACKETS, |number| {
        let Input { nonce, aad, span } = jobs[number].input();
        packets[number] = Packet::new(tables, nonce, head_block(tables, aad), length_block(aad.len(), span.len));
        spans[number] = span;
    });
    let mut states = [[zero(); VECTORS]; PACKETS];
    let mut texts = [[zero(); VECTORS]; PACKETS];
    let mut data = [[zero(); VECTORS]; PACKETS];
    let mut sums = [no_products(); LANES];
    unrolled!(4: PACKETS, |number| {
        let packet = &packets[number];
        states[number] = packet.start::<VECTORS>(0);
        unrolled!(4: VECTORS, |index| {
            // SAFETY: the vectors of the span.
            texts[number][index] = unsafe { load_vector::<true, VECTORS>(spans[number], index) };
            data[number][index] = packet.data::<true>(index, texts[number][index]);
        });
    });
    // The sums of the packets are not tied to the rounds.
    let mut none = Hash::new(0);
    let states_together = states.as_flattened_mut();
    aes_rounds!(KEYS, tables, states_together, none, |round| {
        if !SEAL && round.is_multiple_of(2) && round / 2 <= PACKETS {
            sums[round / 2 - 1] = products(tables, spans[round / 2 - 1].len, &data[round / 2 - 1]);
        }
    });
    let last_key = round_key(tables, KEYS - 1);
    let mut firsts = [zero(); LANES];
    unrolled!(4: PACKETS, |number| {
        unrolled!(4: VECTORS, |index| {
            let result = aes_last_round(states[number][index], xor(texts[number][index], last_key));
            if index == 0 {
                firsts[number] = result;
            }
            // SAFETY: the vectors of the span.
            let ciphertext = unsafe { store_vector::<true, VECTORS>(spans[number], index, result) };
            data[number][index] = packets[number].data::<true>(index, ciphertext);
        });
        if SEAL {
            sums[number] = products(tables, spans[number].len, &data[number]);
        }
    });
    let sum = Products {
        low: fold_each(sums.map(|sum| sum.low)),
        middle: fold_each(sums.map(|sum| sum.middle)),
        high: fold_each(sums.map(|sum| sum.high)),
    };
    let result = xor(swap_bytes(reduce(sum)), second_lanes(firsts));
    let mut bytes = [[0; TAG_LEN]; LANES];
    // SAFETY: the array has the bytes of a vector.
    unsafe { store(bytes.as_mut_ptr().cast(), result) };
    for (job, tag) in jobs.iter_mut().zip(&bytes) {
        job.finish(tag);
    }
}

/// The products of a short packet of `len` bytes, all of it.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn products<const VECTORS: usize>(tables: &Tables, len: usize, data: &[Vector; VECTORS]) -> Products {
    let mut hash = Hash::new(len.div_ceil(BLOCK) + 3);
    unrolled!(4: VECTORS.div_ceil(2), |pair| {
        hash.add_pair::<VECTORS, true>(tables, data, 2 * pair);
    });
    hash.sum
}

/// The sum of the lanes of each vector, in a lane of the result.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn fold_each([first, second, third, fourth]: [Vector; LANES]) -> Vector {
    let low = xor(_mm512_shuffle_i64x2::<0x44>(first, second), _mm512_shuffle_i64x2::<0xee>(first, second));
    let high = xor(_mm512_shuffle_i64x2::<0x44>(third, fourth), _mm512_shuffle_i64x2::<0xee>(third, fourth));
    xor(_mm512_shuffle_i64x2::<0x88>(low, high), _mm512_shuffle_i64x2::<0xdd>(low, high))
}

/// The second lane of each vector.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn second_lanes([first, second, third, fourth]: [Vector; LANES]) -> Vector {
    let low = _mm512_shuffle_i64x2::<0x55>(first, second);
    let high = _mm512_shuffle_i64x2::<0x55>(third, fourth);
    _mm512_shuffle_i64x2::<0x88>(low, high)
}
