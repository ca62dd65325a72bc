//! SHA-1 and SHA-256 of sixteen messages side by side: each vector holds the
//! same word of all of them.

use core::arch::asm;
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
pub(super) fn load_states<const WORDS: usize>(states: &States<WORDS>) -> [__m512i; WORDS] {
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

/// A round of SHA-1 with one constant and one round function, in two parts: the sum that does not
/// need the previous round's result, and the rest.
macro_rules! sha1_round {
    ($state:expr, $words:expr, ($constant:literal, $function:ident), $round:literal) => {{
        if $round >= 16 {
            let sum = _mm512_ternarylogic_epi32::<SUM>(
                $words[($round + 13) % 16],
                $words[($round + 8) % 16],
                $words[($round + 2) % 16],
            );
            $words[$round % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(sum, $words[$round % 16]));
        }
        let [_, b, c, d, e] = $state;
        let constant = _mm512_set1_epi32(u32::cast_signed($constant));
        let fixed = _mm512_add_epi32(e, _mm512_add_epi32(constant, $words[$round % 16]));
        _mm512_add_epi32(fixed, _mm512_ternarylogic_epi32::<$function>(b, c, d))
    }};
    ($state:expr, $settled:expr) => {
        let [a, b, c, d, _] = $state;
        let next = _mm512_add_epi32($settled, _mm512_rol_epi32::<5>(a));
        $state = [next, a, _mm512_rol_epi32::<30>(b), c, d];
    };
}

/// A round of SHA-256.
macro_rules! sha256_round {
    ($state:expr, $words:expr, $round:literal) => {
        if $round >= 16 {
            let old = $words[($round + 1) % 16];
            let recent = $words[($round + 14) % 16];
            let old = _mm512_ternarylogic_epi32::<SUM>(
                _mm512_ror_epi32::<7>(old),
                _mm512_ror_epi32::<18>(old),
                _mm512_srli_epi32::<3>(old),
            );
            let recent = _mm512_ternarylogic_epi32::<SUM>(
                _mm512_ror_epi32::<17>(recent),
                _mm512_ror_epi32::<19>(recent),
                _mm512_srli_epi32::<10>(recent),
            );
            let kept = _mm512_add_epi32($words[$round % 16], $words[($round + 9) % 16]);
            $words[$round % 16] = _mm512_add_epi32(_mm512_add_epi32(kept, old), recent);
        }
        let [a, b, c, d, e, f, g, h] = $state;
        let constant = _mm512_set1_epi32(SHA256_CONSTANTS[$round].cast_signed());
        let fixed = _mm512_add_epi32(h, _mm512_add_epi32(constant, $words[$round % 16]));
        let rotated = _mm512_ternarylogic_epi32::<SUM>(
            _mm512_ror_epi32::<6>(e),
            _mm512_ror_epi32::<11>(e),
            _mm512_ror_epi32::<25>(e),
        );
        let choice = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
        let first = _mm512_add_epi32(_mm512_add_epi32(fixed, choice), rotated);
        let rotated = _mm512_ternarylogic_epi32::<SUM>(
            _mm512_ror_epi32::<2>(a),
            _mm512_ror_epi32::<13>(a),
            _mm512_ror_epi32::<22>(a),
        );
        let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
        let second = _mm512_add_epi32(rotated, majority);
        $state = [_mm512_add_epi32(first, second), a, b, c, _mm512_add_epi32(d, first), e, f, g];
    };
}

/// Rounds of SHA-256 in one or two groups of lanes, in step.
macro_rules! sha256_rounds {
    ($states:ident, $words:ident: $($round:literal)*) => {
        $(
            sha256_round!($states[0], $words[0], $round);
            if GROUPS > 1 {
                sha256_round!($states[GROUPS - 1], $words[GROUPS - 1], $round);
                let mut latest = [$states[0][0], $states[GROUPS - 1][0]];
                settle(&mut latest);
                [$states[0][0], $states[GROUPS - 1][0]] = latest;
                let mut latest = [$states[0][4], $states[GROUPS - 1][4]];
                settle(&mut latest);
                [$states[0][4], $states[GROUPS - 1][4]] = latest;
            }
        )*
    };
}

/// Rounds of SHA-1 in one or two groups of lanes, in step.
macro_rules! sha1_rounds {
    ($states:ident, $words:ident, $arguments:tt: $($round:literal)*) => {
        $(
            let mut sums = [_mm512_setzero_si512(); GROUPS];
            sums[0] = sha1_round!($states[0], $words[0], $arguments, $round);
            if GROUPS > 1 {
                sums[GROUPS - 1] = sha1_round!($states[GROUPS - 1], $words[GROUPS - 1], $arguments, $round);
            }
            settle(&mut sums);
            sha1_round!($states[0], sums[0]);
            if GROUPS > 1 {
                sha1_round!($states[GROUPS - 1], sums[GROUPS - 1]);
            }
        )*
    };
}

/// Has one or two sums computed here and now.
///
/// Left alone, the compiler moves the rounds of one group behind those of the other, too
/// far away for the processor to work on both at once. In SHA-1 it also rearranges the
/// additions of a round such that the results of the round before are waited for longer.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn settle(sums: &mut [__m512i]) {
    match sums {
        // SAFETY: there is only a comment.
        [only] => unsafe { asm!("# {}", inout(zmm_reg) * only, options(pure, nomem, nostack, preserves_flags)) },
        // SAFETY: there is only a comment.
        [first, second] => unsafe {
            asm!(
                "# {} {}",
                inout(zmm_reg) * first,
                inout(zmm_reg) * second,
                options(pure, nomem, nostack, preserves_flags)
            );
        },
        _ => {}
    }
}

