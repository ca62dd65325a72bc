//! Encryption and decryption of packets.
//!
//! # Layout
//!
//! The text begins in the third lane of the first vector. So the counters of a
//! vector are a multiple of four and the next three, which are combined with
//! the nonce by exclusive or; the tag mask is what counter 1 in the second lane
//! gives; and the block of associated data is hashed in that lane. The first
//! lane is free: in short packets the block of lengths is hashed there.
//!
//! # Order of work
//!
//! Vectors go through the AES rounds in groups. When sealing, the ciphertext of
//! one group is hashed between the AES rounds of the next. When opening, the
//! ciphertext is hashed between the AES rounds for its own keystream.

use core::arch::x86_64::{
    __m128i, __m256i, _bzhi_u32, _mm_maskz_loadu_epi8, _mm_set_epi64x, _mm_setzero_si128, _mm_xor_si128,
    _mm256_loadu_si256, _mm256_mask_loadu_epi8, _mm256_mask_storeu_epi8, _mm256_maskz_loadu_epi8, _mm256_set_m128i,
    _mm256_storeu_si256, _mm512_extracti32x4_epi32, _mm512_extracti64x4_epi64, _mm512_inserti64x4, _mm512_loadu_si512,
    _mm512_maskz_set1_epi32,
};

use super::hash::Hash;
use super::order::{forget, keep_together};
use super::{
    BLOCK, LANES, MAX_POWER, NONCE_LEN, Span, TAG_LEN, Tables, Vector, WIDTH, aes_last_round, aes_round, hash_parts,
    keep_first, length_block, load, load_joined, load_partial, round_key, splat, store, store_block, store_partial,
    swap_block_bytes, swap_bytes, xor, zero,
};

/// Vectors that go through the AES rounds together.
const GROUP: usize = 8;
const _: () = assert!((MAX_POWER - 1).is_multiple_of(GROUP * LANES));

/// Bytes in the lanes before the text.
const HEAD: usize = 2 * BLOCK;

/// Counters of a group of vectors, relative to that of its first lane.
#[repr(C, align(64))]
struct Counters([[[u32; 4]; LANES]; GROUP]);

static COUNTERS: Counters = Counters({
    let mut counters = [[[0; 4]; LANES]; GROUP];
    let mut count: usize = 0;
    while count < GROUP * LANES {
        #[expect(clippy::cast_possible_truncation, reason = "below 32")]
        let number = count as u32;
        counters[count / LANES][count % LANES][3] = number.to_be();
        count += 1;
    }
    counters
});

/// The AES rounds between the first and the last key, with other work after each.
/// Unrolled here, because the compiler does not do it for so many.
macro_rules! aes_rounds {
    ($keys:ident, $tables:ident, $state:ident, $hash:ident, |$round:ident| $work:block) => {
        aes_rounds!($keys, $tables, $state, $hash, $round, $work: 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    ($keys:ident, $tables:ident, $state:ident, $hash:ident, $round:ident, $work:block: $($number:literal)*) => {
        $(
            if $number < $keys - 1 {
                let key = round_key($tables, $number);
                unrolled!(8: $state.len(), |index| {
                    $state[index] = aes_round($state[index], key);
                });
                let $round: usize = $number;
                $work
                keep_together(&mut $state, &mut $hash.sum);
            }
        )*
    };
}

/// What stays the same for a packet.
struct Packet<'t> {
    tables: &'t Tables,
    /// The nonce with counter 0, and the first round key.
    base: Vector,
    /// The block of lengths and that of associated data, byte-reversed.
    edges: __m256i,
}

impl Packet<'_> {
    /// The state before the first AES round, for group `number` of a packet.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    fn start<const VECTORS: usize>(&self, number: usize) -> [Vector; VECTORS] {
        #[expect(clippy::cast_possible_truncation, reason = "the counter wraps")]
        let count = (number * GROUP * LANES) as u32;
        let base = xor(self.base, _mm512_maskz_set1_epi32(0x8888, count.to_be().cast_signed()));
        let mut state = [zero(); VECTORS];
        let counters = &forget(&COUNTERS).0;
        unrolled!(8: VECTORS, |index| {
            // SAFETY: the array has 64 bytes.
            state[index] = xor(base, unsafe { _mm512_loadu_si512(counters[index].as_ptr().cast()) });
        });
        state
    }

    /// What to hash of the first vector, of which `result` has the ciphertext.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    fn with_edges(&self, result: Vector) -> Vector {
        _mm512_inserti64x4::<0>(swap_bytes(result), self.edges)
    }
}

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
    let offset = if FIRST { HEAD } else { 0 };
    let mut state = packet.start::<VECTORS>(number);
    let mut text = [zero(); VECTORS];
    let mut data = [zero(); VECTORS];
    unrolled!(8: VECTORS, |index| {
        if FIRST && index == 0 {
            // SAFETY: the span is valid.
            text[index] = first_vector(unsafe { load_half(span, VECTORS > 1) });
            data[index] = packet.with_edges(text[index]);
        } else {
            // SAFETY: as many vectors as the span has.
            text[index] = unsafe { load_text(span.advance(index * WIDTH - offset), index + 1 < VECTORS) };
            data[index] = swap_bytes(text[index]);
        }
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
        let mut result = aes_last_round(state[index], xor(text[index], last_key));
        if FIRST && index == 0 {
            mask = tag_mask(result);
            // SAFETY: the span is valid.
            unsafe { store_half(span, VECTORS > 1, result) };
            if VECTORS == 1 {
                result = keep_first(result, HEAD + span.len);
            }
            data[index] = packet.with_edges(result);
        } else {
            // SAFETY: as many vectors as the span has.
            let rest = unsafe { span.advance(index * WIDTH - offset) };
            if index + 1 < VECTORS {
                // SAFETY: a whole vector of the span.
                unsafe { store(rest.output, result) };
            } else {
                // SAFETY: the rest of the span.
                unsafe { store_partial(rest.output, rest.len, result) };
                result = keep_first(result, rest.len);
            }
            data[index] = swap_bytes(result);
        }
    });
    if SEAL {
        unrolled!(8: VECTORS.div_ceil(2), |pair| {
            hash.add_pair::<VECTORS, FIRST>(tables, &data, 2 * pair);
        });
    }
    _mm_xor_si128(swap_block_bytes(hash.finish()), mask)
}

