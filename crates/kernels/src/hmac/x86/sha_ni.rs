//! SHA-1 and SHA-256 with the SHA instructions, in interleaved streams: a
//! stream has to wait for each instruction, the others fill the time.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x,
    _mm_setzero_si128, _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
    _mm_storeu_si128, _mm_xor_si128,
};

use super::abreast::{self, Shape};
use super::avx512::{self, LANES};
use super::lanes::{Hash, States};
use super::{Avx512, Keyring, Sha1, Sha256, ShaNi};
use crate::hmac::Message;

/// The most streams that [`Hash::streams`] is instantiated for.
pub(super) const MAX_STREAMS: usize = 4;

/// The round constants of SHA-256.
#[rustfmt::skip]
pub(super) static SHA256_CONSTANTS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

impl Hash<5> for Sha1 {
    const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    const FEWEST_LANES: usize = 8;

    type Portable = sha1::Sha1;

    #[inline]
    fn streams<const STREAMS: usize>(_: ShaNi, states: &mut States<5>, inputs: &[&[u8]; STREAMS], blocks: usize) {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe { sha1_streams(states, inputs, blocks) }
    }

    #[inline]
    fn abreast<T: AsMut<[u8]>>(
        _: Avx512,
        keys: Keyring<'_, 5>,
        messages: &[Message<'_>],
        tags: &mut [T],
        shape: Shape,
    ) {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe {
            if messages.len() > LANES {
                abreast::sha1::<T, 2>(keys, messages, tags, shape);
            } else {
                abreast::sha1::<T, 1>(keys, messages, tags, shape);
            }
        }
    }

    #[inline]
    fn lanes(_: Avx512, states: &mut States<5>, inputs: &[&[u8]; LANES], blocks: usize) {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe { avx512::sha1(states, inputs, blocks) }
    }
}

impl Hash<8> for Sha256 {
    const INITIAL: [u32; 8] =
        [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
    const FEWEST_LANES: usize = 11;

    type Portable = sha2::Sha256;

    #[inline]
    fn streams<const STREAMS: usize>(_: ShaNi, states: &mut States<8>, inputs: &[&[u8]; STREAMS], blocks: usize) {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe { sha256_streams(states, inputs, blocks) }
    }

    #[inline]
    fn abreast<T: AsMut<[u8]>>(
        _: Avx512,
        keys: Keyring<'_, 8>,
        messages: &[Message<'_>],
        tags: &mut [T],
        shape: Shape,
    ) {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe {
            if messages.len() > LANES {
                abreast::sha256::<T, 2>(keys, messages, tags, shape);
            } else {
                abreast::sha256::<T, 1>(keys, messages, tags, shape);
            }
        }
    }

    #[inline]
    fn lanes(_: Avx512, states: &mut States<8>, inputs: &[&[u8]; LANES], blocks: usize) {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe { avx512::sha256(states, inputs, blocks) }
    }
}

/// Reads four words of a state.
#[inline]
#[target_feature(enable = "sha,avx")]
fn load_words(words: &[u32; 4]) -> __m128i {
    // SAFETY: the reference is to 16 readable bytes; the load is unaligned.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

/// The words of a vector.
#[inline]
#[target_feature(enable = "sha,avx")]
fn words_of(vector: __m128i) -> [u32; 4] {
    let mut words = [0; 4];
    // SAFETY: the array has 16 writable bytes; the store is unaligned.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), vector) };
    words
}

/// Reads block `block` of an input, with the bytes of each vector shuffled. The
/// block must be there.
#[inline]
#[target_feature(enable = "sha,avx")]
fn load_block(input: &[u8], block: usize, shuffle: __m128i) -> [__m128i; 4] {
    let mut vectors = [_mm_setzero_si128(); 4];
    if let Some(bytes) = input.as_chunks::<64>().0.get(block) {
        for (vector, bytes) in vectors.iter_mut().zip(bytes.as_chunks::<16>().0) {
            // SAFETY: the reference is to 16 readable bytes; the load is
            // unaligned.
            *vector = _mm_shuffle_epi8(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }, shuffle);
        }
    }
    vectors
}

/// Groups of four rounds of SHA-1 with one round function.
macro_rules! sha1_groups {
    ($words:ident, $abcd:ident, $e:ident, $earlier:ident, $function:literal: $($group:literal)*) => {
        $(
            for stream in 0..STREAMS {
                let words = &mut $words[stream];
                if $group >= 4 {
                    let sum = _mm_sha1msg1_epu32(words[$group % 4], words[($group + 1) % 4]);
                    let sum = _mm_xor_si128(sum, words[($group + 2) % 4]);
                    words[$group % 4] = _mm_sha1msg2_epu32(sum, words[($group + 3) % 4]);
                }
                let input = if $group == 0 {
                    _mm_add_epi32($e[stream], words[0])
                } else {
                    _mm_sha1nexte_epu32($earlier[stream], words[$group % 4])
                };
                $earlier[stream] = $abcd[stream];
                $abcd[stream] = _mm_sha1rnds4_epu32::<$function>($abcd[stream], input);
            }
        )*
    };
}

/// SHA-1 in the lanes from 0.
#[target_feature(enable = "sha,avx")]
fn sha1_streams<const STREAMS: usize>(states: &mut States<5>, inputs: &[&[u8]; STREAMS], blocks: usize) {
    let shuffle = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let mut abcd = [_mm_setzero_si128(); STREAMS];
    let mut e = [_mm_setzero_si128(); STREAMS];
    for stream in 0..STREAMS {
        let [first @ .., last] = states.get(stream);
        abcd[stream] = _mm_shuffle_epi32::<0x1b>(load_words(&first));
        e[stream] = _mm_set_epi32(last.cast_signed(), 0, 0, 0);
    }
    for block in 0..blocks {
        let (abcd_before, e_before) = (abcd, e);
        let mut earlier = abcd;
        let mut words = [[_mm_setzero_si128(); 4]; STREAMS];
        for (words, input) in words.iter_mut().zip(inputs) {
            *words = load_block(input, block, shuffle);
        }
        sha1_groups!(words, abcd, e, earlier, 0: 0 1 2 3 4);
        sha1_groups!(words, abcd, e, earlier, 1: 5 6 7 8 9);
        sha1_groups!(words, abcd, e, earlier, 2: 10 11 12 13 14);
        sha1_groups!(words, abcd, e, earlier, 3: 15 16 17 18 19);
        for stream in 0..STREAMS {
            e[stream] = _mm_sha1nexte_epu32(earlier[stream], e_before[stream]);
            abcd[stream] = _mm_add_epi32(abcd[stream], abcd_before[stream]);
        }
    }
    for stream in 0..STREAMS {
        let [a, b, c, d] = words_of(_mm_shuffle_epi32::<0x1b>(abcd[stream]));
        let e = _mm_extract_epi32::<3>(e[stream]).cast_unsigned();
        states.set(stream, &[a, b, c, d, e]);
    }
}

/// Groups of four rounds of SHA-256.
macro_rules! sha256_groups {
    ($words:ident, $abef:ident, $cdgh:ident: $($group:literal)*) => {
        $(
            // SAFETY: the table has four constants from there.
            let constants = unsafe { _mm_loadu_si128(SHA256_CONSTANTS.as_ptr().add($group * 4).cast()) };
            for stream in 0..STREAMS {
                let words = &mut $words[stream];
                if $group >= 4 {
                    let recent = words[($group + 3) % 4];
                    let sum = _mm_sha256msg1_epu32(words[$group % 4], words[($group + 1) % 4]);
                    let sum = _mm_add_epi32(sum, _mm_alignr_epi8::<4>(recent, words[($group + 2) % 4]));
                    words[$group % 4] = _mm_sha256msg2_epu32(sum, recent);
                }
                let input = _mm_add_epi32(words[$group % 4], constants);
                $cdgh[stream] = _mm_sha256rnds2_epu32($cdgh[stream], $abef[stream], input);
                let input = _mm_shuffle_epi32::<0x0e>(input);
                $abef[stream] = _mm_sha256rnds2_epu32($abef[stream], $cdgh[stream], input);
            }
        )*
    };
}

/// SHA-256 in the lanes from 0.
#[target_feature(enable = "sha,avx")]
fn sha256_streams<const STREAMS: usize>(states: &mut States<8>, inputs: &[&[u8]; STREAMS], blocks: usize) {
    let shuffle = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut abef = [_mm_setzero_si128(); STREAMS];
    let mut cdgh = [_mm_setzero_si128(); STREAMS];
    for stream in 0..STREAMS {
        let [a, b, c, d, e, f, g, h] = states.get(stream);
        abef[stream] = load_words(&[f, e, b, a]);
        cdgh[stream] = load_words(&[h, g, d, c]);
    }
    for block in 0..blocks {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut words = [[_mm_setzero_si128(); 4]; STREAMS];
        for (words, input) in words.iter_mut().zip(inputs) {
            *words = load_block(input, block, shuffle);
        }
        sha256_groups!(words, abef, cdgh: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for stream in 0..STREAMS {
            abef[stream] = _mm_add_epi32(abef[stream], abef_before[stream]);
            cdgh[stream] = _mm_add_epi32(cdgh[stream], cdgh_before[stream]);
        }
    }
    for stream in 0..STREAMS {
        let [f, e, b, a] = words_of(abef[stream]);
        let [h, g, d, c] = words_of(cdgh[stream]);
        states.set(stream, &[a, b, c, d, e, f, g, h]);
    }
}
