//! The message schedule words of sixteen lanes, from their blocks.

use core::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_set_epi64, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::avx512::LANES;

/// Reads a block of every lane, `offset` bytes into its input. Entry `i` of the
/// result is the big-endian word `i` of each block.
///
/// # Safety
///
/// 64 bytes must be readable at that offset of every input.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn load_words(inputs: &[*const u8; LANES], offset: usize) -> [__m512i; LANES] {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, input) in rows.iter_mut().zip(inputs) {
        // SAFETY: readable by contract; the load is unaligned.
        *row = swap_words(unsafe { _mm512_loadu_si512(input.add(offset).cast()) });
    }
    transpose(&rows)
}

/// Reverses the bytes of each word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn swap_words(vector: __m512i) -> __m512i {
    let (high, low) = (0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm512_shuffle_epi8(vector, _mm512_set_epi64(high, low, high, low, high, low, high, low))
}

/// Makes entry `i` of the result of word `i` of each row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn transpose(rows: &[__m512i; LANES]) -> [__m512i; LANES] {
    // Within 128-bit parts, 4 x 4 words of four adjacent lanes at a time.
    let mut quads = [_mm512_setzero_si512(); LANES];
    for first in [0, 4, 8, 12] {
        let low_pair = _mm512_unpacklo_epi32(rows[first], rows[first + 1]);
        let high_pair = _mm512_unpackhi_epi32(rows[first], rows[first + 1]);
        let next_low_pair = _mm512_unpacklo_epi32(rows[first + 2], rows[first + 3]);
        let next_high_pair = _mm512_unpackhi_epi32(rows[first + 2], rows[first + 3]);
        quads[first] = _mm512_unpacklo_epi64(low_pair, next_low_pair);
        quads[first + 1] = _mm512_unpackhi_epi64(low_pair, next_low_pair);
        quads[first + 2] = _mm512_unpacklo_epi64(high_pair, next_high_pair);
        quads[first + 3] = _mm512_unpackhi_epi64(high_pair, next_high_pair);
    }
    // Then 4 x 4 of the 128-bit parts.
    let mut words = [_mm512_setzero_si512(); LANES];
    for word in 0..4 {
        let even_low = _mm512_shuffle_i32x4::<0x88>(quads[word], quads[word + 4]);
        let odd_low = _mm512_shuffle_i32x4::<0xdd>(quads[word], quads[word + 4]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(quads[word + 8], quads[word + 12]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(quads[word + 8], quads[word + 12]);
        words[word] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        words[word + 4] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        words[word + 8] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        words[word + 12] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    words
}
