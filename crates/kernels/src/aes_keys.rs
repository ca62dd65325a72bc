//! Expansion of AES keys with the processor's AES instructions.

use core::arch::x86_64::{
    _mm_aesimc_si128, _mm_aeskeygenassist_si128, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_set1_epi32, _mm_storeu_si128,
};

/// Round keys of the longest AES key.
pub(crate) const MAX_ROUND_KEYS: usize = 15;

/// The AES key lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyLength {
    Bits128,
    Bits192,
    Bits256,
}

impl KeyLength {
    /// The length of `key`, if AES has it.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(Self::Bits128),
            24 => Some(Self::Bits192),
            32 => Some(Self::Bits256),
            _ => None,
        }
    }
}

impl KeyLength {
    /// The number of round keys.
    pub(crate) fn round_keys(self) -> usize {
        match self {
            Self::Bits128 => 11,
            Self::Bits192 => 13,
            Self::Bits256 => 15,
        }
    }
}

/// Writes the round keys of `key`, which has 16, 24 or 32 bytes (FIPS 197,
/// section 5.2).
#[target_feature(enable = "aes,avx")]
pub(crate) fn expand_round_keys(round_keys: &mut [[u8; 16]; MAX_ROUND_KEYS], key: &[u8]) {
    let key_words = key.len() / 4;
    let (words, _) = round_keys.as_flattened_mut().as_chunks_mut::<4>();
    for (word, key_word) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = *key_word;
    }
    let mut round_constant = 1_u32;
    let used = 4 * (key_words + 7);
    for index in key_words..used {
        let mut word = u32::from_le_bytes(words[index - 1]);
        if index % key_words == 0 {
            word = substitute(word).rotate_right(8) ^ round_constant;
            round_constant = (round_constant << 1) ^ ((round_constant >> 7) * 0x11b);
        } else if key_words > 6 && index % key_words == 4 {
            word = substitute(word);
        }
        word ^= u32::from_le_bytes(words[index - key_words]);
        words[index] = word.to_le_bytes();
    }
}

/// Turns round keys for encryption into those of the equivalent inverse
/// cipher, in the order of use (FIPS 197, section 5.3.5).
#[target_feature(enable = "aes,avx")]
pub(crate) fn invert_round_keys(round_keys: &mut [[u8; 16]; MAX_ROUND_KEYS], length: KeyLength) {
    let used = &mut round_keys[..length.round_keys()];
    used.reverse();
    if let [_, middle @ .., _] = used {
        for key in middle {
            // SAFETY: the reference is to 16 readable and writable bytes; the
            // accesses are unaligned.
            unsafe {
                let inverse = _mm_aesimc_si128(_mm_loadu_si128(key.as_ptr().cast()));
                _mm_storeu_si128(key.as_mut_ptr().cast(), inverse);
            }
        }
    }
}

/// The AES S-box on each byte of a word.
#[inline]
#[target_feature(enable = "aes,avx")]
fn substitute(word: u32) -> u32 {
    let word = _mm_set1_epi32(word.cast_signed());
    _mm_cvtsi128_si32(_mm_aeskeygenassist_si128::<0>(word)).cast_unsigned()
}
