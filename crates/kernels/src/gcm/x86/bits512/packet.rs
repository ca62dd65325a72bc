//! What the kernel works on: packets, laid out in vectors.
//!
//! # Layout
//!
//! The text begins in the third lane of the first vector. So the counters of a
//! vector are a multiple of four and the next three, which are combined with
//! the nonce by exclusive or; the tag mask is what counter 1 in the second lane
//! gives; and the block of associated data is hashed in that lane. The first
//! lane is free: in short packets the block of lengths is hashed there.
//!

use core::arch::x86_64::{
    __m128i, __m256i, _bzhi_u32, _mm_maskz_loadu_epi8, _mm_set_epi64x, _mm256_loadu_si256, _mm256_mask_loadu_epi8,
    _mm256_mask_storeu_epi8, _mm256_maskz_loadu_epi8, _mm256_set_m128i, _mm256_setzero_si256, _mm256_storeu_si256,
    _mm512_extracti32x4_epi32, _mm512_extracti64x4_epi64, _mm512_inserti64x4, _mm512_loadu_si512,
    _mm512_maskz_set1_epi32,
};

use super::order::forget;
use super::{
    BLOCK, LANES, MAX_POWER, NONCE_LEN, Span, Tables, Vector, WIDTH, hash_parts, keep_first, load, load_joined,
    load_partial, round_key, splat, store, store_partial, swap_block_bytes, swap_bytes, xor, zero,
};

/// Vectors that go through the AES rounds together.
pub(super) const GROUP: usize = 8;
const _: () = assert!((MAX_POWER - 1).is_multiple_of(GROUP * LANES));

/// Bytes in the lanes before the text.
pub(super) const HEAD: usize = 2 * BLOCK;

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
                let key = super::round_key($tables, $number);
                unrolled!(8: $state.len(), |index| {
                    $state[index] = super::aes_round($state[index], key);
                });
                let $round: usize = $number;
                $work
                super::order::keep_together(&mut $state[..], &mut $hash.sum);
            }
        )*
    };
}

/// What stays the same for a packet.
#[derive(Clone, Copy)]
pub(super) struct Packet<'t> {
    pub(super) tables: &'t Tables,
    /// The nonce with counter 0, and the first round key.
    base: Vector,
    /// The block of lengths and that of associated data, byte-reversed.
    edges: __m256i,
}

impl<'t> Packet<'t> {
    /// A packet whose associated data and lengths come to these blocks.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn new(tables: &'t Tables, nonce: &[u8; NONCE_LEN], head: __m128i, lengths: __m128i) -> Self {
        let base = xor(splat(nonce_block(nonce)), round_key(tables, 0));
        Self { tables, base, edges: _mm256_set_m128i(head, lengths) }
    }

    /// To be replaced.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn empty(tables: &'t Tables) -> Self {
        Self { tables, base: zero(), edges: _mm256_setzero_si256() }
    }

    /// The state before the first AES round, for group `number` of a packet.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn start<const VECTORS: usize>(&self, number: usize) -> [Vector; VECTORS] {
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

    /// What to hash of vector `index` of the `FIRST` or another group, with that ciphertext.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn data<const FIRST: bool>(&self, index: usize, ciphertext: Vector) -> Vector {
        if FIRST && index == 0 { self.with_edges(ciphertext) } else { swap_bytes(ciphertext) }
    }

    /// What to hash of the first vector, of which `result` has the ciphertext.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn with_edges(&self, result: Vector) -> Vector {
        _mm512_inserti64x4::<0>(swap_bytes(result), self.edges)
    }
}

/// The first vector of a packet, with the first text bytes.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn first_vector(text: __m256i) -> Vector {
    _mm512_inserti64x4::<1>(zero(), text)
}

/// What counter 1 gave in the first vector.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn tag_mask(result: Vector) -> __m128i {
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

/// The mask of the first `len` bytes of a block.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
fn first_block_bytes(len: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "at most a block")]
    let mask = first_half_bytes(len) as u16;
    mask
}

/// The byte-reversed block of associated data, or what longer data come to.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn head_block(tables: &Tables, aad: &[u8]) -> __m128i {
    if aad.len() > BLOCK {
        return hash_parts(tables, &[aad]).0;
    }
    // SAFETY: the slice has this length; the masked load touches nothing else.
    swap_block_bytes(unsafe { _mm_maskz_loadu_epi8(first_block_bytes(aad.len()), aad.as_ptr().cast()) })
}

/// Reads vector `index` of the `VECTORS` that a span is; in the `FIRST` group of a packet, vector 0
/// has lanes before the text, which are zero.
///
/// # Safety
///
/// The span must be valid and end in the last vector.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn load_vector<const FIRST: bool, const VECTORS: usize>(span: Span, index: usize) -> Vector {
    // SAFETY: as many vectors as the span has.
    unsafe {
        if FIRST && index == 0 {
            first_vector(load_half(span, VECTORS > 1))
        } else {
            load_text(span.advance(index * WIDTH - if FIRST { HEAD } else { 0 }), index + 1 < VECTORS)
        }
    }
}

/// Writes vector `index`, as [`load_vector`] reads it. Returns what was written, and zeros after it.
///
/// # Safety
///
/// As for [`load_vector`].
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn store_vector<const FIRST: bool, const VECTORS: usize>(
    span: Span,
    index: usize,
    result: Vector,
) -> Vector {
    if FIRST && index == 0 {
        // SAFETY: the span is valid.
        unsafe { store_half(span, VECTORS > 1, result) };
        return if VECTORS > 1 { result } else { keep_first(result, HEAD + span.len) };
    }
    // SAFETY: as many vectors as the span has.
    unsafe {
        let rest = span.advance(index * WIDTH - if FIRST { HEAD } else { 0 });
        if index + 1 < VECTORS {
            store(rest.output, result);
            result
        } else {
            store_partial(rest.output, rest.len, result);
            keep_first(result, rest.len)
        }
    }
}
