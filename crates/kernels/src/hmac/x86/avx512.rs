//! SHA-1 and SHA-256 of sixteen messages side by side: each vector holds the
//! same word of all of them.

use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_srli_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_xor_si512,
};

use super::lanes::States;
use super::sha_ni::SHA256_CONSTANTS;
use super::transpose::load_words;

/// Messages in a vector.
pub(super) const LANES: usize = 16;

/// Truth tables: the sum of three bits, the choice between the second and the
/// third by the first, and the majority.
const SUM: i32 = 0x96;
const CHOICE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

/// Reads the states of all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_states<const WORDS: usize>(states: &States<WORDS>) -> [__m512i; WORDS] {
    let mut vectors = [_mm512_setzero_si512(); WORDS];
    for (vector, row) in vectors.iter_mut().zip(&states.0) {
        // SAFETY: the row has 64 readable bytes.
        *vector = unsafe { _mm512_loadu_si512(row.as_ptr().cast()) };
    }
    vectors
}

/// Writes the states of all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_states<const WORDS: usize>(states: &mut States<WORDS>, vectors: &[__m512i; WORDS]) {
    for (row, vector) in states.0.iter_mut().zip(vectors) {
        // SAFETY: the row has 64 writable bytes.
        unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), *vector) };
    }
}

/// The inputs as pointers, if all have at least `blocks` blocks.
#[inline]
fn pointers(inputs: &[&[u8]; LANES], blocks: usize) -> Option<[*const u8; LANES]> {
    inputs.iter().all(|input| input.len() / 64 >= blocks).then(|| inputs.map(<[u8]>::as_ptr))
}

/// Rounds of SHA-1 with one constant and one round function.
macro_rules! sha1_rounds {
    ($state:ident, $words:ident, $constant:literal, $function:ident: $($round:literal)*) => {
        let constant = _mm512_set1_epi32(u32::cast_signed($constant));
        $(
            if $round >= 16 {
                let sum = _mm512_ternarylogic_epi32::<SUM>(
                    $words[($round + 13) % 16], $words[($round + 8) % 16], $words[($round + 2) % 16]);
                $words[$round % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(sum, $words[$round % 16]));
            }
            let [a, b, c, d, e] = $state;
            let fixed = _mm512_add_epi32(_mm512_add_epi32(e, constant), $words[$round % 16]);
            let mixed = _mm512_add_epi32(fixed, _mm512_ternarylogic_epi32::<$function>(b, c, d));
            let next = _mm512_add_epi32(mixed, _mm512_rol_epi32::<5>(a));
            $state = [next, a, _mm512_rol_epi32::<30>(b), c, d];
        )*
    };
}

/// SHA-1 of the first `blocks` blocks of each input; they must be that long.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha1(states: &mut States<5>, inputs: &[&[u8]; LANES], blocks: usize) {
    let Some(inputs) = pointers(inputs, blocks) else {
        debug_assert!(false, "an input is too short");
        return;
    };
    let mut before = load_states(states);
    for block in 0..blocks {
        // SAFETY: every input has more than `block` blocks.
        let mut words = unsafe { load_words(&inputs, block * 64) };
        let mut state = before;
        sha1_rounds!(state, words, 0x5a82_7999_u32, CHOICE: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        sha1_rounds!(state, words, 0x6ed9_eba1_u32, SUM: 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
        sha1_rounds!(state, words, 0x8f1b_bcdc_u32, MAJORITY: 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        sha1_rounds!(state, words, 0xca62_c1d6_u32, SUM: 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
        for (before, after) in before.iter_mut().zip(state) {
            *before = _mm512_add_epi32(*before, after);
        }
    }
    store_states(states, &before);
}

/// Rounds of SHA-256.
macro_rules! sha256_rounds {
    ($state:ident, $words:ident: $($round:literal)*) => {
        $(
            if $round >= 16 {
                let old = $words[($round + 1) % 16];
                let recent = $words[($round + 14) % 16];
                let old = _mm512_ternarylogic_epi32::<SUM>(
                    _mm512_ror_epi32::<7>(old), _mm512_ror_epi32::<18>(old), _mm512_srli_epi32::<3>(old));
                let recent = _mm512_ternarylogic_epi32::<SUM>(
                    _mm512_ror_epi32::<17>(recent), _mm512_ror_epi32::<19>(recent), _mm512_srli_epi32::<10>(recent));
                let kept = _mm512_add_epi32($words[$round % 16], $words[($round + 9) % 16]);
                $words[$round % 16] = _mm512_add_epi32(_mm512_add_epi32(kept, old), recent);
            }
            let [a, b, c, d, e, f, g, h] = $state;
            let constant = _mm512_set1_epi32(SHA256_CONSTANTS[$round].cast_signed());
            let fixed = _mm512_add_epi32(h, _mm512_add_epi32(constant, $words[$round % 16]));
            let rotated = _mm512_ternarylogic_epi32::<SUM>(
                _mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e));
            let choice = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
            let first = _mm512_add_epi32(_mm512_add_epi32(fixed, choice), rotated);
            let rotated = _mm512_ternarylogic_epi32::<SUM>(
                _mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a));
            let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
            let second = _mm512_add_epi32(rotated, majority);
            $state = [_mm512_add_epi32(first, second), a, b, c, _mm512_add_epi32(d, first), e, f, g];
        )*
    };
}

/// SHA-256 of the first `blocks` blocks of each input; they must be that long.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha256(states: &mut States<8>, inputs: &[&[u8]; LANES], blocks: usize) {
    let Some(inputs) = pointers(inputs, blocks) else {
        debug_assert!(false, "an input is too short");
        return;
    };
    let mut before = load_states(states);
    for block in 0..blocks {
        // SAFETY: every input has more than `block` blocks.
        let mut words = unsafe { load_words(&inputs, block * 64) };
        let mut state = before;
        sha256_rounds!(state, words: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        sha256_rounds!(state, words: 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        sha256_rounds!(state, words: 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
        sha256_rounds!(state, words: 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
        for (before, after) in before.iter_mut().zip(state) {
            *before = _mm512_add_epi32(*before, after);
        }
    }
    store_states(states, &before);
}
