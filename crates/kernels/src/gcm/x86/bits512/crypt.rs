//! Encryption and decryption of packets.
//!
//! # Order of work
//!
//! Vectors go through the AES rounds in groups. When sealing, the ciphertext of
//! one group is hashed between the AES rounds of the next. When opening, the
//! ciphertext is hashed between the AES rounds for its own keystream.

use core::arch::x86_64::{
    __m128i, _mm_setzero_si128, _mm_xor_si128, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_extracti64x4_epi64,
};

use super::hash::Hash;
use super::order::forget;
use super::packet::{GROUP, HEAD, Packet, first_vector, head_block, load_vector, store_vector, tag_mask};
use super::{
    BLOCK, NONCE_LEN, Span, TAG_LEN, Tables, Vector, WIDTH, aes_last_round, hash_parts, length_block, load, round_key,
    store, store_block, swap_block_bytes, swap_bytes, xor, zero,
};

/// Encrypts or decrypts a whole group. `hashed` is the group to hash
/// meanwhile, if `HASH` is set: when sealing the previous ciphertext; when opening
/// it is not used. Returns the new ciphertext, byte-reversed, when sealing, and
/// the second block of the keystream.
///
/// # Safety
///
/// `GROUP * WIDTH` bytes, in the `FIRST` group `HEAD` bytes less, must be readable at
/// `source` and writable at `output`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn crypt_group<const KEYS: usize, const SEAL: bool, const FIRST: bool>(
    packet: &Packet<'_>,
    hash: &mut Hash,
    mut hashed: [Vector; GROUP],
    number: usize,
    source: *const u8,
    output: *mut u8,
) -> ([Vector; GROUP], __m128i) {
    let tables = forget(packet.tables);
    let offset = if FIRST { HEAD } else { 0 };
    let mut state = packet.start::<GROUP>(number);
    if !SEAL {
        unrolled!(8: GROUP, |index| {
            hashed[index] = if FIRST && index == 0 {
                // SAFETY: within the group.
                packet.with_edges(first_vector(unsafe { _mm256_loadu_si256(source.cast()) }))
            } else {
                // SAFETY: within the group.
                swap_bytes(unsafe { load(source.add(index * WIDTH - offset)) })
            };
        });
    }
    aes_rounds!(KEYS, tables, state, hash, |round| {
        if !(SEAL && FIRST) && round.is_multiple_of(2) && round <= GROUP {
            hash.add_pair::<GROUP, false>(tables, &hashed, GROUP - round);
        }
    });
    let last_key = round_key(tables, KEYS - 1);
    let mut mask = tag_mask(zero());
    unrolled!(8: GROUP, |index| {
        if FIRST && index == 0 {
            // SAFETY: within the group.
            let text = first_vector(unsafe { _mm256_loadu_si256(source.cast()) });
            let result = aes_last_round(state[index], xor(text, last_key));
            // SAFETY: within the group.
            unsafe { _mm256_storeu_si256(output.cast(), _mm512_extracti64x4_epi64::<1>(result)) };
            mask = tag_mask(result);
            if SEAL {
                hashed[index] = packet.with_edges(result);
            }
        } else {
            // SAFETY: within the group.
            let text = unsafe { load(source.add(index * WIDTH - offset)) };
            let result = aes_last_round(state[index], xor(text, last_key));
            // SAFETY: within the group.
            unsafe { store(output.add(index * WIDTH - offset), result) };
            if SEAL {
                hashed[index] = swap_bytes(result);
            }
        }
    });
    if !(SEAL && FIRST) {
        hash.advance(GROUP);
    }
    (hashed, mask)
}

/// Encrypts or decrypts the last group, of `VECTORS` vectors, the last of which
/// may be partial, and returns the tag. When sealing, and if this is not the
/// `FIRST` group too, `pending` is what is to be hashed of the group before.
///
/// # Safety
///
/// The span must be valid and end in the last vector.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn last_group<const KEYS: usize, const SEAL: bool, const FIRST: bool, const VECTORS: usize>(
    packet: &Packet<'_>,
    mut hash: Hash,
    pending: &[Vector; GROUP],
    number: usize,
    before: (__m128i, __m128i),
    span: Span,
) -> __m128i {
    let tables = packet.tables;
    let (mut mask, lengths) = before;
    let mut state = packet.start::<VECTORS>(number);
    let mut text = [zero(); VECTORS];
    let mut data = [zero(); VECTORS];
    unrolled!(8: VECTORS, |index| {
        // SAFETY: the vectors of the span.
        text[index] = unsafe { load_vector::<FIRST, VECTORS>(span, index) };
        data[index] = packet.data::<FIRST>(index, text[index]);
    });
    aes_rounds!(KEYS, tables, state, hash, |round| {
        if round.is_multiple_of(2) {
            let pair = round / 2;
            if SEAL && !FIRST && pair <= GROUP / 2 {
                hash.add_pair::<GROUP, false>(tables, pending, GROUP - 2 * pair);
            }
            if !SEAL && pair <= VECTORS.div_ceil(2) {
                hash.add_pair::<VECTORS, FIRST>(tables, &data, 2 * (VECTORS.div_ceil(2) - pair));
            }
        }
    });
    if !FIRST {
        if SEAL {
            hash.advance(GROUP);
        }
        hash.add_lengths(tables, lengths);
    }
    let last_key = round_key(tables, KEYS - 1);
    unrolled!(8: VECTORS, |index| {
        let result = aes_last_round(state[index], xor(text[index], last_key));
        if FIRST && index == 0 {
            mask = tag_mask(result);
        }
        // SAFETY: the vectors of the span.
        let ciphertext = unsafe { store_vector::<FIRST, VECTORS>(span, index, result) };
        data[index] = packet.data::<FIRST>(index, ciphertext);
    });
    if SEAL {
        unrolled!(8: VECTORS.div_ceil(2), |pair| {
            hash.add_pair::<VECTORS, FIRST>(tables, &data, 2 * pair);
        });
    }
    _mm_xor_si128(swap_block_bytes(hash.finish()), mask)
}