/// Adds a block of every lane to the states of SHA-1, and uses up the words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha1_block<const GROUPS: usize>(
    before: &mut [[__m512i; 5]; GROUPS],
    words: &mut [[__m512i; LANES]; GROUPS],
) {
    let mut states = *before;
    let mut words = *words;
    sha1_rounds!(states, words, (0x5a82_7999_u32, CHOICE): 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    sha1_rounds!(states, words, (0x6ed9_eba1_u32, SUM): 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
    sha1_rounds!(states, words, (0x8f1b_bcdc_u32, MAJORITY): 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
    sha1_rounds!(states, words, (0xca62_c1d6_u32, SUM): 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
    add_states(before, &states);
}

/// Adds a block of every lane to the states of SHA-256, and uses up the words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha256_block<const GROUPS: usize>(
    before: &mut [[__m512i; 8]; GROUPS],
    words: &mut [[__m512i; LANES]; GROUPS],
) {
    let mut states = *before;
    let mut words = *words;
    sha256_rounds!(states, words: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    sha256_rounds!(states, words: 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    sha256_rounds!(states, words: 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
    sha256_rounds!(states, words: 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    add_states(before, &states);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_states<const WORDS: usize, const GROUPS: usize>(
    before: &mut [[__m512i; WORDS]; GROUPS],
    after: &[[__m512i; WORDS]; GROUPS],
) {
    for (before, after) in before.iter_mut().zip(after) {
        for (before, after) in before.iter_mut().zip(after) {
            *before = _mm512_add_epi32(*before, *after);
        }
    }
}

/// SHA-1 of the first `blocks` blocks of each input; they must be that long.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha1(states: &mut States<5>, inputs: &[&[u8]; LANES], blocks: usize) {
    let Some(inputs) = pointers(inputs, blocks) else {
        debug_assert!(false, "an input is too short");
        return;
    };
    let mut vectors = [load_states(states)];
    for block in 0..blocks {
        // SAFETY: every input has more than `block` blocks.
        sha1_block(&mut vectors, &mut [unsafe { load_words(&inputs, block * 64) }]);
    }
    store_states(states, &vectors[0]);
}

/// SHA-256 of the first `blocks` blocks of each input; they must be that long.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha256(states: &mut States<8>, inputs: &[&[u8]; LANES], blocks: usize) {
    let Some(inputs) = pointers(inputs, blocks) else {
        debug_assert!(false, "an input is too short");
        return;
    };
    let mut vectors = [load_states(states)];
    for block in 0..blocks {
        // SAFETY: every input has more than `block` blocks.
        sha256_block(&mut vectors, &mut [unsafe { load_words(&inputs, block * 64) }]);
    }
    store_states(states, &vectors[0]);
}