/// The first vector of a packet, with the first text bytes.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn first_vector(text: __m256i) -> Vector {
    _mm512_inserti64x4::<1>(zero(), text)
}

/// What counter 1 gave in the first vector.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn tag_mask(result: Vector) -> __m128i {
    _mm512_extracti32x4_epi32::<1>(result)
}

/// Reads the first text bytes, as many as fit in the first vector; there are enough if
/// `whole`, else what there is, followed by zeros.
///
/// # Safety
///
/// The span must be valid and, if `whole`, longer than `HEAD`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_half(span: Span, whole: bool) -> __m256i {
    // SAFETY: each address has as many bytes as are read; the masked loads touch nothing else.
    unsafe {
        if whole && span.split >= HEAD {
            return _mm256_loadu_si256(span.source.cast());
        }
        let from_source = first_half_bytes(span.split);
        let from_output = first_half_bytes(span.len) & !from_source;
        let half = _mm256_maskz_loadu_epi8(from_source, span.source.cast());
        _mm256_mask_loadu_epi8(half, from_output, span.output.cast())
    }
}

/// Writes the first text bytes, from the first vector.
///
/// # Safety
///
/// The span must be valid and, if `whole`, longer than `HEAD`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store_half(span: Span, whole: bool, result: Vector) {
    let half = _mm512_extracti64x4_epi64::<1>(result);
    // SAFETY: the output has as many bytes as are written; the masked store touches nothing else.
    unsafe {
        if whole {
            _mm256_storeu_si256(span.output.cast(), half);
        } else {
            _mm256_mask_storeu_epi8(span.output.cast(), first_half_bytes(span.len), half);
        }
    }
}

/// The mask of the first `len` bytes, or of all.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn first_half_bytes(len: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "at most HEAD")]
    let len = len.min(HEAD) as u32;
    _bzhi_u32(u32::MAX, len)
}

/// Reads the vector that a span starts with: a whole one if `whole`, else what
/// is left of the span, followed by zeros.
///
/// # Safety
///
/// The span must be valid and, if `whole`, have that many bytes.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_text(span: Span, whole: bool) -> Vector {
    // SAFETY: each address has as many bytes as are read.
    unsafe {
        if whole && span.split >= WIDTH {
            load(span.source)
        } else if span.split >= span.len {
            load_partial(span.source, span.len)
        } else {
            load_joined(span.source, span.split, span.output, span.len.min(WIDTH))
        }
    }
}

/// The counter block with counter 0.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn nonce_block(nonce: &[u8; NONCE_LEN]) -> __m128i {
    let [a, b, c, d, rest @ ..] = *nonce;
    let rest = u64::from_le_bytes(rest);
    let low = rest << 32 | u64::from(u32::from_le_bytes([a, b, c, d]));
    _mm_set_epi64x((rest >> 32).cast_signed(), low.cast_signed())
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
    let head = if aad.len() <= BLOCK {
        // SAFETY: the slice has this length; the masked load touches nothing else.
        swap_block_bytes(unsafe { _mm_maskz_loadu_epi8(first_block_bytes(aad.len()), aad.as_ptr().cast()) })
    } else {
        hash_parts(tables, &[aad]).0
    };
    let base = xor(splat(nonce_block(nonce)), round_key(tables, 0));
    let mut hash = Hash::new(span.len.div_ceil(BLOCK) + 3);
    let none = [zero(); GROUP];
    if span.len + HEAD <= GROUP * WIDTH {
        let packet = Packet { tables, base, edges: _mm256_set_m128i(head, lengths) };
        let before = (head, lengths);
        // SAFETY: the span is valid and fits in the group.
        return unsafe { any_last_group::<KEYS, SEAL, true>(&packet, hash, &none, 0, before, span) };
    }
    let packet = Packet { tables, base, edges: _mm256_set_m128i(head, _mm_setzero_si128()) };
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
    let base = xor(splat(nonce_block(nonce)), round_key(tables, 0));
    let packet = Packet { tables, base, edges: _mm256_set_m128i(head, lengths) };
    let span = Span::in_place(&mut []);
    // SAFETY: an empty span is valid.
    let tag =
        unsafe { last_group::<KEYS, true, true, 1>(&packet, Hash::new(3), &[zero(); GROUP], 0, (head, lengths), span) };
    let mut bytes = [0; TAG_LEN];
    store_block(&mut bytes, tag);
    bytes
}

/// The mask of the first `len` bytes of a block.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn first_block_bytes(len: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "at most a block")]
    let mask = first_half_bytes(len) as u16;
    mask
}