/// Encrypts (`SEAL`) or decrypts a packet with `KEYS` round keys and returns the
/// tag over the associated data and the ciphertext.
///
/// # Safety
///
/// The span must be valid.
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(in crate::gcm::x86) unsafe fn crypt<const KEYS: usize, const SEAL: bool>(
    tables: &Tables,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    mut span: Span,
) -> [u8; TAG_LEN] {
    let lengths = length_block(aad.len(), span.len);
    let head = head_block(tables, aad);
    let mut hash = Hash::new(span.len.div_ceil(BLOCK) + 3);
    let none = [zero(); GROUP];
    if span.len + HEAD <= GROUP * WIDTH {
        let packet = Packet::new(tables, nonce, head, lengths);
        let before = (head, lengths);
        // SAFETY: the span is valid and fits in the group.
        return unsafe { any_last_group::<KEYS, SEAL, true>(&packet, hash, &none, 0, before, span) };
    }
    let packet = Packet::new(tables, nonce, head, _mm_setzero_si128());
    let bytes = GROUP * WIDTH - HEAD;
    // SAFETY: the span holds more than these bytes.
    let (mut pending, mask) = unsafe {
        span = span.join(bytes);
        let results = crypt_group::<KEYS, SEAL, true>(&packet, &mut hash, none, 0, span.source, span.output);
        span = span.advance(bytes);
        results
    };
    let mut number = 1;
    while span.len > GROUP * WIDTH {
        // SAFETY: the span holds more than a group.
        span = unsafe { span.join(GROUP * WIDTH) };
        while span.len > GROUP * WIDTH && span.split >= GROUP * WIDTH {
            // SAFETY: the span holds more than a group, all of it in the source.
            unsafe {
                (pending, _) =
                    crypt_group::<KEYS, SEAL, false>(&packet, &mut hash, pending, number, span.source, span.output);
                span = span.advance(GROUP * WIDTH);
            }
            number += 1;
        }
    }
    // SAFETY: the span is valid and fits in the group.
    unsafe { any_last_group::<KEYS, SEAL, false>(&packet, hash, &pending, number, (mask, lengths), span) }
}

/// Calls [`last_group`] for the span's number of vectors.
///
/// # Safety
///
/// As for [`last_group`].
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn any_last_group<const KEYS: usize, const SEAL: bool, const FIRST: bool>(
    packet: &Packet<'_>,
    hash: Hash,
    pending: &[Vector; GROUP],
    number: usize,
    before: (__m128i, __m128i),
    span: Span,
) -> [u8; TAG_LEN] {
    let head = if FIRST { HEAD } else { 0 };
    macro_rules! by_vectors {
        ($($vectors:literal)* ; $most:literal) => {
            // SAFETY: the number of vectors is that of the span; the rest is
            // the caller's contract.
            unsafe {
                match (span.len + head).div_ceil(WIDTH) {
                    $($vectors => last_group::<KEYS, SEAL, FIRST, $vectors>(packet, hash, pending, number, before, span),)*
                    _ => last_group::<KEYS, SEAL, FIRST, $most>(packet, hash, pending, number, before, span),
                }
            }
        };
    }
    let tag = by_vectors!(1 2 3 4 5 6 7; 8);
    let mut bytes = [0; TAG_LEN];
    store_block(&mut bytes, tag);
    bytes
}

/// GMAC over the concatenation of `parts`.
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(in crate::gcm::x86) fn mac<const KEYS: usize>(
    tables: &Tables,
    nonce: &[u8; NONCE_LEN],
    parts: &[&[u8]],
) -> [u8; TAG_LEN] {
    let (head, total) = hash_parts(tables, parts);
    let lengths = length_block(total, 0);
    let packet = Packet::new(tables, nonce, head, lengths);
    let span = Span::in_place(&mut []);
    // SAFETY: an empty span is valid.
    let tag =
        unsafe { last_group::<KEYS, true, true, 1>(&packet, Hash::new(3), &[zero(); GROUP], 0, (head, lengths), span) };
    let mut bytes = [0; TAG_LEN];
    store_block(&mut bytes, tag);
    bytes
}
